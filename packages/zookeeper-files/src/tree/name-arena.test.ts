import { describe, expect, it } from "vitest";
import { NameArena } from "./name-arena.ts";

describe("NameArena", () => {
  it("keeps what is in it, whatever comes and goes", () => {
    const arena = new NameArena();
    const kept = new Map<number, Buffer>();
    let random = 1;
    for (let n = 0; n < 20_000; n++) {
      random = Math.imul(random, 1_103_515_245) + 12_345;
      const dice = (random >>> 8) % 100;
      if (dice < 45 && kept.size > 0) {
        const [ref, name] = [...kept.entries()][0] as [number, Buffer];
        arena.free(ref, name.byteLength);
        kept.delete(ref);
      } else {
        const length = dice === 99 ? 70_000 + (n % 7) : (random >>> 16) % 60;
        const name = Buffer.alloc(length, `${n} `);
        const ref = arena.store(name, 0, length);
        expect(kept.has(ref)).toBe(false);
        kept.set(ref, name);
      }
    }
    for (const [ref, name] of kept) {
      expect(arena.equals(ref, name.byteLength, name, 0)).toBe(true);
      expect(arena.read(ref, name.byteLength)).toBe(name.toString());
    }
  });

  it("uses the place of a freed name for the next one of its length", () => {
    const arena = new NameArena();
    const first = arena.store(Buffer.from("one"), 0, 3);
    const second = arena.store(Buffer.from("two"), 0, 3);
    arena.free(first, 3);
    expect(arena.store(Buffer.from("xtreex"), 1, 5)).toBe(first);
    expect(arena.read(first, 4)).toBe("tree");
    expect(arena.read(second, 3)).toBe("two");
  });
});
