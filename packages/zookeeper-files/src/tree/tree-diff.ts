import type { Acl } from "../acl.ts";
import type { ZnodeStat } from "../znode-stat.ts";
import type { Znode, ZnodeTree } from "./znode-tree.ts";

/** What of a znode differs. `data` and `acl` are about what is in them, the others about what a server notes. */
export type ChangedField = "data" | "acl" | keyof ZnodeStat;

/** One znode that is not the same in two trees. */
export type TreeChange =
  | { readonly kind: "added"; readonly path: string; readonly after: Znode }
  | { readonly kind: "removed"; readonly path: string; readonly before: Znode }
  | {
      readonly kind: "changed";
      readonly path: string;
      readonly before: Znode;
      readonly after: Znode;
      /** At least one. */
      readonly fields: readonly ChangedField[];
    };

const STAT_FIELDS: readonly (keyof ZnodeStat)[] = [
  ...(["czxid", "mzxid", "pzxid", "ctimeMs", "mtimeMs"] as const),
  ...(["version", "cversion", "aversion", "ephemeralOwner"] as const),
];

/**
 * Compares two trees from `path` on, in the order of their `walk`. Data is compared by its length and hash: both trees
 * must have been loaded with `contentHash`. Holds one znode of each.
 *
 * @throws TypeError for a tree without content hashes
 */
export function* diffTrees(before: ZnodeTree, after: ZnodeTree, path: string = "/"): Generator<TreeChange, void, void> {
  const old = before.walk(path);
  const young = after.walk(path);
  let a = old.next().value;
  let b = young.next().value;
  while (a !== undefined || b !== undefined) {
    const order = a === undefined ? 1 : b === undefined ? -1 : walkOrder(a.path, b.path);
    if (a !== undefined && order < 0) {
      yield { kind: "removed", path: a.path, before: a };
      a = old.next().value;
    } else if (b !== undefined && order > 0) {
      yield { kind: "added", path: b.path, after: b };
      b = young.next().value;
    } else if (a !== undefined && b !== undefined) {
      const fields = changedFields(a, b);
      if (fields.length > 0) yield { kind: "changed", path: a.path, before: a, after: b, fields };
      a = old.next().value;
      b = young.next().value;
    }
  }
}

function changedFields(before: Znode, after: Znode): ChangedField[] {
  const fields: ChangedField[] = [];
  if (before.contentHash === undefined || after.contentHash === undefined) {
    throw new TypeError("the trees were loaded without contentHash");
  }
  if (before.dataLength !== after.dataLength || before.contentHash !== after.contentHash) fields.push("data");
  if (!sameAcl(before.acl, after.acl)) fields.push("acl");
  for (const field of STAT_FIELDS) if (before.stat[field] !== after.stat[field]) fields.push(field);
  return fields;
}

function sameAcl(before: Acl | null, after: Acl | null): boolean {
  if (before === after) return true;
  if (before === null || after === null || before.length !== after.length) return false;
  return before.every(({ permissions, scheme, id }, index) => {
    const other = after[index];
    return permissions === other?.permissions && scheme === other.scheme && id === other.id;
  });
}

const SLASH = 0x2f;

/** Below 0 if a walk comes to `a` first: a parent before its children, then name by name, each as JavaScript orders strings. */
function walkOrder(a: string, b: string): number {
  if (a === b) return 0;
  // The root is written as a slash, and would not be the beginning of "/a" otherwise.
  if (a === "/" || b === "/") return a === "/" ? -1 : 1;
  const shorter = Math.min(a.length, b.length);
  let at = 0;
  while (at < shorter && a.charCodeAt(at) === b.charCodeAt(at)) at += 1;
  return rank(a, at) - rank(b, at);
}

/** The end of a path comes before the end of a name, and that before every character of one. */
function rank(path: string, at: number): number {
  if (at === path.length) return -2;
  const code = path.charCodeAt(at);
  return code === SLASH ? -1 : code;
}
