import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Logger } from "@zk-backyp/core";
import { type SimulatedClock, simulatedClock } from "@zk-backyp/core/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { NotificationConfig } from "../config.ts";
import type { RunRecord } from "../daemon/daemon-view.ts";
import { type HookServer, startHookServer } from "../testing/hook-server.ts";
import { MADE_NOW, type MadeSeriesOptions, madeView } from "../testing/made-view.ts";
import type { Notification } from "./notification.ts";
import { type Notifications, startNotifications } from "./notifications.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MINUTE_MS = 60_000;
const ERROR = { code: "ERR_SINK_FULL", message: "no space left", remedy: "Make room." } as const;
const FULL: Partial<RunRecord> = { outcome: "failed", message: "no space left", error: ERROR };

let server: HookServer;
let clock: SimulatedClock;
let log: { level: string; fields: Record<string, unknown>; message: string }[];
let counted: string[];
let running: Notifications[];

beforeEach(async () => {
  server = await startHookServer();
  clock = simulatedClock(MADE_NOW);
  log = [];
  counted = [];
  running = [];
});

afterEach(async () => {
  for (const one of running) await one.close();
  await server[Symbol.asyncDispose]();
});

const logger: Logger = Object.fromEntries(
  ["debug", "info", "warn"].map((level) => [
    level,
    (fields: object, message: string) => log.push({ level, fields: { ...fields }, message }),
  ]),
) as unknown as Logger;

function start(
  series: readonly MadeSeriesOptions[] = [{ name: "zk" }],
  configs: readonly NotificationConfig[] = [{ use: "webhook", url: `${server.origin}/hook` }],
) {
  const view = madeView(series);
  const notifications = startNotifications(view, configs, {
    logger,
    clock,
    count: (use, outcome) => counted.push(`${use} ${outcome}`),
    statusUrl: () => "https://zk-1:9642/",
  });
  running.push(notifications);
  /** A run that began just now and ends at once. */
  const endRun = (name: string, fields: Partial<RunRecord>) =>
    view.endRun(name, { startedAt: clock.now().toISOString(), finishedAt: clock.now().toISOString(), ...fields });
  return { view, notifications, endRun };
}

/** What was received so far, once `count` or more have come. */
async function received(count: number): Promise<Notification[]> {
  await vi.waitFor(() => expect(server.requests.length).toBeGreaterThanOrEqual(count));
  for (let turn = 0; turn < 5; turn += 1) await nextTurn();
  return server.requests.map(({ body }) => JSON.parse(body) as Notification);
}

const events = (all: readonly Notification[]): string[] =>
  all.map(({ event, reminder }) => (reminder ? `${event} again` : event));

describe("startNotifications", () => {
  it("tells of a failed backup, with all that is known", async () => {
    const { endRun } = start();
    const run = endRun("zk", FULL);
    expect(await received(1)).toEqual([
      {
        event: "failure",
        key: "zk/backup",
        action: "trigger",
        severity: "error",
        reminder: false,
        series: "zk",
        prefix: "zk",
        sink: "file:/backups/zk",
        host: "zk-1",
        time: MADE_NOW.toISOString(),
        since: MADE_NOW.toISOString(),
        message: "zk: the backup on zk-1 failed: no space left",
        kind: "backup",
        runId: run.runId,
        backupId: run.backupId,
        errorCode: "ERR_SINK_FULL",
        errorMessage: "no space left",
        remedy: "Make room.",
        failuresInARow: 1,
        lastGoodId: expect.stringMatching(/^zk-2026/),
        lastGoodTime: expect.any(String),
        statusUrl: "https://zk-1:9642/",
      },
    ]);
    expect(counted).toEqual(["webhook sent"]);
  });

  it("tells of a row of failures once, and that it is over", async () => {
    const { endRun } = start();
    for (let retry = 0; retry < 20; retry += 1) {
      endRun("zk", FULL);
      await clock.pass(10 * MINUTE_MS);
    }
    const good = endRun("zk", { outcome: "ok" });
    const all = await received(2);
    expect(events(all)).toEqual(["failure", "recovery"]);
    expect(all[1]).toMatchObject({
      key: "zk/backup",
      action: "resolve",
      severity: "info",
      since: MADE_NOW.toISOString(),
      message: `zk: there is a good backup again, ${good.backupId}.`,
      runId: good.runId,
      errorCode: null,
    });
  });

  it("tells once a day that it still fails", async () => {
    const { endRun } = start();
    for (let hour = 0; hour < 60; hour += 1) {
      endRun("zk", FULL);
      await clock.pass(HOUR_MS);
    }
    const all = await received(3);
    expect(events(all)).toEqual(["failure", "failure again", "failure again"]);
    expect(all.map(({ time }) => Date.parse(time) - MADE_NOW.getTime())).toEqual([0, DAY_MS, 2 * DAY_MS]);
    expect(all[2]).toMatchObject({
      message: "Still: zk: the backup on zk-1 failed: no space left",
      failuresInARow: 48,
    });
  });

  it("begins anew with the next failure", async () => {
    const { endRun } = start();
    for (const outcome of ["failed", "ok", "failed", "ok"] as const) endRun("zk", { outcome });
    expect(events(await received(4))).toEqual(["failure", "recovery", "failure", "recovery"]);
  });

  it.each(["skipped", "postponed", "taken", "lost", "aborted"] as const)(
    "takes a run that was %s neither for a failure nor for the end of one",
    async (outcome) => {
      const { endRun } = start();
      endRun("zk", { outcome });
      endRun("zk", FULL);
      endRun("zk", { outcome });
      endRun("zk", FULL);
      endRun("zk", { outcome: "ok" });
      expect(events(await received(2))).toEqual(["failure", "recovery"]);
    },
  );

  it("says nothing of good runs, and of a prune that failed", async () => {
    const { endRun } = start();
    endRun("zk", { outcome: "ok" });
    endRun("zk", { kind: "prune", ...FULL });
    endRun("zk", { kind: "verify", outcome: "ok" });
    await clock.pass(3 * DAY_MS);
    endRun("zk", FULL);
    expect(events(await received(1))).toEqual(["failure"]);
  });

  it("tells of damage that was found by itself, and a good backup does not end it", async () => {
    const { endRun } = start();
    endRun("zk", { kind: "verify", outcome: "damaged", backupId: "zk-1", message: "entry 3 is torn" });
    endRun("zk", { outcome: "ok" });
    endRun("zk", { kind: "verify", outcome: "ok", backupId: "zk-2" });
    const all = await received(2);
    expect(all.map(({ event, key, message }) => [event, key, message])).toEqual([
      ["failure", "zk/verify", "zk: zk-1 was read back on zk-1 and is damaged: entry 3 is torn"],
      ["recovery", "zk/verify", "zk: zk-2 was read back and found good."],
    ]);
  });

  it("tells of a backup that could not be read back", async () => {
    const { endRun } = start();
    endRun("zk", { kind: "verify", backupId: "zk-1", ...FULL });
    expect((await received(1))[0]?.message).toBe("zk: zk-1 could not be read back on zk-1: no space left");
  });

  it("tells of backups that are too old without any event, daily, and of the end of it", async () => {
    const { view } = start();
    view.change("zk", {
      health: "stale",
      healthText: "The newest good backup is 5 days old.",
      staleAt: "2026-11-21T00:00:00.000Z",
    });
    await clock.pass(DAY_MS + 2 * MINUTE_MS);
    view.change("zk", { health: "ok" });
    await clock.pass(MINUTE_MS);
    const all = await received(3);
    expect(events(all)).toEqual(["stale", "stale again", "recovery"]);
    expect(all[0]).toMatchObject({
      severity: "critical",
      since: "2026-11-21T00:00:00.000Z",
      message: "zk: The newest good backup is 5 days old.",
    });
  });

  it("tells of the end once, where a series was failing and stale", async () => {
    const { view, endRun } = start();
    endRun("zk", FULL);
    view.change("zk", { health: "stale" });
    await clock.pass(MINUTE_MS);
    endRun("zk", { outcome: "ok" });
    const all = await received(3);
    expect(events(all)).toEqual(["failure", "stale", "recovery"]);
    expect(all[1]).toMatchObject({ key: "zk/backup", errorCode: "ERR_SINK_FULL", remedy: "Make room." });
  });

  it("sees that another daemon has made a good backup", async () => {
    const { view, endRun } = start();
    endRun("zk", FULL);
    const startedAt = new Date(MADE_NOW.getTime() + 1_000).toISOString();
    await clock.pass(5_000);
    view.change("zk", { lastGood: { id: "zk-20261122T120001000Z", startedAt, upToTime: null } });
    await clock.pass(MINUTE_MS);
    const all = await received(2);
    expect(events(all)).toEqual(["failure", "recovery"]);
    expect(all[1]).toMatchObject({ lastGoodId: "zk-20261122T120001000Z", runId: null });
  });

  it("leaves it to the elected one to tell of old backups, and tells when nobody can be elected", async () => {
    const { view } = start([{ name: "zk", election: "waiting" }]);
    const election = view.status().series[0]?.election ?? null;
    view.change("zk", { health: "stale" });
    await clock.pass(2 * DAY_MS);
    expect(server.requests).toEqual([]);
    if (election !== null) view.change("zk", { election: { ...election, state: "unreachable" } });
    await clock.pass(MINUTE_MS);
    expect(events(await received(1))).toEqual(["stale"]);
  });

  it("tells a minute after a start what lasts, once", async () => {
    const { view } = start([{ name: "zk", health: "failing" }]);
    view.changeDaemon({ startedAt: MADE_NOW.toISOString() });
    await clock.pass(HOUR_MS);
    expect(events(await received(1))).toEqual(["failure again"]);
  });

  it("tells the end of what failed before a start", async () => {
    const { view, endRun } = start([{ name: "zk", health: "failing" }]);
    view.changeDaemon({ startedAt: MADE_NOW.toISOString() });
    endRun("zk", { outcome: "ok" });
    await clock.pass(HOUR_MS);
    expect(events(await received(1))).toEqual(["recovery"]);
  });

  it("tells of no end after a start where another daemon had made a good backup before it", async () => {
    const { view, endRun } = start([{ name: "zk", health: "failing" }]);
    view.changeDaemon({ startedAt: MADE_NOW.toISOString() });
    const startedAt = new Date(MADE_NOW.getTime() - 1_000).toISOString();
    view.change("zk", { health: "ok", lastGood: { id: "zk-of-another", startedAt, upToTime: null } });
    await clock.pass(HOUR_MS);
    endRun("zk", { outcome: "ok" });
    endRun("zk", FULL);
    expect(events(await received(1))).toEqual(["failure"]);
  });

  it("forgets series that a reload has taken away", async () => {
    const { view } = start([{ name: "zk", health: "failing" }, { name: "other" }]);
    await clock.pass(MINUTE_MS);
    view.reload([{ name: "other" }]);
    await clock.pass(2 * HOUR_MS);
    expect(events(await received(1))).toEqual(["failure"]);
    view.reload([{ name: "zk", health: "failing" }]);
    await clock.pass(MINUTE_MS);
    expect(events(await received(2))).toEqual(["failure", "failure"]);
  });

  it("does not repeat itself to others after a reload, and tells whom nobody told before", async () => {
    const { notifications, endRun } = start([{ name: "zk" }], []);
    endRun("zk", FULL);
    notifications.retarget([{ use: "webhook", url: `${server.origin}/a` }]);
    await clock.pass(MINUTE_MS);
    await received(1);
    notifications.retarget([{ use: "webhook", url: `${server.origin}/b` }]);
    await clock.pass(MINUTE_MS);
    endRun("zk", FULL);
    endRun("zk", { outcome: "ok" });
    expect(events(await received(2))).toEqual(["failure", "recovery"]);
    expect(server.requests.map(({ path }) => path)).toEqual(["/a", "/b"]);
  });

  it("tells each only of what it asks for", async () => {
    const on = (path: string, ...wanted: NonNullable<NotificationConfig["on"]>): NotificationConfig => ({
      use: "webhook",
      url: `${server.origin}/${path}`,
      on: wanted,
    });
    const { endRun } = start(
      [{ name: "zk" }],
      [
        on("failures", "failure"),
        on("old", "stale", "recovery"),
        on("both", "failure", "recovery"),
        on("good", "recovery"),
      ],
    );
    endRun("zk", FULL);
    endRun("zk", { outcome: "ok" });
    const all = await received(4);
    const told = server.requests.map(({ path }, index) => `${path} ${all[index]?.event}`);
    expect(told.sort()).toEqual(["/both failure", "/both recovery", "/failures failure", "/good recovery"]);
  });

  it("stays up where a receiver fails, logs and counts it, and shows no secret", async () => {
    const { endRun } = start(
      [{ name: "zk" }],
      [
        { use: "webhook", url: "http://127.0.0.1:99999/a-secret" },
        { use: "command", command: ["/nowhere/page", "a-secret"] },
        { use: "webhook", url: `${server.origin}/a-secret` },
      ],
    );
    endRun("zk", FULL);
    await received(1);
    await vi.waitFor(() => expect(counted.toSorted()).toEqual(["command failed", "webhook failed", "webhook sent"]));
    expect(log.map(({ fields }) => fields)).toContainEqual({
      event: "notification.failed",
      series: "zk",
      runId: expect.any(String),
      notification: "failure",
      receiver: "/nowhere/page",
      reason: expect.stringMatching(/ENOENT/),
    });
    expect(JSON.stringify(log)).not.toContain("a-secret");
  });

  it("keeps a bounded queue for a receiver that does not answer, and drops the oldest", async () => {
    await server[Symbol.asyncDispose]();
    server = await startHookServer(() => {});
    const { endRun } = start();
    for (let times = 0; times < 60; times += 1) {
      endRun("zk", FULL);
      endRun("zk", { outcome: "ok" });
    }
    // One is under way, a hundred wait.
    expect(counted).toEqual(Array.from({ length: 19 }, () => "webhook dropped"));
  });

  it("waits for what is under way when it ends, and tells nothing afterwards", async () => {
    await server[Symbol.asyncDispose]();
    server = await startHookServer((response) => setTimeout(() => response.writeHead(204).end(), 300));
    const { notifications, endRun } = start();
    endRun("zk", FULL);
    await notifications.close();
    expect(counted).toEqual(["webhook sent"]);
    endRun("zk", { outcome: "ok" });
    expect(server.requests).toHaveLength(1);
    expect(clock.sleepers()).toBe(0);
  });

  it("ends within seconds where a receiver does not answer", async () => {
    await server[Symbol.asyncDispose]();
    server = await startHookServer(() => {});
    const { notifications, endRun } = start();
    endRun("zk", FULL);
    endRun("zk", { outcome: "ok" });
    await notifications.close();
    expect(counted).toEqual(["webhook failed", "webhook dropped"]);
    expect(log[0]?.fields).toMatchObject({ reason: "the daemon ended first" });
  });

  it("cuts what is too long for anybody", async () => {
    const { endRun } = start();
    endRun("zk", { ...FULL, error: { ...ERROR, message: "x".repeat(1_000_000) } });
    await received(1);
    expect(server.requests[0]?.body.length).toBeLessThan(20_000);
  });

  it("runs commands", async () => {
    const folder = await mkdtemp(join(tmpdir(), "zk-backyp-notify-"));
    try {
      const file = join(folder, "told");
      const { endRun } = start([{ name: "zk" }], [{ use: "command", command: ["/usr/bin/tee", file] }]);
      endRun("zk", FULL);
      await vi.waitFor(() => expect(counted).toEqual(["command sent"]));
      expect(JSON.parse(await readFile(file, "utf8"))).toMatchObject({ event: "failure", series: "zk" });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
