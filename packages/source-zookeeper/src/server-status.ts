import { BackypError, isBackypError } from "@zk-backyp/core";
import { askServer, type ServerAddress } from "./four-letter-word.ts";

/** What a running server says of itself. */
export interface ServerStatus {
  /** Without the build's revision: `3.8.4`. */
  readonly version: string;
  /** `standalone`, `leader`, `follower`, `observer` or `read-only`. */
  readonly role: string;
  /** The last transaction it has applied. */
  readonly zxid: bigint;
  /** Znodes as the server counts them: one more than there are. */
  readonly nodeCount: number;
  /** How often its tree differed from the leader's digest, or null where it does not say (`mntr` not allowed, < 3.6). */
  readonly digestMismatches: number | null;
}

/**
 * Asks a server for `srvr` and, where it allows that, `mntr`.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function askStatus(address: ServerAddress, signal: AbortSignal): Promise<ServerStatus> {
  const srvr = await askServer(address, "srvr", signal);
  const field = (name: string): string => new RegExp(`^${name}: *(.*)$`, "m").exec(srvr)?.[1]?.trim() ?? "";
  const zxid = field("Zxid");
  if (!/^0x[0-9a-f]+$/.test(zxid)) {
    throw new BackypError(
      "ERR_SOURCE_UNAVAILABLE",
      `${address.host}:${address.port} does not answer "srvr" as ZooKeeper does; is this its client port?`,
      { details: { server: `${address.host}:${address.port}` } },
    );
  }
  return {
    version: /^\d[\w.]*/.exec(field("Zookeeper version"))?.[0] ?? "",
    role: field("Mode"),
    zxid: BigInt(zxid),
    nodeCount: Number(field("Node count")),
    digestMismatches: await askDigestMismatches(address, signal),
  };
}

async function askDigestMismatches(address: ServerAddress, signal: AbortSignal): Promise<number | null> {
  try {
    const mntr = await askServer(address, "mntr", signal);
    const count = /^zk_digest_mismatches_count\s+(\d+)$/m.exec(mntr)?.[1];
    return count === undefined ? null : Number(count);
  } catch (error) {
    // Only srvr is allowed by default (3.5.3 and later).
    if (isBackypError(error, "ERR_SOURCE_UNAVAILABLE")) return null;
    throw error;
  }
}

/**
 * The `version-2` folders that a server says it uses (four-letter word `conf`).
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function askDirectories(
  address: ServerAddress,
  signal: AbortSignal,
): Promise<{ dataDir: string | undefined; dataLogDir: string | undefined }> {
  const conf = await askServer(address, "conf", signal);
  const field = (name: string): string | undefined => new RegExp(`^${name}=(.+)$`, "m").exec(conf)?.[1]?.trim();
  return { dataDir: field("dataDir"), dataLogDir: field("dataLogDir") };
}
