/** `bytes` in chunks of `size`. Each chunk is overwritten when the next one is asked for, as a reader's buffer is. */
export async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array, void, void> {
  const buffer = Buffer.alloc(Math.min(size, Math.max(1, bytes.byteLength)));
  for (let at = 0; at < bytes.byteLength; at += size) {
    const chunk = bytes.subarray(at, at + size);
    buffer.set(chunk);
    yield buffer.subarray(0, chunk.byteLength);
  }
}

/** `bytes` with one byte changed, which is counted from the end if `place` is negative. */
export function flipped(bytes: Uint8Array, place: number, mask: number): Buffer {
  const at = place < 0 ? bytes.byteLength + place : place;
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ mask;
  return copy;
}

/** All that a writer yields, in one piece. */
export async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(chunks));
}

/** What a promise or a generator is refused with. */
export async function refusalOf(work: Promise<unknown> | AsyncIterable<unknown>): Promise<unknown> {
  try {
    await (work instanceof Promise ? work : Array.fromAsync(work));
  } catch (error) {
    return error;
  }
  throw new Error("not refused");
}
