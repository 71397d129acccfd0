import type { Acl, AclEntry } from "../acl.ts";
import { ADLER32_START, adler32 } from "../adler32.ts";
import { ZooKeeperFileError } from "../file-error.ts";
import { decodeText } from "../jute/jute-text.ts";
import { RecordCutter, STOP } from "../record-cutter.ts";
import { STAT_BYTES } from "../znode-stat.ts";
import { SnapshotNode } from "./snapshot-node.ts";
import type { SnapshotDigest, SnapshotSummary } from "./snapshot-summary.ts";

/** Told of what is in a snapshot as it is read, before it is known whether the rest of the file is good. */
export interface SnapshotHooks {
  readonly onSession?: (sessionId: bigint, timeoutMs: number) => void;
  /** The whole table comes before the first node. */
  readonly onAcl?: (aclId: bigint, acl: Acl) => void;
  /** Parents come before their children. The view and its bytes are lent for the call. What it throws comes out of `push`. */
  readonly onNode?: (node: SnapshotNode) => void;
}

/**
 * Largest path, data or ACL text that is read unless another limit is given, in bytes: 64 times what ZooKeeper's
 * default `jute.maxbuffer` allows.
 */
export const DEFAULT_MAX_FIELD_BYTES: number = 64 * 1024 * 1024;

const MAGIC = 0x5a4b534e; // "ZKSN"
const HEADER_BYTES = 16;
/** Adler-32 as a long, then the text "/". */
const SEAL_BYTES = 13;
/** zxid, version, digest. */
const DIGEST_BYTES = 20;
const LAST_ZXID_BYTES = 8;
const SLASH = 0x2f;
/** What may follow the first seal: nothing; lastZxid; digest; digest and lastZxid. Each is sealed. */
const LONGEST_TRAILER = SEAL_BYTES + (DIGEST_BYTES + SEAL_BYTES) + (LAST_ZXID_BYTES + SEAL_BYTES);
/** The ids of all ACLs are kept in memory; a server keeps the ACLs themselves. */
const MAX_ACLS = 4 * 1024 * 1024;
/** Entries of one ACL, which are in memory together. A server with the default `jute.maxbuffer` cannot hold as many. */
export const MAX_ACL_ENTRIES = 65_536;

type Section = "header" | "session count" | "sessions" | "ACL count" | "ACL table" | "ACL" | "nodes" | "seal";

/**
 * Reads the plain bytes of one snapshot and checks all of its structure and every checksum.
 *
 * Nodes are written depth first. So a node's parent is the node before it or one of that node's ancestors, and the
 * path of the node before is all that must be kept to tell whether the parent is there.
 */
export class SnapshotParser {
  readonly #maxFieldBytes: number;
  readonly #hooks: SnapshotHooks;
  readonly #node: SnapshotNode = new SnapshotNode();
  readonly #cutter: RecordCutter = new RecordCutter((bytes, start, end) => this.#read(bytes, start, end));
  #section: Section = "header";
  /** Entries of the section that are still to come, and entries of the ACL that is being read. */
  #left = 0;
  #aclEntriesLeft = 0;
  #aclId = 0n;
  #acl: AclEntry[] = [];
  #adler = ADLER32_START;
  /** Everything from the first seal on. */
  readonly #trailer: Buffer = Buffer.alloc(LONGEST_TRAILER);
  #trailerBytes = 0;

  readonly #aclIds = new Set<bigint>();
  /** One that is in the table: mostly the next node has the same. */
  #knownAclHigh = -1;
  #knownAclLow = -1;
  #previousPath: Buffer = Buffer.alloc(1024);
  #previousPathBytes = -1;

  #sessions = 0;
  #nodes = 0;
  #ephemerals = 0;
  #containers = 0;
  #ttlNodes = 0;
  #danglingAcls = 0;
  #dataBytes = 0;
  #largestFieldBytes = 0;
  #highestZxidHigh = 0;
  #highestZxidLow = 0;

  constructor(maxFieldBytes: number, hooks: SnapshotHooks) {
    this.#maxFieldBytes = maxFieldBytes;
    this.#hooks = hooks;
  }

  /** @throws ZooKeeperFileError as soon as the bytes cannot be those of a good snapshot */
  push(chunk: Buffer): void {
    const taken = this.#section === "seal" ? 0 : this.#cutter.push(chunk);
    this.#adler = adler32(chunk, this.#adler, 0, taken);
    const rest = chunk.byteLength - taken;
    if (rest === 0) return;
    const copied = chunk.copy(this.#trailer, this.#trailerBytes, taken);
    this.#trailerBytes += copied;
    if (copied < rest) {
      // Damage that merely looks like the end of the nodes shows here first.
      this.#checkSeal(0, this.#adler);
      const end = this.#cutter.offset + LONGEST_TRAILER;
      throw new ZooKeeperFileError("SNAPSHOT_TRAILING_BYTES", end, `bytes after the end of the snapshot, at ${end}`);
    }
  }

  /** @throws ZooKeeperFileError when the snapshot is not complete and intact */
  end(): SnapshotSummary {
    if (this.#section !== "seal") {
      const end = this.#cutter.offset + this.#cutter.pending().byteLength;
      throw truncated(end, `in its ${this.#section}`);
    }
    const { digest, lastZxid } = this.#readTrailer();
    return {
      nodes: this.#nodes,
      sessions: this.#sessions,
      acls: this.#aclIds.size,
      ephemerals: this.#ephemerals,
      containers: this.#containers,
      ttlNodes: this.#ttlNodes,
      danglingAcls: this.#danglingAcls,
      dataBytes: this.#dataBytes,
      largestFieldBytes: this.#largestFieldBytes,
      digest,
      lastZxid,
      highestZxid: (BigInt(this.#highestZxidHigh) << 32n) | BigInt(this.#highestZxidLow),
      bytes: this.#cutter.offset + this.#trailerBytes,
    };
  }

  #readTrailer(): { digest: SnapshotDigest | null; lastZxid: bigint | null } {
    const start = this.#cutter.offset;
    const end = this.#trailerBytes;
    if (end < SEAL_BYTES) throw truncated(start + end, "in its first seal");
    let adler = this.#checkSeal(0, this.#adler);
    let at = SEAL_BYTES;
    let digest: SnapshotDigest | null = null;
    let lastZxid: bigint | null = null;
    // The sections carry no tags. Only the number of bytes tells which ones are there.
    const sections = end - at;
    const hasLastZxid = sections === LONGEST_TRAILER - SEAL_BYTES || sections === LAST_ZXID_BYTES + SEAL_BYTES;
    const hasDigest = sections === LONGEST_TRAILER - SEAL_BYTES || sections === DIGEST_BYTES + SEAL_BYTES;
    if (sections !== 0 && !hasLastZxid && !hasDigest) throw truncated(start + end, "after its first seal");
    if (hasDigest) {
      adler = this.#checkSeal(at + DIGEST_BYTES, adler32(this.#trailer, adler, at, at + DIGEST_BYTES));
      const version = this.#trailer.readInt32BE(at + 8);
      if (version < 2) {
        const message = `digest of version ${version} at byte ${start + at}; no release of ZooKeeper writes that`;
        throw new ZooKeeperFileError("SNAPSHOT_BAD_DIGEST", start + at, message);
      }
      digest = { zxid: this.#trailer.readBigInt64BE(at), version, value: this.#trailer.readBigInt64BE(at + 12) };
      at += DIGEST_BYTES + SEAL_BYTES;
    }
    if (hasLastZxid) {
      this.#checkSeal(at + LAST_ZXID_BYTES, adler32(this.#trailer, adler, at, at + LAST_ZXID_BYTES));
      lastZxid = this.#trailer.readBigInt64BE(at);
    }
    return { digest, lastZxid };
  }

  /** Returns the running checksum behind the seal; `adler` is the one before it. */
  #checkSeal(at: number, adler: number): number {
    const found = this.#trailer.readBigInt64BE(at);
    const offset = this.#cutter.offset + at;
    if (found !== BigInt(adler) || this.#trailer.readInt32BE(at + 8) !== 1 || this.#trailer[at + 12] !== SLASH) {
      const message =
        `the checksum at byte ${offset} is not that of the bytes before it ` +
        `(0x${found.toString(16)}, should be 0x${adler.toString(16)}): the snapshot is damaged`;
      throw new ZooKeeperFileError("SNAPSHOT_BAD_SEAL", offset, message);
    }
    return adler32(this.#trailer, adler, at, at + SEAL_BYTES);
  }

  #read(bytes: Buffer, start: number, end: number): number {
    switch (this.#section) {
      case "nodes":
        return this.#readNode(bytes, start, end);
      case "sessions":
        return this.#readSession(bytes, start, end);
      case "ACL table":
        return this.#readAclHead(bytes, start, end);
      case "ACL":
        return this.#readAclEntry(bytes, start, end);
      case "header":
        return this.#readHeader(bytes, start, end);
      case "session count":
        return this.#readCount(bytes, start, end, "sessions", "ACL count");
      case "ACL count":
        return this.#readCount(bytes, start, end, "ACL table", "nodes");
      case "seal":
        return STOP;
    }
  }

  #readHeader(bytes: Buffer, start: number, end: number): number {
    if (end - start < HEADER_BYTES) return -HEADER_BYTES;
    // Version and dbid are not looked at, as no server does either. The seal covers them.
    if (bytes.readInt32BE(start) !== MAGIC) {
      throw new ZooKeeperFileError("SNAPSHOT_BAD_MAGIC", 0, 'no ZooKeeper snapshot: it does not begin with "ZKSN"');
    }
    this.#section = "session count";
    return HEADER_BYTES;
  }

  #readCount(bytes: Buffer, start: number, end: number, section: Section, sectionIfNone: Section): number {
    if (end - start < 4) return -4;
    const count = bytes.readInt32BE(start);
    if (count < 0) throw this.#badLength(0, `count of ${section}`, count);
    this.#left = count;
    this.#section = count === 0 ? sectionIfNone : section;
    return 4;
  }

  #readSession(bytes: Buffer, start: number, end: number): number {
    if (end - start < 12) return -12;
    this.#hooks.onSession?.(bytes.readBigInt64BE(start), bytes.readInt32BE(start + 8));
    this.#sessions += 1;
    this.#left -= 1;
    if (this.#left === 0) this.#section = "ACL count";
    return 12;
  }

  #readAclHead(bytes: Buffer, start: number, end: number): number {
    if (end - start < 12) return -12;
    const count = bytes.readInt32BE(start + 8);
    if (count < 0 || count > MAX_ACL_ENTRIES) {
      throw this.#badLength(8, "number of entries of an ACL", count, MAX_ACL_ENTRIES);
    }
    if (this.#aclIds.size >= MAX_ACLS) {
      const offset = this.#cutter.offset;
      const message = `more than ${MAX_ACLS} distinct ACLs, at byte ${offset}; this library does not read such files`;
      throw new ZooKeeperFileError("SNAPSHOT_TOO_MANY_ACLS", offset, message);
    }
    this.#aclId = bytes.readBigInt64BE(start);
    this.#aclIds.add(this.#aclId);
    this.#aclEntriesLeft = count;
    if (count === 0) this.#nextAcl();
    else this.#section = "ACL";
    return 12;
  }

  #readAclEntry(bytes: Buffer, start: number, end: number): number {
    if (end - start < 8) return -8;
    const scheme = this.#readLength(bytes, start, 4, "ACL scheme", 0);
    if (end - start < 12 + scheme) return -(12 + scheme);
    const id = this.#readLength(bytes, start, 8 + scheme, "ACL id", 0);
    const length = 12 + scheme + id;
    if (end - start < length) return -length;
    if (this.#hooks.onAcl !== undefined) {
      this.#acl.push({
        permissions: bytes.readInt32BE(start),
        scheme: decodeText(bytes, start + 8, start + 8 + scheme),
        id: decodeText(bytes, start + 12 + scheme, start + length),
      });
    }
    this.#aclEntriesLeft -= 1;
    if (this.#aclEntriesLeft === 0) this.#nextAcl();
    return length;
  }

  #nextAcl(): void {
    this.#hooks.onAcl?.(this.#aclId, this.#acl);
    this.#acl = [];
    this.#left -= 1;
    this.#section = this.#left === 0 ? "nodes" : "ACL table";
  }

  #readNode(bytes: Buffer, start: number, end: number): number {
    const available = end - start;
    if (available < 4) return -4;
    const pathBytes = this.#readLength(bytes, start, 0, "path", 0);
    if (available < 4 + pathBytes) return -(4 + pathBytes);
    const path = start + 4;
    if (pathBytes === 1 && bytes[path] === SLASH) {
      if (this.#nodes === 0) throw this.#badPath("there is no root node");
      this.#section = "seal";
      return 5;
    }
    const dataAt = 8 + pathBytes;
    if (available < dataAt) return -dataAt;
    const dataBytes = Math.max(0, this.#readLength(bytes, start, 4 + pathBytes, "data", -1));
    const aclAt = dataAt + dataBytes;
    const length = aclAt + 8 + STAT_BYTES;
    if (available < length) return -length;

    this.#checkParent(bytes, path, pathBytes);
    this.#nodes += 1;
    this.#dataBytes += dataBytes;
    const aclId = start + aclAt;
    // -1 stands for "world may do anything" and is in no table.
    const aclHigh = bytes.readInt32BE(aclId);
    const aclLow = bytes.readInt32BE(aclId + 4);
    if ((aclHigh !== -1 || aclLow !== -1) && (aclHigh !== this.#knownAclHigh || aclLow !== this.#knownAclLow)) {
      if (this.#aclIds.has(bytes.readBigInt64BE(aclId))) {
        this.#knownAclHigh = aclHigh;
        this.#knownAclLow = aclLow;
      } else {
        this.#danglingAcls += 1;
      }
    }
    this.#countStat(bytes, aclId + 8);
    if (this.#hooks.onNode !== undefined) {
      const node = this.#node;
      node.bytes = bytes;
      node.pathStart = path;
      node.pathEnd = path + pathBytes;
      node.dataStart = start + dataAt;
      node.dataEnd = start + dataAt + bytes.readInt32BE(start + 4 + pathBytes);
      node.statStart = aclId + 8;
      this.#hooks.onNode(node);
    }
    return length;
  }

  #checkParent(bytes: Buffer, path: number, pathBytes: number): void {
    const previous = this.#previousPath;
    const previousBytes = this.#previousPathBytes;
    if (previousBytes < 0) {
      if (pathBytes !== 0) throw this.#badPath("the first node is not the root");
    } else {
      if (bytes[path] !== SLASH || pathBytes === 0) throw this.#badPath("a node's path does not begin with a slash");
      let parentBytes = pathBytes - 1;
      while (bytes[path + parentBytes] !== SLASH) parentBytes -= 1;
      let isKnown = parentBytes === previousBytes || (parentBytes < previousBytes && previous[parentBytes] === SLASH);
      for (let i = 1; isKnown && i < parentBytes; i++) isKnown = bytes[path + i] === previous[i];
      if (!isKnown && parentBytes > 0) {
        const name = JSON.stringify(bytes.toString("utf8", path, path + Math.min(pathBytes, 200)));
        const offset = this.#cutter.offset;
        const message = `the node ${name} at byte ${offset} does not follow its parent: the snapshot is damaged`;
        throw new ZooKeeperFileError("SNAPSHOT_ORPHAN_NODE", offset, message);
      }
    }
    if (pathBytes > previous.byteLength) this.#previousPath = Buffer.allocUnsafe(2 * pathBytes);
    copyPath(bytes, path, pathBytes, this.#previousPath);
    this.#previousPathBytes = pathBytes;
  }

  /** czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeralOwner, pzxid. */
  #countStat(bytes: Buffer, stat: number): void {
    this.#seeZxid(bytes.readInt32BE(stat), bytes.readUInt32BE(stat + 4));
    this.#seeZxid(bytes.readInt32BE(stat + 8), bytes.readUInt32BE(stat + 12));
    this.#seeZxid(bytes.readInt32BE(stat + 52), bytes.readUInt32BE(stat + 56));
    const ownerHigh = bytes.readInt32BE(stat + 44);
    const ownerLow = bytes.readInt32BE(stat + 48);
    if (ownerHigh === 0 && ownerLow === 0) return;
    if (ownerHigh === -0x8000_0000 && ownerLow === 0) this.#containers += 1;
    // Highest byte ff, two bytes 0, then the time to live in 40 bits.
    else if (ownerHigh >>> 8 === 0xff0000) this.#ttlNodes += 1;
    else this.#ephemerals += 1;
  }

  #seeZxid(high: number, low: number): void {
    if (high > this.#highestZxidHigh) {
      this.#highestZxidHigh = high;
      this.#highestZxidLow = low;
    } else if (high === this.#highestZxidHigh && low > this.#highestZxidLow) {
      this.#highestZxidLow = low;
    }
  }

  /** The length field `at` bytes into the record, up to the limit. Servers fail on a null (-1) that is not data. */
  #readLength(bytes: Buffer, start: number, at: number, what: string, lowest: 0 | -1): number {
    const length = bytes.readInt32BE(start + at);
    if (length < lowest || length > this.#maxFieldBytes) throw this.#badLength(at, `length of a ${what}`, length);
    if (length > this.#largestFieldBytes) this.#largestFieldBytes = length;
    return length;
  }

  #badLength(at: number, what: string, length: number, limit: number = this.#maxFieldBytes): ZooKeeperFileError {
    const offset = this.#cutter.offset + at;
    const hint = length > limit ? ` (the limit is ${limit})` : "";
    return new ZooKeeperFileError("SNAPSHOT_BAD_LENGTH", offset, `${what} is ${length}${hint}, at byte ${offset}`);
  }

  #badPath(what: string): ZooKeeperFileError {
    const offset = this.#cutter.offset;
    return new ZooKeeperFileError("SNAPSHOT_BAD_PATH", offset, `${what}, at byte ${offset}: the snapshot is damaged`);
  }
}

/** A call of `Buffer.copy` takes longer than most paths. */
function copyPath(bytes: Buffer, start: number, length: number, target: Buffer): void {
  if (length > 128) bytes.copy(target, 0, start, start + length);
  else for (let i = 0; i < length; i++) target[i] = bytes[start + i] as number;
}

function truncated(end: number, where: string): ZooKeeperFileError {
  const message = `the snapshot ends at byte ${end}, ${where}: it is still being written, or was cut`;
  return new ZooKeeperFileError("SNAPSHOT_TRUNCATED", end, message);
}
