import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { holdsQuorum, type QuorumRule, spareVoters } from "./quorum.ts";

const majority = (...voters: number[]): QuorumRule => ({ voters, groups: null });
const ofWeights = (...groups: Record<number, number>[]): QuorumRule => {
  const weighted = groups.map((group) => Object.entries(group).map(([id, weight]) => ({ id: Number(id), weight })));
  return { voters: weighted.flat().map(({ id }) => id), groups: weighted };
};

describe("a quorum", () => {
  it.each<[string, QuorumRule, number[], number]>([
    ["one of one", majority(1), [1], 0],
    ["one of two", majority(1, 2), [1], -1],
    ["two of two", majority(1, 2), [1, 2], 0],
    ["one of three", majority(1, 2, 3), [1], -1],
    ["two of three", majority(1, 2, 3), [1, 3], 0],
    ["three of three", majority(1, 2, 3), [1, 2, 3], 1],
    ["two of four", majority(1, 2, 3, 4), [1, 2], -1],
    ["three of four", majority(1, 2, 3, 4), [1, 2, 3], 0],
    ["two of five", majority(1, 2, 3, 4, 5), [4, 5], -1],
    ["five of five", majority(1, 2, 3, 4, 5), [1, 2, 3, 4, 5], 2],
    ["one of three, named twice", majority(1, 2, 3), [1, 1], -1],
    ["one of three, and strangers", majority(1, 2, 3), [1, 8, 9], -1],
    ["nobody", majority(1, 2, 3), [], -1],
    [
      "two of three groups",
      ofWeights({ 1: 1, 2: 1, 3: 1 }, { 4: 1, 5: 1, 6: 1 }, { 7: 1, 8: 1, 9: 1 }),
      [1, 2, 4, 5],
      0,
    ],
    ["one of two groups", ofWeights({ 1: 1, 2: 1, 3: 1 }, { 4: 1 }), [1, 2, 3], -1],
    ["most servers, but one group", ofWeights({ 1: 1, 2: 1, 3: 1, 4: 1 }, { 5: 1 }, { 6: 1 }), [1, 2, 3, 4], -1],
    ["the heavier one of two", ofWeights({ 1: 1, 2: 3 }), [2], 0],
    ["the lighter one of two", ofWeights({ 1: 1, 2: 3 }), [1], -1],
    ["half of the weight", ofWeights({ 1: 2, 2: 2 }), [1], -1],
    ["a group beside one without weight", ofWeights({ 1: 1 }, { 2: 0, 3: 0 }), [1], 0],
    ["servers without weight", ofWeights({ 1: 1 }, { 2: 0, 3: 0 }), [2, 3], -1],
    ["groups without any weight", ofWeights({ 1: 0 }), [1], -1],
    [
      "all nine in three groups",
      ofWeights({ 1: 1, 2: 1, 3: 1 }, { 4: 1, 5: 1, 6: 1 }, { 7: 1, 8: 1, 9: 1 }),
      [1, 2, 3, 4, 5, 6, 7, 8, 9],
      3,
    ],
  ])("of %s", (_, rule, ids, spare) => {
    expect(spareVoters(rule, ids)).toBe(spare);
    expect(holdsQuorum(rule, ids)).toBe(spare >= 0);
  });

  it("of observers in a group is none", () => {
    const rule = {
      voters: [1],
      groups: [
        [
          { id: 1, weight: 1 },
          { id: 2, weight: 1 },
        ],
      ],
    };
    expect(holdsQuorum(rule, [1, 2])).toBe(false);
  });

  const rules = fc.oneof(
    fc.integer({ min: 1, max: 8 }).map((size) => majority(...Array.from({ length: size }, (_, index) => index + 1))),
    fc
      .array(
        fc.record({
          group: fc.integer({ min: 1, max: 4 }),
          weight: fc.integer({ min: 0, max: 4 }),
          votes: fc.constantFrom(true, true, true, false),
        }),
        { minLength: 1, maxLength: 8 },
      )
      .map((servers): QuorumRule => {
        const numbered = servers.map((server, index) => ({ ...server, id: index + 1 }));
        const groups = [1, 2, 3, 4].map((group) => numbered.filter((server) => server.group === group));
        return {
          voters: numbered.filter(({ votes }) => votes).map(({ id }) => id),
          groups: groups
            .filter((group) => group.length > 0)
            .map((group) => group.map(({ id, weight }) => ({ id, weight }))),
        };
      }),
  );
  const some = fc.uniqueArray(fc.integer({ min: 1, max: 10 }));

  it("is what ZooKeeper's own code says", () => {
    fc.assert(
      fc.property(rules, some, (rule, ids) => {
        expect(holdsQuorum(rule, ids)).toBe(asZooKeeper(rule, ids));
      }),
    );
  });

  it("bears as many failures as can be tried", () => {
    fc.assert(
      fc.property(rules, some, (rule, ids) => {
        const worst = subsets(ids.filter((id) => rule.voters.includes(id)))
          .filter(
            (failed) =>
              !asZooKeeper(
                rule,
                ids.filter((id) => !failed.includes(id)),
              ),
          )
          .map((failed) => failed.length);
        expect(spareVoters(rule, ids)).toBe(Math.min(...worst) - 1);
      }),
    );
  });
});

/** `containsQuorum` of QuorumMaj and QuorumHierarchical, step by step. Only voters ever acknowledge anything. */
function asZooKeeper({ voters, groups }: QuorumRule, ids: readonly number[]): boolean {
  const acknowledged = voters.filter((id) => ids.includes(id));
  if (groups === null) return acknowledged.length > Math.trunc(voters.length / 2);
  if (acknowledged.length === 0) return false;
  const expansion = new Map<number, number>();
  for (const id of acknowledged) {
    for (const [gid, group] of groups.entries()) {
      const weight = group.find((server) => server.id === id)?.weight;
      if (weight !== undefined) expansion.set(gid, (expansion.get(gid) ?? 0) + weight);
    }
  }
  const groupWeights = groups.map((group) => group.reduce((sum, { weight }) => sum + weight, 0));
  const numGroups = groupWeights.filter((weight) => weight !== 0).length;
  let majGroupCounter = 0;
  for (const [gid, weight] of expansion) {
    if (weight > Math.trunc((groupWeights[gid] ?? 0) / 2)) majGroupCounter += 1;
  }
  return majGroupCounter > Math.trunc(numGroups / 2);
}

function subsets(ids: readonly number[]): number[][] {
  return Array.from({ length: 2 ** ids.length }, (_, bits) => ids.filter((_id, index) => (bits >> index) % 2 === 1));
}
