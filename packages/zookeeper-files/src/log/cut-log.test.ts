import { createReadStream } from "node:fs";
import { describe, expect, test } from "vitest";
import { bytesOf, chunksOf, flipped, refusalOf } from "../testing/chunks.ts";
import { LOG_HEADER, makeLog, makeRecord } from "../testing/made-log.ts";
import { realFiles } from "../testing/real-files.ts";
import { cutLog } from "./cut-log.ts";
import { createLogChecker } from "./log-checker.ts";

const files = realFiles();

const LOG = makeLog({ zxid: 5n }, { zxid: 6n }, { zxid: 0x1_0000_0001n });
const cut = (log: Uint8Array, upTo: bigint, chunk = 1000): Promise<Buffer> =>
  bytesOf(cutLog(chunksOf(log, chunk), { upTo }));

describe("a log cut at a txn", () => {
  test.each<[string, bigint, Buffer]>([
    ["ends with it", 6n, makeLog({ zxid: 5n }, { zxid: 6n })],
    ["may be whole", 0x1_0000_0001n, LOG],
    ["ends with the one before it, if the epoch changes there", 0x77n, makeLog({ zxid: 5n }, { zxid: 6n })],
    ["is but a header, if it begins after it", 4n, LOG_HEADER],
  ])("%s", async (_, upTo, expected) => {
    for (const chunk of [1, 20, 1000]) expect(await cut(LOG, upTo, chunk)).toEqual(expected);
  });

  test("of a server is the same up to there, and good", async () => {
    const path = files.path("zookeeper-3.8.0-rich", "version-2", "log.3a8");
    const whole = files.read("zookeeper-3.8.0-rich", "version-2", "log.3a8");
    for (const upTo of [0x3a8n, 0x3c0n, 0x3e4n]) {
      const bytes = await bytesOf(cutLog(createReadStream(path), { upTo }));
      expect(bytes.equals(whole.subarray(0, bytes.byteLength))).toBe(true);
      const checker = createLogChecker();
      checker.push(bytes);
      expect(checker.end()).toMatchObject({ firstZxid: 0x3a8n, lastZxid: upTo, end: "eof", problems: [] });
    }
  });

  test("is not hindered by damage behind it", async () => {
    const log = makeLog({ zxid: 5n }, { zxid: 6n }, { zxid: 7n });
    expect(await cut(flipped(log, log.byteLength - 10, 1), 6n)).toEqual(makeLog({ zxid: 5n }, { zxid: 6n }));
    expect(await cut(Buffer.concat([log, log]), 7n)).toEqual(log);
  });

  test("leaves the rest of the body unread", async () => {
    let pulled = 0;
    async function* body(): AsyncGenerator<Uint8Array> {
      for (const zxid of [1n, 2n, 3n, 4n]) {
        pulled += 1;
        yield zxid === 1n ? makeLog({ zxid }) : makeRecord({ zxid });
      }
    }
    expect(await bytesOf(cutLog(body(), { upTo: 2n }))).toEqual(makeLog({ zxid: 1n }, { zxid: 2n }));
    expect(pulled).toBe(2);
  });
});

describe("a log is not cut", () => {
  const torn = LOG.subarray(0, -3);
  const back = makeLog({ zxid: 5n }, { zxid: 4n }, { zxid: 9n });
  const twice = makeLog({ zxid: 5n }, { zxid: 5n, timeMs: 3n }, { zxid: 9n });
  test.each<[string, Uint8Array, bigint, string, string]>([
    ["that ends before the txn", LOG, 0x2_0000_0001n, "LOG_NOT_REACHED", "it ends with 0x100000001"],
    ["that is torn before it", torn, 0x1_0000_0001n, "LOG_NOT_REACHED", "it ends with 0x6, and the last record"],
    [
      "whose padding comes before it",
      Buffer.concat([LOG, Buffer.alloc(99)]),
      2n ** 40n,
      "LOG_NOT_REACHED",
      "ends with",
    ],
    ["without txns", LOG_HEADER, 1n, "LOG_NOT_REACHED", "it holds no txn"],
    ["of no bytes", Buffer.alloc(0), 1n, "LOG_NOT_REACHED", "the file is empty"],
    [
      "that is damaged before it",
      flipped(LOG, 40, 1),
      6n,
      "LOG_DAMAGED",
      "it holds no txn, and a record whose checksum",
    ],
    ["that is no log", Buffer.alloc(50, 7), 6n, "LOG_DAMAGED", '"ZKLG"'],
    ["that goes back before it", back, 9n, "LOG_DAMAGED", "the txn 0x4 at byte 80 follows 0x5"],
    ["that repeats before it", twice, 9n, "LOG_DAMAGED", "the txn 0x5 at byte 80 follows 0x5"],
  ])("%s", async (_, log, upTo, code, message) => {
    const error = await refusalOf(cutLog(chunksOf(log, 30), { upTo }));
    expect(error).toMatchObject({ name: "ZooKeeperFileError", code });
    expect((error as Error).message).toContain(message);
  });
});
