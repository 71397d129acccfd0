import { archiveFailure, readArchive } from "./archive-stream.ts";
import type { Bytes } from "./bytes.ts";
import type { Entry } from "./entry.ts";
import type { Manifest } from "./manifest.ts";
import type { SeriesContext } from "./series.ts";

/** A backup that is being read. */
export interface BackupReading {
  readonly manifest: Manifest;
  /** Its files, in archive order. */
  readonly entries: AsyncIterable<Entry>;
}

/**
 * Opens a stored backup to look inside. Stored bytes and files are checked against the manifest; what the files mean is
 * left to the reader, who knows more than the source's verifier what is wanted of them.
 */
export async function readBackup(series: SeriesContext, id: string, signal: AbortSignal): Promise<BackupReading> {
  const manifest = await series.catalog.load(id, { signal });
  return { manifest, entries: entriesOf(series, manifest, signal) };
}

async function* entriesOf(
  series: SeriesContext,
  manifest: Manifest,
  signal: AbortSignal,
): AsyncGenerator<Entry, void, void> {
  const told = (cause: unknown): unknown => archiveFailure(cause, manifest, series.sink);
  const tellingBody = async function* (body: Bytes): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* body;
    } catch (cause) {
      throw told(cause);
    }
  };
  try {
    yield* readArchive({
      manifest,
      sink: series.sink,
      archivers: series.archivers,
      codecs: series.knownCodecs,
      signal,
      watch: { verifier: { watch: (entry) => ({ ...entry, body: tellingBody(entry.body) }) }, onBytes() {} },
    });
  } catch (cause) {
    throw told(cause);
  }
}
