import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type NodeContent, OPEN_ACL, type Txn, writeLog, writeSnapshot } from "@zk-backyp/zookeeper-files";

const SESSION = 0x100_0000_0000_0001n;
const ADDED_BYTES = 40;

/** Writes a log of about `bytes` bytes: one session that creates znodes, and in the middle deletes `/n7` in a multi. */
export async function writeLongLog(directory: string, bytes: number): Promise<void> {
  await mkdir(directory, { recursive: true });
  const count = Math.ceil(bytes / (94 + ADDED_BYTES));
  const txns = function* (): Generator<Txn, void, void> {
    let zxid = 0n;
    const next = () => ({ zxid: ++zxid, timeMs: 1.7e12 + Number(zxid), sessionId: SESSION, cxid: 1, digest: null });
    yield { ...next(), type: "createSession", timeoutMs: 30_000 };
    const data = Buffer.alloc(ADDED_BYTES, "x");
    for (let index = 0; index < count; index++) {
      const rest = { data, acl: OPEN_ACL, ephemeral: false, parentCversion: index + 1 };
      yield { ...next(), type: "create", path: `/n${index}`, ...rest };
      if (index === count >> 1) yield { ...next(), type: "multi", ops: [{ type: "delete", path: "/n7" }] };
    }
  };
  await pipeline(writeLog(txns()), createWriteStream(join(directory, "log.1")));
}

/** Writes a snapshot of `count` znodes, a thousand in each folder; with `changed`, the data of one in each is another. */
export async function writeManyZnodes(directory: string, count: number, changed: boolean): Promise<void> {
  await mkdir(directory, { recursive: true });
  const stat = {
    ...{ czxid: 5n, mzxid: 5n, pzxid: 5n, ctimeMs: 1.7e12, mtimeMs: 1.7e12, version: 0, cversion: 0, aversion: 0 },
    ephemeralOwner: 0n,
  };
  const nodes = function* (): Generator<NodeContent, void, void> {
    yield { path: "", data: null, aclId: -1n, stat };
    for (let folder = 0; folder < count / 1000; folder++) {
      yield { path: `/folder-${folder}`, data: null, aclId: -1n, stat };
      for (let index = 0; index < 999; index++) {
        const data = Buffer.from(`${changed && index === 500 ? "new" : "old"} data of ${index}`);
        yield { path: `/folder-${folder}/node-${index}`, data, aclId: -1n, stat };
      }
    }
  };
  const snapshot = writeSnapshot({ sessions: new Map(), acls: new Map(), nodes: nodes() });
  await pipeline(snapshot, createWriteStream(join(directory, "snapshot.5")));
}
