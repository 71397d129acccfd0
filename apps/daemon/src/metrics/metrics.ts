import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { DaemonView, RunRecord } from "../daemon/daemon-view.ts";
import { processMetrics } from "./process-metrics.ts";
import { OUTCOMES, RUN_KINDS, seriesGauges } from "./series-gauges.ts";

/** How a notification was sent. */
type NotificationUse = "webhook" | "command";

/** `dropped`: too many were waiting for the same receiver, or the daemon ended. */
type NotificationOutcome = "sent" | "failed" | "dropped";

/** A daemon's metrics; what each means is in docs/monitoring/metrics.md. */
export interface Metrics {
  /** In Prometheus' text format, as things are now. The sink is not asked. */
  collect(): Promise<{ readonly contentType: string; readonly body: string }>;
  countNotification(use: NotificationUse, outcome: NotificationOutcome): void;
  /** Stops counting runs. */
  close(): void;
}

/** From seconds, which a hot backup of a small server takes, to the hours of a read back over a thin line. */
const RUN_SECONDS = [1, 5, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 28_800];
const DOWNTIME_SECONDS = [1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600];

/**
 * The metrics of one daemon. Counters begin at 0 with it and live through reloads; what is about a series that a reload
 * has taken away is no longer told. Label values come from the configuration and from fixed lists alone.
 */
export function createMetrics(view: DaemonView): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const buildInfo = new Gauge({
    name: "zk_backyp_build_info",
    help: "The release that runs; always 1.",
    labelNames: ["version"],
    registers,
  });
  buildInfo.set({ version: view.status().version }, 1);
  const setSeriesGauges = seriesGauges(registry);
  const runs = new Counter({
    name: "zk_backyp_runs_total",
    help: "Runs that have ended since the daemon began.",
    labelNames: ["series", "kind", "outcome"],
    registers,
  });
  const durations = new Histogram({
    name: "zk_backyp_run_duration_seconds",
    help: "How long runs took that came to their end (ok or damaged).",
    labelNames: ["series", "kind"],
    buckets: RUN_SECONDS,
    registers,
  });
  const downtimes = new Histogram({
    name: "zk_backyp_downtime_seconds",
    help: "For how long servers were away for runs that stopped them.",
    labelNames: ["series"],
    buckets: DOWNTIME_SECONDS,
    registers,
  });
  const held = new Gauge({
    name: "zk_backyp_held",
    help: "1 while the daemon begins nothing because somebody has asked for that (zk-backyp hold).",
    registers,
  });
  const reloaded = new Gauge({
    name: "zk_backyp_config_last_reload_successful",
    help: "0 if the configuration that was read last was refused, so that an older one is in force.",
    registers,
  });
  const loadedAt = new Gauge({
    name: "zk_backyp_config_last_reload_success_timestamp_seconds",
    help: "When the configuration that is in force was read.",
    registers,
  });
  const notifications = new Counter({
    name: "zk_backyp_notifications_total",
    help: "Notifications, by what came of them.",
    labelNames: ["use", "outcome"],
    registers,
  });
  for (const use of ["webhook", "command"]) {
    for (const outcome of ["sent", "failed", "dropped"]) notifications.inc({ use, outcome }, 0);
  }

  let known: ReadonlySet<string> = new Set();
  /** Begins new series at 0, so that their first failure is an increase, and forgets those that are gone. */
  function followSeries(): void {
    const names = new Set(view.series().map(({ name }) => name));
    for (const series of names) {
      if (known.has(series)) continue;
      for (const kind of RUN_KINDS) {
        for (const outcome of OUTCOMES) runs.inc({ series, kind, outcome }, 0);
      }
    }
    for (const series of known) {
      if (names.has(series)) continue;
      downtimes.remove({ series });
      for (const kind of RUN_KINDS) {
        durations.remove({ series, kind });
        for (const outcome of OUTCOMES) runs.remove({ series, kind, outcome });
      }
    }
    known = names;
  }

  function onRunEnd(series: string, run: RunRecord): void {
    const { kind, outcome, durationMs, downtimeMs } = run;
    followSeries();
    // It may end after the reload that took its series away.
    if (!known.has(series)) return;
    runs.inc({ series, kind, outcome });
    if (outcome === "ok" || outcome === "damaged") durations.observe({ series, kind }, durationMs / 1000);
    if (downtimeMs !== null) downtimes.observe({ series }, downtimeMs / 1000);
  }

  followSeries();
  view.events.on("run:end", onRunEnd);
  return {
    async collect() {
      followSeries();
      setSeriesGauges(view.series().map((one) => ({ status: one.status(), runs: one.runs() })));
      const { config, hold } = view.status();
      held.set(Number(hold !== null));
      reloaded.set(Number(config.refused === null));
      loadedAt.set(Date.parse(config.loadedAt) / 1000);
      const parts = await Promise.all([registry.metrics(), processMetrics().metrics()]);
      return { contentType: registry.contentType, body: parts.join("\n") };
    },
    countNotification: (use, outcome) => notifications.inc({ use, outcome }),
    close() {
      view.events.off("run:end", onRunEnd);
    },
  };
}
