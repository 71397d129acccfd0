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
