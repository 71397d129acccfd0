import type { ZnodeTree } from "@zk-backyp/zookeeper-files";

/** A znode with all below it. */
export interface Subtree {
  readonly path: string;
  readonly name: string;
  /** 0 for the znode that was asked for, 1 for its children, ... */
  readonly depth: number;
  /** The znode itself included. */
  readonly znodes: number;
  /** Of all their data. */
  readonly dataBytes: number;
}

/** The smallest children of one znode, where they are too many to be shown one by one. */
export interface FoldedSubtrees {
  readonly depth: number;
  readonly subtrees: number;
  readonly znodes: number;
  readonly dataBytes: number;
}

/** What subtrees are compared by; where that is equal, by the other. */
export type Measure = "data" | "znodes";

interface Sum {
  znodes: number;
  dataBytes: number;
}

/** A subtree in the making. */
interface Branch extends Sum {
  readonly path: string;
  readonly name: string;
  readonly depth: number;
  readonly children: Branch[];
  folded: (Sum & { subtrees: number }) | null;
}

/**
 * Every subtree down to a depth with its totals, in the order of the tree. Of each znode's children only the
 * `maxChildren` largest come one by one, and the others as one sum behind them.
 */
export function subtreesOf(
  tree: ZnodeTree,
  path: string,
  by: Measure,
  maxDepth: number,
  maxChildren: number,
): (Subtree | FoldedSubtrees)[] {
  let root: Branch | undefined;
  closeEach(tree, path, maxDepth, (branch, parent) => {
    root = branch;
    if (parent === undefined) return;
    parent.children.push(branch);
    if (parent.children.length <= maxChildren) return;
    const smallest = parent.children.reduce((least, child) => (compare(child, least, by) > 0 ? least : child));
    parent.children.splice(parent.children.indexOf(smallest), 1);
    parent.folded ??= { subtrees: 0, znodes: 0, dataBytes: 0 };
    parent.folded.subtrees += 1;
    parent.folded.znodes += smallest.znodes;
    parent.folded.dataBytes += smallest.dataBytes;
  });
  return root === undefined ? [] : flattened(root);
}

/** Without recursion: a tree may be deeper than the stack is. */
function flattened(root: Branch): (Subtree | FoldedSubtrees)[] {
  const flat: (Subtree | FoldedSubtrees)[] = [];
  const waiting: (Branch | FoldedSubtrees)[] = [root];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (!("children" in next)) {
      flat.push(next);
      continue;
    }
    const { children, folded, ...subtree } = next;
    flat.push(subtree);
    if (folded !== null) waiting.push({ depth: subtree.depth + 1, ...folded });
    for (const child of children.toReversed()) waiting.push(child);
  }
  return flat;
}

/** How many subtrees are collected before those that are too small are left out: not one by one, which takes long. */
const SORTED_AT_ONCE = 10_000;

/** The largest subtrees below a znode, the largest first; of those down to `maxDepth` below it. */
export function largestSubtrees(
  tree: ZnodeTree,
  path: string,
  by: Measure,
  maxDepth: number,
  count: number,
): Subtree[] {
  const largest: Subtree[] = [];
  const keepLargest = (): Subtree[] => largest.sort((a, b) => compare(b, a, by)).splice(count);
  closeEach(tree, path, maxDepth, ({ children, folded, ...subtree }) => {
    if (subtree.depth === 0) return;
    largest.push(subtree);
    if (largest.length >= count + SORTED_AT_ONCE) keepLargest();
  });
  keepLargest();
  return largest;
}

/** Below 0 if `a` is the smaller one. */
function compare(a: Sum, b: Sum, by: Measure): number {
  const [bytes, znodes] = [a.dataBytes - b.dataBytes, a.znodes - b.znodes];
  return by === "data" ? bytes || znodes : znodes || bytes;
}

/** Walks a tree and hands over each subtree down to `maxDepth` when its totals are known: children before parents. */
function closeEach(
  tree: ZnodeTree,
  path: string,
  maxDepth: number,
  onClose: (branch: Branch, parent: Branch | undefined) => void,
): void {
  /** What holds the znode that the walk is at, from the outside in. */
  const open: Branch[] = [];
  const closeFrom = (depth: number): void => {
    while ((open.at(-1)?.depth ?? -1) >= depth) onClose(open.pop() as Branch, open.at(-1));
  };
  const top = slashesIn(path);
  for (const { path: at, name, dataLength } of tree.walk(path)) {
    const depth = slashesIn(at) - top;
    closeFrom(depth);
    const dataBytes = Math.max(0, dataLength);
    for (const holder of open) {
      holder.znodes += 1;
      holder.dataBytes += dataBytes;
    }
    if (depth > maxDepth) continue;
    open.push({ path: at, name, depth, znodes: 1, dataBytes, children: [], folded: null });
  }
  closeFrom(0);
}

function slashesIn(path: string): number {
  return path === "/" ? 0 : path.split("/").length - 1;
}
