import { hash } from "node:crypto";
import { crc32, crc32OfWords } from "../crc32.ts";
import { decodeText } from "../jute/jute-text.ts";
import type { SnapshotNode } from "../snapshot/snapshot-node.ts";
import type { ZnodeStat } from "../znode-stat.ts";
import { AclTable, DANGLING, type SnapshotAclIds } from "./acl-table.ts";
import { DigestSum } from "./digest-sum.ts";
import { NameArena } from "./name-arena.ts";
import { PathIndex } from "./path-index.ts";

/** No node. */
export const NONE = 0;
/** The root is the first node that is made, and never goes. */
export const ROOT = 1;

const SLASH = 0x2f;
const QUESTION_MARK = 0x3f;

// A node is 32 words of 4 bytes, in blocks of 1 MiB: growth copies nothing.
const WORDS_BITS = 5;
const SLOTS_PER_BLOCK_BITS = 13;
const SLOTS_PER_BLOCK: number = 1 << SLOTS_PER_BLOCK_BITS;
const SLOT_MASK: number = SLOTS_PER_BLOCK - 1;
const PARENT = 0;
const NAME_REF = 1;
/** In bytes, with the two flags below. */
const NAME_LENGTH = 2;
/** Of those that are free. */
const NEXT_FREE = 3;
const PATH_CRC = 4;
/** Of the path and the data behind it. */
const CONTENT_CRC = 5;
/** Of path, data and stat: what the node adds to the tree's digest. */
const DIGEST = 6;
const FIRST_CHILD = 7;
const NEXT_SIBLING = 8;
const PREVIOUS_SIBLING = 9;
const CHILDREN = 10;
/** -1 for null. */
const DATA_LENGTH = 11;
const ACL = 12;
/** The nodes of one session. */
const NEXT_OF_OWNER = 13;
const PREVIOUS_OF_OWNER = 14;
/** 60 bytes in the order in which the digest takes them, four to a word, the first one in the lowest bits. */
const STAT = 15;
const STAT_WORDS = 15;
/** `CONTENT_CRC` and `DIGEST` as a server has them whose charset knows no more than ASCII. */
const ASCII_CONTENT_CRC = 30;
const ASCII_DIGEST = 31;

const EXCLUDED: number = 1 << 31;
const NOT_ASCII: number = 1 << 30;
const LENGTH_MASK: number = NOT_ASCII - 1;

/** Words of the stat. Each long is two. */
const CZXID = 0;
const MZXID = 2;
const PZXID = 4;
const CTIME = 6;
const MTIME = 8;
const VERSION = 10;
const CVERSION = 11;
const ACVERSION = 12;
const OWNER = 13;

const HASH_BYTES = 32;
const EMPTY: Buffer = Buffer.alloc(0);

/** What is remembered of the data beyond its length and its checksum. */
export interface KeepOptions {
  /** For which paths the data itself is kept. The root is `/`. */
  readonly keepData: ((path: string) => boolean) | undefined;
  /** Keep a SHA-256 of the data of every node. */
  readonly contentHash: boolean;
}

/**
 * The znodes of a tree, in 128 bytes each and 4 to 8 for the index, besides their names. Nodes are numbers. What is
 * freed is used again, so that nodes that come and go take no more room than those that are there at a time.
 *
 * The index takes the CRC-32 of the path, which the digest needs anyway.
 */
export class ZnodeTable {
  readonly sessions: Map<bigint, number> = new Map();
  readonly acls: AclTable = new AclTable();
  /** As servers compute it whose charset is UTF-8. */
  readonly digest: DigestSum = new DigestSum();
  /** The same with a "?" for each character in a path that is not ASCII: what Java 17 and older do under `LANG=C`. */
  readonly asciiDigest: DigestSum = new DigestSum();
  nodes = 0;
  ephemerals = 0;
  containers = 0;
  ttlNodes = 0;
  dataBytes = 0;

  readonly #keep: KeepOptions;
  readonly #blocks: Int32Array[] = [];
  /** SHA-256 of the data; as many blocks as there are of nodes, or none. */
  readonly #hashes: Buffer[] = [];
  readonly #kept = new Map<number, Buffer | null>();
  readonly #names: NameArena = new NameArena();
  #slots: number = ROOT;
  #firstFree = NONE;
  readonly #index: PathIndex = new PathIndex();
  /** Nodes that the index does not take: hardly any, but with made-up paths it may be most. */
  readonly #unindexed = new Map<string, number>();
  /** The first node of each session, by the high and the low word of its id. */
  readonly #owners = new Map<number, Map<number, number>>();
  /** The snapshot's last node, at `#depth`, and its ancestors; and how long their paths are. */
  #ancestors: number[] = [];
  #ancestorEnds: number[] = [];
  #depth = 0;
  #asciiPath: Buffer = Buffer.alloc(256);
  /** Nodes of the snapshot whose ACL it does not hold, with the id that they have for it. */
  #dangling = new Map<number, bigint>();

  constructor(keep: KeepOptions) {
    this.#keep = keep;
  }

  /** The next node of a snapshot. Its parent was checked to be there. */
  addOfSnapshot(node: SnapshotNode): void {
    const { bytes, pathStart, pathEnd, statStart } = node;
    let slot: number;
    if (pathStart === pathEnd) {
      slot = this.#addRoot();
    } else {
      let slash = pathEnd - 1;
      while (bytes[slash] !== SLASH) slash -= 1;
      let depth = this.#depth;
      while ((this.#ancestorEnds[depth] as number) > slash - pathStart) depth -= 1;
      this.#depth = depth + 1;
      const parent = this.#ancestors[depth] as number;
      const pathCrc = crc32(bytes, this.#word(parent, PATH_CRC), slash, pathEnd);
      slot = this.#add(parent, bytes, pathStart, slash + 1, pathEnd, pathCrc);
    }
    this.#ancestors[this.#depth] = slot;
    this.#ancestorEnds[this.#depth] = pathEnd - pathStart;

    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    const stat = base + STAT;
    copyWords(bytes, statStart, words, stat + CZXID, 4);
    copyWords(bytes, statStart + 52, words, stat + PZXID, 2);
    copyWords(bytes, statStart + 16, words, stat + CTIME, 9);
    this.#own(slot);
    const acl = this.acls.ofSnapshot(bytes, statStart - 8);
    this.acls.retain(acl);
    words[base + ACL] = acl;
    if (acl === DANGLING) this.#dangling.set(slot, bytes.readBigInt64BE(statStart - 8));
    this.#setData(slot, bytes, pathStart, pathEnd, node.dataStart, node.dataEnd);
  }

  /**
   * Only now can nodes be found: to enter them one after the other takes less time than in between. Returns the ids of
   * the snapshot's ACLs if it has nodes whose ACL it does not hold, else null.
   */
  endOfSnapshot(): SnapshotAclIds | null {
    this.#index.reserve(this.nodes);
    for (let slot = ROOT + 1; slot < this.#slots; slot++) this.#enterOfSnapshot(slot);
    const aclIds = this.#dangling.size === 0 ? null : this.acls.idsOfSnapshot(this.#dangling);
    this.#dangling = new Map();
    this.acls.endOfSnapshot();
    this.#ancestors = [];
    this.#ancestorEnds = [];
    return aclIds;
  }

  /** What a server begins with that has no snapshot: the root, and these below it. */
  addFirstNodes(paths: readonly string[]): void {
    this.#setData(this.#addRoot(), EMPTY, 0, 0, 0, 0);
    for (const path of paths) {
      const bytes = Buffer.from(path);
      const slash = path.lastIndexOf("/");
      const slot = this.add(this.find(bytes, 0, slash), bytes, 0, slash + 1, bytes.byteLength);
      this.#setData(slot, bytes, 0, bytes.byteLength, 0, 0);
    }
  }

  /** The node with the path `bytes[start, end)`, which is empty or `/` for the root; `NONE` if there is none. */
  find(bytes: Buffer, start: number, end: number): number {
    if (end === start || (end === start + 1 && bytes[start] === SLASH)) return ROOT;
    return this.#find(bytes, start, end, crc32(bytes, 0, start, end));
  }

  /** A new persistent child of `parent`, with the path `bytes[start, end)` and no data. All of its stat is 0. */
  add(parent: number, bytes: Buffer, start: number, nameStart: number, end: number): number {
    const pathCrc = crc32(bytes, this.#word(parent, PATH_CRC), nameStart - 1, end);
    const slot = this.#add(parent, bytes, start, nameStart, end, pathCrc);
    this.#enter(slot);
    return slot;
  }

  /** With all that is below it, of which there is nothing in good files. */
  remove(slot: number): void {
    if (slot === ROOT) return;
    let last = slot;
    while (true) {
      const child = this.#word(last, FIRST_CHILD);
      if (child !== NONE) {
        last = child;
        continue;
      }
      const parent = this.#word(last, PARENT);
      this.#removeLeaf(last);
      if (last === slot) return;
      last = parent;
    }
  }

  /** `dataEnd` is one before `dataStart` for null. The digest follows; so set the stat first. */
  setData(slot: number, bytes: Buffer, start: number, end: number, dataStart: number, dataEnd: number): void {
    this.#setData(slot, bytes, slot === ROOT ? end : start, end, dataStart, dataEnd);
  }

  setAcl(slot: number, acl: number): void {
    this.acls.retain(acl);
    const words = this.#blockOf(slot);
    const at = baseOf(slot) + ACL;
    this.acls.release(words[at] as number);
    words[at] = acl;
  }

  /** Gives a new node its times, and its owner. Its digest is not right before its data is set. */
  setBirth(slot: number, bytes: Buffer, zxidAt: number, timeAt: number, ownerHigh: number, ownerLow: number): void {
    const words = this.#blockOf(slot);
    const stat = baseOf(slot) + STAT;
    for (const field of [CZXID, MZXID, PZXID]) copyWords(bytes, zxidAt, words, stat + field, 2);
    for (const field of [CTIME, MTIME]) copyWords(bytes, timeAt, words, stat + field, 2);
    words[stat + OWNER] = swap(ownerHigh);
    words[stat + OWNER + 1] = swap(ownerLow);
    this.#own(slot);
  }

  /** That the data was set by a txn. The digest is not right before the data is set. */
  setModified(slot: number, bytes: Buffer, zxidAt: number, timeAt: number, version: number): void {
    const words = this.#blockOf(slot);
    const stat = baseOf(slot) + STAT;
    copyWords(bytes, zxidAt, words, stat + MZXID, 2);
    copyWords(bytes, timeAt, words, stat + MTIME, 2);
    words[stat + VERSION] = swap(version);
  }

  setAversion(slot: number, aversion: number): void {
    this.#blockOf(slot)[baseOf(slot) + STAT + ACVERSION] = swap(aversion);
    this.#sum(slot);
  }

  cversion(slot: number): number {
    return swap(this.#word(slot, STAT + CVERSION));
  }

  /** Whether the zxid at `at` is larger than the node's pzxid. */
  isAfterPzxid(slot: number, bytes: Buffer, at: number): boolean {
    const high = swap(this.#word(slot, STAT + PZXID));
    const newHigh = bytes.readInt32BE(at);
    if (high !== newHigh) return newHigh > high;
    return bytes.readUInt32BE(at + 4) > swap(this.#word(slot, STAT + PZXID + 1)) >>> 0;
  }

  /** That a child came (`cversion`) or went (null). */
  setChildrenChanged(slot: number, bytes: Buffer, zxidAt: number, cversion: number | null): void {
    const words = this.#blockOf(slot);
    const stat = baseOf(slot) + STAT;
    copyWords(bytes, zxidAt, words, stat + PZXID, 2);
    if (cversion !== null) words[stat + CVERSION] = swap(cversion);
    this.#sum(slot);
  }

  // What is read of the tree afterwards.

  parentOf(slot: number): number {
    return this.#word(slot, PARENT);
  }

  firstChildOf(slot: number): number {
    return this.#word(slot, FIRST_CHILD);
  }

  nextSiblingOf(slot: number): number {
    return this.#word(slot, NEXT_SIBLING);
  }

  childrenOf(slot: number): number {
    return this.#word(slot, CHILDREN);
  }

  dataLengthOf(slot: number): number {
    return this.#word(slot, DATA_LENGTH);
  }

  aclOf(slot: number): number {
    return this.#word(slot, ACL);
  }

  /** Whether the data was kept, and it. */
  keptDataOf(slot: number): Buffer | null | undefined {
    return this.#kept.get(slot);
  }

  /** In hexadecimal digits; only where these were asked for. */
  contentHashOf(slot: number): string | undefined {
    const at = (slot & SLOT_MASK) * HASH_BYTES;
    return this.#hashes[slot >>> SLOTS_PER_BLOCK_BITS]?.toString("hex", at, at + HASH_BYTES);
  }

  nameOf(slot: number): string {
    return this.#names.read(this.#word(slot, NAME_REF), this.#nameLength(slot));
  }

  /** `/` for the root. */
  pathOf(slot: number): string {
    if (slot === ROOT) return "/";
    const bytes = this.#pathBytes(slot);
    return decodeText(bytes, 0, bytes.byteLength);
  }

  statOf(slot: number): ZnodeStat {
    const words = this.#blockOf(slot);
    const stat = baseOf(slot) + STAT;
    return {
      czxid: readLong(words, stat + CZXID),
      mzxid: readLong(words, stat + MZXID),
      pzxid: readLong(words, stat + PZXID),
      ctimeMs: Number(readLong(words, stat + CTIME)),
      mtimeMs: Number(readLong(words, stat + MTIME)),
      version: swap(words[stat + VERSION] as number),
      cversion: swap(words[stat + CVERSION] as number),
      aversion: swap(words[stat + ACVERSION] as number),
      ephemeralOwner: this.ownerOf(slot),
    };
  }

  ownerOf(slot: number): bigint {
    return readLong(this.#blockOf(slot), baseOf(slot) + STAT + OWNER);
  }

  /** The first of the nodes that belong to a session. */
  firstOfOwner(owner: bigint): number {
    return this.#owners.get(Number(owner >> 32n))?.get(Number(BigInt.asIntN(32, owner))) ?? NONE;
  }

  /** The sessions that nodes belong to, also those that have ended. */
  *owners(): IterableIterator<bigint> {
    for (const [high, ofHigh] of this.#owners) {
      for (const low of ofHigh.keys()) yield (BigInt(high) << 32n) | BigInt(low >>> 0);
    }
  }

  nextOfOwner(slot: number): number {
    return this.#word(slot, NEXT_OF_OWNER);
  }

  // Slots.

  #blockOf(slot: number): Int32Array {
    return this.#blocks[slot >>> SLOTS_PER_BLOCK_BITS] as Int32Array;
  }

  #word(slot: number, field: number): number {
    return this.#blockOf(slot)[baseOf(slot) + field] as number;
  }

  #setWord(slot: number, field: number, value: number): void {
    this.#blockOf(slot)[baseOf(slot) + field] = value;
  }

  #pathBytes(slot: number): Buffer {
    let length = 0;
    for (let at = slot; at !== ROOT; at = this.#word(at, PARENT)) length += this.#nameLength(at) + 1;
    const path = Buffer.allocUnsafe(length);
    for (let at = slot; at !== ROOT; at = this.#word(at, PARENT)) {
      const name = this.#nameLength(at);
      length -= name;
      this.#names.copy(this.#word(at, NAME_REF), name, path, length);
      length -= 1;
      path[length] = SLASH;
    }
    return path;
  }

  #nameLength(slot: number): number {
    return this.#word(slot, NAME_LENGTH) & LENGTH_MASK;
  }

  #takeSlot(): number {
    const free = this.#firstFree;
    if (free !== NONE) {
      this.#firstFree = this.#word(free, NEXT_FREE);
      const base = baseOf(free);
      this.#blockOf(free).fill(0, base, base + (1 << WORDS_BITS));
      return free;
    }
    const slot = this.#slots;
    if (slot >>> SLOTS_PER_BLOCK_BITS >= this.#blocks.length) {
      this.#blocks.push(new Int32Array(SLOTS_PER_BLOCK << WORDS_BITS));
      if (this.#keep.contentHash) this.#hashes.push(Buffer.alloc(SLOTS_PER_BLOCK * HASH_BYTES));
    }
    this.#slots += 1;
    return slot;
  }

  #addRoot(): number {
    const slot = this.#takeSlot();
    this.nodes += 1;
    this.#setWord(slot, NAME_REF, this.#names.store(EMPTY, 0, 0));
    return slot;
  }

  #add(parent: number, bytes: Buffer, start: number, nameStart: number, end: number, pathCrc: number): number {
    const slot = this.#takeSlot();
    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    let flags = this.#word(parent, NAME_LENGTH) & ~LENGTH_MASK;
    if (parent !== ROOT && flags >= 0 && isZookeeper(bytes, start, nameStart - 1)) flags |= EXCLUDED;
    if ((flags & NOT_ASCII) === 0 && !isAscii(bytes, nameStart, end)) flags |= NOT_ASCII;
    words[base + PARENT] = parent;
    words[base + NAME_REF] = this.#names.store(bytes, nameStart, end);
    words[base + NAME_LENGTH] = (end - nameStart) | flags;
    words[base + PATH_CRC] = pathCrc;
    const sibling = this.#word(parent, FIRST_CHILD);
    words[base + NEXT_SIBLING] = sibling;
    if (sibling !== NONE) this.#setWord(sibling, PREVIOUS_SIBLING, slot);
    this.#setWord(parent, FIRST_CHILD, slot);
    this.#setWord(parent, CHILDREN, this.#word(parent, CHILDREN) + 1);
    this.nodes += 1;
    return slot;
  }

  #removeLeaf(slot: number): void {
    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    this.#forget(slot);
    this.#leave(slot);
    this.#unlink(slot);
    this.#names.free(words[base + NAME_REF] as number, this.#nameLength(slot));
    words[base + NEXT_FREE] = this.#firstFree;
    this.#firstFree = slot;
    this.nodes -= 1;
  }

  /** Takes a node out of its parent's children. */
  #unlink(slot: number): void {
    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    const parent = words[base + PARENT] as number;
    const next = words[base + NEXT_SIBLING] as number;
    const previous = words[base + PREVIOUS_SIBLING] as number;
    if (next !== NONE) this.#setWord(next, PREVIOUS_SIBLING, previous);
    if (previous !== NONE) this.#setWord(previous, NEXT_SIBLING, next);
    else this.#setWord(parent, FIRST_CHILD, next);
    this.#setWord(parent, CHILDREN, this.#word(parent, CHILDREN) - 1);
  }

  /** Takes a node's data, ACL, owner and digest back. */
  #forget(slot: number): void {
    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    this.#disown(slot);
    this.acls.release(words[base + ACL] as number);
    words[base + ACL] = DANGLING;
    this.dataBytes -= Math.max(0, words[base + DATA_LENGTH] as number);
    words[base + DATA_LENGTH] = 0;
    if (this.#keep.keepData !== undefined) this.#kept.delete(slot);
    this.digest.replace(words[base + DIGEST] as number, 0);
    this.asciiDigest.replace(words[base + ASCII_DIGEST] as number, 0);
    words[base + DIGEST] = 0;
    words[base + ASCII_DIGEST] = 0;
  }

  // Data and digest.

  #setData(slot: number, bytes: Buffer, start: number, end: number, dataStart: number, dataEnd: number): void {
    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    this.dataBytes += Math.max(0, dataEnd - dataStart) - Math.max(0, words[base + DATA_LENGTH] as number);
    words[base + DATA_LENGTH] = dataEnd - dataStart;
    const crc = crc32(bytes, words[base + PATH_CRC] as number, dataStart, dataEnd);
    words[base + CONTENT_CRC] = crc;
    words[base + ASCII_CONTENT_CRC] =
      ((words[base + NAME_LENGTH] as number) & NOT_ASCII) === 0
        ? crc
        : crc32(bytes, this.#crcOfAsciiPath(bytes, start, end), dataStart, dataEnd);
    this.#sum(slot);
    if (this.#keep.contentHash) this.#keepHash(slot, bytes.subarray(dataStart, Math.max(dataStart, dataEnd)));
    if (this.#keep.keepData?.(start === end ? "/" : decodeText(bytes, start, end)) === true) {
      this.#kept.set(slot, dataEnd < dataStart ? null : Buffer.from(bytes.subarray(dataStart, dataEnd)));
    }
  }

  #keepHash(slot: number, data: Buffer): void {
    const at = (slot & SLOT_MASK) * HASH_BYTES;
    (this.#hashes[slot >>> SLOTS_PER_BLOCK_BITS] as Buffer).set(hash("sha256", data, "buffer"), at);
  }

  #sum(slot: number): void {
    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    const flags = words[base + NAME_LENGTH] as number;
    if (flags < 0) return;
    const content = words[base + CONTENT_CRC] as number;
    const digest = crc32OfWords(words, content, base + STAT, STAT_WORDS);
    const ascii =
      (flags & NOT_ASCII) === 0
        ? digest
        : crc32OfWords(words, words[base + ASCII_CONTENT_CRC] as number, base + STAT, STAT_WORDS);
    this.digest.replace(words[base + DIGEST] as number, digest);
    this.asciiDigest.replace(words[base + ASCII_DIGEST] as number, ascii);
    words[base + DIGEST] = digest;
    words[base + ASCII_DIGEST] = ascii;
  }

  #crcOfAsciiPath(bytes: Buffer, start: number, end: number): number {
    if (this.#asciiPath.length < end - start) this.#asciiPath = Buffer.allocUnsafe(2 * (end - start));
    const path = this.#asciiPath;
    let length = 0;
    for (let at = start; at < end; at++) {
      const byte = bytes[at] as number;
      // One mark for the first byte of a character, none for those that continue it.
      if (byte < 0x80) path[length++] = byte;
      else if (byte >= 0xc0) path[length++] = QUESTION_MARK;
    }
    return crc32(path, 0, 0, length);
  }

  // Owners.

  #own(slot: number): void {
    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    const high = swap(words[base + STAT + OWNER] as number);
    const low = swap(words[base + STAT + OWNER + 1] as number);
    if (!this.#isEphemeral(high, low, 1)) return;
    let ofHigh = this.#owners.get(high);
    if (ofHigh === undefined) {
      ofHigh = new Map();
      this.#owners.set(high, ofHigh);
    }
    const next = ofHigh.get(low) ?? NONE;
    words[base + NEXT_OF_OWNER] = next;
    if (next !== NONE) this.#setWord(next, PREVIOUS_OF_OWNER, slot);
    ofHigh.set(low, slot);
  }

  #disown(slot: number): void {
    const words = this.#blockOf(slot);
    const base = baseOf(slot);
    const high = swap(words[base + STAT + OWNER] as number);
    const low = swap(words[base + STAT + OWNER + 1] as number);
    if (!this.#isEphemeral(high, low, -1)) return;
    const next = words[base + NEXT_OF_OWNER] as number;
    const previous = words[base + PREVIOUS_OF_OWNER] as number;
    if (next !== NONE) this.#setWord(next, PREVIOUS_OF_OWNER, previous);
    if (previous !== NONE) {
      this.#setWord(previous, NEXT_OF_OWNER, next);
      return;
    }
    const ofHigh = this.#owners.get(high) as Map<number, number>;
    if (next !== NONE) ofHigh.set(low, next);
    else ofHigh.delete(low);
    if (ofHigh.size === 0) this.#owners.delete(high);
  }

  /** Whether this owner is a session. Counts a node more or less of its kind. */
  #isEphemeral(high: number, low: number, count: number): boolean {
    if (high === 0 && low === 0) return false;
    if (high === -0x8000_0000 && low === 0) {
      this.containers += count;
      return false;
    }
    if (high >>> 8 === 0xff0000) {
      this.ttlNodes += count;
      return false;
    }
    this.ephemerals += count;
    return true;
  }

  // Index.

  #find(bytes: Buffer, start: number, end: number, pathCrc: number): number {
    const index = this.#index;
    for (let slot = index.first(pathCrc); slot !== NONE; slot = index.next()) {
      if (this.#isPath(slot, bytes, start, end)) return slot;
    }
    if (this.#unindexed.size === 0) return NONE;
    return this.#unindexed.get(bytes.toString("latin1", start, end)) ?? NONE;
  }

  #isPath(slot: number, bytes: Buffer, start: number, end: number): boolean {
    let at = end;
    for (let node = slot; node !== ROOT; node = this.#word(node, PARENT)) {
      const length = this.#nameLength(node);
      at -= length + 1;
      if (at < start || bytes[at] !== SLASH) return false;
      if (!this.#names.equals(this.#word(node, NAME_REF), length, bytes, at + 1)) return false;
    }
    return at === start;
  }

  #enter(slot: number): void {
    if (!this.#index.enter(this.#word(slot, PATH_CRC), slot)) this.#unindexed.set(this.#keyOf(slot), slot);
  }

  #leave(slot: number): void {
    if (!this.#index.remove(this.#word(slot, PATH_CRC), slot)) this.#unindexed.delete(this.#keyOf(slot));
  }

  /**
   * A node that comes twice, which no server writes, takes the place of the first. As in a server, the children of the
   * first are still found by their paths, but are nobody's children any more.
   */
  #enterOfSnapshot(slot: number): void {
    const crc = this.#word(slot, PATH_CRC);
    let before = this.#index.first(crc);
    if (before !== NONE || this.#unindexed.size > 0) {
      const path = this.#pathBytes(slot);
      before = this.#find(path, 0, path.byteLength, crc);
    }
    if (before === NONE) {
      this.#enter(slot);
      return;
    }
    this.#forget(before);
    this.#unlink(before);
    this.nodes -= 1;
    if (!this.#index.replace(crc, before, slot)) this.#unindexed.set(this.#keyOf(slot), slot);
  }

  /** What it goes by in the table of nodes that are not in the index. */
  #keyOf(slot: number): string {
    return this.#pathBytes(slot).toString("latin1");
  }
}

function baseOf(slot: number): number {
  return (slot & SLOT_MASK) << WORDS_BITS;
}

function copyWords(bytes: Buffer, from: number, words: Int32Array, to: number, count: number): void {
  const b = bytes as { readonly [at: number]: number };
  for (let i = 0, at = from; i < count; i++, at += 4) {
    words[to + i] =
      (b[at] as number) | ((b[at + 1] as number) << 8) | ((b[at + 2] as number) << 16) | ((b[at + 3] as number) << 24);
  }
}

/** Between the number that four bytes are to ZooKeeper and the word that holds them. */
function swap(word: number): number {
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

function readLong(words: Int32Array, at: number): bigint {
  return (BigInt(swap(words[at] as number)) << 32n) | BigInt(swap(words[at + 1] as number) >>> 0);
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if ((bytes[at] as number) >= 0x80) return false;
  return true;
}

/** Whether a path is `/zookeeper`, below which nothing counts for the digest. */
function isZookeeper(bytes: Buffer, start: number, end: number): boolean {
  return end - start === ZOOKEEPER.length && bytes.compare(ZOOKEEPER, 0, ZOOKEEPER.length, start, end) === 0;
}

const ZOOKEEPER: Buffer = Buffer.from("/zookeeper");
