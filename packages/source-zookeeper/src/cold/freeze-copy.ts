import { type BigIntStats, constants } from "node:fs";
import { copyFile, type FileHandle, open, rename, rm, statfs, utimes } from "node:fs/promises";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import { readFileStart } from "../read-file.ts";
import { stateOf } from "./links.ts";
import { cannotMake, unavailable } from "./links-errors.ts";

/**
 * What a copy leaves free of the data's file system, or half of what was free. A server that finds no room for its next
 * log (64 MiB) exits.
 */
const LEFT_FREE_BYTES = 256n * 1024n * 1024n;

/**
 * Replaces a hard link by a copy of its file: one that shares the file's blocks, where the file system has such
 * (xfs, btrfs), else of its bytes. Returns the state of the file that was copied, or null if it was written to
 * meanwhile, so that the copy is no good. A failure leaves the link as it was.
 *
 * @param temporary a path on the same file system
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`, `ERR_SOURCE_CHANGED` when the file became shorter, `ERR_ABORTED`
 */
export async function replaceByCopy(link: string, temporary: string, signal: AbortSignal): Promise<string | null> {
  let file: FileHandle | undefined;
  try {
    file = await open(link);
    const before = await file.stat({ bigint: true });
    await copy(file, before, link, temporary, signal);
    await utimes(temporary, Number(before.atimeMs) / 1000, Number(before.mtimeMs) / 1000);
    await rename(temporary, link);
    // Only now: to lose the link has changed the file's ctime.
    const after = await file.stat({ bigint: true });
    return after.size === before.size && after.mtimeNs === before.mtimeNs ? stateOf(after) : null;
  } catch (cause) {
    await rm(temporary, { force: true });
    if (cause instanceof BackypError) throw cause;
    throw await cannotMake(cause, temporary);
  } finally {
    await file?.close();
  }
}

async function copy(
  file: FileHandle,
  { size }: BigIntStats,
  link: string,
  temporary: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await copyFile(link, temporary, constants.COPYFILE_FICLONE_FORCE);
    return;
  } catch {
    // Here blocks cannot be shared. If something else is wrong, it is with what follows too.
  }
  await requireRoom(link, size);
  const target = await open(temporary, "w", 0o600);
  try {
    for await (const chunk of readFileStart(file, Number(size), link, signal)) await target.writeFile(chunk);
  } catch (cause) {
    if (systemErrorCode(cause) === "ENOSPC") throw noRoom(link, size, cause);
    throw cause;
  } finally {
    await target.close();
  }
}

async function requireRoom(link: string, size: bigint): Promise<void> {
  const { bavail, bsize } = await statfs(link, { bigint: true });
  const free = bavail * bsize;
  const left = free - size;
  if (left < LEFT_FREE_BYTES && left < free / 2n) throw noRoom(link, size);
}

function noRoom(link: string, size: bigint, cause?: unknown): BackypError {
  return unavailable(
    `no room for a copy of ${link} (${size} bytes, and ${LEFT_FREE_BYTES >> 20n} MiB are left free for the server): make room on its file system. A copy is needed as the server has written nothing since this snapshot, and would write it once more, in place, when it starts`,
    cause,
    { path: link, bytes: Number(size) },
  );
}
