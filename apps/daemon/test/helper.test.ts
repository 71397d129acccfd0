import type { ChildProcess } from "node:child_process";
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectZooKeeper, requirePart, writeSampleData, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type ControlledServer, startControlledServer } from "./controlled-server.ts";
import { type CliResult, runCli } from "./run-cli.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("a helper beside a real server", () => {
  let folder: string;
  let node: ControlledServer;
  let socket: string;
  let config: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-helper-"));
    node = await startControlledServer(join(folder, "server"));
    const client = await connectZooKeeper(node.server.connectString);
    await writeSampleData(client);
    await client.close();
    socket = join(folder, "run/helper.sock");
    config = join(folder, "helper.json");
    const helper = { socket: "run/helper.sock", control: node.control, stateDir: "helper-state" };
    await writeFile(config, JSON.stringify({ helper }));
  });
  afterAll(async () => {
    await node?.end();
    await rm(folder, { recursive: true, force: true });
  });

  /** Has a helper run while something is done. Returns how that ended, and the helper. */
  async function withHelper(
    act: (child: ChildProcess) => Promise<CliResult>,
  ): Promise<{ done: CliResult; helper: CliResult }> {
    let acted: Promise<CliResult> | undefined;
    const helper = await runCli(["helper", "--config", config], {
      onStart(child) {
        const ready = new Promise<void>((resolve) => {
          child.stderr?.on("data", (chunk) => {
            if (/is ready/.test(String(chunk))) resolve();
          });
        });
        acted = ready.then(() => act(child)).finally(() => child.kill("SIGTERM"));
      },
    });
    if (acted === undefined) throw new Error("it did not start");
    return { done: await acted, helper };
  }

  const serverFlags = (): string[] => ["--data-dir", node.server.dataDir, "--server", node.server.connectString];

  function backUp(onStart: (child: ChildProcess) => void = () => {}): Promise<CliResult> {
    const cold = ["--mode", "cold", "--allow-standalone", "--control", `helper:${socket}`];
    return runCli(["backup", ...serverFlags(), ...cold, "--to", join(folder, "backups")], { onStart });
  }

  it("stops and starts it for a cold backup, says so, and ends on SIGTERM", async () => {
    const before = await node.pid();
    const { done, helper } = await withHelper(() => backUp());
    expect(done).toMatchObject({ code: 0, stdout: expect.stringMatching(/\n +downtime +\d/) });
    expect(await node.pid()).not.toBe(before);
    expect(helper).toMatchObject({ code: 0, stdout: "" });
    expect(helper.stderr).toContain(`Z the helper is ready socket="${socket}" node="the node of `);
    expect(helper.stderr).toMatch(/\n\d{4}-\S+Z .* was asked to stop backInMs=\d+\n/);
    expect(helper.stderr).toMatch(/\n\d{4}-\S+Z a client's request .* request={"do":"start"} answer={"ok":true}\n/);
    expect(helper.stderr).toMatch(/\n\d{4}-\S+Z starting .* why="the client asked for it"\n/);
    await expect(stat(socket), "the socket is gone").rejects.toThrow(/ENOENT/);
  });

  it("starts it when the backup is killed", async () => {
    await node.set("slow-stop");
    let killed: CliResult | undefined;
    const { done, helper } = await withHelper(async () => {
      killed = await backUp((child) => void node.untilStopping().then(() => child.kill("SIGKILL")));
      await node.untilServing();
      return runCli(["recover", ...serverFlags(), "--control", `helper:${socket}`]);
    });
    await node.unset("slow-stop");
    expect(killed?.code).toBeNull();
    expect(helper).toMatchObject({ code: 0, stderr: expect.stringMatching(/starting .* why="the client is gone"/) });
    expect(done).toMatchObject({ code: 0, stdout: expect.stringMatching(/^✔ the server /) });
    await node.untilServing();
  });

  it("is busy for a second one", async () => {
    const { done } = await withHelper(() => runCli(["helper", "--config", config]));
    expect(done).toMatchObject({ code: 5, stderr: expect.stringMatching(/ERR_BUSY: a helper that lives listens at/) });
  });

  it("is what a backup needs that names it", async () => {
    const before = await node.pid();
    const { code, stderr } = await backUp();
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/ERR_NODE_CONTROL: the helper at .*does not answer/),
    });
    expect(await node.pid()).toBe(before);
  });
});

describe("a helper is refused", () => {
  let folder: string;
  let config: string;
  const good = {
    socket: "h.sock",
    stateDir: "state",
    control: { use: "command", start: ["true"], stop: ["true"], status: ["true"] },
  };
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-helper-bad-"));
    config = join(folder, "helper.json");
    await writeFile(config, JSON.stringify({ helper: good }));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function expectRefused(message: RegExp, args: readonly string[] = ["--config", config]): Promise<void> {
    const { code, stderr } = await runCli(["helper", ...args], { cwd: folder });
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
  }

  it("without a configuration, also where one lies about", async () => {
    await writeFile(join(folder, "zk-backyp.config.json"), JSON.stringify({ helper: good }));
    await expectRefused(/required option '--config <file>' not specified/, []);
    await expectRefused(/cannot read .*none\.json/, ["--config", join(folder, "none.json")]);
  });

  it("with a configuration that others can write", async () => {
    await chmod(config, 0o664);
    await expectRefused(/helper\.json can be written by its group .*chmod go-w/);
    await chmod(config, 0o644);
    await chmod(folder, 0o777);
    await expectRefused(/where .*helper\.json lies, can be written by/);
  });

  it("with a configuration that is a program, which is not run", async () => {
    const program = join(folder, "helper.mjs");
    await writeFile(program, "process.exit(99);\n");
    await expectRefused(/is a \.yaml or \.json file/, ["--config", program]);
  });

  it.each([
    ["no section helper", { series: {} }, /has no section helper/],
    ["nothing in it", {}, /series: there are none/],
    ["an unknown option", { helper: { ...good, user: "x" } }, /section helper.*user: is not known/],
    ["no socket", { helper: { ...good, socket: undefined } }, /socket/],
    ["no control", { helper: { ...good, control: undefined } }, /control/],
    [
      "a program that is not there",
      { helper: { ...good, control: { ...good.control, start: ["./none"] } } },
      /none is no program/,
    ],
    ["a deadline of no time", { helper: { ...good, maxDowntimeMs: 10 } }, /maxDowntimeMs: is less than a second/],
    ["a group that is not there", { helper: { ...good, group: "no-such-group" } }, /there is no group no-such-group/],
    [
      "a helper for its control",
      { helper: { ...good, control: { use: "helper", socket: "x" } } },
      /no command that starts it/,
    ],
    [
      "a socket's path that is too long",
      { helper: { ...good, socket: `${"x".repeat(120)}/s` } },
      /longer than 100 bytes/,
    ],
  ])("with %s", async (_what, content, message) => {
    await writeFile(config, JSON.stringify(content));
    await expectRefused(message);
  });

  it("with a socket that is something else", async () => {
    await mkdir(join(folder, "h.sock"));
    await expectRefused(/h\.sock is there and is no socket/);
  });

  it("beside which no series is asked for", async () => {
    const { code, stderr } = await runCli(["list", "--config", config]);
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(/has no series: is it the configuration of a helper\?\n/),
    });
  });
});
