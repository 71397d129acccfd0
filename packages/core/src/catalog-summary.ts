import type { JsonValue } from "./json.ts";
import type { Manifest } from "./manifest.ts";
import type { PositionRange } from "./position.ts";

/** What a list of backups shows of one: a small part of its {@link Manifest}. Frozen. */
export interface CatalogSummary {
  readonly id: string;
  readonly kind: Manifest["kind"];
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly range: PositionRange;
  readonly times: Manifest["times"];
  readonly archive: {
    /** Key in the sink. */
    readonly key: string;
    /** Bytes, as stored. */
    readonly size: number;
  };
  /** Bytes of the files in the archive. */
  readonly plainBytes: number;
  /** For how long in ms what was backed up was away for it, where its source says so (`facts.downtime.servingMs`). */
  readonly downtimeMs: number | null;
  readonly verified: boolean;
}

export function summarize(manifest: Manifest): CatalogSummary {
  const { id, kind, startedAt, finishedAt, range, times, archive, entries, facts, verified } = manifest;
  const downtime = facts.downtime as { readonly servingMs?: JsonValue } | null | undefined;
  const servingMs = downtime?.servingMs;
  return Object.freeze({
    id,
    kind,
    startedAt,
    finishedAt,
    range: Object.freeze({ after: range.after, upTo: range.upTo }),
    times: times === null ? null : Object.freeze({ from: times.from, upTo: times.upTo }),
    archive: Object.freeze({ key: archive.key, size: archive.size }),
    plainBytes: entries.reduce((sum, { size }) => sum + size, 0),
    downtimeMs: typeof servingMs === "number" ? servingMs : null,
    verified,
  });
}
