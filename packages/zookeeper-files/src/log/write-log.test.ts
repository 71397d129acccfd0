import { describe, expect, test } from "vitest";
import { bytesOf, chunksOf, refusalOf } from "../testing/chunks.ts";
import { BODIES, HEADER } from "../testing/entries.ts";
import { LOG_HEADER, makeLog } from "../testing/made-log.ts";
import { realFiles } from "../testing/real-files.ts";
import { createLogChecker } from "./log-checker.ts";
import { readLog } from "./read-log.ts";
import type { Txn } from "./txn.ts";
import { writeLog } from "./write-log.ts";

const files = realFiles();

const txn = (zxid: bigint): Txn => ({ ...HEADER, zxid, type: "delete", path: "/a" });

describe("a written log", () => {
  test("holds every kind of txn, and is good", async () => {
    const txns = BODIES.filter(({ type }) => type !== 13).map(
      ({ body }, i): Txn => ({ ...HEADER, digest: { version: 2, value: BigInt(i) }, zxid: BigInt(i + 1), ...body }),
    );
    const log = await bytesOf(writeLog(txns));
    const read = await Array.fromAsync(readLog(chunksOf(log, 77)));
    expect(read.map(({ offset: _, length: __, ...rest }) => rest)).toEqual(txns);
    const checker = createLogChecker();
    checker.push(log);
    expect(checker.end()).toMatchObject({ records: txns.length, bytes: log.byteLength, end: "eof", problems: [] });
  });

  test("of no txns is a header", async () => {
    expect(await bytesOf(writeLog([]))).toEqual(LOG_HEADER);
  });

  test.each([
    ["zookeeper-3.4.14", ["log", "version-2", "log.1"], 29],
    ["zookeeper-3.5.10", ["log", "version-2", "log.1"], 34],
    ["zookeeper-3.6.4", ["log", "version-2", "log.1"], 34],
    ["zookeeper-3.7.2", ["log", "version-2", "log.1"], 34],
    ["zookeeper-3.8.0", ["log", "version-2", "log.1"], 34],
    ["zookeeper-3.8.0-rich", ["version-2", "log.1"], 182],
    ["zookeeper-3.8.0-rich", ["version-2", "log.14b"], 220],
  ])("of %s has the bytes that the server wrote, from txns and from entries", async (archive, path, records) => {
    const bytes = files.read(archive, ...path);
    const entries: Buffer[] = [];
    const checker = createLogChecker({ onRecord: ({ entry }) => entries.push(Buffer.from(entry)) });
    checker.push(bytes);
    const used = bytes.subarray(0, checker.end().bytes);
    expect(entries.length).toBe(records);
    expect((await bytesOf(writeLog(entries))).equals(used)).toBe(true);
    expect((await bytesOf(writeLog(readLog(chunksOf(bytes, 65536))))).equals(used)).toBe(true);
  });

  test("comes in pieces as txns come", async () => {
    const data = Buffer.alloc(40_000);
    let given = 0;
    function* txns(): Generator<Txn> {
      for (let zxid = 1n; zxid <= 10n; zxid++) {
        given += 1;
        yield { ...HEADER, zxid, type: "setData", path: "/a", data, version: 1 };
      }
    }
    const pieces = writeLog(txns());
    expect((await pieces.next()).value?.byteLength).toBeLessThan(100_000);
    expect(given).toBe(2);
    await pieces.return();
  });

  test("may begin anywhere and go on in a later epoch", async () => {
    const log = await bytesOf(writeLog([txn(0x7_0000_0005n), txn(0x7_0000_0006n), txn(0x9_0000_0001n)]));
    expect((await Array.fromAsync(readLog(chunksOf(log, 999)))).map(({ zxid }) => zxid)).toEqual([
      0x7_0000_0005n,
      0x7_0000_0006n,
      0x9_0000_0001n,
    ]);
  });
});

describe("a log is not written", () => {
  const check: Txn = { ...HEADER, type: "check", path: "/a", version: 1 };
  const ofType99 = makeLog({ zxid: 1n, type: 99 }).subarray(28, -1);
  test.each<[string, (Txn | Uint8Array)[], string]>([
    ["with a gap", [txn(1n), txn(3n)], "the txn 0x3 does not follow 0x1"],
    ["with a txn twice", [txn(1n), txn(1n)], "the txn 0x1 does not follow 0x1"],
    ["that goes back", [txn(2n), txn(1n)], "the txn 0x1 does not follow 0x2"],
    ["that begins an epoch in its middle", [txn(2n), txn(0x1_0000_0002n)], "does not follow"],
    ["with a check outside of a multi", [check], 'a "check" outside of a multi'],
    ["with a bad txn", [{ ...txn(1n), type: "delete", path: "" }], "names no node"],
    ["with an entry of an unknown type", [ofType99], "the type 99 is unknown"],
    ["with an entry of no bytes", [new Uint8Array(0)], "8 bytes are needed and 0 are left"],
  ])("%s", async (_, txns, message) => {
    const error = await refusalOf(writeLog(txns));
    expect(error).toMatchObject({ name: "ZooKeeperFileError", code: "NOT_WRITABLE" });
    expect((error as Error).message).toContain(message);
  });

  test("with a record of more than readers take", async () => {
    const ops = Array.from({ length: 3 }, () => {
      return { type: "setData", path: "/a", data: Buffer.alloc(30 * 1024 * 1024), version: 1 } as const;
    });
    expect(await refusalOf(writeLog([{ ...HEADER, type: "multi", ops }]))).toMatchObject({
      code: "NOT_WRITABLE",
      message: expect.stringContaining("the txn 0x700000022 has 94371"),
    });
  });
});
