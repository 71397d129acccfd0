import { archiveFailure, readArchive } from "./archive-stream.ts";
import type { Entry } from "./entry.ts";
import { BackypError } from "./errors.ts";
import { type Progress, throttled } from "./events.ts";
import { agree } from "./json.ts";
import type { Manifest } from "./manifest.ts";
import type { SeriesContext } from "./series.ts";
import type { Verifier } from "./source.ts";

/**
 * The files of a backup on their way out of the sink, with every check there is: stored bytes, decoding, each file's
 * size and hash, the source's own verifier, and at the end that what was found is what the manifest records.
 */
export async function* checkedEntries(
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

/** Reads a stored backup back and checks everything about it; keeps nothing. */
export async function runVerify(series: SeriesContext, id: string, signal: AbortSignal): Promise<Manifest> {
  const manifest = await series.catalog.load(id, { signal });
  series.emit("verify:start", { prefix: series.prefix, backupId: manifest.id });
  try {
    const entries = checkedEntries(series, manifest, signal, (progress) => series.emit("verify:progress", progress));
    for await (const entry of entries) {
      for await (const _ of entry.body) {
        // The checks happen as the bytes go by.
      }
    }
  } catch (cause) {
    throw series.failed("verify:failed", manifest.id, archiveFailure(cause, manifest, series.sink));
  }
  series.emit("verify:complete", { manifest });
  return manifest;
}

/** Finds a backup that is whole but wrong: another one's files under this one's name. */
function requireSameVerdict(manifest: Manifest, verifier: Verifier): void {
  const { range, contents } = verifier.finish();
  const found = { range: { ...range }, contents };
  const recorded = { range: { ...manifest.range }, contents: manifest.contents };
  if (agree(found, recorded)) return;
  throw new BackypError(
    "ERR_CHECKSUM_MISMATCH",
    `the files of ${manifest.id} are not what its manifest records: found ${JSON.stringify(found)}, recorded ${JSON.stringify(recorded)}`,
    { details: { id: manifest.id } },
  );
}
