import { type BigIntStats, constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";

const OWN_FILE_SYSTEM =
  "hard links need one file system, seen through one mount: leave linkDir out, or set it to a folder on the data's own mount";

/** What it means that `file`, one of the server's, could not be linked to `link`. */
export async function cannotLink(cause: unknown, file: string, link: string): Promise<BackypError> {
  const why = await whyNotLinked(cause, file, link);
  return unavailable(`cannot link ${file} to ${link}: ${why}`, cause, { path: file, link });
}

async function whyNotLinked(cause: unknown, file: string, link: string): Promise<string> {
  const [data, links] = await Promise.all([stats(file), stats(dirname(link))]);
  switch (systemErrorCode(cause)) {
    case "EXDEV":
      return data !== null && data.dev === links?.dev
        ? `they are on one file system, but not under one mount (bind mounts, BPM's and containers' volumes), or in two of its quota projects; ${OWN_FILE_SYSTEM}. In a container, mount a folder that holds both as one volume`
        : `they are on two file systems; ${OWN_FILE_SYSTEM}`;
    case "EPERM": {
      const mayWrite = await access(file, constants.R_OK | constants.W_OK).then(
        () => true,
        () => false,
      );
      if (data !== null && !mayWrite && data.uid !== BigInt(process.geteuid?.() ?? 0)) {
        return `it belongs to uid ${data.uid}, and fs.protected_hardlinks=1 lets a user link only files that are the user's own or that the user may write; run as ZooKeeper's user or as root`;
      }
      return "the file system has no hard links, or the file is marked as immutable (lsattr shows it); move the data to a file system such as ext4 or xfs, or take the mark away";
    }
    case "EMLINK":
      return "the file has as many hard links as its file system allows; remove old links-* folders of runs that are over";
    case "ENOENT":
      return "the folder for the links was removed during the run; exclude it from whatever cleans up there";
    default:
      return whyNotWritten(cause, dirname(link), links);
  }
}

/** What it means that `path`, which is not the server's, could not be made in `folder`, its parent. */
export async function cannotMake(cause: unknown, path: string): Promise<BackypError> {
  const folder = dirname(path);
  return unavailable(`cannot make ${path}: ${await whyNotWritten(cause, folder, await stats(folder))}`, cause, {
    path,
  });
}

async function whyNotWritten(cause: unknown, folder: string, owner: BigIntStats | null): Promise<string> {
  const code = systemErrorCode(cause);
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return `${code === "EDQUOT" ? "the quota is used up" : "no space, or no inode, is left"} on the file system of ${folder}; make room there`;
    case "EROFS":
      return `the mount of ${folder} is read-only here; make the data's mount writable for this process, as links to its files can only be made through that mount`;
    case "EACCES":
    case "EPERM": {
      const whose = owner === null ? "" : ` The folder belongs to uid ${owner.uid}, gid ${owner.gid}.`;
      return `no permission to write in ${folder}; run as ZooKeeper's user or as root, or set linkDir to a folder on the data's mount that this user may write.${whose}`;
    }
    default:
      return (cause as Error).message;
  }
}

/** What it means that something in the folder of a run could not be removed. */
export function cannotRemove(cause: unknown, path: string): BackypError {
  return unavailable(
    `cannot remove ${path}: ${(cause as Error).message}; remove it by hand: its links keep the space of purged files from being freed`,
    cause,
    { path },
  );
}

export function unavailable(message: string, cause: unknown, details: Record<string, unknown>): BackypError {
  return new BackypError("ERR_SOURCE_UNAVAILABLE", message, { cause, details });
}

async function stats(path: string): Promise<BigIntStats | null> {
  return stat(path, { bigint: true }).catch(() => null);
}
