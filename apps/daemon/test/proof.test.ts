import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Fixture, flipBit, requirePart, unpackFixture, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CliResult, runCli } from "./run-cli.ts";

let folder: string;
let fixture: Fixture;
let sink: string;
let temporary: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-cli-proof-"));
  fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
  sink = join(folder, "backups");
  temporary = join(folder, "tmp");
  await mkdir(temporary);
});
afterEach(() => rm(folder, { recursive: true }));

const backUp = (...more: string[]): Promise<CliResult> =>
  runCli(["backup", "--data-dir", fixture.dataDir, "--to", sink, ...more]);

describe("a damaged server", () => {
  beforeEach(() => flipBit(join(fixture.dataDir, "version-2/log.3e5"), 300));

  it("is backed up with --allow-damaged, and every command says what that is", async () => {
    expect(await backUp()).toMatchObject({ code: 3, stderr: expect.stringMatching(/ERR_SOURCE_DAMAGED.*log\.3e5/) });
    const taken = await backUp("--allow-damaged");
    expect(taken).toMatchObject({
      code: 3,
      stdout: expect.stringMatching(
        /✘ zookeeper-backup-\S+ {2}DAMAGED\n(.*\n)* +verified +no: DAMAGED.*\n +fatal +log\.3e5: /,
      ),
      stderr: expect.stringMatching(
        /warning: keeping what there is.*\nwarning: zookeeper-backup-\S+ was stored, but it is damaged/,
      ),
    });
    const from = ["--from", sink];
    expect((await runCli(["list", ...from])).stdout).toMatch(/0x3e7 +DAMAGED$/m);
    expect((await runCli(["show", "latest", ...from])).stdout).toMatch(/^zookeeper-backup-\S+ {2}DAMAGED$/m);
    const listed = JSON.parse((await runCli(["list", ...from, "--json"])).stdout);
    expect(listed).toMatchObject([{ verified: false }]);
    const id = listed[0].id as string;

    const message = expect.stringMatching(/byte for byte what was stored.*log\.3e5: .*checksum/);
    expect(await runCli(["verify", "latest", ...from])).toMatchObject({ code: 3, stdout: message });
    const verified = await runCli(["verify", "--all", "--json", ...from]);
    expect({ code: verified.code, value: JSON.parse(verified.stdout) }).toEqual({
      code: 3,
      value: [{ id, ok: false, error: { code: "ERR_BACKUP_DAMAGED", message } }],
    });

    const target = join(folder, "restored");
    expect(await runCli(["restore", "latest", ...from, "--to", target])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/ERR_BACKUP_DAMAGED.*log\.3e5/),
    });
    expect(await readdir(folder)).not.toContain("restored");
    expect(await runCli(["restore", "latest", ...from, "--to", target, "--allow-damaged"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/DAMAGED zookeeper-backup-\S+ restored\n(.*\n)*Damage: log\.3e5: /),
    });
    expect((await readdir(target)).sort()).toEqual(["damaged", "version-2"]);
    expect((await runCli(["inspect", target])).code).toBe(0);
    expect(await readFile(join(target, "damaged/log.3e5"))).toEqual(
      await readFile(join(fixture.dataDir, "version-2/log.3e5")),
    );
  });

  it("that holds no ZooKeeper data is refused with --allow-damaged too", async () => {
    await rm(join(fixture.dataDir, "version-2"), { recursive: true });
    await mkdir(join(fixture.dataDir, "version-2"));
    expect(await backUp("--allow-damaged")).toMatchObject({ code: 1, stderr: expect.stringMatching(/neither/) });
  });
});

it("--allow-damaged makes nothing else of a good server", async () => {
  const taken = await backUp("--allow-damaged");
  expect(taken).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/^✔ .*\n/) });
  expect((await runCli(["list", "--from", sink])).stdout).toMatch(/0x3ea +yes$/m);
});

/** The command lines of the processes that have something to do with a folder. */
async function processesIn(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes(path)) found.push(command.replaceAll("\0", " "));
  }
  return found;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1_000 && !(await condition()); tries++) await sleep(10);
}

async function expectNothingLeft(): Promise<void> {
  await until(async () => (await readdir(temporary)).length === 0 && (await processesIn(temporary)).length === 0);
  expect(await readdir(temporary)).toEqual([]);
  expect(await processesIn(temporary)).toEqual([]);
}

describe("verify --deep", () => {
  it.skipIf(!requirePart(zooKeeperMissing()))("starts a real server and tells what that says", async () => {
    await backUp();
    const env = { TMPDIR: temporary };
    expect(await runCli(["verify", "latest", "--deep", "--from", sink], { env })).toEqual({
      code: 0,
      stdout: expect.stringMatching(
        /✔ .*\n {2}a real server started on it: server 3\.\S+, zxid 0x3ea, nodeCount 994, digest 2209323497027, digestMismatches 0, seconds/,
      ),
      stderr: "",
    });
    const { stdout } = await runCli(["verify", "--all", "--deep", "--json", "--from", sink], { env });
    expect(JSON.parse(stdout)).toMatchObject([{ ok: true, rehearsal: { zxid: "0x3ea", nodeCount: 994 } }]);
    await expectNothingLeft();
  });

  it.skipIf(!requirePart(zooKeeperMissing())).each<[NodeJS.Signals, number | null]>([
    ["SIGINT", 130],
    ["SIGTERM", 130],
    ["SIGKILL", null],
  ])("leaves no process and no folder behind after %s", async (signal, code) => {
    await backUp();
    const result = await runCli(["verify", "latest", "--deep", "--from", sink], {
      env: { TMPDIR: temporary },
      onStart: async (child) => {
        await until(async () => (await processesIn(temporary)).some((command) => command.includes("QuorumPeerMain")));
        child.kill(signal);
      },
    });
    expect(result.code).toBe(code);
    await expectNothingLeft();
  });

  it("says what to install where there is no ZooKeeper, before it reads anything", async () => {
    const env = { ZOOKEEPER_HOME: "/nonexistent" };
    const id = "zookeeper-backup-20200101T000000000Z";
    expect(await runCli(["verify", id, "--deep", "--from", sink], { env })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/ERR_REHEARSAL_UNAVAILABLE: .*unpack a release.*install Debian's package/),
    });
    await backUp();
    await backUp();
    expect(await runCli(["verify", "--all", "--deep", "--from", sink], { env })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/warning: 1 more backup was not verified/),
    });
  });
});
