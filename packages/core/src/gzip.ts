import { availableParallelism } from "node:os";
import { promisify } from "node:util";
import { constants, crc32, createGunzip, deflateRaw, type Gunzip } from "node:zlib";
import { type Bytes, CHUNK_BYTES, rechunk } from "./bytes.ts";
import type { Codec } from "./codec.ts";
import { abortError, BackypError, systemErrorCode } from "./errors.ts";

const deflateBlock = promisify<Uint8Array, object, Buffer>(deflateRaw);

/** How far DEFLATE can look back (RFC 1951): what a block is primed with from the one before it. */
const WINDOW_BYTES = 32 * 1024;
/** RFC 1952: magic, DEFLATE, no flags, no time, no extra flags, unknown system. The same for equal input. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
/** Twice the cores keeps all of them busy; each block in flight holds some 2 MiB. */
const BLOCKS_IN_FLIGHT = Math.min(16, 2 * availableParallelism());

export interface GzipOptions {
  /** 1 (fastest) to 9 (smallest). Default 5: about 1.3 times as fast as 6 and within 2 % of its size. */
  readonly level?: number;
}

/**
 * gzip (RFC 1952). The stream is cut into blocks of 1 MiB which Node's thread pool compresses side by side, each
 * primed with the end of the block before it; together they are one ordinary gzip member that any reader takes. The
 * output depends on input and level alone, not on the number of cores.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` for a level out of range
 */
export function gzip({ level = 5 }: GzipOptions = {}): Codec {
  if (!Number.isInteger(level) || level < 1 || level > 9) {
    throw new BackypError("ERR_CONFIG_INVALID", `gzip level ${level} is not a whole number from 1 to 9`);
  }
  const compress = (block: Uint8Array, dictionary: Uint8Array | undefined): Promise<Buffer> =>
    deflateBlock(block, {
      level,
      finishFlush: constants.Z_SYNC_FLUSH,
      // zlib takes this much memory for each block's output, and more only for what hardly compresses.
      chunkSize: CHUNK_BYTES / 2,
      ...(dictionary === undefined ? {} : { dictionary }),
    });

  return {
    id: "gzip",
    extension: "gz",

    async *encode(body, { signal }) {
      const inFlight: Promise<Buffer>[] = [];
      let checksum = 0;
      let size = 0;
      let dictionary: Uint8Array | undefined;
      // Blocks that are done with are filled again: left to the garbage collector, many more would lie around.
      const free: Buffer[] = [];
      yield HEADER;
      for await (const block of rechunk(body, CHUNK_BYTES, (bytes) => free.pop() ?? Buffer.allocUnsafeSlow(bytes))) {
        if (signal.aborted) throw abortError(signal);
        checksum = crc32(block, checksum);
        size += block.byteLength;
        const compressed = compress(block, dictionary).finally(() => {
          if (block.byteLength === CHUNK_BYTES) free.push(block as Buffer);
        });
        // A consumer that stops early never looks at the blocks that are still in work.
        compressed.catch(() => {});
        inFlight.push(compressed);
        dictionary = Buffer.from(block.subarray(-WINDOW_BYTES));
        if (inFlight.length >= BLOCKS_IN_FLIGHT) yield* first(inFlight);
      }
      while (inFlight.length > 0) yield* first(inFlight);
      yield trailer(checksum, size);
    },

    async *decode(body, { signal }) {
      const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
      const feeding = feed(body, gunzip);
      try {
        yield* gunzip as AsyncIterable<Buffer>;
      } catch (error) {
        if (signal.aborted) throw abortError(signal);
        if (systemErrorCode(error)?.startsWith("Z_")) {
          throw new BackypError("ERR_ARCHIVE_CORRUPT", `not a complete gzip stream: ${(error as Error).message}`, {
            cause: error,
          });
        }
        throw error;
      } finally {
        gunzip.destroy();
        // Until the body is closed, unless it may be stuck.
        if (!signal.aborted) await feeding;
      }
    },
  };
}

/** Writes `body` into `gunzip` as fast as that takes it; never rejects: an error destroys `gunzip` and comes out there. */
async function feed(body: Bytes, gunzip: Gunzip): Promise<void> {
  try {
    for await (const chunk of body) {
      if (!gunzip.destroyed && !gunzip.write(chunk)) await drainedOrClosed(gunzip);
      if (gunzip.destroyed) return;
    }
    gunzip.end();
  } catch (error) {
    gunzip.destroy(error as Error);
  }
}

function drainedOrClosed(gunzip: Gunzip): Promise<void> {
  return new Promise((resolve) => {
    const settle = (): void => {
      gunzip.off("drain", settle).off("close", settle);
      resolve();
    };
    gunzip.once("drain", settle).once("close", settle);
  });
}

async function* first(inFlight: Promise<Buffer>[]): AsyncGenerator<Buffer, void, void> {
  const compressed = await inFlight.shift();
  if (compressed !== undefined) yield compressed;
}

/** An empty last DEFLATE block, then CRC-32 and length modulo 2^32, little-endian. */
function trailer(checksum: number, size: number): Buffer {
  const bytes = Buffer.alloc(10);
  bytes[0] = 0x03;
  bytes.writeUInt32LE(checksum, 2);
  bytes.writeUInt32LE(size % 2 ** 32, 6);
  return bytes;
}
