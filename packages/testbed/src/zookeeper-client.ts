import { setTimeout as sleep } from "node:timers/promises";
import zookeeper, { type Client, type Stat, type Transaction } from "node-zookeeper-client";

/** What ZooKeeper keeps about a znode, with its 64-bit numbers as bigint. */
export interface ZnodeStat {
  readonly czxid: bigint;
  readonly mzxid: bigint;
  readonly pzxid: bigint;
  /** Milliseconds since 1970. */
  readonly ctime: bigint;
  /** Milliseconds since 1970. */
  readonly mtime: bigint;
  readonly version: number;
  readonly cversion: number;
  readonly aversion: number;
  /** Session id of an ephemeral znode; 0 for a persistent one; special values for container and TTL znodes. */
  readonly ephemeralOwner: bigint;
  readonly dataLength: number;
  readonly numChildren: number;
}

/** A znode as a client sees it. `data` is null when it was created without any, which is not the same as empty. */
export interface Znode extends ZnodeStat {
  readonly data: Buffer | null;
}

/** What kind of znode to create; persistent if nothing is given. */
export interface CreateOptions {
  ephemeral?: boolean;
  sequential?: boolean;
}

/** One step of {@link ZooKeeperClient.multi}. */
export type MultiOperation =
  | ({ type: "create"; path: string; data: Buffer | null } & CreateOptions)
  | { type: "setData"; path: string; data: Buffer }
  | { type: "delete"; path: string }
  | { type: "check"; path: string };

/** A failed request. `code` is ZooKeeper's name of the error: `NO_NODE`, `NODE_EXISTS`, `CONNECTION_LOSS`, ... */
export class ZooKeeperError extends Error {
  readonly code: string;
  /**
   * The zxid in the server's answer: of a write, its own transaction, since a refused write takes part in the history
   * too. Undefined if there was no answer, and then nobody knows whether the write took place.
   */
  readonly zxid: bigint | undefined;

  constructor(code: string, message: string, zxid: bigint | undefined) {
    super(message);
    this.name = "ZooKeeperError";
    this.code = code;
    this.zxid = zxid;
  }
}

/** An answered write: what it returned, and the zxid of its transaction. */
export interface Written<T> {
  readonly value: T;
  readonly zxid: bigint;
}

/**
 * A ZooKeeper session with promises. Requests are pipelined: those made without waiting reach the server in the order
 * of the calls. A refused request rejects with {@link ZooKeeperError}. While the connection is lost, requests wait
 * until there is a new one or the client is closed.
 */
export interface ZooKeeperClient {
  readonly sessionId: bigint;
  /** @returns the path, which differs from the one asked for if the znode is sequential */
  create(path: string, data?: Buffer | null, options?: CreateOptions): Promise<Written<string>>;
  setData(path: string, data: Buffer, version?: number): Promise<Written<ZnodeStat>>;
  delete(path: string, version?: number): Promise<Written<void>>;
  /** All or nothing. @returns the created paths, null for each step that creates nothing */
  multi(operations: readonly MultiOperation[]): Promise<Written<Array<string | null>>>;
  getData(path: string): Promise<Znode>;
  getChildren(path: string): Promise<string[]>;
  exists(path: string): Promise<ZnodeStat | null>;
  /**
   * Every znode under `root` (`/` if not given) and itself, without ZooKeeper's own `/zookeeper`. Not one point in time:
   * znodes that come or go meanwhile are in or out.
   */
  readTree(root?: string): Promise<Map<string, Znode>>;
  /**
   * Ends the session, with its ephemeral znodes. Never rejects and takes at most `timeoutMs` (5 s if not given).
   * @returns the zxid of the session's end, null if the server did not answer
   */
  close(timeoutMs?: number): Promise<bigint | null>;
  /** Drops the connection without a word, as a client that dies: the session lives until it times out. */
  abandon(): void;
}

/** How to connect. */
export interface ConnectOptions {
  /** 15 s if not given. */
  timeoutMs?: number;
  /** Asked of the server, which keeps it between 2 and 20 of its ticks. 30 s if not given. */
  sessionTimeoutMs?: number;
  /** Whether to connect again, with the same session, when the connection is lost; if not, the client is abandoned. */
  reconnect?: boolean;
}

// What the library keeps to itself. Its public calls hide the zxid of an answer, and it reconnects for ever.
interface Internals {
  connectionManager: {
    queue(request: unknown, callback?: Callback): void;
    connect(): void;
    socket?: { destroy(): void };
  };
}
type Callback = (error: unknown, response?: { header: { zxid: Buffer } }) => void;

// Enough to keep the server busy, and far from its limit of outstanding requests (1000).
const READS_IN_FLIGHT = 100;

/** Opens a session; rejects if none is there after `timeoutMs`. The caller closes it. */
export async function connectZooKeeper(connectString: string, options: ConnectOptions = {}): Promise<ZooKeeperClient> {
  const { timeoutMs = 15_000, sessionTimeoutMs = 30_000, reconnect = true } = options;
  const client = zookeeper.createClient(connectString, {
    sessionTimeout: sessionTimeoutMs,
    spinDelay: 200,
    retries: 0,
  });
  const manager = (client as unknown as Internals).connectionManager;

  let onAnswer: ((zxid: bigint | undefined) => void) | undefined;
  const queue = manager.queue.bind(manager);
  manager.queue = (request, callback) => {
    const noteZxid = onAnswer;
    queue(request, (error, response) => {
      noteZxid?.(response?.header.zxid.readBigInt64BE());
      callback?.(error, response);
    });
  };

  const unanswered = new Set<() => void>();
  let abandoned = false;
  const abandon = (): void => {
    abandoned = true;
    manager.connect = () => {};
    manager.socket?.destroy();
    // The library answers what it has sent, but leaves what it has only queued waiting for a new connection.
    for (const lost of unanswered) lost();
  };

  /** Makes one request of the library, which queues it before it returns. */
  function request<T>(what: string, ask: (done: (error: unknown, value: T) => void) => void): Promise<Written<T>> {
    return new Promise((resolve, reject) => {
      const lost = (): void => reject(new ZooKeeperError("CONNECTION_LOSS", `${what}: CONNECTION_LOSS`, undefined));
      if (abandoned) {
        lost();
        return;
      }
      unanswered.add(lost);
      let zxid: bigint | undefined;
      onAnswer = (answered) => {
        zxid = answered;
      };
      try {
        ask((error, value) => {
          unanswered.delete(lost);
          if (error || zxid === undefined) {
            const code = (error as { name?: string } | null)?.name ?? "CONNECTION_LOSS";
            reject(new ZooKeeperError(code, `${what}: ${code}`, zxid));
          } else {
            resolve({ value, zxid });
          }
        });
      } catch (error) {
        unanswered.delete(lost);
        reject(error);
      } finally {
        onAnswer = undefined;
      }
    });
  }

  await connected(client, connectString, timeoutMs).catch((error: unknown) => {
    abandon();
    throw error;
  });

  if (!reconnect) client.once("disconnected", abandon);

  const self: ZooKeeperClient = {
    get sessionId() {
      return client.getSessionId().readBigInt64BE();
    },
    create: (path, data = null, create = {}) =>
      request(`create ${path}`, (done) => client.create(path, data ?? [...OPEN_ACL], createMode(create), done)),
    async setData(path, data, version = -1) {
      const { value, zxid } = await request<Stat>(`setData ${path}`, (done) =>
        client.setData(path, data, version, done),
      );
      return { value: znodeStat(value), zxid };
    },
    delete: (path, version = -1) =>
      request<void>(`delete ${path}`, (done) => client.remove(path, version, (error) => done(error, undefined))),
    async multi(operations) {
      const { value, zxid } = await request<Array<{ path?: string }>>("multi", (done) =>
        transaction(client, operations).commit(done),
      );
      return { value: value.map((result) => result.path ?? null), zxid };
    },
    async getData(path) {
      const { value } = await request<{ data: Buffer | undefined; stat: Stat }>(`getData ${path}`, (done) =>
        client.getData(path, (error, data, stat) => done(error, { data, stat })),
      );
      return { data: value.data ?? null, ...znodeStat(value.stat) };
    },
    async getChildren(path) {
      const { value } = await request<string[]>(`getChildren ${path}`, (done) => client.getChildren(path, done));
      return value;
    },
    async exists(path) {
      const { value } = await request<Stat | null>(`exists ${path}`, (done) => client.exists(path, done));
      return value === null || value === undefined ? null : znodeStat(value);
    },
    readTree: (root = "/") => readTree(self, root),
    async close(timeout = 5_000) {
      const closed = new Promise<bigint | null>((resolve) => {
        onAnswer = (zxid) => resolve(zxid ?? null);
        client.close();
        onAnswer = undefined;
      });
      const cancel = new AbortController();
      const late = sleep(timeout, null, { signal: cancel.signal }).catch(() => null);
      const zxid = await Promise.race([closed, late]);
      cancel.abort();
      abandon();
      return zxid;
    },
    abandon,
  };
  return self;
}

const OPEN_ACL = [new zookeeper.ACL(zookeeper.Permission.ALL, new zookeeper.Id("world", "anyone"))];

function connected(client: Client, connectString: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Error(`no ZooKeeper session at ${connectString} after ${timeoutMs} ms`)),
      timeoutMs,
    );
    client.once("connected", () => {
      clearTimeout(late);
      resolve();
    });
    client.connect();
  });
}

function createMode({ ephemeral = false, sequential = false }: CreateOptions): number {
  const { PERSISTENT, PERSISTENT_SEQUENTIAL, EPHEMERAL, EPHEMERAL_SEQUENTIAL } = zookeeper.CreateMode;
  if (ephemeral) return sequential ? EPHEMERAL_SEQUENTIAL : EPHEMERAL;
  return sequential ? PERSISTENT_SEQUENTIAL : PERSISTENT;
}

function transaction(client: Client, operations: readonly MultiOperation[]): Transaction {
  const steps = client.transaction();
  for (const operation of operations) {
    const { path } = operation;
    if (operation.type === "create") steps.create(path, operation.data ?? [...OPEN_ACL], createMode(operation));
    else if (operation.type === "setData") steps.setData(path, operation.data);
    else if (operation.type === "delete") steps.remove(path);
    else steps.check(path);
  }
  return steps;
}

async function readTree(client: ZooKeeperClient, root: string): Promise<Map<string, Znode>> {
  const found: Array<[string, Znode]> = [];
  let level = [root];
  while (level.length > 0) {
    const next: string[] = [];
    for (let at = 0; at < level.length; at += READS_IN_FLIGHT) {
      const batch = level.slice(at, at + READS_IN_FLIGHT).map(async (path) => {
        const [node, children] = await Promise.all([client.getData(path), client.getChildren(path)]);
        found.push([path, node]);
        for (const name of children) {
          const child = path === "/" ? `/${name}` : `${path}/${name}`;
          if (child !== "/zookeeper") next.push(child);
        }
      });
      await Promise.all(batch.map((read) => read.catch(unlessGone)));
    }
    level = next;
  }
  return new Map(found.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function unlessGone(error: unknown): void {
  if (!(error instanceof ZooKeeperError) || error.code !== "NO_NODE") throw error;
}

function znodeStat(stat: Stat): ZnodeStat {
  return {
    czxid: stat.czxid.readBigInt64BE(),
    mzxid: stat.mzxid.readBigInt64BE(),
    pzxid: stat.pzxid.readBigInt64BE(),
    ctime: stat.ctime.readBigInt64BE(),
    mtime: stat.mtime.readBigInt64BE(),
    version: stat.version,
    cversion: stat.cversion,
    aversion: stat.aversion,
    ephemeralOwner: stat.ephemeralOwner.readBigInt64BE(),
    dataLength: stat.dataLength,
    numChildren: stat.numChildren,
  };
}
