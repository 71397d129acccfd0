import { access, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  connectZooKeeper,
  requirePart,
  startEnsemble,
  writeSampleData,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ControlledServer, startControlledServer } from "./controlled-server.ts";
import { type CliResult, runCli } from "./run-cli.ts";
import { runHere } from "./run-here.ts";

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

async function configure(folder: string, cold: object, more: object = {}): Promise<string> {
  const path = join(folder, "cold.json");
  const { source = {}, ...series } = more as { source?: object };
  const config = {
    series: {
      zk: {
        source: { use: "zookeeper", cold, ...source },
        sink: { use: "fs", path: "backups" },
        mode: "cold",
        ...series,
      },
    },
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

describe.skipIf(!requirePart(zooKeeperMissing()))("a cold backup of a real server", () => {
  let folder: string;
  let node: ControlledServer;
  let config: string;
  let stateDir: string;
  let stayStoppedFile: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-cold-"));
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
    stateDir = join(folder, "state");
    stayStoppedFile = join(folder, "stay-stopped");
    config = await configureNode({});
  });
  afterEach(async () => {
    await rm(stayStoppedFile, { force: true });
    for (const mark of ["slow-stop", "no-start"]) await node.unset(mark);
    // What a test left owing is paid, by whoever does it first.
    for (let tries = 0; (await isThere(join(stateDir, "stop.json"))) && tries < 30; tries += 1) {
      const { code, stderr } = await runCli(["recover", "--config", config]);
      if (code !== 0 && code !== 5) throw new Error(stderr);
      await sleep(200);
    }
    await node.untilServing();
    await rm(join(folder, "backups"), { recursive: true, force: true });
  });

  function configureNode(cold: object, more: object = {}): Promise<string> {
    const { dataDir, connectString } = node.server;
    return configure(
      folder,
      { control: node.control, allowStandalone: true, stateDir, stayStoppedFile, ...cold },
      { source: { dataDir, server: connectString }, ...more },
    );
  }

  /** Runs a backup of a server that takes its time to stop, and does something to it meanwhile. */
  async function backUpUntilStopping(
    act: (kill: (signal: NodeJS.Signals) => void) => void | Promise<void>,
  ): Promise<CliResult> {
    await node.set("slow-stop");
    let acted: Promise<void> | undefined;
    const result = await runCli(["backup", "--config", config], {
      onStart(child) {
        acted = node.untilStopping().then(() => act((signal) => child.kill(signal)));
      },
    });
    await acted;
    return result;
  }

  it("says what it does to the server while it does it, and for how long clients missed it", async () => {
    const before = await node.pid();
    const { code, stdout, stderr } = await runCli(["backup", "--config", config]);
    const [seconds, took] = [/\d+\.\d\d/.source, /after \d+\.\d s/.source];
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(
        new RegExp(
          `^stopping the node .*\nstopped ${took}\nlinked \\d+ files \\(.* [kM]?B\\) ${took}\nstarting it again\nserving again as standalone ${took}\ncaught up ${took}\n$`,
        ),
      ),
    });
    const downtime = `downtime +${seconds} s \\(stopped ${seconds}, linked ${seconds}, start asked ${seconds}, serving ${seconds}, caught up ${seconds}\\)`;
    expect(stdout).toMatch(new RegExp(`\n +mode +cold\n[\\s\\S]*\n +${downtime}\n`));
    expect(stdout).not.toMatch(/askedAt/);
    expect(await node.pid()).not.toBe(before);
    expect((await runCli(["show", "latest", "--config", config])).stdout).toMatch(new RegExp(`\n +${downtime}\n`));
    expect(await runCli(["verify", "latest", "--config", config])).toMatchObject({ code: 0, stderr: "" });
    expect(await readdir(stateDir), "no debt is left").not.toContain("stop.json");
    expect(await readdir(node.server.dataDir), "no links are left").not.toContain(".zk-backyp");
  });

  it("is one document with --json, and nothing beside it", async () => {
    const { code, stdout, stderr } = await runCli(["backup", "--config", config, "--json"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      facts: { mode: "cold", server: { role: "standalone" }, downtime: { servingMs: expect.any(Number) } },
      verified: true,
    });
  });

  it("is hot for once with --mode hot", async () => {
    const before = await node.pid();
    const { code, stdout, stderr } = await runCli(["backup", "--config", config, "--mode", "hot"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/\n +mode +hot\n/);
    expect(stdout).not.toMatch(/downtime/);
    expect(await node.pid()).toBe(before);
  });

  it("takes a server that somebody else has stopped as it is, and leaves it stopped", async () => {
    await node.operate("stop");
    try {
      const { code, stdout, stderr } = await runCli(["backup", "--config", config]);
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: expect.stringMatching(
          /^warning: the node .* is stopped already: backed up as it is, and not started\n$/,
        ),
      });
      expect(stdout).toMatch(/\n +mode +cold\n[\s\S]*\n +stop +wasStopped true\n/);
      expect(stdout).not.toMatch(/downtime/);
      expect(await node.pid()).toBeNull();
    } finally {
      await node.operate("start");
    }
  });

  it("is refused with 1 where nobody stands in for the server, which is left alone", async () => {
    config = await configureNode({ allowStandalone: false });
    const before = await node.pid();
    const { code, stderr } = await runCli(["backup", "--config", config]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^error ERR_STOP_REFUSED: .*it is standalone, .*set allowStandalone\n$/),
    });
    expect(await node.pid()).toBe(before);
  });

  it("is 1 when the server cannot be stopped", async () => {
    config = await configureNode({
      control: { ...node.control, stop: ["/bin/sh", "-c", "echo 'no, sir' >&2; exit 4"] },
    });
    const before = await node.pid();
    const { code, stderr } = await runCli(["backup", "--config", config]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/error ERR_NODE_CONTROL: .*exit code 4: no, sir/),
    });
    expect(await node.pid()).toBe(before);
  });

  it("is 7 when the server does not come back, and recover is too; later one of them brings it back", async () => {
    config = await configureNode({ startTimeoutMs: 1_500 });
    await node.set("no-start");
    const { code, stdout, stderr } = await runCli(["backup", "--config", config]);
    expect({ code, stdout }).toEqual({ code: 7, stdout: "" });
    expect(stderr).toMatch(/\nerror ERR_NODE_DOWN: the node .* is not back after 1\.5 s: .*it may not start/);
    expect(await isThere(join(stateDir, "stop.json"))).toBe(true);
    await node.unset("no-start");
    const recovered = await runCli(["recover", "--config", config]);
    expect(recovered).toMatchObject({ code: 0, stdout: expect.stringMatching(/^✔ the server (runs|was started)/) });
    expect(await isThere(join(stateDir, "stop.json"))).toBe(false);
    await node.untilServing();
  });

  it.each(["SIGTERM", "SIGINT"] as const)("ends with 130 on %s, once the server is back", async (signal) => {
    const before = await node.pid();
    const { code, stderr } = await backUpUntilStopping((kill) => kill(signal));
    expect({ code, stderr }).toEqual({
      code: 130,
      stderr: expect.stringMatching(/serving again[\s\S]*error ERR_ABORTED/),
    });
    expect(await node.pid()).not.toBe(before);
    expect(await isThere(join(stateDir, "stop.json"))).toBe(false);
  });

  it("leaves the server's return to the guard on a second signal", async () => {
    const { code } = await backUpUntilStopping(async (kill) => {
      kill("SIGTERM");
      await sleep(200);
      kill("SIGTERM");
    });
    expect(code).toBe(130);
    expect(await isThere(join(stateDir, "stop.json")), "the debt is noted").toBe(true);
    const guardLog = (): Promise<string> => readFile(join(stateDir, "guard.log"), "utf8");
    await expect.poll(guardLog, { timeout: 20_000 }).toMatch(/is gone: starting the node[\s\S]*the start was accepted/);
    const { code: recovered, stdout } = await runCli(["recover", "--config", config]);
    expect({ recovered, stdout }).toEqual({ recovered: 0, stdout: expect.stringMatching(/^✔ the server /) });
    await node.untilServing();
  });

  it("that was killed is recovered, unless an operator wants the server to stay stopped", async () => {
    const { code } = await backUpUntilStopping(async (kill) => {
      // Before the guard can look for it.
      await writeFile(stayStoppedFile, "");
      kill("SIGKILL");
    });
    expect(code).toBeNull();
    const kept = await runCli(["recover", "--config", config]);
    expect(kept).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^the server stays stopped: .*stay-stopped is there\. .*recover again\n$/),
      stderr: expect.stringMatching(/^warning: a run that died may have left/),
    });
    // The stop program, which outlived its caller, removes the file in the end.
    await expect.poll(() => node.pid()).toBeNull();
    await rm(stayStoppedFile);
    const { code: recovered, stdout } = await runCli(["recover", "--config", config, "--json"]);
    expect({ recovered, document: JSON.parse(stdout) }).toEqual({ recovered: 0, document: { did: "started" } });
    expect((await runCli(["recover", "--config", config])).stdout).toBe("nothing to recover\n");
  });

  it("has nothing to recover in a series that is hot, also without its sink", async () => {
    const { dataDir } = node.server;
    const source = { use: "zookeeper", dataDir };
    const sink = { use: "s3", secretAccessKey: { env: "NOT_SET" } };
    await writeFile(config, JSON.stringify({ series: { zk: { source, sink } } }));
    const text = await runCli(["recover", "--config", config]);
    expect(text).toEqual({ code: 0, stdout: "nothing to recover\n", stderr: "" });
    const { stdout } = await runCli(["recover", "--config", config, "--json"]);
    expect(JSON.parse(stdout)).toEqual({ did: "nothing" });
  });
});

describe.skipIf(!requirePart(zooKeeperMissing()))("a cold backup of the leader", () => {
  let folder: string;
  let servers: ZooKeeperServer[];
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-cold-leader-"));
    servers = await startEnsemble({ directory: folder, size: 3 });
  });
  afterAll(async () => {
    await Promise.all((servers ?? []).map((server) => server.kill()));
    await rm(folder, { recursive: true, force: true });
  });

  it("is skipped, which is no failure, until it was skipped too often", async () => {
    const roles = await Promise.all(servers.map((server) => server.fourLetterWord("srvr")));
    const leader = servers[roles.findIndex((role) => role.includes("Mode: leader"))];
    if (leader === undefined) throw new Error("there is no leader");
    const members = servers.filter((server) => server !== leader).map(({ connectString }) => connectString);
    // Never run but for the status: what would stop it must not be asked.
    const [status, never] = [["/bin/true"], ["/bin/sh", "-c", `touch ${join(folder, "asked")}`]];
    const control = { use: "command", start: never, stop: never, status };
    const config = await configure(
      folder,
      { control, members, stateDir: join(folder, "state"), maxSkippedRuns: 2 },
      { source: { dataDir: leader.dataDir, zooCfg: leader.configFile } },
    );
    const first = await runCli(["backup", "--config", config]);
    expect(first).toEqual({ code: 0, stdout: expect.stringMatching(/^skipped: .*it is the leader/), stderr: "" });
    const second = await runCli(["backup", "--config", config, "--json"]);
    expect({ code: second.code, document: JSON.parse(second.stdout) }).toEqual({
      code: 0,
      document: { skipped: "leader", message: expect.stringContaining("it is the leader") },
    });
    const third = await runCli(["backup", "--config", config]);
    expect(third).toMatchObject({ code: 1, stderr: expect.stringMatching(/ERR_STOP_REFUSED.*3 runs in a row/) });
    expect(await isThere(join(folder, "asked"))).toBe(false);
    const stored = await readdir(join(folder, "backups"), { recursive: true, withFileTypes: true });
    expect(stored.filter((entry) => entry.isFile())).toEqual([]);
  });
});

describe("a cold backup that is asked for the wrong way", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-cold-flags-"));
    await mkdir(join(folder, "version-2"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it.each([
    ["a mode that is none", ["--mode", "warm"], /'warm' is invalid\. Allowed choices are hot, cold/],
    [
      "an action that is none",
      ["--if-leader", "handOver"],
      /'handOver' is invalid\. Allowed choices are skip, proceed/,
    ],
    ["nothing that stops the server", ["--mode", "cold"], /what stops and starts the server\? Give --control/],
    ["a control without the mode", ["--control", "monit:zookeeper"], /give --mode cold too/],
    ["a control of a hot backup", ["--mode", "hot", "--control", "monit:zookeeper"], /give --mode cold too/],
    ["--if-leader without the mode", ["--if-leader", "proceed"], /give --mode cold too/],
    ["--allow-standalone without the mode", ["--allow-standalone"], /give --mode cold too/],
    ["a control of no kind", ["--mode", "cold", "--control", "zookeeper"], /"zookeeper" is none of monit:SERVICE/],
    ["an empty control", ["--mode", "cold", "--control", ""], /"" is none of monit:SERVICE/],
    ["an unknown supervisor", ["--mode", "cold", "--control", "upstart:zk"], /"upstart:zk" is none of/],
    ["programs", ["--mode", "cold", "--control", "command:stop"], /need a configuration file/],
    ["no service", ["--mode", "cold", "--control", "monit:"], /cold\.control.*no name of a service/],
    ["all services", ["--mode", "cold", "--control", "monit:all"], /cold\.control.*would be all services/],
    ["an option for a unit", ["--mode", "cold", "--control", "systemd:--force"], /cold\.control.*no name of a unit/],
    ["no socket", ["--mode", "cold", "--control", "helper:"], /cold\.control.*is empty/],
    ["no server to ask", ["--mode", "cold", "--control", "systemd:zk", "--data-dir", "."], /needs server or zooCfg/],
  ])("with %s is bad usage", async (_what, flags, message) => {
    const { code, stderr } = await runHere(["backup", "--to", join(folder, "backups"), ...flags]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
  });

  it.each([
    ["no server", [], /which server\? Give --zoo-cfg or --data-dir/],
    ["nothing that starts the server", ["--data-dir", "."], /what stops and starts the server\? Give --control/],
    ["a control alone", ["--control", "systemd:zk"], /needs server or zooCfg/],
    ["a server and a configuration", ["--config", "c.yaml", "--control", "systemd:zk"], /but not both/],
    ["a server and a series", ["--series", "a", "--data-dir", "."], /but not both/],
    ["a mode", ["--mode", "cold"], /unknown option '--mode'/],
  ])("recover with %s is bad usage", async (_what, flags, message) => {
    // In a process of its own, for a directory without a configuration.
    const { code, stderr } = await runCli(["recover", ...flags], { cwd: folder });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
  });

  it("is refused beside a configured series, but for the mode", async () => {
    const control = { use: "systemd", unit: "zookeeper.service" };
    const config = await configure(folder, { control }, { source: { server: "127.0.0.1:1", dataDir: folder } });
    const { code, stderr } = await runHere(["backup", "--config", config, "--control", "monit:zookeeper"]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/comes from the series zk.*leave/) });
  });

  it.each([
    ["two modes", { mode: "cold", source: { mode: "hot" } }, /series\.zk\.mode.*another one than source\.mode/],
    ["an unknown mode", { mode: "warm" }, /series\.zk\.mode/],
    ["no control", { source: { cold: undefined } }, /needs cold\.control/],
    [
      "an unknown option of cold",
      { source: { cold: { control: { use: "systemd", unit: "a" }, x: 1 } } },
      /cold\.x: is not known/,
    ],
  ])("by a configuration with %s is refused", async (_what, more, message) => {
    const control = { use: "systemd", unit: "zookeeper.service" };
    const config = await configure(folder, { control }, more);
    const { code, stderr } = await runHere(["backup", "--config", config]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
  });
});
