import type { Outcome, RunRecord, SeriesStatus } from "../daemon/daemon-view.ts";

/** What a problem is about: that there is a good backup, or that backups can be read back. */
export type Topic = "backup" | "verify";

/** Something that is wrong with a series now. */
export interface Problem {
  readonly event: "failure" | "stale";
  readonly topic: Topic;
  /** When it began: the first failed run's start, or when a newer backup should have been there. ISO 8601. */
  readonly since: string;
  /** The last run that failed; null if none is known to have. */
  readonly run: RunRecord | null;
}

const FAILURES: ReadonlySet<Outcome> = new Set(["failed", "damaged"]);

/**
 * What is wrong with a series. Runs that were skipped, taken or aborted say nothing on it, neither way.
 *
 * @param runs newest first
 */
export function problemsOf(status: SeriesStatus, runs: readonly RunRecord[], now: Date): readonly Problem[] {
  const problems: Problem[] = [];
  const backup = failureOf("backup", runs);
  // Another daemon may have made a good one since.
  const isMadeGood =
    backup !== null &&
    status.lastGood !== null &&
    Date.parse(status.lastGood.startedAt) > Date.parse(backup.run.startedAt);
  if (backup !== null && !isMadeGood) problems.push({ event: "failure", topic: "backup", ...backup });
  const verify = failureOf("verify", runs);
  if (verify !== null) problems.push({ event: "failure", topic: "verify", ...verify });
  if (status.health === "stale") {
    const since = status.staleAt ?? now.toISOString();
    problems.push({ event: "stale", topic: "backup", since, run: isMadeGood ? null : (backup?.run ?? null) });
  }
  return problems;
}

/** The row of failed runs that has not ended: its first one's start and its last run. */
function failureOf(
  kind: Topic,
  runs: readonly RunRecord[],
): { readonly since: string; readonly run: RunRecord } | null {
  const ofKind = runs.filter((run) => run.kind === kind);
  const good = ofKind.findIndex(({ outcome }) => outcome === "ok");
  const row = ofKind.slice(0, good < 0 ? undefined : good).filter(({ outcome }) => FAILURES.has(outcome));
  const [last] = row;
  const first = row.at(-1);
  return last === undefined || first === undefined ? null : { since: first.startedAt, run: last };
}
