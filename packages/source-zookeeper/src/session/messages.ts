import { type Acl, JuteReader, JuteWriter } from "@zk-backyp/zookeeper-files";

/** What a client sends first, to begin a session or to go on with one. */
export interface ConnectRequest {
  /** The last zxid that it was told. A server that is behind that closes the connection. */
  readonly lastZxid: bigint;
  readonly timeoutMs: number;
  /** 0 for a new session. */
  readonly sessionId: bigint;
  readonly password: Buffer;
}

/** The answer to it. All is 0 if the session is no more. */
export interface ConnectResponse {
  /** What the server has made of the timeout: by default it is 2 to 20 of its ticks. */
  readonly timeoutMs: number;
  readonly sessionId: bigint;
  readonly password: Buffer;
}

/** The answer to a request. */
export interface Reply<T> {
  readonly xid: number;
  /** Of a write, its own; of a read, the server's last one. */
  readonly zxid: bigint;
  /** What was asked for, unless there is an error. */
  readonly result: { readonly value: T } | { readonly error: number };
}

/** What these requests are called on the wire. */
const REQUEST = {
  create: 1,
  delete: 2,
  exists: 3,
  getData: 4,
  setData: 5,
  getChildren: 8,
  sync: 9,
  auth: 100,
  close: -11,
} as const;
export type RequestName = keyof typeof REQUEST;

/** The xid of an `auth` request and its reply. */
export const AUTH_XID = -4;
/** The xid of a watch's event, which answers no request. */
export const EVENT_XID = -1;

/** How a znode is created: an ephemeral one goes with the session, a sequential one gets a number behind its name. */
export type CreateMode = "persistent" | "ephemeral" | "ephemeral-sequential";
const CREATE_FLAGS: Readonly<Record<CreateMode, number>> = { persistent: 0, ephemeral: 1, "ephemeral-sequential": 3 };

/** What is told of a znode. */
export interface Stat {
  readonly czxid: bigint;
  readonly version: number;
  /** The session that an ephemeral znode lives with; 0 for others. */
  readonly ephemeralOwner: bigint;
}

export function encodeConnect({ lastZxid, timeoutMs, sessionId, password }: ConnectRequest): Buffer {
  const writer = new JuteWriter();
  writer.int(0, "the protocol's version");
  writer.long(lastZxid, "the last zxid");
  writer.int(timeoutMs, "the session's timeout");
  writer.long(sessionId, "the session's id");
  writer.buffer(password, "the session's password");
  writer.boolean(false); // No read-only server: its ephemeral znodes would be nobody else's.
  return framed(writer);
}

export function decodeConnect(frame: Buffer): ConnectResponse {
  const reader = readerOf(frame);
  reader.int();
  const timeoutMs = reader.int();
  return { timeoutMs, sessionId: reader.long(), password: Buffer.from(reader.buffer() ?? []) };
}

export function encodeRequest(xid: number, name: RequestName, body: (writer: JuteWriter) => void): Buffer {
  const writer = new JuteWriter();
  writer.int(xid, "the request's number");
  writer.int(REQUEST[name], "the request's type");
  body(writer);
  return framed(writer);
}

export function decodeReply<T>(frame: Buffer, readBody: (reader: JuteReader) => T): Reply<T> {
  const reader = readerOf(frame);
  const xid = reader.int();
  const zxid = reader.long();
  const error = reader.int();
  return { xid, zxid, result: error === 0 ? { value: readBody(reader) } : { error } };
}

export function encodeCreate(writer: JuteWriter, path: string, data: Buffer, acl: Acl, mode: CreateMode): void {
  writer.text(path, "the path");
  writer.buffer(data, "the data");
  writer.list(acl, ({ permissions, scheme, id }) => {
    writer.int(permissions, "the permissions of an ACL");
    writer.text(scheme, "the scheme of an ACL");
    writer.text(id, "the id of an ACL");
  });
  writer.int(CREATE_FLAGS[mode], "the flags");
}

export function encodeRead(writer: JuteWriter, path: string): void {
  writer.text(path, "the path");
  writer.boolean(false); // No watch.
}

export function encodeSetData(writer: JuteWriter, path: string, data: Buffer, version: number): void {
  writer.text(path, "the path");
  writer.buffer(data, "the data");
  writer.int(version, "the version");
}

export function encodeDelete(writer: JuteWriter, path: string, version: number): void {
  writer.text(path, "the path");
  writer.int(version, "the version");
}

export function encodeAuth(writer: JuteWriter, scheme: string, credential: string): void {
  writer.int(0, "the type");
  writer.text(scheme, "the scheme");
  writer.buffer(Buffer.from(credential), "the credential");
}

export function decodeStat(reader: JuteReader): Stat {
  const czxid = reader.long();
  for (let i = 0; i < 3; i++) reader.long(); // mzxid, ctime, mtime
  const version = reader.int();
  for (let i = 0; i < 2; i++) reader.int(); // cversion, aversion
  return { czxid, version, ephemeralOwner: reader.long() };
}

function framed(writer: JuteWriter): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(writer.length);
  return Buffer.concat([size, writer.take()]);
}

function readerOf(frame: Buffer): JuteReader {
  return new JuteReader(
    frame,
    0,
    frame.byteLength,
    (what, at) => new Error(`its answer is unreadable: ${what} (byte ${at})`),
  );
}
