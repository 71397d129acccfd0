import { basename } from "node:path";
import { type DataFile, type DataFiles, withDataFiles } from "../directory.ts";
import { readChunks } from "../file-chunks.ts";
import { ZooKeeperFileError } from "../file-error.ts";
import { createLogChecker, type LogRecord } from "../log/log-checker.ts";
import type { Problem } from "../problem.ts";
import {
  type CheckedLog,
  type CheckedSnapshot,
  newestFirst,
  planRecovery,
  type Recoverable,
} from "../server/recovery.ts";
import { checkSnapshot } from "../snapshot/snapshot-checker.ts";
import { lastTraceIn } from "../snapshot/snapshot-summary.ts";
import { formatZxid } from "../zxid.ts";
import { applyRulesOf } from "./apply-txn.ts";
import { createReplay, type Replay, type ReplayOptions, type ReplayResult } from "./replay.ts";
import type { ZnodeTree } from "./znode-tree.ts";

export interface LoadTreeOptions extends Pick<ReplayOptions, "keepData" | "contentHash"> {
  /** The state right after this txn. Default: the last one that is reached without leaving a txn out. */
  readonly atZxid?: bigint;
  /** The state before the first txn that the server dated later, in milliseconds since 1970. Not with `atZxid`. */
  readonly atTimeMs?: number;
  /** It is enough if the files reach this time, as where `atTimeMs` is the end of a second. Default: `atTimeMs`. */
  readonly atTimeFromMs?: number;
  readonly signal?: AbortSignal;
}

/** The state of a server at one moment. */
export interface LoadedTree {
  readonly tree: ZnodeTree;
  /** The last txn that is in it. */
  readonly zxid: bigint;
  /** When that was, by the server's clock; null if it is in no log. */
  readonly timeMs: number | null;
  /** The snapshot that was loaded; null where the logs begin with the first txn. */
  readonly from: DataFile | null;
  /** The logs that were replayed, oldest first. */
  readonly logs: readonly DataFile[];
  /** With the problems of the files that were looked at for it, too. */
  readonly result: ReplayResult;
}

/**
 * Loads the state that a server's files hold: at their end, or at any moment that they reach back to. Takes the newest
 * good snapshot that was complete at that moment, and replays the logs. Reads every log twice; nothing is written. Where a
 * running server's purge removes a file before it was read, all begins again, a few times.
 *
 * Files of 3.4 and 3.5 are replayed by the rules of these releases, so that what comes out is what they load: such are
 * files without any digest and without a closing of a session that lists nodes; of 3.4, without a node
 * `/zookeeper/config` and without a txn of a type that 3.5 added.
 *
 * @throws ZooKeeperFileError `POINT_NOT_COVERED` if the files do not reach that moment, `NOT_RECOVERABLE` if they hold
 *   no state that is known to be whole; what `findDataFiles` throws; and the reason of `signal`
 */
export async function loadTree(paths: readonly string[], options: LoadTreeOptions = {}): Promise<LoadedTree> {
  const { atZxid, atTimeMs, signal } = options;
  if (atZxid !== undefined && atTimeMs !== undefined) throw new TypeError("give atZxid or atTimeMs, not both");
  signal?.throwIfAborted();
  return await withDataFiles(paths, (files) => loadFiles(files, options));
}

async function loadFiles(files: DataFiles, options: LoadTreeOptions): Promise<LoadedTree> {
  const { atZxid, atTimeMs, atTimeFromMs = atTimeMs, signal } = options;
  const { logs, moment } = await checkLogs(files, atTimeMs, atTimeFromMs, signal);
  const at = atTimeMs === undefined ? (atZxid ?? null) : moment;
  const wanted = atTimeMs === undefined ? formatZxid(atZxid ?? 0n) : new Date(atTimeFromMs ?? atTimeMs).toISOString();
  if (atTimeMs !== undefined && at === null) throw await notCovered(wanted, files, logs, signal);

  let problems: readonly Problem[] = [];
  const passedOver: CheckedSnapshot[] = [];
  const snapshots = files.snapshots.map((file) => ({ ...file, file: file.path })).toSorted(newestFirst);
  for (const file of snapshots) {
    if (at !== null && file.zxid > at) continue;
    const replay = createReplay(options);
    const checked = await readSnapshot(file, replay, signal);
    // Together with the newer ones: what is lost with those depends on what takes their place.
    const plan = planRecovery([checked, ...passedOver], logs, { partial: true });
    problems = plan.problems;
    const { recoverable } = plan;
    if (recoverable === null || checked.summary === null) {
      passedOver.push(checked);
      continue;
    }
    if (at !== null && at > recoverable.zxid) break;
    if (at !== null && lastTraceIn(file.zxid, checked.summary) > at) continue;
    replay.snapshotEnd(file.zxid, checked.summary, checked.file);
    const features = logs.map(({ summary }) => summary.features);
    replay.rules = applyRulesOf(checked.summary, replay.tree, features);
    return await finish(replay, recoverable, file, files, problems, at, signal);
  }
  if (files.snapshots.length === 0) {
    const plan = planRecovery([], logs);
    problems = plan.problems;
    const { recoverable } = plan;
    if (recoverable !== null && (at === null || at <= recoverable.zxid)) {
      const replay = createReplay(options);
      replay.rules = "3.4";
      replay.startEmpty();
      return await finish(replay, recoverable, null, files, problems, at, signal);
    }
  }
  if (at !== null) throw await notCovered(wanted, files, logs, signal);
  throw notRecoverable(problems, files);
}

/**
 * Also finds the last txn before the first one that is dated after `timeMs`; null if there is none, or if the logs end
 * before `fromMs`.
 */
async function checkLogs(
  files: DataFiles,
  timeMs: number | undefined,
  fromMs: number | undefined,
  signal: AbortSignal | undefined,
): Promise<{ logs: CheckedLog[]; moment: bigint | null }> {
  const logs: CheckedLog[] = [];
  let last: { readonly zxid: bigint; readonly timeMs: number } | null = null;
  let isPassed = false;
  for (const file of files.logs) {
    const checker = createLogChecker({
      onRecord: (record) => {
        if (timeMs === undefined || isPassed) return;
        if (record.timeMs > timeMs) isPassed = true;
        else last = { zxid: record.zxid, timeMs: record.timeMs };
      },
    });
    for await (const chunk of readChunks(file.path, signal)) checker.push(chunk);
    logs.push({ file: file.path, zxid: file.zxid, summary: checker.end() });
  }
  const found = last as { readonly zxid: bigint; readonly timeMs: number } | null;
  const isReached = found !== null && (isPassed || (fromMs !== undefined && found.timeMs >= fromMs));
  return { logs, moment: isReached ? found.zxid : null };
}

async function readSnapshot(
  { path, zxid, mtimeMs, compression }: DataFile,
  replay: Replay | null,
  signal: AbortSignal | undefined,
): Promise<CheckedSnapshot> {
  try {
    const summary = await checkSnapshot(readChunks(path, signal), { compression, ...replay?.snapshotHooks });
    return { file: path, zxid, mtimeMs, summary, error: null };
  } catch (error) {
    if (error instanceof ZooKeeperFileError && error.code.startsWith("SNAPSHOT_")) {
      return { file: path, zxid, mtimeMs, summary: null, error };
    }
    throw error;
  }
}

async function finish(
  replay: Replay,
  recoverable: Recoverable,
  from: DataFile | null,
  files: DataFiles,
  problems: readonly Problem[],
  at: bigint | null,
  signal: AbortSignal | undefined,
): Promise<LoadedTree> {
  const start = from?.zxid ?? 0n;
  const end = at ?? recoverable.zxid;
  const logs: DataFile[] = [];
  let isPast = false;
  for (const path of recoverable.logs) {
    if (isPast) break;
    let isUsed = false;
    const onRecord = (record: LogRecord): void => {
      isPast ||= record.zxid > end;
      if (isPast || record.zxid <= start) return;
      isUsed = true;
      replay.onRecord(record);
    };
    replay.beginLog(path);
    const checker = createLogChecker({ onRecord });
    for await (const chunk of readChunks(path, signal)) {
      checker.push(chunk);
      if (isPast) break;
    }
    if (isUsed) logs.push(files.logs.find((log) => log.path === path) as DataFile);
  }
  const result = replay.finish();
  const { zxid, timeMs } = result;
  return {
    tree: replay.tree,
    zxid,
    timeMs,
    from,
    logs,
    result: { ...result, problems: [...problems, ...result.problems] },
  };
}

/** Says which moments are covered. Reads the snapshots, oldest first, up to one that is of use. */
async function notCovered(
  wanted: string,
  files: DataFiles,
  logs: readonly CheckedLog[],
  signal: AbortSignal | undefined,
): Promise<ZooKeeperFileError> {
  let first: bigint | null = null;
  let last: bigint | null = null;
  for (const file of files.snapshots) {
    const checked = await readSnapshot(file, null, signal);
    const { recoverable } = planRecovery([checked], logs, { partial: true });
    if (recoverable === null || checked.summary === null) continue;
    first ??= lastTraceIn(file.zxid, checked.summary);
    last = recoverable.zxid;
  }
  if (files.snapshots.length === 0) {
    const { recoverable } = planRecovery([], logs);
    if (recoverable !== null) [first, last] = [0n, recoverable.zxid];
  }
  const times = logs
    .flatMap(({ summary }) => [summary.firstTimeMs, summary.lastTimeMs])
    .filter((time) => time !== null);
  const range =
    first === null || last === null
      ? "they hold no state that is known to be whole"
      : `they hold ${formatZxid(first)} to ${formatZxid(last)}${timeRange(times)}, perhaps with gaps`;
  return new ZooKeeperFileError("POINT_NOT_COVERED", null, `the files do not reach ${wanted}: ${range}`);
}

function timeRange(times: readonly number[]): string {
  const [first, last] = [times[0], times.at(-1)];
  if (first === undefined || last === undefined) return " and no log that tells times";
  return `, with txns from ${new Date(first).toISOString()} to ${new Date(last).toISOString()}`;
}

function notRecoverable(problems: readonly Problem[], { snapshots }: DataFiles): ZooKeeperFileError {
  const causes = problems.filter(({ severity }) => severity !== "info");
  const reasons = causes.map(({ file, message }) => (file === null ? message : `${basename(file)}: ${message}`));
  const hint = snapshots.length === 0 ? ". If there are snapshots in another directory (dataDir), name that too" : "";
  const message = `the files hold no state that is known to be whole. ${reasons.join(". ")}${hint}`;
  return new ZooKeeperFileError("NOT_RECOVERABLE", null, message);
}
