import { describe, expect, it } from "vitest";
import { checkSnapshot } from "../snapshot/snapshot-checker.ts";
import { chunksOf } from "../testing/chunks.ts";
import { type MadeNode, makeSnapshot } from "../testing/made-snapshot.ts";
import { createReplay } from "./replay.ts";
import { diffTrees, type TreeChange } from "./tree-diff.ts";
import type { ZnodeTree } from "./znode-tree.ts";

async function treeOf(
  nodes: readonly MadeNode[],
  { aclIds = [], contentHash = true }: { aclIds?: readonly bigint[]; contentHash?: boolean } = {},
): Promise<ZnodeTree> {
  const replay = createReplay({ contentHash });
  const bytes = makeSnapshot({ nodes: [{ path: "" }, ...nodes], aclIds });
  replay.snapshotEnd(9n, await checkSnapshot(chunksOf(bytes, 4096), replay.snapshotHooks));
  return replay.tree;
}

function told(changes: Iterable<TreeChange>): string[] {
  return [...changes].map((change) =>
    change.kind === "changed" ? `changed ${change.path}: ${change.fields.join(" ")}` : `${change.kind} ${change.path}`,
  );
}

const text = (value: string): Buffer => Buffer.from(value);

describe("the difference of two trees", () => {
  it("is nothing for equal trees, in whatever order their files have them", async () => {
    const a = await treeOf([{ path: "/a" }, { path: "/a/x", data: text("1") }, { path: "/b" }]);
    const b = await treeOf([{ path: "/b" }, { path: "/a" }, { path: "/a/x", data: text("1") }]);
    expect(told(diffTrees(a, b))).toEqual([]);
  });

  it("names what came, what went and what changed, in the order of the tree", async () => {
    const a = await treeOf([
      { path: "/a", data: text("1") },
      { path: "/a/gone" },
      { path: "/a/gone/child" },
      { path: "/b", mzxid: 5n },
    ]);
    const b = await treeOf([
      { path: "/a", data: text("2") },
      { path: "/a/new" },
      { path: "/b", mzxid: 6n },
      { path: "/c" },
    ]);
    expect(told(diffTrees(a, b))).toEqual([
      "changed /a: data",
      "removed /a/gone",
      "removed /a/gone/child",
      "added /a/new",
      "changed /b: mzxid",
      "added /c",
    ]);
  });

  it.each<[string, MadeNode, MadeNode, string]>([
    ["no data and empty data", { path: "/n", data: null }, { path: "/n", data: text("") }, "data"],
    ["data of one length", { path: "/n", data: text("ab") }, { path: "/n", data: text("ba") }, "data"],
    ["another owner", { path: "/n" }, { path: "/n", owner: 0x1_0000n }, "ephemeralOwner"],
    ["another birth", { path: "/n", czxid: 1n }, { path: "/n", czxid: 2n }, "czxid"],
    ["other children", { path: "/n", pzxid: 1n }, { path: "/n", pzxid: 2n }, "pzxid"],
    ["another ACL", { path: "/n", aclId: 1n }, { path: "/n" }, "acl"],
    ["an ACL that is missing", { path: "/n", aclId: 7n }, { path: "/n" }, "acl"],
  ])("tells %s apart", async (_, before, after, fields) => {
    const options = { aclIds: [1n] };
    const changes = diffTrees(await treeOf([before], options), await treeOf([after], options));
    expect(told(changes)).toEqual([`changed /n: ${fields}`]);
  });

  it("does not take two ids of one ACL for a change", async () => {
    const a = await treeOf([{ path: "/n", aclId: 1n }], { aclIds: [1n] });
    const b = await treeOf([{ path: "/n", aclId: 2n }], { aclIds: [2n] });
    expect(told(diffTrees(a, b))).toEqual([]);
  });

  it("keeps both trees in step where names hold what sorts before a slash", async () => {
    const names = ["/a", "/a/z", "/a!", "/a!/b", "/a-b", "/a-b/c", "/a.", "/ab", "/b", "/ü"];
    const a = await treeOf(names.map((path) => ({ path })));
    for (const gone of names) {
      const left = names.filter((path) => path !== gone && !path.startsWith(`${gone}/`));
      const b = await treeOf(left.map((path) => ({ path })));
      const missing = names.filter((path) => !left.includes(path));
      expect(told(diffTrees(a, b))).toEqual(missing.map((path) => `removed ${path}`));
      expect(told(diffTrees(b, a))).toEqual(missing.map((path) => `added ${path}`));
    }
  });

  it("looks only below the path that is given, which need not be in both", async () => {
    const a = await treeOf([{ path: "/a" }, { path: "/a/x" }, { path: "/b" }]);
    const b = await treeOf([{ path: "/c" }]);
    expect(told(diffTrees(a, b, "/a"))).toEqual(["removed /a", "removed /a/x"]);
    expect(told(diffTrees(b, a, "/a"))).toEqual(["added /a", "added /a/x"]);
    expect(told(diffTrees(a, b, "/none"))).toEqual([]);
  });

  it("is refused where the data cannot be compared", async () => {
    const [a, b] = [await treeOf([]), await treeOf([], { contentHash: false })];
    expect(() => [...diffTrees(a, b)]).toThrow(TypeError);
  });
});
