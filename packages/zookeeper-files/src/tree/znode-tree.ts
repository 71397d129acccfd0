import type { Acl } from "../acl.ts";
import { encodeText } from "../jute/jute-text.ts";
import { kindOf, type ZnodeKind, type ZnodeStat } from "../znode-stat.ts";
import { NONE, ROOT, type ZnodeTable } from "./znode-table.ts";

/** A node of a tree, as it was when it was asked for. */
export interface Znode {
  /** The root is `/`. */
  readonly path: string;
  /** The last part of the path; empty for the root. */
  readonly name: string;
  readonly kind: ZnodeKind;
  readonly stat: ZnodeStat;
  /** In bytes; -1 for null, which is not the same as data of no bytes. */
  readonly dataLength: number;
  readonly childCount: number;
  /** Null if it is dangling: the snapshot does not hold it, and no txn has set it since. */
  readonly acl: Acl | null;
  /** Only where it was asked to be kept. */
  readonly data?: Buffer | null;
  /** SHA-256 of the data (of no bytes for null) in hexadecimal digits; only where these were asked for. */
  readonly contentHash?: string;
}

/**
 * The znodes of a server, and its sessions, in 140 bytes per znode and their names: see the README for what was
 * measured. It changes only while its replay goes on; do not hold an iterator over that.
 */
export interface ZnodeTree {
  /** The root included. The `Node count` that a server reports is one higher: it counts the root twice. */
  readonly nodes: number;
  /** Nodes that belong to a session. */
  readonly ephemerals: number;
  readonly containers: number;
  readonly ttlNodes: number;
  /** Sum of the nodes' data, in bytes. */
  readonly dataBytes: number;
  /**
   * What 3.6 and later call the tree digest: a signed 64-bit sum over all nodes outside of `/zookeeper/`. ACLs and
   * sessions are not part of it. Servers whose charset is not UTF-8 come to another one if paths are not ASCII.
   */
  readonly digest: bigint;
  /** By id: the timeout in milliseconds. */
  readonly sessions: ReadonlyMap<bigint, number>;
  /** The root is `/` or empty. Null if there is no such node. */
  get(path: string): Znode | null;
  /** By name, as JavaScript orders strings. None if there is no such node. */
  children(path: string): Generator<Znode, void, void>;
  /** The node and all below it: parents first, depth first, by name. None if there is no such node. */
  walk(path: string): Generator<Znode, void, void>;
  /** The paths of the ephemerals of a session, in no order. */
  ephemeralsOf(sessionId: bigint): Generator<string, void, void>;
}

/** A view of the table. */
export class TableTree implements ZnodeTree {
  readonly #table: ZnodeTable;

  constructor(table: ZnodeTable) {
    this.#table = table;
  }

  get nodes(): number {
    return this.#table.nodes;
  }

  get ephemerals(): number {
    return this.#table.ephemerals;
  }

  get containers(): number {
    return this.#table.containers;
  }

  get ttlNodes(): number {
    return this.#table.ttlNodes;
  }

  get dataBytes(): number {
    return this.#table.dataBytes;
  }

  get digest(): bigint {
    return this.#table.digest.value;
  }

  get sessions(): ReadonlyMap<bigint, number> {
    return this.#table.sessions;
  }

  get(path: string): Znode | null {
    const slot = this.#find(path);
    return slot === NONE ? null : this.#read(slot, this.#table.pathOf(slot));
  }

  *children(path: string): Generator<Znode, void, void> {
    const slot = this.#find(path);
    if (slot === NONE) return;
    for (const child of this.#childrenByName(slot)) yield this.#read(child, this.#table.pathOf(child));
  }

  *walk(path: string): Generator<Znode, void, void> {
    const start = this.#find(path);
    if (start === NONE) return;
    yield this.#read(start, this.#table.pathOf(start));
    const levels = [this.#childrenByName(start).values()];
    for (let level = levels[0]; level !== undefined; level = levels.at(-1)) {
      const { value: slot, done } = level.next();
      if (done === true) {
        levels.pop();
        continue;
      }
      yield this.#read(slot, this.#table.pathOf(slot));
      if (this.#table.firstChildOf(slot) !== NONE) levels.push(this.#childrenByName(slot).values());
    }
  }

  *ephemeralsOf(sessionId: bigint): Generator<string, void, void> {
    const table = this.#table;
    for (let slot = table.firstOfOwner(sessionId); slot !== NONE; slot = table.nextOfOwner(slot)) {
      yield table.pathOf(slot);
    }
  }

  #find(path: string): number {
    if (this.#table.nodes === 0) return NONE;
    const bytes = encodeText(path);
    return this.#table.find(bytes, 0, bytes.byteLength);
  }

  #childrenByName(slot: number): number[] {
    const table = this.#table;
    const children: { readonly slot: number; readonly name: string }[] = [];
    for (let child = table.firstChildOf(slot); child !== NONE; child = table.nextSiblingOf(child)) {
      children.push({ slot: child, name: table.nameOf(child) });
    }
    return children.sort((a, b) => (a.name < b.name ? -1 : 1)).map((child) => child.slot);
  }

  #read(slot: number, path: string): Znode {
    const table = this.#table;
    const stat = table.statOf(slot);
    const data = table.keptDataOf(slot);
    const contentHash = table.contentHashOf(slot);
    return {
      path,
      name: slot === ROOT ? "" : table.nameOf(slot),
      kind: kindOf(stat.ephemeralOwner),
      stat,
      dataLength: table.dataLengthOf(slot),
      childCount: table.childrenOf(slot),
      acl: table.acls.get(table.aclOf(slot)),
      ...(data === undefined ? {} : { data }),
      ...(contentHash === undefined ? {} : { contentHash }),
    };
  }
}
