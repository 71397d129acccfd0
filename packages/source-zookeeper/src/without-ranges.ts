import type { ByteRange } from "@zk-backyp/zookeeper-files";

/** How many of the first `size` bytes are left without the ranges, which are in order and do not overlap. */
export function sizeWithout(ranges: readonly ByteRange[], size: number): number {
  const inside = ({ offset, length }: ByteRange): number => Math.max(0, Math.min(offset + length, size) - offset);
  return ranges.reduce((left, range) => left - inside(range), size);
}

/** A file's bytes without some ranges of it. */
export async function* withoutRanges(
  body: AsyncIterable<Uint8Array>,
  ranges: readonly ByteRange[],
): AsyncGenerator<Uint8Array, void, void> {
  let at = 0;
  let next = 0;
  for await (const chunk of body) {
    const end = at + chunk.byteLength;
    let from = at;
    for (let range = ranges[next]; range !== undefined && range.offset < end; range = ranges[next]) {
      if (range.offset > from) yield chunk.subarray(from - at, range.offset - at);
      from = Math.max(from, Math.min(range.offset + range.length, end));
      // It goes on in the next chunk.
      if (range.offset + range.length > end) break;
      next += 1;
    }
    if (from < end) yield chunk.subarray(from - at);
    at = end;
  }
}
