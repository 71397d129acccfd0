import type { CandidacyState } from "@zk-backyp/core";
import { Gauge, type Registry } from "prom-client";
import type { Health, Outcome, RunKind, RunRecord, SeriesStatus } from "../daemon/daemon-view.ts";

export const RUN_KINDS: readonly RunKind[] = keysOf<RunKind>({ backup: 0, verify: 0, prune: 0 });
export const OUTCOMES: readonly Outcome[] = keysOf<Outcome>({
  ok: 0,
  failed: 0,
  damaged: 0,
  skipped: 0,
  postponed: 0,
  taken: 0,
  lost: 0,
  aborted: 0,
});
const HEALTHS = keysOf<Health>({ ok: 0, failing: 0, stale: 0, unknown: 0 });
const CANDIDACY_STATES = keysOf<CandidacyState>({ elected: 0, waiting: 0, unreachable: 0 });

/** What one series' gauges are made from. */
export interface SeriesFacts {
  readonly status: SeriesStatus;
  /** Newest first. */
  readonly runs: readonly RunRecord[];
}

interface Sample {
  /** Beside `series`. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

interface SeriesGauge {
  readonly name: string;
  readonly help: string;
  /** Beside `series`. */
  readonly labelNames?: readonly string[];
  /** None where nothing is known: a missing sample is honest, a zero is not. */
  samples(facts: SeriesFacts): readonly Sample[];
}

const SERIES_GAUGES: readonly SeriesGauge[] = [
  {
    name: "zk_backyp_series_info",
    help: "What is configured for the series; always 1.",
    labelNames: ["prefix", "sink", "source", "mode", "run_on"],
    samples: ({ status: { prefix, sink, source, mode, runOn } }) => [
      { labels: { prefix, sink, source, mode, run_on: runOn }, value: 1 },
    ],
  },
  {
    name: "zk_backyp_series_runs_here",
    help: "1 if this daemon may run the series, 0 if it is another host's alone.",
    samples: ({ status }) => [{ value: Number(status.notHere === null) }],
  },
  {
    name: "zk_backyp_series_health",
    help: "1 for the state that the series is in, 0 for the others.",
    labelNames: ["health"],
    samples: ({ status }) => oneHot("health", HEALTHS, status.health),
  },
  {
    name: "zk_backyp_last_success_timestamp_seconds",
    help: "When the newest good backup in the sink was begun, whoever made it.",
    samples: ({ status }) => time(status.lastGood?.startedAt),
  },
  {
    name: "zk_backyp_last_success_data_timestamp_seconds",
    help: "Time of the last change that the newest good backup holds.",
    samples: ({ status }) => time(status.lastGood?.upToTime),
  },
  {
    name: "zk_backyp_stale_timestamp_seconds",
    help: "When a newer good backup has to be there.",
    samples: ({ status }) => time(status.staleAt),
  },
  {
    name: "zk_backyp_next_run_timestamp_seconds",
    help: "When the next backup begins on this daemon.",
    samples: ({ status }) => time(status.next?.at),
  },
  {
    name: "zk_backyp_run_in_progress",
    help: "1 while such a run is under way on this daemon.",
    labelNames: ["kind"],
    samples: ({ status }) => oneHot("kind", RUN_KINDS, status.current?.kind),
  },
  {
    name: "zk_backyp_failures_in_a_row",
    help: "Backup runs of this daemon that have failed since the last one that did not.",
    samples: ({ status }) => [{ value: status.failuresInARow }],
  },
  {
    name: "zk_backyp_last_run_timestamp_seconds",
    help: "When the last run on this daemon ended.",
    labelNames: ["kind"],
    samples: ({ runs }) =>
      lastRuns(runs).flatMap(({ kind, finishedAt }) =>
        time(finishedAt).map(({ value }) => ({ labels: { kind }, value })),
      ),
  },
  {
    name: "zk_backyp_last_run_outcome",
    help: "1 for what came of the last run on this daemon, 0 for the others.",
    labelNames: ["kind", "outcome"],
    samples: ({ runs }) =>
      lastRuns(runs).flatMap(({ kind, outcome }) =>
        oneHot("outcome", OUTCOMES, outcome).map(({ labels, value }) => ({ labels: { ...labels, kind }, value })),
      ),
  },
  {
    name: "zk_backyp_last_run_error",
    help: "1, with the error's code, if the last run on this daemon failed.",
    labelNames: ["kind", "code"],
    samples: ({ runs }) =>
      lastRuns(runs).flatMap(({ kind, error }) =>
        error === null ? [] : [{ labels: { kind, code: error.code }, value: 1 }],
      ),
  },
  {
    name: "zk_backyp_last_run_duration_seconds",
    help: "How long the last run on this daemon took.",
    labelNames: ["kind"],
    samples: ({ runs }) =>
      lastRuns(runs).map(({ kind, durationMs }) => ({ labels: { kind }, value: durationMs / 1000 })),
  },
  {
    name: "zk_backyp_last_backup_bytes",
    help: "Size of the archive that this daemon stored last.",
    samples: ({ runs }) => {
      const bytes = runs.find(
        ({ kind, outcome, bytes }) => kind === "backup" && outcome === "ok" && bytes !== null,
      )?.bytes;
      return bytes == null ? [] : [{ value: bytes }];
    },
  },
  {
    name: "zk_backyp_last_downtime_seconds",
    help: "For how long the server was away for the last run on this daemon that stopped it.",
    samples: ({ runs }) => {
      const downtimeMs = runs.find((run) => run.downtimeMs !== null)?.downtimeMs;
      return downtimeMs == null ? [] : [{ value: downtimeMs / 1000 }];
    },
  },
  {
    name: "zk_backyp_last_verified_timestamp_seconds",
    help: "When this daemon last read a backup back and found it good.",
    samples: ({ status }) => time(status.lastVerified?.at),
  },
  {
    name: "zk_backyp_stored_backups",
    help: "Backups in the sink.",
    samples: ({ status: { totals } }) => (totals === null ? [] : [{ value: totals.backups }]),
  },
  {
    name: "zk_backyp_stored_bytes",
    help: "Size of their archives together.",
    samples: ({ status: { totals } }) => (totals === null ? [] : [{ value: totals.bytes }]),
  },
  {
    name: "zk_backyp_stored_damaged_backups",
    help: "Backups in the sink that are known to be damaged.",
    samples: ({ status: { totals } }) => (totals === null ? [] : [{ value: totals.damaged }]),
  },
  {
    name: "zk_backyp_stored_seen_timestamp_seconds",
    help: "When the sink was last looked at, which is what the figures on it are from.",
    samples: ({ status: { totals } }) => time(totals?.seenAt),
  },
  {
    name: "zk_backyp_election_state",
    help: "1 for this daemon's state in the election, 0 for the others; only where series are run by an elected one.",
    labelNames: ["state"],
    samples: ({ status: { election } }) => (election === null ? [] : oneHot("state", CANDIDACY_STATES, election.state)),
  },
];

/**
 * Registers the gauges of all series.
 *
 * @returns sets them all anew: what a series has no more, and series that are gone, vanish
 */
export function seriesGauges(registry: Registry): (all: readonly SeriesFacts[]) => void {
  const gauges = SERIES_GAUGES.map(({ name, help, labelNames = [], samples }) => ({
    samples,
    gauge: new Gauge({ name, help, labelNames: ["series", ...labelNames], registers: [registry] }),
  }));
  return (all) => {
    for (const { gauge, samples } of gauges) {
      gauge.reset();
      for (const facts of all) {
        for (const { labels, value } of samples(facts)) gauge.set({ series: facts.status.name, ...labels }, value);
      }
    }
  };
}

function keysOf<Key extends string>(all: Readonly<Record<Key, 0>>): readonly Key[] {
  return Object.keys(all) as Key[];
}

function oneHot(label: string, all: readonly string[], current: string | undefined): readonly Sample[] {
  return all.map((one) => ({ labels: { [label]: one }, value: Number(one === current) }));
}

/** As seconds since 1970. */
function time(iso: string | null | undefined): readonly Sample[] {
  const ms = Date.parse(iso ?? "");
  return Number.isNaN(ms) ? [] : [{ value: ms / 1000 }];
}

/** The last run of each kind. */
function lastRuns(runs: readonly RunRecord[]): readonly RunRecord[] {
  return RUN_KINDS.flatMap((kind) => runs.find((run) => run.kind === kind) ?? []);
}
