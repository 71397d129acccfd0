import { BackypError, isBackypError } from "@zk-backyp/core";
import { askAdminServer } from "./ensemble/admin-server.ts";
import type { AskOptions } from "./ensemble/ask-options.ts";
import { formatServerAddress, type ServerAddress } from "./ensemble/server-address.ts";
import { askServer } from "./four-letter-word.ts";

/** What every running server says of itself. */
export interface ServingStatus {
  /** Without the build's revision: `3.8.4`. */
  readonly version: string;
  /** `standalone`, `leader`, `follower`, `observer` or `read-only`. */
  readonly role: string;
  /** The last transaction it has applied. */
  readonly zxid: bigint;
  /** Znodes as the server counts them: one more than there are. */
  readonly nodeCount: number;
}

/** What a running server says of itself, as far as it is allowed to. */
export interface ServerStatus extends ServingStatus {
  /** How often its tree differed from the leader's digest, or null where it does not say (`mntr` not allowed, < 3.6). */
  readonly digestMismatches: number | null;
  /** Its `myid`, or null where it does not say (`conf` not allowed). 0 on a standalone server. */
  readonly serverId: number | null;
  /** Whom it takes for the leader, or null where it does not say: only the AdminServer does, from 3.6 on. */
  readonly leaderId: number | null;
  /** On a leader: the voters, besides itself, that are in sync with it. Null where it does not say (`mntr`). */
  readonly syncedFollowers: number | null;
  /** On a leader: all that are connected to it, observers too. Null where it does not say (`mntr`). */
  readonly learners: number | null;
}

/**
 * Asks a server for `srvr` and, where it allows them, `mntr` and `conf`; or its AdminServer for the same.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when it does not answer, or is not serving ({@link isNotServing})
 * @throws BackypError `ERR_CONFIG_INVALID` when a file for TLS cannot be used
 */
export async function askStatus(
  address: ServerAddress,
  options: AskOptions,
  signal: AbortSignal,
): Promise<ServerStatus> {
  // When the first one fails, nothing of the others is left behind.
  const others = new AbortController();
  const asking = AbortSignal.any([signal, others.signal]);
  try {
    const details = isAdminServer(address) ? detailsFromAdminServer : detailsFromWords;
    const [serving, more] = await Promise.all([
      askServing(address, options, asking),
      details(address, options, asking),
    ]);
    return { ...serving, ...more };
  } finally {
    others.abort();
  }
}

/**
 * Asks a server for what is always allowed, and nothing that it may take its time for while it starts: `srvr`, or the
 * AdminServer's `server_stats`.
 *
 * @throws BackypError as {@link askStatus}
 */
export function askServing(address: ServerAddress, options: AskOptions, signal: AbortSignal): Promise<ServingStatus> {
  return isAdminServer(address)
    ? servingFromAdminServer(address, options, signal)
    : servingFromWords(address, options, signal);
}

/** Whether the error says that a server did answer, but has no quorum, or is starting. */
export function isNotServing(error: unknown): boolean {
  return isBackypError(error) && error.details.notServing === true;
}

export function isAdminServer({ scheme }: ServerAddress): boolean {
  return scheme === "http" || scheme === "https";
}

async function servingFromWords(
  address: ServerAddress,
  options: AskOptions,
  signal: AbortSignal,
): Promise<ServingStatus> {
  const srvr = await askServer(address, "srvr", options, signal);
  const field = (name: string): string => new RegExp(`^${name}: *(.*)$`, "m").exec(srvr)?.[1]?.trim() ?? "";
  const zxid = field("Zxid");
  if (!/^0x[0-9a-f]{1,16}$/.test(zxid)) throw notZooKeeper(address, `"srvr"`, "is this its client port?");
  return {
    version: versionNumber(field("Zookeeper version")),
    role: field("Mode"),
    zxid: BigInt(zxid),
    nodeCount: Number(field("Node count")),
  };
}

async function detailsFromWords(address: ServerAddress, options: AskOptions, signal: AbortSignal): Promise<Details> {
  const [mntr, conf] = await Promise.all([
    // Only srvr is allowed by default (3.5.3 and later).
    ifAllowed(askServer(address, "mntr", options, signal)),
    ifAllowed(askServer(address, "conf", options, signal)),
  ]);
  const monitored = (name: string): number | null => count(new RegExp(`^zk_${name}\\s+(\\d+)$`, "m").exec(mntr ?? ""));
  return { serverId: count(/^serverId=(\d+)$/m.exec(conf ?? "")), leaderId: null, ...fromMonitor(monitored) };
}

async function servingFromAdminServer(
  address: ServerAddress,
  options: AskOptions,
  signal: AbortSignal,
): Promise<ServingStatus> {
  const server = await askAdminServer(address, "server_stats", options, signal);
  const stats = server.server_stats as Record<string, unknown> | null | undefined;
  const zxid = stats?.last_processed_zxid;
  const isZxid = typeof zxid === "bigint" || Number.isSafeInteger(zxid);
  if (!isZxid || typeof stats?.server_state !== "string") {
    throw notZooKeeper(address, "server_stats", "is this its AdminServer?");
  }
  return {
    version: versionNumber(String(server.version)),
    role: server.read_only === true ? "read-only" : stats.server_state,
    zxid: BigInt.asUintN(64, BigInt(zxid as bigint | number)),
    nodeCount: Number(server.node_count),
  };
}

async function detailsFromAdminServer(
  address: ServerAddress,
  options: AskOptions,
  signal: AbortSignal,
): Promise<Details> {
  const ask = (command: string): Promise<Readonly<Record<string, unknown>> | null> =>
    ifAllowed(askAdminServer(address, command, options, signal));
  const [monitor, configuration, leader] = await Promise.all([ask("monitor"), ask("configuration"), ask("leader")]);
  return {
    serverId: wholeNumber(configuration?.server_id),
    leaderId: wholeNumber(leader?.leader_id),
    ...fromMonitor((name) => wholeNumber(monitor?.[name])),
  };
}

/** What a server may keep to itself. */
type Details = Omit<ServerStatus, keyof ServingStatus>;

function fromMonitor(
  figure: (name: string) => number | null,
): Pick<ServerStatus, "digestMismatches" | "syncedFollowers" | "learners"> {
  const synced = figure("synced_followers");
  return {
    digestMismatches: figure("digest_mismatches_count"),
    // Followers that have no vote, because they are only about to join, are among them from 3.6 on.
    syncedFollowers: synced === null ? null : synced - (figure("synced_non_voting_followers") ?? 0),
    // Its name up to 3.5.
    learners: figure("learners") ?? figure("followers"),
  };
}

/** Null when the server does not answer that. */
export async function ifAllowed<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (isBackypError(error, "ERR_SOURCE_UNAVAILABLE")) return null;
    throw error;
  }
}

/**
 * The `version-2` folders that a server says it uses (four-letter word `conf`, or the AdminServer's `configuration`).
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function askDirectories(
  address: ServerAddress,
  options: AskOptions,
  signal: AbortSignal,
): Promise<{ dataDir: string | undefined; dataLogDir: string | undefined }> {
  if (isAdminServer(address)) {
    const said = await askAdminServer(address, "configuration", options, signal);
    const path = (value: unknown): string | undefined =>
      typeof value === "string" && value !== "" ? value : undefined;
    return { dataDir: path(said.data_dir), dataLogDir: path(said.data_log_dir) };
  }
  const conf = await askServer(address, "conf", options, signal);
  const field = (name: string): string | undefined => new RegExp(`^${name}=(.+)$`, "m").exec(conf)?.[1]?.trim();
  return { dataDir: field("dataDir"), dataLogDir: field("dataLogDir") };
}

function versionNumber(text: string): string {
  return /^\d[\w.]*/.exec(text)?.[0] ?? "";
}

function count(match: RegExpExecArray | null): number | null {
  return match === null ? null : Number(match[1]);
}

function wholeNumber(value: unknown): number | null {
  return Number.isSafeInteger(value) ? (value as number) : null;
}

function notZooKeeper(address: ServerAddress, what: string, hint: string): BackypError {
  const server = formatServerAddress(address);
  return new BackypError("ERR_SOURCE_UNAVAILABLE", `${server} does not answer ${what} as ZooKeeper does; ${hint}`, {
    details: { server },
  });
}
