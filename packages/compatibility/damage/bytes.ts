import { ADLER32_START, adler32 } from "@zk-backyp/zookeeper-files";
import { field, int, long } from "../../zookeeper-files/src/testing/jute.ts";

/** world:anyone may do anything. */
export const OPEN: Buffer = Buffer.concat([int(1), int(31), field("world"), field("anyone")]);

export const LOG_HEADER: Buffer = Buffer.concat([Buffer.from("ZKLG"), int(2), long(0n)]);

/** A record with a good checksum, whatever its entry. */
export function record(entry: Uint8Array): Buffer {
  return Buffer.concat([long(BigInt(checksum(entry))), int(entry.byteLength), entry, Buffer.from("B")]);
}

export function txn(zxid: bigint, type: number, body: Uint8Array, session = 0x100_0000_0000_0777n): Buffer {
  const header = [long(session), int(1), long(zxid), long(1_700_000_000_000n + zxid), int(type)];
  return record(Buffer.concat([...header, body]));
}

/** Ephemeral if there is a session. */
export function create(
  zxid: bigint,
  path: string,
  { data = "made", session }: { data?: string; session?: bigint } = {},
): Buffer {
  const ephemeral = Buffer.from([session === undefined ? 0 : 1]);
  return txn(zxid, 1, Buffer.concat([field(path), field(data), OPEN, ephemeral, int(1)]), session);
}

export function setData(zxid: bigint, path: string, data: string | Uint8Array, version = 1): Buffer {
  return txn(zxid, 5, Buffer.concat([field(path), field(data), int(version)]));
}

/** A checksum and the text that servers end a section of a snapshot with. */
export function seal(bytes: Uint8Array): Buffer {
  return Buffer.concat([bytes, long(BigInt(checksum(bytes))), field("/")]);
}

export function checksum(bytes: Uint8Array): number {
  return adler32(Buffer.from(bytes), ADLER32_START, 0, bytes.byteLength);
}

/** One field of a file, and what it is. */
export interface Field {
  readonly at: number;
  readonly bytes: number;
  readonly kind: "number" | "length" | "count" | "bytes" | "mark";
  readonly what: string;
}

class Walk {
  readonly fields: Field[] = [];
  readonly bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  take(count: number, kind: Field["kind"], what: string): void {
    if (count > 0) this.fields.push({ at: this.at, bytes: count, kind, what });
    this.at += count;
  }

  int(kind: Field["kind"], what: string): number {
    this.take(4, kind, what);
    return this.bytes.readInt32BE(this.at - 4);
  }

  field(what: string): Buffer {
    const length = Math.max(0, this.int("length", `length of ${what}`));
    this.take(length, "bytes", what);
    return this.bytes.subarray(this.at - length, this.at);
  }
}

/** The fields of a good snapshot, in order. */
export function fieldsOfSnapshot(bytes: Buffer): { fields: Field[]; sealAt: number } {
  const walk = new Walk(bytes);
  walk.take(4, "number", "magic");
  walk.take(4, "number", "version");
  walk.take(8, "number", "dbid");
  for (let left = walk.int("count", "sessions"); left > 0; left--) {
    walk.take(8, "number", "session id");
    walk.take(4, "number", "session timeout");
  }
  for (let left = walk.int("count", "ACLs"); left > 0; left--) {
    walk.take(8, "number", "ACL id");
    for (let entries = walk.int("count", "ACL entries"); entries > 0; entries--) {
      walk.take(4, "number", "permissions");
      walk.field("scheme");
      walk.field("id");
    }
  }
  while (walk.field("path").toString() !== "/") {
    walk.field("data");
    walk.take(8, "number", "ACL of node");
    for (const what of ["czxid", "mzxid", "ctime", "mtime"]) walk.take(8, "number", what);
    for (const what of ["version", "cversion", "aversion"]) walk.take(4, "number", what);
    for (const what of ["owner", "pzxid"]) walk.take(8, "number", what);
  }
  const sealAt = walk.at;
  const sealed = (section: string): void => {
    walk.take(8, "number", `seal of ${section}`);
    walk.field(`end of ${section}`);
  };
  sealed("nodes");
  if (bytes.byteLength - walk.at >= 33) {
    walk.take(8, "number", "digest zxid");
    walk.take(4, "number", "digest version");
    walk.take(8, "number", "digest");
    sealed("digest");
  }
  if (walk.at < bytes.byteLength) {
    walk.take(8, "number", "last zxid");
    sealed("last zxid");
  }
  return { fields: walk.fields, sealAt };
}

/** The fields of a good log without padding, and where its records begin; the last one is its end. */
export function fieldsOfLog(bytes: Buffer): { fields: Field[]; records: number[] } {
  const walk = new Walk(bytes);
  walk.take(4, "number", "magic");
  walk.take(4, "number", "version");
  walk.take(8, "number", "dbid");
  const records = [walk.at];
  while (walk.at < bytes.byteLength) {
    walk.take(8, "number", "checksum");
    const end = walk.int("length", "length of entry") + walk.at;
    for (const [size, what] of [
      [8, "session"],
      [4, "cxid"],
      [8, "zxid"],
      [8, "time"],
      [4, "type"],
    ] as const) {
      walk.take(size, "number", what);
    }
    walk.take(end - walk.at, "bytes", "body");
    walk.take(1, "mark", "end mark");
    records.push(walk.at);
  }
  return { fields: walk.fields, records };
}
