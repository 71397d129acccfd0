import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  connectZooKeeper,
  freePorts,
  makeCertificates,
  requirePart,
  writeSampleData,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { DaemonStatus, RunRecord } from "../src/daemon/daemon-view.ts";
import { type ControlledServer, startControlledServer } from "./controlled-server.ts";
import { HOLDING_SINK } from "./holding-sink.ts";
import { type CliResult, runCli } from "./run-cli.ts";
import { type RunningDaemon, startDaemonProcess } from "./running-daemon.ts";

const TOKEN = "a-token-that-only-this-test-knows";

/** Waits in the middle of what it stores, when that has begun to be written. */
const HALFWAY_SINK = HOLDING_SINK.replace(
  /async put[\s\S]*?\n {6}\},/,
  `async put(key, body, put) {
        const halfway = async function* () {
          for await (const chunk of body) {
            yield chunk;
            if (existsSync(hold) && key.includes(readFileSync(hold, "utf8"))) writeFileSync(hold + ".held", "1");
            while (existsSync(hold + ".held") && !put.signal.aborted) await sleep(20);
          }
        };
        return sink.put(key, halfway(), put);
      },`,
);

describe.skipIf(!requirePart(zooKeeperMissing()))("hold and release, beside a real server", () => {
  let folder: string;
  let node: ControlledServer;
  let config: string;
  let port: number;
  const running: RunningDaemon[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-hold-"));
    node = await startControlledServer(join(folder, "server"));
    const client = await connectZooKeeper(node.server.connectString);
    await writeSampleData(client);
    await client.close();
    await writeFile(join(folder, "holding-sink.mjs"), HOLDING_SINK);
    await writeFile(join(folder, "halfway-sink.mjs"), HALFWAY_SINK);
  });
  afterAll(async () => {
    await node?.end();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    [port = 0] = await freePorts(1);
    config = join(folder, "zk-backyp.config.json");
    await writeFile(join(folder, "token"), `${TOKEN}\n`);
  });
  afterEach(async () => {
    for (const mark of ["slow-stop", "no-start"]) await node.unset(mark);
    for (const daemon of running.splice(0)) await daemon.stop();
    await node.untilServing();
    for (const left of ["backups", "state", "gate", "gate.held"])
      await rm(join(folder, left), { recursive: true, force: true });
  });

  /** A cold series, which waits to be asked, unless it is said otherwise. */
  async function configure(series: object = {}, http: object | false = {}): Promise<void> {
    const { dataDir, connectString } = node.server;
    const cold = {
      control: node.control,
      allowStandalone: true,
      stateDir: join(folder, "state"),
      stayStoppedFile: join(folder, "stay-stopped"),
      startTimeoutMs: 20_000,
    };
    const zk = {
      source: { use: "zookeeper", dataDir, server: connectString, cold },
      sink: { use: join(folder, "holding-sink.mjs"), path: "backups", hold: join(folder, "gate") },
      mode: "cold",
      schedule: { interval: 3_600, firstRun: "scheduled" },
      ...series,
    };
    const content = {
      http: http === false ? false : { port, token: { file: "token" }, ...http },
      series: { zk },
    };
    await writeFile(`${config}.new`, JSON.stringify(content));
    await rename(`${config}.new`, config);
  }

  async function start(env: Readonly<Record<string, string>> = {}, ...args: string[]): Promise<RunningDaemon> {
    const daemon = startDaemonProcess(config, { env, args });
    running.push(daemon);
    await daemon.url();
    await daemon.line("config.taken");
    return daemon;
  }

  const cli = (...args: string[]): Promise<CliResult> => runCli([...args, "--config", config]);
  const status = async (): Promise<DaemonStatus> =>
    (await (await fetch(`http://127.0.0.1:${port}/api/v1/status`)).json()) as DaemonStatus;
  const post = (path: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}/api/v1/${path}`, {
      method: "POST",
      headers: { authorization: `Bearer ${TOKEN}` },
    });
  const runEnd = (daemon: RunningDaemon): Promise<Record<string, unknown>> => daemon.line("run.end");
  const objects = async (): Promise<string[]> =>
    (await readdir(join(folder, "backups"), { recursive: true, withFileTypes: true }).catch(() => []))
      .filter((entry) => entry.isFile())
      .map(({ name }) => name);

  it("holds an idle daemon, which begins nothing, is well by all it tells, and goes on after release", async () => {
    await configure({ mode: "hot" });
    const daemon = await start();
    const { code, stdout, stderr } = await cli("hold");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^held until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC; `zk-backyp release` ends that before\n$/);
    expect(await status()).toMatchObject({ state: "held", hold: { abort: false }, series: [{ next: null }] });
    const refused = await post("series/zk/run");
    expect([refused.status, await refused.json()]).toMatchObject([409, { error: { code: "ERR_HELD" } }]);
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(metrics).toContain("\nzk_backyp_held 1\n");
    expect(metrics).toContain('zk_backyp_series_runs_here{series="zk"} 1');
    expect(await cli("release")).toEqual({ code: 0, stdout: "released\n", stderr: "" });
    expect(await cli("release")).toEqual({ code: 0, stdout: "nothing was held\n", stderr: "" });
    expect((await post("series/zk/run")).status).toBe(202);
    expect(await runEnd(daemon)).toMatchObject({ outcome: "ok" });
    expect(daemon.lines().map(({ event }) => event)).toEqual(
      expect.arrayContaining(["http.hold", "hold.begin", "hold.held", "http.release", "hold.released"]),
    );
    expect(daemon.stderr()).toBe("");
  });

  it("aborts in the middle of a cold stop, and is not held before the server is back", async () => {
    await configure();
    const daemon = await start();
    await node.set("slow-stop");
    expect((await post("series/zk/run")).status).toBe(202);
    await node.untilStopping();
    const { code, stdout, stderr } = await cli("hold", "--abort", "--timeout", "60");
    expect(await node.server.fourLetterWord("srvr"), "it serves when the hold says that it is held").toMatch(/Mode: /);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^held until /) });
    expect(stderr).toMatch(/^waiting for the backup of zk, which began at .* UTC/);
    expect(await runEnd(daemon)).toMatchObject({ outcome: "aborted", msg: "backup aborted: the daemon was held" });
    expect(await readdir(join(folder, "state")).catch(() => []), "no debt is left").not.toContain("stop.json");
    expect(await readdir(node.server.dataDir), "no links are left").not.toContain(".zk-backyp");
    expect(await objects()).toEqual([]);
    const before = await node.pid();
    await node.unset("slow-stop");
    expect((await cli("release")).code).toBe(0);
    expect((await post("series/zk/run")).status).toBe(202);
    const ended = await daemon.line("run.end", { is: ({ outcome }) => outcome === "ok" });
    expect(ended).toMatchObject({ downtimeMs: expect.any(Number) });
    expect(await node.pid()).not.toBe(before);
  });

  it("waits for the end of a cold backup without --abort, says with --json what came of it, and holds SIGTERM up for nothing", async () => {
    await configure();
    const daemon = await start();
    await node.set("slow-stop");
    expect((await post("series/zk/run")).status).toBe(202);
    await node.untilStopping();
    const { code, stdout } = await cli("hold", "--json", "--for", "60");
    expect(await runEnd(daemon)).toMatchObject({ outcome: "ok" });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      daemon: true,
      state: "held",
      hold: { since: expect.any(String), until: expect.any(String), abort: false, problem: null },
    });
    expect(await daemon.stop()).toBe(0);
  });

  it("aborts in the middle of an upload, of which nothing stays in the store", async () => {
    const sink = { use: join(folder, "halfway-sink.mjs"), path: "backups", hold: join(folder, "gate") };
    await configure({ mode: "hot", sink });
    const daemon = await start();
    await writeFile(join(folder, "gate"), "/archives/");
    expect((await post("series/zk/run")).status).toBe(202);
    await expect
      .poll(() => readFile(join(folder, "gate.held"), "utf8").catch(() => ""), { timeout: 20_000 })
      .not.toBe("");
    expect(await objects(), "what is half there").toHaveLength(1);
    const { code } = await cli("hold", "--abort");
    expect(code).toBe(0);
    expect(await runEnd(daemon)).toMatchObject({ outcome: "aborted" });
    expect(await objects()).toEqual([]);
  });

  it("is 5 when what is under way does not end in time; a second hold aborts it", async () => {
    await configure({ mode: "hot" });
    const daemon = await start();
    await writeFile(join(folder, "gate"), "/archives/");
    expect((await post("series/zk/run")).status).toBe(202);
    await daemon.line("run.start");
    const late = await cli("hold", "--timeout", "1", "--json");
    expect(late.code).toBe(5);
    expect(JSON.parse(late.stdout)).toMatchObject({
      error: {
        code: "ERR_BUSY",
        message: expect.stringMatching(/^not held within 1 s, still waiting for the backup of zk, .*the hold stays/),
      },
    });
    expect(await status()).toMatchObject({ state: "holding" });
    expect((await cli("hold", "--abort")).code).toBe(0);
    expect(await status()).toMatchObject({ state: "held", hold: { abort: true } });
    expect(await runEnd(daemon)).toMatchObject({ outcome: "aborted" });
  });

  it("is over by itself after --for, which the log says", async () => {
    await configure();
    const daemon = await start();
    expect((await cli("hold", "--for", "2")).code).toBe(0);
    await daemon.line("hold.expired");
    expect(await status()).toMatchObject({ state: "running", hold: null });
  });

  it("is over when the daemon is started anew", async () => {
    await configure();
    const first = await start();
    expect((await cli("hold")).code).toBe(0);
    expect(await first.stop()).toBe(0);
    await start();
    expect(await status()).toMatchObject({ state: "running", hold: null });
  });

  it("begins held with --hold, though a backup is due, and makes it after the release", async () => {
    await configure({ schedule: { interval: 3_600, firstRun: "now" } });
    const daemon = await start({}, "--hold", "600");
    expect(await status()).toMatchObject({ state: "held", hold: { abort: false, problem: null } });
    expect(await post("series/zk/run")).toMatchObject({ status: 409 });
    expect(await objects()).toEqual([]);
    expect((await cli("release")).code).toBe(0);
    expect(await runEnd(daemon)).toMatchObject({ outcome: "ok" });
  });

  it.each(["0", "604801", "1.5", "soon", ""])("refuses --hold %j", async (seconds) => {
    await configure();
    const { code, stderr } = await cli("daemon", "--hold", seconds);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining("--hold") });
  });

  it("takes another configuration meanwhile, which counts after the release", async () => {
    await configure();
    const daemon = await start();
    expect((await cli("hold")).code).toBe(0);
    await configure({ mode: "hot", schedule: { interval: 3_600 } });
    const before = daemon.lines().length;
    daemon.kill("SIGHUP");
    await daemon.line("config.taken", { after: before });
    expect(await status()).toMatchObject({ state: "held", series: [{ mode: "hot", next: null, current: null }] });
    expect((await cli("release")).code).toBe(0);
    expect(await daemon.line("run.end", { after: before })).toMatchObject({ outcome: "ok", trigger: "first" });
    expect(daemon.lines().filter(({ event }) => event === "run.start")).toHaveLength(1);
  });

  it("is 7 when the server that the aborted run has stopped does not come back", async () => {
    await configure();
    const daemon = await start();
    await node.set("slow-stop");
    await node.set("no-start");
    expect((await post("series/zk/run")).status).toBe(202);
    await node.untilStopping();
    // Longer than an aborted run itself waits for that.
    const { code, stderr } = await cli("hold", "--abort", "--timeout", "20");
    expect({ code, stderr }).toEqual({
      code: 7,
      stderr: expect.stringMatching(/error ERR_NODE_DOWN: after 20 s .* waiting for the server to be back/),
    });
    expect(await runEnd(daemon)).toMatchObject({ outcome: "aborted" });
    expect(await status()).toMatchObject({ state: "holding" });
    await node.unset("no-start");
    expect(await cli("hold", "--abort", "--timeout", "60")).toMatchObject({ code: 0 });
    expect(await node.server.fourLetterWord("srvr")).toMatch(/Mode: /);
    await daemon.line("recovered");
  });

  it("is 0 without a daemon, also where its token is not there any more", async () => {
    await configure();
    await rm(join(folder, "token"));
    const where = `no daemon answers at http://127.0.0.1:${port}: there is nothing to`;
    expect(await cli("hold", "--abort")).toEqual({ code: 0, stdout: `${where} hold\n`, stderr: "" });
    expect(await cli("release")).toEqual({ code: 0, stdout: `${where} release\n`, stderr: "" });
    expect(JSON.parse((await cli("hold", "--json")).stdout)).toEqual({ daemon: false, state: null, hold: null });
    expect(JSON.parse((await cli("release", "--json")).stdout)).toEqual({
      daemon: false,
      state: null,
      wasHeld: false,
      hold: null,
    });
  });

  it("is 0 when the daemon ends while it is waited for, and 5 while it does not answer", async () => {
    await configure({ mode: "hot" });
    const daemon = await start();
    daemon.kill("SIGSTOP");
    const silent = await cli("hold", "--timeout", "1");
    expect({ code: silent.code, stderr: silent.stderr }).toEqual({
      code: 5,
      stderr: expect.stringMatching(/does not answer.*\nerror ERR_BUSY: not held within 1 s.*the daemon was not held/),
    });
    daemon.kill("SIGCONT");
    await writeFile(join(folder, "gate"), "/archives/");
    expect((await post("series/zk/run")).status).toBe(202);
    const held = cli("hold", "--timeout", "30");
    await daemon.line("hold.begin");
    daemon.kill("SIGKILL");
    expect(await held).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^no daemon answers at .*: it has ended meanwhile\n$/),
    });
  });

  it("is 5 when somebody else releases the daemon before all has ended", async () => {
    await configure({ mode: "hot" });
    const daemon = await start();
    await writeFile(join(folder, "gate"), "/archives/");
    expect((await post("series/zk/run")).status).toBe(202);
    const held = cli("hold");
    await daemon.line("hold.begin");
    expect((await cli("release")).code).toBe(0);
    expect(await held).toMatchObject({ code: 5, stderr: expect.stringMatching(/somebody has released the daemon/) });
  });

  it("needs the daemon's own token, and no secret of a series", async () => {
    const sink = {
      use: "s3",
      bucket: "backups",
      secretAccessKey: { env: "NOT_SET_FOR_THE_COMMAND" },
      accessKeyId: "a",
    };
    await configure({ mode: "hot", sink: { ...sink, endpoint: "http://127.0.0.1:9", region: "eu-1" } });
    const daemon = await start({ NOT_SET_FOR_THE_COMMAND: "a-secret-of-a-series" });
    expect(await cli("hold")).toMatchObject({ code: 0 });
    await writeFile(join(folder, "token"), "another-token-that-is-wrong");
    for (const command of ["hold", "release"]) {
      const { code, stderr } = await cli(command);
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: expect.stringMatching(/ERR_CONFIG_INVALID: .*does not take http\.token.*SIGHUP/),
      });
      expect(stderr).not.toContain("another-token-that-is-wrong");
    }
    await rm(join(folder, "token"));
    expect(await cli("release")).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/http\.token: cannot read .*token/),
    });
    expect(daemon.lines().filter(({ event }) => event === "hold.released")).toEqual([]);
  });

  it("speaks TLS with the daemon that shows the configured certificate, whoever signed it, and with no other", async () => {
    const pem = join(folder, "pem");
    await mkdir(pem, { recursive: true });
    const made = await makeCertificates(pem);
    const own = { certFile: made.server.certFile, keyFile: made.server.keyFile };
    await configure({}, { host: "127.0.0.1", tls: own });
    await start();
    expect(await cli("hold")).toMatchObject({ code: 0 });
    await configure({}, { host: "0.0.0.0", tls: own });
    expect(await cli("release")).toMatchObject({ code: 0, stdout: "released\n" });
    await configure({}, { tls: { ...own, certFile: made.client.certFile } });
    expect(await cli("hold")).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/ERR_DAEMON_UNAVAILABLE: .*another certificate than .*SIGHUP/),
    });
    // Without TLS it is understood by nobody.
    await configure();
    expect((await cli("hold", "--timeout", "2")).code).not.toBe(0);
  });

  it.each([
    ["http: false", false, /http is false/],
    ["no token", { token: undefined }, /there is no http\.token/],
    ["any port", { port: 0 }, /http\.port is 0/],
  ] as const)("is bad usage with %s, and says what to do", async (_what, http, message) => {
    await configure({}, http);
    for (const command of ["hold", "release"]) {
      const { code, stderr } = await cli(command);
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
    }
  });

  it.each([
    [["--for", "0"], /--for "0"/],
    [["--for", "1h"], /--for "1h"/],
    [["--for", "604801"], /--for "604801": give whole seconds, from 1 to 604800/],
    [["--timeout", "-1"], /--timeout "-1"/],
    [["--timeout", "1.5"], /--timeout "1\.5"/],
    [["--series", "zk"], /unknown option '--series'/],
  ])("is bad usage with %j", async (flags, message) => {
    await configure();
    expect(await cli("hold", ...flags)).toMatchObject({ code: 2, stderr: expect.stringMatching(message) });
  });

  it.each([
    ["a page", 200, "<!doctype html>", /no daemon of zk-backyp/],
    ["other JSON", 200, '{"state":"held"}', /no daemon of zk-backyp/],
    ["nothing", 204, "", /no daemon of zk-backyp/],
    ["an error of its own", 500, "broken", /no daemon of zk-backyp/],
  ])("is 1 where something else listens, which answers %s", async (_what, code, body, message) => {
    await configure();
    const other: Server = createServer((_request, response) => response.writeHead(code).end(body));
    await new Promise<void>((resolve) => other.listen(port, "127.0.0.1", resolve));
    expect((other.address() as AddressInfo).port).toBe(port);
    try {
      for (const command of ["hold", "release"]) {
        const result = await cli(command);
        expect(result).toMatchObject({ code: 1, stderr: expect.stringMatching(message) });
      }
    } finally {
      await new Promise((resolve) => other.close(resolve));
    }
  });

  it("is bad usage without a configuration", async () => {
    await mkdir(join(folder, "empty"), { recursive: true });
    const { code, stderr } = await runCli(["hold"], { cwd: join(folder, "empty") });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/no configuration file here/) });
  });

  it("shows the runs that it has aborted as what they are", async () => {
    await configure({ mode: "hot" });
    const daemon = await start();
    await writeFile(join(folder, "gate"), "/archives/");
    await post("series/zk/run");
    await daemon.line("run.start");
    expect((await cli("hold", "--abort")).code).toBe(0);
    const { items } = (await (await fetch(`http://127.0.0.1:${port}/api/v1/series/zk/runs`)).json()) as {
      items: RunRecord[];
    };
    expect(items).toMatchObject([{ outcome: "aborted", error: null, message: "the daemon was held" }]);
    expect((await status()).series).toMatchObject([{ failuresInARow: 0 }]);
  });
});
