import { type Bytes, type Series, systemErrorCode } from "@zk-backyp/core";
import {
  type Compression,
  createLogChecker,
  createSnapshotChecker,
  type DataFile,
  decodeTxn,
  findDataFiles,
  formatZxid,
  isNextZxid,
  kindOf,
  type LogRecord,
  type Txn,
  ZooKeeperFileError,
} from "@zk-backyp/zookeeper-files";
import { damageOf, dataFileName } from "./backup-files.ts";
import { type OwnedZnode, OwnedZnodes } from "./owned-znodes.ts";
import { openDataFile } from "./read-data-file.ts";

/** A log of a place. */
interface NamedLog {
  readonly file: string;
  readonly body: Bytes;
}

/** The logs of a place, oldest first, and the snapshot that tells what was owned before them. */
export interface HistorySource {
  /** What is known to be damaged or missing before anything is read. Each is one sentence. */
  readonly damage: readonly string[];
  /** Iterate once. */
  logs(): AsyncIterable<NamedLog>;
  /** Called when the first txn is known: what a snapshot says that shows the state around it. */
  ownedBefore(firstZxid: bigint): Promise<SnapshotOwners | null>;
}

interface SnapshotOwners {
  readonly znodes: readonly OwnedZnode[];
  /** The last txn of which the snapshot may show a trace. */
  readonly upTo: bigint;
}

/** What was read, once it was. */
export interface HistorySummary {
  readonly txns: number;
  readonly first: Moment | null;
  readonly last: Moment | null;
  /** What keeps the history from being whole: damage, and missing txns. Each is one sentence. */
  readonly damage: readonly string[];
}

/** When a txn was. */
export interface Moment {
  readonly zxid: bigint;
  readonly timeMs: number;
}

/** One txn, and what was owned by whom right before it. */
export interface HistoryTxn {
  readonly txn: Txn;
  readonly file: string;
  readonly owned: OwnedZnodes;
}

/** A history with more breaks than this is made up; the rest of them is only counted. */
const MAX_TOLD_BREAKS = 10;

/**
 * Goes through every txn of the logs, oldest first, and yields what `pick` makes of those it wants. The txn is lent for
 * the call. Keeps nothing but what sessions own, whatever the length.
 */
export async function* readHistory<Picked>(
  source: HistorySource,
  pick: (item: HistoryTxn) => Picked | null,
  onEnd: (summary: HistorySummary) => void,
): AsyncGenerator<Picked, void, void> {
  const owned = new OwnedZnodes();
  const damage = [...source.damage];
  let breaks = 0;
  let txns = 0;
  let first: Moment | null = null;
  let last: Moment | null = null;
  for await (const { file, body } of source.logs()) {
    let picked: Picked[] = [];
    const take = ({ entry, zxid, timeMs }: LogRecord): void => {
      if (last !== null && !isNextZxid(last.zxid, zxid)) {
        breaks += 1;
        if (breaks <= MAX_TOLD_BREAKS) damage.push(breakMessage(file, last.zxid, zxid));
      }
      last = { zxid, timeMs };
      first ??= last;
      txns += 1;
      const txn = decodeTxn(entry);
      const wanted = pick({ txn, file, owned });
      if (wanted !== null) picked.push(wanted);
      owned.apply(txn);
    };
    // Whether a txn is the first one of all is known before it is taken: what was owned then is read in between.
    const held: LogRecord[] = [];
    let isSeeded = txns > 0;
    const checker = createLogChecker({
      onRecord: (record) => (isSeeded ? take(record) : held.push({ ...record, entry: Buffer.from(record.entry) })),
    });
    for await (const chunk of body) {
      checker.push(chunk);
      const [opening] = held;
      if (opening !== undefined && !isSeeded) {
        const before = await source.ownedBefore(opening.zxid);
        if (before !== null) owned.seed(before.znodes, opening.zxid, before.upTo);
        isSeeded = true;
        for (const record of held.splice(0)) take(record);
      }
      yield* picked;
      picked = [];
    }
    for (const { severity, message } of checker.end().problems) {
      if (severity !== "info") damage.push(`${file}: ${message}`);
    }
  }
  if (breaks > MAX_TOLD_BREAKS) damage.push(`the txns are out of sequence in ${breaks - MAX_TOLD_BREAKS} more places`);
  onEnd({ txns, first, last, damage });
}

function breakMessage(file: string, last: bigint, next: bigint): string {
  return next > last
    ? `${file}: txns are missing between ${formatZxid(last)} and ${formatZxid(next)}`
    : `${file}: ${formatZxid(next)} comes after ${formatZxid(last)}: these logs are not of one history`;
}

/**
 * The history in data directories and files.
 *
 * @throws ZooKeeperFileError `NO_DATA_FILES` when there is no log; and what `findDataFiles` throws
 */
export async function historyOfFiles(paths: readonly string[], signal: AbortSignal): Promise<HistorySource> {
  const files = await findDataFiles(paths);
  const logs = onePerZxid(files.logs);
  const newest = logs.at(-1);
  if (logs.length === 0) {
    const message = `there is no log in ${paths.join(", ")}: if the server has a dataLogDir, name that (dataDir,dataLogDir)`;
    throw new ZooKeeperFileError("NO_DATA_FILES", null, message);
  }
  /** Null for what a running server's purge has removed, which leaves the newest log. The zxids show if there is a gap. */
  const openIfThere = async (file: DataFile): Promise<Bytes | null> => {
    try {
      return await openDataFile(file.path, signal);
    } catch (error) {
      const mayBeGone = file !== newest && !paths.includes(file.path);
      if (mayBeGone && systemErrorCode((error as Error).cause) === "ENOENT") return null;
      throw error;
    }
  };
  return {
    damage: [],
    async *logs() {
      for (const log of logs) {
        const body = await openIfThere(log);
        if (body !== null) yield { file: log.path, body };
      }
    },
    async ownedBefore(firstZxid) {
      // The first one that lies behind the beginning: an older one may have missed what was deleted in between.
      for (const file of files.snapshots.filter(({ zxid }) => zxid >= firstZxid - 1n)) {
        const body = await openIfThere(file);
        const found = body && (await snapshotOwners(body, file.zxid, file.compression));
        if (found !== null) return found;
      }
      return null;
    },
  };
}

/** Of `log.1` and `log.1.bak` a server reads one: the plain name is taken. */
function onePerZxid(logs: readonly DataFile[]): DataFile[] {
  const kept = new Map<bigint, DataFile>();
  for (const log of logs.toSorted((a, b) => a.path.length - b.path.length)) {
    if (!kept.has(log.zxid)) kept.set(log.zxid, log);
  }
  return logs.filter((log) => kept.get(log.zxid) === log);
}

/** The history in a backup, which has its snapshot before its logs. Every check of the archive is made on the way. */
export async function historyOfBackup(series: Series, id: string, signal: AbortSignal): Promise<HistorySource> {
  const { manifest, entries } = await series.read(id, { signal });
  if (!manifest.entries.some(({ path }) => dataFileName(path)?.kind === "log")) {
    throw new ZooKeeperFileError("NO_DATA_FILES", null, `the backup ${manifest.id} holds no log`);
  }
  let before: SnapshotOwners | null = null;
  return {
    damage: damageOf(manifest),
    async *logs() {
      for await (const { path, body } of entries) {
        const name = dataFileName(path);
        if (name?.kind === "log") yield { file: path, body };
        else if (name?.kind === "snapshot") before = await snapshotOwners(body, name.zxid, name.compression);
        else for await (const _ of body);
      }
    },
    ownedBefore: async (firstZxid) => (before !== null && before.upTo >= firstZxid - 1n ? before : null),
  };
}

/** Null for a damaged snapshot, which servers pass over too; the body is read to its end all the same. */
async function snapshotOwners(body: Bytes, zxid: bigint, compression: Compression): Promise<SnapshotOwners | null> {
  const znodes: OwnedZnode[] = [];
  const checker = createSnapshotChecker({
    compression,
    onNode(node) {
      const owner = node.bytes.readBigInt64BE(node.statStart + 44);
      if (kindOf(owner) !== "persistent") znodes.push({ path: node.path, owner, czxid: node.stat.czxid });
    },
  });
  const chunks = body[Symbol.asyncIterator]();
  try {
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
      const wait = checker.push(next.value);
      if (wait !== undefined) await wait;
    }
    const { highestZxid, digest, lastZxid } = await checker.end();
    const traces = [zxid, highestZxid, digest?.zxid ?? 0n, lastZxid ?? 0n];
    return { znodes, upTo: traces.reduce((a, b) => (a > b ? a : b)) };
  } catch (error) {
    if (!(error instanceof ZooKeeperFileError)) throw error;
    while ((await chunks.next()).done !== true);
    return null;
  } finally {
    checker.close();
    await chunks.return?.();
  }
}
