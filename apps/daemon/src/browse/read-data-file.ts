import { createReadStream } from "node:fs";
import { BackypError, CHUNK_BYTES, systemErrorCode } from "@zk-backyp/core";

/**
 * The bytes of a file.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function* readDataFile(path: string, signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
  try {
    yield* createReadStream(path, { highWaterMark: CHUNK_BYTES, signal });
  } catch (cause) {
    if (systemErrorCode(cause) === "ABORT_ERR") signal.throwIfAborted();
    throw new BackypError("ERR_SOURCE_UNAVAILABLE", `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}
