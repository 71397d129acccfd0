/** Adler-32 of no bytes. */
export const ADLER32_START = 1;

const MODULUS = 65521;

/**
 * Largest multiple of 16 for which neither sum leaves 31 bits when every byte is 255 and both sums start at their
 * largest. Within 31 bits V8 adds machine integers; above, it would fall back to floating point.
 */
const BYTES_PER_REDUCTION = 3840;

/** Below this a DataView costs more than it saves. */
const SHORT = 256;

/**
 * Adler-32 (RFC 1950) of `bytes[start, end)`, as an unsigned number. To continue a running checksum pass what it was
 * so far as `previous`.
 */
export function adler32(
  bytes: Uint8Array,
  previous: number = ADLER32_START,
  start: number = 0,
  end: number = bytes.byteLength,
): number {
  let a = previous & 0xffff;
  let b = previous >>> 16;
  let at = start;
  const view = end - start < SHORT ? null : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  while (at < end) {
    const stop = Math.min(end, at + BYTES_PER_REDUCTION);
    if (view !== null) {
      const stopOfBlocks = at + ((stop - at) & ~15);
      while (at < stopOfBlocks) {
        const w0 = view.getUint32(at);
        const w1 = view.getUint32(at + 4);
        const w2 = view.getUint32(at + 8);
        const w3 = view.getUint32(at + 12);
        // Two bytes per addition, in the 16-bit lanes of a word. First and third byte of each word:
        const even0 = (w0 >>> 8) & 0xff00ff;
        const even1 = (w1 >>> 8) & 0xff00ff;
        const even2 = (w2 >>> 8) & 0xff00ff;
        const even3 = (w3 >>> 8) & 0xff00ff;
        // ... and with the second and fourth byte added: sums of two neighbours.
        const pair0 = even0 + (w0 & 0xff00ff);
        const pair1 = even1 + (w1 & 0xff00ff);
        const pair2 = even2 + (w2 & 0xff00ff);
        const pair3 = even3 + (w3 & 0xff00ff);
        const pairs = pair0 + pair1 + pair2 + pair3;
        const high = pairs >>> 16;
        const low = pairs & 0xffff;
        // Byte k of the 16 counts 16-k times in b. That is 4 times (3, 2, 1, 0) by word, and (4, 3, 2, 1) within
        // each word, which is 3 times the high pair, once the low pair, and the even bytes once more.
        const byWord = pair0 * 3 + pair1 * 2 + pair2;
        const even = even0 + even1 + even2 + even3;
        b = (b + (a << 4) + (((byWord >>> 16) + (byWord & 0xffff)) << 2)) | 0;
        b = (b + high * 3 + low + (even >>> 16) + (even & 0xffff)) | 0;
        a = (a + high + low) | 0;
        at += 16;
      }
    }
    while (at < stop) {
      a = (a + (bytes[at] as number)) | 0;
      b = (b + a) | 0;
      at += 1;
    }
    a %= MODULUS;
    b %= MODULUS;
  }
  return ((b << 16) | a) >>> 0;
}
