import type { LogFeatures } from "../log/log-summary.ts";
import { endOfBody, skipAcl, TXN_HEADER_BYTES, TXN_TYPE } from "../log/txn-layout.ts";
import type { SnapshotSummary } from "../snapshot/snapshot-summary.ts";
import { ttlOwner } from "../znode-stat.ts";
import type { DanglingAcls } from "./dangling-acls.ts";
import { NONE, ROOT, type ZnodeTable } from "./znode-table.ts";
import type { ZnodeTree } from "./znode-tree.ts";

/**
 * Whose rules a replay follows. They differ only in what they make of txns that a snapshot has already seen. Those of
 * 3.6 and later lead to the state that the server had in memory; by those of 3.4 and 3.5 a node's `cversion` and
 * `pzxid` may stay behind it, as they do when these releases load the same files.
 */
export type ApplyRules = "3.4" | "3.5" | "3.6";

/**
 * The rules of the release that wrote a snapshot, and the logs after it as far as they are known. Later releases than 3.5
 * write digests into both, unless these are switched off, and what a closing session takes along.
 */
export function applyRulesOf(
  { digest, lastZxid }: Pick<SnapshotSummary, "digest" | "lastZxid">,
  tree: ZnodeTree,
  logs: readonly LogFeatures[],
): ApplyRules {
  const some = (feature: keyof LogFeatures): boolean => logs.some((features) => features[feature] > 0);
  if (digest !== null || lastZxid !== null || some("txnDigests") || some("closeSessionBodies")) return "3.6";
  return tree.get("/zookeeper/config") !== null || some("since35Types") ? "3.5" : "3.4";
}

const SLASH = 0x2f;

/** Where the fields of a header are, in the entry. */
const ZXID_AT = 8 + 4;
const TIME_AT = 20;
const TYPE_AT = 28;

/**
 * Does to a tree what a server does that replays its log, straight from the bytes. Replaying what the tree has seen
 * already does no harm: that is how servers get from a snapshot that was written under load to a whole state.
 */
export class TxnApplier {
  rules: ApplyRules;
  /** Told of every use of an ACL; null where none can be missing. */
  danglingAcls: DanglingAcls | null = null;
  readonly #tree: ZnodeTable;
  #bytes: Buffer = Buffer.alloc(0);
  #sessionHigh = 0;
  #sessionLow = 0;

  constructor(tree: ZnodeTable, rules: ApplyRules) {
    this.rules = rules;
    this.#tree = tree;
  }

  /**
   * Applies the txn of one entry. Returns where its body ends, and where there may be a digest; or below 0, with nothing
   * applied, if it is no txn that a server can read.
   */
  apply(entry: Buffer): number {
    this.#bytes = entry;
    this.#sessionHigh = entry.readInt32BE(0);
    this.#sessionLow = entry.readInt32BE(4);
    const type = entry.readInt32BE(TYPE_AT);
    const end = endOfBody(entry, type, TXN_HEADER_BYTES, entry.byteLength);
    if (end < 0) return end;
    switch (type) {
      case TXN_TYPE.multi:
        this.#applyMulti(end);
        return end;
      case TXN_TYPE.createSession:
        this.#tree.sessions.set(entry.readBigInt64BE(0), entry.readInt32BE(TXN_HEADER_BYTES));
        return end;
      case TXN_TYPE.closeSession:
        this.#closeSession(end);
        return end;
      default:
        this.#applyOp(type, TXN_HEADER_BYTES, end);
        return end;
    }
  }

  #applyMulti(end: number): void {
    const bytes = this.#bytes;
    const start = TXN_HEADER_BYTES + 4;
    // If one part failed, none takes effect.
    for (let at = start; at < end; at = this.#endOf(at + 4)) if (bytes.readInt32BE(at) === TXN_TYPE.error) return;
    for (let at = start; at < end; at = this.#endOf(at + 4)) {
      this.#applyOp(bytes.readInt32BE(at), at + 8, this.#endOf(at + 4));
    }
  }

  /** One change. Its body was measured. */
  #applyOp(type: number, at: number, end: number): void {
    switch (type) {
      case TXN_TYPE.create:
      case TXN_TYPE.create2:
      case TXN_TYPE.createContainer:
      case TXN_TYPE.createTtl:
        this.#create(type, at, end);
        break;
      case TXN_TYPE.delete:
      case TXN_TYPE.deleteContainer:
        this.#delete(at + 4, this.#endOf(at));
        break;
      case TXN_TYPE.setData:
      case TXN_TYPE.reconfig:
        this.#setData(at);
        break;
      case TXN_TYPE.setAcl:
        this.#setAcl(at);
        break;
    }
  }

  #create(type: number, at: number, end: number): void {
    const bytes = this.#bytes;
    const tree = this.#tree;
    const path = at + 4;
    const pathEnd = this.#endOf(at);
    const data = pathEnd + 4;
    const dataEnd = data + bytes.readInt32BE(pathEnd);
    const acl = Math.max(data, dataEnd);
    const aclEnd = skipAcl(bytes, acl, end);
    const slash = this.#lastSlash(path, pathEnd);
    const parent = slash === -1 ? NONE : tree.find(bytes, path, slash);
    if (parent === NONE) return;
    this.danglingAcls?.use(parent);

    let ownerHigh = 0;
    let ownerLow = 0;
    let parentVersionAt = aclEnd;
    if (type === TXN_TYPE.createContainer) {
      ownerHigh = -0x8000_0000;
    } else if (type === TXN_TYPE.createTtl) {
      const owner = ttlOwner(bytes.readBigInt64BE(aclEnd + 4));
      ownerHigh = Number(owner >> 32n);
      ownerLow = Number(BigInt.asIntN(32, owner));
    } else {
      parentVersionAt += 1;
      if (bytes[aclEnd] !== 0) {
        ownerHigh = this.#sessionHigh;
        ownerLow = this.#sessionLow;
      }
    }
    // Up to 3.3 there was no such field.
    let cversion = parentVersionAt + 4 > end ? -1 : bytes.readInt32BE(parentVersionAt);
    if (cversion === -1) cversion = (tree.cversion(parent) + 1) | 0;

    const existing = tree.find(bytes, path, pathEnd);
    if (existing !== NONE) {
      // The snapshot may have been written without the ACL that the node refers to.
      this.danglingAcls?.createExisting(existing, bytes, acl, aclEnd);
      tree.setAcl(existing, tree.acls.ofTxn(bytes, acl, aclEnd));
      if (type === TXN_TYPE.create && cversion > tree.cversion(parent)) {
        tree.setChildrenChanged(parent, bytes, ZXID_AT, cversion);
      }
      return;
    }
    if (cversion > tree.cversion(parent) || this.rules !== "3.6") {
      tree.setChildrenChanged(parent, bytes, ZXID_AT, cversion);
    }
    const node = tree.add(parent, bytes, path, slash + 1, pathEnd);
    this.danglingAcls?.create(node, bytes, acl, aclEnd);
    tree.setBirth(node, bytes, ZXID_AT, TIME_AT, ownerHigh, ownerLow);
    tree.setAcl(node, tree.acls.ofTxn(bytes, acl, aclEnd));
    tree.setData(node, bytes, path, pathEnd, data, dataEnd);
  }

  #delete(path: number, pathEnd: number): void {
    const bytes = this.#bytes;
    const tree = this.#tree;
    const slash = this.#lastSlash(path, pathEnd);
    const parent = slash === -1 ? NONE : tree.find(bytes, path, slash);
    if (parent === NONE) return;
    const node = tree.find(bytes, path, pathEnd);
    if (node === ROOT) return;
    if (this.rules === "3.4") {
      if (node === NONE) return;
      tree.setChildrenChanged(parent, bytes, ZXID_AT, null);
    } else if (tree.isAfterPzxid(parent, bytes, ZXID_AT)) {
      // Also if the node is gone: the parent may have been written to the snapshot before it went.
      tree.setChildrenChanged(parent, bytes, ZXID_AT, null);
    }
    if (node === NONE) return;
    this.danglingAcls?.remove(node, parent);
    tree.remove(node);
  }

  #setData(at: number): void {
    const bytes = this.#bytes;
    const pathEnd = this.#endOf(at);
    const data = pathEnd + 4;
    const dataEnd = data + bytes.readInt32BE(pathEnd);
    const node = this.#tree.find(bytes, at + 4, pathEnd);
    if (node === NONE) return;
    this.danglingAcls?.use(node);
    this.#tree.setModified(node, bytes, ZXID_AT, TIME_AT, bytes.readInt32BE(Math.max(data, dataEnd)));
    this.#tree.setData(node, bytes, at + 4, pathEnd, data, dataEnd);
  }

  #setAcl(at: number): void {
    const bytes = this.#bytes;
    const pathEnd = this.#endOf(at);
    const node = this.#tree.find(bytes, at + 4, pathEnd);
    if (node === NONE) return;
    const aclEnd = skipAcl(bytes, pathEnd, bytes.byteLength);
    this.danglingAcls?.setAcl(node, bytes, pathEnd, aclEnd);
    this.#tree.setAcl(node, this.#tree.acls.ofTxn(bytes, pathEnd, aclEnd));
    this.#tree.setAversion(node, bytes.readInt32BE(aclEnd));
  }

  /** From 3.6 on it lists the nodes to delete. Any other node of the session goes as well. */
  #closeSession(end: number): void {
    const bytes = this.#bytes;
    const tree = this.#tree;
    if (end > TXN_HEADER_BYTES) {
      for (let at = TXN_HEADER_BYTES + 4; at < end; at = this.#endOf(at)) this.#delete(at + 4, this.#endOf(at));
    }
    const session = bytes.readBigInt64BE(0);
    for (let node = tree.firstOfOwner(session); node !== NONE; node = tree.firstOfOwner(session)) {
      const parent = tree.parentOf(node);
      if (this.rules === "3.4" || tree.isAfterPzxid(parent, bytes, ZXID_AT)) {
        tree.setChildrenChanged(parent, bytes, ZXID_AT, null);
      }
      this.danglingAcls?.remove(node, parent);
      tree.remove(node);
    }
    tree.sessions.delete(session);
  }

  /** Where the field at `at` ends. */
  #endOf(at: number): number {
    return at + 4 + Math.max(0, this.#bytes.readInt32BE(at));
  }

  #lastSlash(start: number, end: number): number {
    let at = end - 1;
    while (at >= start && this.#bytes[at] !== SLASH) at -= 1;
    return at < start ? -1 : at;
  }
}
