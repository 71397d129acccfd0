import { isDeepStrictEqual } from "node:util";
import type { ReleaseLine } from "@zk-backyp/testbed";
import { expect } from "vitest";
import type { ExpectedNode } from "./expected-tree.ts";
import type { Load } from "./load.ts";
import type { ClientNode } from "./wire-client.ts";

type Tree = ReadonlyMap<string, ClientNode>;

/**
 * What nobody recorded: the root, to which every writer adds its own; what servers write for themselves; what the
 * session of the killed writer leaves behind until it expires; and what a server removes when it likes.
 */
const UNRECORDED = /^\/((zookeeper|crash\/ephemeral|history-wild|mixed-wild)(\/.*)?)?$/;

/**
 * What can be compared of a server's tree after it was started again: 3.4 and 3.5 may set a parent's cversion and pzxid
 * back while they load a snapshot that was written under load, if a child came and went meanwhile.
 */
export function comparable(
  tree: ReadonlyMap<string, Partial<ExpectedNode>>,
  line: ReleaseLine,
): ReadonlyMap<string, object> {
  return line === "3.4" || line === "3.5" ? without(tree, "cversion", "pzxid") : tree;
}

/** Fails unless a server of this release holds exactly what the load's writers had written with the transaction `zxid`. */
export function expectRecorded(found: Tree, { past, mixed, steady }: Load, zxid: bigint, line: ReleaseLine): void {
  const seen = (tree: ReadonlyMap<string, ExpectedNode>) => comparable(tree, line);
  const before = new Map([...past].filter(([path]) => !UNRECORDED.test(path)));
  const recorded = [...found.keys()].filter((path) => !UNRECORDED.test(path));
  expect(recorded.sort()).toEqual(
    [...before.keys(), ...mixed.treeAt(zxid).keys(), ...steady.treeAt(zxid).keys()].sort(),
  );
  expect(differences(seen(found), seen(before))).toEqual([]);
  const untimed = without(below(found, mixed.root), "ctimeMs", "mtimeMs");
  expect(differences(seen(untimed), seen(mixed.treeAt(zxid)))).toEqual([]);
  const data = new Map([...below(found, steady.root)].map(([path, node]) => [path, bytes(node.data)]));
  const written = new Map([...steady.treeAt(zxid)].map(([path, value]) => [path, bytes(value)]));
  expect(differences(data, written)).toEqual([]);
}

/** What is not as expected. Few lines, where a comparison of two large maps tells that they differ and not in what. */
export function differences<T>(found: ReadonlyMap<string, T>, expected: ReadonlyMap<string, T>): unknown[] {
  return [...expected]
    .map(([path, want]) => ({ path, found: found.get(path), expected: want }))
    .filter((pair) => !isDeepStrictEqual(pair.found, pair.expected));
}

function below(tree: Tree, root: string): Map<string, ClientNode> {
  return new Map([...tree].filter(([path]) => path === root || path.startsWith(`${root}/`)));
}

function without<Node extends object, Key extends keyof Node>(
  tree: ReadonlyMap<string, Node>,
  ...keys: Key[]
): Map<string, Omit<Node, Key>> {
  const kept = (node: Node) => Object.fromEntries(Object.entries(node).filter(([key]) => !keys.includes(key as Key)));
  return new Map([...tree].map(([path, node]) => [path, kept(node) as Omit<Node, Key>]));
}

// That writer's library may send no data where empty data was meant.
function bytes(data: Buffer | null): string {
  return (data ?? Buffer.alloc(0)).toString("hex");
}
