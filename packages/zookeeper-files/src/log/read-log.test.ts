import { createReadStream } from "node:fs";
import { describe, expect, test } from "vitest";
import { chunksOf, flipped, refusalOf } from "../testing/chunks.ts";
import { field, int } from "../testing/jute.ts";
import { LOG_HEADER, makeLog } from "../testing/made-log.ts";
import { realFiles } from "../testing/real-files.ts";
import type { LogSummary } from "./log-summary.ts";
import { type LoggedTxn, readLog } from "./read-log.ts";

const files = realFiles();

async function read(bytes: Uint8Array, chunk = 1024 * 1024): Promise<{ txns: LoggedTxn[]; summary: LogSummary }> {
  const txns: LoggedTxn[] = [];
  const log = readLog(chunksOf(bytes, chunk));
  for (;;) {
    const { done, value } = await log.next();
    if (done) return { txns, summary: value };
    txns.push(value);
  }
}

describe("reading a log", () => {
  test("yields each txn and where it stands", async () => {
    const log = makeLog({ zxid: 1n, type: 2, body: field("/a"), digest: 7n }, { zxid: 2n, type: -1, body: int(-101) });
    const { txns, summary } = await read(log);
    const header = { sessionId: 0x100_0000_0000_0001n, cxid: 1 };
    expect(txns).toEqual([
      {
        ...header,
        zxid: 1n,
        timeMs: 1001,
        type: "delete",
        path: "/a",
        digest: { version: 2, value: 7n },
        offset: 16,
        length: 63,
      },
      { ...header, zxid: 2n, timeMs: 1002, type: "error", errorCode: -101, digest: null, offset: 79, length: 49 },
    ]);
    expect(summary).toMatchObject({ records: 2, end: "eof", bytes: 128, problems: [] });
  });

  test("gives the same txns however the bytes are cut, in memory of their own", async () => {
    const bytes = files.read("zookeeper-3.8.0-rich", "version-2", "log.3a8").subarray(0, 100_000);
    const expected = await read(bytes);
    expect(expected.txns.length).toBe(61);
    for (const chunk of [1, 7, 64, 4096]) expect(await read(bytes, chunk)).toEqual(expected);
  });

  test("of a file yields what a server wrote", async () => {
    const path = files.path("zookeeper-3.8.0-rich", "version-2", "log.227");
    const types: Record<string, number> = {};
    for await (const txn of readLog(createReadStream(path))) types[txn.type] = (types[txn.type] ?? 0) + 1;
    expect(types).toEqual({ create: 79, closeSession: 1 });
  });

  test("yields the txns before damage, and tells of the damage in the summary", async () => {
    const log = makeLog({ zxid: 1n }, { zxid: 2n }, { zxid: 3n });
    const told: LogSummary[] = [];
    const zxids: bigint[] = [];
    const body = chunksOf(flipped(log, log.byteLength - 10, 1), 50);
    for await (const { zxid } of readLog(body, { onSummary: (summary) => told.push(summary) })) zxids.push(zxid);
    expect(zxids).toEqual([1n, 2n]);
    expect(told).toMatchObject([{ records: 2, end: "torn", problems: [{ code: "LOG_BAD_CHECKSUM" }] }]);
  });

  test.each([
    ["nothing", Buffer.alloc(0), "LOG_EMPTY"],
    ["something else", Buffer.alloc(100, 1), "LOG_BAD_MAGIC"],
    ["a header's half", LOG_HEADER.subarray(0, 8), "LOG_TRUNCATED_HEADER"],
  ])("of %s yields nothing and a problem", async (_, bytes, code) => {
    expect(await read(bytes)).toMatchObject({ txns: [], summary: { records: 0, problems: [{ code }] } });
  });

  test("keeps to the limit that is given", async () => {
    const summaries: LogSummary[] = [];
    const options = { maxRecordBytes: 40, onSummary: (summary: LogSummary) => summaries.push(summary) };
    expect(await Array.fromAsync(readLog(chunksOf(makeLog({ zxid: 1n }), 99), options))).toEqual([]);
    expect(summaries).toMatchObject([{ problems: [{ code: "LOG_BAD_LENGTH" }] }]);
  });

  test("reads no further ahead than it must, and lets go of the body when it is left", async () => {
    const log = makeLog(...Array.from({ length: 100 }, (_, i) => ({ zxid: BigInt(i + 1) })));
    let pulled = 0;
    let isClosed = false;
    async function* body(): AsyncGenerator<Uint8Array> {
      try {
        for (let at = 0; at < log.byteLength; at += 200) {
          pulled += 1;
          yield log.subarray(at, at + 200);
        }
      } finally {
        isClosed = true;
      }
    }
    for await (const { zxid } of readLog(body())) if (zxid === 3n) break;
    expect(pulled).toBe(2);
    expect(isClosed).toBe(true);
  });

  test("passes on what the body throws", async () => {
    const failure = new Error("disk gone");
    // biome-ignore lint/correctness/useYield: it fails before it has anything
    async function* body(): AsyncGenerator<Uint8Array> {
      throw failure;
    }
    expect(await refusalOf(readLog(body()))).toBe(failure);
  });
});
