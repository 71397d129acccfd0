import { type Acl, type AclEntry, OPEN_ACL } from "../acl.ts";
import { decodeText } from "../jute/jute-text.ts";

/** What the table calls {@link OPEN_ACL}. */
const OPEN = 0;
/** What the table calls an ACL that the snapshot refers to but does not hold. */
export const DANGLING = 1;
const FIRST = 2;
/** Servers count the ids of ACLs up from 1. */
const MAX_LISTED_ID = 0x10_0000;

/** Which ids the nodes of a snapshot have for their ACLs. */
export interface SnapshotAclIds {
  /** Of the ACLs that are in use, by what the table calls them. */
  readonly listed: ReadonlyMap<number, bigint>;
  /** Of the nodes whose ACL the snapshot does not hold. */
  readonly dangling: ReadonlyMap<number, bigint>;
  /** The highest id that the snapshot has an ACL for. */
  readonly highest: bigint;
}

/** The ACLs of a tree. Each is kept once, and as long as a node uses it. */
export class AclTable {
  /** Null: not yet decoded, or free. */
  readonly #acls: (Acl | null)[] = [OPEN_ACL, null];
  /** As in a txn. Null for those of the snapshot, which come decoded. */
  readonly #texts: (string | null)[] = [null, null];
  readonly #uses: number[] = [1, 1];
  readonly #free: number[] = [];
  readonly #byText = new Map<string, number>();
  /** By the ids of the snapshot; forgotten after its last node. */
  #listed: number[] = [];
  #unlisted = new Map<bigint, number>();
  #highestId = 0n;
  /** The last one that came in a txn: mostly the next one is the same. */
  #recent: Buffer = Buffer.alloc(0);
  #recentIndex = -1;

  addOfSnapshot(id: bigint, acl: Acl): void {
    const index = this.#add(acl, null);
    if (id > this.#highestId) this.#highestId = id;
    if (id >= 0n && id < MAX_LISTED_ID) {
      const low = Number(id);
      while (this.#listed.length < low) this.#listed.push(DANGLING);
      this.#listed[low] = index;
    } else {
      this.#unlisted.set(id, index);
    }
  }

  /** By the id at `at` of a node in a snapshot. */
  ofSnapshot(bytes: Buffer, at: number): number {
    const high = bytes.readInt32BE(at);
    const low = bytes.readInt32BE(at + 4);
    if (high === 0 && low >= 0 && low < MAX_LISTED_ID) return this.#listed[low] ?? DANGLING;
    if (high === -1 && low === -1) return OPEN;
    return this.#unlisted.get(bytes.readBigInt64BE(at)) ?? DANGLING;
  }

  /** Before {@link endOfSnapshot}: the ids of its ACLs that are in use. `dangling` are those of its nodes that dangle. */
  idsOfSnapshot(dangling: ReadonlyMap<number, bigint>): SnapshotAclIds {
    const listed = new Map<number, bigint>();
    const list = (id: bigint, index: number): void => {
      if (index >= FIRST && this.usesOf(index) > 0) listed.set(index, id);
    };
    this.#listed.forEach((index, id) => {
      list(BigInt(id), index);
    });
    for (const [id, index] of this.#unlisted) list(id, index);
    return { listed, dangling, highest: this.#highestId };
  }

  /** The snapshot was read. What none of its nodes uses goes. */
  endOfSnapshot(): void {
    this.#listed = [];
    this.#unlisted = new Map();
    for (let index = FIRST; index < this.#uses.length; index++) {
      if (this.#uses[index] === 0) this.#remove(index);
    }
  }

  /** By the list of entries at `start` of a txn. */
  ofTxn(bytes: Buffer, start: number, end: number): number {
    const length = end - start;
    const recent = this.#recent;
    if (this.#recentIndex >= 0 && recent.byteLength === length && recent.compare(bytes, start, end) === 0) {
      return this.#recentIndex;
    }
    // No list at all stands for the open ACL.
    if (bytes.readInt32BE(start) === -1) return OPEN;
    const text = bytes.toString("latin1", start, end);
    let index = this.#byText.get(text);
    if (index === undefined) {
      index = this.#add(null, text);
      this.#byText.set(text, index);
    }
    this.#recent = Buffer.from(bytes.subarray(start, end));
    this.#recentIndex = index;
    return index;
  }

  retain(index: number): void {
    this.#uses[index] = (this.#uses[index] as number) + 1;
  }

  release(index: number): void {
    const uses = (this.#uses[index] as number) - 1;
    this.#uses[index] = uses;
    if (uses === 0 && index >= FIRST) this.#remove(index);
  }

  /** How many nodes have it. */
  usesOf(index: number): number {
    return this.#uses[index] as number;
  }

  /** Null if it is {@link DANGLING}. */
  get(index: number): Acl | null {
    const text = this.#texts[index] ?? null;
    if (this.#acls[index] === null && text !== null) this.#acls[index] = decodeAcl(Buffer.from(text, "latin1"));
    return this.#acls[index] ?? null;
  }

  #add(acl: Acl | null, text: string | null): number {
    const index = this.#free.pop() ?? this.#uses.length;
    this.#acls[index] = acl;
    this.#texts[index] = text;
    this.#uses[index] = 0;
    return index;
  }

  #remove(index: number): void {
    const text = this.#texts[index] ?? null;
    if (text !== null) this.#byText.delete(text);
    if (this.#recentIndex === index) this.#recentIndex = -1;
    this.#acls[index] = null;
    this.#texts[index] = null;
    this.#free.push(index);
  }
}

/** The bytes were measured before. */
function decodeAcl(bytes: Buffer): Acl {
  const acl: AclEntry[] = [];
  let at = 4;
  const text = (): string => {
    const start = at + 4;
    at = start + Math.max(0, bytes.readInt32BE(at));
    return decodeText(bytes, start, at);
  };
  for (let left = bytes.readInt32BE(0); left > 0; left--) {
    const permissions = bytes.readInt32BE(at);
    at += 4;
    acl.push({ permissions, scheme: text(), id: text() });
  }
  return acl;
}
