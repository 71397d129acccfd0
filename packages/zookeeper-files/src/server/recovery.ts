import type { ZooKeeperFileError } from "../file-error.ts";
import { logsFor } from "../file-names.ts";
import type { LogSummary } from "../log/log-summary.ts";
import type { FileProblem, Problem, Severity } from "../problem.ts";
import type { DamagedSnapshotReading, SnapshotReader } from "../snapshot/damaged-snapshot.ts";
import type { SnapshotSummary } from "../snapshot/snapshot-summary.ts";
import { counterOf, epochOf, formatZxid, isNextZxid } from "../zxid.ts";

/** A snapshot file and what its check gave. */
export interface CheckedSnapshot {
  /** Name in messages and in the plan. */
  readonly file: string;
  /** As in the file's name. That, and nothing in the file, is what a server takes for the zxid it has restored. */
  readonly zxid: bigint;
  /** When the file was last written, in milliseconds since 1970. */
  readonly mtimeMs: number;
  /** Null if the check failed. */
  readonly summary: SnapshotSummary | null;
  /** Why the check failed, or null. */
  readonly error: ZooKeeperFileError | null;
  /** What servers do with it although the check failed. Default: none looks at it. */
  readonly readings?: ReadonlyMap<SnapshotReader, DamagedSnapshotReading>;
}

/** A log file and what its check gave. */
export interface CheckedLog {
  /** Name in messages and in the plan. */
  readonly file: string;
  /** As in the file's name, which is all that servers choose logs by. */
  readonly zxid: bigint;
  readonly summary: LogSummary;
}

export interface PlanOptions {
  /**
   * The files were picked by hand and need not be all that a data directory holds: it is no problem that there is no
   * snapshot. Default false.
   */
  readonly partial?: boolean;
}

/** What can be restored without loss. */
export interface Recoverable {
  /** The state right after this txn: all before it are there, none is left out. */
  readonly zxid: bigint;
  /** The snapshot to begin with; null to replay the logs on an empty tree, which only 3.4 does. */
  readonly from: string | null;
  /**
   * The logs to replay, oldest first. Of each only the good records count ({@link LogSummary.bytes}), and of the last
   * one only those up to `zxid`.
   */
  readonly logs: readonly string[];
}

export interface RecoveryPlan {
  /** Null when the files hold no state that is known to be whole. */
  readonly recoverable: Recoverable | null;
  /** Everything that was found, in the files and in how they fit together. */
  readonly problems: readonly Problem[];
}

/**
 * What a set of snapshots and logs restores to.
 *
 * The plan takes the newest good snapshot whose logs prove it whole, and follows the logs from it for as long as
 * every txn is followed by the next one. So `recoverable.zxid` is the highest zxid that is reached without leaving a
 * txn out: it stops before the first gap, although servers before 3.9.4 would silently go on behind it. A damaged log
 * counts up to the damage, as if it were cut there; the damage is a problem of its own. Logs that go on behind the
 * stop are not part of `recoverable.logs`.
 *
 * A snapshot is written while the server goes on working. Its nodes may show txns after the one in its name. It is
 * whole only together with logs that reach the last such txn. If they do not reach it, the plan falls back to an
 * older snapshot, and says so.
 *
 * Problems in files that the plan does not need are reported as `info`: servers do not read them, or pass them over.
 */
export function planRecovery(
  snapshots: readonly CheckedSnapshot[],
  allLogs: readonly CheckedLog[],
  options: PlanOptions = {},
): RecoveryPlan {
  const { logs, duplicates } = withoutDuplicates(allLogs);
  const problems: Problem[] = [...duplicates];
  const candidates = snapshots.filter((snapshot) => snapshot.summary !== null).toSorted(newestFirst);
  let recoverable: Recoverable | null = null;
  let chosen: Replay | null = null;
  for (const snapshot of candidates) {
    const replay = replayFrom(snapshot.zxid, logs);
    const uncovered = uncoveredTrace(snapshot, replay);
    if (uncovered === null) {
      chosen = replay;
      recoverable = { zxid: replay.zxid, from: snapshot.file, logs: replay.used };
      problems.push(...snapshotNotes(snapshot));
      break;
    }
    chosen ??= replay;
    problems.push(coverageProblem(snapshot, uncovered, replay.zxid));
  }
  if (snapshots.length === 0) {
    const alone = logsAlone(logs, options.partial === true);
    recoverable = alone.recoverable;
    chosen = alone.replay;
    problems.push(...alone.problems);
  } else if (candidates.length === 0 && options.partial !== true) {
    problems.push(
      setProblem(
        "fatal",
        "NO_VALID_SNAPSHOT",
        "no snapshot is intact: servers do not start with these files, or start with nothing",
      ),
    );
  }
  if (recoverable !== null && recoverable.from !== null && logs.length === 0 && options.partial !== true) {
    const message = `there is no log beside the snapshot: if the server has a dataLogDir, that belongs to it. No change after ${formatZxid(recoverable.zxid)} is in here`;
    problems.push(setProblem("info", "NO_LOGS", message));
  }
  if (chosen !== null) problems.push(...chosen.problems);
  const good = recoverable === null ? null : chosen;
  for (const snapshot of snapshots) {
    if (snapshot.error === null) continue;
    const problem = badSnapshot(snapshot, snapshot.error, good);
    problems.push(candidates.length === 0 ? { ...problem, severity: "fatal" } : problem);
  }
  for (const log of logs) problems.push(...logProblems(log, chosen));
  return { recoverable, problems };
}

/**
 * Whether a restore from the snapshot taken at `start` (0 for none) with these logs passes the txn `zxid`: for one that
 * is known to have been applied from elsewhere, such as a server's own word. Being below the end is not enough, since
 * a whole epoch may be missing before it. A zxid that begins an epoch belongs to no txn, and counts as passed.
 */
export function isReached(zxid: bigint, start: bigint, logs: readonly CheckedLog[]): boolean {
  return replayFrom(start, withoutDuplicates(logs).logs).reaches(zxid);
}

/**
 * How far these logs lead from one zxid on without leaving a txn out, whatever a snapshot shows beyond that, and the files
 * that a server reads for it, oldest first.
 */
export function followFrom(
  start: bigint,
  logs: readonly CheckedLog[],
): { readonly zxid: bigint; readonly logs: readonly string[] } {
  const { zxid, used } = replayFrom(start, withoutDuplicates(logs).logs);
  return { zxid, logs: used };
}

/** Where following all these logs from one zxid on goes wrong: the first gap, or the first txn that goes back. */
export function replayProblems(start: bigint, logs: readonly CheckedLog[]): readonly Problem[] {
  return replayFrom(start, logs).problems;
}

/** The highest of the txns that a restore from `start` with these logs does not pass, or null. */
export function highestUnreached(txns: readonly bigint[], start: bigint, logs: readonly CheckedLog[]): bigint | null {
  const replay = replayFrom(start, logs);
  return txns.filter((zxid) => !replay.reaches(zxid)).reduce<bigint | null>(higher, null);
}

function higher(highest: bigint | null, zxid: bigint): bigint {
  return highest === null || zxid > highest ? zxid : highest;
}

/**
 * Of several logs of one zxid (`log.1` beside `log.1.bak`) a server reads one, and which one depends on the order in
 * which the file system lists them. The plan takes the one with the plain name.
 */
function withoutDuplicates(logs: readonly CheckedLog[]): { logs: CheckedLog[]; duplicates: Problem[] } {
  const kept = new Map<bigint, CheckedLog>();
  const duplicates: Problem[] = [];
  for (const log of logs.toSorted((a, b) => a.file.length - b.file.length)) {
    const other = kept.get(log.zxid);
    if (other === undefined) {
      kept.set(log.zxid, log);
      continue;
    }
    const message = `${other.file} has the same zxid: a server reads only one of them, and nobody can tell which. Move one away`;
    duplicates.push({ severity: "data-loss", code: "LOG_DUPLICATE", file: log.file, offset: null, message });
  }
  return { logs: [...kept.values()], duplicates };
}

/** Following the logs from one zxid on. */
interface Replay {
  /** The last txn that was reached. */
  readonly zxid: bigint;
  /** Whether this txn was reached on the way: it is in the snapshot, or in a log that was followed. */
  reaches(zxid: bigint): boolean;
  /** Files that a server reads for it, the first ones perhaps in vain, up to where the replay stopped. */
  readonly used: readonly string[];
  /** All files that a server would read. */
  readonly read: ReadonlySet<string>;
  readonly problems: readonly Problem[];
}

function replayFrom(start: bigint, logs: readonly CheckedLog[]): Replay {
  const selected = logsFor(start, logs);
  const used: string[] = [];
  const followed: { readonly first: bigint; readonly last: bigint }[] = [];
  const problems: Problem[] = [];
  let zxid = start;
  const result = (): Replay => ({
    zxid,
    // Not merely "is below the end": a whole epoch may be missing before it.
    reaches: (traced) =>
      traced <= start ||
      counterOf(traced) === 0n ||
      followed.some(({ first, last }) => first <= traced && traced <= last),
    used,
    read: new Set(selected.map((log) => log.file)),
    problems,
  });
  let previous: bigint | null = null;
  // What a damaged log has lost shows by the next zxid, unless that begins an epoch.
  let isEndLost = false;
  for (const log of selected) {
    for (const run of log.summary.runs) {
      const place = { file: log.file, offset: run.offset };
      if (previous !== null && run.first <= previous && previous > start) {
        const message =
          `${formatZxid(run.first)} comes after ${formatZxid(previous)}: these logs are not of one history. ` +
          `Servers apply them all the same. What is known to be good ends at ${formatZxid(zxid)}`;
        problems.push({ severity: "data-loss", code: "LOGS_OUT_OF_ORDER", ...place, message });
        return result();
      }
      previous = run.last;
      // The server skips what the snapshot has.
      if (run.last <= start) continue;
      const isNext = isNextZxid(zxid, run.first) && (!isEndLost || epochOf(run.first) === epochOf(zxid));
      if (run.first > zxid && !isNext) {
        problems.push({
          severity: "data-loss",
          code: "LOG_GAP",
          ...place,
          message: gapMessage(start, zxid, run.first),
        });
        return result();
      }
      zxid = run.last;
      followed.push(run);
      if (used.at(-1) !== log.file) used.push(log.file);
    }
    if (log.summary.problems.some(({ severity }) => severity !== "info")) isEndLost = true;
    // Also one that holds nothing new belongs to what a server reads, unless no server can read it.
    if (used.at(-1) !== log.file && log.summary.bytes > 0) used.push(log.file);
  }
  return result();
}

function gapMessage(start: bigint, last: bigint, next: bigint): string {
  // 3.9.4 compares the txns it replays with each other, not the first one with the snapshot.
  const isNoticed = last > start && epochOf(last) === epochOf(next);
  const reaction = isNoticed
    ? "3.9.4 and later do not start with this; others go on and lack these changes"
    : "Servers go on and lack these changes";
  return (
    `txns are missing between ${formatZxid(last)} and ${formatZxid(next)}: a log file was removed, or the end of one ` +
    `is lost. ${reaction}. What is known to be good ends at ${formatZxid(last)}`
  );
}

/** The highest txn that the snapshot shows a trace of and that the replay does not reach, or null. */
function uncoveredTrace({ summary, zxid }: CheckedSnapshot, replay: Replay): bigint | null {
  if (summary === null) return null;
  const traces = [summary.highestZxid, summary.digest?.zxid ?? 0n, summary.lastZxid ?? 0n];
  return traces.filter((traced) => traced > zxid && !replay.reaches(traced)).reduce<bigint | null>(higher, null);
}

function coverageProblem(snapshot: CheckedSnapshot, highest: bigint, end: bigint): Problem {
  const message =
    `the snapshot was written while txns up to ${formatZxid(highest)} were applied, but the logs reach only ` +
    `${formatZxid(end)}: it would restore to a mixture of states. Add the logs up to ${formatZxid(highest)}, or ` +
    "remove it in favour of an older snapshot";
  return { severity: "data-loss", code: "SNAPSHOT_NOT_COVERED", file: snapshot.file, offset: null, message };
}

function snapshotNotes(snapshot: CheckedSnapshot): Problem[] {
  const dangling = snapshot.summary?.danglingAcls ?? 0;
  if (dangling === 0) return [];
  const message =
    `${dangling} nodes have an ACL that the snapshot does not hold, which happens under load. Replaying the logs ` +
    "repairs that in 3.8.5, 3.9.4 and later, unless it is needed before, which is a problem of its own " +
    "(DANGLING_ACL_USED); older servers may fail when such an ACL is used (ZOOKEEPER-4846)";
  return [{ severity: "info", code: "SNAPSHOT_DANGLING_ACLS", file: snapshot.file, offset: null, message }];
}

/** A server passes a bad snapshot over. That is harmless if what is left reaches the bad one's zxid. */
function badSnapshot(snapshot: CheckedSnapshot, error: ZooKeeperFileError, replay: Replay | null): Problem {
  const reaches = replay?.reaches(snapshot.zxid) === true;
  const consequence = reaches
    ? "servers pass it over, and nothing is lost with it"
    : replay === null
      ? "nothing else can take its place"
      : `servers pass it over, but the other files reach only ${formatZxid(replay.zxid)}`;
  const { code, offset } = error;
  const severity = reaches ? "info" : "data-loss";
  return { severity, code, file: snapshot.file, offset, message: `${error.message}; ${consequence}` };
}

function logProblems(log: CheckedLog, replay: Replay | null): Problem[] {
  const problems: Problem[] = [];
  const isRead = replay === null || replay.read.has(log.file);
  for (const problem of log.summary.problems) {
    problems.push(isRead ? { ...problem, file: log.file } : unneeded(log.file, problem));
  }
  const first = log.summary.firstZxid;
  if (first !== null && first !== log.zxid) {
    const message =
      `the first txn is ${formatZxid(first)}, not ${formatZxid(log.zxid)} as the name says. Servers choose logs by ` +
      "their names and may leave this one out";
    problems.push({ severity: "info", code: "LOG_NAME_MISMATCH", file: log.file, offset: null, message });
  }
  return problems;
}

function unneeded(file: string, problem: FileProblem): Problem {
  return { ...problem, file, severity: "info", message: `${problem.message} (the log is older than what is needed)` };
}

/** No snapshot at all: what 3.4 leaves until its first one, and what nobody else starts from. */
function logsAlone(
  logs: readonly CheckedLog[],
  partial: boolean,
): { recoverable: Recoverable | null; replay: Replay | null; problems: Problem[] } {
  const first = logsFor(0n, logs).find((log) => log.summary.firstZxid !== null)?.summary.firstZxid ?? null;
  const isFromTheStart = first === 0x1n || first === 0x1_0000_0001n;
  const isOf34 = logs.every(({ summary: { features } }) => {
    return features.since35Types === 0 && features.txnDigests === 0 && features.closeSessionBodies === 0;
  });
  if (first !== null && isFromTheStart && isOf34) {
    const replay = replayFrom(0n, logs);
    const message =
      "there is no snapshot, and the logs begin with the very first txn: ZooKeeper 3.4 starts from that. 3.5.3 and " +
      "later do not, unless (from 3.5.6 on) zookeeper.snapshot.trust.empty=true is set for the first start";
    const problems = [setProblem("info", "LOGS_ONLY", message)];
    return { recoverable: { zxid: replay.zxid, from: null, logs: replay.used }, replay, problems };
  }
  if (partial) return { recoverable: null, replay: null, problems: [] };
  const reason =
    first === null
      ? "there is no snapshot and no txn in the logs"
      : isFromTheStart
        ? "there is no snapshot, and the logs are of 3.5 or later, which does not start from logs alone"
        : `there is no snapshot, and the logs begin with ${formatZxid(first)}: what came before is lost`;
  return { recoverable: null, replay: null, problems: [setProblem("fatal", "NO_SNAPSHOT", reason)] };
}

function setProblem(severity: Severity, code: string, message: string): Problem {
  return { severity, code, file: null, offset: null, message };
}

type Dated = Pick<CheckedSnapshot, "zxid" | "mtimeMs" | "file">;

/** By zxid, and of those of one zxid the one that was written last: `snapshot.22` beside `snapshot.22.gz`. */
export function newestFirst(a: Dated, b: Dated): number {
  if (a.zxid !== b.zxid) return a.zxid > b.zxid ? -1 : 1;
  if (a.mtimeMs !== b.mtimeMs) return b.mtimeMs - a.mtimeMs;
  return a.file < b.file ? -1 : 1;
}
