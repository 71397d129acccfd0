import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { MAX_PARTS, type Part, partSize, sendInParts, splitIntoParts } from "./multipart.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
const TIB = 1024 ** 4;

function totalOf(parts: number, firstPartBytes: number): number {
  let total = 0;
  for (let number = 1; number <= parts; number += 1) total += partSize(number, firstPartBytes);
  return total;
}

describe("partSize", () => {
  it("reaches 5 TiB in 10,000 parts of at most 1 GiB", () => {
    expect(totalOf(MAX_PARTS, 8 * MIB)).toBeGreaterThanOrEqual(5 * TIB);
    expect(partSize(MAX_PARTS, 8 * MIB)).toBe(GIB);
  });

  it("stays small for objects of ordinary size", () => {
    expect(totalOf(800, 8 * MIB)).toBe(6.25 * GIB);
    expect(partSize(1, 8 * MIB)).toBe(8 * MIB);
    expect(partSize(800, 8 * MIB)).toBe(8 * MIB);
    expect(partSize(801, 8 * MIB)).toBe(16 * MIB);
  });

  it("never shrinks, and keeps to what S3 allows", () => {
    for (const first of [5 * MIB, 8 * MIB, 100 * MIB, GIB]) {
      for (let number = 1; number < MAX_PARTS; number += 1) {
        expect(partSize(number + 1, first)).toBeGreaterThanOrEqual(partSize(number, first));
      }
      expect(partSize(MAX_PARTS, first)).toBeLessThanOrEqual(5 * GIB);
    }
  });
});

async function* chunksOf(...sizes: number[]): AsyncGenerator<Uint8Array, void, void> {
  let value = 0;
  for (const size of sizes) {
    yield Buffer.alloc(size, value);
    value += 1;
  }
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

describe("splitIntoParts", () => {
  it("cuts at the sizes, whatever the chunks", async () => {
    const parts = await all(splitIntoParts(chunksOf(3, 0, 8, 1, 30), (number) => (number < 3 ? 10 : 20)));
    expect(parts.map(({ number, bytes, last }) => [number, bytes.byteLength, last])).toEqual([
      [1, 10, false],
      [2, 10, false],
      [3, 20, false],
      [4, 2, true],
    ]);
    expect(Buffer.concat(parts.map(({ bytes }) => bytes))).toEqual(Buffer.concat(await all(chunksOf(3, 0, 8, 1, 30))));
  });

  it("makes one last part of nothing, and of exactly one part", async () => {
    const shape = async (...sizes: number[]): Promise<unknown> =>
      (await all(splitIntoParts(chunksOf(...sizes), () => 10))).map(({ bytes, last }) => [bytes.byteLength, last]);
    expect(await shape()).toEqual([[0, true]]);
    expect(await shape(10)).toEqual([[10, true]]);
    expect(await shape(10, 0)).toEqual([[10, true]]);
    expect(await shape(10, 1)).toEqual([
      [10, false],
      [1, true],
    ]);
  });
});

describe("sendInParts", () => {
  const plan = { firstPartBytes: 10, concurrency: 3, stop: (): void => {} };

  it("returns what was sent in the order of the parts", async () => {
    const send = async ({ number }: Part): Promise<number> => {
      await delay(Math.random() * 10);
      return number;
    };
    expect(await sendInParts(chunksOf(95), { ...plan, send })).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it("keeps to the number of parts at once, and pulls no more than one ahead", async () => {
    let pulled = 0;
    let underWay = 0;
    let most = 0;
    async function* body(): AsyncGenerator<Uint8Array, void, void> {
      for (; pulled < 40; pulled += 1) yield Buffer.alloc(10);
    }
    let finished = 0;
    await sendInParts(body(), {
      ...plan,
      send: async () => {
        underWay += 1;
        most = Math.max(most, underWay);
        await delay(2);
        underWay -= 1;
        finished += 1;
        expect(pulled - finished).toBeLessThanOrEqual(plan.concurrency + 2);
      },
    });
    expect(most).toBe(3);
  });

  it("calls stop and waits for every part before it rejects with the first error", async () => {
    const events: string[] = [];
    const failure = new Error("part 2 failed");
    const sending = sendInParts(chunksOf(1000), {
      ...plan,
      send: async ({ number }) => {
        await delay(number === 2 ? 5 : 30);
        if (number === 2) throw failure;
        events.push(`part ${number} settled`);
      },
      stop: (error) => events.push(`stop: ${(error as Error).message}`),
    });
    await expect(sending).rejects.toBe(failure);
    expect(events).toEqual(["stop: part 2 failed", "part 1 settled", "part 3 settled"]);
    await delay(50);
    expect(events).toHaveLength(3);
  });

  it("rejects with the body's own error, and closes the body when a part fails", async () => {
    const failure = new Error("the body failed");
    async function* broken(): AsyncGenerator<Uint8Array, void, void> {
      yield Buffer.alloc(25);
      throw failure;
    }
    await expect(sendInParts(broken(), { ...plan, send: async () => 1 })).rejects.toBe(failure);

    let closed = false;
    async function* endless(): AsyncGenerator<Uint8Array, void, void> {
      try {
        while (true) yield Buffer.alloc(25);
      } finally {
        closed = true;
      }
    }
    await expect(sendInParts(endless(), { ...plan, send: () => Promise.reject(failure) })).rejects.toBe(failure);
    expect(closed).toBe(true);
  });
});
