import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Acl } from "./acl.ts";
import { ZooKeeperFileError } from "./file-error.ts";
import { decodeTxn } from "./log/decode-txn.ts";
import { encodeTxn } from "./log/encode-txn.ts";
import { createLogChecker } from "./log/log-checker.ts";
import type { LogSummary } from "./log/log-summary.ts";
import { type LoggedTxn, readLog } from "./log/read-log.ts";
import type { Txn } from "./log/txn.ts";
import { writeLog } from "./log/write-log.ts";
import { readSnapshot } from "./snapshot/read-snapshot.ts";
import { checkSnapshot } from "./snapshot/snapshot-checker.ts";
import type { SnapshotSummary } from "./snapshot/snapshot-summary.ts";
import { type NodeContent, type SnapshotContent, writeSnapshot } from "./snapshot/write-snapshot.ts";
import { bytesOf } from "./testing/chunks.ts";
import { frame, LOG_HEADER } from "./testing/made-log.ts";
import { zlibAdler32 } from "./testing/made-snapshot.ts";
import { anyLog, anySnapshot, anyTxn, chunkSizes, damage, inChunks } from "./testing/random.ts";
import { kindOf } from "./znode-stat.ts";

const RUNS = { numRuns: 300 };

function recordsIn(entry: Uint8Array): number {
  const checker = createLogChecker();
  checker.push(Buffer.concat([LOG_HEADER, frame(entry)]));
  return checker.end().records;
}

async function readTxns(log: Buffer, sizes: readonly number[]): Promise<{ txns: Txn[]; summary: LogSummary }> {
  const summaries: LogSummary[] = [];
  const onSummary = (summary: LogSummary): unknown => summaries.push(summary);
  const txns = await Array.fromAsync(
    readLog(inChunks(log, sizes), { onSummary }),
    ({ offset: _, length: __, ...txn }: LoggedTxn): Txn => txn,
  );
  return { txns, summary: summaries[0] as LogSummary };
}

async function readContent(bytes: Buffer, sizes: readonly number[]): Promise<Required<SnapshotContent>> {
  const sessions = new Map<bigint, number>();
  const acls = new Map<bigint, Acl>();
  const nodes: NodeContent[] = [];
  const summaries: SnapshotSummary[] = [];
  const onSummary = (summary: SnapshotSummary): unknown => summaries.push(summary);
  for await (const item of readSnapshot(inChunks(bytes, sizes), { onSummary })) {
    if (item.type === "session") sessions.set(item.id, item.timeoutMs);
    else if (item.type === "acl") acls.set(item.id, item.acl);
    else nodes.push({ path: item.path, data: item.data, aclId: item.aclId, stat: item.stat });
  }
  const { digest, lastZxid } = summaries[0] as SnapshotSummary;
  return { sessions, acls, nodes, digest, lastZxid };
}

describe("any txn", () => {
  test("is decoded from what it was encoded to", () => {
    const property = fc.property(anyTxn, (txn) => {
      const entry = encodeTxn(txn);
      expect(decodeTxn(entry)).toEqual(txn);
      expect(recordsIn(entry)).toBe(txn.type === "check" ? 0 : 1);
    });
    fc.assert(property, RUNS);
  });

  test("that was damaged is decoded exactly if the log checker takes it for good", () => {
    const property = fc.property(anyTxn, damage, (txn, change) => {
      const entry = change(encodeTxn(txn));
      let decoded: Txn | null = null;
      try {
        decoded = decodeTxn(entry);
      } catch (error) {
        expect(error).toMatchObject({ name: "ZooKeeperFileError", code: "TXN_MALFORMED" });
      }
      if (decoded?.type !== "check") expect(recordsIn(entry)).toBe(decoded === null ? 0 : 1);
    });
    fc.assert(property, { numRuns: 2000 });
  });
});

describe("any log", () => {
  test("is read as it was written, in chunks of any sizes, and written as it was read", async () => {
    const property = fc.asyncProperty(anyLog, chunkSizes, async (txns, sizes) => {
      const log = await bytesOf(writeLog(txns));
      const { txns: read, summary } = await readTxns(log, sizes);
      expect(read).toEqual(txns);
      expect(summary).toMatchObject({ records: txns.length, end: "eof", problems: [], bytes: log.byteLength });
      expect(await bytesOf(writeLog(read))).toEqual(log);
    });
    await fc.assert(property, RUNS);
  });

  test("that was damaged never yields a txn that was not written, and is never an error", async () => {
    const property = fc.asyncProperty(anyLog, damage, chunkSizes, async (txns, change, sizes) => {
      const log = await bytesOf(writeLog(txns));
      const damaged = change(log);
      const { txns: read, summary } = await readTxns(damaged, sizes);
      const written = new Set(txns.map((txn) => encodeTxn(txn).toString("latin1")));
      for (const txn of read) expect(written).toContain(encodeTxn(txn).toString("latin1"));
      expect(summary.records).toBe(read.length);
      expect(summary.fileBytes).toBe(damaged.byteLength);
      if (read.length < txns.length && summary.end === "eof") {
        // Cut at the end of a record, or a record taken out: then the bytes that are there are good.
        expect(summary.bytes).toBe(damaged.byteLength);
      }
    });
    await fc.assert(property, { numRuns: 1000 });
  });
});

describe("any snapshot", () => {
  test("is read as it was written, in chunks of any sizes, and written as it was read", async () => {
    const property = fc.asyncProperty(anySnapshot, chunkSizes, async (content, sizes) => {
      const bytes = await bytesOf(writeSnapshot(content));
      const read = await readContent(bytes, sizes);
      expect(read).toEqual(content);
      expect(await bytesOf(writeSnapshot(read))).toEqual(bytes);
      const kinds = content.nodes.map(({ stat }) => kindOf(stat.ephemeralOwner));
      expect(await checkSnapshot(inChunks(bytes, sizes))).toMatchObject({
        nodes: content.nodes.length,
        sessions: content.sessions.size,
        acls: content.acls.size,
        ephemerals: kinds.filter((kind) => kind === "ephemeral").length,
        containers: kinds.filter((kind) => kind === "container").length,
        ttlNodes: kinds.filter((kind) => kind === "ttl").length,
        danglingAcls: content.nodes.filter(({ aclId }) => aclId !== -1n && !content.acls.has(aclId)).length,
        dataBytes: content.nodes.reduce((sum, { data }) => sum + (data?.byteLength ?? 0), 0),
        digest: content.digest,
        lastZxid: content.lastZxid,
        bytes: bytes.byteLength,
      });
    });
    await fc.assert(property, RUNS);
  });

  test("that was damaged is refused, but where it was cut behind one of its checksums", async () => {
    const property = fc.asyncProperty(anySnapshot, damage, chunkSizes, async (content, change, sizes) => {
      const bytes = await bytesOf(writeSnapshot(content));
      const damaged = change(bytes);
      let read: Required<SnapshotContent>;
      try {
        read = await readContent(damaged, sizes);
      } catch (error) {
        expect(error).toBeInstanceOf(ZooKeeperFileError);
        await expect(checkSnapshot(inChunks(damaged, sizes))).rejects.toBeInstanceOf(ZooKeeperFileError);
        return;
      }
      // By zlib's own checksum.
      const seal = damaged.byteLength - 13;
      expect(damaged.readBigInt64BE(seal)).toBe(BigInt(zlibAdler32(damaged.subarray(0, seal))));
      expect(damaged.equals(bytes.subarray(0, damaged.byteLength))).toBe(true);
      expect(read).toMatchObject({ sessions: content.sessions, acls: content.acls, nodes: content.nodes });
      expect(await bytesOf(writeSnapshot(read))).toEqual(damaged);
    });
    await fc.assert(property, { numRuns: 1000 });
  });
});
