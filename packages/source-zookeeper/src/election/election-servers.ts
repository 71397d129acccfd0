import { BackypError, isBackypError } from "@zk-backyp/core";
import { configuredMembership, type Member } from "../ensemble/members.ts";
import { formatServerAddress, parseServerAddress, type ServerAddress } from "../ensemble/server-address.ts";
import { addressFrom } from "../locate.ts";
import type { ZooKeeperSourceOptions } from "../options.ts";
import { isAdminServer } from "../server-status.ts";
import { readZooCfg } from "../zoo-cfg.ts";

/** Through whom a node takes part in an election. */
export interface ElectionServers {
  /** Where this node's own server is asked for its role; null where nothing tells. */
  readonly own: ServerAddress | null;
  /** Client ports of the ensemble, first that of this node's own server. Never empty. */
  readonly servers: readonly ServerAddress[];
}

/**
 * Finds the servers from the options and `zoo.cfg` alone: none of them has to run.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` when nothing tells a client port
 */
export async function electionServers(options: ZooKeeperSourceOptions): Promise<ElectionServers> {
  const named = options.server === undefined ? null : parseServerAddress(options.server);
  const { configured, members } = await fromZooCfg(options);
  const client = named === null || isAdminServer(named) ? configured : named;
  const others =
    options.election?.members === undefined
      ? members.flatMap((member) => clientsOf(member, client))
      : options.election.members.map(parseServerAddress);
  const servers = [...(client === null ? [] : [client]), ...others];
  if (servers.length === 0) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      "an election goes through ZooKeeper, and nothing tells where: give zooCfg, server (a client port, host:port or tls://host:port), or election.members",
    );
  }
  const unique = new Map(servers.map((server) => [formatServerAddress(server), server]));
  return { own: named ?? configured, servers: [...unique.values()] };
}

async function fromZooCfg(
  options: ZooKeeperSourceOptions,
): Promise<{ configured: ServerAddress | null; members: readonly Member[] }> {
  if (options.zooCfg === undefined) return { configured: null, members: [] };
  try {
    const zooCfg = await readZooCfg(options.zooCfg);
    const configured = await addressFrom(zooCfg, options.dataDir ?? zooCfg.settings.get("dataDir"), options);
    return { configured, members: (await configuredMembership(zooCfg))?.members ?? [] };
  } catch (cause) {
    // No ensemble that comes up later makes a file readable.
    if (!isBackypError(cause, "ERR_SOURCE_UNAVAILABLE")) throw cause;
    throw new BackypError("ERR_CONFIG_INVALID", cause.message, { cause, details: cause.details });
  }
}

/** Where a member is connected to: with TLS only at the own server's port, since no line tells another. */
function clientsOf({ hosts, client }: Member, own: ServerAddress | null): ServerAddress[] {
  if (own?.scheme === "tls") return hosts.map((host) => ({ ...own, host }));
  const port = client?.port ?? own?.port;
  if (port === undefined) return [];
  return (client?.host == null ? hosts : [client.host]).map((host) => ({ host, port }));
}
