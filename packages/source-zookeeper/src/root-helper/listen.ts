import { lchown, lstat, mkdir, readFile, rename, rm } from "node:fs/promises";
import { connect, type Server } from "node:net";
import { dirname } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import { requireOwnFolder } from "./own-folder.ts";

// A socket's path, less the end that it has until it is ready: sun_path of Linux holds 108 bytes, its zero included.
const LONGEST_PATH_BYTES = 100;

/**
 * Has the server listen at a path that only this user and the group can connect to. The socket appears there whole,
 * with its owner and mode. One that nobody listens at any more is replaced.
 *
 * @returns removes the socket, if it is still this one
 * @throws BackypError `ERR_BUSY` when somebody listens there
 * @throws BackypError `ERR_CONFIG_INVALID` for a path or a group that cannot be
 * @throws BackypError `ERR_NODE_CONTROL` when the socket cannot be made
 */
export async function listenAt(server: Server, path: string, group: string | undefined): Promise<() => Promise<void>> {
  if (Buffer.byteLength(path) > LONGEST_PATH_BYTES) {
    throw new BackypError("ERR_CONFIG_INVALID", `the socket's path ${path} is longer than ${LONGEST_PATH_BYTES} bytes`);
  }
  const gid = group === undefined ? (process.getgid?.() ?? 0) : await groupId(group);
  const uid = process.getuid?.() ?? 0;
  const unready = `${path}.new`;
  try {
    // Gone after a reboot where it is on a tmpfs, as /run is.
    // The group has to get to it.
    await mkdir(dirname(dirname(path)), { recursive: true, mode: 0o755 });
    if ((await mkdir(dirname(path), { recursive: true, mode: 0o750 })) !== undefined) {
      await lchown(dirname(path), uid, gid);
    }
    await requireOwnFolder(dirname(path));
    await requireFree(path);
    await rm(unready, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      // Made with its mode, not given it later: a later call by name may meet something else.
      const umask = process.umask(0o117);
      try {
        server.listen(unready, () => {
          server.off("error", reject);
          resolve();
        });
      } finally {
        process.umask(umask);
      }
    });
    await lchown(unready, uid, gid);
    const { ino } = await lstat(unready);
    await rename(unready, path);
    return async () => {
      const found = await lstat(path).catch(() => null);
      if (found?.ino === ino) await rm(path, { force: true });
    };
  } catch (cause) {
    server.close();
    if (cause instanceof BackypError) throw cause;
    throw new BackypError("ERR_NODE_CONTROL", `cannot make the helper's socket ${path}: ${(cause as Error).message}`, {
      cause,
      details: { path },
    });
  }
}

async function requireFree(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  if (!found.isSocket()) {
    throw new BackypError("ERR_CONFIG_INVALID", `${path} is there and is no socket; name another path`);
  }
  const refusal = await new Promise<string | undefined>((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => resolve(undefined));
    socket.once("error", (error) => resolve(systemErrorCode(error)));
    socket.once("close", () => resolve(undefined));
    socket.on("connect", () => socket.destroy());
  });
  if (refusal === "ECONNREFUSED" || refusal === "ENOENT") return;
  throw new BackypError("ERR_BUSY", `a helper that lives listens at ${path}; stop it, or name another socket`, {
    details: { path },
  });
}

async function groupId(group: string): Promise<number> {
  if (/^\d{1,10}$/.test(group)) return Number(group);
  const groups = await readFile("/etc/group", "utf8").catch(() => "");
  const line = groups.split("\n").find((text) => text.startsWith(`${group}:`));
  const id = line?.split(":")[2];
  if (id !== undefined && /^\d+$/.test(id)) return Number(id);
  throw new BackypError("ERR_CONFIG_INVALID", `there is no group ${group} in /etc/group; give its number`);
}
