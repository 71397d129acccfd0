import { encode, verifyWhilePacking } from "./archive-stream.ts";
import { backupId, keys } from "./backup-id.ts";
import { abortable, collect, measured } from "./bytes.ts";
import { BackypError, isBackypError } from "./errors.ts";
import { throttled } from "./events.ts";
import { MANIFEST_FORMAT_VERSION, type Manifest, type ManifestEntry, serializeManifest } from "./manifest.ts";
import type { SeriesContext } from "./series.ts";
import type { Capture, Verdict } from "./source.ts";

/** A source that goes on changing under every capture is told so after this many. */
const MAX_ATTEMPTS = 16;
/** Clearing up has its own time limit: the run's signal may be aborted already. */
const CLEAN_UP_TIMEOUT_MS = 30_000;

/**
 * Runs one backup: capture, verify, archive, encode, hash, store; the manifest last. Returns null if the source has
 * nothing new. After a failure nothing of it is visible in the sink.
 */
export async function runBackup(series: SeriesContext, signal: AbortSignal): Promise<Manifest | null> {
  let lastStart = 0;
  for (let attempt = 1; ; attempt++) {
    // Ids of one process never repeat, however fast an attempt fails.
    lastStart = Math.max(lastStart + 1, series.clock().getTime());
    const startedAt = new Date(lastStart);
    const id = backupId(series.prefix, startedAt);
    series.emit("backup:start", { prefix: series.prefix, backupId: id, attempt });
    try {
      const manifest = await attemptBackup(series, id, startedAt, signal);
      if (manifest === null) series.emit("backup:skipped", { prefix: series.prefix, reason: "nothing-new" });
      else series.emit("backup:complete", { manifest });
      return manifest;
    } catch (cause) {
      const again = isBackypError(cause, "ERR_SOURCE_CHANGED") || isBackypError(cause, "ERR_OBJECT_EXISTS");
      if (again && attempt < MAX_ATTEMPTS && !signal.aborted) {
        series.logger.warn({ backupId: id, err: cause }, `capturing again: ${cause.message}`);
        continue;
      }
      throw series.failed("backup:failed", id, cause);
    }
  }
}

async function attemptBackup(
  series: SeriesContext,
  id: string,
  startedAt: Date,
  signal: AbortSignal,
): Promise<Manifest | null> {
  const { source, logger } = series;
  const capture = await source.capture({ kind: "full" }, { signal, logger });
  if (capture === null) return null;
  try {
    return await storeCapture(series, capture, id, startedAt, signal);
  } finally {
    await capture.close();
  }
}

async function storeCapture(
  series: SeriesContext,
  capture: Capture,
  id: string,
  startedAt: Date,
  signal: AbortSignal,
): Promise<Manifest> {
  const { prefix, source, sink, archiver, codecs } = series;
  const entries: ManifestEntry[] = [];
  let verdict: Verdict | undefined;
  let bytes = 0;
  let path = "";
  const report = throttled(() =>
    series.emit("backup:progress", { prefix, backupId: id, bytes, totalBytes: capture.estimatedBytes, path }),
  );

  const verified = verifyWhilePacking(capture.entries(), {
    verifier: capture.verifier,
    onBytes(count, entryPath) {
      bytes += count;
      path = entryPath;
      report();
    },
    whole: (entry) => entries.push(entry),
    // Before the archive's end: a set that would not restore never becomes an object.
    end: () => {
      verdict = capture.verifier.finish();
    },
  });
  const stored = measured(encode(archiver.pack(verified, { signal }), codecs, signal));

  const key = keys.archive(prefix, id, [archiver.extension, ...codecs.map((codec) => codec.extension)]);
  await sink.put(key, abortable(stored.body, signal), { signal, ifAbsent: true });
  if (verdict === undefined) {
    throw new BackypError(
      "ERR_SINK_UNAVAILABLE",
      `${sink.location} reported ${key} as stored before it had read it all`,
    );
  }

  const manifest: Manifest = {
    formatVersion: MANIFEST_FORMAT_VERSION,
    id,
    prefix,
    kind: "full",
    source: source.name,
    range: verdict.range,
    times:
      verdict.times === null
        ? null
        : { from: verdict.times.from.toISOString(), upTo: verdict.times.upTo.toISOString() },
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
    problems: verdict.problems,
    verified: true,
    tool: series.tool,
  };
  await storeManifest(series, manifest, signal);
  return manifest;
}

/** Makes the backup exist. If that fails, takes the archive away again, so that no orphan stays. */
async function storeManifest(series: SeriesContext, manifest: Manifest, signal: AbortSignal): Promise<void> {
  const { sink } = series;
  const key = keys.manifest(manifest.prefix, manifest.id);
  const text = Buffer.from(serializeManifest(manifest));
  try {
    await sink.put(key, once(text), { signal, ifAbsent: true });
  } catch (error) {
    const cleanUp = { signal: AbortSignal.timeout(CLEAN_UP_TIMEOUT_MS) };
    if (isBackypError(error, "ERR_OBJECT_EXISTS")) {
      // A store whose answer was lost says so when it is asked again: then the manifest there is ours.
      const there = await collect(sink.get(key, cleanUp), 2 * text.byteLength).catch(() => undefined);
      if (there?.equals(text) === true) return;
      throw error;
    }
    try {
      // The manifest first: whether it got there is not known, and it must never stand without its archive.
      await sink.delete(key, cleanUp);
      await sink.delete(manifest.archive.key, cleanUp);
    } catch (cleanUpError) {
      series.logger.warn(
        { err: cleanUpError, key: manifest.archive.key },
        "an archive without a manifest was left behind",
      );
    }
    throw error;
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}
