import { afterEach, describe, expect, it } from "vitest";
import { EVERY_KIND, MADE_NOW, type MadeSeriesOptions, type MadeView, madeView } from "../testing/made-view.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { OUTCOMES } from "./series-gauges.ts";

const made: Metrics[] = [];

afterEach(() => {
  for (const metrics of made.splice(0)) metrics.close();
});

function start(series: readonly MadeSeriesOptions[] = [{ name: "zk" }]): { view: MadeView; metrics: Metrics } {
  const view = madeView(series);
  const metrics = createMetrics(view);
  made.push(metrics);
  return { view, metrics };
}

/** The samples of one metric: labels as they are written, and the value. */
async function samplesOf(metrics: Metrics, name: string): Promise<Record<string, number>> {
  const { body } = await metrics.collect();
  const lines = body.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  return Object.fromEntries(
    lines.map((line) => [
      line.slice(name.length, line.lastIndexOf(" ")),
      Number(line.slice(line.lastIndexOf(" ") + 1)),
    ]),
  );
}

/** Only those that are not 0. */
async function setOf(metrics: Metrics, name: string): Promise<Record<string, number>> {
  return Object.fromEntries(Object.entries(await samplesOf(metrics, name)).filter(([, value]) => value !== 0));
}

describe("createMetrics", () => {
  it("answers in Prometheus' text format", async () => {
    const { metrics } = start();
    const { contentType, body } = await metrics.collect();
    expect(contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(body).toMatch(/^zk_backyp_build_info\{version="1\.2\.3"\} 1$/m);
    expect(body).toMatch(/^zk_backyp_process_resident_memory_bytes [1-9]\d+$/m);
    expect(body.endsWith("\n")).toBe(true);
  });

  it("tells what is configured", async () => {
    const { metrics } = start([{ name: "zk", cold: true, election: "elected" }]);
    expect(await samplesOf(metrics, "zk_backyp_series_info")).toEqual({
      '{series="zk",prefix="zk",sink="file:/backups/zk",source="zookeeper",mode="cold",run_on="elected"}': 1,
    });
  });

  it.each(["ok", "failing", "stale", "unknown"] as const)(
    "says of one state alone that a series is in it: %s",
    async (health) => {
      const { metrics } = start([{ name: "zk", health }]);
      expect(Object.keys(await samplesOf(metrics, "zk_backyp_series_health"))).toHaveLength(4);
      expect(await setOf(metrics, "zk_backyp_series_health")).toEqual({ [`{series="zk",health="${health}"}`]: 1 });
    },
  );

  it.each(["elected", "waiting", "unreachable"] as const)("tells the state in the election: %s", async (election) => {
    const { metrics } = start([{ name: "zk", election }, { name: "alone" }]);
    expect(await setOf(metrics, "zk_backyp_election_state")).toEqual({ [`{series="zk",state="${election}"}`]: 1 });
  });

  it("tells times in seconds", async () => {
    const { view, metrics } = start();
    view.change("zk", {
      lastGood: { id: "zk-1", startedAt: "2026-11-22T02:00:00.500Z", upToTime: "2026-11-22T01:59:00.000Z" },
      staleAt: "2026-11-24T03:00:00.000Z",
      lastVerified: { id: "zk-1", at: "2026-11-22T04:00:00.000Z" },
    });
    const at = (time: string): Record<string, number> => ({ '{series="zk"}': Date.parse(time) / 1000 });
    expect(await samplesOf(metrics, "zk_backyp_last_success_timestamp_seconds")).toEqual(
      at("2026-11-22T02:00:00.500Z"),
    );
    expect(await samplesOf(metrics, "zk_backyp_last_success_data_timestamp_seconds")).toEqual(
      at("2026-11-22T01:59:00Z"),
    );
    expect(await samplesOf(metrics, "zk_backyp_stale_timestamp_seconds")).toEqual(at("2026-11-24T03:00:00Z"));
    expect(await samplesOf(metrics, "zk_backyp_last_verified_timestamp_seconds")).toEqual(at("2026-11-22T04:00:00Z"));
    expect(await samplesOf(metrics, "zk_backyp_next_run_timestamp_seconds")).toEqual(at("2026-11-23T00:00:30Z"));
  });

  it("says nothing of what is not known", async () => {
    const { metrics } = start([{ name: "zk", health: "unknown" }]);
    for (const name of [
      "last_success_timestamp_seconds",
      "last_success_data_timestamp_seconds",
      "stale_timestamp_seconds",
      "last_run_timestamp_seconds",
      "last_run_outcome",
      "last_backup_bytes",
      "last_downtime_seconds",
      "last_verified_timestamp_seconds",
      "stored_backups",
      "stored_bytes",
      "election_state",
    ]) {
      expect(await samplesOf(metrics, `zk_backyp_${name}`), name).toEqual({});
    }
  });

  it("says nothing of a time that is none", async () => {
    const { view, metrics } = start();
    view.change("zk", { lastGood: { id: "zk-1", startedAt: "yesterday", upToTime: "" } });
    expect(await samplesOf(metrics, "zk_backyp_last_success_timestamp_seconds")).toEqual({});
    expect((await metrics.collect()).body).not.toMatch(/series=.* nan$/im);
  });

  it("tells of the last run of each kind", async () => {
    const { view, metrics } = start();
    const error = { code: "ERR_NODE_DOWN", message: "it does not serve", remedy: "Look." } as const;
    view.endRun("zk", { kind: "backup", outcome: "ok", bytes: 777, durationMs: 90_000, downtimeMs: 2_500 });
    view.endRun("zk", { kind: "verify", outcome: "ok", durationMs: 1_500 });
    view.endRun("zk", { kind: "backup", outcome: "failed", error, bytes: null, durationMs: 45_000, downtimeMs: null });
    expect(await setOf(metrics, "zk_backyp_last_run_outcome")).toEqual({
      '{series="zk",outcome="failed",kind="backup"}': 1,
      '{series="zk",outcome="ok",kind="verify"}': 1,
    });
    expect(await samplesOf(metrics, "zk_backyp_last_run_error")).toEqual({
      '{series="zk",kind="backup",code="ERR_NODE_DOWN"}': 1,
    });
    expect(await samplesOf(metrics, "zk_backyp_last_run_duration_seconds")).toEqual({
      '{series="zk",kind="backup"}': 45,
      '{series="zk",kind="verify"}': 1.5,
    });
    expect(await samplesOf(metrics, "zk_backyp_last_backup_bytes")).toEqual({ '{series="zk"}': 777 });
    expect(await samplesOf(metrics, "zk_backyp_last_downtime_seconds")).toEqual({ '{series="zk"}': 2.5 });
  });

  it("tells what is under way", async () => {
    const { view, metrics } = start();
    expect(await setOf(metrics, "zk_backyp_run_in_progress")).toEqual({});
    view.startRun("zk", { kind: "verify" });
    expect(await setOf(metrics, "zk_backyp_run_in_progress")).toEqual({ '{series="zk",kind="verify"}': 1 });
    expect(await samplesOf(metrics, "zk_backyp_next_run_timestamp_seconds")).toEqual({});
  });

  it("counts runs from 0 on, by what came of them", async () => {
    const { view, metrics } = start();
    expect(Object.keys(await samplesOf(metrics, "zk_backyp_runs_total"))).toHaveLength(3 * OUTCOMES.length);
    for (const outcome of ["ok", "failed", "failed"] as const) view.endRun("zk", { outcome });
    view.endRun("zk", { kind: "verify", outcome: "damaged" });
    expect(await setOf(metrics, "zk_backyp_runs_total")).toEqual({
      '{series="zk",kind="backup",outcome="ok"}': 1,
      '{series="zk",kind="backup",outcome="failed"}': 2,
      '{series="zk",kind="verify",outcome="damaged"}': 1,
    });
  });

  it("measures runs that came to their end, and downtimes of all", async () => {
    const { view, metrics } = start();
    view.endRun("zk", { durationMs: 7_000, downtimeMs: 2_500 });
    view.endRun("zk", { durationMs: 3_000_000, outcome: "failed", downtimeMs: 65_000 });
    view.endRun("zk", { durationMs: 0, outcome: "skipped", downtimeMs: null });
    expect(await setOf(metrics, "zk_backyp_run_duration_seconds_sum")).toEqual({ '{series="zk",kind="backup"}': 7 });
    expect(await setOf(metrics, "zk_backyp_downtime_seconds_sum")).toEqual({ '{series="zk"}': 67.5 });
    expect(await samplesOf(metrics, "zk_backyp_downtime_seconds_bucket")).toMatchObject({
      '{le="2",series="zk"}': 0,
      '{le="3",series="zk"}': 1,
      '{le="+Inf",series="zk"}': 2,
    });
  });

  it("goes on counting over a reload, and says nothing more of series that are gone", async () => {
    const { view, metrics } = start([{ name: "stays" }, { name: "goes", cold: true, election: "elected" }]);
    view.endRun("stays", { outcome: "failed" });
    view.endRun("goes", { outcome: "ok" });
    expect((await metrics.collect()).body).toContain('"goes"');
    view.reload([{ name: "stays" }, { name: "comes" }]);
    const { body } = await metrics.collect();
    expect(body).not.toContain('"goes"');
    expect(await setOf(metrics, "zk_backyp_runs_total")).toEqual({
      '{series="stays",kind="backup",outcome="failed"}': 1,
    });
    expect(await samplesOf(metrics, "zk_backyp_runs_total")).toHaveProperty(
      '{series="comes",kind="backup",outcome="ok"}',
      0,
    );
  });

  it("does not count a run that ends after its series has gone", async () => {
    const { view, metrics } = start([{ name: "goes" }]);
    const run = view.endRun("goes");
    view.reload([{ name: "other" }]);
    view.events.emit("run:end", "goes", run);
    expect((await metrics.collect()).body).not.toContain('"goes"');
  });

  it("tells whether the daemon is held, beside how old the backups become", async () => {
    const { view, metrics } = start();
    expect(await samplesOf(metrics, "zk_backyp_held")).toEqual({ "": 0 });
    const before = await samplesOf(metrics, "zk_backyp_stale_timestamp_seconds");
    view.hold({ abort: false, seconds: 60 });
    expect(await samplesOf(metrics, "zk_backyp_held")).toEqual({ "": 1 });
    expect(await samplesOf(metrics, "zk_backyp_stale_timestamp_seconds")).toEqual(before);
    view.release();
    expect(await samplesOf(metrics, "zk_backyp_held")).toEqual({ "": 0 });
  });

  it("tells whether the last reload was taken", async () => {
    const { view, metrics } = start();
    const loadedAt = MADE_NOW.toISOString();
    view.changeDaemon({ config: { path: "/x", loadedAt, refused: null } });
    expect(await samplesOf(metrics, "zk_backyp_config_last_reload_successful")).toEqual({ "": 1 });
    view.changeDaemon({ config: { path: "/x", loadedAt, refused: { at: loadedAt, message: "series: is missing" } } });
    expect(await samplesOf(metrics, "zk_backyp_config_last_reload_successful")).toEqual({ "": 0 });
    expect(await samplesOf(metrics, "zk_backyp_config_last_reload_success_timestamp_seconds")).toEqual({
      "": MADE_NOW.getTime() / 1000,
    });
  });

  it("counts notifications", async () => {
    const { metrics } = start();
    expect(Object.keys(await samplesOf(metrics, "zk_backyp_notifications_total"))).toHaveLength(6);
    metrics.countNotification("webhook", "failed");
    expect(await setOf(metrics, "zk_backyp_notifications_total")).toEqual({ '{use="webhook",outcome="failed"}': 1 });
  });

  it("keeps one line per sample, whatever a series is called", async () => {
    const name = 'a"} 1\nzk_backyp_evil{x="\\';
    const { metrics } = start([{ name }]);
    const { body } = await metrics.collect();
    expect(body).not.toMatch(/^zk_backyp_evil/m);
    expect(body).toContain(String.raw`{series="a\"} 1\nzk_backyp_evil{x=\"\\"}`);
  });

  it("never asks the sink", async () => {
    const { view, metrics } = start(EVERY_KIND);
    for (const { name } of EVERY_KIND) view.failSink(name, new Error("asked"));
    expect((await metrics.collect()).body).toContain('zk_backyp_stored_backups{series="good"} 30');
  });

  it("has counters of its own in each daemon, and stops counting when closed", async () => {
    const first = start();
    const second = start();
    first.view.endRun("zk");
    expect(await setOf(second.metrics, "zk_backyp_runs_total")).toEqual({});
    first.metrics.close();
    first.view.endRun("zk");
    expect(await setOf(first.metrics, "zk_backyp_runs_total")).toEqual({
      '{series="zk",kind="backup",outcome="ok"}': 1,
    });
    expect(first.view.events.listenerCount("run:end")).toBe(0);
  });

  it("answers many at once alike", async () => {
    const { metrics } = start(EVERY_KIND);
    const bodies = await Promise.all(Array.from({ length: 20 }, () => metrics.collect()));
    const ours = bodies.map(({ body }) =>
      body
        .split("\n")
        .filter((line) => /series=/.test(line))
        .join("\n"),
    );
    expect(new Set(ours).size).toBe(1);
  });
});
