/** What a server keeps about a znode beside its data and its ACL, as it stands on disk. */
export interface ZnodeStat {
  /** The txn that created it. */
  readonly czxid: bigint;
  /** The last txn that changed its data. */
  readonly mzxid: bigint;
  /** The last txn that added or removed a child. */
  readonly pzxid: bigint;
  /** The server's clock at `czxid`, in milliseconds since 1970. */
  readonly ctimeMs: number;
  /** The server's clock at `mzxid`, in milliseconds since 1970. */
  readonly mtimeMs: number;
  /** Counts changes of the data. */
  readonly version: number;
  /** Counts created children. What clients see as `cversion` is twice this minus the number of children. */
  readonly cversion: number;
  /** Counts changes of the ACL. */
  readonly aversion: number;
  /** 0, the session it belongs to, or a code: see {@link kindOf}. */
  readonly ephemeralOwner: bigint;
}

/** How a znode ends: never by itself; with its session; when its last child goes; when nothing has touched it for long. */
export type ZnodeKind = "persistent" | "ephemeral" | "container" | "ttl";

/** The `ephemeralOwner` of a container. */
export const CONTAINER_OWNER: bigint = -0x8000_0000_0000_0000n;

/** Highest byte ff, two bytes 0, then the time to live in 40 bits. */
const TTL_OWNER_TOP = 0xff0000n;

/**
 * What kind of znode has this owner. A server reads TTLs only with `zookeeper.extendedTypesEnabled=true`; to others
 * these are ephemerals of sessions that are gone. (The form that only 3.5.3 wrote counts as ephemeral.)
 */
export function kindOf(ephemeralOwner: bigint): ZnodeKind {
  if (ephemeralOwner === 0n) return "persistent";
  const owner = BigInt.asUintN(64, ephemeralOwner);
  if (owner === BigInt.asUintN(64, CONTAINER_OWNER)) return "container";
  return owner >> 40n === TTL_OWNER_TOP ? "ttl" : "ephemeral";
}

/** The `ephemeralOwner` of a node that may go `ttlMs` milliseconds after its last change. */
export function ttlOwner(ttlMs: bigint): bigint {
  return BigInt.asIntN(64, (TTL_OWNER_TOP << 40n) | BigInt.asUintN(40, ttlMs));
}

/** Time to live in milliseconds; null for nodes of other kinds. */
export function ttlMsOf(ephemeralOwner: bigint): number | null {
  return kindOf(ephemeralOwner) === "ttl" ? Number(BigInt.asUintN(40, ephemeralOwner)) : null;
}

/** Length of the stat in a snapshot, in bytes. */
export const STAT_BYTES = 60;

/** Reads czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeralOwner, pzxid. */
export function readStat(bytes: Buffer, at: number): ZnodeStat {
  return {
    czxid: bytes.readBigInt64BE(at),
    mzxid: bytes.readBigInt64BE(at + 8),
    pzxid: bytes.readBigInt64BE(at + 52),
    ctimeMs: Number(bytes.readBigInt64BE(at + 16)),
    mtimeMs: Number(bytes.readBigInt64BE(at + 24)),
    version: bytes.readInt32BE(at + 32),
    cversion: bytes.readInt32BE(at + 36),
    aversion: bytes.readInt32BE(at + 40),
    ephemeralOwner: bytes.readBigInt64BE(at + 44),
  };
}
