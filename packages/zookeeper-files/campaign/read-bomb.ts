// Reads a file that expands or claims far more than it holds, drops what it reads, and prints the outcome and the
// highest memory of this process, in MiB.
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import { createLogChecker } from "../src/log/log-checker.ts";
import { readLog } from "../src/log/read-log.ts";
import { readSnapshot } from "../src/snapshot/read-snapshot.ts";
import { acl, field, int, list, long } from "../src/testing/jute.ts";
import { frame, LOG_HEADER } from "../src/testing/made-log.ts";

const snappyjs = createRequire(import.meta.url)("snappyjs") as { compress(plain: Uint8Array): Uint8Array };

const MIB: number = 1024 * 1024;
const HEADER = Buffer.concat([Buffer.from("ZKSN"), int(2), long(-1n)]);
const node = (path: string): Buffer => Buffer.concat([field(path), field(null), long(-1n), Buffer.alloc(60)]);
const NODES = Buffer.concat([HEADER, int(0), int(0), node("")]);

function repeated(piece: Buffer, bytes: number): Buffer {
  return Buffer.concat(Array.from({ length: Math.ceil(bytes / piece.byteLength) }, () => piece));
}

async function* times(count: number, first: Buffer, ...pieces: Buffer[]): AsyncGenerator<Buffer> {
  yield first;
  for (let i = 0; i < count; i++) yield* pieces;
}

/** gzip streams one behind the other are one stream. */
const gz = (count: number, first: Buffer, piece: Buffer): AsyncGenerator<Buffer> =>
  times(count, gzipSync(first), gzipSync(piece));

function snappy(count: number, first: Buffer, piece: Buffer): AsyncGenerator<Buffer> {
  const block = (plain: Buffer): Buffer => {
    const bytes = Buffer.from(snappyjs.compress(plain));
    return Buffer.concat([int(bytes.byteLength), bytes]);
  };
  const start = Buffer.from("82534e41505059000000000100000001", "hex");
  return times(count, Buffer.concat([start, block(first)]), block(piece));
}

function* aclTable(entries: number): Generator<Buffer> {
  const entry = acl(31, "", "");
  for (let id = 0n; ; ) {
    const batch: Buffer[] = [];
    for (let i = 0; i < 20_000 / entries; i++) {
      batch.push(long(id++), list(...Array.from({ length: entries }, () => entry)));
    }
    yield Buffer.concat(batch);
  }
}

async function* withTable(entries: number): AsyncGenerator<Buffer> {
  yield Buffer.concat([HEADER, int(0), int(2 ** 31 - 1)]);
  let left = 256 * MIB;
  for (const batch of aclTable(entries)) {
    yield batch;
    left -= batch.byteLength;
    if (left < 0) return;
  }
}

const part = Buffer.concat([int(-1), field(int(0))]);
const entry = (type: number, body: Buffer): Buffer =>
  Buffer.concat([long(1n), int(1), long(1n), long(1n), int(type), body]);
const open = acl(1, "", "");

const BOMBS: Readonly<Record<string, () => AsyncIterable<unknown>>> = {
  "gzip: nodes without end": () => readSnapshot(gz(64, NODES, repeated(node("/a"), 4 * MIB)), { compression: "gz" }),
  "gzip: sessions without end": () => {
    const sessions = Buffer.concat([HEADER, int(2 ** 31 - 1)]);
    return readSnapshot(gz(64, sessions, repeated(Buffer.alloc(12), 12 * 350_000)), { compression: "gz" });
  },
  "gzip: a field as large as the limit": () => {
    const claim = Buffer.concat([NODES, field("/a"), int(64 * MIB)]);
    return readSnapshot(gz(256, claim, Buffer.alloc(4 * MIB)), { compression: "gz" });
  },
  "snappy: nodes without end": () =>
    readSnapshot(snappy(256, NODES, repeated(node("/a"), MIB - 80)), { compression: "snappy" }),
  "ACLs of one entry without end": () => readSnapshot(withTable(1)),
  "ACLs of 20,000 entries without end": () => readSnapshot(withTable(20_000)),
  "a log of zeros without end": () => readLog(times(256, LOG_HEADER, Buffer.alloc(4 * MIB))),
  "a log whose record claims 64 MiB": () =>
    readLog(times(15, Buffer.concat([LOG_HEADER, long(1n), int(64 * MIB)]), Buffer.alloc(4 * MIB))),
  "a multi of 5 million parts": () => {
    const body = Buffer.concat([int(5_000_000), repeated(part, 12 * 5_000_000)]);
    return readLog(times(0, Buffer.concat([LOG_HEADER, frame(entry(14, body))])));
  },
  "an ACL of 5 million entries in a log": () => {
    const body = Buffer.concat([field("/a"), int(5_000_000), repeated(open, 12 * 5_000_000), int(1)]);
    return readLog(times(0, Buffer.concat([LOG_HEADER, frame(entry(7, body))])));
  },
  "a log of breaks": async function* () {
    const checker = createLogChecker();
    checker.push(LOG_HEADER);
    for (let i = 0; i < 200_000; i++) {
      checker.push(frame(Buffer.concat([long(1n), int(1), long(BigInt(2 * i)), long(1n), int(-1), int(0)])));
    }
    yield checker.end();
  },
};

const name = process.argv[2] ?? "";
const bomb = BOMBS[name];
if (bomb === undefined) throw new Error(`no bomb "${name}": there are ${Object.keys(BOMBS).join("; ")}`);
let items = 0;
let outcome = "read to its end";
try {
  for await (const _ of bomb()) items += 1;
} catch (error) {
  outcome = (error as { code?: string }).code ?? String(error);
}
console.log(JSON.stringify({ outcome, items, peakMib: Math.round(process.resourceUsage().maxRSS / 1024) }));
