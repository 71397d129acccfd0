import { open } from "node:fs/promises";
import { pathError } from "./directory.ts";

const CHUNK_BYTES: number = 1024 * 1024;

/**
 * The bytes of a file. Every chunk is in the same memory: it is good until the next one is asked for.
 *
 * @throws ZooKeeperFileError `PATH_NOT_FOUND`, `PATH_DENIED`, `PATH_NOT_USABLE`; and the reason of `signal`
 */
export async function* readChunks(path: string, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
  const handle = await open(path, "r").catch((error: unknown) => {
    throw pathError(path, error);
  });
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(size + 1, 64 * 1024)));
    while (true) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength).catch((error: unknown) => {
        throw pathError(path, error);
      });
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}
