import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { archiveFailure, readArchive } from "./archive-stream.ts";
import { damageIn, isSerious, keptDamaged } from "./damage.ts";
import type { Entry } from "./entry.ts";
import { BackypError } from "./errors.ts";
import { type Progress, throttled } from "./events.ts";
import { agree, type JsonObject } from "./json.ts";
import { type Manifest, timesForManifest } from "./manifest.ts";
import { makePrivateFolder } from "./private-folder.ts";
import type { SeriesContext } from "./series.ts";
import type { Rehearsal, RestoreFolders, RestoreStep, Verifier } from "./source.ts";

/** What a verification found: all is well, since anything else is an error. */
export interface Verification {
  readonly manifest: Manifest;
  /** What the source's rehearsal saw (`deep`), else null. */
  readonly rehearsal: JsonObject | null;
}

/**
 * The files of a backup on their way out of the sink, with every check there is: stored bytes, decoding, each file's
 * size and hash, the source's own verifier, and at the end that what was found is what the manifest records.
 */
async function* checkedEntries(
  series: SeriesContext,
  manifest: Manifest,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): AsyncGenerator<Entry, void, void> {
  if (manifest.source !== series.source.name) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `the backup ${manifest.id} is of the source ${JSON.stringify(manifest.source)}, not of ${JSON.stringify(series.source.name)}`,
      { details: { id: manifest.id } },
    );
  }
  const verifier = series.source.verifier();
  const totalBytes = manifest.entries.reduce((sum, entry) => sum + entry.size, 0);
  let bytes = 0;
  let path = "";
  const report = (): void => onProgress({ prefix: manifest.prefix, backupId: manifest.id, bytes, totalBytes, path });
  const reportNowAndThen = throttled(report);
  yield* readArchive({
    manifest,
    sink: series.sink,
    archivers: series.archivers,
    codecs: series.knownCodecs,
    signal,
    watch: {
      verifier,
      onBytes(count, entryPath) {
        bytes += count;
        path = entryPath;
        reportNowAndThen();
      },
    },
  });
  requireSameVerdict(manifest, verifier);
  report();
}

/**
 * The checked files of a backup, restored by its source into empty folders.
 *
 * @throws Error when the source did not read them all, and so not all was checked
 */
export async function restoreChecked(
  series: SeriesContext,
  manifest: Manifest,
  folders: RestoreFolders,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<void> {
  const { source, logger } = series;
  let isChecked = false;
  async function* entries(): AsyncGenerator<Entry, void, void> {
    yield* checkedEntries(series, manifest, signal, onProgress);
    isChecked = true;
  }
  async function* steps(): AsyncGenerator<RestoreStep, void, void> {
    yield { kind: manifest.kind, range: manifest.range, entries: entries() };
  }
  await source.restore(steps(), folders, { signal, logger });
  if (!isChecked) throw new Error(`the source ${source.name} did not read the backup to its end`);
}

/**
 * Reads a stored backup back and checks everything about it; keeps nothing. With `deep` the source tries it out, too.
 * One that was kept although it is damaged is checked in the same way, and then fails for that: there is nothing to try.
 */
export async function runVerify(
  series: SeriesContext,
  id: string,
  deep: boolean,
  signal: AbortSignal,
): Promise<Verification> {
  const prepared = deep ? await prepareRehearsal(series, signal) : null;
  const manifest = await series.catalog.load(id, { signal });
  series.emit("verify:start", { prefix: series.prefix, backupId: manifest.id });
  let rehearsal: JsonObject | null = null;
  try {
    if (prepared !== null && manifest.verified) rehearsal = await rehearse(series, manifest, prepared, signal);
    else await readThrough(series, manifest, signal);
    if (!manifest.verified) throw keptDamaged(manifest, "; it is byte for byte what was stored");
  } catch (cause) {
    throw series.failed("verify:failed", manifest.id, archiveFailure(cause, manifest, series.sink));
  }
  series.emit("verify:complete", { manifest, rehearsal });
  return { manifest, rehearsal };
}

async function readThrough(series: SeriesContext, manifest: Manifest, signal: AbortSignal): Promise<void> {
  const entries = checkedEntries(series, manifest, signal, (progress) => series.emit("verify:progress", progress));
  for await (const entry of entries) {
    for await (const _ of entry.body) {
      // The checks happen as the bytes go by.
    }
  }
}

async function prepareRehearsal({ source, logger }: SeriesContext, signal: AbortSignal): Promise<Rehearsal> {
  if (source.rehearse !== undefined) return source.rehearse({ signal, logger });
  throw new BackypError(
    "ERR_REHEARSAL_UNAVAILABLE",
    `the source ${source.name} has no deep verification; verify without it`,
  );
}

/** Every check there is, on the way into a folder of its own, and then the thing itself on what is there. */
async function rehearse(
  series: SeriesContext,
  manifest: Manifest,
  rehearsal: Rehearsal,
  signal: AbortSignal,
): Promise<JsonObject> {
  const { logger, prefix } = series;
  await using folder = await makePrivateFolder();
  const folders = { main: join(folder.path, "restored") };
  await mkdir(folders.main, { mode: 0o700 });
  await restoreChecked(series, manifest, folders, signal, (progress) => series.emit("verify:progress", progress));
  series.emit("verify:rehearsal", { prefix, backupId: manifest.id });
  return await rehearsal.run(folders, manifest, { signal, logger });
}

/** Finds a backup that is whole but wrong: another one's files under this one's name, or a manifest that was edited. */
function requireSameVerdict(manifest: Manifest, verifier: Verifier): void {
  const { range, times, contents, problems } = verifier.finish();
  if (manifest.verified && problems.some(isSerious)) throw damageIn(`the backup ${manifest.id}`, problems);
  const found = { range: { ...range }, times: timesForManifest(times), contents };
  const recorded = { range: { ...manifest.range }, times: manifest.times, contents: manifest.contents };
  if (agree(found, recorded)) return;
  throw new BackypError(
    "ERR_CHECKSUM_MISMATCH",
    `the files of ${manifest.id} are not what its manifest records: found ${JSON.stringify(found)}, recorded ${JSON.stringify(recorded)}`,
    { details: { id: manifest.id } },
  );
}
