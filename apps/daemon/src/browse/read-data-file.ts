import { type FileHandle, open } from "node:fs/promises";
import { BackypError, type Bytes, CHUNK_BYTES, systemErrorCode } from "@zk-backyp/core";

/**
 * The bytes of a file, which is open from now on: that it is removed then does no harm. Read them, which closes it.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`, also while they are read
 */
export async function openDataFile(path: string, signal: AbortSignal): Promise<Bytes> {
  const handle = await open(path).catch((cause: unknown) => {
    throw unavailable(path, cause);
  });
  return readAll(handle, path, signal);
}

async function* readAll(handle: FileHandle, path: string, signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
  try {
    yield* handle.createReadStream({ highWaterMark: CHUNK_BYTES, signal });
  } catch (cause) {
    if (systemErrorCode(cause) === "ABORT_ERR") signal.throwIfAborted();
    throw unavailable(path, cause);
  }
}

function unavailable(path: string, cause: unknown): BackypError {
  return new BackypError("ERR_SOURCE_UNAVAILABLE", `${path} cannot be read: ${(cause as Error).message}`, { cause });
}
