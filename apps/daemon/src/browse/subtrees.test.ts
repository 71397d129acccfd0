import { checkSnapshot, createReplay, writeSnapshot, type ZnodeTree } from "@zk-backyp/zookeeper-files";
import { expect, it } from "vitest";
import { largestSubtrees, type Measure, subtreesOf } from "./subtrees.ts";

const STAT = {
  ...{ czxid: 1n, mzxid: 1n, pzxid: 1n, ctimeMs: 0, mtimeMs: 0, version: 0, cversion: 0, aversion: 0 },
  ephemeralOwner: 0n,
};

/** Paths, each with the length of its data; -1 for null. */
async function treeOf(sizes: Readonly<Record<string, number>>): Promise<ZnodeTree> {
  const nodes = Object.entries({ "": 0, ...sizes }).map(([path, size]) => {
    return { path, data: size < 0 ? null : Buffer.alloc(size), aclId: -1n, stat: STAT };
  });
  const replay = createReplay();
  const bytes = writeSnapshot({ sessions: new Map(), acls: new Map(), nodes });
  replay.snapshotEnd(1n, await checkSnapshot(bytes, replay.snapshotHooks));
  return replay.tree;
}

const SIZES = {
  "/a": 1,
  "/a/x": 10,
  "/a/x/deep": 100,
  "/a/y": -1,
  "/b": 5,
  "/b/1": 0,
  "/b/2": 0,
  "/b/3": 0,
  "/b/4": 0,
  "/c": 3,
};

function lines(subtrees: ReturnType<typeof subtreesOf>): string[] {
  return subtrees.map((subtree) => {
    const name = "path" in subtree ? subtree.path : `+${subtree.subtrees}`;
    return `${subtree.depth} ${name} ${subtree.znodes} ${subtree.dataBytes}`;
  });
}

it("every subtree has its totals, whatever depth is shown", async () => {
  const tree = await treeOf(SIZES);
  expect(lines(subtreesOf(tree, "/", "data", 1, 100))).toEqual(["0 / 11 119", "1 /a 4 111", "1 /b 5 5", "1 /c 1 3"]);
  expect(lines(subtreesOf(tree, "/a", "data", 9, 100))).toEqual([
    "0 /a 4 111",
    "1 /a/x 2 110",
    "2 /a/x/deep 1 100",
    "1 /a/y 1 0",
  ]);
  expect(lines(subtreesOf(tree, "/", "data", 0, 100))).toEqual(["0 / 11 119"]);
  expect(lines(subtreesOf(tree, "/none", "data", 9, 100))).toEqual([]);
});

it.each<[Measure, string[]]>([
  ["data", ["0 / 11 119", "1 /a 4 111", "2 /a/x 2 110", "2 +1 1 0", "1 +2 6 8"]],
  ["znodes", ["0 / 11 119", "1 /b 5 5", "2 /b/1 1 0", "2 +3 3 0", "1 +2 5 114"]],
])("what is not among the largest children by %s is in one sum, so that all sums are right", async (by, expected) => {
  expect(lines(subtreesOf(await treeOf(SIZES), "/", by, 2, 1))).toEqual(expected);
});

it("the largest subtrees come first, and not the one that holds them all", async () => {
  const tree = await treeOf(SIZES);
  expect(lines(largestSubtrees(tree, "/", "data", 9, 3))).toEqual(["1 /a 4 111", "2 /a/x 2 110", "3 /a/x/deep 1 100"]);
  expect(lines(largestSubtrees(tree, "/", "znodes", 1, 2))).toEqual(["1 /b 5 5", "1 /a 4 111"]);
  expect(lines(largestSubtrees(tree, "/c", "data", 9, 3))).toEqual([]);
});

it("the largest are found among very many, and of equal ones the first", () => {
  const walk = function* () {
    yield { path: "/", name: "", dataLength: 0 };
    for (let index = 0; index < 25_000; index++) {
      yield { path: `/${index}`, name: `${index}`, dataLength: (index * 7_919) % 5_000 };
    }
  };
  const found = largestSubtrees({ walk } as unknown as ZnodeTree, "/", "data", 1, 7);
  const expected = [...walk()].slice(1).sort((a, b) => b.dataLength - a.dataLength);
  expect(found.map(({ path }) => path)).toEqual(expected.slice(0, 7).map(({ path }) => path));
});

it("a tree may be deeper than the stack", () => {
  const walk = function* () {
    for (let depth = 0; depth <= 9_000; depth++) yield { path: "/a".repeat(depth) || "/", name: "a", dataLength: 1 };
  };
  const found = subtreesOf({ walk } as unknown as ZnodeTree, "/", "data", 1e6, 1);
  expect(found).toHaveLength(9_001);
  expect(found.at(-1)).toMatchObject({ depth: 9_000, znodes: 1, dataBytes: 1 });
});
