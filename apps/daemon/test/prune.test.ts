import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Fixture, unpackFixture } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { runCli } from "./run-cli.ts";
import { runHere } from "./run-here.ts";

let shared: string;
let fixture: Fixture;
let folder: string;
let sink: string;
beforeAll(async () => {
  shared = await mkdtemp(join(tmpdir(), "zk-backyp-prune-data-"));
  fixture = await unpackFixture("zookeeper-3.8.0-rich", shared);
});
afterAll(() => rm(shared, { recursive: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-prune-"));
  sink = join(folder, "backups");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function json<Result>(...args: string[]): Promise<Result> {
  const { code, stdout, stderr } = await runHere([...args, "--json"]);
  expect({ code, stderr }, args.join(" ")).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Result;
}

/** A backup that looks as if it had been made then. */
async function backUpAt(time: string): Promise<string> {
  const { id } = await json<{ id: string }>("backup", "--data-dir", fixture.dataDir, "--to", sink);
  const iso = new Date(time).toISOString();
  const older = `zookeeper-backup-${iso.replace(/[-:.]/g, "")}`;
  const [archives, manifests] = ["archives", "manifests"].map((kind) => join(sink, "zookeeper-backup", kind));
  const manifest = join(manifests ?? "", `${id}.json`);
  const text = (await readFile(manifest, "utf8")).replaceAll(id, older);
  const archive = join(archives ?? "", `${older}.tar.gz`);
  await writeFile(archive, await readFile(join(archives ?? "", `${id}.tar.gz`)));
  await utimes(archive, new Date(time), new Date(time));
  await writeFile(join(manifests ?? "", `${older}.json`), text);
  await rm(join(archives ?? "", `${id}.tar.gz`));
  await rm(manifest);
  return older;
}

async function files(): Promise<string[]> {
  const entries = await readdir(sink, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(sink.length + "/zookeeper-backup/".length))
    .sort();
}

async function idsLeft(): Promise<string[]> {
  return (await json<{ id: string }[]>("list", "--from", sink)).map(({ id }) => id);
}

describe("prune, pin and unpin, on a directory", () => {
  it("keep what the rules and the pins keep, and delete the rest with all that belongs to it", async () => {
    const [a = "", b = "", c = "", d = ""] = [
      await backUpAt("2026-01-01T01:00:00Z"),
      await backUpAt("2026-01-02T01:00:00Z"),
      await backUpAt("2026-01-02T13:00:00Z"),
      await backUpAt("2026-01-03T01:00:00Z"),
    ];
    expect(await json("pin", a, "--from", sink, "--until", "2099-12-31", "--reason", "audit")).toMatchObject({
      id: a,
      until: "2099-12-31T23:59:59.999Z",
      reason: "audit",
    });
    const listed = await json<object[]>("list", "--from", sink);
    expect(listed.map((item) => "pin" in item && item.pin)).toEqual([
      { until: "2099-12-31T23:59:59.999Z", reason: "audit" },
      ...[false, false, false],
    ]);
    expect((await runHere(["list", "--from", sink])).stdout).toMatch(/PINNED\n.*until 2099-12-31 23:59:59\n.*yes\n/);
    expect((await runHere(["show", a, "--from", sink])).stdout).toMatch(
      /retention +pinned until 2099-12-31.* \(audit\)/,
    );
    expect(await json("show", a, "--from", sink)).toMatchObject({ id: a, pin: { reason: "audit" } });
    expect(await json("show", b, "--from", sink)).not.toHaveProperty("pin");

    const before = await files();
    const dry = await runHere(["prune", "--from", sink, "--daily", "2", "--dry-run"]);
    expect({ ...dry, stdout: dry.stdout.split("\n").map((line) => line.replace(/ +/g, " ")) }).toEqual({
      code: 0,
      stderr: "",
      stdout: [
        " ID BECAUSE",
        `keep ${a} pinned until 2099-12-31T23:59:59.999Z (audit)`,
        `delete ${b} no rule keeps it`,
        `keep ${c} daily 2026-01-02`,
        `keep ${d} daily 2026-01-03, the last verified one`,
        expect.stringMatching(/^would delete 1 backup \(.*B\), 3 backups would be left$/),
        "",
      ],
    });
    expect(await files()).toEqual(before);

    expect(await json("prune", "--from", sink, "--daily", "2")).toMatchObject({
      dryRun: false,
      deleted: [b],
      swept: [],
      unfinishedUploads: 0,
      problems: [],
      failures: [],
    });
    expect(await idsLeft()).toEqual([a, c, d]);
    expect(await json("unpin", a, "--from", sink)).toEqual({ wasPinned: true });
    expect((await runHere(["unpin", a, "--from", sink])).stdout).toBe(`${a} was not pinned\n`);
    const last = await runHere(["prune", "--from", sink, "--keep-last", "1"]);
    expect(last.stdout).toMatch(/\ndeleted 2 backups \(.*\), 1 backup left\n$/);
    expect(await files()).toEqual([`archives/${d}.tar.gz`, `manifests/${d}.json`]);
    expect((await runHere(["verify", d, "--from", sink])).code).toBe(0);
  });

  it("remove what runs that died have left, a day later", async () => {
    const id = await backUpAt("2026-01-03T01:00:00Z");
    const archive = (time: string): string =>
      join(sink, "zookeeper-backup", "archives", `zookeeper-backup-${time}.tar.gz`);
    const old = archive("20260102T010000000Z");
    const young = archive(`${new Date().toISOString().replace(/[-:.]/g, "")}`);
    await mkdir(join(sink, ".tmp~"), { recursive: true });
    for (const path of [old, young, join(sink, ".tmp~/old"), join(sink, ".tmp~/young")]) await writeFile(path, "half");
    const then = new Date("2026-01-02T02:00:00Z");
    for (const path of [old, join(sink, ".tmp~/old")]) await utimes(path, then, then);

    const { code, stdout } = await runHere(["prune", "--from", sink, "--keep-last", "3"]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/deleted 0 backups, 1 leftover, 1 unfinished upload \(4 B\), 1 backup left/),
    });
    expect(await readdir(join(sink, ".tmp~"))).toEqual(["young"]);
    expect(await idsLeft()).toEqual([id]);
    expect(await readFile(young, "utf8")).toBe("half");
  });

  it.skipIf(process.getuid?.() !== 0)("end with 1 where something cannot be deleted, and try it again", async () => {
    const ids = [await backUpAt("2026-01-01T01:00:00Z"), await backUpAt("2026-01-02T01:00:00Z")];
    await chmod(folder, 0o755);
    execFileSync("chmod", ["-R", "a+rX", sink]);
    const before = await files();
    const args = ["prune", "--from", sink, "--keep-last", "1"];
    const failed = await runCli([...args, "--json"], { uid: 65534 });
    expect(failed).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/manifests.*was not deleted, the next prune tries again: .*this user may not/),
    });
    expect(JSON.parse(failed.stdout)).toMatchObject({
      deleted: [],
      failures: [{ key: `zookeeper-backup/manifests/${ids[0]}.json`, error: { code: "ERR_SINK_DENIED" } }],
    });
    expect(await files()).toEqual(before);
    expect((await runHere(args)).code).toBe(0);
    expect(await files()).toEqual([`archives/${ids[1]}.tar.gz`, `manifests/${ids[1]}.json`]);
  });

  it("take the rules from the configuration, and a rule of the command line for that of its name", async () => {
    const ids: string[] = [];
    for (const day of ["01", "02", "03", "04"]) ids.push(await backUpAt(`2026-01-${day}T01:00:00Z`));
    const config = join(folder, "backups.json");
    const write = (retention: unknown): Promise<void> =>
      writeFile(
        config,
        JSON.stringify({
          series: {
            zk: {
              source: { use: "zookeeper", dataDir: fixture.dataDir },
              sink: { use: "fs", path: sink },
              prefix: "zookeeper-backup",
              retention,
            },
          },
        }),
      );
    await write({ keepLast: 3, timeZone: "Europe/Berlin" });
    expect(await json("prune", "--config", config, "--daily", "1", "--dry-run")).toMatchObject({
      deleted: ids.slice(0, 1),
    });
    expect(await json("prune", "--config", config, "--keep-last", "2", "--dry-run")).toMatchObject({
      deleted: ids.slice(0, 2),
    });
    await write({ keepLast: 0, dayly: 3, within: "soon" });
    const wrong = await runHere(["list", "--config", config]);
    expect(wrong.code).toBe(2);
    for (const field of ["series.zk.retention.keepLast: ", "dayly", "series.zk.retention.within: is no duration"]) {
      expect(wrong.stderr).toContain(field);
    }
    await write(undefined);
    expect((await runHere(["prune", "--config", config])).code).toBe(2);
    expect(await idsLeft()).toEqual(ids);
    await write({ daily: 1 });
    expect(await json("prune", "--config", config)).toMatchObject({ deleted: ids.slice(0, 3) });
  });

  it.each([
    [["prune"], /--keep-last.*no rule would keep a backup.*keepLast/],
    [["prune", "--time-zone", "UTC"], /no rule would keep a backup/],
    [["prune", "--keep-last", "0"], /keepLast/],
    [["prune", "--keep-last", "all"], /keepLast/],
    [["prune", "--keep-last", "1e3"], /keepLast/],
    [["prune", "--daily", "-1"], /daily/],
    [["prune", "--within", "14"], /within: is no duration/],
    [["prune", "--daily", "1", "--time-zone", "Berlin"], /timeZone/],
    [["prune", "latest", "--keep-last", "1"], /too many arguments/],
    [["pin", "latest", "--until", "tomorrow"], /--until "tomorrow": write a time/],
    [["pin", "latest", "--until", "2020-01-01"], /end in the future/],
    [["pin"], /missing required argument/],
  ])("refuse %j with exit code 2", async (args, message) => {
    const id = await backUpAt("2026-01-01T01:00:00Z");
    const { code, stderr } = await runHere([...args, "--from", sink]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(message) });
    expect(await files()).toEqual([`archives/${id}.tar.gz`, `manifests/${id}.json`]);
  });

  it.each(["pin", "unpin"])("%s says which backup is not there, with exit code 4", async (command) => {
    await backUpAt("2026-01-01T01:00:00Z");
    for (const id of ["zookeeper-backup-20250101T000000000Z", "nonsense"]) {
      const { code, stderr } = await runHere([command, id, "--from", sink]);
      expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringContaining(`there is no backup ${id}`) });
    }
  });

  it("pin for a duration from now on", async () => {
    const id = await backUpAt("2026-01-01T01:00:00Z");
    const { until, pinnedAt } = await json<{ until: string; pinnedAt: string }>(
      "pin",
      "latest",
      "--from",
      sink,
      "--until",
      "14d",
    );
    const days = (Date.parse(until) - Date.parse(pinnedAt)) / 86_400_000;
    expect(Math.round(days * 1000) / 1000).toBe(14);
    expect((await runHere(["pin", "latest", "--from", sink])).stdout).toBe(`${id}: pinned\n`);
  });
});
