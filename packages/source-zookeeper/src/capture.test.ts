import { execFileSync } from "node:child_process";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { type ErrorCode, isBackypError, type Manifest, openSeries, type Series } from "@zk-backyp/core";
import { memorySink, sourceContract } from "@zk-backyp/core/testing";
import { type Fixture, type FixtureName, flipBit, unpackFixture } from "@zk-backyp/testbed";
import { checkDirectory, readLog } from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createZooKeeperSource, type ZooKeeperSourceOptions } from "./index.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-capture-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function seriesOf(options: ZooKeeperSourceOptions): Series {
  return openSeries({ prefix: "zk", source: createZooKeeperSource(options), sink: memorySink() });
}

async function backUp(series: Series): Promise<Manifest> {
  const manifest = await series.backup();
  if (manifest === null) throw new Error("nothing was backed up");
  await series.verify(manifest.id);
  return manifest;
}

const coded =
  (code: ErrorCode, message: RegExp) =>
  (error: unknown): boolean =>
    isBackypError(error, code) && message.test(error.message);

const filesOf = (manifest: Manifest): string[] => manifest.entries.map(({ path }) => path);

describe("the source contract", () => {
  const cases = sourceContract(
    async () => {
      const fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
      return {
        source: createZooKeeperSource({ dataDir: fixture.dataDir }),
        async checkRestored(directory) {
          const [before, after] = await Promise.all([checkDirectory([fixture.dataDir]), checkDirectory([directory])]);
          expect(after.recoverable).toEqual(before.recoverable);
        },
        async checkReplaced(directory) {
          const [before, after] = await Promise.all([checkDirectory([fixture.dataDir]), checkDirectory([directory])]);
          const zxid = after.recoverable?.zxid ?? "";
          // The end of the first restored epoch's log: after one million, and before two.
          expect(zxid).toMatch(/^0x1?[0-9a-f]{5}000003e8$/);
          expect(after.tree).toEqual({ ...before.tree, zxid });
        },
      };
    },
    { replaces: true },
  );
  for (const { name, run } of cases) it(name, run);
});

describe("captures and restores what every release leaves", () => {
  it.each<[FixtureName, string, string[]]>([
    ["zookeeper-3.4.14", "0x1d", ["version-2/log.1"]],
    ["zookeeper-3.5.10", "0x22", ["version-2/snapshot.22", "version-2/log.1"]],
    ["zookeeper-3.6.4", "0x22", ["version-2/snapshot.22", "version-2/log.1"]],
    ["zookeeper-3.7.2", "0x22", ["version-2/snapshot.22", "version-2/log.1"]],
    ["zookeeper-3.8.0", "0x22", ["version-2/snapshot.0", "version-2/log.1"]],
    ["zookeeper-3.8.0-gz", "0x22", ["version-2/snapshot.22", "version-2/log.1"]],
    ["zookeeper-3.8.0-snappy", "0x22", ["version-2/snapshot.22.snappy", "version-2/log.1"]],
    ["zookeeper-3.8.0-rich", "0x3ea", ["version-2/snapshot.3e4", "version-2/log.3a8", "version-2/log.3e5"]],
  ])("%s", async (name, upTo, files) => {
    const fixture = await unpackFixture(name, folder);
    const series = seriesOf(fixture);
    const manifest = await backUp(series);
    expect(manifest.range).toEqual({ after: null, upTo });
    expect(filesOf(manifest)).toEqual(files);
    const separate = fixture.dataDir !== fixture.dataLogDir;
    const main = join(folder, "main");
    const log = join(folder, "log");
    await series.restore(manifest.id, separate ? { main, log } : { main });
    const report = await checkDirectory(separate ? [main, log] : [main]);
    expect(report.recoverable?.zxid).toBe(upTo);
    expect(
      report.logs.every(({ end }) => end === "eof"),
      "logs are cut at their last record",
    ).toBe(true);
  });

  it("leaves out what a member logged a second time because it had to join its ensemble twice", async () => {
    const fixture = await unpackFixture("zookeeper-3.8.0", folder);
    const once = await backUp(seriesOf(fixture));
    const path = join(fixture.dataLogDir, "version-2", "log.1");
    const log = await readFile(path);
    const ends: number[] = [];
    for await (const { offset, length } of readLog(Readable.from([log]))) ends.push(offset + length);
    const [header, tenth = 0] = [16, ends[9]];
    await writeFile(path, Buffer.concat([log.subarray(0, tenth), log.subarray(header)]));
    const twice = await backUp(seriesOf(fixture));
    expect(twice.range).toEqual(once.range);
    expect(twice.entries).toEqual(once.entries);
    expect(twice.problems).toContainEqual(
      expect.objectContaining({ severity: "info", code: "LOG_REPEATED", file: "log.1", offset: tenth }),
    );
  });

  it("tells in the manifest what a server that loads it must be ready for", async () => {
    const { contents } = await backUp(seriesOf(await unpackFixture("zookeeper-3.8.0-rich", folder)));
    expect(contents.snapshot).toMatchObject({
      file: "snapshot.3e4",
      nodes: 990,
      ephemerals: 60,
      ttlNodes: 25,
      largestFieldBytes: 100_000,
      digest: { zxid: "0x3e4", version: 2, value: "2209879690540" },
    });
    expect(contents.logs).toMatchObject({ files: 2, records: 67 });
  });
});

describe("passes over a newest snapshot that", () => {
  let fixture: Fixture;
  let version2: string;
  beforeEach(async () => {
    fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
    version2 = join(fixture.dataDir, "version-2");
  });

  const expectFallback = async (reason: RegExp): Promise<void> => {
    const manifest = await backUp(seriesOf(fixture));
    expect(manifest.range.upTo).toBe("0x3ea");
    expect(filesOf(manifest)[0]).toBe("version-2/snapshot.3a7");
    expect(manifest.facts.passedOver).toEqual([{ file: "snapshot.3e4", reason: expect.stringMatching(reason) }]);
    expect(manifest.problems).toMatchObject([{ severity: "info", code: "SNAPSHOT_PASSED_OVER", file: "snapshot.3e4" }]);
  };

  it.each([20, 5_000, 100_000, 200_000, 239_900])("has a flipped bit at byte %i", async (offset) => {
    await flipBit(join(version2, "snapshot.3e4"), offset);
    await expectFallback(/damaged/);
  });

  it("is half written, though it ends like a whole one", async () => {
    const file = await open(join(version2, "snapshot.3e4"), "r+");
    await file.truncate(100_000);
    await file.write(Buffer.from([0, 0, 0, 1, 0x2f]), 0, 5, 100_000);
    await file.close();
    await expectFallback(/damaged/);
  });

  it.each([0, 3, 100_000])("was cut to %i bytes", async (size) => {
    await truncate(join(version2, "snapshot.3e4"), size);
    await expectFallback(/still writing it/);
  });

  it("is damaged inside its compression", async () => {
    await rm(version2, { recursive: true });
    const gz = await unpackFixture("zookeeper-3.8.0-gz", folder);
    const snapshots = join(gz.dataDir, "version-2");
    await rm(join(snapshots, "snapshot.22"));
    await truncate(join(snapshots, "snapshot.22.gz"), 1000);
    const manifest = await backUp(seriesOf(gz));
    expect(filesOf(manifest)).toEqual(["version-2/snapshot.0", "version-2/log.1"]);
    expect(manifest.facts.passedOver).toMatchObject([{ file: "snapshot.22.gz" }]);
  });

  it("comes after many more that are damaged", async () => {
    for (let n = 0; n < 20; n++) {
      const file = join(version2, `snapshot.${(0x3d0 + n).toString(16)}`);
      await copyFile(join(version2, "snapshot.346"), file);
      await flipBit(file, 5_000);
    }
    await flipBit(join(version2, "snapshot.3e4"), 5_000);
    const manifest = await backUp(seriesOf(fixture));
    expect(filesOf(manifest)[0]).toBe("version-2/snapshot.3a7");
    expect(manifest.problems).toHaveLength(21);
  });

  it("fails when none is left, and says why for each", async () => {
    for (const name of await readdir(version2))
      if (name.startsWith("snapshot")) await truncate(join(version2, name), 100);
    await expect(seriesOf(fixture).backup()).rejects.toSatisfy(
      coded("ERR_SOURCE_DAMAGED", /no snapshot .* can be used \(snapshot\.3e4: .*snapshot\.0: /),
    );
  });
});

describe("refuses logs that would lose something:", () => {
  let fixture: Fixture;
  let version2: string;
  beforeEach(async () => {
    fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
    version2 = join(fixture.dataDir, "version-2");
  });

  it("a flipped byte in the middle", async () => {
    await flipBit(join(version2, "log.3a8"), 3_000);
    await expect(seriesOf(fixture).backup()).rejects.toSatisfy(coded("ERR_SOURCE_DAMAGED", /log\.3a8: .*at byte/));
  });

  it("a snapshot that shows transactions which no log has", async () => {
    // snapshot.346 shows 0x347, which is the last record of log.2a8.
    for (const name of ["snapshot.3a7", "snapshot.3e4", "log.348", "log.3a8", "log.3e5"])
      await rm(join(version2, name));
    const log = join(version2, "log.2a8");
    const end = (await checkDirectory([log])).logs[0]?.bytes ?? 0;
    const file = await open(log, "r+");
    await file.write(Buffer.alloc(20), 0, 20, end - 20);
    await file.close();
    await expect(seriesOf(fixture).backup()).rejects.toSatisfy(coded("ERR_SOURCE_DAMAGED", /snapshot\.346: .*0x347/));
  });

  it("a damaged snapshot that the logs of an older one do not reach", async () => {
    await flipBit(join(version2, "snapshot.3e4"), 30_000);
    for (const name of ["log.3a8", "log.3e5"]) await rm(join(version2, name));
    await expect(seriesOf(fixture).backup()).rejects.toSatisfy(
      coded(
        "ERR_SOURCE_DAMAGED",
        /snapshot\.3e4: it cannot be used \(.*\), and without it the other files reach only 0x3a7/,
      ),
    );
  });

  it("a log missing after the snapshot", async () => {
    await rm(join(version2, "snapshot.3e4"));
    await rm(join(version2, "log.3a8"));
    await expect(seriesOf(fixture).backup()).rejects.toSatisfy(
      coded("ERR_SOURCE_DAMAGED", /missing between 0x3a7 and 0x3e5/),
    );
  });

  it("logs of 3.5 or later without any snapshot", async () => {
    for (const name of await readdir(version2)) if (name.startsWith("snapshot")) await rm(join(version2, name));
    await expect(seriesOf(fixture).backup()).rejects.toSatisfy(
      coded("ERR_SOURCE_DAMAGED", /no snapshot.*3\.5 or later/),
    );
  });

  it("but takes a torn tail, an empty new log, and one that has only its header", async () => {
    const log = join(version2, "log.3e5");
    const { bytes } = (await checkDirectory([log])).logs[0] ?? { bytes: 0 };
    await truncate(log, bytes - 10);
    await writeFile(join(version2, "log.3ea"), "");
    await writeFile(join(version2, "log.3eb"), (await readFile(log)).subarray(0, 16));
    const manifest = await backUp(seriesOf(fixture));
    expect(manifest.range.upTo).toBe("0x3e9");
    expect(filesOf(manifest)).toEqual(["version-2/snapshot.3e4", "version-2/log.3a8", "version-2/log.3e5"]);
  });
});

describe("says what is wrong with", () => {
  const rejects = (options: ZooKeeperSourceOptions, code: ErrorCode, message: RegExp): Promise<void> =>
    expect(seriesOf(options).backup()).rejects.toSatisfy(coded(code, message));

  it("a missing directory", () =>
    rejects({ dataDir: join(folder, "nowhere") }, "ERR_SOURCE_UNAVAILABLE", /nowhere: it does not exist/));

  it("an empty directory", () => rejects({ dataDir: folder }, "ERR_SOURCE_UNAVAILABLE", /has no folder version-2/));

  it("an empty version-2", async () => {
    await mkdir(join(folder, "version-2"));
    await rejects({ dataDir: folder }, "ERR_SOURCE_UNAVAILABLE", /neither a snapshot nor a log/);
  });

  it("a file in a directory's place", async () => {
    await writeFile(join(folder, "file"), "");
    await rejects({ dataDir: join(folder, "file") }, "ERR_SOURCE_UNAVAILABLE", /not a directory/);
  });

  it("a directory in a snapshot's place", async () => {
    await mkdir(join(folder, "version-2/snapshot.1"), { recursive: true });
    await rejects({ dataDir: folder }, "ERR_SOURCE_UNAVAILABLE", /neither a snapshot nor a log/);
    await symlink("/dev", join(folder, "version-2/snapshot.2"));
    await symlink("/nowhere", join(folder, "version-2/log.2"));
    execFileSync("mkfifo", [join(folder, "version-2/snapshot.3")]);
    await rejects({ dataDir: folder }, "ERR_SOURCE_UNAVAILABLE", /neither a snapshot nor a log/);
  });

  it.skipIf(process.getuid?.() === 0)("a file without permission", async () => {
    const fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
    await chmod(join(fixture.dataDir, "version-2/snapshot.3e4"), 0);
    await rejects(fixture, "ERR_SOURCE_UNAVAILABLE", /no permission; run as ZooKeeper's user/);
  });

  it("no options at all", () => rejects({}, "ERR_CONFIG_INVALID", /where is ZooKeeper's data/));

  it("a missing zoo.cfg, and one without a dataDir", async () => {
    await rejects({ zooCfg: join(folder, "zoo.cfg") }, "ERR_SOURCE_UNAVAILABLE", /no such file/);
    await writeFile(join(folder, "zoo.cfg"), "tickTime=2000\n");
    await rejects({ zooCfg: join(folder, "zoo.cfg") }, "ERR_CONFIG_INVALID", /has no dataDir/);
  });

  it("a zoo.cfg of another server", async () => {
    await writeFile(join(folder, "zoo.cfg"), "dataDir=/elsewhere\n");
    const options = { dataDir: folder, zooCfg: join(folder, "zoo.cfg") };
    await rejects(options, "ERR_CONFIG_INVALID", /is it this server's zoo\.cfg/);
  });

  it("a server that is not there", () =>
    rejects({ server: "127.0.0.1:1" }, "ERR_SOURCE_UNAVAILABLE", /127\.0\.0\.1:1 did not answer/));

  it.each([
    [{ server: "nohost" }, /server: is not host:port/],
    [{ server: "host:99999" }, /server: has no such port/],
    [{ dataDir: "" }, /dataDir: is empty/],
    [{ dataLogDir: "/x" }, /dataLogDir: needs dataDir/],
    [{ dataDri: "/x" }, /dataDri/],
  ])("the options %j", (options, message) => {
    expect(() => createZooKeeperSource(options as ZooKeeperSourceOptions)).toThrow(message);
  });
});

describe("keeps as information", () => {
  it("myid, epochs and the configuration, without the passwords in it; and does not restore them", async () => {
    const fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
    await writeFile(join(fixture.dataDir, "myid"), "3\n");
    await writeFile(join(fixture.dataDir, "version-2/currentEpoch"), "7");
    await writeFile(join(fixture.dataDir, "version-2/acceptedEpoch"), "8");
    const zooCfg = join(folder, "zoo.cfg");
    await writeFile(
      zooCfg,
      `dataDir=${fixture.dataDir}\nssl.keyStore.password=hunter2\n dynamicConfigFile=${folder}/zoo.cfg.dynamic.1\n`,
    );
    await writeFile(join(folder, "zoo.cfg.dynamic.1"), "server.3=a:1:2\n");
    // The same directory, told in two ways.
    const series = seriesOf({ zooCfg, dataDir: join(fixture.dataDir, "version-2") });
    const manifest = await backUp(series);
    expect(manifest.facts).toMatchObject({ myid: "3", epochs: { current: "7", accepted: "8" } });
    expect(filesOf(manifest).filter((path) => path.startsWith("config/"))).toEqual([
      "config/myid",
      "config/currentEpoch",
      "config/acceptedEpoch",
      "config/zoo.cfg",
      "config/zoo.cfg.dynamic",
    ]);
    expect(JSON.stringify(manifest)).not.toContain("hunter2");
    await series.restore(manifest.id, { main: join(folder, "restored") });
    expect(await readdir(join(folder, "restored"))).toEqual(["version-2"]);
    expect(await readdir(join(folder, "restored/version-2"))).toEqual(["log.3a8", "log.3e5", "snapshot.3e4"]);
  });

  it("what is there of these; what cannot be read does not fail the backup", async () => {
    const fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
    await mkdir(join(fixture.dataDir, "myid"));
    const { facts } = await backUp(seriesOf(fixture));
    expect(facts).toMatchObject({ myid: null });
  });

  it("of two snapshots of one zxid the one that was written last", async () => {
    const fixture = await unpackFixture("zookeeper-3.8.0-gz", folder);
    const version2 = join(fixture.dataDir, "version-2");
    await utimes(join(version2, "snapshot.22"), 1, 1);
    expect(filesOf(await backUp(seriesOf(fixture)))[0]).toBe("version-2/snapshot.22.gz");
    // To 3.6 and later these are data files too, but not to older releases.
    await copyFile(join(version2, "snapshot.22"), join(version2, "snapshot.22.copy"));
    await copyFile(join(fixture.dataLogDir, "version-2/log.1"), join(fixture.dataLogDir, "version-2/log.1.bak"));
    expect(filesOf(await backUp(seriesOf(fixture)))).toEqual(["version-2/snapshot.22.gz", "version-2/log.1"]);
  });
});
