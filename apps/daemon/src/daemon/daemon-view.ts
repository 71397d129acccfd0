import type { CandidacyState, ErrorCode, Manifest } from "@zk-backyp/core";
import type { EventEmitter } from "eventemitter3";

/**
 * What the daemon knows and can be asked to do: the one thing that its HTTP interface, metrics and notifications are
 * made from. All times are ISO 8601 in UTC.
 */
export interface DaemonView {
  readonly events: EventEmitter<DaemonEvents>;
  status(): DaemonStatus;
  /**
   * Has no run begin for so long. What is under way is aborted, or its end waited for: {@link DaemonStatus.state} says
   * when nothing is any more. While the daemon is held already this makes that longer, never shorter, and may abort what
   * was waited for. A daemon that is stopping goes on with that.
   */
  hold(options: HoldOptions): void;
  /** Goes on, whoever has asked for the hold, and makes up for what was missed. Without a hold it does nothing. */
  release(): void;
  /** In the order of the configuration. They are others after a reload. */
  series(): readonly SeriesView[];
}

/** What happens. Listeners must not throw. */
export interface DaemonEvents {
  /** Something of this series' status has changed; null: of the daemon itself, such as which series there are. */
  changed: (series: string | null) => void;
  "run:start": (series: string, run: CurrentRun) => void;
  "run:end": (series: string, run: RunRecord) => void;
}

/** How to {@link DaemonView.hold}. */
export interface HoldOptions {
  /**
   * Whether what is under way is aborted: the server is about to be stopped. Then who is elected stays so, and keeps other
   * nodes from stopping theirs; else it lets another node go first.
   */
  readonly abort: boolean;
  readonly seconds: number;
}

/** Nothing begins for now. */
export interface Hold {
  readonly since: string;
  /** When the daemon goes on by itself. */
  readonly until: string;
  /** Whether what was under way is, or was, aborted. */
  readonly abort: boolean;
  /** Once it is held: which server is not back that a run had stopped, and why. Null if there is none. */
  readonly problem: string | null;
}

export interface DaemonStatus {
  readonly version: string;
  readonly host: string;
  readonly startedAt: string;
  /**
   * `holding`: it begins nothing for now, and something is still under way, or a server not back yet. `held`: neither is
   * so, but for {@link Hold.problem}. `stopping`: it ends what is
   * under way and begins nothing.
   */
  readonly state: "running" | "holding" | "held" | "stopping";
  /** Null if it is not held. */
  readonly hold: Hold | null;
  readonly config: {
    readonly path: string;
    /** When the configuration that is in force was read. */
    readonly loadedAt: string;
    /** Why a later one was not taken; null if none was refused. */
    readonly refused: { readonly at: string; readonly message: string } | null;
  };
  readonly series: readonly SeriesStatus[];
}

/** One series in one daemon. */
export interface SeriesView {
  readonly name: string;
  status(): SeriesStatus;
  /** Runs that have ended, newest first; at most 200 are remembered, also over restarts if there is a state directory. */
  runs(): readonly RunRecord[];
  /** What the sink holds, newest first: listed at most some seconds ago, or now if that was longer ago. */
  backups(options?: { readonly signal?: AbortSignal }): Promise<readonly BackupSummary[]>;
  /** @throws BackypError `ERR_BACKUP_NOT_FOUND` and what a sink throws */
  backup(id: string, options?: { readonly signal?: AbortSignal }): Promise<Manifest>;
  /**
   * Begins a backup now, whoever is elected.
   *
   * @throws BackypError `ERR_BUSY` if a run of this series is under way, or the daemon is stopping; `ERR_HELD`
   */
  runNow(): CurrentRun;
  /**
   * Begins to read a backup (an id, or `latest`) back.
   *
   * @throws BackypError `ERR_BUSY`, `ERR_HELD`
   */
  verifyNow(id: string): CurrentRun;
}

/**
 * `ok`: the last backup is good and not older than it may be. `failing`: the last run has failed. `stale`: there is no good
 * backup that is as new as it has to be; worse than failing. `unknown`: nothing has run, and the sink was not seen yet.
 */
export type Health = "ok" | "failing" | "stale" | "unknown";

export interface SeriesStatus {
  readonly name: string;
  readonly prefix: string;
  /** Name of the source plugin. */
  readonly source: string;
  /** Where the backups are; holds no secret. */
  readonly sink: string;
  readonly mode: string;
  /** For people: `every 24 h`, `0 2 * * * Europe/Berlin`. */
  readonly schedule: string;
  /** Where it runs: `always`, `elected`, or the host or id that was configured. */
  readonly runOn: string;
  /** Why this node never runs it: it is another one's. Null if it may. */
  readonly notHere: string | null;
  readonly health: Health;
  /** A sentence on it: what is wrong and what to do, or that all is well. */
  readonly healthText: string;
  readonly election: ElectionStatus | null;
  /** Null while something runs, while the daemon is held, and where nothing will. */
  readonly next: NextRun | null;
  readonly current: CurrentRun | null;
  readonly lastRun: RunRecord | null;
  /** Failed backup runs since the last one that did not. */
  readonly failuresInARow: number;
  /** The newest good backup in the sink, whoever made it: when it was begun. Null if there is none, or none was seen yet. */
  readonly lastGood: { readonly id: string; readonly startedAt: string; readonly upToTime: string | null } | null;
  /** When a newer one has to be there; null if it was not configured. */
  readonly staleAt: string | null;
  readonly lastVerified: { readonly id: string; readonly at: string } | null;
  /** As far as the sink was last seen; null before that. */
  readonly totals: {
    readonly backups: number;
    readonly bytes: number;
    readonly damaged: number;
    readonly seenAt: string;
  } | null;
}

export interface ElectionStatus {
  readonly state: CandidacyState;
  readonly since: string;
  /** The elected one's host, as far as it is known. */
  readonly holder: string | null;
  readonly problem: string | null;
}

export interface NextRun {
  /** The slot of the schedule that it is for. */
  readonly slot: string;
  /** When it begins: later than the slot by jitter, or because a run failed. */
  readonly at: string;
  readonly trigger: Trigger;
}

/** Why a run began. `catch-up`: the daemon was not there, or could not, when it should have begun. */
export type Trigger = "schedule" | "catch-up" | "retry" | "first" | "request";

export type RunKind = "backup" | "verify" | "prune";

export interface CurrentRun {
  /** Unique, and in every line of the log that is about it. */
  readonly runId: string;
  readonly kind: RunKind;
  readonly trigger: Trigger;
  readonly slot: string | null;
  readonly startedAt: string;
  /** What it makes or reads; null before that is known. */
  readonly backupId: string | null;
  readonly bytes: number;
  /** What `bytes` will roughly come to; 0 before that is known. */
  readonly totalBytes: number;
  /** The last step that the source has told, such as `stopped`. */
  readonly step: string | null;
}

/**
 * `damaged`: a verification found damage. `skipped`: there was nothing to do, or not now. `postponed`: something else was
 * at it; what was scheduled is tried again in half a minute. `taken`: another daemon has stored
 * the backup for this slot. `lost`: this node was no longer the elected one when it came to storing the backup.
 */
export type Outcome = "ok" | "failed" | "damaged" | "skipped" | "postponed" | "taken" | "lost" | "aborted";

export interface RunRecord {
  readonly runId: string;
  readonly kind: RunKind;
  readonly trigger: Trigger;
  readonly slot: string | null;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly durationMs: number;
  readonly outcome: Outcome;
  readonly backupId: string | null;
  /** Of a backup, the archive's bytes in the sink; of a prune, what it freed. */
  readonly bytes: number | null;
  /** How long the server was down for it; null if it was not stopped. */
  readonly downtimeMs: number | null;
  /** What happened, in a sentence. */
  readonly message: string;
  readonly error: RunError | null;
}

export interface RunError {
  readonly code: ErrorCode;
  /** What failed, on what. */
  readonly message: string;
  /** What to do. */
  readonly remedy: string;
}

/** A restore point, as a list shows it. */
export interface BackupSummary {
  readonly id: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  /** Of the archive. */
  readonly bytes: number;
  /** Of the files in it. */
  readonly plainBytes: number;
  readonly downtimeMs: number | null;
  /** The last zxid, for people: `0x1a00000003`. */
  readonly upTo: string;
  /** Time of the last change that it holds. */
  readonly upToTime: string | null;
  /** Whether it was found to restore without loss when it was taken. */
  readonly verified: boolean;
  /** When it was last read back and found good, or null. Only what this daemon did is known. */
  readonly verifiedAt: string | null;
  /** In words, or null. */
  readonly pinned: string | null;
  /** Why its manifest cannot be read: then all else but the id is empty. */
  readonly problem: string | null;
  /** The exact command that restores it on this host. */
  readonly restoreCommand: string;
}
