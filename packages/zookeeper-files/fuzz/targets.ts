import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { gunzipSync, gzipSync } from "node:zlib";
import type { Acl } from "../src/acl.ts";
import { adler32 } from "../src/adler32.ts";
import { ZooKeeperFileError } from "../src/file-error.ts";
import { cutLog } from "../src/log/cut-log.ts";
import { decodeTxn } from "../src/log/decode-txn.ts";
import { encodeTxn } from "../src/log/encode-txn.ts";
import { createLogChecker } from "../src/log/log-checker.ts";
import { frameOf, LOG_HEADER } from "../src/log/log-frame.ts";
import { readLog } from "../src/log/read-log.ts";
import type { Txn } from "../src/log/txn.ts";
import { writeLog } from "../src/log/write-log.ts";
import { RecordCutter, STOP } from "../src/record-cutter.ts";
import { type ReadSnapshotOptions, readSnapshot } from "../src/snapshot/read-snapshot.ts";
import { decodeSnappyBlock, snappyPlainLength } from "../src/snapshot/snappy-block.ts";
import { checkSnapshot } from "../src/snapshot/snapshot-checker.ts";
import type { SnapshotSummary } from "../src/snapshot/snapshot-summary.ts";
import { type NodeContent, type SnapshotContent, writeSnapshot } from "../src/snapshot/write-snapshot.ts";
import { BODIES } from "../src/testing/entries.ts";
import { field, int, long } from "../src/testing/jute.ts";
import { makeSnapshot } from "../src/testing/made-snapshot.ts";
import { createReplay } from "../src/tree/replay.ts";
import { kindOf, type ZnodeKind, type ZnodeStat } from "../src/znode-stat.ts";
import { ModelTree } from "./model-tree.ts";
import { realFiles } from "./seeds.ts";

/** Something that takes bytes which nobody vouches for. */
export interface Target {
  /** Files in `src/` whose code is to be reached. */
  readonly files: readonly string[];
  seeds(): Buffer[];
  /** Throws when the code under test does something that it never should. */
  run(input: Buffer): void | Promise<void>;
}

/** Encoder of another author. */
const snappyjs = createRequire(import.meta.url)("snappyjs") as { compress(plain: Uint8Array): Uint8Array };

async function* chunked(bytes: Buffer, size: number): AsyncGenerator<Buffer, void, void> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

const bytesOf = async (chunks: AsyncIterable<Uint8Array>): Promise<Buffer> =>
  Buffer.concat(await Array.fromAsync(chunks));

function isRefusal(error: unknown, code: RegExp): boolean {
  return error instanceof ZooKeeperFileError && code.test(error.code);
}

// The first byte of an input says what is done to the rest before it is read: how it is cut into chunks, and whether
// its checksums are made right, without which few changed files would get far.
const IS_MENDED = 1;
const HAS_DIGEST = 2;
const HAS_LAST_ZXID = 4;
const CHUNK_BYTES: readonly number[] = [1_000_000, 1, 7, 100];
const chunkBytes = (flags: number): number => CHUNK_BYTES[flags >>> 6] as number;

/** A snapshot's bytes up to the end of its nodes, with all that comes behind them. */
function seal(body: Buffer, flags: number): Buffer {
  let bytes = body;
  const addSeal = (): void => {
    bytes = Buffer.concat([bytes, long(BigInt(adler32(bytes))), field("/")]);
  };
  addSeal();
  if (flags & HAS_DIGEST) {
    bytes = Buffer.concat([bytes, long(5n), int(2), long(-7n)]);
    addSeal();
  }
  if (flags & HAS_LAST_ZXID) {
    bytes = Buffer.concat([bytes, long(6n)]);
    addSeal();
  }
  return bytes;
}

async function contentOf(bytes: Buffer, size: number, options: ReadSnapshotOptions): Promise<SnapshotContent> {
  const sessions = new Map<bigint, number>();
  const acls = new Map<bigint, Acl>();
  const nodes: NodeContent[] = [];
  const summaries: SnapshotSummary[] = [];
  const onSummary = (summary: SnapshotSummary): unknown => summaries.push(summary);
  for await (const item of readSnapshot(chunked(bytes, size), { ...options, onSummary })) {
    if (item.type === "session") sessions.set(item.id, item.timeoutMs);
    else if (item.type === "acl") acls.set(item.id, item.acl);
    else nodes.push({ path: item.path, data: item.data, aclId: item.aclId, stat: item.stat });
  }
  const [summary] = summaries as [SnapshotSummary];
  assert.equal(summary.nodes, nodes.length);
  const known = new Set<string>();
  for (const { path } of nodes) {
    assert.ok(known.size === 0 ? path === "" : known.has(path.slice(0, path.lastIndexOf("/"))));
    known.add(path);
  }
  return { sessions, acls, nodes, digest: summary.digest, lastZxid: summary.lastZxid };
}

async function readAnySnapshot(bytes: Buffer, size: number, options: ReadSnapshotOptions): Promise<void> {
  let content: SnapshotContent;
  try {
    content = await contentOf(bytes, size, options);
  } catch (error) {
    if (!isRefusal(error, /^SNAPSHOT_/)) throw error;
    return;
  }
  // What was read can be written, unless it is odd beyond what servers write; and is the same when it is read again.
  let written: Buffer;
  try {
    written = await bytesOf(writeSnapshot(content));
  } catch (error) {
    if (!isRefusal(error, /^NOT_WRITABLE$/)) throw error;
    return;
  }
  assert.deepEqual(await contentOf(written, 1_000_000, {}), content);
}

function snapshotSeeds(): Buffer[] {
  const tree = [
    { path: "", data: Buffer.alloc(0) },
    { path: "/a", data: Buffer.from("x"), aclId: 7n, owner: 0x100n, czxid: 1n, mzxid: 2n, pzxid: 3n },
    { path: "/a/ü" },
    { path: "/b", owner: -0x8000_0000_0000_0000n },
    { path: "/c", owner: 0xff00_0000_0000_0001n, aclId: 9n },
  ];
  const made = makeSnapshot({ nodes: tree, sessions: [1n, 2n], aclIds: [7n] });
  const real = realFiles(/^snapshot\.(0|b5)$/).filter(({ byteLength }) => byteLength < 500);
  const digest = { zxid: 1n, value: 2n };
  return [
    ...real.map((bytes) => bytes.subarray(0, -13 - 33)).map((body) => Buffer.concat([Buffer.from([3]), body])),
    ...[1, 3, 5, 7, 65, 131, 199].map((flags) => Buffer.concat([Buffer.from([flags]), made.subarray(0, -13)])),
    Buffer.concat([Buffer.from([0]), makeSnapshot({ nodes: tree, digest, lastZxid: 3n })]),
    Buffer.concat([Buffer.from([0]), makeSnapshot({ nodes: tree, digest: { ...digest, version: 1 } })]),
    Buffer.concat([Buffer.from([64]), made, Buffer.alloc(100)]),
  ];
}

const SNAPSHOT_FILES = ["snapshot-checker", "snapshot-parser", "record-cutter", "adler32", "jute-text"];

const snapshot: Target = {
  files: [...SNAPSHOT_FILES, "read-snapshot", "write-snapshot", "jute-writer", "encode-acl"],
  seeds: snapshotSeeds,
  run: (input) => {
    const flags = input[0] ?? 0;
    const bytes = input.subarray(1);
    return readAnySnapshot(flags & IS_MENDED ? seal(bytes, flags) : bytes, chunkBytes(flags), {});
  },
};

const gzSnapshot: Target = {
  files: SNAPSHOT_FILES,
  seeds: () => [
    ...snapshotSeeds(),
    ...snapshotSeeds().map((seed) => Buffer.concat([Buffer.from([0]), gzipSync(seed.subarray(1))])),
    ...realFiles(/\.gz$/)
      .filter(({ byteLength }) => byteLength < 8192)
      .map((bytes) => Buffer.concat([Buffer.from([0]), bytes])),
  ],
  run: (input) => {
    const flags = input[0] ?? 0;
    const bytes = input.subarray(1);
    const stored = flags & IS_MENDED ? gzipSync(seal(bytes, flags), { level: 1 }) : bytes;
    return readAnySnapshot(stored, chunkBytes(flags), { compression: "gz", maxFieldBytes: 1024 * 1024 });
  },
};

const XERIAL_HEADER = Buffer.from("82534e41505059000000000100000001", "hex");
const inSnappyStream = (plain: Buffer): Buffer => {
  const block = Buffer.from(snappyjs.compress(plain));
  return Buffer.concat([XERIAL_HEADER, int(block.byteLength), block]);
};

const snappySnapshot: Target = {
  files: [...SNAPSHOT_FILES, "snappy-stream", "snappy-block"],
  seeds: () => [
    ...snapshotSeeds(),
    ...snapshotSeeds().map((seed) => Buffer.concat([Buffer.from([0]), inSnappyStream(seed.subarray(1))])),
  ],
  run: (input) => {
    const flags = input[0] ?? 0;
    const bytes = input.subarray(1);
    const stored = flags & IS_MENDED ? inSnappyStream(seal(bytes, flags)) : bytes;
    return readAnySnapshot(stored, chunkBytes(flags), { compression: "snappy", maxFieldBytes: 1024 * 1024 });
  },
};

/** Gives every record that can be found by its length a good checksum and an end. */
function mendLog(log: Buffer): Buffer {
  const bytes = Buffer.from(log);
  for (let at = 16; at + 12 <= bytes.byteLength; ) {
    const length = bytes.readInt32BE(at + 8);
    if (length <= 0 || at + 13 + length > bytes.byteLength) break;
    bytes.writeBigInt64BE(BigInt(adler32(bytes, undefined, at + 12, at + 12 + length)), at);
    bytes[at + 12 + length] = 0x42;
    at += 13 + length;
  }
  return bytes;
}

/** Real logs, cut to a few records of each kind. */
function logSeeds(): Buffer[] {
  const seeds: Buffer[] = [];
  for (const log of realFiles(/^log\./)) {
    const records: Buffer[] = [];
    const counts = new Map<number, number>();
    const checker = createLogChecker({
      onRecord: ({ offset, length, type }) => {
        const count = counts.get(type) ?? 0;
        counts.set(type, count + 1);
        if (count < 2 && length < 1000) records.push(log.subarray(offset, offset + length));
      },
    });
    checker.push(log);
    checker.end();
    for (const flags of [0, IS_MENDED, 64 + IS_MENDED]) {
      seeds.push(Buffer.concat([Buffer.from([flags]), log.subarray(0, 16), ...records]));
    }
  }
  return seeds;
}

const log: Target = {
  files: [
    ...["log-checker", "log-remains", "txn-layout", "decode-txn", "encode-txn", "jute-reader", "jute-text"],
    ...["read-log", "write-log", "cut-log", "record-cutter", "log-frame"],
  ],
  seeds: logSeeds,
  run: async (input) => {
    const flags = input[0] ?? 0;
    const bytes = flags & IS_MENDED ? mendLog(input.subarray(1)) : input.subarray(1);
    const txns: Txn[] = [];
    const reader = readLog(chunked(bytes, chunkBytes(flags)));
    let result = await reader.next();
    for (; !result.done; result = await reader.next()) txns.push(result.value);
    const summary = result.value;
    assert.equal(summary.records, txns.length);
    assert.equal(summary.fileBytes, bytes.byteLength);
    assert.ok(summary.bytes <= bytes.byteLength);
    const again = createLogChecker();
    again.push(bytes);
    assert.deepEqual(again.end(), summary);
    // The rest takes longer than reading.
    if (input.byteLength % 8 !== 0) return;
    for (const txn of txns) {
      try {
        const { offset: _, length: __, ...same } = txn as Txn & { offset: number; length: number };
        assert.deepEqual(decodeTxn(encodeTxn(same)), same);
      } catch (error) {
        if (!isRefusal(error, /^NOT_WRITABLE$/)) throw error;
      }
    }
    try {
      const whole = await bytesOf(cutLog(chunked(bytes, 100), { upTo: summary.lastZxid ?? 1n }));
      assert.ok(whole.subarray(16).equals(bytes.subarray(16, whole.byteLength)));
      await bytesOf(writeLog(readLog(chunked(whole, 100))));
    } catch (error) {
      if (!isRefusal(error, /^(LOG_|NOT_WRITABLE$)/)) throw error;
    }
  },
};

const entry: Target = {
  files: ["decode-txn", "encode-txn", "txn-layout", "jute-reader", "jute-text", "jute-writer"],
  seeds: () => {
    const entries: Buffer[] = [];
    for (const seed of logSeeds()) {
      const checker = createLogChecker({ onRecord: (record) => entries.push(Buffer.from(record.entry)) });
      checker.push(seed.subarray(1));
    }
    return entries;
  },
  run: (input) => {
    let txn: Txn | null = null;
    try {
      txn = decodeTxn(input);
    } catch (error) {
      if (!isRefusal(error, /^TXN_MALFORMED$/)) throw error;
    }
    // The log checker comes to the same verdict.
    const checker = createLogChecker();
    const checksum = long(BigInt(adler32(input)));
    checker.push(
      Buffer.concat([Buffer.from("5a4b4c47000000020000000000000000", "hex"), checksum, int(input.byteLength)]),
    );
    checker.push(Buffer.concat([input, Buffer.from("B")]));
    const isGood = checker.end().records === 1;
    if (txn?.type !== "check") assert.equal(isGood, txn !== null);
    if (txn === null) return;
    try {
      assert.deepEqual(decodeTxn(encodeTxn(txn)), txn);
    } catch (error) {
      if (!isRefusal(error, /^NOT_WRITABLE$/)) throw error;
    }
  },
};

const snappyBlock: Target = {
  files: ["snappy-block"],
  seeds: () => {
    const plains = [Buffer.from("a"), Buffer.alloc(3000, "abcd"), Buffer.from("hello hello hello"), Buffer.alloc(0)];
    return [...plains.map((plain) => Buffer.from(snappyjs.compress(plain))), Buffer.from("05fcffffffff", "hex")];
  },
  run: (input) => {
    const length = snappyPlainLength(input);
    if (length !== null && length <= 65536) {
      const plain = Buffer.alloc(length + 16, 0xee);
      decodeSnappyBlock(input, plain.subarray(8, 8 + length));
      // Nothing is written beside it.
      assert.ok(plain.subarray(0, 8).every((byte) => byte === 0xee));
      assert.ok(plain.subarray(8 + length).every((byte) => byte === 0xee));
    }
    const block = snappyjs.compress(input);
    const same = Buffer.alloc(input.byteLength);
    assert.ok(decodeSnappyBlock(block, same) && same.equals(input));
  },
};

const recordCutter: Target = {
  files: ["record-cutter"],
  seeds: () => [Buffer.from("01020304050607080900010203ff", "hex"), Buffer.alloc(300, 3), Buffer.alloc(40)],
  run: (input) => {
    // A record is a length and that many bytes; a length of 255 is the end.
    const cut = (sizes: (at: number) => number): { records: string[]; rest: string; offset: number } => {
      const records: string[] = [];
      const cutter = new RecordCutter((bytes, start, end) => {
        assert.ok(start < end && end <= bytes.byteLength);
        const length = 1 + (bytes[start] as number);
        if (length === 256) return STOP;
        if (end - start < length) return -length;
        records.push(bytes.toString("hex", start, start + length));
        return length;
      });
      for (let at = 0; at < input.byteLength; ) {
        const chunk = Buffer.from(input.subarray(at, at + sizes(at)));
        const taken = cutter.push(chunk);
        chunk.fill(0xaa);
        at += chunk.byteLength;
        if (taken < chunk.byteLength) break;
      }
      return { records, rest: cutter.pending().toString("hex"), offset: cutter.offset };
    };
    const whole = cut(() => input.byteLength);
    assert.deepEqual(
      cut(() => 1),
      whole,
    );
    assert.deepEqual(
      cut((at) => 1 + (input[at] as number)),
      whole,
    );
  },
};

const gzipStream: Target = {
  files: ["snapshot-checker"],
  seeds: () => snapshotSeeds().map((seed) => gzipSync(seed.subarray(1))),
  run: async (input) => {
    // What zlib itself makes of it: the checker may refuse more, but takes nothing that zlib refuses.
    let isGzip = true;
    try {
      gunzipSync(input, { maxOutputLength: 1024 * 1024 });
    } catch {
      isGzip = false;
    }
    try {
      await contentOf(input, 13, { compression: "gz", maxFieldBytes: 1024 * 1024 });
      assert.ok(isGzip);
    } catch (error) {
      if (!isRefusal(error, /^SNAPSHOT_/)) throw error;
    }
  },
};

/** A real log from its first txn on, up to 5 KB. */
function firstTxns(bytes: Buffer): Buffer {
  const records: Buffer[] = [bytes.subarray(0, 16)];
  let left = 5000;
  const checker = createLogChecker({
    onRecord: ({ offset, length }) => {
      if (length > Math.min(left, 400)) return;
      left -= length;
      records.push(bytes.subarray(offset, offset + length));
    },
  });
  checker.push(bytes);
  return Buffer.concat(records);
}

/** A log of txns of all kinds, on the nodes of {@link snapshotSeeds}, each a second time when it is done already. */
function anyTxns(): Buffer {
  const bodies = BODIES.filter(({ type }) => type !== 13);
  const entries = bodies
    .flatMap(({ body }) => [body, body])
    .map((body, i) => encodeTxn({ zxid: BigInt(i + 4), timeMs: i, sessionId: 1n, cxid: i, digest: null, ...body }));
  return Buffer.concat([LOG_HEADER, ...entries.map(frameOf)]);
}

/** A snapshot's body behind its length, and a log: what a server would load. */
const replay: Target = {
  files: [
    "replay",
    "apply-txn",
    "znode-table",
    "znode-tree",
    "name-arena",
    "acl-table",
    "digest-sum",
    "digest-proof",
    "crc32",
  ],
  seeds: () => {
    const bodies = snapshotSeeds()
      .filter((seed) => ((seed[0] ?? 0) & IS_MENDED) === 1)
      .map((seed) => seed.subarray(1));
    return [...realFiles(/^log\.1$/).map(firstTxns), anyTxns()].flatMap((txns) =>
      bodies.map((body) => {
        const length = Buffer.from([body.byteLength >>> 8, body.byteLength & 0xff]);
        return Buffer.concat([Buffer.from([IS_MENDED]), length, body, txns]);
      }),
    );
  },
  run: async (input) => {
    const length = input.byteLength < 3 ? 0 : input.readUInt16BE(1);
    const stored = seal(input.subarray(3, 3 + length), input[0] ?? 0);
    const bytes = mendLog(input.subarray(3 + length));
    const replayed = createReplay({ keepData: () => true });
    const model = new ModelTree();
    try {
      const summary = await checkSnapshot(chunked(stored, 1000), replayed.snapshotHooks);
      replayed.snapshotEnd(0n, summary);
      const { sessions, nodes } = await contentOf(stored, 1000, {});
      for (const [id, timeoutMs] of sessions) model.sessions.set(id, timeoutMs);
      for (const node of nodes as NodeContent[]) model.add(node);
    } catch (error) {
      if (!isRefusal(error, /^SNAPSHOT_/)) throw error;
      return;
    }
    const checker = createLogChecker({
      onRecord: (record) => {
        replayed.onRecord(record);
        if (record.zxid > 0n) model.apply(decodeTxn(record.entry));
      },
    });
    checker.push(bytes);
    checker.end();
    const { tree } = replayed;
    const result = replayed.finish();
    const found = [...tree.walk("/")];
    if (model.isOdd) return;
    assert.equal(found.length, tree.nodes);
    // Such times, which no server has, are rounded.
    const isExact = ({ stat }: { stat: ZnodeStat }): boolean =>
      Number.isSafeInteger(stat.ctimeMs) && Number.isSafeInteger(stat.mtimeMs);
    if (![...model.nodes.values()].every(isExact)) return;
    const nodes = found.map(({ path, data, stat }) => [path === "/" ? "" : path, { data, stat }] as const);
    assert.deepEqual(new Map(nodes), model.nodes);
    assert.deepEqual(new Map(tree.sessions), model.sessions);
    assert.equal(result.digest, model.digest);
    const kinds = [...model.nodes.values()].map(({ stat }) => kindOf(stat.ephemeralOwner));
    const count = (kind: ZnodeKind): number => kinds.filter((other) => other === kind).length;
    assert.deepEqual(
      [tree.ephemerals, tree.containers, tree.ttlNodes],
      [count("ephemeral"), count("container"), count("ttl")],
    );
  },
};

export const TARGETS: Readonly<Record<string, Target>> = {
  snapshot,
  "snapshot-gz": gzSnapshot,
  "snapshot-snappy": snappySnapshot,
  "gzip-stream": gzipStream,
  log,
  entry,
  "snappy-block": snappyBlock,
  "record-cutter": recordCutter,
  replay,
};
