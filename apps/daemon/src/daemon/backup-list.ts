import {
  BackypError,
  describePin,
  isInForce,
  type JsonValue,
  type Manifest,
  type Series,
  type SummaryItem,
  unlessAborted,
  withCode,
} from "@zk-backyp/core";
import type { BackupSummary, SeriesStatus } from "./daemon-view.ts";

type Totals = NonNullable<SeriesStatus["totals"]>;

/** How long a listing is as good as a new one for who only looks. */
const FRESH_MS = 10_000;
/** A sink that has not shown all it has by then is not waited for any longer. */
const MOST_LOOK_MS = 900_000;

/** What a summary needs beside the manifest. */
interface Beside {
  verifiedAt(id: string): string | null;
  restoreCommand(id: string): string;
}

/** What the sink holds, as it was last seen. */
export class BackupList {
  readonly #series: Series;
  readonly #beside: Beside;
  readonly #signal: AbortSignal;
  #seen: { readonly at: number; readonly items: readonly BackupSummary[]; readonly totals: Totals } | null = null;
  #looking: Promise<readonly BackupSummary[]> | null = null;
  #problem: BackypError | null = null;

  /** @param signal ends it: no look lives longer, whoever has asked for it */
  constructor(series: Series, beside: Beside, signal: AbortSignal) {
    this.#series = series;
    this.#beside = beside;
    this.#signal = signal;
  }

  /** Newest first; null before the sink was seen. */
  get items(): readonly BackupSummary[] | null {
    return this.#seen?.items ?? null;
  }

  /** What they come to; null before the sink was seen. */
  get totals(): SeriesStatus["totals"] {
    return this.#seen?.totals ?? null;
  }

  /** Why the last look has failed, or null. */
  get problem(): BackypError | null {
    return this.#problem;
  }

  /** Newest first, as the sink has it now, or had it some seconds ago. Those who ask at the same time share one look. */
  async recent(signal: AbortSignal): Promise<readonly BackupSummary[]> {
    const seen = this.#seen;
    if (seen !== null && Math.abs(Date.now() - seen.at) < FRESH_MS) return seen.items;
    return this.look(signal);
  }

  /** Looks at the sink now. Whoever stops waiting takes the look from nobody else. */
  look(signal: AbortSignal): Promise<readonly BackupSummary[]> {
    if (this.#looking === null) {
      const late = AbortSignal.timeout(MOST_LOOK_MS);
      const cut = AbortSignal.any([this.#signal, late]);
      this.#looking = unlessAborted(this.#look(cut), cut)
        .catch((cause: unknown) => {
          this.#problem = late.aborted ? tooSlow() : withCode(cause);
          throw this.#problem;
        })
        .finally(() => {
          this.#looking = null;
        });
    }
    return unlessAborted(this.#looking, signal);
  }

  async #look(signal: AbortSignal): Promise<readonly BackupSummary[]> {
    const now = new Date();
    const pins = new Map(
      (await this.#series.pins({ signal })).flatMap((pin) =>
        isInForce(pin, now) ? [[pin.id, describePin(pin)] as const] : [],
      ),
    );
    const items: BackupSummary[] = [];
    for await (const item of this.#series.catalog.summaries({ signal })) items.push(this.#summary(item, pins));
    items.reverse();
    const totals = {
      backups: items.length,
      bytes: items.reduce((sum, { bytes }) => sum + bytes, 0),
      damaged: items.filter(({ verified }) => !verified).length,
      seenAt: now.toISOString(),
    };
    this.#seen = { at: Date.now(), items, totals };
    this.#problem = null;
    return items;
  }

  #summary(item: SummaryItem, pins: ReadonlyMap<string, string>): BackupSummary {
    const { id } = item;
    const beside = { pinned: pins.get(id) ?? null, restoreCommand: this.#beside.restoreCommand(id) };
    if ("error" in item) return { ...UNREADABLE, ...beside, id, problem: item.error.message };
    return {
      ...beside,
      id,
      startedAt: item.startedAt,
      finishedAt: item.finishedAt,
      bytes: item.archive.size,
      plainBytes: item.plainBytes,
      downtimeMs: item.downtimeMs,
      upTo: item.range.upTo,
      upToTime: item.times?.upTo ?? null,
      verified: item.verified,
      verifiedAt: this.#beside.verifiedAt(id),
      problem: null,
    };
  }
}

/** What is told of a backup whose manifest cannot be read. */
export const UNREADABLE = {
  startedAt: "",
  finishedAt: "",
  bytes: 0,
  plainBytes: 0,
  downtimeMs: null,
  upTo: "",
  upToTime: null,
  verified: false,
  verifiedAt: null,
} as const;

function tooSlow(): BackypError {
  const message = `the store has not told what it holds for ${MOST_LOOK_MS / 60_000} minutes: look whether it works`;
  return new BackypError("ERR_SINK_UNAVAILABLE", message);
}

/** For how long the server was away for this backup, where the source says so (`facts.downtime.servingMs`). */
export function downtimeOf({ facts }: Manifest): number | null {
  const ms = (facts.downtime as { readonly servingMs?: JsonValue } | null | undefined)?.servingMs;
  return typeof ms === "number" ? ms : null;
}
