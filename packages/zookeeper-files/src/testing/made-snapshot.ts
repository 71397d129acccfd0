import { deflateSync } from "node:zlib";
import { acl, field, int, list, long } from "./jute.ts";

export interface MadeNode {
  readonly path: string;
  readonly data?: Uint8Array | null;
  readonly aclId?: bigint;
  readonly czxid?: bigint;
  readonly mzxid?: bigint;
  readonly pzxid?: bigint;
  readonly owner?: bigint;
}

export interface MadeSnapshot {
  readonly nodes?: readonly MadeNode[];
  readonly sessions?: readonly bigint[];
  readonly aclIds?: readonly bigint[];
  readonly digest?: { readonly zxid: bigint; readonly version?: number; readonly value: bigint };
  readonly lastZxid?: bigint;
}

/** Adler-32 by zlib: the last four bytes of its stream. */
export function zlibAdler32(bytes: Uint8Array): number {
  return deflateSync(bytes, { level: 0 }).readUInt32BE(deflateSync(bytes, { level: 0 }).byteLength - 4);
}

const seal = (bytes: Buffer): Buffer => Buffer.concat([bytes, long(BigInt(zlibAdler32(bytes))), field("/")]);

/** A snapshot with good checksums, whatever it holds. */
export function makeSnapshot(made: MadeSnapshot): Buffer {
  const { nodes = [{ path: "" }], sessions = [], aclIds = [] } = made;
  let bytes: Buffer = Buffer.concat([
    Buffer.from("ZKSN"),
    int(2),
    long(-1n),
    list(...sessions.map((session) => Buffer.concat([long(session), int(30_000)]))),
    list(...aclIds.map((id) => Buffer.concat([long(id), list(acl(31, "digest", "a:b"), acl(1, "world", "anyone"))]))),
    ...nodes.map(nodeBytes),
    field("/"),
  ]);
  bytes = seal(bytes);
  const { digest, lastZxid } = made;
  if (digest !== undefined) {
    bytes = seal(Buffer.concat([bytes, long(digest.zxid), int(digest.version ?? 2), long(digest.value)]));
  }
  return lastZxid === undefined ? bytes : seal(Buffer.concat([bytes, long(lastZxid)]));
}

function nodeBytes({
  path,
  data = null,
  aclId = -1n,
  czxid = 0n,
  mzxid = 0n,
  pzxid = 0n,
  owner = 0n,
}: MadeNode): Buffer {
  const times = [long(1n), long(2n), int(0), int(0), int(0)];
  return Buffer.concat([
    field(path),
    field(data),
    long(aclId),
    long(czxid),
    long(mzxid),
    ...times,
    long(owner),
    long(pzxid),
  ]);
}
