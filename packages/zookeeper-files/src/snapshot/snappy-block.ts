/**
 * Raw snappy blocks: a varint with the plain length, then literals and copies.
 *
 * Format: https://github.com/google/snappy/blob/main/format_description.txt. Our own decoder, because the decoder of
 * the npm package snappyjs 0.7.0 can be made to loop forever by a block with a long literal of negative length, and
 * accepts blocks that yield fewer or more bytes than they declare.
 */

/** The length that the block declares, or null where it declares none that fits 32 bits. */
export function snappyPlainLength(block: Uint8Array): number | null {
  return readVarint(block)?.value ?? null;
}

function readVarint(block: Uint8Array): { value: number; bytes: number } | null {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = block[i];
    if (byte === undefined) return null;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value < 2 ** 32 ? { value, bytes: i + 1 } : null;
  }
  return null;
}

/** Decodes `block` into `plain`. False unless it is well formed and fills `plain` exactly. */
export function decodeSnappyBlock(block: Uint8Array, plain: Uint8Array): boolean {
  const declared = readVarint(block);
  if (declared === null || declared.value !== plain.byteLength) return false;
  let at = declared.bytes;
  let out = 0;
  while (at < block.byteLength) {
    const tag = block[at] as number;
    at += 1;
    const kind = tag & 3;
    if (kind === 0) {
      // A literal; lengths over 60 stand in the next 1 to 4 bytes, little-endian.
      let length = (tag >>> 2) + 1;
      if (length > 60) {
        const lengthBytes = length - 60;
        if (at + lengthBytes > block.byteLength) return false;
        length = littleEndian(block, at, lengthBytes) + 1;
        at += lengthBytes;
      }
      if (at + length > block.byteLength || out + length > plain.byteLength) return false;
      plain.set(block.subarray(at, at + length), out);
      at += length;
      out += length;
    } else {
      const offsetBytes = kind === 3 ? 4 : kind;
      if (at + offsetBytes > block.byteLength) return false;
      let offset = littleEndian(block, at, offsetBytes);
      at += offsetBytes;
      let length = (tag >>> 2) + 1;
      if (kind === 1) {
        offset += (tag >>> 5) << 8;
        length = ((tag >>> 2) & 7) + 4;
      }
      if (offset === 0 || offset > out || out + length > plain.byteLength) return false;
      // Byte by byte: a copy may reach into what it writes, which repeats a pattern.
      for (const stop = out + length; out < stop; out++) plain[out] = plain[out - offset] as number;
    }
  }
  return out === plain.byteLength;
}

function littleEndian(bytes: Uint8Array, at: number, count: number): number {
  let value = 0;
  for (let i = count - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] as number);
  return value;
}
