import type { Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import { type FileName, parseFileName } from "@zk-backyp/zookeeper-files";
import { namesIn, unreadable } from "./locate.ts";

/** A snapshot or log that is held open: the server's purge can take its name away, but not its bytes. */
export interface OpenDataFile extends FileName {
  /** Name in its folder. */
  readonly file: string;
  readonly path: string;
  readonly handle: FileHandle;
  /** At the time it was opened. */
  readonly stats: Stats;
}

/** A snapshot or log in a listing. */
export interface ListedFile extends FileName {
  readonly file: string;
}

/** The data files of one kind in a `version-2` folder, oldest first. A folder that is null or gone has none. */
export async function listDataFiles(folder: string | null, kind: FileName["kind"]): Promise<ListedFile[]> {
  if (folder === null) return [];
  return (await namesIn(folder))
    .flatMap((file) => {
      const name = parseFileName(file);
      return name?.kind === kind ? [{ ...name, file }] : [];
    })
    .sort((a, b) => (a.zxid < b.zxid ? -1 : a.zxid > b.zxid ? 1 : a.file < b.file ? -1 : 1));
}

/**
 * Opens a data file for reading. Null if it is gone: the server's purge was faster.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function openDataFile(folder: string, listed: ListedFile): Promise<OpenDataFile | null> {
  const path = join(folder, listed.file);
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (cause) {
    if (systemErrorCode(cause) === "ENOENT") return null;
    throw await unreadable(path, cause);
  }
  const stats = await handle.stat();
  if (stats.isFile()) return { ...listed, path, handle, stats };
  await handle.close();
  throw new BackypError("ERR_SOURCE_UNAVAILABLE", `${path} is not a regular file`, { details: { path } });
}

/** Identity of a file's state: changes when the file is replaced, rewritten or grows. */
export function stateOf(stats: Stats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeMs}`;
}
