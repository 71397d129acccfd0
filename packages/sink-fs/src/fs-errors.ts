import { BackypError, type ErrorCode, systemErrorCode } from "@zk-backyp/core";

const KNOWN: Readonly<Record<string, readonly [code: ErrorCode, advice: string]>> = {
  ENOSPC: ["ERR_SINK_FULL", "the file system is full; free some space or keep fewer backups"],
  EDQUOT: ["ERR_SINK_FULL", "the disk quota is used up; raise it or keep fewer backups"],
  EFBIG: ["ERR_SINK_FULL", "the file system does not take files that large; use another one or raise the limit"],
  EACCES: ["ERR_SINK_DENIED", "this user may not; change the owner or the mode of the directory"],
  EPERM: ["ERR_SINK_DENIED", "this user may not; change the owner or the mode of the directory"],
  EROFS: ["ERR_SINK_DENIED", "the file system is mounted read-only; mount it for writing"],
  ENOTDIR: ["ERR_SINK_UNAVAILABLE", "a part of the path is a file, not a directory; move it away or use another path"],
  EISDIR: ["ERR_SINK_UNAVAILABLE", "there is a directory of that name; move it away or use another key"],
  EEXIST: ["ERR_SINK_UNAVAILABLE", "a part of the path is a file, not a directory; move it away or use another path"],
  EMFILE: ["ERR_SINK_UNAVAILABLE", "this process has too many open files; raise its limit (ulimit -n)"],
  ENFILE: ["ERR_SINK_UNAVAILABLE", "the machine has too many open files"],
  EIO: ["ERR_SINK_UNAVAILABLE", "the disk reports an error; look into the kernel log"],
  ESTALE: ["ERR_SINK_UNAVAILABLE", "the network file system was replaced by its server; mount it again"],
};

/** The error that a failed file system call stands for: what was done, to which path, and what helps. */
export function fsError(action: string, path: string, cause: unknown): BackypError {
  const systemCode = systemErrorCode(cause) ?? "";
  const [code, advice] = KNOWN[systemCode] ?? ["ERR_SINK_UNAVAILABLE", cause instanceof Error ? cause.message : ""];
  const named = systemCode === "" ? "" : ` (${systemCode})`;
  return new BackypError(code, `cannot ${action} ${path}${named}: ${advice}`, {
    cause,
    details: { path, systemCode },
  });
}
