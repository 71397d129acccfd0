// A data directory of one million znodes, such as a server of 3.8 leaves: a snapshot, and a log after it. All digests in
// it are computed here, with zlib's CRC-32 and none of the code that is measured.
import { createHash } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";

const NODES = 1_000_000;
const GROUPS = 1_000;
const TXNS = 100_000;
/** Txns come 1 ms apart from here on. */
const START_MS = 1_700_000_000_000;
const SESSION = 0x100000000000001n;
const SESSIONS = 500;
/** Changed with what is written, so that what an older version has left is not taken. */
const VERSION = 1;

/** Returns the directory; makes it if it is not there yet. */
export function verifyData(cache) {
  const directory = join(cache, `verify-${VERSION}-${NODES}-${TXNS}`);
  const snapshot = join(directory, "version-2", `snapshot.${NODES.toString(16)}`);
  const log = join(directory, "version-2", `log.${(NODES + 1).toString(16)}`);
  if (!existsSync(directory)) {
    const temporary = `${directory}.tmp`;
    rmSync(temporary, { recursive: true, force: true });
    mkdirSync(join(temporary, "version-2"), { recursive: true });
    const digest = writeSnapshot(join(temporary, "version-2", `snapshot.${NODES.toString(16)}`));
    writeLog(join(temporary, "version-2", `log.${(NODES + 1).toString(16)}`), digest);
    renameSync(temporary, directory);
  }
  return { directory, snapshot, log, nodes: NODES + GROUPS + FIXED.length, txns: TXNS };
}

const FIXED = ["", "/zookeeper", "/zookeeper/config", "/zookeeper/quota", "/services"];

/** The same each time: 16 hex digits for each number. */
const noise = (number) => createHash("md5").update(String(number)).digest("hex");

const groupPath = (group) => `/services/${String(group).padStart(4, "0")}-${noise(-group - 1).slice(0, 6)}`;

/** Node `index`, created by the txn `index + 1`. Every fourth is ephemeral. */
function nodeOf(index) {
  const hex = noise(index);
  const group = index % GROUPS;
  const path = `${groupPath(group)}/member-${hex.slice(0, 8)}-${String(index).padStart(10, "0")}`;
  const time = START_MS + index;
  const stat = { czxid: index + 1, mzxid: index + 1, pzxid: index + 1, ctime: time, mtime: time };
  const owner = index % 4 === 0 ? SESSION + BigInt(index % SESSIONS) : 0n;
  return { path, data: dataOf(hex, index), ...stat, version: 0, cversion: 0, aversion: 0, owner };
}

function dataOf(hex, index) {
  const host = `10.${index % 200}.${(index >> 8) % 200}.${(index >> 3) % 250}`;
  return Buffer.from(
    `{"id":"${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}","host":"${host}","port":${8000 + (index % 999)},` +
      `"token":"${hex}","at":"${new Date(START_MS + index).toISOString()}","n":${index % 7919}}`,
  );
}

function groupNode(group) {
  const children = NODES / GROUPS;
  const pzxid = NODES - GROUPS + group + 1;
  const stat = { czxid: 1, mzxid: 1, pzxid, ctime: START_MS, mtime: START_MS, version: 0, cversion: children };
  return { path: groupPath(group), data: Buffer.alloc(0), ...stat, aversion: 0, owner: 0n };
}

function fixedNode(path) {
  const cversion = path === "/services" ? GROUPS : 0;
  const zxid = path === "/services" ? 1 : 0;
  const stat = { czxid: zxid, mzxid: zxid, pzxid: zxid, ctime: 0, mtime: 0, version: 0, cversion };
  return { path, data: Buffer.alloc(0), ...stat, aversion: 0, owner: 0n };
}

const SCRATCH = Buffer.alloc(4096);

/** What a node adds to the digest. */
function digestOf(node) {
  if (node.path.startsWith("/zookeeper/")) return 0n;
  let at = SCRATCH.write(node.path);
  at += node.data.copy(SCRATCH, at);
  for (const long of [node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime]) at = writeLong(long, at);
  for (const int of [node.version, node.cversion, node.aversion]) at = SCRATCH.writeInt32BE(int, at);
  at = SCRATCH.writeBigInt64BE(node.owner, at);
  return BigInt(crc32(SCRATCH.subarray(0, at)));
}

function writeLong(value, at) {
  SCRATCH.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  return SCRATCH.writeUInt32BE(value % 2 ** 32, at + 4);
}

function writeSnapshot(path) {
  const file = openSync(path, "wx");
  const buffer = Buffer.alloc(4 * 1024 * 1024);
  let used = 0;
  let adler = 1;
  const flush = () => {
    adler = adlerOf(buffer.subarray(0, used), adler);
    writeSync(file, buffer, 0, used);
    used = 0;
  };
  const int = (value) => {
    used = buffer.writeInt32BE(value, used);
  };
  const long = (value) => {
    used = buffer.writeBigInt64BE(BigInt(value), used);
  };
  const bytes = (value) => {
    int(value.length);
    used += value.copy(buffer, used);
  };
  const text = (value) => bytes(Buffer.from(value));
  const seal = () => {
    flush();
    long(adler);
    text("/");
  };
  let digest = 0n;
  const node = (value) => {
    digest += digestOf(value);
    text(value.path);
    bytes(value.data);
    long(value.path === "/zookeeper/config" ? 2 : value.path.startsWith("/services/") ? 1 : -1);
    for (const field of [value.czxid, value.mzxid, value.ctime, value.mtime]) long(field);
    for (const field of [value.version, value.cversion, value.aversion]) int(field);
    long(value.owner);
    long(value.pzxid);
    if (used > buffer.length - 65_536) flush();
  };

  buffer.write("ZKSN");
  used = 4;
  int(2);
  long(-1);
  int(SESSIONS);
  for (let session = 0; session < SESSIONS; session++) {
    long(SESSION + BigInt(session));
    int(30_000);
  }
  int(2);
  for (const [id, permissions] of [
    [1, 31],
    [2, 1],
  ]) {
    long(id);
    int(1);
    int(permissions);
    text("world");
    text("anyone");
  }
  for (const path of FIXED) node(fixedNode(path));
  for (let group = 0; group < GROUPS; group++) {
    node(groupNode(group));
    // Servers write children in the order of a hash table.
    const count = NODES / GROUPS;
    for (let n = 0; n < count; n++) node(nodeOf(group + GROUPS * ((n * 617 + 7 * group) % count)));
  }
  text("/");
  seal();
  long(NODES);
  int(2);
  long(digest);
  seal();
  flush();
  closeSync(file);
  return digest;
}

/** Half of the txns set data, a quarter creates a node, and a quarter deletes one of these again. */
function writeLog(path, snapshotDigest) {
  const file = openSync(path, "wx");
  let digest = snapshotDigest;
  const groups = Array.from({ length: GROUPS }, (_, group) => groupNode(group));
  const created = [];
  const parts = [Buffer.from("ZKLG"), ints(2), longs(0)];
  for (let n = 0; n < TXNS; n++) {
    const zxid = NODES + 1 + n;
    const time = START_MS + zxid;
    const header = [longs(SESSION), ints(n), longs(zxid, time)];
    let body;
    if (n % 4 === 1) {
      const node = { ...nodeOf(zxid), czxid: zxid, mzxid: zxid, pzxid: zxid, ctime: time, mtime: time, owner: 0n };
      const parent = groups[zxid % GROUPS];
      digest -= digestOf(parent);
      parent.cversion += 1;
      parent.pzxid = zxid;
      digest += digestOf(parent) + digestOf(node);
      created.push(node);
      const acl = [ints(1, 31), field("world"), field("anyone")];
      body = [ints(1), field(node.path), field(node.data), ...acl, Buffer.from([0]), ints(parent.cversion)];
    } else if (n % 4 === 3) {
      const node = created.shift();
      const parent = groups[(node.czxid % GROUPS) | 0];
      digest -= digestOf(parent) + digestOf(node);
      parent.pzxid = zxid;
      digest += digestOf(parent);
      body = [ints(2), field(node.path)];
    } else {
      const before = nodeOf((n * 9_973) % NODES);
      const after = { ...before, data: dataOf(noise(zxid), zxid), mzxid: zxid, mtime: time, version: 1 };
      digest += digestOf(after) - digestOf(before);
      body = [ints(5), field(after.path), field(after.data), ints(1)];
    }
    const entry = Buffer.concat([...header, ...body, ints(2), longs(digest)]);
    parts.push(longs(adlerOf(entry, 1)), ints(entry.length), entry, Buffer.from("B"));
    if (parts.length > 4_000) writeSync(file, Buffer.concat(parts.splice(0)));
  }
  writeSync(file, Buffer.concat(parts));
  // What servers allocate ahead.
  writeSync(file, Buffer.alloc(64 * 1024));
  closeSync(file);
}

function ints(...values) {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [n, value] of values.entries()) bytes.writeInt32BE(value, 4 * n);
  return bytes;
}

function longs(...values) {
  const bytes = Buffer.alloc(8 * values.length);
  for (const [n, value] of values.entries()) bytes.writeBigInt64BE(BigInt.asIntN(64, BigInt(value)), 8 * n);
  return bytes;
}

function field(value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([ints(bytes.length), bytes]);
}

/** zlib's own: the last four bytes of its stream, continued from `previous`. */
function adlerOf(bytes, previous) {
  const own = deflateSync(bytes, { level: 0 }).readUInt32BE(deflateSync(bytes, { level: 0 }).length - 4);
  const base = 65_521;
  const [a1, b1, a2, b2] = [previous & 0xffff, previous >>> 16, own & 0xffff, own >>> 16];
  const a = (a1 + a2 + base - 1) % base;
  const b = (b1 + b2 + ((((bytes.length % base) * (a1 + base - 1)) % base) % base)) % base;
  return b * 65_536 + a;
}
