import { setTimeout as sleep } from "node:timers/promises";
import { abortError, type BackypError, isBackypError, unlessAborted } from "@zk-backyp/core";
import type { Acl, JuteReader, JuteWriter } from "@zk-backyp/zookeeper-files";
import { formatServerAddress, type ServerAddress } from "../ensemble/server-address.ts";
import type { TlsFiles } from "../ensemble/tls-files.ts";
import { type Connection, openConnection } from "./connection.ts";
import {
  type ConnectRequest,
  type ConnectResponse,
  type CreateMode,
  decodeStat,
  encodeAuth,
  encodeCreate,
  encodeDelete,
  encodeRead,
  encodeSetData,
  type Reply,
  type RequestName,
  type Stat,
} from "./messages.ts";
import { type Moment, msSince, now } from "./moment.ts";
import { errorName, zooKeeperError, zooKeeperErrorOf } from "./zookeeper-error.ts";

/** Who the session is, for ACLs. */
export interface SessionAuth {
  readonly scheme: "digest";
  /** `user:password`. */
  readonly credential: string;
}

/** How to open a session. */
export interface SessionOptions {
  /** Members of one ensemble: client ports, plain or `tls`. One after the other is tried. */
  readonly servers: readonly ServerAddress[];
  /** For addresses with TLS. */
  readonly tls?: TlsFiles | undefined;
  readonly auth?: SessionAuth | undefined;
  /** Asked of the server, which by default makes it 2 to 20 of its ticks. 30 s if not given. */
  readonly timeoutMs?: number | undefined;
  /** How long opening may take: an ensemble may just be looking for a leader. 10 s if not given. */
  readonly openMs?: number | undefined;
  /** Ends the opening; an open session lives on until {@link Session.close}. */
  readonly signal: AbortSignal;
}

/**
 * A ZooKeeper session: what is created in it goes when it ends, and it ends by itself some time after its process does.
 * A lost connection is replaced by one to the next server. A request without an answer rejects with
 * `ERR_SOURCE_UNAVAILABLE` and ZooKeeper's name of the error in `details.zooKeeperError`: `CONNECTION_LOSS` if it was
 * under way when the connection was lost, so that nobody knows whether it was done, `OPERATION_TIMEOUT` after
 * `timeoutMs`, `SESSION_EXPIRED`, or what the server says: `NO_NODE`, `NODE_EXISTS`, `NO_AUTH`, ... A session does not keep
 * its process alive; a request does.
 */
export interface Session {
  readonly id: bigint;
  /** What the server has agreed to. */
  readonly timeoutMs: number;
  /** The server that it is connected to at the moment. */
  readonly server: ServerAddress | null;
  /** What the servers said when the connection to each was last lost or not had; empty if that has never been. */
  readonly failures: readonly string[];
  /**
   * Whether the session is alive without doubt. It is asked for with `sync`, which a server passes on to its leader, and
   * not with `ping`, which a server that has lost its leader goes on answering for a while. An answer counts from when it
   * was asked for, for two thirds of the timeout; the last third is for what a leader learns of late. False is no news:
   * the session may still come back.
   */
  isSurelyAlive(): boolean;
  /** Resolves once, when the session is over for good. */
  readonly ended: Promise<"closed" | "expired">;
  /** @returns the path, which differs from the one asked for if the znode is sequential */
  create(path: string, data: Buffer, options: { acl: Acl; mode: CreateMode }, signal: AbortSignal): Promise<string>;
  getData(path: string, signal: AbortSignal): Promise<{ data: Buffer; stat: Stat }>;
  /** Only at that version, unless it is -1. */
  setData(path: string, data: Buffer, version: number, signal: AbortSignal): Promise<Stat>;
  /** The names of the znodes below, in no order. */
  getChildren(path: string, signal: AbortSignal): Promise<string[]>;
  /** Null if there is no such znode. */
  exists(path: string, signal: AbortSignal): Promise<Stat | null>;
  /** Only at that version, unless it is -1. */
  delete(path: string, version: number, signal: AbortSignal): Promise<void>;
  /** Ends the session, with its ephemeral znodes. Never rejects and takes at most 5 s; what is cut off then expires. */
  close(): Promise<void>;
}

/** A leader may be stopped and another elected well within. */
const TIMEOUT_MS = 30_000;
const OPEN_MS = 10_000;
const CLOSE_MS = 5_000;
/** Between two rounds through the servers. */
const RETRY_MS = 200;
/** A server gets a sixth of the timeout to accept a connection, but never less. */
const MIN_CONNECT_MS = 1_000;
/** How often in a timeout the leader is asked whether the session is alive. */
const TICKS = 10;
/** What no server answers by itself. */
const ASKS_THE_LEADER: ReadonlySet<RequestName> = new Set(["create", "delete", "setData", "sync"]);

/**
 * Opens a session.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`, with what each of the servers said; `ERR_CONFIG_INVALID` for an address
 * or a file of `tls` that cannot be used; `ERR_ABORTED`
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  if (options.servers.length === 0) throw zooKeeperError("CONNECTION_LOSS", "no ZooKeeper server is named");
  const session = new LiveSession(options);
  await session.open(options.openMs ?? OPEN_MS, options.signal);
  return session;
}

class LiveSession implements Session {
  readonly #options: SessionOptions;
  readonly #failures: Map<string, string> = new Map();
  readonly #over: AbortController = new AbortController();
  readonly ended: Promise<"closed" | "expired">;
  #hello: ConnectRequest;
  #connection: Connection | null = null;
  #onConnected: (connection: Connection) => void = nothing;
  #connected: Promise<Connection> = this.#nextConnection();
  #heardAt: Moment | null = null;
  #ticks: NodeJS.Timeout | undefined;
  server: ServerAddress | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#hello = { lastZxid: 0n, timeoutMs, sessionId: 0n, password: Buffer.alloc(16) };
    this.ended = new Promise((resolve) => {
      const { signal } = this.#over;
      signal.addEventListener("abort", () =>
        resolve(zooKeeperErrorOf(signal.reason) === "SESSION_EXPIRED" ? "expired" : "closed"),
      );
    });
  }

  get id(): bigint {
    return this.#hello.sessionId;
  }

  get timeoutMs(): number {
    return this.#hello.timeoutMs;
  }

  get failures(): readonly string[] {
    return [...this.#failures.values()];
  }

  isSurelyAlive(): boolean {
    if (this.#over.signal.aborted || this.#heardAt === null) return false;
    return msSince(this.#heardAt) < (this.timeoutMs * 2) / 3;
  }

  async open(limitMs: number, signal: AbortSignal): Promise<void> {
    const late = new AbortController();
    const noSession = (): void => {
      const said = this.failures.join("; ") || "no server has answered yet";
      late.abort(zooKeeperError("CONNECTION_LOSS", `no ZooKeeper session within ${limitMs / 1000} s: ${said}`));
    };
    const timer = setTimeout(noSession, limitMs);
    const cut = AbortSignal.any([signal, this.#over.signal, late.signal]);
    try {
      void this.#stayConnected();
      await unlessAborted(this.#connected, cut);
    } catch (error) {
      this.#end(abortError(cut));
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  create(path: string, data: Buffer, options: { acl: Acl; mode: CreateMode }, signal: AbortSignal): Promise<string> {
    const write = (writer: JuteWriter): void => encodeCreate(writer, path, data, options.acl, options.mode);
    return this.#ask("create", path, signal, write, (reader) => reader.text());
  }

  getData(path: string, signal: AbortSignal): Promise<{ data: Buffer; stat: Stat }> {
    const write = (writer: JuteWriter): void => encodeRead(writer, path);
    const read = (reader: JuteReader) => ({ data: reader.buffer() ?? Buffer.alloc(0), stat: decodeStat(reader) });
    return this.#ask("getData", path, signal, write, read);
  }

  setData(path: string, data: Buffer, version: number, signal: AbortSignal): Promise<Stat> {
    const write = (writer: JuteWriter): void => encodeSetData(writer, path, data, version);
    return this.#ask("setData", path, signal, write, decodeStat);
  }

  getChildren(path: string, signal: AbortSignal): Promise<string[]> {
    const read = (reader: JuteReader): string[] => reader.list(() => reader.text()) ?? [];
    return this.#ask("getChildren", path, signal, (writer) => encodeRead(writer, path), read);
  }

  async exists(path: string, signal: AbortSignal): Promise<Stat | null> {
    try {
      return await this.#ask("exists", path, signal, (writer) => encodeRead(writer, path), decodeStat);
    } catch (error) {
      if (zooKeeperErrorOf(error) === "NO_NODE") return null;
      throw error;
    }
  }

  delete(path: string, version: number, signal: AbortSignal): Promise<void> {
    return this.#ask("delete", path, signal, (writer) => encodeDelete(writer, path, version), nothing);
  }

  async close(): Promise<void> {
    const inTime = AbortSignal.timeout(CLOSE_MS);
    const ask = (): Promise<unknown> => this.#ask("close", "", inTime, nothing, nothing).catch(zooKeeperErrorOf);
    while ((await ask()) === "CONNECTION_LOSS");
    this.#end(zooKeeperError("SESSION_CLOSED", "the ZooKeeper session was closed"));
  }

  /** Makes a request as soon as there is a connection. */
  async #ask<T>(
    name: RequestName,
    path: string,
    signal: AbortSignal,
    write: (writer: JuteWriter) => void,
    read: (reader: JuteReader) => T,
  ): Promise<T> {
    const late = new AbortController();
    const what = `${name} ${path}`.trim();
    const limitMs = this.timeoutMs;
    const noAnswer = (): void =>
      late.abort(zooKeeperError("OPERATION_TIMEOUT", `ZooKeeper has not answered ${what} within ${limitMs / 1000} s`));
    const timer = setTimeout(noAnswer, limitMs);
    const cut = AbortSignal.any([signal, this.#over.signal, late.signal]);
    try {
      const connection = await unlessAborted(this.#connected, cut);
      const { result } = await unlessAborted(this.#send(connection, name, write, read), cut);
      if ("value" in result) return result.value;
      const error = errorName(result.error);
      throw zooKeeperError(error, `ZooKeeper has refused ${what}: ${error}`, { details: { path } });
    } finally {
      clearTimeout(timer);
    }
  }

  async #send<T>(
    connection: Connection,
    name: RequestName,
    write: (writer: JuteWriter) => void,
    read: (reader: JuteReader) => T,
  ): Promise<Reply<T>> {
    const askedAt = now();
    const reply = await connection.request(name, write, read);
    if (reply.zxid > this.#hello.lastZxid) this.#hello = { ...this.#hello, lastZxid: reply.zxid };
    if ("error" in reply.result) {
      if (errorName(reply.result.error) === "SESSION_EXPIRED") this.#expire();
    } else if (ASKS_THE_LEADER.has(name)) {
      this.#heardAt = askedAt;
    }
    return reply;
  }

  /** Goes from server to server until the session is over. */
  async #stayConnected(): Promise<void> {
    const { servers } = this.#options;
    const { signal } = this.#over;
    for (let turn = 0; !signal.aborted; turn++) {
      const address = servers[turn % servers.length] as ServerAddress;
      const lost = await this.#connect(address).catch((error: Error) => error);
      this.#failures.set(formatServerAddress(address), lost.message);
      // Trying again makes no configuration right. Later on, a certificate may just be on its way.
      if (isBackypError(lost, "ERR_CONFIG_INVALID") && this.id === 0n) this.#end(lost);
      if ((turn + 1) % servers.length === 0) await sleep(RETRY_MS, undefined, { ref: false, signal }).catch(nothing);
    }
  }

  /** Connects, and resolves with the reason when the connection is lost. */
  async #connect(address: ServerAddress): Promise<Error> {
    const { tls = {}, auth } = this.#options;
    const { signal } = this.#over;
    const askedAt = now();
    const limitMs = Math.max(MIN_CONNECT_MS, this.timeoutMs / 6);
    const { connection, accepted } = await openConnection(address, this.#hello, { tls, limitMs, signal });
    const onOver = (): void => connection.drop("the session is over");
    signal.addEventListener("abort", onOver, { once: true });
    try {
      this.#accept(accepted, askedAt);
      if (signal.aborted) onOver();
      this.#connection = connection;
      if (auth === undefined || (await authenticate(connection, auth))) {
        this.server = address;
        this.#onConnected(connection);
      } else {
        connection.drop(`it refuses the credential for the scheme ${auth.scheme}`);
      }
      return await connection.lost;
    } finally {
      signal.removeEventListener("abort", onOver);
      // Whoever waits already goes on waiting for the next one.
      if (this.server !== null) this.#connected = this.#nextConnection();
      this.#connection = null;
      this.server = null;
    }
  }

  #accept({ timeoutMs, sessionId, password }: ConnectResponse, askedAt: Moment): void {
    if (timeoutMs <= 0 || sessionId === 0n || (this.id !== 0n && this.id !== sessionId)) {
      this.#expire();
      return;
    }
    this.#hello = { ...this.#hello, timeoutMs, sessionId, password };
    this.#heardAt = askedAt;
    this.#ticks ??= setInterval(() => this.#tick(), timeoutMs / TICKS).unref();
  }

  #tick(): void {
    // No server was asked, but none would tell of a session that is still alive after this.
    if (this.#heardAt !== null && msSince(this.#heardAt) >= this.timeoutMs) this.#expire();
    const connection = this.#connection;
    if (connection === null) return;
    if (connection.silentMs > this.timeoutMs / 3) {
      connection.drop(`no answer for ${Math.round(connection.silentMs / 1000)} s`);
    } else {
      this.#send(connection, "sync", (writer) => writer.text("/", "the path"), nothing).catch(nothing);
    }
  }

  #nextConnection(): Promise<Connection> {
    return new Promise((resolve) => {
      this.#onConnected = resolve;
    });
  }

  #expire(): void {
    this.#end(zooKeeperError("SESSION_EXPIRED", "the ZooKeeper session has expired"));
  }

  #end(reason: BackypError): void {
    clearInterval(this.#ticks);
    this.#over.abort(reason);
  }
}

async function authenticate(connection: Connection, { scheme, credential }: SessionAuth): Promise<boolean> {
  const { result } = await connection.request("auth", (writer) => encodeAuth(writer, scheme, credential), nothing);
  return "value" in result;
}

function nothing(): void {}
