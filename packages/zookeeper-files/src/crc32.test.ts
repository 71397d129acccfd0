import { randomBytes } from "node:crypto";
import { crc32 as zlibCrc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { crc32, crc32OfWords } from "./crc32.ts";

describe("crc32", () => {
  const bytes = randomBytes(2_000);

  it("is that of zlib, for every length and start", () => {
    for (let length = 0; length < 600; length++) {
      const start = length % 17;
      const end = start + length;
      expect(crc32(bytes, 0, start, end) >>> 0).toBe(zlibCrc32(bytes.subarray(start, end)));
    }
  });

  it.each([0, 1, 15, 16, 100, 511, 512, 700])("continues after %i bytes", (first) => {
    const whole = zlibCrc32(bytes.subarray(0, 1_500)) | 0;
    expect(crc32(bytes, crc32(bytes, 0, 0, first), first, 1_500)).toBe(whole);
  });

  it("takes an end before the start for no bytes", () => {
    expect(crc32(bytes, 12_345, 10, 9)).toBe(12_345);
  });
});

describe("crc32OfWords", () => {
  it("takes the lowest byte of each word first", () => {
    const bytes = randomBytes(60);
    const words = new Int32Array(20);
    for (let n = 0; n < 15; n++) words[n + 3] = bytes.readInt32LE(4 * n);
    expect(crc32OfWords(words, -7, 3, 15) >>> 0).toBe(zlibCrc32(bytes, -7 >>> 0));
  });
});
