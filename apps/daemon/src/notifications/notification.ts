import type { NotifiedEvent } from "../config.ts";
import type { DaemonStatus, RunRecord, SeriesStatus } from "../daemon/daemon-view.ts";
import type { Problem, Topic } from "./problems.ts";

/** The longest text in a notification in characters: an environment variable and a chat message are both limited. */
const TEXT_CHARACTERS = 4_000;

/** What somebody is told: the default body of a webhook, what a command finds on stdin, and what templates name. */
export interface Notification {
  readonly event: NotifiedEvent;
  /** The same for all messages on one thing that went wrong, its end included: `<prefix>/backup`, `<prefix>/verify`. */
  readonly key: string;
  readonly action: "trigger" | "resolve";
  readonly severity: "error" | "critical" | "info";
  /** Told before, and still so. */
  readonly reminder: boolean;
  readonly series: string;
  readonly prefix: string;
  /** Where the backups are; holds no secret. */
  readonly sink: string;
  /** The daemon's. */
  readonly host: string;
  /** When this was found, ISO 8601 in UTC, as are all times here. */
  readonly time: string;
  /** When it began. */
  readonly since: string;
  /** What has happened, in a sentence or two. */
  readonly message: string;
  readonly kind: Topic;
  /** Of the run that failed, or ended it. */
  readonly runId: string | null;
  readonly backupId: string | null;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  /** What to do. */
  readonly remedy: string | null;
  readonly failuresInARow: number;
  readonly lastGoodId: string | null;
  readonly lastGoodTime: string | null;
  readonly statusUrl: string | null;
}

interface Circumstances {
  readonly status: SeriesStatus;
  readonly daemon: DaemonStatus;
  readonly now: Date;
  readonly statusUrl: string | null;
}

/** Tells of something that is wrong. */
export function tellProblem(problem: Problem, reminder: boolean, circumstances: Circumstances): Notification {
  const { event, topic, since, run } = problem;
  const error = run?.error ?? null;
  return {
    event,
    action: "trigger",
    severity: event === "stale" ? "critical" : "error",
    reminder,
    since,
    message: cut(`${reminder ? "Still: " : ""}${sentence(problem, circumstances)}`),
    ...common(topic, run, circumstances),
    errorCode: error?.code ?? null,
    errorMessage: error === null ? null : cut(error.message),
    remedy: error === null ? null : cut(error.remedy),
  };
}

/** Tells that what was told of is over. `run` has ended it, if it was one of this daemon's. */
export function tellRecovery(
  topic: Topic,
  since: string,
  run: RunRecord | null,
  circumstances: Circumstances,
): Notification {
  const { name, lastGood } = circumstances.status;
  const message =
    topic === "verify"
      ? `${name}: ${run?.backupId ?? "a backup"} was read back and found good.`
      : `${name}: there is a good backup again${lastGood === null ? "" : `, ${lastGood.id}`}.`;
  return {
    event: "recovery",
    action: "resolve",
    severity: "info",
    reminder: false,
    since,
    message: cut(message),
    ...common(topic, run, circumstances),
    errorCode: null,
    errorMessage: null,
    remedy: null,
  };
}

function common(topic: Topic, run: RunRecord | null, { status, daemon, now, statusUrl }: Circumstances) {
  return {
    key: `${status.prefix}/${topic}`,
    series: status.name,
    prefix: status.prefix,
    sink: status.sink,
    host: daemon.host,
    time: now.toISOString(),
    kind: topic,
    runId: run?.runId ?? null,
    backupId: run?.backupId ?? null,
    failuresInARow: status.failuresInARow,
    lastGoodId: status.lastGood?.id ?? null,
    lastGoodTime: status.lastGood?.startedAt ?? null,
    statusUrl,
  } as const;
}

function sentence({ event, topic, run }: Problem, { status, daemon }: Circumstances): string {
  if (event === "stale" || run === null) return `${status.name}: ${status.healthText}`;
  const why = run.error?.message ?? run.message;
  if (topic === "backup") return `${status.name}: the backup on ${daemon.host} failed: ${why}`;
  const what = run.backupId ?? "a backup";
  return run.outcome === "damaged"
    ? `${status.name}: ${what} was read back on ${daemon.host} and is damaged: ${why}`
    : `${status.name}: ${what} could not be read back on ${daemon.host}: ${why}`;
}

function cut(text: string): string {
  return text.length <= TEXT_CHARACTERS ? text : `${text.slice(0, TEXT_CHARACTERS - 3)}...`;
}
