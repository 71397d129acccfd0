import type { Logger } from "@zk-backyp/core";
import { z } from "zod";
import type { RunRecord } from "./daemon-view.ts";
import { type StateFile, stateFile } from "./state-file.ts";

const REMEMBERED_RUNS = 200;
/** Of every kind: those that come often do not push out what comes seldom. */
const REMEMBERED_OF_KIND = 20;
const REMEMBERED_VERIFICATIONS = 1_000;

interface History {
  readonly formatVersion: 1;
  /** Newest first. */
  readonly runs: readonly RunRecord[];
  /** When backups were last read back and found good, by id; the latest last. */
  readonly verified: readonly (readonly [id: string, at: string])[];
}

const time = z.iso.datetime();
const text = z.string().nullable();
const count = z.number().nonnegative().nullable();

/** Of whatever release wrote it: words that this one does not know are shown as they are. */
const runSchema = z.looseObject({
  runId: z.string(),
  kind: z.string(),
  trigger: z.string(),
  slot: time.nullable(),
  startedAt: time,
  finishedAt: time,
  durationMs: z.number().nonnegative(),
  outcome: z.string(),
  backupId: text,
  bytes: count,
  downtimeMs: count,
  message: z.string(),
  error: z.object({ code: z.string(), message: z.string(), remedy: z.string() }).nullable(),
}) as unknown as z.ZodType<RunRecord>;

const schema: z.ZodType<History> = z.object({
  formatVersion: z.literal(1),
  runs: z.array(runSchema),
  verified: z.array(z.tuple([z.string(), time])),
});

/** The runs of a series that have ended. */
export class RunHistory {
  readonly #file: StateFile<History> | null;
  readonly #logger: Logger;
  #runs: readonly RunRecord[] = [];
  #verified: Map<string, string> = new Map();

  private constructor(file: StateFile<History> | null, logger: Logger) {
    this.#file = file;
    this.#logger = logger;
  }

  /**
   * Reads what an earlier daemon has left in `directory`; null remembers nothing over a restart.
   *
   * @throws BackypError `ERR_CONFIG_INVALID` when the directory may not be read
   */
  static async open(directory: string | null, series: string, logger: Logger): Promise<RunHistory> {
    const parse = (raw: unknown): History | null => {
      const { data, error } = schema.safeParse(raw);
      if (error !== undefined) {
        const fields = { event: "state.unusable", issues: error.issues.slice(0, 3).map(({ path }) => path.join(".")) };
        logger.warn(fields, "what stateDir has of earlier runs cannot be used, and is begun anew");
      }
      return data ?? null;
    };
    const history = new RunHistory(directory === null ? null : stateFile(directory, series, parse), logger);
    const state = await history.#file?.read();
    if (state) {
      history.#runs = state.runs.slice(0, REMEMBERED_RUNS);
      history.#verified = new Map(state.verified);
    }
    return history;
  }

  /** Newest first. */
  get runs(): readonly RunRecord[] {
    return this.#runs;
  }

  /** When this backup was last read back and found good. */
  verifiedAt(id: string): string | null {
    return this.#verified.get(id) ?? null;
  }

  /** The backup that was last read back and found good. */
  get lastVerified(): { readonly id: string; readonly at: string } | null {
    const last = [...this.#verified].at(-1);
    return last === undefined ? null : { id: last[0], at: last[1] };
  }

  /** Failures to keep it are logged: a disk that is full does not stop backups into another one. */
  async add(run: RunRecord): Promise<void> {
    this.#runs = remembered([run, ...this.#runs]);
    if (run.kind === "verify" && run.backupId !== null) {
      this.#verified.delete(run.backupId);
      if (run.outcome === "ok") this.#verified.set(run.backupId, run.finishedAt);
      const [oldest] = this.#verified.keys();
      if (this.#verified.size > REMEMBERED_VERIFICATIONS && oldest !== undefined) this.#verified.delete(oldest);
    }
    const state: History = { formatVersion: 1, runs: this.#runs, verified: [...this.#verified] };
    await this.#file?.write(state).catch((err: unknown) => {
      this.#logger.warn({ event: "state.failed", err }, "what has run could not be written into stateDir");
    });
  }
}

function remembered(runs: readonly RunRecord[]): readonly RunRecord[] {
  const counts = new Map<string, number>();
  return runs.filter(({ kind, outcome, slot }, index) => {
    const next = runs[index - 1];
    // Every half a minute, while something else is at it: only the last one says something.
    const isRepeated = outcome === "postponed" && next?.outcome === outcome && next.slot === slot && next.kind === kind;
    if (isRepeated) return false;
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    return index < REMEMBERED_RUNS || count <= REMEMBERED_OF_KIND;
  });
}
