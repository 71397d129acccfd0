import {
  BackypError,
  type Bytes,
  type Entry,
  type JsonObject,
  type Problem,
  type TimeRange,
  type Verdict,
  type Verifier,
} from "@zk-backyp/core";
import {
  type CheckedLog,
  type CheckedSnapshot,
  createLogChecker,
  createSnapshotChecker,
  formatZxid,
  type LogSummary,
  parseFileName,
  planRecovery,
  type SnapshotSummary,
  ZooKeeperFileError,
} from "@zk-backyp/zookeeper-files";

/** The folder of snapshots and logs in an archive, as in a server's `dataDir`. */
export const DATA_FOLDER = "version-2/";
/** The folder of what is kept as information: `myid`, epochs, `zoo.cfg`. Never restored. */
export const CONFIG_FOLDER = "config/";

/** A {@link Verifier} that also tells a capture what it has seen so far. */
export interface ZooKeeperVerifier extends Verifier {
  /** The snapshots that went by whole. */
  readonly snapshots: readonly CheckedSnapshot[];
}

/**
 * Checks the files of one backup as they go by, and at the end that together they restore without loss: every seal
 * and record checksum, the sequence of transactions, and that the logs cover what the snapshot shows.
 */
export function createVerifier(): ZooKeeperVerifier {
  const snapshots: CheckedSnapshot[] = [];
  const logs: CheckedLog[] = [];

  const snapshotBody = async function* (entry: Entry, file: string): AsyncGenerator<Uint8Array, void, void> {
    const name = parseFileName(file);
    const checker = createSnapshotChecker({ compression: name?.compression ?? "none" });
    try {
      for await (const chunk of entry.body) {
        const wait = checker.push(chunk);
        if (wait !== undefined) await wait;
        yield chunk;
      }
      const summary = await checker.end();
      snapshots.push({ file, zxid: name?.zxid ?? 0n, mtimeMs: entry.mtime.getTime(), summary, error: null });
    } catch (error) {
      throw error instanceof ZooKeeperFileError ? damagedSnapshot(file, error) : error;
    } finally {
      checker.close();
    }
  };

  const logBody = async function* (entry: Entry, file: string): AsyncGenerator<Uint8Array, void, void> {
    const checker = createLogChecker();
    for await (const chunk of entry.body) {
      checker.push(chunk);
      yield chunk;
    }
    logs.push({ file, zxid: parseFileName(file)?.zxid ?? 0n, summary: checker.end() });
  };

  const bodyOf = (entry: Entry): Bytes => {
    if (entry.path.startsWith(CONFIG_FOLDER)) return entry.body;
    const file = entry.path.startsWith(DATA_FOLDER) ? entry.path.slice(DATA_FOLDER.length) : "";
    const kind = parseFileName(file)?.kind;
    if (kind === "snapshot") return snapshotBody(entry, file);
    if (kind === "log") return logBody(entry, file);
    throw new BackypError("ERR_SOURCE_DAMAGED", `${entry.path} is no file of a ZooKeeper backup`, {
      details: { path: entry.path },
    });
  };

  return {
    snapshots,
    watch: (entry) => ({ ...entry, body: bodyOf(entry) }),

    finish(): Verdict {
      const { recoverable, problems } = planRecovery(snapshots, logs);
      if (recoverable === null || problems.some(({ severity }) => severity !== "info")) {
        throw unrestorable(problems, "these files");
      }
      return {
        range: { after: null, upTo: formatZxid(recoverable.zxid) },
        times: timesOf(logs.map(({ summary }) => summary)),
        contents: contentsOf(snapshots.find(({ file }) => file === recoverable.from) ?? null, logs),
        problems,
      };
    },
  };
}

/** The error for a set of files that would not restore without loss; it lists what is wrong with them. */
export function unrestorable(problems: readonly Problem[], what: string, remedy = ""): BackypError {
  const serious = problems.filter(({ severity }) => severity !== "info");
  const reasons = serious.map(({ file, message }) => (file === null ? message : `${file}: ${message}`));
  return new BackypError(
    "ERR_SOURCE_DAMAGED",
    `${what} would not restore without loss: ${reasons.join("; ")}${remedy}`,
    {
      details: { problems: serious },
    },
  );
}

function damagedSnapshot(file: string, error: ZooKeeperFileError): BackypError {
  return new BackypError("ERR_SOURCE_DAMAGED", `the snapshot ${file} is damaged: ${error.message}`, {
    cause: error,
    details: { file, code: error.code, offset: error.offset },
  });
}

function timesOf(logs: readonly LogSummary[]): TimeRange | null {
  const from = logs.find(({ firstTimeMs }) => firstTimeMs !== null)?.firstTimeMs ?? null;
  const upTo = logs.findLast(({ lastTimeMs }) => lastTimeMs !== null)?.lastTimeMs ?? null;
  if (from === null || upTo === null || !isWritable(from) || !isWritable(upTo)) return null;
  return { from: new Date(from), upTo: new Date(upTo) };
}

/** Whether it can be written with four digits for the year. A server's clock can be anything. */
function isWritable(timeMs: number): boolean {
  return timeMs >= Date.UTC(0, 0) && timeMs < Date.UTC(10_000, 0);
}

function contentsOf(snapshot: CheckedSnapshot | null, logs: readonly CheckedLog[]): JsonObject {
  const total = (count: (summary: LogSummary) => number): number =>
    logs.reduce((sum, { summary }) => sum + count(summary), 0);
  return {
    snapshot: snapshot?.summary ? snapshotContents(snapshot.file, snapshot.summary) : null,
    logs: {
      files: logs.length,
      records: total(({ records }) => records),
      multis: total(({ features }) => features.multis),
      errors: total(({ features }) => features.errors),
      txnDigests: total(({ features }) => features.txnDigests),
    },
  };
}

/** What is in a snapshot, and what it asks of a server that is to load it. */
function snapshotContents(file: string, summary: SnapshotSummary): JsonObject {
  const { digest, lastZxid } = summary;
  return {
    file,
    nodes: summary.nodes,
    sessions: summary.sessions,
    acls: summary.acls,
    ephemerals: summary.ephemerals,
    containers: summary.containers,
    // A server without zookeeper.extendedTypesEnabled=true drops these when it starts.
    ttlNodes: summary.ttlNodes,
    dataBytes: summary.dataBytes,
    // A server whose jute.maxbuffer is below this does not load it.
    largestFieldBytes: summary.largestFieldBytes,
    digest:
      digest === null ? null : { zxid: formatZxid(digest.zxid), version: digest.version, value: String(digest.value) },
    lastZxid: lastZxid === null ? null : formatZxid(lastZxid),
  };
}
