import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { encode, verifyWhilePacking } from "./archive-stream.ts";
import { backupId, keys, timeOfBackupId } from "./backup-id.ts";
import { abortable, collect, measured, oneChunk } from "./bytes.ts";
import { damageIn, isSerious } from "./damage.ts";
import { abortError, BackypError, isBackypError } from "./errors.ts";
import { throttled } from "./events.ts";
import { hasObject } from "./has-object.ts";
import {
  MANIFEST_FORMAT_VERSION,
  type Manifest,
  type ManifestEntry,
  parseManifest,
  serializeManifest,
  timesForManifest,
} from "./manifest.ts";
import type { BackupRun } from "./run-context.ts";
import type { SeriesContext } from "./series.ts";
import type { Sink } from "./sink.ts";
import type { Capture, CaptureRequest, Problem, Skipped, Verdict } from "./source.ts";

/** A source that goes on changing under every capture is told so after this many. */
const MAX_ATTEMPTS = 12;
/** What a source is given to settle between two captures, at most. */
const MAX_PAUSE_MS = 1_000;
/** Clearing up has its own time limit: the run's signal may be aborted already. */
const CLEAN_UP_TIMEOUT_MS = 30_000;

export interface BackupOptions {
  readonly signal?: AbortSignal;
  /** Keep what there is of a source that is damaged, as a backup with `verified: false`. Default: false. */
  readonly allowDamaged?: boolean;
  /**
   * The slot of a schedule that the backup is for. Its id is made of this instead of its start, so that there is never
   * more than one backup for a slot, whoever runs.
   */
  readonly slot?: Date;
  /**
   * Called when all is stored but the manifest, without which there is no backup. By a rejection it prevents the backup,
   * and is what `backup` then rejects with.
   */
  mayPublish?(signal: AbortSignal): Promise<void>;
}

/** What one run is asked for. */
interface Order {
  readonly allowDamaged: boolean;
  readonly slot: Date | null;
  mayPublish(signal: AbortSignal): Promise<void>;
}

/** The backup that a capture is to become. */
interface Target {
  readonly id: string;
  readonly startedAt: Date;
  readonly order: Order;
}

/**
 * Runs one backup: capture, verify, archive, encode, hash, store; the manifest last. Returns null if the source says
 * that there is nothing to do. After a failure nothing of it is visible in the sink.
 *
 * With `allowDamaged` a source that turned out to be damaged is captured once more, for what there is to keep. What is
 * not damaged takes the same way with it as without.
 */
export async function runBackup(
  series: SeriesContext,
  { allowDamaged = false, slot, mayPublish }: BackupOptions,
  signal: AbortSignal,
): Promise<Manifest | null> {
  const order: Order = {
    allowDamaged,
    slot: slot === undefined ? null : requireSlot(slot),
    mayPublish: async (runSignal) => mayPublish?.(runSignal),
  };
  const releases: (() => Promise<void>)[] = [];
  try {
    return await attemptUntilStored(series, order, (release) => releases.push(release), signal);
  } finally {
    for (const release of releases.toReversed()) {
      await release().catch((error: unknown) => {
        series.logger.warn({ err: error }, `the source ${series.source.name} could not clear up after the run`);
      });
    }
  }
}

/** Refuses what would not make an id. */
function requireSlot(slot: Date): Date {
  const time = slot.getTime();
  if (!Number.isNaN(time) && timeOfBackupId(backupId("slot", slot)) === time) return slot;
  throw new BackypError("ERR_CONFIG_INVALID", "the slot is no date of the years 0 to 9999: use a time of the schedule");
}

async function attemptUntilStored(
  series: SeriesContext,
  order: Order,
  atEnd: (release: () => Promise<void>) => void,
  signal: AbortSignal,
): Promise<Manifest | null> {
  const earlierFailures: BackypError[] = [];
  let id = "";
  const run: BackupRun = {
    report: (step, facts) => series.emit("backup:step", { prefix: series.prefix, backupId: id, step, facts }),
    atEnd,
  };
  let allowDamaged = false;
  let fruitless = 0;
  let isRefused = false;
  const mayPublish: Order["mayPublish"] = async (runSignal) => {
    isRefused = true;
    await order.mayPublish(runSignal);
    isRefused = false;
  };
  for (let attempt = 1; ; attempt++) {
    const startedAt = series.startTime();
    id = backupId(series.prefix, order.slot ?? startedAt);
    series.emit("backup:start", { prefix: series.prefix, backupId: id, attempt });
    try {
      // Before the source is disturbed for nothing.
      if (order.slot !== null) await refuseTakenSlot(series, id, signal);
      if (attempt === 1 && series.source.disturbs === true) await trySink(series, signal);
      const request: CaptureRequest = { kind: "full", earlierFailures, allowDamaged };
      const result = await attemptBackup(series, { id, startedAt, order: { ...order, mayPublish } }, request, {
        run,
        signal,
      });
      if ("skipped" in result) {
        const { skipped: reason, message } = result;
        series.emit("backup:skipped", { prefix: series.prefix, reason, message });
        return null;
      }
      series.emit("backup:complete", { manifest: result });
      return result;
    } catch (cause) {
      const changed = isBackypError(cause, "ERR_SOURCE_CHANGED");
      const keepNow = order.allowDamaged && !allowDamaged && isDamage(cause);
      const again = !isRefused && (changed || keepNow || isBackypError(cause, "ERR_OBJECT_EXISTS"));
      if (again && !keepNow && cause.details.isProgress !== true) fruitless += 1;
      if (!again || fruitless === MAX_ATTEMPTS || signal.aborted) throw series.failed("backup:failed", id, cause);
      if (changed || keepNow) earlierFailures.push(cause);
      if (keepNow) allowDamaged = true;
      const why = keepNow ? "keeping what there is, since damage is allowed" : "capturing again";
      series.logger.warn({ backupId: id, err: cause }, `${why}: ${cause.message}`);
    }
    await sleep(Math.min(MAX_PAUSE_MS, 10 * 2 ** fruitless), undefined, { signal }).catch(() => {
      throw series.failed("backup:failed", id, abortError(signal));
    });
  }
}

/** Fails as the storing of the backup would. */
async function trySink({ sink, prefix, logger }: SeriesContext, signal: AbortSignal): Promise<void> {
  const key = keys.probe(prefix);
  await sink.put(key, oneChunk(Buffer.from("zk-backyp was here\n")), { signal });
  await sink.delete(key, { signal }).catch((error: unknown) => {
    // Not everybody who may write may delete. The next run writes the same object.
    if (signal.aborted) throw abortError(signal);
    logger.warn({ err: error }, `${sink.location}/${key}, which was written to try the sink, could not be deleted`);
  });
}

function isDamage(cause: unknown): cause is BackypError {
  return isBackypError(cause) && (cause.code === "ERR_SOURCE_DAMAGED" || cause.details.mayBeKept === true);
}

/** Why a capture was refused before it was asked to keep what there is. */
function refusedBefore(earlierFailures: readonly BackypError[]): Problem {
  const message = earlierFailures.findLast(isDamage)?.message ?? "it was refused without a reason";
  return { severity: "data-loss", code: "CAPTURE_REFUSED", file: null, offset: null, message };
}

async function attemptBackup(
  series: SeriesContext,
  target: Target,
  request: CaptureRequest,
  { run, signal }: { readonly run: BackupRun; readonly signal: AbortSignal },
): Promise<Manifest | Skipped> {
  const { source, logger } = series;
  const capture = await source.capture(request, { signal, logger, run });
  if ("skipped" in capture) return capture;
  try {
    return await storeCapture(series, capture, request, target, signal);
  } finally {
    try {
      await capture.close();
    } catch (error) {
      // It changes nothing about the backup, which may be stored by now.
      logger.warn({ err: error }, `the source ${source.name} could not give back all that it held`);
    }
  }
}

async function storeCapture(
  series: SeriesContext,
  capture: Capture,
  { kind, allowDamaged, earlierFailures }: CaptureRequest,
  { id, startedAt, order }: Target,
  signal: AbortSignal,
): Promise<Manifest> {
  const { prefix, source, sink, archiver, codecs } = series;
  const entries: ManifestEntry[] = [];
  let verdict: Verdict | undefined;
  let bytes = 0;
  let path = "";
  const report = (): void => {
    const totalBytes = Math.max(bytes, capture.estimatedBytes);
    series.emit("backup:progress", { prefix, backupId: id, bytes, totalBytes, path });
  };
  const reportNowAndThen = throttled(report);

  const verified = verifyWhilePacking(capture.entries(), {
    verifier: capture.verifier,
    onBytes(count, entryPath) {
      bytes += count;
      path = entryPath;
      reportNowAndThen();
    },
    whole: (entry) => entries.push(entry),
    // Before the archive's end: a set that would not restore never becomes an object.
    end: () => {
      const found = capture.verifier.finish();
      const isDamaged = found.problems.some(isSerious);
      if (isDamaged && allowDamaged !== true) throw damageIn("what was captured", found.problems);
      // What was refused a moment ago does not pass for good because the reason is not found again.
      const isUnexplained = !isDamaged && allowDamaged === true;
      verdict = isUnexplained ? { ...found, problems: [...found.problems, refusedBefore(earlierFailures)] } : found;
    },
  });
  const stored = measured(encode(archiver.pack(verified, { signal }), codecs, signal));

  // Two runs for one slot share the id. Where the store cannot decide which of two puts was first, one would replace the
  // other's archive under the same key, and a manifest would then stand over bytes that are not its own.
  const own = order.slot === null ? [] : [randomBytes(4).toString("hex")];
  const key = keys.archive(prefix, id, [...own, archiver.extension, ...codecs.map((codec) => codec.extension)]);
  await sink.put(key, abortable(stored.body, signal), { signal, ifAbsent: true });
  // From here on there is an archive, which must not stay without its manifest.
  const manifestKey = keys.manifest(prefix, id);
  let text = "";
  try {
    if (verdict === undefined) throw new Error(`${sink.location} reported ${key} as stored before it had read it all`);
    report();
    const manifest: Manifest = {
      formatVersion: MANIFEST_FORMAT_VERSION,
      id,
      prefix,
      kind,
      source: source.name,
      range: verdict.range,
      times: timesForManifest(verdict.times),
      startedAt: startedAt.toISOString(),
      finishedAt: series.clock().toISOString(),
      archive: {
        key,
        size: stored.measure.size,
        sha256: stored.measure.sha256(),
        format: archiver.id,
        codecs: codecs.map((codec) => codec.id),
      },
      entries,
      facts: capture.facts,
      contents: verdict.contents,
      proof: verdict.proof ?? null,
      problems: verdict.problems,
      verified: !verdict.problems.some(isSerious),
      tool: series.tool,
    };
    text = serializeManifest(manifest);
    // What a source said goes in there: better refused now than at every reading.
    parseManifest(text, manifestKey);
    await order.mayPublish(signal);
    await storeManifest(sink, manifestKey, text, signal).catch((error: unknown) => {
      throw order.slot !== null && isBackypError(error, "ERR_OBJECT_EXISTS") ? slotTaken(series, id, error) : error;
    });
    return manifest;
  } catch (error) {
    await removeArchive(series, key, manifestKey, text);
    throw error;
  }
}

async function refuseTakenSlot(series: SeriesContext, id: string, signal: AbortSignal): Promise<void> {
  const isTaken = await hasObject(series.sink, keys.manifest(series.prefix, id), signal).catch((error: unknown) => {
    // A directory that the first backup creates. What else is missing keeps that from being stored.
    if (isBackypError(error, "ERR_SINK_NOT_FOUND")) return false;
    throw error;
  });
  if (isTaken) throw slotTaken(series, id);
}

function slotTaken({ sink }: SeriesContext, id: string, cause?: unknown): BackypError {
  return new BackypError("ERR_SLOT_TAKEN", `${sink.location} has the backup ${id} of this slot already`, {
    cause,
    details: { backupId: id },
  });
}

/** Makes the backup exist. */
async function storeManifest(sink: Sink, key: string, text: string, signal: AbortSignal): Promise<void> {
  try {
    await sink.put(key, oneChunk(Buffer.from(text)), { signal, ifAbsent: true });
  } catch (error) {
    // A store whose answer was lost says so when it is asked again: then the manifest there is ours.
    const isOurs = isBackypError(error, "ERR_OBJECT_EXISTS") && (await readText(sink, key)) === text;
    if (!isOurs) throw error;
  }
}

/** Takes an archive away whose manifest could not be stored, so that no orphan stays. */
async function removeArchive(
  { sink, logger }: SeriesContext,
  key: string,
  manifestKey: string,
  text: string,
): Promise<void> {
  const cleanUp = { signal: AbortSignal.timeout(CLEAN_UP_TIMEOUT_MS) };
  try {
    const there = await readText(sink, manifestKey);
    // Another run's, that began in the same millisecond. Its archive may even have our archive's name.
    if (there !== null && there !== text && there.includes(JSON.stringify(key))) return;
    // Ours may be there, though storing it was reported as failed: it never stands without its archive.
    if (there === text) await sink.delete(manifestKey, cleanUp);
    await sink.delete(key, cleanUp);
  } catch (error) {
    logger.warn({ err: error, key }, `the archive ${key} was left in ${sink.location} without a manifest; remove it`);
  }
}

async function readText(sink: Sink, key: string): Promise<string | null> {
  try {
    const signal = AbortSignal.timeout(CLEAN_UP_TIMEOUT_MS);
    return (await collect(sink.get(key, { signal }), Number.POSITIVE_INFINITY)).toString("utf8");
  } catch (error) {
    if (isBackypError(error, "ERR_OBJECT_NOT_FOUND")) return null;
    throw error;
  }
}
