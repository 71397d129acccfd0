import { describe, expect, test } from "vitest";
import { flipped } from "../testing/chunks.ts";
import { acl, field, int, list, long } from "../testing/jute.ts";
import { frame, LOG_HEADER, type MadeTxn, makeLog, makeRecord } from "../testing/made-log.ts";
import { realFiles } from "../testing/real-files.ts";
import { createLogChecker, type LogCheckOptions, type LogRecord } from "./log-checker.ts";
import type { LogSummary } from "./log-summary.ts";

const files = realFiles();

function check(bytes: Uint8Array, options: LogCheckOptions & { chunk?: number } = {}): LogSummary {
  const checker = createLogChecker(options);
  const size = options.chunk ?? 1024 * 1024;
  const buffer = Buffer.alloc(Math.min(size, bytes.byteLength));
  for (let at = 0; at < bytes.byteLength; at += size) {
    const chunk = bytes.subarray(at, at + size);
    buffer.set(chunk);
    checker.push(buffer.subarray(0, chunk.byteLength));
  }
  return checker.end();
}

const epoch = (n: bigint, counter: bigint): bigint => (n << 32n) | counter;
const codes = (summary: LogSummary): string[] => summary.problems.map(({ severity, code }) => `${severity} ${code}`);

/** Six txns of a real server, without the padding. */
const real = (): Buffer => files.read("zookeeper-3.8.0-rich", "version-2", "log.3e5").subarray(0, 526);

/** Where the records of a log end, by walking the lengths. */
function ends(log: Buffer): number[] {
  const found = [16];
  for (let at = 16; at < log.byteLength; found.push(at)) at += 13 + log.readInt32BE(at + 8);
  return found;
}

describe("a good log", () => {
  test("is summed up", () => {
    const log = makeLog({ zxid: 5n, timeMs: 77n }, { zxid: 6n }, { zxid: 7n, timeMs: 0x1_0000_0001n });
    expect(check(log)).toEqual({
      firstZxid: 5n,
      lastZxid: 7n,
      runs: [{ first: 5n, last: 7n, offset: 16 }],
      firstTimeMs: 77,
      lastTimeMs: 0x1_0000_0001,
      records: 3,
      repeats: [],
      bytes: log.byteLength,
      fileBytes: log.byteLength,
      end: "eof",
      afterEnd: "nothing",
      problems: [],
      largestEntryBytes: 51,
      brokenEntryBytes: null,
      firstTypeOf35: null,
      features: { txnDigests: 0, since35Types: 0, closeSessionBodies: 0, multis: 0, errors: 0 },
    });
  });

  test("may hold no record", () => {
    const empty = { records: 0, firstZxid: null, lastZxid: null, runs: [], firstTimeMs: null, lastTimeMs: null };
    expect(check(LOG_HEADER)).toMatchObject({ ...empty, bytes: 16, end: "eof", problems: [] });
    const padded = Buffer.concat([LOG_HEADER, Buffer.alloc(70_000)]);
    expect(check(padded)).toMatchObject({ ...empty, bytes: 16, end: "padding", afterEnd: "zeros", problems: [] });
  });

  test("may end in any number of zeros", () => {
    const log = makeLog({ zxid: 1n }, { zxid: 2n });
    for (const zeros of [1, 7, 8, 11, 12, 13, 100, 65_536, 300_000]) {
      const padded = Buffer.concat([log, Buffer.alloc(zeros)]);
      for (const chunk of zeros > 1000 ? [4096, 65_536, 1_000_000] : [1, 3, 1000]) {
        const found = { records: 2, bytes: log.byteLength, fileBytes: padded.byteLength, end: "padding", problems: [] };
        expect(check(padded, { chunk })).toMatchObject(found);
      }
    }
  });

  test("gives the same summary and the same records however its bytes are cut", () => {
    const logs = [
      real(),
      Buffer.concat([real(), Buffer.alloc(3000)]),
      files.read("zookeeper-3.8.0-rich", "version-2", "log.277"),
    ];
    for (const log of logs) {
      const walk = (chunk: number): unknown => {
        const records: unknown[] = [];
        const onRecord = (record: LogRecord): void =>
          void records.push({ ...record, entry: Buffer.from(record.entry) });
        return { summary: check(log, { chunk, onRecord }), records };
      };
      const expected = walk(log.byteLength);
      for (const chunk of log.byteLength > 100_000 ? [61, 4096, 100_000] : [1, 2, 3, 7, 61, 4096]) {
        expect(walk(chunk)).toEqual(expected);
      }
    }
  });

  test("shows its records", () => {
    const log = makeLog(
      { zxid: 0x2_0000_0001n, timeMs: 1_700_000_000_123n },
      { zxid: 0x2_0000_0002n, type: -1, body: int(-101) },
    );
    const records: LogRecord[] = [];
    check(log, { onRecord: (record) => records.push({ ...record, entry: Uint8Array.from(record.entry) }) });
    expect(records).toMatchObject([
      {
        offset: 16,
        zxid: 0x2_0000_0001n,
        timeMs: 1_700_000_000_123,
        sessionId: 0x100_0000_0000_0001n,
        cxid: 1,
        type: 5,
      },
      { zxid: 0x2_0000_0002n, type: -1 },
    ]);
    const [first, second] = records;
    expect(second?.offset).toBe(16 + (first?.length ?? 0));
    expect((second?.offset ?? 0) + (second?.length ?? 0)).toBe(log.byteLength);
    expect(first?.entry.byteLength).toBe((first?.length ?? 0) - 13);
  });

  test("counts what tells the release", () => {
    const create = Buffer.concat([
      field("/a"),
      field(null),
      list(acl(31, "world", "anyone")),
      Buffer.from([1]),
      int(3),
    ]);
    const multi = list(Buffer.concat([int(2), field(field("/a"))]), Buffer.concat([int(-1), field(int(-101))]));
    const txns: Omit<MadeTxn, "zxid">[] = [
      { type: -10, body: int(30_000), digest: 1n },
      { type: 1, body: create, digest: 1n },
      { type: 1, body: create.subarray(0, -4) }, // as 3.3 wrote it
      { type: 15, body: create, digest: 1n },
      { type: 21, body: Buffer.concat([field("/t"), field(""), list(), int(1), long(1000n)]), digest: 1n },
      { type: 19, body: Buffer.concat([field("/c"), field(""), list(), int(1)]) },
      { type: 20, body: field("/c"), digest: 1n },
      { type: 2, body: field("/a") },
      { type: 7, body: Buffer.concat([field("/a"), list(acl(1, "ip", "::1")), int(1)]), digest: 1n },
      { type: 16, body: Buffer.concat([field("/zookeeper/config"), field("x"), int(-1)]) },
      { type: 14, body: multi, digest: 1n },
      { type: -1, body: int(-101) },
      { type: -11, body: Buffer.alloc(0) }, // 3.4, 3.5
      { type: -11, body: Buffer.alloc(0), digest: 1n }, // closeSessionTxn.enabled=false
      { type: -11, body: list() },
      { type: -11, body: list(field("/e1"), field("/e2")), digest: 1n },
    ];
    const summary = check(makeLog(...txns.map((txn, i) => ({ ...txn, zxid: BigInt(i + 1) }))));
    expect(summary).toMatchObject({ records: txns.length, end: "eof", problems: [] });
    expect(summary.features).toEqual({ txnDigests: 9, since35Types: 5, closeSessionBodies: 2, multis: 1, errors: 1 });
  });

  test("has one run for each unbroken row of zxids", () => {
    const zxids = [
      1n,
      2n,
      3n,
      0x1_0000_0001n,
      0x1_0000_0002n,
      0x1_0000_0005n,
      0x1_0000_0005n,
      0x1_0000_0004n,
      0xffff_ffff_0000_0001n,
    ];
    const log = makeLog(...zxids.map((zxid, index) => ({ zxid, timeMs: BigInt(index) })));
    const at = ends(log);
    expect(check(log).runs).toEqual([
      { first: 1n, last: 3n, offset: at[0] },
      { first: 0x1_0000_0001n, last: 0x1_0000_0002n, offset: at[3] },
      { first: 0x1_0000_0005n, last: 0x1_0000_0005n, offset: at[5] },
      { first: 0x1_0000_0005n, last: 0x1_0000_0005n, offset: at[6] },
      { first: 0x1_0000_0004n, last: 0x1_0000_0004n, offset: at[7] },
      { first: -0xffff_ffffn, last: -0xffff_ffffn, offset: at[8] },
    ]);
    expect(check(makeLog({ zxid: 2n }, { zxid: 0x1_0000_0003n })).runs).toHaveLength(2);
    expect(check(makeLog({ zxid: 0xffff_ffffn }, { zxid: 0x1_0000_0000n })).runs).toHaveLength(2);
  });

  test("what a listener throws comes out", () => {
    const onRecord = (): void => {
      throw new Error("enough");
    };
    expect(() => check(makeLog({ zxid: 1n }), { onRecord })).toThrow("enough");
  });
});

describe("a file that is hardly one", () => {
  test("empty", () => {
    expect(check(Buffer.alloc(0))).toMatchObject({ bytes: 0, fileBytes: 0, records: 0, end: "torn" });
    expect(codes(check(Buffer.alloc(0)))).toEqual(["fatal LOG_EMPTY"]);
  });

  test("one to fifteen bytes", () => {
    for (let size = 1; size < 16; size++) {
      const summary = check(LOG_HEADER.subarray(0, size));
      expect(summary).toMatchObject({ bytes: 0, fileBytes: size, records: 0, end: "torn" });
      expect(codes(summary)).toEqual(["fatal LOG_TRUNCATED_HEADER"]);
    }
  });

  test("no log", () => {
    for (const bytes of [
      Buffer.alloc(16),
      Buffer.alloc(5000),
      Buffer.from("ZKSN".padEnd(400)),
      flipped(real(), 3, 1),
    ]) {
      const summary = check(bytes);
      expect(summary).toMatchObject({ bytes: 0, fileBytes: bytes.byteLength, records: 0, end: "damaged" });
      expect(codes(summary)).toEqual(["fatal LOG_BAD_MAGIC"]);
    }
  });
});

describe("a cut log", () => {
  test("is cut back to its last whole record, wherever it was cut", () => {
    const log = real();
    const boundaries = ends(log);
    expect(boundaries).toHaveLength(7);
    for (let size = 16; size < log.byteLength; size++) {
      const whole = boundaries.filter((end) => end <= size);
      const bytes = whole.at(-1) ?? 0;
      const cut = log.subarray(0, size);
      const expected = { records: whole.length - 1, bytes, fileBytes: size };
      // The first bytes of a record are zeros, as its checksum takes only half of its field.
      const end = size === bytes ? "eof" : size <= bytes + 4 ? "padding" : "torn";
      for (const chunk of [1, 50, 1000]) {
        const summary = check(cut, { chunk });
        expect(summary).toMatchObject({ ...expected, end });
        expect(codes(summary)).toEqual(end === "torn" ? ["info LOG_TORN_TAIL"] : []);
      }
      // What a crash leaves: the rest of the record is the padding.
      const padded = check(Buffer.concat([cut, Buffer.alloc(5000)]));
      expect(padded).toMatchObject({ records: expected.records, bytes, afterEnd: "zeros" });
      expect(padded.end).toBe(size <= bytes + 4 ? "padding" : "torn");
      expect(codes(padded)).toEqual(padded.end === "torn" ? ["info LOG_TORN_TAIL"] : []);
    }
  });

  test("inside a long record", () => {
    const long = { zxid: 2n, body: Buffer.concat([field("/a"), field(Buffer.alloc(300_000, 7)), int(1)]) };
    const log = makeLog({ zxid: 1n }, long);
    const start = ends(log)[1] ?? 0;
    for (const size of [start + 100, start + 200_000, log.byteLength - 1]) {
      for (const zeros of [0, 1_000_000]) {
        const summary = check(Buffer.concat([log.subarray(0, size), Buffer.alloc(zeros)]), { chunk: 10_000 });
        expect(summary).toMatchObject({ records: 1, bytes: start, end: "torn" });
        expect(codes(summary)).toEqual(["info LOG_TORN_TAIL"]);
      }
    }
  });
});

describe("a damaged record", () => {
  const verdicts = (log: Buffer, record: number): void => {
    const boundaries = ends(log);
    const start = boundaries[record] ?? 0;
    const end = boundaries[record + 1] ?? 0;
    const isLast = end === log.byteLength;
    for (const padding of [0, 5000]) {
      for (let at = start; at < end; at++) {
        for (const mask of [0x01, 0x80, 0xff]) {
          const summary = check(Buffer.concat([flipped(log, at, mask), Buffer.alloc(padding)]));
          const place = `byte ${at - start} of record ${record} ^ ${mask}, padding ${padding}`;
          expect([place, summary.records, summary.bytes]).toEqual([place, record, start]);
          const inLength = at >= start + 8 && at < start + 12;
          if (at === end - 1) {
            // No interrupted write leaves anything but a zero there.
            const code = "data-loss LOG_BAD_RECORD_END";
            expect([place, summary.end, ...codes(summary)]).toEqual([place, "damaged", code]);
          } else if (!inLength) {
            expect([place, summary.end, ...codes(summary)]).toEqual([
              place,
              isLast ? "torn" : "damaged",
              "fatal LOG_BAD_CHECKSUM",
            ]);
          } else {
            // A wrong length leads anywhere, but never to a log that looks good, and not past records in silence.
            expect([place, summary.problems.length]).toEqual([place, 1]);
            if (!isLast) expect([place, summary.end]).toEqual([place, "damaged"]);
          }
        }
      }
    }
  };

  test("the first, with others behind it", () => verdicts(real(), 0));
  test("one in the middle", () => verdicts(real(), 3));
  test("the last", () => verdicts(real(), 5));

  test("says what follows it", () => {
    const log = real();
    const [, second = 0, third = 0] = ends(log);
    const [problem] = check(flipped(log, third - 1, 1)).problems;
    expect(problem?.message).toContain(`one whole record follows, at byte ${third};`);
    expect(problem?.offset).toBe(second);
  });
});

describe("lengths that cannot be", () => {
  const log = makeLog({ zxid: 1n }, { zxid: 2n });
  const start = ends(log)[1] ?? 0;

  test.each([-1, -2, -0x8000_0000, 0x7fff_ffff, 64 * 1024 * 1024 + 1])("%d", (length) => {
    const copy = Buffer.from(log);
    copy.writeInt32BE(length, start + 8);
    const before = process.memoryUsage().arrayBuffers;
    const summary = check(copy, { chunk: 10 });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
    expect(summary).toMatchObject({ records: 1, bytes: start, end: "damaged" });
    expect(codes(summary)).toEqual(["fatal LOG_BAD_LENGTH"]);
  });

  test("a length within the limit takes no memory before the bytes are there", () => {
    const copy = Buffer.from(log);
    copy.writeInt32BE(60 * 1024 * 1024, start + 8);
    const before = process.memoryUsage().arrayBuffers;
    expect(check(copy)).toMatchObject({ records: 1, end: "torn" });
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
  });

  test("a length that swallows the records behind it does not hide them", () => {
    const longer = makeLog({ zxid: 1n }, { zxid: 2n }, { zxid: 3n });
    longer.writeInt32BE(1000, start + 8);
    for (const padding of [0, 10_000]) {
      const summary = check(Buffer.concat([longer, Buffer.alloc(padding)]));
      expect(summary).toMatchObject({ records: 1, bytes: start, end: "damaged" });
      expect(codes(summary)).toEqual(["data-loss LOG_BAD_RECORD_END"]);
    }
  });

  test("the limit can be set", () => {
    const record = makeRecord({ zxid: 1n });
    expect(check(makeLog({ zxid: 1n }), { maxRecordBytes: record.byteLength - 13 })).toMatchObject({ records: 1 });
    expect(codes(check(makeLog({ zxid: 1n }), { maxRecordBytes: record.byteLength - 14 }))).toEqual([
      "fatal LOG_BAD_LENGTH",
    ]);
  });
});

describe("what lies behind the end", () => {
  const log = makeLog({ zxid: 1n }, { zxid: 2n });
  const record = makeRecord({ zxid: 3n });

  test("records behind zeros", () => {
    // A record may begin in the last bytes of a chunk of zeros, as the first half of its checksum's field is zero.
    const toChunk = 131_072 - log.byteLength;
    for (const zeros of [12, 13, 500, toChunk - 50, toChunk - 30, toChunk - 4, toChunk - 1, toChunk, 70_000, 200_001]) {
      for (const chunk of [4096, 65_536, 1_000_000]) {
        const summary = check(Buffer.concat([log, Buffer.alloc(zeros), record, Buffer.alloc(99)]), { chunk });
        expect(summary).toMatchObject({ records: 2, bytes: log.byteLength, end: "damaged", afterEnd: "bytes" });
        expect(codes(summary)).toEqual(["data-loss LOG_RECORDS_AFTER_END"]);
        expect(summary.problems[0]?.message).toContain(`byte ${log.byteLength + zeros}.`);
      }
    }
  });

  test("a hole in the middle of a record, and more records", () => {
    const bytes = makeLog(...Array.from({ length: 400 }, (_, i) => ({ zxid: BigInt(i + 1) })));
    bytes.fill(0, 4096, 8192);
    const summary = check(bytes);
    expect(summary.end).toBe("damaged");
    expect(codes(summary)).toEqual([expect.stringMatching(/LOG_(RECORDS_AFTER_END|BAD_RECORD_END)/)]);
    expect(summary.bytes).toBeLessThanOrEqual(4096);
    expect(summary.records).toBeGreaterThan(40);
  });

  test("garbage behind zeros", () => {
    for (const zeros of [12, 100_000]) {
      const summary = check(Buffer.concat([log, Buffer.alloc(zeros), Buffer.from("x"), Buffer.alloc(50)]), {
        chunk: 1000,
      });
      expect(summary).toMatchObject({ records: 2, bytes: log.byteLength, end: "damaged", afterEnd: "bytes" });
      expect(codes(summary)).toEqual(["data-loss LOG_BYTES_AFTER_PADDING"]);
    }
  });

  test("a made-up tail of promising beginnings does not keep it busy", () => {
    // Each of these looks like the start of a record of 17 KiB with its end mark in place.
    const tail = Buffer.alloc(24 * 1024 * 1024);
    for (let at = 0; at + 12 <= tail.byteLength; at += 12) {
      tail[at + 6] = 0x42;
      tail.writeInt32BE(0x4242, at + 8);
    }
    const started = performance.now();
    const summary = check(Buffer.concat([log, Buffer.alloc(12), tail]));
    expect(summary).toMatchObject({ records: 2, end: "damaged" });
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("txns that servers do not read", () => {
  const after = { zxid: 3n };

  test("an unknown type", () => {
    for (const txns of [[after], []]) {
      const summary = check(makeLog({ zxid: 1n }, { zxid: 2n, type: 99 }, ...txns));
      expect(summary).toMatchObject({ records: 1, lastZxid: 1n, end: "damaged" });
      expect(codes(summary)).toEqual(["fatal LOG_UNKNOWN_TYPE"]);
    }
  });

  test("a check outside a multi", () => {
    const summary = check(
      makeLog({ zxid: 1n }, { zxid: 2n, type: 13, body: Buffer.concat([field("/a"), int(1)]) }, after),
    );
    expect(summary).toMatchObject({ records: 1, lastZxid: 1n, end: "damaged" });
    expect(codes(summary)).toEqual(["fatal LOG_POISON_RECORD"]);
    const last = check(makeLog({ zxid: 2n, type: 13, body: Buffer.concat([field("/a"), int(1)]) }));
    expect(last.problems[0]?.message).toContain("nothing follows it");
  });

  test("txns that servers cannot apply", () => {
    const open = list(acl(31, "world", "anyone"));
    const tail = Buffer.from([0, 0, 0, 0, 1]);
    const part = (type: number, body: Uint8Array | null): Buffer => Buffer.concat([int(type), field(body)]);
    const bodies: [number, Buffer][] = [
      [1, Buffer.concat([field(null), field("x"), open, tail])],
      [1, Buffer.concat([field("/a"), field("x"), list(Buffer.concat([int(31), field(null), field("x")])), tail])],
      [7, Buffer.concat([field("/a"), list(Buffer.concat([int(31), field("world"), field(null)])), int(1)])],
      [5, Buffer.concat([field("/a"), int(-2), int(1)])],
      [2, field(null)],
      [2, field("a")],
      [20, field("")],
      [-11, list(field("/a"), field("b"))],
      [19, Buffer.concat([field("a"), field("x"), open, int(1)])],
      [-11, list(field(null))],
      [14, int(-1)],
      [14, list(part(2, null))],
      [14, list(part(2, field(null)))],
      // Servers apply the parts before one of these, and none from it on.
      [14, list(part(7, Buffer.concat([field("/a"), open, int(1)])))],
      [14, list(part(16, Buffer.concat([field("/a"), field("x"), int(1)])))],
      [14, list(part(14, list()))],
      [14, list(part(99, Buffer.alloc(40)))],
      [14, list(part(5, field("/a")))],
      [14, list(part(1, Buffer.concat([field("/a"), field("x"), open, Buffer.from([0])])))],
    ];
    for (const [type, body] of bodies) {
      const summary = check(makeLog({ zxid: 1n }, { zxid: 2n, type, body }, { zxid: 3n }));
      expect([type, summary.records, ...codes(summary)]).toEqual([type, 1, "fatal LOG_BAD_TXN"]);
    }
  });

  test("entries that are too short for their type", () => {
    const create = Buffer.concat([field("/a"), field("data"), list(acl(31, "world", "anyone")), Buffer.from([0])]);
    const bodies: [number, Buffer][] = [
      [1, create],
      [19, Buffer.concat([create.subarray(0, -1), int(1)])],
      [21, Buffer.concat([create.subarray(0, -1), int(1), long(1n)])],
      [2, field("/a")],
      [20, field("/a")],
      [5, Buffer.concat([field("/a"), field("x"), int(1)])],
      [16, Buffer.concat([field("/a"), field("x"), int(1)])],
      [7, Buffer.concat([field("/a"), list(acl(31, "world", "anyone")), int(1)])],
      [14, list(Buffer.concat([int(2), field(field("/a"))]))],
      [-10, int(1)],
      [-1, int(1)],
      [-11, list(field("/a"))],
    ];
    for (const [type, body] of bodies) {
      expect(check(makeLog({ zxid: 1n, type, body }))).toMatchObject({ records: 1, problems: [] });
      for (let size = 0; size < body.byteLength; size++) {
        if (type === -11 && size === 0) continue;
        const summary = check(makeLog({ zxid: 1n, type, body: body.subarray(0, size) }, { zxid: 2n }));
        expect([type, size, summary.records, ...codes(summary)]).toEqual([type, size, 0, "data-loss LOG_SHORT_RECORD"]);
      }
    }
    // 3.3 did not write the parent's version of a create, but had no create2.
    expect(codes(check(makeLog({ zxid: 1n, type: 15, body: create })))).toEqual(["data-loss LOG_SHORT_RECORD"]);
    const short = Buffer.concat([LOG_HEADER, frame(Buffer.alloc(31, 1))]);
    expect(codes(check(short))).toEqual(["data-loss LOG_SHORT_RECORD"]);
  });

  test("a log of nothing but breaks does not fill the memory", () => {
    const records = Array.from({ length: 12_000 }, (_, index) => makeRecord({ zxid: 1n, timeMs: BigInt(index) }));
    const summary = check(Buffer.concat([LOG_HEADER, ...records]));
    expect(summary.runs).toHaveLength(10_000);
    expect(codes(summary)).toEqual(["data-loss LOG_OUT_OF_ORDER"]);
  });

  test("nor does one of nothing but repetitions", () => {
    const record = makeRecord({ zxid: 1n });
    const summary = check(Buffer.concat([LOG_HEADER, ...Array.from({ length: 12_000 }, () => record)]));
    expect(summary.repeats).toHaveLength(1_000);
    expect(codes(summary)).toEqual(["data-loss LOG_OUT_OF_ORDER", "info LOG_REPEATED"]);
  });
});

describe("txns that are there twice, record for record,", () => {
  const txns = (first: number, last: number): { zxid: bigint }[] =>
    Array.from({ length: last - first + 1 }, (_, index) => ({ zxid: epoch(4n, BigInt(first + index)) }));
  const later = (first: number, last: number): { zxid: bigint }[] =>
    txns(first, last).map(({ zxid }) => ({ zxid: zxid + epoch(1n, 0n) }));
  const read = (log: Uint8Array, chunk = 1000): { summary: LogSummary; zxids: bigint[] } => {
    const zxids: bigint[] = [];
    return { summary: check(log, { chunk, onRecord: ({ zxid }) => void zxids.push(zxid) }), zxids };
  };

  test("are told of and left out, as if they were there once", () => {
    const once = makeLog(...txns(1, 30));
    const twice = makeLog(...txns(1, 10), ...txns(1, 30));
    const at = ends(twice);
    for (const chunk of [1, 61, twice.byteLength]) {
      const { summary, zxids } = read(twice, chunk);
      expect(zxids).toEqual(read(once).zxids);
      expect(summary).toMatchObject({
        runs: check(once).runs,
        records: 30,
        bytes: twice.byteLength,
        repeats: [{ offset: at[10], length: (at[20] ?? 0) - (at[10] ?? 0) }],
      });
      expect(codes(summary)).toEqual(["info LOG_REPEATED"]);
    }
  });

  test.each([
    ["more than once", [...txns(1, 10), ...txns(1, 10), ...txns(1, 20), ...txns(1, 30)], 3],
    ["in the middle of a log", [...txns(1, 20), ...txns(11, 30)], 1],
    ["and nothing comes behind", [...txns(1, 10), ...txns(1, 10)], 1],
    ["after a row that was given up", [...txns(1, 10), ...txns(1, 5), ...txns(1, 20)], 2],
    ["over the end of an epoch", [...txns(8, 9), ...later(1, 5), ...txns(9, 9), ...later(1, 9)], 1],
    ["and a new epoch comes behind", [...txns(1, 10), ...txns(1, 10), { zxid: epoch(5n, 1n) }], 1],
  ])("are fine %s", (_, all, rows) => {
    const { summary } = read(makeLog(...all));
    expect(codes(summary)).toEqual(["info LOG_REPEATED"]);
    expect(summary.repeats).toHaveLength(rows);
  });

  test.each<[string, { zxid: bigint; timeMs?: bigint }[], string[]]>([
    ["the row ends before the last one", [...txns(1, 10), ...txns(1, 5)], ["data-loss LOG_REPEATED"]],
    [
      "it goes on without the last ones",
      [...txns(1, 10), ...txns(1, 5), ...txns(11, 12)],
      ["data-loss LOG_REPEATED", "data-loss LOG_OUT_OF_ORDER"],
    ],
    [
      "a new epoch comes before the last one",
      [...txns(1, 10), ...txns(1, 5), { zxid: epoch(5n, 1n) }],
      ["data-loss LOG_REPEATED", "data-loss LOG_OUT_OF_ORDER"],
    ],
  ])("are a loss if %s: servers end with an older state", (_, all, found) => {
    expect(codes(read(makeLog(...all)).summary).sort()).toEqual(found.sort());
  });

  test("are others if anything in them is another", () => {
    const { summary } = read(makeLog(...txns(1, 10), { zxid: epoch(4n, 5n), timeMs: 3n }));
    expect(summary.repeats).toEqual([]);
    expect(summary.runs).toHaveLength(2);
  });

  test("are a loss if they leave out what came between", () => {
    for (const between of [{ zxid: epoch(4n, 20n) }, { zxid: epoch(5n, 1n) }]) {
      const found = codes(check(makeLog(...txns(1, 10), between, ...txns(1, 30))));
      expect(found.sort()).toEqual(["data-loss LOG_OUT_OF_ORDER", "data-loss LOG_REPEATED"]);
    }
  });
});
