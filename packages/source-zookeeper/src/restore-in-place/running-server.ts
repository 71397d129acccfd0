import { readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { BackypError } from "@zk-backyp/core";
import type { ServerAddress } from "../ensemble/server-address.ts";
import { runningServers } from "../host/find-servers.ts";
import { journalIn } from "../stop-promise/journal.ts";
import type { MemberFolder } from "./member-folders.ts";

/** Where to look. */
export interface StoppedOptions {
  /** Where the server would answer, if that is known. */
  readonly server: ServerAddress | null;
  /** Where a cold backup keeps the journal of its stop. */
  readonly stateDir: string;
  /** Default: `/proc`. */
  readonly proc?: string;
}

const CONNECT_TIMEOUT_MS = 2_000;

/**
 * Refuses while something uses these directories: a process that has a file below `version-2` open, a ZooKeeper server
 * whose configuration names them (one that nobody has written to has no file open), one that answers at the configured
 * port, or a cold backup that has stopped it and is about to start it again.
 *
 * What runs in another pid namespace is not seen; nor are open files of other users' processes, unless this is root.
 *
 * @throws BackypError `ERR_TARGET_IN_USE`
 * @throws BackypError `ERR_TARGET_UNAVAILABLE` where a server runs of which it cannot be told what it uses
 */
export async function requireStopped(folders: readonly MemberFolder[], options: StoppedOptions): Promise<void> {
  const { server, stateDir, proc = "/proc" } = options;
  // Other systems than Linux have none: there the port alone tells.
  const pids = (await readdir(proc).catch(() => [])).filter((name) => /^\d+$/.test(name)).map(Number);
  const hidden = await requireNoOpenFile(folders, pids, proc);
  if (pids.length > 0) await requireNoServer(folders, hidden, proc);
  if (server !== null && (await answers(server))) {
    throw inUse(folders, `something answers at its client port, ${server.host}:${server.port}`);
  }
  const journal = journalIn(stateDir);
  const stop = await journal.read();
  if (stop !== null && (await journal.isOwned(stop))) {
    throw inUse(
      folders,
      `a cold backup has stopped its server and will start it again (${journal.path}); hold it first`,
    );
  }
}

/** @returns the processes whose open files are not told */
async function requireNoOpenFile(
  folders: readonly MemberFolder[],
  pids: readonly number[],
  proc: string,
): Promise<Set<number>> {
  const hidden = new Set<number>();
  for (const pid of pids) {
    if (pid === process.pid) continue;
    const own = join(proc, String(pid));
    const descriptors = await readdir(join(own, "fd")).catch(() => null);
    if (descriptors === null) hidden.add(pid);
    for (const descriptor of descriptors ?? []) {
      const path = await readlink(join(own, "fd", descriptor)).catch(() => "");
      if (!folders.some(({ real }) => path.startsWith(`${join(real, "version-2")}/`))) continue;
      if (!(await isSameFile(path, join(own, "fd", descriptor), pid, proc))) continue;
      const command = await readFile(join(own, "comm"), "utf8").catch(() => "");
      throw inUse(folders, `the process ${pid} (${command.trim()}) has ${path} open`);
    }
  }
  return hidden;
}

async function requireNoServer(
  folders: readonly MemberFolder[],
  hidden: ReadonlySet<number>,
  proc: string,
): Promise<void> {
  for (const { pid, uid, zooCfg, dataDir, dataLogDir, problem } of await runningServers(proc)) {
    for (const directory of [dataDir, dataLogDir]) {
      if (directory === null) continue;
      const real = await realpath(directory).catch(() => directory);
      if (!folders.some((folder) => folder.real === real)) continue;
      if (await isSameFile(real, join(proc, String(pid), "root", directory), pid, proc)) {
        throw inUse(folders, `the process ${pid} is the ZooKeeper server that has ${directory}`);
      }
    }
    // With its open files in sight it was looked at already, as well as that can be done.
    if (dataDir !== null || pid === null || !hidden.has(pid)) continue;
    throw new BackypError(
      "ERR_TARGET_UNAVAILABLE",
      `cannot tell whether the ZooKeeper server with process ${pid} uses ${names(folders)}: ` +
        `${problem ?? `${zooCfg} names no dataDir`}. Run as its user (uid ${uid}) or as root, or stop it`,
      { details: { pid } },
    );
  }
}

/**
 * Whether a path that a process names leads to the same as here, which it need not where that process has mounts of its own,
 * as in a container. Where that is not told, it does.
 *
 * @param seen the same path as the process sees it, below its `/proc` folder
 */
async function isSameFile(path: string, seen: string, pid: number | null, proc: string): Promise<boolean> {
  const mountsOf = (process: string): Promise<string | null> =>
    readlink(join(proc, process, "ns/mnt")).catch(() => null);
  const [theirs, ours] = await Promise.all([mountsOf(String(pid)), mountsOf("self")]);
  if (theirs === null || theirs === ours) return true;
  const [there, here] = await Promise.all([seen, path].map((name) => stat(name).catch(() => null)));
  if (here == null) return false;
  return there == null || (there.dev === here.dev && there.ino === here.ino);
}

/** Whether anything accepts a connection there; TLS or not. */
function answers({ host, port }: ServerAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host);
    const end = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => end(false));
    socket.on("connect", () => end(true));
    socket.on("error", () => end(false));
  });
}

function inUse(folders: readonly MemberFolder[], why: string): BackypError {
  return new BackypError(
    "ERR_TARGET_IN_USE",
    `the data in ${names(folders)} is in use: ${why}. Stop the server, then restore`,
    { details: { targets: folders.map(({ directory }) => directory) } },
  );
}

function names(folders: readonly MemberFolder[]): string {
  return folders.map(({ directory }) => directory).join(" and ");
}
