import type { Archiver } from "./archiver.ts";
import { type BackupOptions, runBackup } from "./backup.ts";
import { requirePrefix } from "./backup-id.ts";
import { type Catalog, openCatalog } from "./catalog.ts";
import type { Codec } from "./codec.ts";
import { abortError, withCode } from "./errors.ts";
import { createEvents, type SeriesEmitter } from "./events.ts";
import { gzip } from "./gzip.ts";
import type { Manifest } from "./manifest.ts";
import { listPins, type Pin, type PinItem, removePin, storePin } from "./pins.ts";
import { type PruneResult, runPrune } from "./prune.ts";
import { type BackupReading, readBackup } from "./read-backup.ts";
import { type ReplacedBackup, type RestoreTargets, runReplace, runRestore } from "./restore.ts";
import type { RetentionRules } from "./retention-rules.ts";
import { type Logger, silentLogger } from "./run-context.ts";
import type { Sink } from "./sink.ts";
import type { Source } from "./source.ts";
import { tar } from "./tar.ts";
import { runVerify, type Verification } from "./verify.ts";
import { version } from "./version.ts";

export interface SeriesOptions {
  /** What ids and keys of the series begin with: 1 to 128 of `A-Za-z0-9._-`. */
  readonly prefix: string;
  readonly source: Source;
  readonly sink: Sink;
  /** Applied to the archive in this order. Default: gzip at level 5. */
  readonly codecs?: readonly Codec[];
  /** Default: `tar`. */
  readonly archiver?: Archiver;
  /** Default: says nothing. */
  readonly logger?: Logger;
  /** Default: the system's. */
  readonly clock?: () => Date;
  /** What manifests name as their writer. Default: this package. */
  readonly tool?: { readonly name: string; readonly version: string };
}

/**
 * The history of one source in one sink. Source and sink stay the caller's to close. Runs of several series, and of
 * one, may overlap: ids are unique and objects are written once.
 */
export interface Series {
  readonly events: SeriesEmitter;
  readonly catalog: Catalog;
  /**
   * Backs the source up. Returns null if there is nothing to do (event `backup:skipped` says why). What the sink shows after a failure is as before.
   *
   * With `allowDamaged` a damaged source fails only if there is nothing to keep of it. What is kept is a backup with
   * `verified: false` and the damage in `problems`; a good source gives a good backup, as without.
   *
   * With `slot` it is the backup for that slot of a schedule, of which there is never more than one.
   *
   * @throws BackypError `ERR_SOURCE_DAMAGED`, `ERR_SOURCE_UNAVAILABLE`, `ERR_SOURCE_CHANGED`, and what the sink throws
   * @throws BackypError `ERR_SLOT_TAKEN` where another run has stored the backup for the slot
   * @throws what `mayPublish` rejects with
   */
  backup(options?: BackupOptions): Promise<Manifest | null>;
  /**
   * Reads a backup (an id, or `"latest"`) back and checks every byte and what the bytes mean. With `deep` it is also
   * restored into a temporary folder, and the source tries it out there by the thing itself.
   *
   * @throws BackypError `ERR_ARCHIVE_CORRUPT`, `ERR_CHECKSUM_MISMATCH`, `ERR_SOURCE_DAMAGED`, `ERR_BACKUP_NOT_FOUND`
   * @throws BackypError `ERR_BACKUP_DAMAGED` for one that is what was stored, but was kept although it was damaged
   * @throws BackypError `ERR_REHEARSAL_FAILED` and, before anything is read, `ERR_REHEARSAL_UNAVAILABLE` (`deep`)
   */
  verify(id: string, options?: { readonly signal?: AbortSignal; readonly deep?: boolean }): Promise<Verification>;
  /**
   * Opens a backup (an id, or `"latest"`) to look inside. Every stored byte and every file is checked against the
   * manifest as it is read: only when the iteration has ended is what was read known to be good. Read each entry's body
   * to its end.
   *
   * @throws BackypError `ERR_BACKUP_NOT_FOUND`; and while reading `ERR_ARCHIVE_CORRUPT`, `ERR_CHECKSUM_MISMATCH`
   */
  read(id: string, options?: { readonly signal?: AbortSignal }): Promise<BackupReading>;
  /**
   * Restores a backup (an id, or `"latest"`) into empty directories. They are as they were if it fails. One that was
   * kept although it is damaged is restored only with `allowDamaged`.
   *
   * @throws BackypError `ERR_TARGET_NOT_EMPTY`, `ERR_TARGET_UNAVAILABLE`, and what `verify` throws
   */
  restore(
    id: string,
    targets: RestoreTargets,
    options?: { readonly signal?: AbortSignal; readonly allowDamaged?: boolean },
  ): Promise<Manifest>;
  /**
   * Restores a backup (an id, or `"latest"`) in the place of the data that these directories hold, which is kept beside
   * it. On any failure the old data is in place, at the latest after the next call for the same directories.
   *
   * @throws BackypError `ERR_TARGET_IN_USE`, `ERR_BUSY`, and what `restore` throws
   * @throws BackypError `ERR_CONFIG_INVALID` for a source that cannot replace data
   */
  replace(
    id: string,
    targets: RestoreTargets,
    options?: { readonly signal?: AbortSignal; readonly allowDamaged?: boolean },
  ): Promise<ReplacedBackup>;
  /**
   * Deletes the backups that no rule and no pin keeps, each one's manifest first, and what runs that died a day ago or
   * earlier have left. What cannot be deleted is in the result, and is tried again by the next prune. With `dryRun` it
   * only says what it would do. Backups and other prunes may run meanwhile.
   *
   * @throws BackypError `ERR_CONFIG_INVALID` for wrong rules, or none; and what the sink's `list` and `get` throw
   */
  prune(options: {
    readonly rules: RetentionRules;
    readonly dryRun?: boolean;
    readonly signal?: AbortSignal;
  }): Promise<PruneResult>;
  /**
   * Keeps a backup (an id, or `"latest"`) from being pruned, until a time or for good. Replaces the pin it has.
   *
   * @throws BackypError `ERR_BACKUP_NOT_FOUND`, `ERR_CONFIG_INVALID` for a time that is over or a reason over 1000 characters
   */
  pin(
    id: string,
    options?: { readonly until?: Date; readonly reason?: string; readonly signal?: AbortSignal },
  ): Promise<Pin>;
  /**
   * Resolves to whether the backup (an id, or `"latest"`) was pinned.
   *
   * @throws BackypError `ERR_BACKUP_NOT_FOUND`
   */
  unpin(id: string, options?: { readonly signal?: AbortSignal }): Promise<boolean>;
  /** All pins, by id, oldest backup first; also those that have expired. */
  pins(options?: { readonly signal?: AbortSignal }): Promise<readonly PinItem[]>;
}

/** What the runs share. */
export interface SeriesContext {
  readonly prefix: string;
  readonly source: Source;
  readonly sink: Sink;
  readonly catalog: Catalog;
  readonly archiver: Archiver;
  readonly codecs: readonly Codec[];
  /** What can be read back, also if it is not what is written now. */
  readonly archivers: readonly Archiver[];
  readonly knownCodecs: readonly Codec[];
  readonly logger: Logger;
  readonly clock: () => Date;
  /** The time for the next id: now, but later than any before, so that the ids of a series opened once never repeat. */
  readonly startTime: () => Date;
  readonly tool: { readonly name: string; readonly version: string };
  readonly emit: ReturnType<typeof createEvents>["emit"];
  /** Emits the failure and returns it as the error to throw. */
  failed(event: "backup:failed" | "verify:failed" | "restore:failed", backupId: string, cause: unknown): Error;
}

/** How far in ms ids may be ahead of the clock so that they do not repeat. */
const MOST_AHEAD_MS = 60_000;

/**
 * Puts a source and a sink together.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` for a bad prefix
 */
export function openSeries(options: SeriesOptions): Series {
  const { source, sink, archiver = tar, codecs = [gzip()], logger = silentLogger } = options;
  const prefix = requirePrefix(options.prefix);
  const { events, emit } = createEvents(logger);
  const clock = options.clock ?? (() => new Date());
  let lastStart = 0;
  const context: SeriesContext = {
    prefix,
    source,
    sink,
    catalog: openCatalog({ sink, prefix }),
    archiver,
    codecs,
    archivers: [archiver, tar],
    knownCodecs: [...codecs, gzip()],
    logger,
    clock,
    startTime() {
      const now = clock().getTime();
      // A clock that was far ahead and has been set right does not go on being believed.
      lastStart = lastStart - now > MOST_AHEAD_MS ? now : Math.max(lastStart + 1, now);
      return new Date(lastStart);
    },
    tool: options.tool ?? { name: "@zk-backyp/core", version },
    emit,
    failed(event, backupId, cause) {
      const error = withCode(cause);
      emit(event, { prefix, backupId, error });
      return error;
    },
  };
  const run = async <Result>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<Result>) => {
    const effective = signal ?? new AbortController().signal;
    if (effective.aborted) throw abortError(effective);
    return work(effective);
  };
  return {
    events,
    catalog: context.catalog,
    backup: (options = {}) => run(options.signal, (effective) => runBackup(context, options, effective)),
    verify: (id, { signal, deep = false } = {}) => run(signal, (effective) => runVerify(context, id, deep, effective)),
    read: (id, { signal } = {}) => run(signal, (effective) => readBackup(context, id, effective)),
    restore: (id, targets, { signal, allowDamaged = false } = {}) =>
      run(signal, (effective) => runRestore(context, id, targets, allowDamaged, effective)),
    replace: (id, targets, { signal, allowDamaged = false } = {}) =>
      run(signal, (effective) => runReplace(context, id, targets, allowDamaged, effective)),
    prune: ({ rules, dryRun = false, signal }) =>
      run(signal, (effective) => runPrune(context, { rules, dryRun }, effective)),
    pin: (id, { until, reason, signal } = {}) =>
      run(signal, (effective) => storePin(context, id, { until, reason }, effective)),
    unpin: (id, { signal } = {}) => run(signal, (effective) => removePin(context, id, effective)),
    pins: ({ signal } = {}) => run(signal, (effective) => listPins(context, effective)),
  };
}
