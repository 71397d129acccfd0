import type { Candidacy } from "./candidacy.ts";
import type { CheckItem } from "./check.ts";
import type { Entry } from "./entry.ts";
import type { BackypError } from "./errors.ts";
import type { JsonObject } from "./json.ts";
import type { Manifest } from "./manifest.ts";
import type { PositionRange } from "./position.ts";
import type { CaptureContext, RunContext } from "./run-context.ts";

/** A finding about captured data. `fatal`: it would not load. `data-loss`: it would load with something missing. */
export interface Problem {
  readonly severity: "fatal" | "data-loss" | "info";
  /** Stable upper-case word, such as `LOG_TORN_TAIL`. */
  readonly code: string;
  /** The file it is about, or null where it is about the set. */
  readonly file: string | null;
  /** Byte offset in the (uncompressed) file, or null. */
  readonly offset: number | null;
  readonly message: string;
}

/** Wall-clock times of the first and the last change that a backup holds; lets people restore by time. */
export interface TimeRange {
  readonly from: Date;
  readonly upTo: Date;
}

/** What a {@link Verifier} found the bytes to be. */
export interface Verdict {
  readonly range: PositionRange;
  readonly times: TimeRange | null;
  /**
   * Facts computed from the bytes alone, such as counts and digests. Equal bytes give equal contents: `verify`
   * compares them with what the backup recorded.
   */
  readonly contents: JsonObject;
  /**
   * How it is known that the contents are right: what was compared with what. The backup records it; `verify` does not
   * compare it, since a later release may know better how to tell.
   */
  readonly proof?: JsonObject;
  /**
   * Findings. With one that is not `info` the backup is refused (`ERR_SOURCE_DAMAGED`), unless damage is allowed: then
   * it is kept as what it is, with `verified: false`.
   */
  readonly problems: readonly Problem[];
}

/**
 * Watches the files of one backup go by, in their order: into the archive during a backup, out of it during `verify`
 * and `restore`. So that checking costs no second read.
 */
export interface Verifier {
  /**
   * Returns `entry` with a body that is looked at as it is read.
   *
   * @throws BackypError `ERR_SOURCE_DAMAGED` while the body is read, where the bytes are not what they should be
   */
  watch(entry: Entry): Entry;
  /**
   * Call once, after the last entry was read to its end. That the files together would not restore without loss is
   * said by a problem that is not `info`, or thrown where there is nothing that could be kept.
   *
   * @throws BackypError `ERR_SOURCE_DAMAGED` when the files are no backup at all
   */
  finish(): Verdict;
}

/** What is to be captured. */
export interface CaptureRequest {
  /** More kinds may come. */
  readonly kind: "full";
  /**
   * What this run's earlier captures failed with (`ERR_SOURCE_CHANGED`), oldest first. What a source puts into an
   * error's `details` it finds here again, and so it knows what not to choose once more. An error whose details have
   * `isProgress: true` does not count among the failures after which a run gives up.
   */
  readonly earlierFailures: readonly BackypError[];
  /**
   * Keep what there is, although it is damaged. Only asked of a source after a capture without it ended with
   * `ERR_SOURCE_DAMAGED`, or with another error that has `mayBeKept: true` in its details. That is the last of
   * `earlierFailures` that is not `ERR_SOURCE_CHANGED`. A source that can keep nothing throws it again. What is
   * wrong is said in a serious problem; else the run itself says what was refused (`CAPTURE_REFUSED`).
   */
  readonly allowDamaged?: boolean;
}

/** Why there is nothing to capture now, which is no failure. */
export interface Skipped {
  /** Stable lower-case words: `nothing-new`, or what else the source documents. */
  readonly skipped: string;
  /** For people: what was skipped, and why. */
  readonly message: string;
}

/** One backup in the making. */
export interface Capture {
  /** Facts about the source at this moment, for the manifest: versions, roles, what was passed over and why. */
  readonly facts: JsonObject;
  /** Roughly how many bytes `entries` will yield; for progress only. */
  readonly estimatedBytes: number;
  /** Its `watch` sees every entry on its way to the archive. */
  readonly verifier: Verifier;
  /**
   * The files, in the order in which they are archived. Called once. An entry's size is fixed when it is yielded.
   *
   * @throws BackypError `ERR_SOURCE_CHANGED` if what was chosen proved unusable and a new capture would choose better
   */
  entries(): AsyncIterable<Entry>;
  /** Called exactly once, also after a failure. Gives back everything that was held. */
  close(): Promise<void>;
}

/** One backup on its way back. */
export interface RestoreStep {
  readonly kind: CaptureRequest["kind"];
  readonly range: PositionRange;
  /** Entries in archive order, each already checked against the manifest's size and hash. */
  readonly entries: AsyncIterable<Entry>;
}

/**
 * Empty folders to restore into, made by core inside the real targets; what they hold is moved there when all is good.
 * `main` is always there; a source documents the other names it knows (ZooKeeper: `log`).
 */
export interface RestoreFolders {
  readonly main: string;
  readonly [role: string]: string;
}

/** Where a backup goes that replaces what is there: what was given for `main`, and for the other roles; absolute paths. */
export interface ReplaceTargets {
  readonly main: string;
  readonly [role: string]: string;
}

/**
 * Data that a restored backup is about to replace; held, so that nobody else replaces it too. Core fills hidden folders
 * inside the targets meanwhile, with everything checked, so that what is there is not touched by a backup that is no good.
 */
export interface Replacement {
  /**
   * Called once, before anything of the backup's files is read.
   *
   * @param newest the newest backup of the series, which may know of later things than this one; null if none is readable
   * @throws BackypError `ERR_TARGET_UNAVAILABLE` where there is no room for it, or it may not be put there
   */
  prepare(manifest: Manifest, newest: Manifest | null): Promise<void>;
  /**
   * Moves what was there aside, and what {@link Source.restore} wrote into these folders into its place. Whatever ends
   * it, what is in place is the old data or the new, or neither is used before the next {@link Source.replace} has
   * put the old data back. The old data is kept.
   *
   * @returns what was done, for people and programs
   * @throws BackypError with the old data in place
   */
  complete(folders: RestoreFolders): Promise<JsonObject>;
  /** Called once in any case. Gives back everything that is held. */
  close(): Promise<void>;
}

/** How to prove a restored backup by the thing itself. */
export interface Rehearsal {
  /**
   * Starts the thing on the restored files, which it may change, and compares what it says with what the manifest
   * records. Whatever it started is gone when it settles.
   *
   * @returns what was seen, for people and programs
   * @throws BackypError `ERR_REHEARSAL_FAILED` when it does not start on them, or differs from the manifest
   * @throws BackypError `ERR_REHEARSAL_UNAVAILABLE` when nothing can be said about the backup
   */
  run(folders: RestoreFolders, manifest: Manifest, context: RunContext): Promise<JsonObject>;
}

/**
 * A thing that can be backed up. Make one with a plugin (see `defineSource`) or by hand; it is a plain object.
 *
 * `capture` needs the thing itself. `verifier` and `restore` need only knowledge of its format: they work on a source
 * that was created without saying where the data is.
 */
export interface Source {
  /** Written to manifests; a restore looks the plugin up by it. */
  readonly name: string;
  /** Names besides `main` that `restore` takes in its folders. */
  readonly restoreRoles: readonly string[];
  /** File names that may lie in a restore target already and stay there, such as ZooKeeper's `myid`. */
  readonly restoreKeeps: readonly string[];
  /**
   * Whether a capture disturbs the thing, as one that stops a server does. Then a run writes something small into the
   * sink first, so that nothing is disturbed for a backup that cannot be stored. Default: false.
   */
  readonly disturbs?: boolean;
  /**
   * Chooses what to back up, or says why there is nothing to do now. A run may capture several times; what its captures
   * share is kept with `context.run`.
   *
   * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when the source cannot be read
   * @throws BackypError `ERR_SOURCE_DAMAGED` when it holds nothing that would restore without loss
   */
  capture(request: CaptureRequest, context: CaptureContext): Promise<Capture | Skipped>;
  /** A new checker for the files of one backup, read back from an archive. */
  verifier(): Verifier;
  /**
   * Writes what the steps hold, oldest first, into the folders. Everything is durable (fsync) when it resolves.
   *
   * @throws BackypError `ERR_TARGET_UNAVAILABLE` when the folders cannot be written
   */
  restore(steps: AsyncIterable<RestoreStep>, folders: RestoreFolders, context: RunContext): Promise<void>;
  /**
   * Gets ready to replace the data that these directories hold; first of all it undoes what a replacement has left that
   * did not end. A source that cannot do that does without: its backups are restored into empty directories only.
   *
   * @throws BackypError `ERR_TARGET_IN_USE` while something uses them, `ERR_BUSY` while another replacement is at them
   * @throws BackypError `ERR_TARGET_NOT_EMPTY` where they hold something that is not such data
   * @throws BackypError `ERR_TARGET_UNAVAILABLE`, `ERR_CONFIG_INVALID`
   */
  replace?(targets: ReplaceTargets, context: RunContext): Promise<Replacement>;
  /**
   * For `verify` with `deep`; a source may do without. Called before anything is read from the sink.
   *
   * @throws BackypError `ERR_REHEARSAL_UNAVAILABLE` when something that it needs is not installed
   */
  rehearse?(context: RunContext): Promise<Rehearsal>;
  /**
   * Pays what a run that died has left owing, such as the start of a server that it had stopped; a source that leaves
   * nothing does without. For the start of a daemon, and for whoever wants it done now. A capture does it by itself.
   *
   * @returns what was done, for people and programs
   */
  recover?(context: RunContext): Promise<JsonObject>;
  /**
   * Stands for election among all nodes that could do the job called `name`, of which one at a time does it. For sources
   * that are a part of something which several nodes run, and that can agree through it.
   *
   * @param name the same on all nodes: which job it is
   * @param label what others are told of this one; everybody may read it
   * @returns at once, also where nobody can be reached yet: it goes on trying
   * @throws BackypError `ERR_CONFIG_INVALID`
   */
  elect?(name: string, label: Readonly<Record<string, string>>, context: RunContext): Promise<Candidacy>;
  /** What this node is called among those that run the same thing, such as ZooKeeper's `myid`; null if nothing tells. */
  nodeName?(context: RunContext): Promise<string | null>;
  /**
   * Tries whatever a backup will need, and changes nothing: what is there, whether it can be read, whether it answers.
   * What is wrong is an item, and no error.
   *
   * @throws BackypError `ERR_ABORTED`
   */
  check?(context: RunContext): AsyncIterable<CheckItem>;
  close(): Promise<void>;
}
