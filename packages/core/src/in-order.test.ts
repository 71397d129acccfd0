import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { inOrder } from "./in-order.ts";

/** Works on weights, each the slower the lighter it is; says what was under way together. */
async function run(weights: readonly number[], atOnce: number, maxWeight: number) {
  const underWay = new Set<number>();
  let most = { count: 0, weight: 0 };
  const results = inOrder(weights.entries(), {
    atOnce,
    maxWeight,
    weightOf: ([, weight]) => weight,
    async work([index, weight]) {
      underWay.add(index);
      const total = [...underWay].reduce((sum, one) => sum + (weights[one] ?? 0), 0);
      most = { count: Math.max(most.count, underWay.size), weight: Math.max(most.weight, total) };
      await delay(10 - weight);
      underWay.delete(index);
      return index;
    },
  });
  return { results: await Array.fromAsync(results), most };
}

it.each([
  ["as many as it may", [1, 1, 1, 1, 1, 1], 3, 100, { count: 3, weight: 3 }],
  ["as many as weigh no more than they may", [4, 4, 4, 1, 1], 9, 8, { count: 3, weight: 8 }],
  ["one that is too heavy alone", [1, 9, 1], 9, 5, { count: 1, weight: 9 }],
  ["nothing", [], 3, 3, { count: 0, weight: 0 }],
])("does %s at once, and tells in order", async (_, weights, atOnce, maxWeight, most) => {
  expect(await run(weights, atOnce, maxWeight)).toEqual({ results: [...weights.keys()], most });
});

it("tells of a failure when its turn comes, and takes nothing more", async () => {
  const failure = new Error("the second");
  let taken = 0;
  let isClosed = false;
  async function* items() {
    try {
      for (; ; taken += 1) yield taken;
    } finally {
      isClosed = true;
    }
  }
  const work = async (item: number) => (item === 1 ? Promise.reject(failure) : item);
  const results = inOrder(items(), { atOnce: 4, maxWeight: 99, weightOf: () => 1, work });
  expect(await results.next()).toEqual({ value: 0, done: false });
  await expect(results.next()).rejects.toBe(failure);
  expect({ taken, isClosed }).toEqual({ taken: 5, isClosed: true });
});
