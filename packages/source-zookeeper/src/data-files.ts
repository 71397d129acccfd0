import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import { type FileName, parseFileName } from "@zk-backyp/zookeeper-files";
import { entriesIn, unreadable } from "./locate.ts";

/** A snapshot or log in a listing. */
export interface ListedFile extends FileName {
  readonly file: string;
  /**
   * The name that every release writes and reads: `snapshot.22` of `snapshot.22.tmp`, `log.1` of `log.1.bak`. To 3.6
   * and later these odd names are data files too, to 3.4 and 3.5 they are not. A backup has plain names only.
   */
  readonly plainName: string;
}

/** A snapshot or log that is held open: the server's purge can take its name away, but not its bytes. */
export interface OpenDataFile extends ListedFile {
  readonly path: string;
  readonly handle: FileHandle;
  /** At the time it was opened. */
  readonly stats: Stats;
}

/** The data files of one kind in a `version-2` folder, oldest first. A folder that is null has none. */
export async function listDataFiles(folder: string | null, kind: FileName["kind"]): Promise<ListedFile[]> {
  if (folder === null) return [];
  const listed: ListedFile[] = [];
  for (const entry of await entriesIn(folder)) {
    const name = parseFileName(entry.name);
    if (name?.kind !== kind) continue;
    const isFile = entry.isSymbolicLink() ? await leadsToFile(join(folder, entry.name)) : entry.isFile();
    if (isFile) listed.push({ ...name, file: entry.name, plainName: plainNameOf(name) });
  }
  return listed.sort((a, b) => (a.zxid < b.zxid ? -1 : a.zxid > b.zxid ? 1 : a.file < b.file ? -1 : 1));
}

async function leadsToFile(link: string): Promise<boolean> {
  return stat(link).then(
    (stats) => stats.isFile(),
    () => false,
  );
}

/** See {@link ListedFile.plainName}. */
export function plainNameOf({ kind, zxid, compression }: FileName): string {
  return `${kind}.${zxid.toString(16)}${compression === "none" ? "" : `.${compression}`}`;
}

/**
 * Opens a data file for reading. Null if it is gone: the server's purge was faster.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function openDataFile(folder: string, listed: ListedFile): Promise<OpenDataFile | null> {
  const path = join(folder, listed.file);
  let handle: FileHandle | undefined;
  try {
    // Without waiting, should a link lead to a pipe.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (stats.isFile()) return { ...listed, path, handle, stats };
  } catch (cause) {
    await handle?.close();
    if (systemErrorCode(cause) === "ENOENT") return null;
    throw await unreadable(path, cause);
  }
  await handle.close();
  throw new BackypError("ERR_SOURCE_UNAVAILABLE", `${path} is not a regular file`, { details: { path } });
}

/** What has become of an open file's name: it is still this file's, another file's, or nobody's. */
export async function nameOf({ path, stats }: OpenDataFile): Promise<"kept" | "replaced" | "gone"> {
  try {
    const now = await stat(path);
    return now.ino === stats.ino && now.dev === stats.dev ? "kept" : "replaced";
  } catch (cause) {
    if (systemErrorCode(cause) === "ENOENT") return "gone";
    throw await unreadable(path, cause);
  }
}

/** Changes when a file is written to. */
export function stateOf({ size, mtimeMs }: Stats): string {
  return `${size} ${mtimeMs}`;
}
