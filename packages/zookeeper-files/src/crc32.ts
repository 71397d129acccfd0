import { crc32 as zlibCrc32 } from "node:zlib";

/** From this length on zlib's SIMD is faster than tables, in spite of what a call into it costs. */
const LONG = 512;

/** Table `k`, at `256 * k`, holds what a byte does to the checksum that is followed by `k` zero bytes. */
const TABLES: Int32Array = makeTables(16);

/**
 * CRC-32 as in zlib of `bytes[start, end)`, but as a signed number, which V8 keeps in a register. To continue a
 * running checksum pass what it was so far as `previous`.
 */
export function crc32(bytes: Uint8Array, previous: number, start: number, end: number): number {
  if (end - start >= LONG) return zlibCrc32(bytes.subarray(start, end), previous >>> 0) | 0;
  const t = TABLES;
  const b = bytes as { readonly [at: number]: number };
  let c = ~previous;
  let at = start;
  for (const stop = end - 15; at < stop; at += 16) {
    c ^= read(b, at);
    c =
      step(t, 3072, c) ^ step(t, 2048, read(b, at + 4)) ^ step(t, 1024, read(b, at + 8)) ^ step(t, 0, read(b, at + 12));
  }
  for (const stop = end - 3; at < stop; at += 4) c = step(t, 0, c ^ read(b, at));
  for (; at < end; at++) c = (t[(c ^ (b[at] as number)) & 0xff] as number) ^ (c >>> 8);
  return ~c;
}

/** The same of `count` words, a multiple of three, that hold four bytes each: the first one in the lowest bits. */
export function crc32OfWords(words: Int32Array, previous: number, start: number, count: number): number {
  const t = TABLES;
  let c = ~previous;
  for (let at = start; at < start + count; at += 3) {
    c ^= words[at] as number;
    c = step(t, 2048, c) ^ step(t, 1024, words[at + 1] as number) ^ step(t, 0, words[at + 2] as number);
  }
  return ~c;
}

function read(b: { readonly [at: number]: number }, at: number): number {
  return (
    (b[at] as number) | ((b[at + 1] as number) << 8) | ((b[at + 2] as number) << 16) | ((b[at + 3] as number) << 24)
  );
}

/** What four bytes become that are followed by as many zero bytes as the first table at `table` stands for. */
function step(t: Int32Array, table: number, word: number): number {
  return (
    (t[table + 768 + (word & 0xff)] as number) ^
    (t[table + 512 + ((word >>> 8) & 0xff)] as number) ^
    (t[table + 256 + ((word >>> 16) & 0xff)] as number) ^
    (t[table + (word >>> 24)] as number)
  );
}

function makeTables(count: number): Int32Array {
  const tables = new Int32Array(256 * count);
  for (let byte = 0; byte < 256; byte++) {
    let c = byte;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    tables[byte] = c;
  }
  for (let at = 256; at < tables.length; at++) {
    const c = tables[at - 256] as number;
    tables[at] = (c >>> 8) ^ (tables[c & 0xff] as number);
  }
  return tables;
}
