import { describe, expect, it } from "vitest";
import { sizeWithout, withoutRanges } from "./without-ranges.ts";

const BYTES = Buffer.from(Array.from({ length: 40 }, (_, index) => index));

async function* chunksOf(size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < BYTES.byteLength; at += size) yield BYTES.subarray(at, at + size);
}

describe("a file without some of its ranges", () => {
  it.each([
    ["none", []],
    ["one in the middle", [[5, 7]]],
    [
      "its beginning and its end",
      [
        [0, 3],
        [35, 5],
      ],
    ],
    [
      "neighbours",
      [
        [4, 4],
        [8, 4],
        [12, 1],
      ],
    ],
    ["all of it", [[0, 40]]],
  ] as [string, [number, number][]][])("has the rest, without %s, however it is cut", async (_, pairs) => {
    const ranges = pairs.map(([offset, length]) => ({ offset, length }));
    const rest = [...BYTES].filter((at) => !pairs.some(([offset, length]) => at >= offset && at < offset + length));
    for (const size of [1, 3, 7, 40]) {
      const found: number[] = [];
      for await (const chunk of withoutRanges(chunksOf(size), ranges)) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        found.push(...chunk);
      }
      expect(found).toEqual(rest);
    }
    expect(sizeWithout(ranges, 40)).toBe(rest.length);
  });

  it("counts no range that begins behind the end, and of one that reaches over it only what is before", () => {
    expect(
      sizeWithout(
        [
          { offset: 2, length: 3 },
          { offset: 8, length: 9 },
          { offset: 30, length: 2 },
        ],
        10,
      ),
    ).toBe(5);
  });
});
