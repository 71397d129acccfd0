import { gzipSync } from "node:zlib";
import { field, int, long } from "../../zookeeper-files/src/testing/jute.ts";
import {
  checksum,
  create,
  type Field,
  fieldsOfLog,
  fieldsOfSnapshot,
  LOG_HEADER,
  OPEN,
  record,
  seal,
  setData,
  txn,
} from "./bytes.ts";
import { type BaseSet, closeSession, deletion, LOGS, type ServerFiles, SNAPSHOTS } from "./server-files.ts";

/** One data directory that something happened to. */
export interface DamagedSet {
  readonly name: string;
  readonly files: ServerFiles;
  readonly role: "standalone" | "ensemble";
  /** Its checksums are good, so what it holds is taken for what once was, although no server was ever in that state. */
  readonly isMadeUp: boolean;
}

/**
 * Every kind of damage that can be told apart, in every place of the files of one server. Of cuts, changed bytes and
 * changed lengths, which are thousands, only one in `every`.
 */
export function* damagedSets(base: BaseSet, every: number): Generator<DamagedSet> {
  const names = [...base.files.keys()];
  const newest = names.findLast((name) => name.startsWith(SNAPSHOTS)) ?? "";
  const [endOfEpoch = "", nextEpoch = ""] = names.slice(-2);
  for (const set of allSets(base, every)) {
    const isEndGone = !set.files.has(endOfEpoch) && !set.files.has(newest) && set.files.has(nextEpoch);
    // Nothing shows that, but the digests of what comes after.
    if (base.hasDigests || !isEndGone) yield set;
  }
}

function* allSets({ files, hasDigests }: BaseSet, every: number): Generator<DamagedSet> {
  const snapshots = [...files.keys()].filter((name) => name.startsWith(SNAPSHOTS));
  const logs = [...files.keys()].filter((name) => name.startsWith(LOGS));
  const newest = snapshots.at(-1) ?? "";
  const alone = new Map([...files].filter(([name]) => name === newest || name.startsWith(LOGS)));
  const set = standalone;

  yield set("nothing", files);
  yield set("nothing, one snapshot", alone);

  for (const [what, bytes] of damagedSnapshots(files.get(newest) ?? Buffer.alloc(0), every)) {
    yield set(`${newest}: ${what}`, new Map([...files, [newest, bytes]]));
    if (!what.startsWith("flip")) yield set(`${newest}, the only one: ${what}`, new Map([...alone, [newest, bytes]]));
  }
  yield* compressedSets(files, newest);
  for (const name of logs) {
    for (const [what, bytes] of damagedLogs(files.get(name) ?? Buffer.alloc(0), every)) {
      yield set(`${name}: ${what}`, new Map([...files, [name, bytes]]));
      // What is behind the snapshot's own log matters only without that snapshot.
      const older = new Map([...files].filter(([other]) => other !== newest && (hasDigests || other !== logs.at(-1))));
      if (!what.startsWith("flip") && name !== logs[0])
        yield set(`${name}, older snapshot: ${what}`, new Map([...older, [name, bytes]]));
    }
  }
  yield* damagedListings(files, snapshots, logs);
  for (const { name, files: changed } of epochSets(files))
    yield { name, files: changed, role: "ensemble", isMadeUp: false };
}

function standalone(name: string, files: ServerFiles): DamagedSet {
  return { name, files, role: "standalone", isMadeUp: MADE_UP.some((part) => name.includes(part)) };
}

const MADE_UP = [
  ": then ",
  "sealed anew",
  " copy of ",
  "exchanged",
  "by a later name",
  "half a snapshot",
  "bad snapshots before",
  "snapshots without an end",
];

function* cuts(bytes: Buffer, fields: readonly Field[]): Generator<[string, Buffer]> {
  const places = new Set(fields.flatMap(({ at, bytes: size }) => [at - 1, at, at + 1, at + size]));
  for (const at of places) {
    if (at >= 0 && at < bytes.byteLength) yield [`cut at ${at}`, bytes.subarray(0, at)];
  }
}

function* flips(bytes: Buffer, fields: readonly Field[]): Generator<[string, Buffer]> {
  for (const { at, bytes: size, what } of fields) {
    for (const place of new Set([at, at + size - 1])) {
      for (const mask of [0x01, 0x80]) {
        const copy = Buffer.from(bytes);
        copy[place] = (copy[place] ?? 0) ^ mask;
        yield [`flip ${mask} at ${place} (${what})`, copy];
      }
    }
  }
}

function* zeroed(bytes: Buffer): Generator<[string, Buffer]> {
  for (let at = 0; at < bytes.byteLength; at += 61) {
    for (const length of [4, 64, bytes.byteLength - at]) {
      const copy = Buffer.from(bytes);
      copy.fill(0, at, Math.min(bytes.byteLength, at + length));
      if (!copy.equals(bytes)) yield [`${length} zeros at ${at}`, copy];
    }
  }
}

const LENGTHS = [-1, -2, -0x8000_0000, 0, 1, 100, 0x10_0000, 0x1f_ffff, 0x20_0000, 0x500_0000, 0x7fff_ffff];

function* lengths(bytes: Buffer, fields: readonly Field[]): Generator<[string, Buffer]> {
  for (const { at, kind, what } of fields) {
    if (kind !== "length" && kind !== "count") continue;
    for (const length of LENGTHS) {
      if (bytes.readInt32BE(at) === length) continue;
      const copy = Buffer.from(bytes);
      copy.writeInt32BE(length, at);
      yield [`${what} at ${at} is ${length}`, copy];
    }
  }
}

function* thinned<T>(all: Iterable<T>, every: number): Generator<T> {
  let index = 0;
  for (const one of all) if (index++ % every === 0) yield one;
}

function* damagedSnapshots(bytes: Buffer, every: number): Generator<[string, Buffer]> {
  const { fields, sealAt } = fieldsOfSnapshot(bytes);
  yield* thinned(cuts(bytes, fields), every);
  // Its end makes servers take it for a snapshot.
  for (const [what, part] of thinned(cuts(bytes, fields), every)) {
    yield [`${what}, with an end`, Buffer.concat([part, field("/")])];
  }
  yield* thinned(flips(bytes, fields), every);
  yield* thinned(zeroed(bytes), every);
  for (const [what, part] of thinned(zeroed(bytes), every)) {
    const end = Buffer.from(part);
    field("/").copy(end, end.byteLength - 5);
    yield [`${what}, with an end`, end];
  }
  yield* thinned(lengths(bytes, fields), every);
  yield ["bytes behind it", Buffer.concat([bytes, Buffer.from("more")])];
  yield ["bytes behind it, with an end", Buffer.concat([bytes, Buffer.from("more"), field("/")])];
  yield ["many bytes behind it, with an end", Buffer.concat([bytes, Buffer.alloc(100, 7), field("/")])];
  yield ["twice", Buffer.concat([bytes, bytes])];

  // The layouts of all releases and settings.
  const body = bytes.subarray(0, sealAt);
  const plain = seal(body);
  const digest = (zxid: bigint, version: number, value: bigint): Buffer =>
    Buffer.concat([plain, long(zxid), int(version), long(value)]);
  yield ["sealed anew, without sections", plain];
  yield ["sealed anew, with an empty digest", seal(digest(0n, 2, 0n))];
  yield ["sealed anew, with a digest of later", seal(digest(0x1_0000_0002n, 2, 5n))];
  yield ["sealed anew, with a digest of what never came", seal(digest(0x1_0000_0009n, 2, 5n))];
  yield ["sealed anew, with a digest of another version", seal(digest(1n, 3, 5n))];
  for (const value of [0n, -1n, 5n << 32n, 0x0000_0002_3132_0000n, 0x7fff_ffff_0000_0000n]) {
    yield [`sealed anew, with an old digest ${value}`, seal(digest(1n, 1, value))];
  }
  yield ["sealed anew, with a last zxid alone", seal(Buffer.concat([plain, long(0x1en)]))];
  yield ["sealed anew, with all sections", seal(Buffer.concat([seal(digest(0n, 2, 0n)), long(0x1en)]))];
  yield [
    "sealed anew, with a last zxid that never came",
    seal(Buffer.concat([seal(digest(0n, 2, 0n)), long(0x1_0000_0009n)])),
  ];
  yield ["a wrong seal behind the digest", Buffer.concat([digest(0n, 2, 0n), long(1n), field("/")])];
  yield ["another text in the first seal", Buffer.concat([body, long(BigInt(checksum(body))), field("?")])];
  yield [
    "another text in the first seal, sealed anew",
    seal(Buffer.concat([body, long(BigInt(checksum(body))), field("?"), long(0n), int(2), long(0n)])),
  ];
  yield ["half a digest", Buffer.concat([plain, long(0n), field("/")])];
  const header = Buffer.from(body);
  header.writeInt32BE(9, 4);
  yield ["another version in its header, sealed anew", seal(header)];
  // Whatever a txn left in a stat that is later than the name says.
  const traced = Buffer.from(body);
  traced.writeBigInt64BE(0x1_0000_0002n, sealAt - 5 - 8);
  yield ["a trace of a later txn, sealed anew", seal(traced)];
  traced.writeBigInt64BE(0x1_0000_0077n, sealAt - 5 - 8);
  yield ["a trace of a txn that never came, sealed anew", seal(traced)];
}

function* damagedLogs(bytes: Buffer, every: number): Generator<[string, Buffer]> {
  const { fields, records } = fieldsOfLog(bytes);
  const recordAt = (index: number): Buffer => bytes.subarray(records[index], records[index + 1]);
  const count = records.length - 1;
  yield* thinned(cuts(bytes, fields), every);
  for (const [what, part] of thinned(cuts(bytes, fields), every)) {
    yield [`${what}, padded`, Buffer.concat([part, Buffer.alloc(500)])];
  }
  yield* thinned(flips(bytes, fields), every);
  yield* thinned(zeroed(bytes), every);
  yield* thinned(lengths(bytes, fields), every);
  yield ["padded", Buffer.concat([bytes, Buffer.alloc(5000)])];
  for (const padding of [1, 4, 8, 11, 12, 13])
    yield [`padded with ${padding}`, Buffer.concat([bytes, Buffer.alloc(padding)])];
  yield ["bytes behind the padding", Buffer.concat([bytes, Buffer.alloc(500), Buffer.from("stray")])];
  yield ["records behind the padding", Buffer.concat([bytes, Buffer.alloc(500), recordAt(count - 1)])];
  yield ["garbage behind", Buffer.concat([bytes, Buffer.alloc(300, 0xa5)])];
  for (const mark of [0, 0x43, 0xff]) {
    for (const index of [0, count - 1]) {
      const copy = Buffer.from(bytes);
      copy[(records[index + 1] ?? 0) - 1] = mark;
      yield [`mark ${mark} of record ${index}`, copy];
      yield [`mark ${mark} of record ${index}, padded`, Buffer.concat([copy, Buffer.alloc(400)])];
    }
  }
  const all = Array.from({ length: count }, (_, index) => recordAt(index));
  const log = (parts: readonly Buffer[]): Buffer => Buffer.concat([LOG_HEADER, ...parts]);
  for (let index = 0; index < count; index++) {
    yield [`without record ${index}`, log(all.toSpliced(index, 1))];
    yield [`record ${index} twice`, log(all.toSpliced(index, 0, recordAt(index)))];
    if (index > 0)
      yield [
        `record ${index} before the one before`,
        log(all.toSpliced(index - 1, 2, recordAt(index), recordAt(index - 1))),
      ];
  }
  yield ["no records", log([])];
  yield ["no records, padded", log([Buffer.alloc(400)])];
  yield ["backwards", log(all.toReversed())];

  // Good checksums over what is no good.
  const last = recordAt(count - 1);
  const zxid = last.readBigInt64BE(12 + 12) + 1n;
  const entry = (type: number, body: Uint8Array): Buffer => txn(zxid, type, body);
  const path = field("/made");
  const made: [string, Buffer][] = [
    ["a check", entry(13, Buffer.concat([path, int(1)]))],
    ["type 15", entry(15, Buffer.concat([path, field("x"), OPEN, Buffer.from([0]), int(1)]))],
    ["type 16", entry(16, Buffer.concat([field("/zookeeper/config"), field("x"), int(-1)]))],
    ["type 19", entry(19, Buffer.concat([path, field("x"), OPEN, int(1)]))],
    ["type 20", entry(20, path)],
    ["type 21", entry(21, Buffer.concat([path, field("x"), OPEN, int(1), long(100_000n)]))],
    ["type 3", entry(3, path)],
    ["type 99", entry(99, path)],
    ["type -2", entry(-2, path)],
    ["an old create", entry(1, Buffer.concat([path, field("x"), OPEN, Buffer.from([0])]))],
    [
      "a create with an extra byte",
      entry(1, Buffer.concat([path, field("x"), OPEN, Buffer.from([0]), int(1), Buffer.from([1])])),
    ],
    ["a short create", entry(1, Buffer.concat([path, field("x"), OPEN]))],
    ["a short deletion", entry(2, Buffer.from([0, 0, 0, 9, 0x2f]))],
    ["a short setData", entry(5, Buffer.concat([path, field("x")]))],
    ["a path of length -2", entry(2, int(-2))],
    ["a setData without data", entry(5, Buffer.concat([path, field(null), int(1)]))],
    ["a deletion of nothing", deletion(zxid, "/not-there")],
    ["a create below nothing", create(zxid, "/not-there/x")],
    ["an error", entry(-1, int(-101))],
    ["an empty multi", entry(14, int(0))],
    ["a multi", entry(14, Buffer.concat([int(1), int(2), field(field("/not-there"))]))],
    ["a closed session", closeSession(zxid, 0x77n)],
    ["a closed session with its nodes", entry(-11, Buffer.concat([int(1), field("/m0/e")]))],
    ["a digest behind it", entry(2, Buffer.concat([field("/not-there"), int(2), long(5n)]))],
    ["half a header", record(Buffer.alloc(20, 1))],
    ["one byte", record(Buffer.from([1]))],
    ["900 KB", setData(zxid, "/a", Buffer.alloc(900_000))],
    ["1100 KB", setData(zxid, "/a", Buffer.alloc(1_100_000))],
    ["2097200 bytes", setData(zxid, "/a", Buffer.alloc(2_097_200))],
    ["a skipped zxid", create(zxid + 1n, "/skipped")],
    ["a skipped epoch", create(0x5_0000_0001n, "/skipped")],
    ["a later epoch from 5 on", create(0x5_0000_0005n, "/skipped")],
    ["an older zxid", create(3n, "/older")],
    ["a negative zxid", create(-5n, "/negative")],
  ];
  for (const [what, extra] of made) {
    yield [`then ${what}`, Buffer.concat([bytes, extra])];
  }
  yield ["then a check and more", Buffer.concat([bytes, made[0]?.[1] ?? last, create(zxid + 1n, "/more")])];
  yield ["then a short create and more", Buffer.concat([bytes, made[11]?.[1] ?? last, create(zxid + 1n, "/more")])];
}

function* compressedSets(files: ServerFiles, newest: string): Generator<DamagedSet> {
  const plain = files.get(newest) ?? Buffer.alloc(0);
  const { sealAt } = fieldsOfSnapshot(plain);
  const without = [...files].filter(([name]) => name !== newest);
  const set = (name: string, extra: [string, Buffer][]): DamagedSet =>
    standalone(name, new Map([...without, ...extra]));
  const gz = gzipSync(plain);
  const snappy = snappyStream(plain);
  for (const [suffix, packed] of [
    ["gz", gz],
    ["snappy", snappy],
  ] as const) {
    const file = `${newest}.${suffix}`;
    yield set(`${suffix}`, [[file, packed]]);
    yield set(`${suffix} beside the plain one`, [
      [newest, plain],
      [file, packed],
    ]);
    for (let at = 0; at < packed.byteLength; at += 1 + Math.floor(packed.byteLength / 40)) {
      yield set(`${suffix}, cut at ${at}`, [[file, packed.subarray(0, at)]]);
      const copy = Buffer.from(packed);
      copy[at] = (copy[at] ?? 0) ^ 0x10;
      yield set(`${suffix}, flipped at ${at}`, [[file, copy]]);
    }
    for (let back = 1; back <= 12; back++) {
      yield set(`${suffix}, ${back} bytes short`, [[file, packed.subarray(0, -back)]]);
      const copy = Buffer.from(packed);
      copy[copy.byteLength - back] = (copy[copy.byteLength - back] ?? 0) ^ 1;
      yield set(`${suffix}, flipped ${back} before its end`, [[file, copy]]);
    }
    yield set(`${suffix}, with zeros behind`, [[file, Buffer.concat([packed, Buffer.alloc(20)])]]);
    yield set(`${suffix}, with bytes behind`, [[file, Buffer.concat([packed, Buffer.from("more")])]]);
    yield set(`plain under the name of ${suffix}`, [[file, plain]]);
    yield set(`${suffix} under a plain name`, [[newest, packed]]);
    for (const end of [sealAt, sealAt + 5, sealAt + 13, sealAt + 14, sealAt + 25, sealAt + 33, sealAt + 40]) {
      if (end >= plain.byteLength) continue;
      const part = plain.subarray(0, end);
      yield set(`${suffix} of what is cut at ${end}`, [[file, suffix === "gz" ? gzipSync(part) : snappyStream(part)]]);
    }
  }
}

/** As snappy-java writes it, with nothing compressed. */
function snappyStream(plain: Buffer): Buffer {
  const parts: Buffer[] = [Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])];
  for (let at = 0; at < plain.byteLength; at += 1000) {
    const part = plain.subarray(at, at + 1000);
    const varint = part.byteLength < 128 ? [part.byteLength] : [(part.byteLength & 0x7f) | 0x80, part.byteLength >> 7];
    const literal =
      part.byteLength <= 60
        ? [(part.byteLength - 1) << 2]
        : [61 << 2, (part.byteLength - 1) & 0xff, (part.byteLength - 1) >> 8];
    const block = Buffer.concat([Buffer.from(varint), Buffer.from(literal), part]);
    parts.push(int(block.byteLength), block);
  }
  return Buffer.concat(parts);
}

/** Files that are gone, that are there twice, under other names, or in other places. */
function* damagedListings(
  files: ServerFiles,
  snapshots: readonly string[],
  logs: readonly string[],
): Generator<DamagedSet> {
  const set = standalone;
  const without = (...names: string[]): [string, Buffer][] => [...files].filter(([name]) => !names.includes(name));
  const bytes = (name: string): Buffer => files.get(name) ?? Buffer.alloc(0);
  for (const name of files.keys()) {
    yield set(`without ${name}`, new Map(without(name)));
    yield set(`${name} is empty`, new Map([...files, [name, Buffer.alloc(0)]]));
    for (const length of [1, 9, 10, 15, 16, 17])
      yield set(`${name} has ${length} bytes`, new Map([...files, [name, bytes(name).subarray(0, length)]]));
    yield set(`${name} is all zeros`, new Map([...files, [name, Buffer.alloc(bytes(name).byteLength)]]));
    for (const other of files.keys()) {
      if (other <= name) continue;
      yield set(`without ${name} and ${other}`, new Map(without(name, other)));
      yield set(`${name} and ${other} exchanged`, new Map([...files, [name, bytes(other)], [other, bytes(name)]]));
      yield set(`${name} is a copy of ${other}`, new Map([...files, [name, bytes(other)]]));
    }
    for (const suffix of [".tmp", ".bak", ".1", ".", "~", ".gz"]) {
      yield set(`${name} is called ${suffix}`, new Map([...without(name), [`${name}${suffix}`, bytes(name)]]));
    }
  }
  const last = snapshots.at(-1) ?? "";
  const odd: [string, string, Buffer][] = [
    ["a snapshot that ends late", `${SNAPSHOTS}snapshot.1000.tmp`, bytes(last)],
    ["half a snapshot", `${SNAPSHOTS}snapshot.1000.tmp`, bytes(last).subarray(0, 500)],
    ["an older snapshot by a later name", `${SNAPSHOTS}snapshot.100000002`, bytes(snapshots[0] ?? "")],
    ["a name that is no number", `${SNAPSHOTS}snapshot.old`, bytes(last)],
    ["a name beyond all zxids", `${SNAPSHOTS}snapshot.ffffffffffffffff`, bytes(last)],
    ["upper case", `${SNAPSHOTS}snapshot.1B`, bytes(last)],
    ["a log that no server reads", `${LOGS}log.old`, bytes(logs[0] ?? "")],
    ["a log beyond all zxids", `${LOGS}log.ffffffffffffffff`, bytes(logs[0] ?? "")],
    ["an empty last log", `${LOGS}log.200000001`, Buffer.alloc(0)],
    ["a last log of 9 bytes", `${LOGS}log.200000001`, LOG_HEADER.subarray(0, 9)],
    ["a last log of a header", `${LOGS}log.200000001`, LOG_HEADER],
    ["an empty log in between", `${LOGS}log.11`, Buffer.alloc(0)],
    ["an empty log before all", `${LOGS}log.0`, Buffer.alloc(0)],
    ["an empty older log", `${LOGS}log.2`, Buffer.alloc(0)],
    ["a log in the wrong place", `${SNAPSHOTS}log.1`, bytes(logs[0] ?? "")],
    ["a snapshot in the wrong place", `${LOGS}snapshot.0`, bytes(snapshots[0] ?? "")],
    ["a misnamed log in the wrong place", `${SNAPSHOTS}log.old`, Buffer.alloc(0)],
    ["an initialize", "log/initialize", Buffer.alloc(0)],
    ["a duplicate log at the end", `${LOGS}log.100000001.bak`, bytes(logs.at(-1) ?? "")],
    ["other files", `${SNAPSHOTS}notes.txt`, Buffer.from("x")],
  ];
  for (const [what, name, content] of odd) {
    yield set(what, new Map([...files, [name, content]]));
    yield set(`${what}, without the newest snapshot`, new Map([...without(last), [name, content]]));
  }
  yield set("no logs", new Map([...files].filter(([name]) => name.startsWith(SNAPSHOTS))));
  yield set("logs only", new Map([...files].filter(([name]) => name.startsWith(LOGS))));
  yield set(
    "logs only, not from the first",
    new Map([...files].filter(([name]) => name.startsWith(LOGS) && name !== logs[0])),
  );
  yield set("only an empty log", new Map([[`${LOGS}log.1`, Buffer.alloc(0)]]));
  yield set("only a header of a log", new Map([[`${LOGS}log.1`, LOG_HEADER]]));
  yield set("only an empty snapshot", new Map([[`${SNAPSHOTS}snapshot.0`, Buffer.alloc(0)]]));
  const bad = Buffer.concat([bytes(last).subarray(0, 300), field("/")]);
  for (const count of [99, 100, 101]) {
    const many = Array.from({ length: count }, (_, i): [string, Buffer] => [
      `${SNAPSHOTS}snapshot.${(0x2000 + i).toString(16)}`,
      bad,
    ]);
    yield set(`${count} bad snapshots before the good ones`, new Map([...files, ...many]));
    const unseen = many.map(([name]): [string, Buffer] => [name, bytes(last).subarray(0, 300)]);
    yield set(`${count} snapshots without an end before the good ones`, new Map([...files, ...unseen]));
  }
}

function* epochSets(files: ServerFiles): Generator<{ name: string; files: ServerFiles }> {
  const texts = [
    null,
    "0",
    "1",
    "1\n",
    "1\r\n2",
    " 1",
    "1 ",
    "+1",
    "-1",
    "",
    "\n1",
    "x",
    "0x1",
    "2",
    "9223372036854775807",
    "9223372036854775808",
  ];
  const extras: [string, string][][] = [
    [],
    [["currentEpoch.tmp", "1"]],
    [["currentEpoch.tmp", "x"]],
    [["currentEpoch.tmp", "7"]],
    [["acceptedEpoch.tmp", "9"]],
    [["updatingEpoch", ""]],
  ];
  for (const current of texts) {
    for (const accepted of current === "1" || current === null || current === "0" ? texts : [null, "1", "2"]) {
      for (const extra of extras) {
        const epochs = [...extra];
        if (current !== null) epochs.push(["currentEpoch", current]);
        if (accepted !== null) epochs.push(["acceptedEpoch", accepted]);
        const named = epochs.map(([name, text]): [string, Buffer] => [`${SNAPSHOTS}${name}`, Buffer.from(text)]);
        yield { name: `epochs ${JSON.stringify(epochs)}`, files: new Map([...files, ...named]) };
      }
    }
  }
}
