import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Who may do what with a znode, as ZooKeeper's protocol has it: permission bits are READ 1 to ADMIN 16. */
export interface AclEntry {
  readonly permissions: number;
  readonly scheme: string;
  readonly id: string;
}

/** A write request. Its `type` tells how it is sent; what a transaction log will call it is not the same. */
export type Write =
  | {
      readonly type: "create";
      readonly path: string;
      readonly data: Buffer | null;
      readonly kind?: "persistent" | "ephemeral" | "container" | "ttl";
      readonly sequential?: boolean;
      /** Only with the kind `ttl`. */
      readonly ttlMs?: number;
      /** Open to everybody if not given. */
      readonly acl?: readonly AclEntry[];
      /** Sent as `create2`, which later releases write to the log as a type of its own. */
      readonly answersStat?: boolean;
    }
  | { readonly type: "setData"; readonly path: string; readonly data: Buffer | null; readonly version?: number }
  | { readonly type: "setAcl"; readonly path: string; readonly acl: readonly AclEntry[]; readonly version?: number }
  | { readonly type: "delete"; readonly path: string; readonly version?: number }
  | { readonly type: "check"; readonly path: string; readonly version: number };

/** What a server answered to a write. A refused one has a zxid as well. */
interface Answer {
  readonly zxid: bigint;
  /** 0, or ZooKeeper's negative code. */
  readonly error: number;
  /** Of a multi, each part's created path; of a create, its own. Null for what creates nothing. */
  readonly paths: ReadonlyArray<string | null>;
}

/** A znode as a client sees it. */
export interface ClientNode {
  readonly data: Buffer | null;
  readonly acl: readonly AclEntry[];
  readonly czxid: bigint;
  readonly mzxid: bigint;
  readonly pzxid: bigint;
  readonly ctimeMs: number;
  readonly mtimeMs: number;
  readonly version: number;
  /** Twice the creations below it, less its children. */
  readonly cversion: number;
  readonly aversion: number;
  /** 0 for container and TTL znodes, too. */
  readonly ephemeralOwner: bigint;
}

/**
 * A session over ZooKeeper's protocol, with what the usual client library cannot do: containers, TTL, ACLs, every kind
 * of multi. Requests are pipelined. A lost connection ends it.
 */
export interface WireClient {
  readonly sessionId: bigint;
  write(operation: Write): Promise<Answer>;
  multi(operations: readonly Write[]): Promise<Answer>;
  /** Adds the identity `digest:<user>` to the session. */
  authenticate(user: string, password: string): Promise<void>;
  /** Every znode below `root` and itself. */
  readTree(root?: string): Promise<Map<string, ClientNode>>;
  /** Ends the session. @returns the zxid of its end */
  close(): Promise<bigint>;
  /** Drops the connection without a word: the session lives until it times out. */
  abandon(): void;
}

export const OPEN_ACL: readonly AclEntry[] = [{ permissions: 31, scheme: "world", id: "anyone" }];

const OPERATION = { delete: 2, setData: 5, setAcl: 7, check: 13 } as const;
const PING = { xid: -2, code: 11 };
const AUTH = { xid: -4, code: 100 };
const NO_NODE = -101;
const CLOSE = -11;
const MULTI = 14;

interface Reply {
  readonly zxid: bigint;
  readonly error: number;
  readonly body: Reader;
}

/** A member of an ensemble closes connections while it looks for a leader. */
const CONNECT_TIMEOUT_MS = 30_000;

/** Opens a session; tries again as long as the server takes none. */
export async function connectWire(port: number, sessionTimeoutMs = 20_000): Promise<WireClient> {
  const deadline = performance.now() + CONNECT_TIMEOUT_MS;
  while (true) {
    try {
      return await openSession(port, sessionTimeoutMs);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await sleep(100);
    }
  }
}

async function openSession(port: number, sessionTimeoutMs: number): Promise<WireClient> {
  const socket = connect(port, "127.0.0.1");
  socket.setNoDelay(true);
  const packets = readPackets(socket);
  socket.write(packet([int(0), long(0n), int(sessionTimeoutMs), long(0n), buffer(Buffer.alloc(16)), Buffer.from([0])]));
  const hello = await packets.next();
  hello.int();
  const timeoutMs = hello.int();
  const sessionId = hello.long();

  let xid = 0;
  let lost: Error | undefined;
  const waiting = new Map<number, { resolve: (reply: Reply) => void; reject: (error: Error) => void }>();
  const read = async (): Promise<void> => {
    while (true) {
      const body = await packets.next();
      const id = body.int();
      const reply = { zxid: body.long(), error: body.int(), body };
      waiting.get(id)?.resolve(reply);
      waiting.delete(id);
    }
  };
  read().catch((error: Error) => {
    lost = error;
    clearInterval(pings);
    for (const { reject } of waiting.values()) reject(error);
  });
  const send = (id: number, code: number, body: readonly Uint8Array[]): Promise<Reply> =>
    new Promise((resolve, reject) => {
      if (lost !== undefined) {
        reject(lost);
        return;
      }
      waiting.set(id, { resolve, reject });
      socket.write(packet([int(id), int(code), ...body]));
    });
  const request = (code: number, body: readonly Uint8Array[]): Promise<Reply> => {
    xid += 1;
    return send(xid, code, body);
  };
  const pings = setInterval(() => socket.write(packet([int(PING.xid), int(PING.code)])), timeoutMs / 3).unref();

  const self: WireClient = {
    sessionId,
    async write(operation) {
      const { zxid, error, body } = await request(codeOf(operation), bodyOf(operation));
      return { zxid, error, paths: [error === 0 && operation.type === "create" ? body.string() : null] };
    },
    async multi(operations) {
      const parts = operations.flatMap((part) => [int(codeOf(part)), Buffer.from([0]), int(-1), ...bodyOf(part)]);
      const { zxid, error, body } = await request(MULTI, [...parts, int(-1), Buffer.from([1]), int(-1)]);
      if (error !== 0) return { zxid, error, paths: [] };
      const results = operations.map((part) => multiResult(body, part));
      return {
        zxid,
        error: results.find((result) => result.error !== 0)?.error ?? 0,
        paths: results.map(({ path }) => path),
      };
    },
    async authenticate(user, password) {
      const { error } = await send(AUTH.xid, AUTH.code, [
        int(0),
        string("digest"),
        buffer(Buffer.from(`${user}:${password}`)),
      ]);
      if (error !== 0) throw new Error(`authentication was refused: ${error}`);
    },
    async readTree(root = "/") {
      const found = new Map<string, ClientNode>();
      for (let level = [root]; level.length > 0; ) {
        const children = await Promise.all(level.map((path) => readNode(request, path, found)));
        level = children.flat();
      }
      return found;
    },
    async close() {
      const { zxid } = await request(CLOSE, []);
      self.abandon();
      return zxid;
    },
    abandon() {
      clearInterval(pings);
      socket.destroy();
    },
  };
  return self;
}

type Request = (code: number, body: readonly Uint8Array[]) => Promise<Reply>;

async function readNode(request: Request, path: string, found: Map<string, ClientNode>): Promise<string[]> {
  const [data, acl, children] = await Promise.all([
    request(4, [string(path), Buffer.from([0])]),
    request(6, [string(path)]),
    request(12, [string(path), Buffer.from([0])]),
  ]);
  // Gone meanwhile.
  if ([data, acl, children].some(({ error }) => error === NO_NODE)) return [];
  for (const { error } of [data, acl, children]) {
    if (error !== 0) throw new Error(`cannot read ${path}: error ${error}`);
  }
  const bytes = data.body.buffer();
  found.set(path, { data: bytes, acl: acl.body.vector(aclEntry), ...stat(data.body) });
  return children.body.vector((reader) => `${path === "/" ? "" : path}/${reader.string()}`);
}

function stat(reader: Reader): Omit<ClientNode, "data" | "acl"> {
  const [czxid, mzxid, ctime, mtime] = [reader.long(), reader.long(), reader.long(), reader.long()];
  const [version, cversion, aversion] = [reader.int(), reader.int(), reader.int()];
  const ephemeralOwner = reader.long();
  reader.int();
  reader.int();
  const pzxid = reader.long();
  const times = { ctimeMs: Number(ctime), mtimeMs: Number(mtime) };
  return { czxid, mzxid, pzxid, ...times, version, cversion, aversion, ephemeralOwner };
}

function multiResult(body: Reader, part: Write): { error: number; path: string | null } {
  const type = body.int();
  body.byte();
  body.int();
  if (type === -1) return { error: body.int(), path: null };
  if (part.type === "create") {
    const path = body.string();
    // create2, createContainer, createTTL
    if (type !== 1) stat(body);
    return { error: 0, path };
  }
  if (part.type === "setData") stat(body);
  return { error: 0, path: null };
}

function codeOf(operation: Write): number {
  if (operation.type !== "create") return OPERATION[operation.type];
  if (operation.kind === "container") return 19;
  if (operation.kind === "ttl") return 21;
  return operation.answersStat ? 15 : 1;
}

function bodyOf(operation: Write): Uint8Array[] {
  switch (operation.type) {
    case "create": {
      const { path, data, acl = OPEN_ACL, kind = "persistent", sequential = false, ttlMs = 0 } = operation;
      const flags = { persistent: 0, ephemeral: 1, container: 4, ttl: 5 }[kind];
      const sequence = sequential ? (kind === "ttl" ? 1 : 2) : 0;
      const fields = [string(path), buffer(data), vector(acl, aclBytes), int(flags + sequence)];
      return kind === "ttl" ? [...fields, long(BigInt(ttlMs))] : fields;
    }
    case "setData":
      return [string(operation.path), buffer(operation.data), int(operation.version ?? -1)];
    case "setAcl":
      return [string(operation.path), vector(operation.acl, aclBytes), int(operation.version ?? -1)];
    case "delete":
      return [string(operation.path), int(operation.version ?? -1)];
    case "check":
      return [string(operation.path), int(operation.version)];
  }
}

function aclBytes({ permissions, scheme, id }: AclEntry): Uint8Array {
  return Buffer.concat([int(permissions), string(scheme), string(id)]);
}

function aclEntry(reader: Reader): AclEntry {
  return { permissions: reader.int(), scheme: reader.string(), id: reader.string() };
}

function int(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function long(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

function buffer(value: Uint8Array | null): Uint8Array {
  return value === null ? int(-1) : Buffer.concat([int(value.byteLength), value]);
}

function string(value: string): Uint8Array {
  return buffer(Buffer.from(value));
}

function vector<T>(values: readonly T[], write: (value: T) => Uint8Array): Uint8Array {
  return Buffer.concat([int(values.length), ...values.map(write)]);
}

function packet(parts: readonly Uint8Array[]): Uint8Array {
  return buffer(Buffer.concat(parts));
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  byte(): number {
    this.#at += 1;
    return this.#bytes.readUInt8(this.#at - 1);
  }

  int(): number {
    this.#at += 4;
    return this.#bytes.readInt32BE(this.#at - 4);
  }

  long(): bigint {
    this.#at += 8;
    return this.#bytes.readBigInt64BE(this.#at - 8);
  }

  buffer(): Buffer | null {
    const length = this.int();
    if (length < 0) return null;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  string(): string {
    return this.buffer()?.toString() ?? "";
  }

  vector<T>(read: (reader: Reader) => T): T[] {
    return Array.from({ length: this.int() }, () => read(this));
  }
}

/** The packets of a connection, one by one; the next rejects once the connection is gone. */
function readPackets(socket: Socket): { next(): Promise<Reader> } {
  const packets = (async function* () {
    let bytes: Buffer = Buffer.alloc(0);
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      bytes = Buffer.concat([bytes, chunk]);
      for (; bytes.byteLength >= 4; ) {
        const end = 4 + bytes.readInt32BE(0);
        if (bytes.byteLength < end) break;
        yield new Reader(bytes.subarray(4, end));
        bytes = bytes.subarray(end);
      }
    }
  })();
  return {
    async next() {
      const { done, value } = await packets.next();
      if (done) throw new Error("the server closed the connection");
      return value;
    },
  };
}
