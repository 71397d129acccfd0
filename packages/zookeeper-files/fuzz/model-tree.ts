import { crc32 } from "node:zlib";
import type { MultiOp, Txn } from "../src/log/txn.ts";
import type { NodeContent } from "../src/snapshot/write-snapshot.ts";
import { CONTAINER_OWNER, kindOf, ttlOwner, type ZnodeStat } from "../src/znode-stat.ts";

interface ModelNode {
  data: Buffer | null;
  stat: { -readonly [K in keyof ZnodeStat]: ZnodeStat[K] };
}

type Made = Extract<MultiOp, { acl: unknown; data: unknown }>;

/** What a server of 3.6 and later makes of txns, in the plainest way: one map from paths to nodes. */
export class ModelTree {
  /** The root is the empty path. */
  readonly nodes = new Map<string, ModelNode>();
  readonly sessions = new Map<bigint, number>();
  /** Something happened that no server writes, and on which a tree may differ from a map. */
  isOdd = false;

  add({ path, data, stat }: NodeContent): void {
    if (this.nodes.has(path) || (path !== "" && !isPlain(path))) this.isOdd = true;
    this.nodes.set(path, { data, stat: { ...stat } });
  }

  apply(txn: Txn): void {
    switch (txn.type) {
      case "multi":
        if (txn.ops.some(({ type }) => type === "error")) return;
        for (const op of txn.ops) this.#applyOp(op, txn);
        return;
      case "createSession":
        this.sessions.set(txn.sessionId, txn.timeoutMs);
        return;
      case "closeSession":
        for (const path of txn.paths ?? []) this.#delete(path, txn.zxid);
        for (const [path, { stat }] of [...this.nodes]) {
          if (stat.ephemeralOwner === txn.sessionId && kindOf(stat.ephemeralOwner) === "ephemeral") {
            this.#delete(path, txn.zxid);
          }
        }
        this.sessions.delete(txn.sessionId);
        return;
      default:
        this.#applyOp(txn, txn);
    }
  }

  /** The sum of a CRC-32 of each node of its path, data and stat, as servers have it: 64 bits, signed. */
  get digest(): bigint {
    let sum = 0n;
    for (const [path, { data, stat }] of this.nodes) {
      if (path.startsWith("/zookeeper/")) continue;
      const fields = Buffer.alloc(60);
      const longs = [stat.czxid, stat.mzxid, stat.pzxid, BigInt(stat.ctimeMs), BigInt(stat.mtimeMs)];
      for (const [i, value] of longs.entries()) fields.writeBigInt64BE(value, 8 * i);
      for (const [i, value] of [stat.version, stat.cversion, stat.aversion].entries()) {
        fields.writeInt32BE(value, 40 + 4 * i);
      }
      fields.writeBigInt64BE(stat.ephemeralOwner, 52);
      sum += BigInt(crc32(Buffer.concat([Buffer.from(path), data ?? Buffer.alloc(0), fields])));
    }
    return BigInt.asIntN(64, sum);
  }

  #applyOp(op: MultiOp, { zxid, timeMs, sessionId }: Txn): void {
    switch (op.type) {
      case "create":
      case "create2":
        this.#create(op, zxid, timeMs, op.ephemeral ? sessionId : 0n);
        return;
      case "createContainer":
        this.#create(op, zxid, timeMs, CONTAINER_OWNER);
        return;
      case "createTtl":
        if (op.ttlMs <= 0n || op.ttlMs >= 1n << 40n) this.isOdd = true;
        this.#create(op, zxid, timeMs, ttlOwner(op.ttlMs));
        return;
      case "delete":
      case "deleteContainer":
        this.#delete(op.path, zxid);
        return;
      case "setData":
      case "reconfig": {
        const node = this.#find(op.path);
        if (node === undefined) return;
        node.data = op.data;
        Object.assign(node.stat, { mzxid: zxid, mtimeMs: timeMs, version: op.version });
        return;
      }
      case "setAcl": {
        const node = this.#find(op.path);
        if (node !== undefined) node.stat.aversion = op.version;
        return;
      }
      case "check":
      case "error":
        return;
    }
  }

  #find(path: string): ModelNode | undefined {
    if (path !== "/" && !isPlain(path)) this.isOdd = true;
    return this.nodes.get(path === "/" ? "" : path);
  }

  #parentOf(path: string): ModelNode | undefined {
    if (!isPlain(path)) this.isOdd = true;
    return this.nodes.get(path.slice(0, path.lastIndexOf("/")));
  }

  #create(op: Made, zxid: bigint, timeMs: number, ephemeralOwner: bigint): void {
    const parent = this.#parentOf(op.path);
    if (parent === undefined) return;
    const given = "parentCversion" in op ? (op.parentCversion ?? -1) : -1;
    const cversion = given === -1 ? (parent.stat.cversion + 1) | 0 : given;
    const exists = this.nodes.has(op.path);
    if ((!exists || op.type === "create") && cversion > parent.stat.cversion) {
      parent.stat.cversion = cversion;
      parent.stat.pzxid = zxid;
    }
    if (exists) return;
    const versions = { version: 0, cversion: 0, aversion: 0 };
    const stat = {
      czxid: zxid,
      mzxid: zxid,
      pzxid: zxid,
      ctimeMs: timeMs,
      mtimeMs: timeMs,
      ...versions,
      ephemeralOwner,
    };
    this.nodes.set(op.path, { data: op.data, stat });
  }

  #delete(path: string, zxid: bigint): void {
    const parent = this.#parentOf(path);
    if (parent === undefined) return;
    if (zxid > parent.stat.pzxid) parent.stat.pzxid = zxid;
    const below = `${path}/`;
    // Servers delete no node that has children, and leave these without a parent.
    for (const other of this.nodes.keys()) if (other.startsWith(below)) this.isOdd = true;
    this.nodes.delete(path);
  }
}

/** Whether a server may have made it: no empty names, and texts that are the same in bytes. */
function isPlain(path: string): boolean {
  return path.startsWith("/") && !path.endsWith("/") && !path.includes("//") && !/[\ufffd\ud800-\udfff]/.test(path);
}
