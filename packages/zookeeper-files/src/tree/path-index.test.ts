import { describe, expect, it } from "vitest";
import { PathIndex } from "./path-index.ts";

/** All slots with this checksum. */
function slotsOf(index: PathIndex, crc: number): number[] {
  const slots: number[] = [];
  for (let slot = index.first(crc); slot !== 0; slot = index.next()) slots.push(slot);
  return slots.sort((a, b) => a - b);
}

describe("PathIndex", () => {
  it("finds what was entered and not removed, through growth and holes", () => {
    const index = new PathIndex();
    const entered = new Map<number, number>();
    let random = 1;
    for (let slot = 1; slot <= 60_000; slot++) {
      random = Math.imul(random, 1_664_525) + 1_013_904_223;
      const crc = random ^ (random >>> 15);
      if (index.enter(crc, slot)) entered.set(slot, crc);
      if (slot % 3 === 0) {
        const [gone, its] = entered.entries().next().value as [number, number];
        expect(index.remove(its, gone)).toBe(true);
        entered.delete(gone);
      }
    }
    expect(entered.size).toBeGreaterThan(39_900);
    const missing = [...entered].filter(([slot, crc]) => !slotsOf(index, crc).includes(slot));
    expect(missing).toEqual([]);
    expect(index.remove(12_345, 999_999)).toBe(false);
  });

  it("takes a few of the same checksum, and refuses more", () => {
    const index = new PathIndex();
    const taken = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].filter((slot) => index.enter(-5, slot));
    expect(taken.length).toBeGreaterThanOrEqual(4);
    expect(taken.length).toBeLessThan(12);
    expect(slotsOf(index, -5)).toEqual(taken);
    expect(index.remove(-5, 2)).toBe(true);
    expect(slotsOf(index, -5)).toEqual(taken.filter((slot) => slot !== 2));
  });

  it("puts a slot in the place of another", () => {
    const index = new PathIndex();
    index.enter(7, 1);
    expect(index.replace(7, 1, 2)).toBe(true);
    expect(index.replace(7, 1, 3)).toBe(false);
    expect(slotsOf(index, 7)).toEqual([2]);
  });

  it("has the same in it after room was made", () => {
    const index = new PathIndex();
    for (let slot = 1; slot <= 500; slot++) index.enter(slot * 7, slot);
    index.reserve(100_000);
    for (let slot = 1; slot <= 500; slot++) expect(slotsOf(index, slot * 7)).toEqual([slot]);
  });
});
