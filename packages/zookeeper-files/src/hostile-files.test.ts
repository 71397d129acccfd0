import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Compression } from "./file-names.ts";
import { decodeTxn } from "./log/decode-txn.ts";
import { readLog } from "./log/read-log.ts";
import { readSnapshot } from "./snapshot/read-snapshot.ts";
import { chunksOf, refusalOf } from "./testing/chunks.ts";
import { entryOf } from "./testing/entries.ts";
import { acl, field, int, list, long } from "./testing/jute.ts";
import { frame, LOG_HEADER, makeLog } from "./testing/made-log.ts";

const snappyjs = createRequire(import.meta.url)("snappyjs") as { compress(plain: Uint8Array): Uint8Array };

const KIB = 1024;
const MIB: number = 1024 * KIB;
const HUGE: number = 2 ** 31 - 1;
const HEADER = Buffer.concat([Buffer.from("ZKSN"), int(2), long(-1n)]);
const ROOT = Buffer.concat([HEADER, int(0), int(0), field(""), field(null), long(-1n), Buffer.alloc(60)]);

afterEach(() => {
  vi.restoreAllMocks();
});

/** Runs `work` and returns the bytes that buffers took meanwhile, in total. */
async function allocated(work: () => Promise<unknown>): Promise<number> {
  let bytes = 0;
  for (const method of ["alloc", "allocUnsafe", "allocUnsafeSlow"] as const) {
    const original = Buffer[method] as (size: number, ...rest: unknown[]) => Buffer<ArrayBuffer>;
    vi.spyOn(Buffer, method).mockImplementation((size: number, ...rest: unknown[]) => {
      bytes += size;
      return original.call(Buffer, size, ...rest);
    });
  }
  await work();
  vi.restoreAllMocks();
  return bytes;
}

describe("a small file that claims to be huge takes little memory", () => {
  const acls = (count: number): Buffer => Buffer.concat([HEADER, int(0), int(1), long(1n), int(count)]);
  test.each<[string, Buffer, RegExp]>([
    ["2 billion sessions", Buffer.concat([HEADER, int(HUGE)]), /TRUNCATED/],
    ["2 billion ACLs", Buffer.concat([HEADER, int(0), int(HUGE)]), /TRUNCATED/],
    ["an ACL of 2 billion entries", acls(HUGE), /BAD_LENGTH/],
    ["an ACL of 65,537 entries", acls(65_537), /BAD_LENGTH/],
    ["an ACL of 65,536 entries", acls(65_536), /TRUNCATED/],
    ["an ACL with a null scheme", Buffer.concat([acls(1), int(31), int(-1), field("x")]), /BAD_LENGTH/],
    ["an ACL with a null id", Buffer.concat([acls(1), int(31), field("world"), int(-1)]), /BAD_LENGTH/],
    ["an ACL with a scheme of 2 GB", Buffer.concat([acls(1), int(31), int(HUGE), Buffer.alloc(9)]), /BAD_LENGTH/],
    ["an ACL with an id of 64 MiB", Buffer.concat([acls(1), int(31), field("a"), int(64 * MIB)]), /TRUNCATED/],
    ["a path of 2 GB", Buffer.concat([ROOT, int(HUGE), Buffer.alloc(50, "/")]), /BAD_LENGTH/],
    ["a path of 64 MiB", Buffer.concat([ROOT, int(64 * MIB), Buffer.alloc(50, "/")]), /TRUNCATED/],
    ["data of 2 GB", Buffer.concat([ROOT, field("/a"), int(HUGE), Buffer.alloc(50)]), /BAD_LENGTH/],
    ["data of 64 MiB", Buffer.concat([ROOT, field("/a"), int(64 * MIB), Buffer.alloc(50)]), /TRUNCATED/],
  ])("a snapshot with %s", async (_, bytes, code) => {
    const snappy = Buffer.from(snappyjs.compress(bytes));
    const stream = [Buffer.from("82534e41505059000000000100000001", "hex"), int(snappy.byteLength), snappy];
    const forms: [Compression, Buffer, number][] = [
      ["none", bytes, 16 * KIB],
      // One block of the decoder's output.
      ["gz", gzipSync(bytes), MIB],
      ["snappy", Buffer.concat(stream), 2 * MIB],
    ];
    for (const [compression, stored, limit] of forms) {
      const taken = await allocated(async () => {
        const error = await refusalOf(readSnapshot(chunksOf(stored, 10), { compression }));
        expect(error).toMatchObject({ name: "ZooKeeperFileError", code: expect.stringMatching(code) });
      });
      expect(taken).toBeLessThan(limit);
    }
  });

  test("a snappy stream with a block of 2 GB", async () => {
    const header = Buffer.from("82534e41505059000000000100000001", "hex");
    const blocks = [
      Buffer.concat([int(HUGE), Buffer.alloc(50)]),
      Buffer.concat([int(MIB), Buffer.alloc(50)]),
      Buffer.concat([int(6), Buffer.from("ffffffff0700", "hex")]),
      // Copies of one byte, 64 at a time, to 2^32 - 1 bytes.
      Buffer.concat([int(11), Buffer.from("ffffffff0f0061fe0100fe", "hex")]),
    ];
    for (const block of blocks) {
      const body = chunksOf(Buffer.concat([header, block]), 1000);
      const taken = await allocated(async () => {
        const error = await refusalOf(readSnapshot(body, { compression: "snappy" }));
        expect(error).toMatchObject({ code: expect.stringMatching(/BAD_COMPRESSION|TRUNCATED/) });
      });
      expect(taken).toBeLessThan(2 * MIB);
    }
  });

  test.each<[string, number, Buffer]>([
    ["a path of 2 GB", 2, Buffer.concat([int(HUGE), Buffer.from("/a")])],
    ["data of 64 MiB", 5, Buffer.concat([field("/a"), int(64 * MIB)])],
    ["an ACL of 2 billion entries", 7, Buffer.concat([field("/a"), int(HUGE), acl(1, "", "")])],
    ["2 billion paths", -11, Buffer.concat([int(HUGE), field("/a"), field("/b")])],
    ["2 billion parts", 14, Buffer.concat([int(HUGE), int(2), field(field("/a"))])],
    ["a part of 2 GB", 14, list(Buffer.concat([int(2), int(HUGE)]))],
  ])("a txn with %s", async (_, type, body) => {
    const entry = entryOf(type, body);
    const log = Buffer.concat([LOG_HEADER, frame(entry), makeLog({ zxid: 1n }).subarray(16)]);
    const taken = await allocated(async () => {
      expect(() => decodeTxn(entry)).toThrow("the txn cannot be decoded");
      expect(await Array.fromAsync(readLog(chunksOf(log, 10)))).toEqual([]);
    });
    expect(taken).toBeLessThan(16 * KIB);
  });

  test("a log with a record of 2 GB, or of 64 MiB", async () => {
    for (const length of [HUGE, 64 * MIB, -1, -HUGE]) {
      const log = Buffer.concat([LOG_HEADER, long(1n), int(length), Buffer.alloc(100)]);
      const taken = await allocated(async () => {
        expect(await Array.fromAsync(readLog(chunksOf(log, 10)))).toEqual([]);
      });
      expect(taken).toBeLessThan(16 * KIB);
    }
  });
});
