/** What decoding puts where bytes are no UTF-8. */
const REPLACEMENT = "\ufffd";
const SURROGATE: RegExp = /[\ud800-\udfff]/;

/**
 * The text in `bytes[start, end)`. ZooKeeper's servers write UTF-8, but a character above U+FFFF as two times three
 * bytes, one for each half (CESU-8). Both forms are read. (Servers read their own form back as replacement characters:
 * such a character in an ACL does not survive their restart. Paths cannot hold any.) Other bytes that are no UTF-8
 * become U+FFFD, as in a server.
 */
export function decodeText(bytes: Buffer, start: number, end: number): string {
  const text = bytes.toString("utf8", start, end);
  return text.includes(REPLACEMENT) ? decodeHalves(bytes, start, end) : text;
}

/** The bytes of `text` as a server writes them; see {@link decodeText}. */
export function encodeText(text: string): Buffer {
  if (!SURROGATE.test(text)) return Buffer.from(text);
  const bytes = Buffer.allocUnsafe(3 * text.length);
  let end = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) {
      bytes[end++] = unit;
      continue;
    }
    if (unit < 0x800) {
      bytes[end++] = 0xc0 | (unit >>> 6);
    } else {
      bytes[end++] = 0xe0 | (unit >>> 12);
      bytes[end++] = 0x80 | ((unit >>> 6) & 0x3f);
    }
    bytes[end++] = 0x80 | (unit & 0x3f);
  }
  return bytes.subarray(0, end);
}

function decodeHalves(bytes: Buffer, start: number, end: number): string {
  // No byte makes more than one UTF-16 unit.
  const units = Buffer.allocUnsafe(2 * (end - start));
  let length = 0;
  let done = start;
  for (let at = start; at + 3 <= end; at++) {
    if (!isHalf(bytes, at)) continue;
    length += units.write(bytes.toString("utf8", done, at), length, "utf16le");
    length = units.writeUInt16LE(
      0xd000 | (((bytes[at + 1] as number) & 0x3f) << 6) | ((bytes[at + 2] as number) & 0x3f),
      length,
    );
    done = at + 3;
    at += 2;
  }
  length += units.write(bytes.toString("utf8", done, end), length, "utf16le");
  return units.toString("utf16le", 0, length);
}

/** Whether three bytes at `at` are one half of a character above U+FFFF. */
function isHalf(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0xed && (bytes[at + 1] as number) >>> 5 === 5 && (bytes[at + 2] as number) >>> 6 === 2;
}
