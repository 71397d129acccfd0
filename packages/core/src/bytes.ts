import { createHash } from "node:crypto";
import { abortError } from "./errors.ts";

/**
 * Bytes pulled by their consumer. Single use, and nothing is opened before the first pull. A chunk stays the
 * consumer's: the producer does not write to it again.
 */
export type Bytes = AsyncIterable<Uint8Array>;

/**
 * Size in bytes of the chunks that travel through a pipeline. Chunks of 64 KiB, Node's default, cost more than the
 * compression does.
 */
export const CHUNK_BYTES: number = 1024 * 1024;

/**
 * Ends `body` with an error as soon as `signal` aborts, also when the producer is stuck in `next()`.
 *
 * @throws BackypError `ERR_ABORTED` (or the signal's own BackypError)
 */
export async function* abortable(body: Bytes, signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
  if (signal.aborted) throw abortError(signal);
  const iterator = body[Symbol.asyncIterator]();
  let abortPull = (_error: Error): void => {};
  const onAbort = (): void => abortPull(abortError(signal));
  signal.addEventListener("abort", onAbort, { once: true });
  let finished = false;
  try {
    while (true) {
      // Not Promise.race with one promise for the abort: that would hold on to every chunk until the end.
      const result = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        abortPull = reject;
        if (signal.aborted) reject(abortError(signal));
        else iterator.next().then(resolve, reject);
      });
      if (result.done === true) {
        finished = true;
        return;
      }
      yield result.value;
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    if (!finished) {
      const closing = iterator.return?.();
      // A producer stuck in next() answers return() only after it: waiting here would undo the abort.
      if (signal.aborted) closing?.catch(() => {});
      else await closing;
    }
  }
}

/** What {@link measured} found out, complete once the bytes were read to their end. */
export interface Measure {
  /** Bytes that went by so far. */
  size: number;
  /** SHA-256 of all bytes, lower-case hex; call once, at the end. */
  sha256(): string;
}

/** Passes `body` through and measures it: `measure.size` grows, `measure.sha256()` is the digest at the end. */
export function measured(body: Bytes, onBytes?: (bytes: number) => void): { body: Bytes; measure: Measure } {
  const hash = createHash("sha256");
  const measure: Measure = { size: 0, sha256: () => hash.digest("hex") };
  async function* pass(): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of body) {
      hash.update(chunk);
      measure.size += chunk.byteLength;
      onBytes?.(chunk.byteLength);
      yield chunk;
    }
  }
  return { body: pass(), measure };
}

/**
 * Regroups `body` into chunks of exactly `size` bytes; only the last one may be shorter.
 *
 * @param allocate makes the buffer of a chunk. Given one, every chunk is in such a buffer, which the caller may use
 *   again; without, a chunk that has the right size already is passed on as it is.
 */
export async function* rechunk(
  body: Bytes,
  size: number = CHUNK_BYTES,
  allocate?: (size: number) => Buffer,
): AsyncGenerator<Uint8Array, void, void> {
  let block: Buffer | undefined;
  let filled = 0;
  for await (const chunk of body) {
    if (filled === 0 && chunk.byteLength === size && allocate === undefined) {
      yield chunk;
      continue;
    }
    for (let offset = 0; offset < chunk.byteLength; ) {
      block ??= allocate?.(size) ?? Buffer.allocUnsafe(size);
      const piece = chunk.subarray(offset, offset + size - filled);
      block.set(piece, filled);
      filled += piece.byteLength;
      offset += piece.byteLength;
      if (filled < size) continue;
      yield block;
      block = undefined;
      filled = 0;
    }
  }
  if (block !== undefined) yield block.subarray(0, filled);
}

/** A body of one chunk. */
export async function* oneChunk(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

/** Reads `body` whole into memory; for small things such as manifests. Fails when it is over `limitBytes`. */
export async function collect(body: Bytes, limitBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > limitBytes) throw new RangeError(`more than ${limitBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
