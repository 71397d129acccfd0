import { expect, test } from "vitest";
import { adler32 } from "./adler32.ts";
import { zlibAdler32 } from "./testing/made-snapshot.ts";

function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 0x2545f491;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

test("known values", () => {
  expect(adler32(Buffer.alloc(0))).toBe(1);
  expect(adler32(Buffer.from("Wikipedia"))).toBe(0x11e60398);
});

test("agrees with zlib for all lengths around the sizes that matter, and for the extreme bytes", () => {
  const bytes = noise(20_000);
  const full = Buffer.alloc(20_000, 0xff);
  for (const around of [0, 16, 256, 272, 3840, 3840 + 256, 7680, 19_990]) {
    for (let length = Math.max(0, around - 18); length < around + 10; length++) {
      expect(adler32(bytes.subarray(0, length))).toBe(zlibAdler32(bytes.subarray(0, length)));
      expect(adler32(full.subarray(0, length))).toBe(zlibAdler32(full.subarray(0, length)));
    }
  }
});

test("does not overflow when both sums start at their largest", () => {
  const largest = 65520 * 65536 + 65520;
  const full = Buffer.alloc(8000, 0xff);
  let a = 65520n;
  let b = 65520n;
  for (const byte of full) {
    a = (a + BigInt(byte)) % 65521n;
    b = (b + a) % 65521n;
  }
  expect(adler32(full, largest)).toBe(Number((b << 16n) | a));
});

test("continues where it was left, at any place and inside a larger buffer", () => {
  const bytes = noise(10_000);
  const whole = zlibAdler32(bytes.subarray(7, 9_993));
  for (let cut = 7; cut < 9_993; cut += 131) {
    expect(adler32(bytes, adler32(bytes, undefined, 7, cut), cut, 9_993)).toBe(whole);
  }
});
