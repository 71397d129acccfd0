import { counterOf } from "../zxid.ts";

/** The digest that a snapshot carries (3.6 and later): of the whole tree, right after the txn `zxid`. */
export interface SnapshotDigest {
  /** 0 when the server had applied no txn since it loaded its data; the digest then says nothing. */
  readonly zxid: bigint;
  /** 2 in every release so far. */
  readonly version: number;
  /** Signed 64-bit sum over all nodes. */
  readonly value: bigint;
}

/** What a complete and intact snapshot holds. */
export interface SnapshotSummary {
  /** Znodes, the root included. The `Node count` that a server reports is one higher: it counts the root twice. */
  readonly nodes: number;
  readonly sessions: number;
  /** Distinct ACLs in the file's table. */
  readonly acls: number;
  /** Nodes that belong to a session. (TTL nodes in the form that only 3.5.3 wrote count here too.) */
  readonly ephemerals: number;
  readonly containers: number;
  readonly ttlNodes: number;
  /**
   * Nodes whose ACL is not in the table. A snapshot taken under load may have some: replaying the log repairs them,
   * properly only since 3.8.5 and 3.9.4 (ZOOKEEPER-4846).
   */
  readonly danglingAcls: number;
  /** Sum of the nodes' data, in bytes. */
  readonly dataBytes: number;
  /** The longest path, data, or ACL text, in bytes. A server whose `jute.maxbuffer` is lower cannot load the file. */
  readonly largestFieldBytes: number;
  /** Null in files of 3.4 and 3.5, and where digests were switched off. */
  readonly digest: SnapshotDigest | null;
  /** The last txn that may be in the file; 3.9 and later, else null. */
  readonly lastZxid: bigint | null;
  /** The highest txn that left a trace in a node's stat. The file was still being written when it was applied. */
  readonly highestZxid: bigint;
  /** Uncompressed size. */
  readonly bytes: number;
}

/**
 * The last txn of which a snapshot taken at `zxid` may hold something: only with the txns up to it is the snapshot whole.
 * A zxid that begins an epoch, which a new leader may leave in the file, is that of no txn.
 */
export function lastTraceIn(
  zxid: bigint,
  { highestZxid, digest, lastZxid }: Pick<SnapshotSummary, "highestZxid" | "digest" | "lastZxid">,
): bigint {
  const traces = [highestZxid, digest?.zxid ?? 0n, lastZxid ?? 0n];
  return traces.reduce((last, trace) => (trace > last && counterOf(trace) !== 0n ? trace : last), zxid);
}
