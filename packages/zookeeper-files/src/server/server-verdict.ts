import { logsFor } from "../file-names.ts";
import type { Problem } from "../problem.ts";
import { type DamagedSnapshotReading, type SnapshotReader, UNSEEN } from "../snapshot/damaged-snapshot.ts";
import type { SnapshotSummary } from "../snapshot/snapshot-summary.ts";
import { epochOf, formatZxid } from "../zxid.ts";
import { type EpochFiles, epochOfNothing, epochRefusal, epochWithoutDataMessage } from "./epoch-files.ts";
import {
  type CheckedLog,
  type CheckedSnapshot,
  highestUnreached,
  newestFirst,
  planRecovery,
  type Recoverable,
  replayProblems,
} from "./recovery.ts";
import { isSince, type ServerRelease } from "./server-release.ts";

/** ZooKeeper's own default of `jute.maxbuffer`, in bytes. */
export const DEFAULT_JUTE_MAX_BUFFER = 0xfffff;

/** Settings of a server that decide what it does with its files. All are system properties of its JVM. */
export interface ServerSettings {
  /** `zookeeper.extendedTypesEnabled`: without it TTL nodes are deleted at the start. Default false, as ZooKeeper's. */
  readonly extendedTypesEnabled?: boolean;
  /** `zookeeper.digest.enabled`: whether snapshots are read and written with a digest. Default true, as ZooKeeper's. */
  readonly digestEnabled?: boolean;
  /** `zookeeper.snapshot.trust.empty`: logs without any snapshot are replayed. Default false, as ZooKeeper's. */
  readonly trustEmptySnapshot?: boolean;
  /** `jute.maxbuffer` in bytes. Default {@link DEFAULT_JUTE_MAX_BUFFER}, as ZooKeeper's. */
  readonly juteMaxBuffer?: number;
  /** Only the member of an ensemble looks at the epoch files. Default: `ensemble` if there are any, else `standalone`. */
  readonly role?: "standalone" | "ensemble";
}

/** The files of one server, checked. */
export interface FileSet {
  readonly snapshots: readonly CheckedSnapshot[];
  readonly logs: readonly CheckedLog[];
  readonly epochs?: EpochFiles;
  /** Files by whose mere names a server with a `dataLogDir` of its own refuses: logs in the one, snapshots in the other. */
  readonly misplaced?: readonly string[];
  /** The state that all of it restores to, if it was replayed. */
  readonly replayed?: ReplayedState | undefined;
}

/** What decides which nodes a server deletes at the end of its start. */
export interface ReplayedState {
  readonly containers: number;
  readonly ttlNodes: number;
  /** Whether there is a node with this path that belongs to another owner or to none, and this owner has no session. */
  readonly isDeletedAsStray: (owner: bigint, path: string) => boolean;
  /** `DANGLING_ACL_USED`, and the releases that it keeps from starting. */
  readonly danglingAclUsed?: { readonly problem: Problem; readonly releases: readonly ServerRelease[] } | null;
  /** `DIGEST_MISMATCH`, if the files hold a digest that is not that of the state. */
  readonly mismatch?: Problem | null;
}

/** What a server does at its start. */
export interface ServerVerdict {
  readonly release: ServerRelease;
  /**
   * - `loads`: it comes up with everything that the files hold;
   * - `loads-with-loss`: it comes up and says nothing, but something is missing, or a mixture of states;
   * - `refuses`: it does not start.
   */
  readonly outcome: "loads" | "loads-with-loss" | "refuses";
  /** The snapshot that it loads. Null where it refuses before, or loads none. */
  readonly snapshot: string | null;
  /** The logs that it reads, oldest first; all of them, although it may stop at the first one that is damaged. */
  readonly logs: readonly string[];
  /** Where it comes up; null where it refuses. */
  readonly zxid: bigint | null;
  /** Why it refuses, or what is lost: `fatal` and `data-loss`. Empty for `loads`. */
  readonly reasons: readonly Problem[];
}

/**
 * What a server of the given release would do at its start with these files, by its own rules. They are laxer than those
 * of {@link planRecovery}: a server starts with less than everything, and does not tell. Checked against the servers'
 * own code, with thousands of damaged sets.
 */
export function checkSet(set: FileSet, options: { readonly release: ServerRelease } & ServerSettings): ServerVerdict {
  return new Start(set, options).run();
}

/** How many bytes a server accepts for one field of a file. */
export function maxFieldBytesOf(release: ServerRelease, juteMaxBuffer: number = DEFAULT_JUTE_MAX_BUFFER): number {
  return juteMaxBuffer + (release === "3.4" ? 1024 : Math.max(juteMaxBuffer, 1024));
}

/** How a release reads snapshots. */
function snapshotReaderOf(release: ServerRelease): SnapshotReader {
  if (release === "3.4") return "3.4";
  if (!isSince(release, "3.6")) return "3.5";
  return isSince(release, "3.9") ? "3.9" : "3.6";
}

/** A server tries so many snapshots, and no more. */
const MAX_CANDIDATES = 100;

class Refusal extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.message);
    this.problem = problem;
  }
}

class Start {
  readonly #set: FileSet;
  readonly #release: ServerRelease;
  readonly #settings: Required<Omit<ServerSettings, "role" | "juteMaxBuffer">>;
  readonly #maxFieldBytes: number;
  readonly #isMember: boolean;
  readonly #recoverable: Recoverable | null;
  readonly #losses: Problem[] = [];
  #snapshot: CheckedSnapshot | null = null;
  #logs: readonly CheckedLog[] = [];

  constructor(set: FileSet, options: { readonly release: ServerRelease } & ServerSettings) {
    const { release, extendedTypesEnabled = false, digestEnabled = true, trustEmptySnapshot = false } = options;
    this.#set = set;
    this.#release = release;
    this.#settings = { extendedTypesEnabled, digestEnabled, trustEmptySnapshot };
    this.#maxFieldBytes = maxFieldBytesOf(release, options.juteMaxBuffer);
    const { currentEpoch = null, acceptedEpoch = null } = set.epochs ?? {};
    const role = options.role ?? (currentEpoch === null && acceptedEpoch === null ? "standalone" : "ensemble");
    this.#isMember = role === "ensemble";
    this.#recoverable = planRecovery(set.snapshots, set.logs, { partial: true }).recoverable;
  }

  run(): ServerVerdict {
    const verdict = (
      outcome: ServerVerdict["outcome"],
      zxid: bigint | null,
      reasons: readonly Problem[],
    ): ServerVerdict => ({
      release: this.#release,
      outcome,
      snapshot: this.#snapshot?.file ?? null,
      logs: this.#logs.map(({ file }) => file),
      zxid,
      reasons,
    });
    try {
      const zxid = this.#load();
      return verdict(this.#losses.length === 0 ? "loads" : "loads-with-loss", zxid, this.#losses);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return verdict("refuses", null, [error.problem]);
    }
  }

  #load(): bigint {
    this.#checkPlaces();
    this.#snapshot = this.#chooseSnapshot();
    const start = this.#snapshot?.zxid ?? 0n;
    const isEmpty = this.#snapshot === null && this.#isEmptyWithoutSnapshot();
    if (!isEmpty) this.#logs = this.#chooseLogs(start);
    this.#checkLogs();
    const zxid = this.#replay(start);
    this.#checkAclsInReplay();
    this.#checkWhatIsReached(zxid);
    this.#checkNodes();
    if (this.#isMember && this.#set.epochs !== undefined) this.#checkEpochs(this.#set.epochs, zxid);
    return zxid;
  }

  #checkPlaces(): void {
    const [file] = this.#set.misplaced ?? [];
    if (file === undefined || this.#release === "3.5.3") return;
    this.#refuse("FILE_MISPLACED", file, null, misplacedMessage());
  }

  /** The release's rule for names, and the quick look that decides whether it tries the file. */
  #chooseSnapshot(): CheckedSnapshot | null {
    const candidates = this.#set.snapshots
      .filter((snapshot) => this.#readsName(snapshot.file) && this.#readingOf(snapshot).outcome !== "unseen")
      .toSorted(newestFirst)
      .slice(0, MAX_CANDIDATES);
    for (const snapshot of candidates) {
      const { outcome, reason, strays } = this.#readingOf(snapshot);
      if (outcome === "loads") return snapshot;
      if (outcome === "stops") {
        const message = `${reason}: servers end with an exception, and do not try another snapshot. Move the file away`;
        this.#refuse("SNAPSHOT_STOPS_SERVER", snapshot.file, snapshot.error?.offset ?? null, message);
      }
      for (const { owner, path } of strays) {
        if (owner < 0n && this.#release === "3.5.3") continue;
        if (this.#set.replayed?.isDeletedAsStray(owner, path) === false) continue;
        const message =
          `servers fail to read it, but remember that it says ${path} belongs to a session of its own, which is not ` +
          "there, and delete that node at the end of their start. Move the file away";
        this.#lose("SNAPSHOT_LEAVES_STRAYS", snapshot.file, snapshot.error?.offset ?? null, message);
        break;
      }
    }
    if (candidates.length === 0) return null;
    const message =
      `servers look for a snapshot, and none of the ${candidates.length} that they try can be loaded: ` +
      "they do not start";
    return this.#refuse("NO_VALID_SNAPSHOT", null, null, message);
  }

  #readsName(file: string): boolean {
    if (isSince(this.#release, "3.6")) return true;
    // Java's split drops what is empty at the end: a name may end in a dot.
    return (
      file
        .slice(file.lastIndexOf("/") + 1)
        .replace(/\.+$/, "")
        .split(".").length === 2
    );
  }

  #readingOf(snapshot: CheckedSnapshot): DamagedSnapshotReading {
    const reader = snapshotReaderOf(this.#release);
    const { summary, readings } = snapshot;
    if (summary === null) return readings?.get(reader) ?? UNSEEN;
    const isReadable = summary.largestFieldBytes <= this.#maxFieldBytes && this.#readsTail(summary, reader);
    const outcome = isReadable ? "loads" : "passed-over";
    return { outcome, reason: null, strays: [], highestZxid: summary.highestZxid };
  }

  /** The sections behind the nodes carry no tags: a server reads what its settings make it expect. */
  #readsTail({ digest, lastZxid }: SnapshotSummary, reader: SnapshotReader): boolean {
    if (reader === "3.4" || reader === "3.5") return true;
    if (this.#settings.digestEnabled) return digest !== null || lastZxid === null;
    return reader === "3.6" || digest === null;
  }

  #readableLogs(): CheckedLog[] {
    return this.#set.logs.filter(({ file }) => this.#readsName(file));
  }

  /** Of several logs of one zxid a server reads only one where it begins, and all of them further on. */
  #chooseLogs(start: bigint): CheckedLog[] {
    const logs = logsFor(start, this.#readableLogs()).toSorted((a, b) =>
      a.zxid === b.zxid ? a.file.length - b.file.length : 0,
    );
    const [first] = logs;
    return logs.filter((log) => log === first || log.zxid !== first?.zxid || log.zxid > start);
  }

  /** Without any snapshot: whether the server begins with nothing, and leaves the logs alone. */
  #isEmptyWithoutSnapshot(): boolean {
    if (this.#release === "3.4" || this.#readableLogs().length === 0) return false;
    if (!this.#settings.trustEmptySnapshot || !isSince(this.#release, "3.5.6")) {
      const message =
        "there are logs, but no snapshot that the server tries: it does not start. To replay the logs from the first " +
        "one on, 3.5.7 and later need zookeeper.snapshot.trust.empty=true for one start";
      this.#refuse("NO_SNAPSHOT", null, null, message);
    }
    return this.#release === "3.5.6";
  }

  #checkLogs(): void {
    for (const [index, log] of this.#logs.entries()) this.#checkLog(log, index === this.#logs.length - 1);
  }

  #checkLog({ file, summary }: CheckedLog, isLast: boolean): void {
    const [problem] = summary.problems;
    const { code } = problem ?? { code: "" };
    if (this.#release === "3.4" && summary.firstTypeOf35 !== null) {
      const { type, offset } = summary.firstTypeOf35;
      this.#refuse("LOG_TYPE_OF_35", file, offset, `a txn of type ${type}, which 3.4 does not know`);
    }
    const largest = Math.max(summary.largestEntryBytes, summary.brokenEntryBytes ?? 0);
    if (largest > this.#maxFieldBytes) {
      const isBroken = largest === summary.brokenEntryBytes;
      const message =
        `a record of ${largest} bytes: servers refuse more than ${this.#maxFieldBytes}. ` +
        (isBroken ? "Its length is damaged" : `Set jute.maxbuffer to ${neededBuffer(largest, this.#release)} or more`);
      this.#refuse("LOG_RECORD_TOO_LARGE", file, isBroken ? (problem?.offset ?? null) : null, message);
    }
    if (problem === undefined) return;
    if (code === "LOG_EMPTY" && isLast && isSince(this.#release, "3.9.3")) return;
    if (problem.severity === "fatal") this.#refuse(code, file, problem.offset, problem.message);
    if (problem.severity === "data-loss") this.#lose(code, file, problem.offset, problem.message);
  }

  /** Returns where the server comes up. */
  #replay(start: bigint): bigint {
    let zxid = start;
    let cached: bigint | null = null;
    let isReplaying = false;
    for (const log of this.#logs) {
      for (const run of log.summary.runs) {
        // Up to the snapshot it skips, and from the first later txn on it applies whatever comes.
        if (!isReplaying && run.last <= start) continue;
        const first = !isReplaying && run.first <= start ? start + 1n : run.first;
        isReplaying = true;
        if (run.last > zxid) zxid = run.last;
        if (
          cached !== null &&
          first > cached + 1n &&
          epochOf(first) === epochOf(cached) &&
          isSince(this.#release, "3.9.4")
        ) {
          const message =
            `${formatZxid(first)} follows ${formatZxid(cached)} in one epoch: txns are missing, and servers from 3.9.4 on ` +
            "do not start";
          this.#refuse("LOG_GAP", log.file, run.offset, message);
        }
        if (cached === null || run.last > cached) cached = run.last;
      }
    }
    for (const problem of replayProblems(start, this.#logs)) this.#losses.push(problem);
    return zxid;
  }

  /** Known of the snapshot that was replayed, which it is not certain that the server loads. */
  #checkAclsInReplay(): void {
    const { problem, releases } = this.#set.replayed?.danglingAclUsed ?? { problem: null, releases: [] };
    const isReplayed = this.#snapshot !== null && this.#snapshot.file === this.#recoverable?.from;
    if (problem !== null && isReplayed && releases.includes(this.#release)) throw new Refusal(problem);
  }

  #checkWhatIsReached(zxid: bigint): void {
    const recoverable = this.#recoverable;
    const snapshot = this.#snapshot;
    if (snapshot !== null) {
      const traces = [
        this.#readingOf(snapshot).highestZxid,
        snapshot.summary?.digest?.zxid ?? 0n,
        snapshot.summary?.lastZxid ?? 0n,
      ];
      const uncovered = highestUnreached(traces, snapshot.zxid, this.#logs);
      if (uncovered !== null) {
        const message =
          `the snapshot was written while txns up to ${formatZxid(uncovered)} were applied, and the logs do not hold ` +
          "them all: the server comes up with a mixture of states";
        this.#lose("SNAPSHOT_NOT_COVERED", snapshot.file, null, message);
      }
    }
    if (recoverable !== null && zxid < recoverable.zxid) {
      const files = [recoverable.from, ...recoverable.logs].filter((file) => file !== null).join(" + ");
      const message = `it comes up at ${formatZxid(zxid)}, but ${files} hold everything up to ${formatZxid(recoverable.zxid)}`;
      this.#lose("SERVER_STOPS_SHORT", null, null, message);
    }
    for (const other of this.#set.snapshots) {
      if (other.error === null || !this.#readsName(other.file) || this.#losses.some(({ file }) => file === other.file))
        continue;
      if (other === snapshot || highestUnreached([other.zxid], snapshot?.zxid ?? 0n, this.#logs) === null) continue;
      const message = `servers pass it over, and the other files do not reach its ${formatZxid(other.zxid)}: ${other.error.message}`;
      this.#lose(other.error.code, other.file, other.error.offset, message);
    }
  }

  #checkNodes(): void {
    const mismatch = this.#set.replayed?.mismatch ?? null;
    if (mismatch !== null) this.#losses.push(mismatch);
    const summary = this.#snapshot?.summary ?? null;
    const isRepaired = this.#release === "3.8.5" || isSince(this.#release, "3.9.4");
    if (summary !== null && summary.danglingAcls > 0 && !isRepaired) {
      const message =
        `${summary.danglingAcls} nodes have an ACL that the snapshot does not hold, and servers before 3.8.5 and 3.9.4 ` +
        "do not take it from the logs (ZOOKEEPER-4846): they fail where it is needed";
      this.#lose("SNAPSHOT_DANGLING_ACLS", this.#snapshot?.file ?? null, null, message);
    }
    const { ttlNodes, containers } = this.#set.replayed ?? summary ?? { ttlNodes: 0, containers: 0 };
    const isOf34 = this.#release === "3.4";
    // 3.5.3 takes every negative owner for a container or a time to live, whatever its settings.
    if (ttlNodes > 0 && this.#release !== "3.5.3" && (isOf34 || !this.#settings.extendedTypesEnabled)) {
      const remedy = isOf34 ? "3.4 does not know such nodes" : "set zookeeper.extendedTypesEnabled=true";
      const message = `${ttlNodes} nodes with a time to live, which the server deletes at the end of its start: ${remedy}`;
      this.#lose("TTL_NODES_VANISH", null, null, message);
    }
    if (containers > 0 && isOf34) {
      const message = `${containers} containers, which 3.4 does not know and deletes at the end of its start`;
      this.#lose("CONTAINERS_VANISH", null, null, message);
    }
  }

  #checkEpochs(epochs: EpochFiles, zxid: bigint): void {
    const refusal = epochRefusal(epochs, zxid, this.#release);
    if (refusal !== null) throw new Refusal(refusal);
    const epoch = this.#set.snapshots.length + this.#set.logs.length === 0 ? epochOfNothing(epochs) : null;
    if (epoch !== null) this.#lose("EPOCH_WITHOUT_DATA", "currentEpoch", null, epochWithoutDataMessage(epoch));
  }

  #refuse(code: string, file: string | null, offset: number | null, message: string): never {
    throw new Refusal({ severity: "fatal", code, file, offset, message });
  }

  #lose(code: string, file: string | null, offset: number | null, message: string): void {
    this.#losses.push({ severity: "data-loss", code, file, offset, message });
  }
}

export function misplacedMessage(): string {
  return (
    "snapshots belong into dataDir and logs into dataLogDir: where these are two directories, 3.4.12, 3.5.4 and later do " +
    "not start while one of them holds a file of the other kind. Move it where it belongs"
  );
}

/** The lowest `jute.maxbuffer` with which a record of so many bytes is read. */
function neededBuffer(bytes: number, release: ServerRelease): number {
  return release === "3.4" ? bytes - 1024 : Math.ceil(bytes / 2);
}
