import type { FileHandle } from "node:fs/promises";
import { abortError, BackypError, CHUNK_BYTES } from "@zk-backyp/core";

/**
 * The first `size` bytes of an open file, in chunks of 1 MiB, each in memory of its own.
 *
 * @throws BackypError `ERR_SOURCE_CHANGED` when the file has become shorter
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when it cannot be read
 */
export async function* readFileStart(
  file: FileHandle,
  size: number,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, void> {
  let offset = 0;
  while (offset < size) {
    if (signal.aborted) throw abortError(signal);
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size - offset));
    const { bytesRead } = await file.read(chunk, 0, chunk.byteLength, offset).catch((cause: Error) => {
      throw new BackypError("ERR_SOURCE_UNAVAILABLE", `cannot read ${path}: ${cause.message}`, {
        cause,
        details: { path, offset },
      });
    });
    if (bytesRead === 0) {
      throw new BackypError("ERR_SOURCE_CHANGED", `${path} became shorter while it was read`, { details: { path } });
    }
    offset += bytesRead;
    yield chunk.subarray(0, bytesRead);
  }
}
