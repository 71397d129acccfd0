import { randomUUID } from "node:crypto";
import { link, open, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { abortError, BackypError, type Bytes, syncFolders, systemErrorCode } from "@zk-backyp/core";

/**
 * Writes a new file: under its name there is all of it, on disk, or nothing.
 *
 * @throws BackypError `ERR_TARGET_NOT_EMPTY` when something has that name; `ERR_TARGET_UNAVAILABLE`; `ERR_ABORTED`
 */
export async function writeNewFile(path: string, body: Bytes, signal: AbortSignal): Promise<void> {
  const folder = dirname(path);
  const hidden = join(folder, `.${basename(path)}.${randomUUID()}.partial`);
  const handle = await open(hidden, "wx", 0o640).catch((cause: unknown) => {
    throw unavailable(path, cause);
  });
  try {
    try {
      for await (const chunk of body) {
        if (signal.aborted) throw abortError(signal);
        await handle.writeFile(chunk).catch((cause: unknown) => {
          throw unavailable(path, cause);
        });
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Unlike a rename, never over something that came there in the meantime.
    await link(hidden, path).catch((cause: unknown) => {
      throw unavailable(path, cause);
    });
  } finally {
    await rm(hidden, { force: true });
  }
  await syncFolders([folder]);
}

function unavailable(path: string, cause: unknown): BackypError {
  if (systemErrorCode(cause) === "EEXIST") {
    return new BackypError("ERR_TARGET_NOT_EMPTY", `${path} is there already: choose another name, or remove it`, {
      cause,
    });
  }
  return new BackypError("ERR_TARGET_UNAVAILABLE", `cannot write ${path}: ${(cause as Error).message}`, { cause });
}
