import { describe, expect, it } from "vitest";
import { DigestSum } from "./digest-sum.ts";

/** As it stands in a file. */
function long(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt.asIntN(64, value));
  return bytes;
}

describe("DigestSum", () => {
  it("adds and takes back unsigned 32-bit numbers", () => {
    const sum = new DigestSum();
    let expected = 0n;
    const inside: number[] = [];
    for (let n = 0; n < 20_000; n++) {
      const before = n % 3 === 2 ? (inside.shift() ?? 0) : 0;
      const after = Math.imul(n + 1, 0x9e3779b1);
      inside.push(after);
      sum.replace(before, after);
      expected += BigInt(after >>> 0) - BigInt(before >>> 0);
      if (sum.value !== expected || !sum.equals(long(expected), 0)) expect(sum.value).toBe(expected);
    }
    expect(sum.value).toBe(expected);
  });

  it("carries beyond 2^48, and back", () => {
    const sum = new DigestSum();
    for (let n = 0; n < 200_000; n++) sum.replace(0, -1);
    expect(sum.value).toBe(200_000n * 0xffff_ffffn);
    expect(sum.equals(long(sum.value), 0)).toBe(true);
    for (let n = 0; n < 199_999; n++) sum.replace(-1, 0);
    expect(sum.value).toBe(0xffff_ffffn);
  });

  it("wraps below zero as a signed 64-bit number does", () => {
    const sum = new DigestSum();
    sum.replace(5, 2);
    expect(sum.value).toBe(-3n);
    expect(sum.equals(long(-3n), 0)).toBe(true);
    expect(sum.equals(long(-4n), 0)).toBe(false);
    expect(sum.equals(long(0xffff_fffdn), 0)).toBe(false);
  });

  it("knows another sum of the same value", () => {
    const [a, b] = [new DigestSum(), new DigestSum()];
    a.replace(0, 7);
    b.replace(0, 9);
    expect(a.isSameAs(b)).toBe(false);
    b.replace(9, 7);
    expect(a.isSameAs(b)).toBe(true);
  });
});
