import { mkdir, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Entry, requireEntryPath } from "./entry.ts";
import { abortError, BackypError, systemErrorCode } from "./errors.ts";

/**
 * Writes one entry below `folder` under its own path, with its time, durable (fsync) when it resolves; for the
 * `restore` of sources whose backups are files. Call {@link syncFolders} once after the last.
 *
 * @throws BackypError `ERR_TARGET_UNAVAILABLE` when it cannot be written
 */
export async function writeEntry(entry: Entry, folder: string, signal: AbortSignal): Promise<string> {
  const path = join(folder, requireEntryPath(entry.path));
  const writing = async <Result>(work: Promise<Result>): Promise<Result> => {
    try {
      return await work;
    } catch (cause) {
      const full = systemErrorCode(cause) === "ENOSPC" || systemErrorCode(cause) === "EDQUOT";
      throw new BackypError(
        "ERR_TARGET_UNAVAILABLE",
        `cannot write ${path}: ${full ? "no space left; free some, or restore elsewhere" : (cause as Error).message}`,
        { cause, details: { path } },
      );
    }
  };
  await writing(mkdir(dirname(path), { recursive: true, mode: 0o750 }));
  const file = await writing(open(path, "wx", 0o640));
  try {
    for await (const chunk of entry.body) {
      if (signal.aborted) throw abortError(signal);
      // writeFile on a handle writes on from where it is, and takes care of short writes.
      await writing(file.writeFile(chunk));
    }
    await writing(file.utimes(entry.mtime, entry.mtime));
    await writing(file.sync());
  } finally {
    await file.close();
  }
  return path;
}

/** Makes the names in these folders durable. */
export async function syncFolders(folders: Iterable<string>): Promise<void> {
  for (const folder of folders) {
    const handle = await open(folder, "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}
