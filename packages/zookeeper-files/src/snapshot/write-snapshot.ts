import { type Acl, OPEN_ACL_ID } from "../acl.ts";
import { ADLER32_START, adler32 } from "../adler32.ts";
import { JuteWriter, notWritable } from "../jute/jute-writer.ts";
import { encodeAcl } from "../log/encode-acl.ts";
import type { ZnodeStat } from "../znode-stat.ts";
import type { SnapshotZnode } from "./read-snapshot.ts";
import { MAX_ACL_ENTRIES } from "./snapshot-parser.ts";
import type { SnapshotDigest } from "./snapshot-summary.ts";

/** What a snapshot is made of. */
export interface SnapshotContent {
  /** Timeout in milliseconds by session id. */
  readonly sessions: ReadonlyMap<bigint, number>;
  /** What the nodes' ACL ids stand for. A node of an id that is missing is written, and dangles. */
  readonly acls: ReadonlyMap<bigint, Acl>;
  /** Depth first, from the root, whose path is empty: each node comes right behind its parent or the parent's descendants. */
  readonly nodes: Iterable<NodeContent> | AsyncIterable<NodeContent>;
  /** As 3.6 and later write it. A server that has switched digests off cannot load it with a `lastZxid`. */
  readonly digest?: SnapshotDigest | null;
  /** As 3.9 writes it. Without a digest, only a server that has switched digests off loads it. */
  readonly lastZxid?: bigint | null;
}

/** The nodes that `readSnapshot` yields are such. */
export type NodeContent = Omit<SnapshotZnode, "type">;

const CHUNK_BYTES: number = 64 * 1024;
/** Magic "ZKSN", version 2, and a dbid that is always -1. */
const HEADER: Buffer = Buffer.from("5a4b534e00000002ffffffffffffffff", "hex");

/**
 * Writes a snapshot with all its checksums, uncompressed: for a `.gz` file pipe it through node:zlib's `createGzip`.
 * The file must be named `snapshot.` and the zxid from which logs are to be replayed, in lower-case hex.
 *
 * What is given by id and in the order of a snapshot that was read becomes the same bytes again.
 *
 * @throws ZooKeeperFileError `NOT_WRITABLE`, with what was given before already written, for what no server loads or
 *   what `checkSnapshot` refuses: no root; a node that does not follow its parent; a path with an empty name; a field
 *   of more than 64 MiB; an ACL of more than 65,536 entries; the id -1 in `acls`; a digest of a version below 2; numbers that do not fit their fields; and
 *   whatever `nodes` throws
 */
export async function* writeSnapshot(content: SnapshotContent): AsyncGenerator<Buffer, void, void> {
  const writer = new JuteWriter();
  let adler = ADLER32_START;
  const take = (): Buffer => {
    const bytes = writer.take();
    adler = adler32(bytes, adler);
    return bytes;
  };
  adler = adler32(HEADER, adler);
  yield Buffer.from(HEADER);

  writer.int(content.sessions.size, "the number of sessions");
  for (const [id, timeoutMs] of content.sessions) {
    writer.long(id, "a session id");
    writer.int(timeoutMs, "the timeout of a session");
    if (writer.length >= CHUNK_BYTES) yield take();
  }
  writer.int(content.acls.size, "the number of ACLs");
  for (const [id, acl] of content.acls) {
    if (id === OPEN_ACL_ID) throw notWritable("the ACL id -1 stands for the open ACL and cannot be another");
    if (acl.length > MAX_ACL_ENTRIES) throw notWritable(`the ACL ${id} has ${acl.length} entries`);
    writer.long(id, "an ACL id");
    encodeAcl(writer, acl);
    if (writer.length >= CHUNK_BYTES) yield take();
  }

  let previous: string | null = null;
  for await (const node of content.nodes) {
    checkPlace(node.path, previous);
    previous = node.path;
    writeNode(writer, node);
    if (writer.length >= CHUNK_BYTES) yield take();
  }
  if (previous === null) throw notWritable("there is no root node");
  writer.text("/", "the end mark");
  yield take();

  const seal = (): Buffer => {
    writer.long(BigInt(adler), "a checksum");
    writer.text("/", "the end mark");
    return take();
  };
  yield seal();
  const { digest, lastZxid } = content;
  if (digest) {
    if (digest.version < 2) throw notWritable(`the digest is of version ${digest.version}`);
    writer.long(digest.zxid, "the zxid of the digest");
    writer.int(digest.version, "the version of the digest");
    writer.long(digest.value, "the digest");
    yield take();
    yield seal();
  }
  if (lastZxid !== null && lastZxid !== undefined) {
    writer.long(lastZxid, "the last zxid");
    yield take();
    yield seal();
  }
}

/** As the reader sees it: a node's parent is the node before it or one of that node's ancestors. */
function checkPlace(path: string, previous: string | null): void {
  if (previous === null) {
    if (path !== "") throw notWritable(`the first node is ${JSON.stringify(path)}, not the root ""`);
    return;
  }
  const parent = path.slice(0, Math.max(0, path.lastIndexOf("/")));
  if (!path.startsWith("/") || path.endsWith("/")) throw notWritable(`${JSON.stringify(path)} is no path of a node`);
  if (parent !== previous && !previous.startsWith(`${parent}/`) && parent !== "") {
    throw notWritable(`the node ${JSON.stringify(path)} does not follow its parent, but ${JSON.stringify(previous)}`);
  }
}

function writeNode(writer: JuteWriter, { path, data, aclId, stat }: NodeContent): void {
  writer.text(path, "a path");
  writer.buffer(data, "the data of a node");
  writer.long(aclId, "an ACL id");
  writeStat(writer, stat);
}

function writeStat(writer: JuteWriter, stat: ZnodeStat): void {
  writer.long(stat.czxid, "a czxid");
  writer.long(stat.mzxid, "an mzxid");
  writer.time(stat.ctimeMs, "a ctime");
  writer.time(stat.mtimeMs, "an mtime");
  writer.int(stat.version, "a version");
  writer.int(stat.cversion, "a cversion");
  writer.int(stat.aversion, "an aversion");
  writer.long(stat.ephemeralOwner, "an ephemeralOwner");
  writer.long(stat.pzxid, "a pzxid");
}
