/** `bytes` in chunks of `size`. Each chunk is overwritten when the next one is asked for, as a reader's buffer is. */
export async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void, void> {
  const buffer = Buffer.alloc(Math.min(size, Math.max(1, bytes.byteLength)));
  for (let at = 0; at < bytes.byteLength; at += size) {
    const chunk = bytes.subarray(at, at + size);
    buffer.set(chunk);
    yield buffer.subarray(0, chunk.byteLength);
  }
}

/** `bytes` with one byte changed. */
export function flipped(bytes: Uint8Array, at: number, mask: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ mask;
  return copy;
}
