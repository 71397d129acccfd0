import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import { askServer } from "../four-letter-word.ts";
import { ifAllowed, isAdminServer } from "../server-status.ts";
import { parseProperties, type ZooCfg } from "../zoo-cfg.ts";
import { askAdminServer } from "./admin-server.ts";
import type { AskOptions } from "./ask-options.ts";
import type { QuorumRule, WeightedServer } from "./quorum.ts";
import type { ServerAddress } from "./server-address.ts";

/** One of the servers that make up an ensemble, as its configuration has it. */
export interface Member {
  /** Its `myid`. */
  readonly id: number;
  /** Where the other members reach it; more than one from 3.6 on. */
  readonly hosts: readonly string[];
  /** Whether it is a participant: observers have no vote. */
  readonly votes: boolean;
  /** Its plain client port, where the configuration tells. The host is null if it listens on all addresses. */
  readonly client: { readonly host: string | null; readonly port: number } | null;
}

/** Which servers make up an ensemble, and when some of them may decide. */
export interface Membership {
  readonly members: readonly Member[];
  readonly rule: QuorumRule;
}

/**
 * Reads `server.N=host:port:port[:participant|observer][|...][;[host:]clientPort]`, `group.N=1:2:3` and `weight.N=2`, as
 * they are in a `zoo.cfg`, in its dynamic file, and in the answer to `conf`.
 *
 * @returns null when there is no `server.N`: a standalone server
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when a line is none that ZooKeeper would take; `where` names what was read
 */
export function parseMembership(settings: ReadonlyMap<string, string>, where: string): Membership | null {
  const members: Member[] = [];
  const weights = new Map<number, number>();
  const groups: { name: string; ids: number[] }[] = [];
  for (const [key, value] of settings) {
    const [, kind, number] = /^(server|group|weight)\.(\d{1,15})$/.exec(key) ?? [];
    if (number === undefined) continue;
    const malformed = (): BackypError => unreadable(where, `${key}=${value} is not understood`);
    if (kind === "server") members.push(parseMember(Number(number), value) ?? raise(malformed()));
    if (kind === "weight") weights.set(Number(number), /^\d{1,15}$/.test(value) ? Number(value) : raise(malformed()));
    if (kind === "group") {
      if (!/^\d{1,15}(:\d{1,15})*$/.test(value)) throw malformed();
      groups.push({ name: key, ids: value.split(":").map(Number) });
    }
  }
  if (members.length === 0) return null;
  const voters = members.filter(({ votes }) => votes).map(({ id }) => id);
  if (groups.length === 0 && weights.size === 0) return { members, rule: { voters, groups: null } };

  const grouped = groups.flatMap(({ ids }) => ids);
  const twice = grouped.find((id, index) => grouped.indexOf(id) !== index);
  if (twice !== undefined) throw unreadable(where, `server ${twice} is in more than one group`);
  const alone = voters.find((id) => !grouped.includes(id));
  if (alone !== undefined) throw unreadable(where, `server ${alone} is in no group`);
  const weighted = groups.map(({ ids }) =>
    ids.map((id): WeightedServer => ({ id, weight: weights.get(id) ?? (voters.includes(id) ? 1 : 0) })),
  );
  return { members, rule: { voters, groups: weighted } };
}

/** Null when it is malformed. */
function parseMember(id: number, value: string): Member | null {
  const [quorumPart = "", clientPart, ...more] = value.split(";");
  const hosts: string[] = [];
  const roles = new Set<string>();
  for (const address of quorumPart.split("|")) {
    // In 3.4 the second port may be missing.
    const match = /^\s*(\[[0-9a-fA-F:.%\w]+\]|[^\s:[\]]+):\d{1,5}(?::\d{1,5}(?::\s*(\w+))?)?\s*$/.exec(address);
    if (match?.[1] === undefined) return null;
    hosts.push(match[1].replace(/^\[|\]$/g, ""));
    roles.add(match[2]?.toLowerCase() ?? "participant");
  }
  const [role] = roles;
  if (roles.size !== 1 || (role !== "participant" && role !== "observer") || more.length > 0) return null;
  const client = clientPart === undefined || clientPart.trim() === "" ? null : parseClient(clientPart.trim());
  return client === undefined ? null : { id, hosts, votes: role === "participant", client };
}

/** `[host:]port`. Undefined when it is malformed. */
function parseClient(text: string): { host: string | null; port: number } | undefined {
  const match = /^(?:(\[[0-9a-fA-F:.%\w]+\]|[^\s:[\]]+):)?(\d{1,5})$/.exec(text);
  if (match?.[2] === undefined) return undefined;
  const host = match[1]?.replace(/^\[|\]$/g, "");
  return { host: host === undefined || isWildcard(host) ? null : host, port: Number(match[2]) };
}

/** Whether a server that listens there listens on all its addresses. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || /^[0:]+$/.test(host);
}

/**
 * The members that a server's `zoo.cfg` and its dynamic file (3.5 and later) name.
 *
 * @returns null for a standalone server
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when the dynamic file cannot be read
 */
export async function configuredMembership({ path, settings }: ZooCfg): Promise<Membership | null> {
  const dynamic = settings.get("dynamicConfigFile");
  if (dynamic === undefined) return parseMembership(settings, path);
  const dynamicPath = resolve(dirname(path), dynamic);
  try {
    return parseMembership(parseProperties(await readFile(dynamicPath, "utf8")), dynamicPath);
  } catch (cause) {
    const code = systemErrorCode(cause);
    if (cause instanceof BackypError || code === undefined) throw cause;
    throw unreadable(dynamicPath, code === "ENOENT" ? "there is no such file" : (cause as Error).message, cause);
  }
}

/**
 * The members that the server itself knows of: with four-letter words if it allows `conf` (3.5 and later), from the
 * AdminServer from 3.6 on. That one tells only the voters, nothing of observers and groups.
 *
 * @returns null where it does not tell, or is standalone
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when what it tells is not understood
 */
export async function askMembership(
  address: ServerAddress,
  options: AskOptions,
  signal: AbortSignal,
): Promise<Membership | null> {
  if (isAdminServer(address)) {
    const view = await ifAllowed(askAdminServer(address, "voting_view", options, signal));
    return view === null ? null : fromVotingView(view);
  }
  const conf = await ifAllowed(askServer(address, "conf", options, signal));
  const lines = conf?.split(/^membership: *$/m)[1];
  return lines === undefined ? null : parseMembership(parseProperties(lines), "the server's answer to conf");
}

function fromVotingView({ current_config }: Readonly<Record<string, unknown>>): Membership | null {
  const members = Object.entries((current_config ?? {}) as Record<string, Record<string, unknown> | null>).flatMap(
    ([id, server]): Member[] => {
      const addresses = Array.isArray(server?.server_addresses) ? server.server_addresses.map(String) : [];
      const hosts = addresses.map((address) => address.replace(/:\d+$/, "").replace(/^\[|\]$/g, ""));
      const client = typeof server?.client_address === "string" ? parseClient(server.client_address) : undefined;
      return /^\d{1,15}$/.test(id) ? [{ id: Number(id), hosts, votes: true, client: client ?? null }] : [];
    },
  );
  if (members.length === 0) return null;
  return { members, rule: { voters: members.map(({ id }) => id), groups: null } };
}

/** Whether both name the same voters, with the same groups and weights. */
export function isSameRule(one: QuorumRule, other: QuorumRule): boolean {
  return canonical(one) === canonical(other);
}

function canonical({ voters, groups }: QuorumRule): string {
  const sorted = (ids: readonly number[]): number[] => [...ids].sort((a, b) => a - b);
  const weighty = groups
    ?.map((group) => group.filter(({ weight }) => weight > 0).sort((a, b) => a.id - b.id))
    .filter((group) => group.length > 0)
    .sort((a, b) => (a[0]?.id ?? 0) - (b[0]?.id ?? 0));
  return JSON.stringify([sorted(voters), weighty?.map((group) => group.map(({ id, weight }) => [id, weight])) ?? null]);
}

/**
 * The server's own id, from the file `myid`.
 *
 * @returns null when there is none: a standalone server needs none
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when it cannot be read
 */
export async function readMyid(dataDir: string): Promise<number | null> {
  const path = join(dataDir, "myid");
  try {
    const text = (await readFile(path, "utf8")).split("\n")[0]?.trim() ?? "";
    if (!/^\d{1,15}$/.test(text)) throw unreadable(path, "its first line is no number");
    return Number(text);
  } catch (cause) {
    if (systemErrorCode(cause) === "ENOENT") return null;
    if (cause instanceof BackypError) throw cause;
    throw unreadable(path, (cause as Error).message, cause);
  }
}

function unreadable(path: string, why: string, cause?: unknown): BackypError {
  return new BackypError("ERR_SOURCE_UNAVAILABLE", `cannot tell the ensemble's members from ${path}: ${why}`, {
    cause,
    details: { path },
  });
}

function raise(error: Error): never {
  throw error;
}
