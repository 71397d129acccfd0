import type { Stats } from "node:fs";
import { lstat, readdir, realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { BackypError, type ReplaceTargets, systemErrorCode } from "@zk-backyp/core";

/** A `dataDir` or `dataLogDir` of the member whose data is replaced. */
export interface MemberFolder {
  readonly role: string;
  readonly directory: string;
  /** The directory without symbolic links: what makes it the same one under two names. */
  readonly real: string;
  /** Holds the data; may be missing. */
  readonly version2: string;
  /** Who the new files shall belong to: who owns `version-2`, or else the directory. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Permissions of `version-2`. */
  readonly mode: number;
  /** The file system. */
  readonly device: number;
}

/** Begins the names of the folders beside `version-2` that old data is kept in. No server looks there. */
export const KEPT_PREFIX = "version-2.replaced-";

/** What may be in a `dataDir` besides `version-2` and `myid`. Where only other things are, somebody has mistyped the path. */
const KNOWN = /^(lost\+found|initialize|zookeeper_server\.pid|\.zk-backyp.*|version-2\.replaced-.*)$/;

/**
 * Looks at the directories, the one with the logs first where there are two.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_TARGET_NOT_EMPTY`, `ERR_TARGET_UNAVAILABLE`
 */
export async function memberFolders(targets: ReplaceTargets): Promise<MemberFolder[]> {
  const folders: MemberFolder[] = [];
  const directories = Object.values(targets);
  for (const [role, directory] of Object.entries(targets)) folders.push(await folderAt(role, directory, directories));
  for (const { version2, directory } of folders) {
    const inner = folders.find(({ real }) => real.startsWith(`${version2}/`));
    if (inner === undefined) continue;
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `${inner.directory} lies in the version-2 of ${directory}, which is moved away with all that is in it`,
    );
  }
  return folders.sort((a, b) => Number(a.role === "main") - Number(b.role === "main"));
}

async function folderAt(role: string, directory: string, others: readonly string[]): Promise<MemberFolder> {
  if (basename(directory) === "version-2") {
    throw new BackypError("ERR_CONFIG_INVALID", `give the directory that holds version-2, not ${directory} itself`);
  }
  try {
    const itself = await stat(directory);
    if (!itself.isDirectory()) throw unavailable(directory, "it is not a directory");
    const version2 = join(directory, "version-2");
    const data = await lstat(version2).catch(unlessMissing);
    if (data === null) await requireDataDirectory(directory, others);
    else requirePlain(version2, data, itself);
    const { uid, gid } = data ?? itself;
    const mode = data === null ? 0o750 : data.mode & 0o777;
    const real = await realpath(directory);
    return { role, directory, real, version2, owner: { uid, gid }, mode, device: itself.dev };
  } catch (cause) {
    if (cause instanceof BackypError) throw cause;
    const isMissing = systemErrorCode(cause) === "ENOENT";
    throw unavailable(directory, isMissing ? "there is no such directory" : (cause as Error).message, cause);
  }
}

function unlessMissing(error: unknown): null {
  if (systemErrorCode(error) === "ENOENT") return null;
  throw error;
}

/** The new files are moved into it by renaming, which neither goes through a link nor across a mount. */
function requirePlain(version2: string, data: Stats, parent: Stats): void {
  if (data.isSymbolicLink()) throw unavailable(version2, "it is a symbolic link; have zoo.cfg name where it leads to");
  if (!data.isDirectory()) throw unavailable(version2, "it is not a directory");
  if (data.dev !== parent.dev) throw unavailable(version2, "it is a mount of its own; mount the directory above it");
}

/** A member that was emptied has no `version-2`; but nor has a path with a mistake in it. */
async function requireDataDirectory(directory: string, others: readonly string[]): Promise<void> {
  const names = await readdir(directory);
  if (names.includes("myid")) return;
  const stranger = names.find((name) => {
    const path = join(directory, name);
    return !KNOWN.test(name) && !others.some((other) => other === path || other.startsWith(`${path}/`));
  });
  if (stranger === undefined) return;
  throw new BackypError(
    "ERR_TARGET_NOT_EMPTY",
    `${directory} is no data directory of ZooKeeper: neither version-2 nor myid is there, but ${JSON.stringify(stranger)} is`,
    { details: { target: directory, found: stranger } },
  );
}

/** The error for a directory in which data cannot be replaced. */
export function unavailable(path: string, why: string, cause?: unknown): BackypError {
  return new BackypError("ERR_TARGET_UNAVAILABLE", `cannot replace the data in ${path}: ${why}`, {
    cause,
    details: { target: path },
  });
}
