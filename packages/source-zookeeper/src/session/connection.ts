import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { abortError, BackypError } from "@zk-backyp/core";
import type { JuteReader, JuteWriter } from "@zk-backyp/zookeeper-files";
import { formatServerAddress, type ServerAddress } from "../ensemble/server-address.ts";
import { connectionProblem, loadTls, type TlsFiles } from "../ensemble/tls-files.ts";
import { FrameReader } from "./frame-reader.ts";
import {
  AUTH_XID,
  type ConnectRequest,
  type ConnectResponse,
  decodeConnect,
  decodeReply,
  EVENT_XID,
  encodeConnect,
  encodeRequest,
  type Reply,
  type RequestName,
} from "./messages.ts";
import { type Moment, msSince, now } from "./moment.ts";
import { zooKeeperError } from "./zookeeper-error.ts";

interface Awaited {
  readonly sentAt: Moment;
  /** @throws Error if the frame is not the answer */
  take(frame: Buffer): void;
  fail(error: BackypError): void;
}

/** One connection to one server. Requests are answered in the order in which they are made. */
export class Connection {
  readonly #socket: Socket;
  readonly #server: string;
  readonly #awaited: Awaited[] = [];
  #xid = 0;
  #lost: BackypError | null = null;
  /** Resolves, with the reason, when the connection is lost or was dropped. */
  readonly lost: Promise<BackypError>;
  #onLost: (reason: BackypError) => void = () => {};

  constructor(socket: Socket, server: string, tls: TlsFiles) {
    this.#socket = socket;
    this.#server = server;
    this.lost = new Promise((resolve) => {
      this.#onLost = resolve;
    });
    const frames = new FrameReader();
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const frame of frames.push(chunk)) this.#receive(frame);
      } catch (error) {
        this.drop(`${(error as Error).message}; is that a ZooKeeper client port?`);
      }
    });
    socket.on("error", (error) => this.drop(connectionProblem(error, tls), error));
    socket.on("close", () => this.drop("it closed the connection"));
    // What waits for an answer keeps the process alive, by its deadline; a connection alone does not.
    socket.unref();
  }

  /** How long the server has owed an answer. */
  get silentMs(): number {
    const [first] = this.#awaited;
    return first === undefined ? 0 : msSince(first.sentAt);
  }

  /** The server's answer to the first packet of a connection. */
  hello(request: ConnectRequest): Promise<ConnectResponse> {
    return this.#send(encodeConnect(request), decodeConnect);
  }

  /** Resolves with the reply, also if it is an error; rejects with `CONNECTION_LOSS`: who knows what the server did. */
  request<T>(
    name: RequestName,
    writeBody: (writer: JuteWriter) => void,
    readBody: (reader: JuteReader) => T,
  ): Promise<Reply<T>> {
    this.#xid = (this.#xid + 1) & 0x7fffffff;
    const xid = name === "auth" ? AUTH_XID : this.#xid;
    return this.#send(encodeRequest(xid, name, writeBody), (frame) => {
      const reply = decodeReply(frame, readBody);
      if (reply.xid !== xid) throw new Error(`it answered request ${reply.xid} instead of ${xid}`);
      return reply;
    });
  }

  /** Ends the connection; what waits for an answer fails. */
  drop(why: string, cause?: unknown): void {
    if (this.#lost !== null) return;
    const server = this.#server;
    this.#lost = zooKeeperError("CONNECTION_LOSS", `no connection to the ZooKeeper server ${server}: ${why}`, {
      cause,
      details: { server },
    });
    this.#socket.destroy();
    for (const { fail } of this.#awaited.splice(0)) fail(this.#lost);
    this.#onLost(this.#lost);
  }

  #send<T>(packet: Buffer, decode: (frame: Buffer) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#lost !== null) {
        reject(this.#lost);
        return;
      }
      this.#awaited.push({ sentAt: now(), take: (frame) => resolve(decode(frame)), fail: reject });
      this.#socket.write(packet);
    });
  }

  #receive(frame: Buffer): void {
    if (frame.byteLength >= 4 && frame.readInt32BE(0) === EVENT_XID) return;
    const [first] = this.#awaited;
    if (first === undefined) throw new Error("it answered what it was not asked");
    // Stays in the list until its answer was understood: else it would wait for ever.
    first.take(frame);
    this.#awaited.shift();
  }
}

/** How to open one. */
export interface ConnectOptions {
  readonly tls: TlsFiles;
  /** How long it may take, including the server's answer to `hello`. */
  readonly limitMs: number;
  readonly signal: AbortSignal;
}

/**
 * Connects, and asks for the session.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` with `CONNECTION_LOSS`, or `ERR_CONFIG_INVALID` for a file of `tls`
 */
export async function openConnection(
  address: ServerAddress,
  hello: ConnectRequest,
  { tls, limitMs, signal }: ConnectOptions,
): Promise<{ connection: Connection; accepted: ConnectResponse }> {
  const { host, port, scheme } = address;
  const server = formatServerAddress(address);
  if (scheme !== undefined && scheme !== "tls") {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `${server} is no client port: sessions need host:port or tls://host:port`,
    );
  }
  const secure = scheme === "tls" ? await loadTls(tls, address) : null;
  if (signal.aborted) throw abortError(signal);
  const socket = secure === null ? connectPlain({ host, port }) : connectTls({ host, port, ...secure });
  socket.setNoDelay(true);
  const connection = new Connection(socket, server, tls);
  const onAbort = (): void => connection.drop("it is not needed any more");
  signal.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => connection.drop(`no answer within ${limitMs / 1000} s`), limitMs);
  timer.unref();
  try {
    await new Promise<void>((resolve, reject) => {
      // Not sooner: the session's password is for a server whose certificate was checked.
      socket.once(secure === null ? "connect" : "secureConnect", resolve);
      void connection.lost.then(reject);
    });
    return { connection, accepted: await connection.hello(hello) };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}
