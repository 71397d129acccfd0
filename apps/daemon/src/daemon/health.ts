import type { Health, RunRecord, SeriesStatus } from "./daemon-view.ts";

interface Facts {
  readonly now: Date;
  readonly lastGood: SeriesStatus["lastGood"];
  /** When a newer good backup has to be there, or null. */
  readonly staleAt: Date | null;
  readonly lastBackupRun: RunRecord | null;
  /** Why the sink could not be looked at, or null. */
  readonly sinkProblem: string | null;
  /** Why nobody knows which node is to back up, or null. */
  readonly electionProblem: string | null;
  /** Whether the sink was seen. */
  readonly isSeen: boolean;
}

/** How a series is, and a sentence on it. */
export function healthOf({ now, lastGood, staleAt, lastBackupRun, sinkProblem, electionProblem, isSeen }: Facts): {
  readonly health: Health;
  readonly healthText: string;
} {
  const age = lastGood === null ? null : ago(now.getTime() - Date.parse(lastGood.startedAt));
  const newest = age === null ? "There is no good backup" : `The newest good backup is ${age} old`;
  // Another node may have made a good one since.
  const isOver = lastGood !== null && lastBackupRun !== null && lastGood.startedAt > lastBackupRun.startedAt;
  const failure = lastBackupRun?.outcome === "failed" && !isOver ? lastBackupRun : null;
  const why = failure === null ? (sinkProblem ?? electionProblem ?? "") : (failure.error?.message ?? failure.message);
  if (staleAt !== null && now >= staleAt) {
    return { health: "stale", healthText: sentence(`${newest}, and a newer one should be there`, why) };
  }
  if (failure !== null)
    return { health: "failing", healthText: `${sentence("The last backup failed", why)} ${newest}.` };
  if (sinkProblem !== null) {
    return { health: "failing", healthText: sentence("The store cannot be read", sinkProblem) };
  }
  if (electionProblem !== null) {
    return { health: "failing", healthText: `${sentence("Nothing is backed up", electionProblem)} ${newest}.` };
  }
  if (lastGood === null) {
    return { health: "unknown", healthText: isSeen ? "There is no backup yet." : "The store was not looked at yet." };
  }
  return { health: "ok", healthText: `${newest}.` };
}

function sentence(what: string, why: string): string {
  return why === "" ? `${what}.` : `${what}: ${why.replace(/\.$/, "")}.`;
}

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
] as const;

/** `5 hours`, `2 days`: whole units, rounded down. */
function ago(ms: number): string {
  for (const [unit, unitMs] of UNITS) {
    const count = Math.floor(ms / unitMs);
    if (count >= (unit === "day" ? 2 : 1)) return `${count} ${unit}${count === 1 ? "" : "s"}`;
  }
  return "less than a minute";
}
