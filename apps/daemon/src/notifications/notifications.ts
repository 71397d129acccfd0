import { setTimeout as sleep } from "node:timers/promises";
import { type Clock, type Logger, systemClock } from "@zk-backyp/core";
import type { NotificationConfig, NotifiedEvent } from "../config.ts";
import type { DaemonView, RunRecord, SeriesStatus, SeriesView } from "../daemon/daemon-view.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { type Notification, tellProblem, tellRecovery } from "./notification.ts";
import { problemsOf, type Topic } from "./problems.ts";
import { Receiver } from "./receiver.ts";

/** After this time in milliseconds it is told again that something is still wrong. */
const REMIND_AFTER_MS = 86_400_000;
/** How often all series are looked at in milliseconds, whether or not something happens. */
const LOOK_EVERY_MS = 60_000;
/** How long the end of the daemon waits for messages that are under way, in milliseconds. */
const CLOSE_WITHIN_MS = 5_000;

export interface NotificationOptions {
  readonly logger: Logger;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** Is told what came of each message. */
  readonly count?: Metrics["countNotification"];
  /** Where the status page can be reached from elsewhere, if that is known. */
  readonly statusUrl?: () => string | null;
}

/** Somebody is told when something is wrong, and when it is over. */
export interface Notifications {
  /** Others are told from now on, as after a reload. What was told already is not told again. */
  retarget(configs: readonly NotificationConfig[]): void;
  /** Waits some seconds at most for what is under way. Never rejects. */
  close(): Promise<void>;
}

/** From the first message that something is wrong until nothing is. */
interface Episode {
  readonly since: string;
  /** When each was told last; null: by an earlier daemon. */
  readonly told: Map<NotifiedEvent, Date | null>;
}

const TOPICS: readonly Topic[] = ["backup", "verify"];

/**
 * Tells of failures, of backups that are too old, and that all is well again: each once, and once a day while it lasts,
 * however often a run is retried. What was told is not remembered over a restart: a minute after one at the latest, what
 * lasts is told again.
 *
 * A receiver that fails is logged and counted, and holds nothing up.
 *
 * @param configs with their secrets in place
 */
export function startNotifications(
  view: DaemonView,
  configs: readonly NotificationConfig[],
  { logger, clock = systemClock, count = () => {}, statusUrl = () => null }: NotificationOptions,
): Notifications {
  const looking = new AbortController();
  const sending = new AbortController();
  const context = { logger, clock, count, signal: sending.signal };
  let receivers = configs.map((config) => new Receiver(config, context));
  /** Those of earlier configurations that still have something to send. */
  const leaving = new Set<Receiver>();
  const episodes = new Map<string, Map<Topic, Episode>>();

  function look(series: SeriesView, ended?: RunRecord): void {
    const status = series.status();
    const known = series.runs();
    const runs = ended === undefined || known[0]?.runId === ended.runId ? known : [ended, ...known];
    const now = clock.now();
    const circumstances = { status, daemon: view.status(), now, statusUrl: statusUrl() };
    const problems = problemsOf(status, runs, now);
    const open = episodes.get(series.name) ?? inherited(status, runs, new Date(circumstances.daemon.startedAt));
    episodes.set(series.name, open);
    for (const topic of TOPICS) {
      const present = problems.filter((problem) => problem.topic === topic);
      for (const problem of present) {
        const toldAt = open.get(topic)?.told.get(problem.event);
        // Of old backups the elected one tells; without one, everybody does.
        if (problem.event === "stale" && status.election?.state === "waiting") continue;
        if (toldAt && Math.abs(now.getTime() - toldAt.getTime()) < REMIND_AFTER_MS) continue;
        say(tellProblem(problem, toldAt !== undefined, circumstances));
        const episode = open.get(topic) ?? { since: problem.since, told: new Map() };
        episode.told.set(problem.event, now);
        open.set(topic, episode);
      }
      const episode = open.get(topic);
      if (present.length > 0 || episode === undefined) continue;
      const good = runs.find(({ kind }) => kind === topic);
      const run = good?.outcome === "ok" ? good : null;
      say(tellRecovery(topic, episode.since, run, circumstances), new Set(episode.told.keys()));
      open.delete(topic);
    }
  }

  function say(notification: Notification, recovered: ReadonlySet<NotifiedEvent> = new Set()): void {
    for (const receiver of receivers) receiver.tell(notification, recovered);
  }

  /** Listeners must not throw. */
  function lookAtAll(name: string | null, ended?: RunRecord): void {
    // Whoever comes with a reload is told of what is wrong already.
    if (receivers.length === 0) {
      episodes.clear();
      return;
    }
    try {
      const all = view.series();
      const names = new Set(all.map((series) => series.name));
      for (const gone of episodes.keys()) if (!names.has(gone)) episodes.delete(gone);
      for (const series of all) if (name === null || series.name === name) look(series, ended);
    } catch (error) {
      logger.warn({ event: "notification.failed", err: error }, "could not find out whether somebody has to be told");
    }
  }

  async function lookAgain(): Promise<void> {
    for (;;) {
      await clock.sleep(LOOK_EVERY_MS, looking.signal);
      lookAtAll(null);
    }
  }

  const onRunEnd = (series: string, run: RunRecord): void => lookAtAll(series, run);
  view.events.on("run:end", onRunEnd);
  const lookedAgain = lookAgain().catch(() => {});
  return {
    retarget(others) {
      for (const receiver of receivers) {
        leaving.add(receiver);
        void receiver.idle().then(() => leaving.delete(receiver));
      }
      receivers = others.map((config) => new Receiver(config, context));
    },
    async close() {
      view.events.off("run:end", onRunEnd);
      looking.abort();
      await lookedAgain;
      const idle = Promise.all([...receivers, ...leaving].map((receiver) => receiver.idle()));
      const inTime = new AbortController();
      await Promise.race([idle, sleep(CLOSE_WITHIN_MS, undefined, { signal: inTime.signal }).catch(() => {})]);
      inTime.abort();
      sending.abort();
      await idle;
    },
  };
}

/** What an earlier daemon has told, as far as the runs that it left behind show it: it may be over, but not be told. */
function inherited(status: SeriesStatus, runs: readonly RunRecord[], startedAt: Date): Map<Topic, Episode> {
  const isEarlier = (time: string): boolean => Date.parse(time) < startedAt.getTime();
  const earlier = runs.filter((run) => isEarlier(run.startedAt));
  const lastGood = status.lastGood !== null && isEarlier(status.lastGood.startedAt) ? status.lastGood : null;
  const problems = problemsOf({ ...status, lastGood, health: "unknown" }, earlier, startedAt);
  return new Map(problems.map(({ topic, since, event }) => [topic, { since, told: new Map([[event, null]]) }]));
}
