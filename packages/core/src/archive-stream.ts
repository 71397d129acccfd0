import type { Archiver } from "./archiver.ts";
import { abortable, type Bytes, measured } from "./bytes.ts";
import type { Codec } from "./codec.ts";
import type { Entry } from "./entry.ts";
import { BackypError, isBackypError } from "./errors.ts";
import type { Manifest, ManifestEntry } from "./manifest.ts";
import type { Sink } from "./sink.ts";
import type { Verifier } from "./source.ts";

/** Looks at every file that goes by, and is told of each that went by whole. */
interface EntryWatch {
  readonly verifier: Pick<Verifier, "watch">;
  onBytes(bytes: number, path: string): void;
}

/** A body that also says what it was, once it was read to its end. */
function watched(entry: Entry, watch: EntryWatch): { entry: Entry; done: () => ManifestEntry } {
  const { body, measure } = measured(entry.body, (bytes) => watch.onBytes(bytes, entry.path));
  return {
    entry: watch.verifier.watch({ ...entry, body }),
    done: () => ({ path: entry.path, size: measure.size, sha256: measure.sha256() }),
  };
}

/** Entries on their way into an archive: hashed and verified; `whole` is told of each, and `end` when all are through. */
export async function* verifyWhilePacking(
  entries: AsyncIterable<Entry>,
  watch: EntryWatch & { whole(entry: ManifestEntry): void; end(): void },
): AsyncGenerator<Entry, void, void> {
  for await (const entry of entries) {
    const passing = watched(entry, watch);
    yield passing.entry;
    watch.whole(passing.done());
  }
  watch.end();
}

/** The plain archive as the codecs leave it: applied in order. */
export function encode(body: Bytes, codecs: readonly Codec[], signal: AbortSignal): Bytes {
  return codecs.reduce((stream, codec) => codec.encode(stream, { signal }), body);
}

/**
 * The entries of a stored backup, read back: the stored bytes are hashed, decoded, unpacked, and each file is checked
 * against the manifest and shown to the verifier. All checks have passed once the iteration ends. Give what it throws
 * to {@link archiveFailure}.
 *
 * @throws BackypError `ERR_ARCHIVE_CORRUPT`, `ERR_CHECKSUM_MISMATCH`, and what the sink and the verifier throw
 */
export async function* readArchive(options: {
  readonly manifest: Manifest;
  readonly sink: Sink;
  readonly archivers: readonly Archiver[];
  readonly codecs: readonly Codec[];
  readonly watch: EntryWatch;
  readonly signal: AbortSignal;
}): AsyncGenerator<Entry, void, void> {
  const { manifest, sink, signal, watch } = options;
  const { archive } = manifest;
  const archiver = byId(options.archivers, archive.format, manifest, "archiver");
  const codecs = archive.codecs.map((id) => byId(options.codecs, id, manifest, "codec"));

  const stored = measured(abortable(sink.get(archive.key, { signal }), signal));
  const plain = codecs.reduceRight<Bytes>((stream, codec) => codec.decode(stream, { signal }), stored.body);
  const expected = manifest.entries[Symbol.iterator]();
  for await (const entry of archiver.unpack(plain, { signal })) {
    const want = expected.next().value;
    if (want === undefined || want.path !== entry.path || want.size !== entry.size) {
      throw mismatch(manifest, `holds ${entry.path} of ${entry.size} bytes where the manifest has ${named(want)}`);
    }
    const passing = watched(entry, watch);
    yield passing.entry;
    const got = passing.done();
    if (got.size !== want.size) throw new Error(`${entry.path} was not read to its end`);
    if (got.sha256 !== want.sha256) throw mismatch(manifest, `holds a damaged ${entry.path}: its SHA-256 is wrong`);
  }
  const missing = expected.next().value;
  if (missing !== undefined) throw mismatch(manifest, `lacks ${missing.path}`);
  if (stored.measure.size !== archive.size || stored.measure.sha256() !== archive.sha256) {
    throw mismatch(manifest, `is not the object that was stored: its size or SHA-256 is wrong`);
  }
}

/**
 * What an error means that came up while an archive was read, wherever it came out: in the iteration or in an entry's
 * body. Names the archive; a missing one is damage, since there is a manifest for it.
 */
export function archiveFailure(cause: unknown, manifest: Manifest, sink: Sink): unknown {
  const { key } = manifest.archive;
  const missing = isBackypError(cause, "ERR_OBJECT_NOT_FOUND");
  if (!missing && !isBackypError(cause, "ERR_ARCHIVE_CORRUPT")) return cause;
  return new BackypError(
    "ERR_ARCHIVE_CORRUPT",
    missing
      ? `the backup ${manifest.id} has a manifest, but its archive ${key} is missing in ${sink.location}`
      : `the archive ${key} in ${sink.location} is damaged: ${(cause as Error).message}`,
    { cause, details: { id: manifest.id, key } },
  );
}

function named(entry: ManifestEntry | undefined): string {
  return entry === undefined ? "no further file" : `${entry.path} of ${entry.size} bytes`;
}

function mismatch(manifest: Manifest, what: string): BackypError {
  return new BackypError("ERR_CHECKSUM_MISMATCH", `the archive ${manifest.archive.key} ${what}`, {
    details: { id: manifest.id, key: manifest.archive.key },
  });
}

function byId<Part extends { readonly id: string }>(
  parts: readonly Part[],
  id: string,
  manifest: Manifest,
  what: string,
): Part {
  const part = parts.find((candidate) => candidate.id === id);
  if (part !== undefined) return part;
  throw new BackypError(
    "ERR_PLUGIN_NOT_FOUND",
    `the backup ${manifest.id} needs the ${what} ${JSON.stringify(id)}, which is not configured; there are: ${parts.map((candidate) => candidate.id).join(", ")}`,
    { details: { id: manifest.id, missing: id } },
  );
}
