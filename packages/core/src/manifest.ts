import { z } from "zod";
import { isSerious } from "./damage.ts";
import { isEntryPath } from "./entry.ts";
import { BackypError } from "./errors.ts";
import type { JsonObject, JsonValue } from "./json.ts";
import type { PositionRange } from "./position.ts";
import type { Problem, TimeRange } from "./source.ts";

/** Version of the manifest's format that this release writes, and the newest it reads. */
export const MANIFEST_FORMAT_VERSION = 1;

/** One file in an archive. */
export interface ManifestEntry {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Of the file's bytes, lower-case hex. */
  readonly sha256: string;
}

/** The stored object that holds the files. */
export interface ManifestArchive {
  /** Key in the sink. */
  readonly key: string;
  /** Bytes, as stored. */
  readonly size: number;
  /** Of the bytes as stored, lower-case hex. */
  readonly sha256: string;
  /** Id of the archiver: `tar`. */
  readonly format: string;
  /** Ids of the codecs, in the order they were applied. */
  readonly codecs: readonly string[];
}

/**
 * Everything there is to know about one backup, as JSON. Written last: a backup exists if and only if its manifest
 * does. Readers refuse a `formatVersion` they do not know and ignore fields they do not know.
 */
export interface Manifest {
  readonly formatVersion: typeof MANIFEST_FORMAT_VERSION;
  readonly id: string;
  /** The series it belongs to: what ids and keys begin with. */
  readonly prefix: string;
  readonly kind: "full";
  /** Name of the source, by which a restore finds the plugin. */
  readonly source: string;
  readonly range: PositionRange;
  /** Times of the first and last change it holds (ISO 8601, UTC), or null where the source knows none. */
  readonly times: { readonly from: string; readonly upTo: string } | null;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly archive: ManifestArchive;
  /** In archive order. */
  readonly entries: readonly ManifestEntry[];
  /** What the source said of itself when it was captured. */
  readonly facts: JsonObject;
  /** What the files were found to hold; `verify` computes it again and compares. */
  readonly contents: JsonObject;
  /** How the source knew, when the backup was taken, that the contents are right; null where it did not say. */
  readonly proof: JsonObject | null;
  /** What was found. All are `info` where `verified` is true. */
  readonly problems: readonly Problem[];
  /**
   * Whether the source's own verifier found, on the way into the archive, that it restores without loss. False for one
   * that was kept although it is damaged.
   */
  readonly verified: boolean;
  /** What wrote it. */
  readonly tool: { readonly name: string; readonly version: string };
}

const time = z.iso.datetime({ precision: 3 });
const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const byteCount = z.int().nonnegative();
const position = z.string().min(1);
const jsonObject = z.record(z.string(), z.json() as z.ZodType<JsonValue>);

const schema: z.ZodType<Manifest> = z
  .object({
    formatVersion: z.literal(MANIFEST_FORMAT_VERSION),
    id: z.string().min(1).describe("<prefix>-<YYYYMMDDTHHMMSSmmmZ>"),
    prefix: z.string().min(1).describe("The series: what ids and keys begin with"),
    kind: z.literal("full"),
    source: z.string().min(1).describe("Name of the source plugin"),
    range: z
      .object({ after: position.nullable(), upTo: position })
      .describe("History covered: after (exclusive, null: from the beginning) and upTo (inclusive)"),
    times: z.object({ from: time, upTo: time }).nullable().describe("Times of the first and last change held"),
    startedAt: time,
    finishedAt: time,
    archive: z.object({
      key: z.string().min(1).describe("Key of the archive in the sink"),
      size: byteCount.describe("Bytes as stored"),
      sha256: sha256.describe("Of the bytes as stored"),
      format: z.string().min(1).describe("Archiver: tar"),
      codecs: z.array(z.string().min(1)).describe("Codecs in the order they were applied: gzip"),
    }),
    entries: z
      .array(z.object({ path: z.string().refine(isEntryPath), size: byteCount, sha256 }))
      .describe("The files, in archive order"),
    facts: jsonObject.describe("What the source said of itself when it was captured"),
    contents: jsonObject.describe("What the files were found to hold; verify computes it again and compares"),
    proof: jsonObject
      .nullable()
      .default(null)
      .describe("How the source knew that the contents are right; null where it did not say"),
    problems: z.array(
      z.object({
        severity: z.enum(["fatal", "data-loss", "info"]),
        code: z.string(),
        file: z.string().nullable(),
        offset: z.number().nullable(),
        message: z.string(),
      }),
    ),
    verified: z
      .boolean()
      .describe("The source's verifier found that it restores without loss; false: kept although it is damaged"),
    tool: z.object({ name: z.string(), version: z.string() }),
  })
  .describe("Manifest of one zk-backyp backup. Unknown fields are to be ignored, unknown formatVersions refused.");

/** Times as a manifest writes them. */
export function timesForManifest(times: TimeRange | null): Manifest["times"] {
  return times === null ? null : { from: times.from.toISOString(), upTo: times.upTo.toISOString() };
}

/** Text of a manifest as it is stored: JSON, indented, with a newline at its end. */
export function serializeManifest(manifest: Manifest): string {
  return `${JSON.stringify(manifest, null, 2)}\n`;
}

/**
 * Reads a stored manifest.
 *
 * @param name what to call it in an error: its key
 * @throws BackypError `ERR_MANIFEST_UNSUPPORTED` for a format of a newer release
 * @throws BackypError `ERR_MANIFEST_INVALID` for anything else that is not a manifest
 */
export function parseManifest(text: string, name: string): Manifest {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw invalid(name, "it is not JSON", cause);
  }
  const version = (raw as { formatVersion?: unknown } | null)?.formatVersion;
  if (typeof version === "number" && version !== MANIFEST_FORMAT_VERSION) {
    throw new BackypError(
      "ERR_MANIFEST_UNSUPPORTED",
      `the manifest ${name} has format version ${version} and this release reads version ${MANIFEST_FORMAT_VERSION}: use the release that wrote it, or a newer one`,
      { details: { manifest: name, formatVersion: version } },
    );
  }
  const result = tryToParse(raw, name);
  if (!result.success) throw invalid(name, z.prettifyError(result.error).replaceAll("\n", " "));
  const manifest = result.data;
  const { prefix, id, archive, entries } = manifest;
  // A manifest speaks for its own objects only: deleting a backup by it must not delete another's.
  if (!archive.key.startsWith(`${prefix}/archives/${id}.`)) {
    throw invalid(name, `${archive.key} is not the archive of ${id}`);
  }
  if (manifest.verified && manifest.problems.some(isSerious)) {
    throw invalid(name, "it says that the backup is verified, and lists damage");
  }
  if (new Set(entries.map(({ path }) => path)).size !== entries.length) throw invalid(name, "it names a file twice");
  return manifest;
}

function tryToParse(raw: unknown, name: string): z.ZodSafeParseResult<Manifest> {
  try {
    return schema.safeParse(raw);
  } catch (cause) {
    // JSON can be nested deeper than the stack is.
    throw invalid(name, (cause as Error).message, cause);
  }
}

function invalid(name: string, why: string, cause?: unknown): BackypError {
  return new BackypError("ERR_MANIFEST_INVALID", `the manifest ${name} is damaged: ${why}`, {
    cause,
    details: { manifest: name },
  });
}

/** JSON Schema (2020-12) of a stored manifest, for other tools. */
export function manifestJsonSchema(): object {
  // "input": what a reader accepts, which is also fields that it does not know.
  return z.toJSONSchema(schema, { target: "draft-2020-12", io: "input" });
}
