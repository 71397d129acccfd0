import { randomUUID } from "node:crypto";
import { link, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { BackypError, syncFolders, systemErrorCode } from "@zk-backyp/core";

/**
 * Writes a file that only its owner can read: under its name there is all of it or what was there before.
 *
 * @param overwrites whether it may take the place of what is there
 * @throws BackypError `ERR_TARGET_NOT_EMPTY`, `ERR_TARGET_UNAVAILABLE`
 */
export async function writePrivateFile(path: string, text: string, overwrites: boolean): Promise<void> {
  const folder = dirname(path);
  const hidden = join(folder, `.${basename(path)}.${randomUUID()}.partial`);
  try {
    const handle = await open(hidden, "wx", 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Unlike a rename, a link never takes the place of anything.
    await (overwrites ? rename(hidden, path) : link(hidden, path));
  } catch (cause) {
    if (systemErrorCode(cause) === "EEXIST") {
      const message = `${path} is there already: choose another --output, or overwrite it with --force`;
      throw new BackypError("ERR_TARGET_NOT_EMPTY", message, { cause, details: { path } });
    }
    throw new BackypError("ERR_TARGET_UNAVAILABLE", `cannot write ${path}: ${(cause as Error).message}`, { cause });
  } finally {
    await rm(hidden, { force: true });
  }
  await syncFolders([folder]);
}
