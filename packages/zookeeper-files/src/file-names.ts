/** How a snapshot file is wrapped. */
export type Compression = "none" | "gz" | "snappy";

/** What a data file's name says. */
export interface FileName {
  readonly kind: "snapshot" | "log";
  /** Snapshot: last txn applied when the writing began. Log: first txn in the file. */
  readonly zxid: bigint;
  /** Always `none` for a log: servers do not look at the rest of a log's name. */
  readonly compression: Compression;
}

const LARGEST_ZXID = 0x7fff_ffff_ffff_ffffn;

/**
 * Reads the name of a data file by the rules of ZooKeeper 3.6 and later: `snapshot` or `log`, a dot, a hexadecimal
 * zxid, and further parts that do not matter, except that the last one names a snapshot's compression (in upper or
 * lower case). So `snapshot.22.tmp` and `log.1.bak` are data files to these servers. (3.4 and 3.5 want exactly two
 * parts.) Null for anything else, and for a number that does not fit 63 bits.
 */
export function parseFileName(name: string): FileName | null {
  const parts = name.split(".");
  const [kind, digits] = parts;
  if (kind !== "snapshot" && kind !== "log") return null;
  if (digits === undefined || !/^[0-9a-fA-F]+$/.test(digits)) return null;
  const zxid = BigInt(`0x${digits}`);
  if (zxid > LARGEST_ZXID) return null;
  return { kind, zxid, compression: kind === "log" ? "none" : compressionOf(parts) };
}

function compressionOf(parts: readonly string[]): Compression {
  // Java's split, which the servers use, drops empty parts at the end: "snapshot.22.gz." is read as gzip.
  const last = parts.findLast((part) => part !== "")?.toLowerCase();
  return last === "gz" || last === "snappy" ? last : "none";
}

/**
 * The logs that a server reads after loading the snapshot taken at `snapshotZxid`, oldest first: the last one that
 * begins at or before it, and all later ones; all of them if none begins so early. It decides by the names alone, and
 * so does the purge.
 */
export function logsFor<Log extends { readonly zxid: bigint }>(snapshotZxid: bigint, logs: readonly Log[]): Log[] {
  const sorted = logs.toSorted((a, b) => (a.zxid < b.zxid ? -1 : a.zxid > b.zxid ? 1 : 0));
  const first = sorted.findLast((log) => log.zxid <= snapshotZxid)?.zxid ?? 0n;
  return sorted.filter((log) => log.zxid >= first);
}
