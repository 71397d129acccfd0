import { isBackypError, type RunContext } from "@zk-backyp/core";
import { configuredMembership, readMyid } from "./ensemble/members.ts";
import { parseServerAddress } from "./ensemble/server-address.ts";
import type { ZooKeeperSourceOptions } from "./options.ts";
import { askStatus } from "./server-status.ts";
import { readZooCfg } from "./zoo-cfg.ts";

/**
 * The server's `myid` as text: from its `dataDir`, else as the server says. What cannot be read or asked is warned of, and
 * does not tell.
 *
 * @returns null for a standalone server, and where nothing tells
 * @throws BackypError `ERR_CONFIG_INVALID` when a file for TLS cannot be used; `ERR_ABORTED`
 */
export async function nodeName(options: ZooKeeperSourceOptions, context: RunContext): Promise<string | null> {
  const { signal, logger } = context;
  /** Undefined where it cannot be found out. */
  const ifKnown = async <T>(told: Promise<T>): Promise<T | undefined> => {
    try {
      return await told;
    } catch (error) {
      if (!isBackypError(error, "ERR_SOURCE_UNAVAILABLE")) throw error;
      logger.warn({ err: error }, `the id of this node's server is not known: ${error.message}`);
      return undefined;
    }
  };
  const zooCfg = options.zooCfg === undefined ? undefined : await ifKnown(readZooCfg(options.zooCfg));
  const membership = zooCfg && (await ifKnown(configuredMembership(zooCfg)));
  // It needs no myid, and may have one all the same.
  if (membership === null) return null;
  const dataDir = options.dataDir ?? zooCfg?.settings.get("dataDir");
  const id = dataDir && (await ifKnown(readMyid(dataDir.replace(/\/version-2\/*$/, ""))));
  if (typeof id === "number") return String(id);
  if (options.server === undefined) return null;
  const status = await ifKnown(askStatus(parseServerAddress(options.server), { tls: options.tls }, signal));
  const isMember = status !== undefined && status.role !== "standalone" && status.serverId !== null;
  return isMember ? String(status.serverId) : null;
}
