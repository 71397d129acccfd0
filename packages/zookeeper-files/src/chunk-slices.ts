import { asBuffer } from "./record-cutter.ts";

/** `chunk` in slices of at most `size` bytes, so that a large chunk is not turned into objects all at once. */
export function* slicesOf(chunk: Uint8Array, size: number): Generator<Buffer, void, void> {
  const bytes = asBuffer(chunk);
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}
