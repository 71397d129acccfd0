import { setTimeout as sleep } from "node:timers/promises";
import { connectZooKeeper, type MultiOperation, type ZooKeeperClient, ZooKeeperError } from "./zookeeper-client.ts";

/** How to load a server. */
export interface RecordedWriterOptions {
  connectString: string;
  /** The subtree to work in; created by `start`, must not exist. `/load` if not given. */
  root?: string;
  /** Write requests per second; fewer if the server does not keep up. 500 if not given. */
  rate?: number;
  /** Znodes to hover around. 2000 if not given. */
  znodes?: number;
  /** Largest data of a znode, in bytes. 200 if not given. */
  maxDataBytes?: number;
  /** Equal seeds make equal requests. 1 if not given. */
  seed?: number;
}

/**
 * A steady load on a server whose effect is known for every zxid.
 *
 * It rests on three properties of ZooKeeper: the requests of one session take effect in the order in which they were
 * sent; the answer to a write carries the zxid of its transaction, also if the write was refused; and nobody else
 * writes under `root`. Other sessions may read, and may write elsewhere: they only make holes in the row of zxids.
 * If the connection is lost (a test kills the server), the writer ends by itself and the record holds up to
 * {@link RecordedWriter.lastZxid}: what was sent and not answered after that may or may not have happened.
 */
export interface RecordedWriter {
  readonly root: string;
  /** zxid of the last answered write. */
  readonly lastZxid: bigint;
  /** Number of answered writes. */
  readonly writes: number;
  /** Number of writes that the server refused, as planned. */
  readonly refused: number;
  /** Set when the connection was lost. */
  readonly interrupted: Error | undefined;
  /** Opens the session and starts writing; resolves when the first writes have been answered. */
  start(): Promise<void>;
  /**
   * Stops writing, waits for all answers and ends the session, which removes its ephemeral znodes (recorded too).
   * @throws Error if an answer was not the expected one: the record is then worth nothing
   */
  stop(): Promise<void>;
  /**
   * What `root` and everything below it hold right after the transaction `zxid`, by path; null is a znode without data.
   * Ephemeral znodes are all under `root/ephemeral/`.
   * @throws RangeError for a zxid outside of the record
   */
  treeAt(zxid: bigint): Map<string, Buffer | null>;
  /** zxid of the last write up to `zxid` that touched this znode: its `mzxid`. Undefined if it does not exist then. */
  mzxidAt(path: string, zxid: bigint): bigint | undefined;
  /** zxids of all answered writes, ascending. */
  zxids(): bigint[];
}

/** One znode's new data, or undefined if the znode is gone. */
type Change = readonly [path: string, data: Buffer | null | undefined];

interface Entry {
  readonly zxid: bigint;
  readonly changes: readonly Change[];
}

const IN_FLIGHT = 200;
const TICK_MS = 10;

/** A writer that has not started yet. */
export function createRecordedWriter(options: RecordedWriterOptions): RecordedWriter {
  const { connectString, root = "/load", rate = 500, znodes = 2_000, maxDataBytes = 200, seed = 1 } = options;
  const record: Entry[] = [];
  const early = new Map<number, Entry>();
  const random = randomNumbers(seed);
  const below = (limit: number): number => Math.floor(random() * limit);

  let client: ZooKeeperClient | undefined;
  let sent = 0;
  let refused = 0;
  let interrupted: Error | undefined;
  let unexpected: Error | undefined;
  let stopping = false;
  let writing: Promise<void> | undefined;
  let created = 0;
  // What exists once everything that was sent has taken effect.
  const persistent: string[] = [];
  const ephemeral: string[] = [];
  const inFlight = new Set<Promise<void>>();

  const bytes = (): Buffer | null => {
    if (random() < 0.02) return null;
    const data = Buffer.alloc(below(maxDataBytes + 1));
    for (let at = 0; at < data.length; at += 1) data[at] = below(256);
    return data;
  };
  const take = (paths: string[]): string | undefined => {
    const index = below(paths.length);
    const last = paths.pop();
    if (last === undefined || index === paths.length) return last;
    const taken = paths[index];
    paths[index] = last;
    return taken;
  };
  const pick = (): string => persistent[below(persistent.length)] ?? root;
  const newPath = (): string => {
    created += 1;
    return `${root}/${["brokers", "config", "tables"][created % 3]}/${created}`;
  };

  /** Sends one write; its place in the record is that of the request, its content what the answer says. */
  function send(write: (session: ZooKeeperClient) => Promise<Entry>): void {
    if (client === undefined) return;
    const place = sent;
    sent += 1;
    const answered = write(client).then(
      (entry) => {
        early.set(place, entry);
        extendRecord();
      },
      (error: unknown) => {
        const failure = error instanceof Error ? error : new Error(String(error));
        if (error instanceof ZooKeeperError && error.zxid === undefined) interrupted ??= failure;
        else unexpected ??= failure;
      },
    );
    inFlight.add(answered);
    answered.finally(() => inFlight.delete(answered)).catch(() => {});
  }

  // Answers come in order, but promises of different depth settle out of order.
  function extendRecord(): void {
    for (let entry = early.get(record.length); entry !== undefined; entry = early.get(record.length)) {
      early.delete(record.length);
      const previous = record.at(-1);
      if (previous !== undefined && entry.zxid <= previous.zxid) {
        unexpected ??= new Error(`zxid ${entry.zxid} was answered after ${previous.zxid}`);
      }
      record.push(entry);
    }
  }

  const create = (path: string, data: Buffer | null, isEphemeral = false): void =>
    send(async (session) => {
      const { zxid } = await session.create(path, data, { ephemeral: isEphemeral });
      return { zxid, changes: [[path, data]] };
    });
  const createSequential = (data: Buffer | null): void =>
    send(async (session) => {
      const { value, zxid } = await session.create(`${root}/queue/job-`, data, { sequential: true });
      return { zxid, changes: [[value, data]] };
    });
  const setData = (path: string, data: Buffer): void =>
    send(async (session) => {
      const { zxid } = await session.setData(path, data);
      return { zxid, changes: [[path, data]] };
    });
  const remove = (path: string): void =>
    send(async (session) => {
      const { zxid } = await session.delete(path);
      return { zxid, changes: [[path, undefined]] };
    });
  const multi = (steps: MultiOperation[], changes: Change[]): void =>
    send(async (session) => ({ zxid: (await session.multi(steps)).zxid, changes }));
  const refusedWrite = (write: (session: ZooKeeperClient) => Promise<unknown>): void =>
    send(async (session) => {
      try {
        await write(session);
      } catch (error) {
        if (!(error instanceof ZooKeeperError) || error.zxid === undefined || error.code !== "NO_NODE") throw error;
        refused += 1;
        return { zxid: error.zxid, changes: [] };
      }
      throw new Error("the server accepted a write that had to be refused");
    });

  function writeSomething(): void {
    const kind = random();
    // More creates than deletes below the wanted number of znodes, fewer above.
    const growing = persistent.length < znodes ? 0.45 : 0.15;
    if (kind < growing) {
      const path = newPath();
      persistent.push(path);
      create(path, bytes());
    } else if (kind < 0.6) {
      const path = take(persistent);
      if (path !== undefined) remove(path);
    } else if (kind < 0.9) {
      setData(pick(), bytes() ?? Buffer.alloc(0));
    } else if (kind < 0.92) {
      createSequential(bytes());
    } else if (kind < 0.95) {
      created += 1;
      const path = `${root}/ephemeral/${created}`;
      ephemeral.push(path);
      create(path, bytes(), true);
      const old = ephemeral.length > 20 ? take(ephemeral) : undefined;
      if (old !== undefined) remove(old);
    } else if (kind < 0.98) {
      writeTogether();
    } else if (kind < 0.99) {
      refusedWrite((session) => session.delete(`${root}/never`));
    } else {
      const path = `${root}/config/never-${created}`;
      refusedWrite((session) =>
        session.multi([
          { type: "create", path, data: null },
          { type: "delete", path: `${root}/never` },
        ]),
      );
    }
  }

  function writeTogether(): void {
    const first = newPath();
    const second = newPath();
    const gone = take(persistent);
    const set = pick();
    const [one, two, data] = [bytes(), bytes(), bytes() ?? Buffer.alloc(0)];
    persistent.push(first, second);
    const steps: MultiOperation[] = [
      { type: "create", path: first, data: one },
      { type: "create", path: second, data: two },
      { type: "check", path: set },
      { type: "setData", path: set, data },
    ];
    const changes: Change[] = [
      [first, one],
      [second, two],
      [set, data],
    ];
    if (gone !== undefined) {
      steps.push({ type: "delete", path: gone });
      changes.push([gone, undefined]);
    }
    multi(steps, changes);
  }

  async function write(): Promise<void> {
    let credit = 0;
    let before = performance.now();
    while (!stopping && interrupted === undefined && unexpected === undefined) {
      const now = performance.now();
      // What the server was too slow for is not made up for later: the load stays steady.
      credit = Math.min(credit + ((now - before) / 1000) * rate, rate / 10);
      before = now;
      for (; credit >= 1 && inFlight.size < IN_FLIGHT; credit -= 1) writeSomething();
      await sleep(TICK_MS);
    }
    await Promise.all(inFlight);
  }

  function entriesUpTo(zxid: bigint): Entry[] {
    const first = record[0];
    const last = record.at(-1);
    if (first === undefined || last === undefined || zxid < first.zxid || zxid > last.zxid) {
      throw new RangeError(`zxid ${zxid} is not between ${first?.zxid} and ${last?.zxid}, the record's ends`);
    }
    return record.filter((entry) => entry.zxid <= zxid);
  }

  return {
    root,
    get lastZxid() {
      return record.at(-1)?.zxid ?? 0n;
    },
    get writes() {
      return record.length;
    },
    get refused() {
      return refused;
    },
    get interrupted() {
      return interrupted;
    },
    async start() {
      client = await connectZooKeeper(connectString, { reconnect: false });
      for (const name of ["", "/brokers", "/config", "/tables", "/queue", "/ephemeral"]) {
        create(root + name, Buffer.from(name));
      }
      await Promise.all(inFlight);
      const failure = unexpected ?? interrupted;
      if (failure !== undefined) {
        client.abandon();
        throw failure;
      }
      writing = write();
    },
    async stop() {
      stopping = true;
      await writing;
      const zxid = interrupted === undefined ? await client?.close() : undefined;
      if (typeof zxid === "bigint") record.push({ zxid, changes: ephemeral.map((path) => [path, undefined]) });
      client?.abandon();
      if (unexpected !== undefined) throw unexpected;
    },
    treeAt(zxid) {
      const tree = new Map<string, Buffer | null>();
      for (const { changes } of entriesUpTo(zxid)) {
        for (const [path, data] of changes) {
          if (data === undefined) tree.delete(path);
          else tree.set(path, data);
        }
      }
      return tree;
    },
    mzxidAt(path, zxid) {
      for (const entry of entriesUpTo(zxid).reverse()) {
        const change = entry.changes.findLast(([changed]) => changed === path);
        if (change !== undefined) return change[1] === undefined ? undefined : entry.zxid;
      }
      return undefined;
    },
    zxids: () => record.map((entry) => entry.zxid),
  };
}

/** mulberry32: small, fast, and the same everywhere. */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
