import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Manifest, openSeries, type Series, silentLogger } from "@zk-backyp/core";
import { memorySink } from "@zk-backyp/core/testing";
import { type Fixture, unpackFixture } from "@zk-backyp/testbed";
import { checkDirectory } from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createZooKeeperSource } from "../index.ts";
import type { ZooKeeperSourceOptions } from "../options.ts";
import { epochLogName } from "./epoch-log.ts";
import { memberFolders } from "./member-folders.ts";
import { epochOffset } from "./raised-epoch.ts";
import { LOCK_FILE, swapSteps } from "./swap.ts";

let folder: string;
let fixture: Fixture;
let manifest: Manifest;
let main: string;
const sink = memorySink();
const context = { signal: new AbortController().signal, logger: silentLogger };

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-replacement-"));
  fixture = await unpackFixture("zookeeper-3.8.0-rich", join(folder, "fixture"));
  main = join(folder, "data");
  await mkdir(join(main, "version-2"), { recursive: true });
  await writeFile(join(main, "myid"), "2\n");
  for (const [name, text] of Object.entries(OLD)) await writeFile(join(main, "version-2", name), text);
  const backedUp = await seriesOf({ dataDir: fixture.dataDir }).backup();
  if (backedUp === null) throw new Error("nothing to back up");
  manifest = backedUp;
});
afterEach(() => rm(folder, { recursive: true }));

const OLD = { currentEpoch: "7", acceptedEpoch: "8", "snapshot.700000001": "broken", "log.700000002": "broken too" };

function seriesOf(options: ZooKeeperSourceOptions = {}): Series {
  return openSeries({ prefix: "zk", source: createZooKeeperSource(options), sink });
}

async function expectOld(): Promise<void> {
  expect((await readdir(main)).sort()).toEqual(["myid", "version-2"]);
  expect((await readdir(join(main, "version-2"))).sort()).toEqual(Object.keys(OLD).sort());
}

async function textsIn(directory: string): Promise<Record<string, string>> {
  const names = await readdir(directory);
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(directory, name), "utf8")] as const)),
  );
}

describe("a restore in place", () => {
  it("keeps myid and the old files, and adds epochs above all known ones", async () => {
    const { replaced } = await seriesOf().replace(manifest.id, { main });
    const { kept, epoch, keptEarlier } = replaced as { kept: { path: string; bytes: number }[] } & typeof replaced;
    const expected = 1_000_000 + Number(epochOffset(manifest));
    expect({ epoch, keptEarlier }).toEqual({ epoch: expected, keptEarlier: [] });
    const [first = { path: "", bytes: 0 }] = kept;
    expect(dirname(first.path)).toBe(main);
    expect(await textsIn(first.path)).toEqual(OLD);
    expect(first.bytes).toBeGreaterThan(0);
    expect(await readFile(join(main, "myid"), "utf8")).toBe("2\n");
    const { "zk-backyp-restored.json": record = "", ...texts } = await textsIn(join(main, "version-2"));
    expect(texts).toMatchObject({ currentEpoch: `${expected}`, acceptedEpoch: `${expected}` });
    expect(JSON.parse(record)).toMatchObject({ id: manifest.id, epoch: expected });
    // Between the last that is restored and the first of the new epoch.
    expect(Object.keys(texts)).toContain(`log.${(BigInt(manifest.range.upTo) + 1n).toString(16)}`);
    expect((await stat(join(main, "version-2/currentEpoch"))).mode & 0o777).toBe(0o640);
    const report = await checkDirectory([main]);
    expect(report.problems.filter(({ severity }) => severity !== "info")).toEqual([]);

    const again = await seriesOf().replace(manifest.id, { main });
    // Nothing has served meanwhile.
    expect(again.replaced).toMatchObject({ epoch: expected, keptEarlier: [{ path: first.path, bytes: first.bytes }] });
  });

  it("has a member that has joined restored ones begin with their epoch, and forget nothing that it accepted", async () => {
    const epoch = 1_000_000 + Number(epochOffset(manifest));
    await writeFile(join(main, "version-2/acceptedEpoch"), `${epoch + 3}`);
    const { replaced } = await seriesOf().replace(manifest.id, { main });
    expect(replaced.epoch).toBe(epoch);
    const texts = await textsIn(join(main, "version-2"));
    expect(texts).toMatchObject({ currentEpoch: `${epoch}`, acceptedEpoch: `${epoch + 3}` });
    expect(Object.keys(texts)).toContain(epochLogName(BigInt(epoch)));
  });

  it("of another backup, before any start, leaves nothing that keeps the member from those with that backup", async () => {
    const before = join(main, "version-2/zk-backyp-restored.json");
    for (const epoch of [1_000_005, 1_999_995]) {
      const files = { currentEpoch: `${epoch}`, acceptedEpoch: `${epoch}`, [epochLogName(BigInt(epoch))]: "" };
      await rm(join(main, "version-2"), { recursive: true });
      await mkdir(join(main, "version-2"));
      await writeFile(before, JSON.stringify({ id: "zk-other", epoch }));
      for (const [name, text] of Object.entries(files)) await writeFile(join(main, "version-2", name), text);
      const { replaced } = await seriesOf().replace(manifest.id, { main });
      expect(replaced.epoch).toBe(1_000_000 + Number(epochOffset(manifest)));
      const texts = await textsIn(join(main, "version-2"));
      expect(texts).toMatchObject({ currentEpoch: `${replaced.epoch}`, acceptedEpoch: `${replaced.epoch}` });
    }
  });

  it("splits over two directories, and takes what was damaged along inside of the data", async () => {
    const log = join(folder, "log");
    await mkdir(join(log, "version-2"), { recursive: true });
    await writeFile(join(log, "version-2/log.700000002"), "old");
    for (const name of ["snapshot.3e4", "log.3a8"]) await rm(join(fixture.dataDir, "version-2", name));
    const damaged = await seriesOf({ dataDir: fixture.dataDir }).backup({ allowDamaged: true });
    expect(damaged?.verified).toBe(false);
    const id = damaged?.id ?? "";
    await expect(seriesOf().replace(id, { main, log })).rejects.toMatchObject({ code: "ERR_BACKUP_DAMAGED" });
    await expectOld();
    const { replaced } = await seriesOf().replace(id, { main, log }, { allowDamaged: true });
    const [data, logs] = await Promise.all([main, log].map((directory) => readdir(join(directory, "version-2"))));
    expect(data?.filter((name) => name.startsWith("log."))).toEqual([]);
    expect(data).toContain("damaged");
    expect(logs).toContain(epochLogName(BigInt(Number(replaced.epoch))));
    expect((await readdir(main)).filter((name) => !name.startsWith("version-2"))).toEqual(["myid"]);
    expect((await readdir(log)).filter((name) => !name.startsWith("version-2"))).toEqual([]);
  });

  it("is one at a time", async () => {
    const source = createZooKeeperSource();
    const first = await source.replace?.({ main }, context);
    await expect(seriesOf().replace(manifest.id, { main })).rejects.toMatchObject({ code: "ERR_BUSY" });
    await first?.close();
    await seriesOf().replace(manifest.id, { main });
  });

  it("refuses where there is no room for it beside what is there", async () => {
    const entries = [{ path: "version-2/snapshot.1", size: 1e17, sha256: "0".repeat(64) }];
    const replacement = await createZooKeeperSource().replace?.({ main }, context);
    await expect(replacement?.prepare({ ...manifest, entries }, null)).rejects.toMatchObject({
      code: "ERR_TARGET_UNAVAILABLE",
      message: expect.stringMatching(/may take 2000000000\d\d MB, and \d+ MB are free/),
    });
    await replacement?.close();
    await expectOld();
  });

  it("wants the directories that the configuration names", async () => {
    const zooCfg = join(folder, "zoo.cfg");
    const log = join(folder, "log");
    await mkdir(log);
    await writeFile(zooCfg, `dataDir=${main}\ndataLogDir=${log}\nclientPort=1\n`);
    for (const options of [{ zooCfg }, { dataDir: main, dataLogDir: log }]) {
      await expect(seriesOf(options).replace(manifest.id, { main })).rejects.toMatchObject({
        code: "ERR_CONFIG_INVALID",
        message: expect.stringContaining(`keeps its logs in ${log}`),
      });
    }
    await writeFile(zooCfg, `dataDir=${main}\nclientPort=1\n`);
    await expect(seriesOf({ zooCfg }).replace(manifest.id, { main, log })).rejects.toThrow(/keeps its logs there too/);
    await expectOld();
    // One of another server says nothing, and one that is not there neither.
    await writeFile(zooCfg, `dataDir=${folder}/other\ndataLogDir=${log}\n`);
    await seriesOf({ zooCfg }).replace(manifest.id, { main });
    await seriesOf({ zooCfg: join(folder, "none.cfg") }).replace(manifest.id, { main, log });
  });

  it("puts the old data back that a restore has left half way, without the store", async () => {
    const failing = openSeries({
      prefix: "zk",
      source: createZooKeeperSource(),
      sink: { ...sink, get: () => unreachable() },
    });
    await halfWay();
    await expect(failing.replace(manifest.id, { main })).rejects.toThrow("out of reach");
    await expectOld();
  });

  it.skipIf(process.getuid?.() !== 0)("gives the new files, made by root, to whom the old ones belong", async () => {
    await chown(join(main, "version-2"), 1234, 2345);
    await seriesOf().replace(manifest.id, { main });
    const below = await readdir(join(main, "version-2"));
    const kept = (await readdir(main)).find((name) => name.startsWith("version-2.replaced-")) ?? "";
    for (const path of ["version-2", kept, ...below.map((name) => `version-2/${name}`)]) {
      const { uid, gid } = await stat(join(main, path));
      expect([path, uid, gid]).toEqual([path, 1234, 2345]);
    }
  });
});

/** As a run that was killed between two files leaves it. */
async function halfWay(): Promise<void> {
  const staging = join(main, ".zk-backyp-replace-dead");
  await mkdir(join(staging, "version-2"), { recursive: true });
  await writeFile(join(staging, "version-2/snapshot.1"), "new");
  const steps = swapSteps({ folders: await memberFolders({ main }), staged: { main: staging }, at: new Date() });
  for (let step = await steps.next(); step.value !== "kept currentEpoch"; step = await steps.next());
  expect(await readdir(join(main, "version-2"))).toContain(LOCK_FILE);
}

// biome-ignore lint/correctness/useYield: a sink that cannot be reached yields nothing
async function* unreachable(): AsyncGenerator<Uint8Array, void, void> {
  throw new Error("out of reach");
}
