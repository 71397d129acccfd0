import { execFileSync } from "node:child_process";
import { access, chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectZooKeeper, makeCertificates, requirePart, writeSampleData, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { DaemonStatus, RunRecord, SeriesStatus } from "../src/daemon/daemon-view.ts";
import { type ControlledServer, startControlledServer } from "./controlled-server.ts";
import { HOLDING_SINK } from "./holding-sink.ts";
import { runCli } from "./run-cli.ts";
import { type RunningDaemon, startDaemonProcess } from "./running-daemon.ts";

const TOKEN = "a-token-that-only-this-test-knows";

describe.skipIf(!requirePart(zooKeeperMissing()))("the daemon beside a real server", () => {
  let folder: string;
  let node: ControlledServer;
  let config: string;
  let sink: string;
  const running: RunningDaemon[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-daemon-"));
    node = await startControlledServer(join(folder, "server"));
    const client = await connectZooKeeper(node.server.connectString);
    await writeSampleData(client);
    await client.close();
  });
  afterAll(async () => {
    await node?.end();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    sink = join(folder, "backups");
    await mkdir(sink);
    config = join(folder, "zk-backyp.config.json");
  });
  afterEach(async () => {
    for (const daemon of running.splice(0)) await daemon.stop();
    await node.untilServing();
    await rm(sink, { recursive: true, force: true });
    await rm(join(folder, "state"), { recursive: true, force: true });
  });

  async function configure(series: object = {}, more: object = {}): Promise<void> {
    const { dataDir, connectString } = node.server;
    const zk = {
      source: { use: "zookeeper", dataDir, server: connectString },
      sink: { use: "fs", path: sink },
      schedule: { interval: 3600 },
      ...series,
    };
    const text = JSON.stringify({
      http: { port: 0, token: TOKEN },
      stateDir: "state",
      series: { "zk-prod": zk },
      ...more,
    });
    // As editors do it: never half there.
    await writeFile(`${config}.new`, text);
    await rename(`${config}.new`, config);
  }

  function start(): RunningDaemon {
    const daemon = startDaemonProcess(config);
    running.push(daemon);
    return daemon;
  }

  async function get<Answer>(daemon: RunningDaemon, path: string): Promise<Answer> {
    const response = await fetch(new URL(path, await daemon.url()));
    expect(response.status, path).toBe(200);
    return (await response.json()) as Answer;
  }

  async function post(daemon: RunningDaemon, path: string, token = TOKEN): Promise<Response> {
    return fetch(new URL(path, await daemon.url()), { method: "POST", headers: { authorization: `Bearer ${token}` } });
  }

  const backupEnds = (daemon: RunningDaemon, after = 0): Promise<Record<string, unknown>> =>
    daemon.line("run.end", { is: ({ kind }) => kind === "backup", after });

  it("backs up at once, tells so, and what it stored is a backup like any other", async () => {
    await configure();
    const daemon = start();
    const end = await backupEnds(daemon);
    expect(end).toMatchObject({ level: "info", series: "zk-prod", outcome: "ok", trigger: "first" });
    const status = await get<DaemonStatus>(daemon, "/api/v1/status");
    expect(status).toMatchObject({ state: "running", config: { path: config, refused: null } });
    expect(status.series).toMatchObject([
      { name: "zk-prod", health: "ok", mode: "hot", schedule: "every 1 h", runOn: "always", failuresInARow: 0 },
    ]);
    const runs = await get<{ items: RunRecord[] }>(daemon, "/api/v1/series/zk-prod/runs");
    expect(runs.items).toMatchObject([{ runId: end.runId, outcome: "ok", kind: "backup" }]);
    const verified = await runCli(["verify", "latest", "--config", config]);
    expect(verified.stderr).toBe("");
    expect(verified.code).toBe(0);
    expect(await daemon.stop()).toBe(0);
    expect(daemon.lines().at(-1)).toMatchObject({ event: "daemon.stopped" });
    expect(daemon.stderr()).toBe("");
  });

  it("remembers its runs over a restart, and does not back up again before that is due", async () => {
    await configure();
    const first = start();
    const { runId } = await backupEnds(first);
    await first.stop();
    const second = start();
    const { items } = await get<{ items: RunRecord[] }>(second, "/api/v1/series/zk-prod/runs");
    expect(items.map((run) => run.runId)).toEqual([runId]);
    await expect.poll(async () => (await status(second)).next?.trigger).toBe("schedule");
    expect(second.lines().filter(({ event }) => event === "run.start")).toEqual([]);
  });

  const status = (daemon: RunningDaemon): Promise<SeriesStatus> => get(daemon, "/api/v1/series/zk-prod");

  it("does what is asked of it over HTTP with the token, and nothing without", async () => {
    await configure();
    const daemon = start();
    await backupEnds(daemon);
    await expect.poll(async () => (await status(daemon)).current).toBeNull();
    const before = daemon.lines().length;
    expect((await post(daemon, "/api/v1/series/zk-prod/run", "another token")).status).toBe(401);
    const answer = await post(daemon, "/api/v1/series/zk-prod/run");
    expect(answer.status).toBe(202);
    const { runId } = (await answer.json()) as RunRecord;
    expect(await backupEnds(daemon, before)).toMatchObject({ runId, trigger: "request", outcome: "ok" });
    await expect.poll(async () => (await status(daemon)).current).toBeNull();
    expect((await post(daemon, "/api/v1/series/zk-prod/verify")).status).toBe(202);
    const verified = await daemon.line("run.end", { is: ({ kind }) => kind === "verify" });
    expect(verified).toMatchObject({ outcome: "ok" });
    await expect.poll(async () => (await status(daemon)).lastVerified?.id).toBe(verified.backupId);
    expect(JSON.stringify(daemon.lines())).not.toContain(TOKEN);
  });

  it("takes a new configuration when it is told to, and keeps the old one if that is wrong", async () => {
    await configure();
    const daemon = start();
    await backupEnds(daemon);
    const url = await daemon.url();
    await configure({ schedule: { interval: "often" } });
    daemon.kill("SIGHUP");
    await daemon.line("config.refused");
    expect(await get<DaemonStatus>(daemon, "/api/v1/status")).toMatchObject({
      config: { refused: { message: expect.stringContaining("series.zk-prod.schedule") } },
      series: [{ schedule: "every 1 h" }],
    });
    await configure(
      { schedule: { cron: "30 2 * * *", timeZone: "Europe/Berlin" } },
      { http: { port: Number(new URL(url).port), token: TOKEN } },
    );
    daemon.kill("SIGHUP");
    await daemon.line("config.taken", { after: daemon.lines().findIndex(({ event }) => event === "config.refused") });
    await expect
      .poll(() => get<DaemonStatus>(daemon, "/api/v1/status"))
      .toMatchObject({ config: { refused: null }, series: [{ schedule: "30 2 * * * (Europe/Berlin)" }] });
    expect(await daemon.stop()).toBe(0);
  });

  describe("while a run is under way that takes long", () => {
    const hold = (): string => join(folder, "hold");
    const held = { use: "./holding-sink.mjs", path: "" };
    beforeEach(async () => {
      await writeFile(join(folder, "holding-sink.mjs"), HOLDING_SINK);
      await writeFile(hold(), "archives/");
      await rm(`${hold()}.held`, { force: true });
      Object.assign(held, { path: sink, hold: hold() });
    });

    async function startHeld(): Promise<RunningDaemon> {
      await configure({ sink: held });
      const daemon = start();
      await expect
        .poll(
          () =>
            access(`${hold()}.held`).then(
              () => true,
              () => false,
            ),
          { timeout: 20_000 },
        )
        .toBe(true);
      return daemon;
    }

    async function reload(daemon: RunningDaemon, interval: number): Promise<void> {
      const after = daemon.lines().length;
      await configure({ sink: held, schedule: { interval } });
      daemon.kill("SIGHUP");
      await daemon.line("config.taken", { after });
    }

    it("lets it end after reloads, begins no second one beside it, and forgets none", async () => {
      const daemon = await startHeld();
      for (const interval of [7200, 10_800]) await reload(daemon, interval);
      expect((await status(daemon)).schedule).toBe("every 3 h");
      await rm(hold());
      expect(await backupEnds(daemon)).toMatchObject({ outcome: "ok" });
      await expect.poll(async () => (await status(daemon)).next?.trigger).toBe("schedule");
      expect(daemon.lines().filter(({ event }) => event === "run.start")).toHaveLength(1);
      const { items } = await get<{ items: RunRecord[] }>(daemon, "/api/v1/series/zk-prod/runs");
      expect(items.map(({ outcome }) => outcome)).toEqual(["ok"]);
    });

    it("aborts it when it is told to end, also after a reload", async () => {
      const daemon = await startHeld();
      await reload(daemon, 7200);
      daemon.kill("SIGTERM");
      expect(await daemon.ended).toBe(0);
      expect(daemon.lines().filter(({ event }) => event === "run.end")).toMatchObject([{ outcome: "aborted" }]);
      expect(await readdir(join(sink, "zk-prod", "archives")).catch(() => [])).toEqual([]);
    });
  });

  it("takes a reload that comes before it has begun for one that comes afterwards", async () => {
    await configure();
    const daemon = start();
    await daemon.line("daemon.start");
    daemon.kill("SIGHUP");
    await expect.poll(() => daemon.lines().filter(({ event }) => event === "config.taken").length).toBe(2);
    expect(await daemon.stop()).toBe(0);
  });

  it("goes on to serve what it has served when a new certificate is not good", async () => {
    const { certFile, keyFile } = (await makeCertificates(join(folder, "certificates"))).server;
    await configure({}, { http: { port: 0, tls: { certFile, keyFile } } });
    const daemon = start();
    const url = await daemon.url();
    await writeFile(keyFile, "not a key");
    daemon.kill("SIGHUP");
    await daemon.line("config.refused");
    // The authority is the test's own, which fetch does not know: that the certificate is shown is enough.
    await expect(fetch(url)).rejects.toMatchObject({ cause: { code: expect.stringMatching(/CERT|LEAF_SIGNATURE/) } });
  });

  it("stops a server for a cold backup, and has it back when it is told to end meanwhile", async () => {
    await node.set("slow-stop");
    const { dataDir, connectString } = node.server;
    const cold = { control: node.control, allowStandalone: true, stateDir: join(folder, "cold-state") };
    await configure({ source: { use: "zookeeper", dataDir, server: connectString, cold }, mode: "cold" });
    const daemon = start();
    try {
      await node.untilStopping();
      daemon.kill("SIGTERM");
      expect(await daemon.ended).toBe(0);
    } finally {
      await node.unset("slow-stop");
    }
    expect(daemon.lines().filter(({ event }) => event === "run.end")).toMatchObject([{ outcome: "aborted" }]);
    await node.untilServing();
    expect(await readdir(join(sink, "zk-prod")).catch(() => [])).toEqual([]);
  });

  it.skipIf(process.getuid?.() === 0 && process.platform !== "linux")(
    "tells a failure, goes on, and tells when all is well again",
    async () => {
      await configure();
      await rm(sink, { recursive: true });
      // What is no directory cannot be written, even by root.
      await writeFile(sink, "");
      const daemon = start();
      expect(await backupEnds(daemon)).toMatchObject({ level: "error", outcome: "failed" });
      await expect.poll(async () => (await status(daemon)).health).toBe("failing");
      const failed = await status(daemon);
      expect(failed.lastRun?.error?.remedy).not.toBe("");
      await rm(sink);
      await mkdir(sink);
      await chmod(sink, 0o755);
      await expect.poll(async () => (await status(daemon)).current).toBeNull();
      const before = daemon.lines().length;
      await post(daemon, "/api/v1/series/zk-prod/run");
      expect(await backupEnds(daemon, before)).toMatchObject({ outcome: "ok" });
      await expect.poll(async () => (await status(daemon)).health).toBe("ok");
    },
  );

  it.each([
    ["no file", null, "cannot read"],
    ["no JSON", "{", "not valid"],
    ["no series", "{}", "series"],
    ["a wrong plugin", { source: { use: "nothing" } }, "nothing"],
    ["a wrong schedule", { schedule: { cron: "61 * * * *" } }, "schedule"],
  ])("ends with 2 and says why: %s", async (_, wrong, text) => {
    if (wrong === null) await rm(config, { force: true });
    else if (typeof wrong === "string") await writeFile(config, wrong);
    else await configure(wrong);
    const daemon = start();
    expect(await daemon.ended).toBe(2);
    expect(daemon.stderr()).toContain(text);
  });

  it("ends with 2 where its configuration is a pipe, and does not wait for somebody to write into it", async () => {
    await rm(config, { force: true });
    execFileSync("mkfifo", [config]);
    const daemon = start();
    expect(await daemon.ended).toBe(2);
    expect(daemon.stderr()).toContain("it is not a file");
    await rm(config);
  });

  it("ends with 2 rather than leave a series out whose name JavaScript loses", async () => {
    await configure();
    const text = await readFile(config, "utf8");
    await writeFile(config, text.replace('"series":{', '"series":{"__proto__":{},'));
    const daemon = start();
    expect(await daemon.ended).toBe(2);
    expect(daemon.stderr()).toContain("__proto__");
  });

  it("ends with an error when somebody else listens there, and says who is in the way", async () => {
    await configure();
    const first = start();
    const { port } = new URL(await first.url());
    await configure({}, { http: { port: Number(port) } });
    const second = start();
    expect(await second.ended).not.toBe(0);
    expect(second.stderr()).toContain(port);
  });
});
