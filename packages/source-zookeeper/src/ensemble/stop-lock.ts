import { dirname } from "node:path/posix";
import { setTimeout as sleep } from "node:timers/promises";
import { abortError, BackypError } from "@zk-backyp/core";
import { OPEN_ACL } from "@zk-backyp/zookeeper-files";
import { CREATOR_ACL } from "../session/creator-acl.ts";
import { msSince, now } from "../session/moment.ts";
import { openSession, type Session, type SessionAuth } from "../session/session.ts";
import { zooKeeperErrorOf } from "../session/zookeeper-error.ts";
import type { ServerAddress } from "./server-address.ts";
import type { TlsFiles } from "./tls-files.ts";

/** How to take the stop lock. */
export interface StopLockOptions {
  /** Members other than the node that is to be stopped: their client ports, plain or `tls`. */
  readonly servers: readonly ServerAddress[];
  /** For addresses with TLS. */
  readonly tls?: TlsFiles | undefined;
  /** The znode that is the lock; its parent has to exist. `/zk-backyp-stop` if not given. The same for all daemons. */
  readonly path?: string | undefined;
  /** Who creates the znode, where not everybody may. */
  readonly auth?: SessionAuth | undefined;
  /** What others are told of the holder: host, node, ... Everybody can read it. Its pid and the time are added. */
  readonly label: Readonly<Record<string, string>>;
  /** How long to wait for a holder to be done. 0 if not given. */
  readonly waitMs?: number | undefined;
  /** Ends the taking. A lock that was taken is held until it is released. */
  readonly signal: AbortSignal;
}

/** The right to stop a node of the ensemble, which only one process at a time has. */
export interface StopLock {
  /**
   * Whether it is held without doubt. To be asked right before the node is stopped: a process that was paused meanwhile
   * sees false. False is no news: {@link StopLock.confirm} may still prove it.
   */
  isHeld(): boolean;
  /**
   * Proves that it is held, by a write that a majority of the ensemble has agreed on. Takes it again if somebody has deleted
   * the znode and nobody else holds it.
   *
   * @throws BackypError `ERR_BUSY` if another process holds it now, `ERR_STOP_REFUSED` if there is no proof, `ERR_ABORTED`
   */
  confirm(signal: AbortSignal): Promise<void>;
  /** Never rejects and takes at most 5 s. If no server can be reached it ends with the session's timeout, at most 40 s. */
  release(): Promise<void>;
}

const STOP_LOCK_PATH = "/zk-backyp-stop";
/** How often a lock that others hold is looked at. */
const POLL_MS = 500;
const LABEL_CHARS = 300;

/**
 * Takes the ensemble's stop lock: an ephemeral znode, which goes with the session that this process holds through
 * members that it does not stop. Nothing stays in the tree.
 *
 * @throws BackypError `ERR_BUSY` if another process holds it, with what that says of itself in `details.holder`;
 * `ERR_STOP_REFUSED` if no other member can be reached or the znode may not be created; `ERR_CONFIG_INVALID`; `ERR_ABORTED`
 */
export async function takeStopLock(options: StopLockOptions): Promise<StopLock> {
  const { servers, tls, auth, waitMs = 0, signal } = options;
  const path = options.path ?? STOP_LOCK_PATH;
  const session = await openSession({ servers, tls, auth, signal }).catch((error: unknown) => {
    throw refused(path, error);
  });
  let held = false;
  const take = async (limitMs: number, abort: AbortSignal): Promise<void> => {
    held = false;
    held = await acquire(session, path, options, limitMs, abort).catch((error: unknown) => {
      throw refused(path, error);
    });
  };
  const release = (): Promise<void> => {
    held = false;
    return session.close();
  };
  try {
    await take(waitMs, signal);
  } catch (error) {
    const released = release();
    if (!signal.aborted) await released;
    throw error;
  }
  return { isHeld: () => held && session.isSurelyAlive(), confirm: (abort) => take(0, abort), release };
}

/** Resolves when the znode is this session's. Else rejects with `ERR_BUSY`, or with what ZooKeeper says. */
async function acquire(
  session: Session,
  path: string,
  { label, auth }: StopLockOptions,
  waitMs: number,
  signal: AbortSignal,
): Promise<true> {
  const since = now();
  const data = Buffer.from(JSON.stringify({ ...label, pid: process.pid, since: new Date().toISOString() }));
  const acl = auth === undefined ? OPEN_ACL : CREATOR_ACL;
  for (;;) {
    try {
      await session.create(path, data, { acl, mode: "ephemeral" }, signal);
      return true;
    } catch (error) {
      const name = zooKeeperErrorOf(error);
      // A create without an answer may have been done: the next one tells. It also goes through the leader, as a write that
      // the quorum agrees on: what this finds is no server's old view.
      if (name === "CONNECTION_LOSS" && msSince(since) < waitMs + session.timeoutMs) continue;
      if (name !== "NODE_EXISTS") throw error;
    }
    const holder = await readHolder(session, path, signal);
    if (holder === null) continue;
    if (holder.owner === session.id) return true;
    if (holder.owner === 0n) throw noLock(path);
    const leftMs = waitMs - msSince(since);
    if (leftMs <= 0) throw busy(path, holder.label);
    await sleep(Math.min(POLL_MS, leftMs), undefined, { signal }).catch(() => {
      throw abortError(signal);
    });
  }
}

interface Holder {
  /** The holder's session. 0 for a znode that is not ephemeral. */
  readonly owner: bigint;
  readonly label: unknown;
}

/** Null if it has gone meanwhile, or the connection has. */
async function readHolder(session: Session, path: string, signal: AbortSignal): Promise<Holder | null> {
  try {
    const { data, stat } = await session.getData(path, signal);
    return { owner: stat.ephemeralOwner, label: parseLabel(data) };
  } catch (error) {
    const name = zooKeeperErrorOf(error);
    if (name === "NO_NODE" || name === "CONNECTION_LOSS") return null;
    // Somebody else's, since one's own can be read.
    if (name === "NO_AUTH") return { owner: -1n, label: null };
    throw error;
  }
}

function parseLabel(data: Buffer): unknown {
  try {
    return JSON.parse(data.subarray(0, 4096).toString("utf8"));
  } catch {
    return null;
  }
}

function busy(path: string, holder: unknown): BackypError {
  const who = holder === null ? "somebody who does not say who" : JSON.stringify(holder).slice(0, LABEL_CHARS);
  return new BackypError(
    "ERR_BUSY",
    `another node of this ensemble is being stopped for a backup: ${path} is held by ${who}`,
    {
      details: { path, holder },
    },
  );
}

function noLock(path: string): BackypError {
  const message = `${path} is a znode that stays, so it is nobody's stop lock: delete it, or name another in lock.path`;
  return new BackypError("ERR_STOP_REFUSED", message, { details: { path } });
}

/** Says of ZooKeeper's errors what they mean here, and what to do. */
function refused(path: string, error: unknown): unknown {
  const name = zooKeeperErrorOf(error);
  if (name === undefined) return error;
  const message = `the node is not stopped, because the ensemble's stop lock ${path} cannot be had: ${(error as Error).message}. ${remedy(path, name)}`;
  return new BackypError("ERR_STOP_REFUSED", message, { cause: error, details: { path, zooKeeperError: name } });
}

const UNLESS_ALONE = "or set lock: false if only one member ever runs cold backups";

function remedy(path: string, name: string): string {
  switch (name) {
    case "NO_AUTH":
      return `Grant create on ${dirname(path)}, set lock.auth to somebody who has that, name in lock.path a znode below one that may be written, ${UNLESS_ALONE}`;
    case "NO_NODE":
      return `Create ${dirname(path)}, or name another lock.path`;
    case "BAD_ARGUMENTS":
    case "NO_CHILDREN_FOR_EPHEMERALS":
      return "Name another lock.path";
    case "AUTH_FAILED":
    case "INVALID_ACL":
    case "SESSION_CLOSED_REQUIRE_SASL_AUTH":
      return `Set lock.auth to what the ensemble accepts, ${UNLESS_ALONE}`;
    case "CONNECTION_LOSS":
      return `It is held through the other members: make a client port of them reachable from here, ${UNLESS_ALONE}`;
    default:
      return `Try again, ${UNLESS_ALONE}`;
  }
}
