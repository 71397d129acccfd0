import {
  BackypError,
  type Bytes,
  type Entry,
  isSerious,
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
  createReplay,
  createSnapshotChecker,
  type FileName,
  formatZxid,
  type LogSummary,
  parseFileName,
  planRecovery,
  type ReplayResult,
  type SnapshotSummary,
  ZooKeeperFileError,
} from "@zk-backyp/zookeeper-files";
import { plainNameOf } from "./data-files.ts";
import { followLogs } from "./follow-logs.ts";

type Body = AsyncGenerator<Uint8Array, void, void>;

/** The folder of snapshots and logs in an archive, as in a server's `dataDir`. */
export const DATA_FOLDER = "version-2/";
/** The folder of files that may hold more than a server would load of them. */
export const DAMAGED_FOLDER = "damaged/";
/** The folder of what is kept as information: `myid`, epochs, `zoo.cfg`. Never restored. */
export const CONFIG_FOLDER = "config/";

/** A {@link Verifier} that also tells a capture what it has seen so far. */
export interface ZooKeeperVerifier extends Verifier {
  /** The snapshots that went by whole, except what lies in {@link DAMAGED_FOLDER}. */
  readonly snapshots: readonly CheckedSnapshot[];
}

/**
 * Checks the files of one backup as they go by, and at the end that together they restore without loss: every seal
 * and record checksum, the sequence of transactions, that the logs cover what the snapshot shows, and that the tree
 * they make has the digests that the server has left in them. What else there is, kept although it is damaged, is looked
 * at too, so that the problems are those of all the files together.
 */
export function createVerifier(): ZooKeeperVerifier {
  const snapshots: CheckedSnapshot[] = [];
  const logs: CheckedLog[] = [];
  const damagedSnapshots: CheckedSnapshot[] = [];
  const damagedLogs: CheckedLog[] = [];
  const replay = createReplay();
  let previous: FileName | null = null;

  /** The tree is built as the files go by: from a snapshot, if there is one, and then the logs from old to new. */
  const requireOrder = (path: string, name: FileName): void => {
    const isNext =
      previous === null || (name.kind === "log" && (previous.kind === "snapshot" || previous.zxid < name.zxid));
    if (!isNext) {
      const message = `${path} comes in the wrong place: a backup has one snapshot, and its logs behind it from old to new`;
      throw new BackypError("ERR_SOURCE_DAMAGED", message, { details: { path } });
    }
    previous = name;
  };

  const snapshotBody = async function* (entry: Entry, file: string, name: FileName): Body {
    requireOrder(entry.path, name);
    const checker = createSnapshotChecker({ compression: name.compression, ...replay.snapshotHooks });
    try {
      for await (const chunk of entry.body) {
        const wait = checker.push(chunk);
        if (wait !== undefined) await wait;
        yield chunk;
      }
      const summary = await checker.end();
      replay.snapshotEnd(name.zxid, summary, file);
      snapshots.push({ file, zxid: name.zxid, mtimeMs: entry.mtime.getTime(), summary, error: null });
    } catch (error) {
      throw error instanceof ZooKeeperFileError ? damagedSnapshot(file, error) : error;
    } finally {
      checker.close();
    }
  };

  const logBody = async function* (entry: Entry, file: string, name: FileName): Body {
    if (previous === null) replay.startEmpty();
    requireOrder(entry.path, name);
    replay.beginLog(file);
    const checker = createLogChecker({ onRecord: replay.onRecord });
    for await (const chunk of entry.body) {
      checker.push(chunk);
      yield chunk;
    }
    logs.push({ file, zxid: name.zxid, summary: checker.end() });
  };

  const damagedSnapshotBody = async function* (entry: Entry, file: string, name: FileName): Body {
    const checker = createSnapshotChecker({ compression: name.compression });
    const checked = { file, zxid: name.zxid, mtimeMs: entry.mtime.getTime() };
    let error: ZooKeeperFileError | null = null;
    const whatIsWrong = (cause: unknown): null => {
      if (!(cause instanceof ZooKeeperFileError)) throw cause;
      error ??= cause;
      return null;
    };
    try {
      for await (const chunk of entry.body) {
        if (error === null) await (async () => checker.push(chunk))().catch(whatIsWrong);
        yield chunk;
      }
      const summary = error === null ? await checker.end().catch(whatIsWrong) : null;
      damagedSnapshots.push({ ...checked, summary, error });
    } finally {
      checker.close();
    }
  };

  const damagedLogBody = async function* (entry: Entry, file: string, name: FileName): Body {
    const checker = createLogChecker();
    for await (const chunk of entry.body) {
      checker.push(chunk);
      yield chunk;
    }
    damagedLogs.push({ file, zxid: name.zxid, summary: checker.end() });
  };

  const bodyOf = (entry: Entry): Bytes => {
    if (entry.path.startsWith(CONFIG_FOLDER)) return entry.body;
    const folder = [DATA_FOLDER, DAMAGED_FOLDER].find((candidate) => entry.path.startsWith(candidate)) ?? entry.path;
    const file = entry.path.slice(folder.length);
    const name = parseFileName(file);
    // No server would find it under another name, and 3.4 and 3.5 not under an odd one.
    const isMisnamed = folder === DATA_FOLDER ? name !== null && file !== plainNameOf(name) : file.includes("/");
    if (name === null || isMisnamed) {
      throw new BackypError("ERR_SOURCE_DAMAGED", `${entry.path} is no file of a ZooKeeper backup`, {
        details: { path: entry.path },
      });
    }
    const isSnapshot = name.kind === "snapshot";
    if (folder === DATA_FOLDER) return isSnapshot ? snapshotBody(entry, file, name) : logBody(entry, file, name);
    return isSnapshot ? damagedSnapshotBody(entry, file, name) : damagedLogBody(entry, file, name);
  };

  return {
    snapshots,
    watch: (entry) => ({ ...entry, body: bodyOf(entry) }),

    finish(): Verdict {
      const [snapshot = null] = snapshots;
      // Where there is a whole log, the good part of it says nothing more. If it is good.
      const wholeLogs = damagedLogs.map(({ file }) => file);
      const saysMore = ({ file, summary }: CheckedLog): boolean =>
        !wholeLogs.includes(file) || summary.problems.length > 0;
      const allLogs = [...logs.filter(saysMore), ...damagedLogs];
      const plan = planRecovery([...snapshots, ...damagedSnapshots], allLogs);
      const first = logs.find(({ summary }) => summary.firstZxid !== null)?.summary.firstZxid ?? null;
      const start = snapshot?.zxid ?? (first === null ? 0n : first - 1n);
      // What comes before the logs is not known to be nothing, unless they begin with the very first transaction.
      const isTree = snapshot !== null || first === 1n || first === 0x1_0000_0001n;
      const state = isTree ? replay.finish() : null;
      const problems = [...plan.problems, ...(state === null ? [] : problemsOf(state, plan.problems, snapshot))];
      const aside = [...damagedSnapshots, ...damagedLogs].map(({ file }) => file);
      if (aside[0] !== undefined && !problems.some(isSerious)) problems.push(goodButAside(aside[0]));
      return {
        range: { after: null, upTo: formatZxid(followLogs(start, logs).zxid) },
        times: timesOf(logs.map(({ summary }) => summary)),
        contents: {
          ...contentsOf(snapshot, logs),
          state: state === null ? null : stateContents(state),
          damaged: aside,
        },
        ...(state === null ? {} : { proof: proofOf(state) }),
        problems,
      };
    },
  };
}

/** The plan may count on a file that no server finds. It was damaged when it was put there, and not when it was read. */
function goodButAside(file: string): Problem {
  const message = `it lies in ${DAMAGED_FOLDER}, where no server looks, although nothing is wrong with it`;
  return { severity: "data-loss", code: "GOOD_BUT_ASIDE", file, offset: null, message };
}

/** What the replay adds to what is known of the files. */
function problemsOf(state: ReplayResult, known: readonly Problem[], snapshot: CheckedSnapshot | null): Problem[] {
  const isKnown = known.some(isSerious);
  // Gaps and the like are told of the files already.
  const problems: Problem[] = state.problems.filter(
    ({ code }) => code.startsWith("DIGEST_") || code === "DANGLING_ACL_USED" || !isKnown,
  );
  if (state.snapshotDigest === "stale") {
    const message =
      "the digest that the server wrote into it is of another tree, but every later digest in the logs proves this one: " +
      "the server had dropped znodes at its start, after it had taken the digest, or had begun with the next transaction";
    problems.push({ severity: "info", code: "DIGEST_STALE", file: snapshot?.file ?? null, offset: null, message });
  }
  return problems;
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

/** What the files restore to. */
function stateContents(state: ReplayResult): JsonObject {
  const { nodes, sessions, ephemerals, containers, ttlNodes, dataBytes } = state;
  return {
    nodes,
    sessions,
    ephemerals,
    containers,
    ttlNodes,
    dataBytes,
    digest: String(state.digest),
  };
}

/** What of the state ZooKeeper's own digests confirm. */
function proofOf({ snapshotDigest, matchedAt, txnDigests, charset }: ReplayResult): JsonObject {
  return {
    snapshotDigest,
    digestMatchedAt: matchedAt === null ? null : formatZxid(matchedAt),
    txnDigestsCompared: txnDigests.compared,
    txnDigestsMatched: txnDigests.matched,
    digestCharset: charset,
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
