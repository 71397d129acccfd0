import type { Archiver } from "./archiver.ts";
import { runBackup } from "./backup.ts";
import { requirePrefix } from "./backup-id.ts";
import { type Catalog, openCatalog } from "./catalog.ts";
import type { Codec } from "./codec.ts";
import { abortError, BackypError, isBackypError } from "./errors.ts";
import { createEvents, type SeriesEmitter } from "./events.ts";
import { gzip } from "./gzip.ts";
import type { Manifest } from "./manifest.ts";
import { type RestoreTargets, runRestore } from "./restore.ts";
import { type Logger, silentLogger } from "./run-context.ts";
import type { Sink } from "./sink.ts";
import type { Source } from "./source.ts";
import { tar } from "./tar.ts";
import { runVerify } from "./verify.ts";
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
  /** Backs the source up. Returns null if it has nothing new. What the sink shows after a failure is as before. */
  backup(options?: { readonly signal?: AbortSignal }): Promise<Manifest | null>;
  /**
   * Reads a backup (an id, or `"latest"`) back and checks every byte and what the bytes mean.
   *
   * @throws BackypError `ERR_ARCHIVE_CORRUPT`, `ERR_CHECKSUM_MISMATCH`, `ERR_SOURCE_DAMAGED`, `ERR_BACKUP_NOT_FOUND`
   */
  verify(id: string, options?: { readonly signal?: AbortSignal }): Promise<Manifest>;
  /**
   * Restores a backup (an id, or `"latest"`) into empty directories. They are as they were if it fails.
   *
   * @throws BackypError `ERR_TARGET_NOT_EMPTY`, `ERR_TARGET_UNAVAILABLE`, and what `verify` throws
   */
  restore(id: string, targets: RestoreTargets, options?: { readonly signal?: AbortSignal }): Promise<Manifest>;
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
      lastStart = Math.max(lastStart + 1, clock().getTime());
      return new Date(lastStart);
    },
    tool: options.tool ?? { name: "@zk-backyp/core", version },
    emit,
    failed(event, backupId, cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      // Bugs and system errors that nobody translated are told as they are; the event still needs a code.
      const told = isBackypError(error) ? error : new BackypError("ERR_INTERNAL", error.message, { cause: error });
      emit(event, { prefix, backupId, error: told });
      return told;
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
    backup: ({ signal } = {}) => run(signal, (effective) => runBackup(context, effective)),
    verify: (id, { signal } = {}) => run(signal, (effective) => runVerify(context, id, effective)),
    restore: (id, targets, { signal } = {}) => run(signal, (effective) => runRestore(context, id, targets, effective)),
  };
}
