import { mkdir, mkdtemp, open, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type ErrorCode, isBackypError, type Manifest, openSeries, type Series } from "@zk-backyp/core";
import { memorySink } from "@zk-backyp/core/testing";
import { type Fixture, flipBit, unpackFixture } from "@zk-backyp/testbed";
import { createLogChecker } from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createZooKeeperSource } from "./index.ts";

let folder: string;
let fixture: Fixture;
let version2: string;
let series: Series;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-damaged-"));
  fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
  version2 = join(fixture.dataDir, "version-2");
  series = openSeries({ prefix: "zk", source: createZooKeeperSource(fixture), sink: memorySink() });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const coded =
  (code: ErrorCode, message: RegExp = /./) =>
  (error: unknown): boolean =>
    isBackypError(error, code) && message.test(error.message);

/** Backs up what is refused without the flag, and checks everything that holds for all that is kept so. */
async function keep(): Promise<{ manifest: Manifest; paths: string[]; damage: string[]; restored: string }> {
  await expect(series.backup()).rejects.toSatisfy(coded("ERR_SOURCE_DAMAGED"));
  const manifest = await series.backup({ allowDamaged: true });
  if (manifest === null) throw new Error("nothing was backed up");
  expect(manifest.verified).toBe(false);
  const serious = manifest.problems.filter(({ severity }) => severity !== "info");
  expect(serious).not.toEqual([]);
  await expect(series.verify(manifest.id)).rejects.toSatisfy(
    (error) => coded("ERR_BACKUP_DAMAGED", /byte for byte/)(error) && String(error).includes(serious[0]?.message ?? ""),
  );
  const restored = join(folder, "restored");
  await expect(series.restore(manifest.id, { main: restored })).rejects.toSatisfy(coded("ERR_BACKUP_DAMAGED"));
  await expect(readdir(restored), "nothing is made for a refused restore").rejects.toThrow("ENOENT");
  await series.restore(manifest.id, { main: restored }, { allowDamaged: true });
  return {
    manifest,
    paths: manifest.entries.map(({ path }) => path),
    damage: serious.map(({ severity, code, file }) => `${severity} ${code} ${file}`),
    restored,
  };
}

const sameFile = async (path: string, other: string): Promise<void> =>
  expect((await readFile(path)).equals(await readFile(other)), `${path} is not ${other}`).toBe(true);

async function recordsIn(path: string): Promise<number> {
  const checker = createLogChecker();
  checker.push(await readFile(path));
  const { end, records } = checker.end();
  expect(end).toBe("eof");
  return records;
}

describe("keeps of a damaged server", () => {
  it("the log up to its damage where a server looks, and all of it beside that", async () => {
    await flipBit(join(version2, "log.3e5"), 300);
    const { manifest, paths, damage, restored } = await keep();
    expect(paths).toEqual(["version-2/snapshot.3e4", "version-2/log.3a8", "version-2/log.3e5", "damaged/log.3e5"]);
    expect(damage).toEqual(["fatal LOG_BAD_CHECKSUM log.3e5"]);
    expect(manifest.range.upTo).toBe("0x3e7");
    expect(manifest.contents.damaged).toEqual(["log.3e5"]);
    await sameFile(join(restored, "damaged/log.3e5"), join(version2, "log.3e5"));
    expect(await recordsIn(join(restored, "version-2/log.3e5"))).toBe(3);
  });

  it("everything, where the damage lies before what is needed but keeps a server from starting", async () => {
    await flipBit(join(version2, "log.3a8"), 3_000);
    const { manifest, paths, damage } = await keep();
    expect(paths).toEqual(["version-2/snapshot.3e4", "version-2/log.3a8", "version-2/log.3e5", "damaged/log.3a8"]);
    expect(damage).toEqual(["fatal LOG_BAD_CHECKSUM log.3a8"]);
    expect(manifest.range.upTo).toBe("0x3ea");
  });

  it("the older snapshot that is intact and what leads on from it, and the newest as it is", async () => {
    await flipBit(join(version2, "snapshot.3e4"), 30_000);
    for (const name of ["log.3a8", "log.3e5"]) await rm(join(version2, name));
    const { manifest, paths, damage, restored } = await keep();
    expect(paths.filter((path) => path.includes("snapshot"))).toEqual([
      "version-2/snapshot.3a7",
      "damaged/snapshot.3e4",
    ]);
    expect(damage).toEqual(["data-loss SNAPSHOT_BAD_SEAL snapshot.3e4"]);
    expect(manifest.range.upTo).toBe("0x3a7");
    expect(manifest.facts.passedOver).toEqual([{ file: "snapshot.3e4", reason: expect.any(String) }]);
    await sameFile(join(restored, "damaged/snapshot.3e4"), join(version2, "snapshot.3e4"));
  });

  it("what comes before a gap where a server looks, and what comes behind it beside that", async () => {
    for (const name of ["snapshot.3e4", "log.3a8"]) await rm(join(version2, name));
    const { manifest, paths, damage } = await keep();
    expect(paths.filter((path) => path.startsWith("damaged/"))).toEqual(["damaged/log.3e5"]);
    expect(damage).toEqual(["data-loss LOG_GAP log.3e5"]);
    expect(manifest.range.upTo).toBe("0x3a7");
  });

  it("a snapshot that shows transactions which no log has", async () => {
    for (const name of ["snapshot.3a7", "snapshot.3e4", "log.348", "log.3a8", "log.3e5"])
      await rm(join(version2, name));
    const log = join(version2, "log.2a8");
    const checker = createLogChecker();
    checker.push(await readFile(log));
    const file = await open(log, "r+");
    await file.write(Buffer.alloc(20), 0, 20, checker.end().bytes - 20);
    await file.close();
    const { manifest, paths, damage } = await keep();
    expect(paths).toContain("version-2/snapshot.346");
    expect(damage).toContain("data-loss SNAPSHOT_NOT_COVERED snapshot.346");
    expect(manifest.range.upTo).toBe("0x346");
  });

  it("all snapshots when none is intact, and the logs", async () => {
    for (const name of await readdir(version2)) {
      if (name.startsWith("snapshot")) await truncate(join(version2, name), 400);
    }
    const { paths, damage, restored } = await keep();
    expect(paths.some((path) => path.startsWith("version-2/snapshot"))).toBe(false);
    expect(paths).toEqual(expect.arrayContaining(["damaged/snapshot.3e4", "damaged/snapshot.0"]));
    expect(damage).toContain("fatal NO_VALID_SNAPSHOT null");
    // Logs without a snapshot keep a server from starting with an empty tree.
    expect((await readdir(join(restored, "version-2"))).every((name) => name.startsWith("log."))).toBe(true);
    expect(await readdir(join(restored, "version-2"))).toContain("log.3e5");
  });

  it("logs without any snapshot, from 3.5 or later", async () => {
    for (const name of await readdir(version2)) if (name.startsWith("snapshot")) await rm(join(version2, name));
    const { manifest, damage } = await keep();
    expect(damage).toEqual(["fatal NO_SNAPSHOT null"]);
    expect(manifest.range.upTo).toBe("0x3ea");
  });

  it("a fuller copy of a log", async () => {
    await rename(join(version2, "log.3e5"), join(version2, "log.3e5.bak"));
    await writeFile(join(version2, "log.3e5"), (await readFile(join(version2, "log.3e5.bak"))).subarray(0, 250));
    const { paths, damage } = await keep();
    expect(paths).toContain("damaged/log.3e5.bak");
    expect(damage).toEqual(["data-loss LOG_DUPLICATE log.3e5.bak"]);
  });
});

describe("does not call good, because it is not kept,", () => {
  it.each<[string, string, Buffer]>([
    ["an empty snapshot that shows that more was applied", "snapshot.400", Buffer.alloc(0)],
    ["a log of zeros", "log.3eb", Buffer.alloc(70_000)],
  ])("%s", async (_, name, content) => {
    await writeFile(join(version2, name), content);
    const { manifest, paths, damage } = await keep();
    expect(paths).not.toContain(`damaged/${name}`);
    expect(damage).toEqual(["data-loss CAPTURE_REFUSED null"]);
    expect(manifest.problems.at(-1)?.message).toContain(name);
  });
});

it("does not forget what the server had applied when it is gone at the second look", async () => {
  let asked = 0;
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (word) => {
      if (word.toString() !== "srvr") socket.end("not in the whitelist");
      else if (asked++ > 0) socket.destroy();
      else socket.end("Zookeeper version: 3.8.0-x\nZxid: 0x400\nMode: leader\nNode count: 9\n");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const zooCfg = join(folder, "zoo.cfg");
    const { port } = server.address() as AddressInfo;
    await writeFile(zooCfg, `dataDir=${fixture.dataDir}\nclientPort=${port}\n`);
    series = openSeries({ prefix: "zk", source: createZooKeeperSource({ zooCfg }), sink: memorySink() });
    const manifest = await series.backup({ allowDamaged: true });
    expect(manifest).toMatchObject({
      verified: false,
      problems: [{ code: "CAPTURE_REFUSED", message: expect.stringMatching(/has applied 0x400/) }],
    });
  } finally {
    server.close();
  }
});

it("does not count on a good snapshot where no server looks", async () => {
  const verifier = createZooKeeperSource().verifier();
  for (const path of ["version-2/log.3a8", "version-2/log.3e5", "damaged/snapshot.3e4"]) {
    const content = await readFile(join(version2, basename(path)));
    const body = (async function* () {
      yield content;
    })();
    for await (const _ of verifier.watch({ path, size: content.byteLength, mtime: new Date(), body }).body);
  }
  expect(verifier.finish().problems).toEqual([
    expect.objectContaining({ severity: "data-loss", code: "GOOD_BUT_ASIDE", file: "snapshot.3e4" }),
  ]);
});

it("keeps files that end before what their server has applied, and says so", async () => {
  const answers: Record<string, string> = {
    srvr: "Zookeeper version: 3.8.0-x\nZxid: 0x400\nMode: leader\nNode count: 9\n",
  };
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (word) => socket.end(answers[word.toString()] ?? "not in the whitelist"));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const source = createZooKeeperSource({ ...fixture, server: `127.0.0.1:${port}` });
    series = openSeries({ prefix: "zk", source, sink: memorySink() });
    await expect(series.backup()).rejects.toSatisfy(coded("ERR_SOURCE_UNAVAILABLE", /has applied 0x400/));
    const manifest = await series.backup({ allowDamaged: true });
    expect(manifest).toMatchObject({
      verified: false,
      range: { upTo: "0x3ea" },
      problems: [{ severity: "data-loss", code: "LOGS_BEHIND_SERVER", message: expect.stringMatching(/0x400.*0x3ea/) }],
    });
    await expect(series.verify(manifest?.id ?? "")).rejects.toSatisfy(coded("ERR_BACKUP_DAMAGED", /0x400/));
  } finally {
    server.close();
  }
});

it("takes no good copy beside the files for the files", async () => {
  const whole = await readFile(join(version2, "log.3e5"));
  await flipBit(join(version2, "log.3e5"), 300);
  const verifier = createZooKeeperSource().verifier();
  const files: [path: string, content: Buffer][] = [["damaged/log.3e5", whole]];
  for (const name of ["log.3e5", "log.3a8", "snapshot.3e4"]) {
    files.unshift([`version-2/${name}`, await readFile(join(version2, name))]);
  }
  for (const [path, content] of files) {
    const body = (async function* () {
      yield content;
    })();
    const entry = verifier.watch({ path, size: content.byteLength, mtime: new Date(), body });
    for await (const _ of entry.body);
  }
  expect(verifier.finish().problems).toContainEqual(expect.objectContaining({ severity: "fatal", file: "log.3e5" }));
});

it.each(["version-2/snapshot.3e4.x/y", "version-2/snapshot.3e4.tmp", "version-2/log.0a", "damaged/log.3e5/x", "log.1"])(
  "takes %s for no file of a backup",
  (path) => {
    const entry = { path, size: 0, mtime: new Date(), body: (async function* () {})() };
    expect(() => createZooKeeperSource().verifier().watch(entry)).toThrow(/no file of a ZooKeeper backup/);
  },
);

describe("with damage allowed", () => {
  it("a good server gives the backup that it gives without", async () => {
    const without = await series.backup();
    const manifest = await series.backup({ allowDamaged: true });
    expect(manifest).toMatchObject({ verified: true, contents: without?.contents, entries: without?.entries });
    expect(manifest?.problems).toEqual([]);
    await series.verify(manifest?.id ?? "");
  });

  it("damage that costs nothing makes no damaged backup", async () => {
    await flipBit(join(version2, "snapshot.3e4"), 5_000);
    const manifest = await series.backup({ allowDamaged: true });
    expect(manifest).toMatchObject({ verified: true, problems: [{ code: "SNAPSHOT_PASSED_OVER", severity: "info" }] });
  });

  it.each<[string, () => Promise<unknown>, ErrorCode]>([
    ["no version-2", () => rm(version2, { recursive: true }), "ERR_SOURCE_UNAVAILABLE"],
    ["nothing in it", () => emptied(), "ERR_SOURCE_UNAVAILABLE"],
    ["only a snapshot that is none", () => emptied(["snapshot.1", "hello, world"]), "ERR_SOURCE_DAMAGED"],
    ["only a log that is none", () => emptied(["log.1", "hello, world, this is no log"]), "ERR_SOURCE_DAMAGED"],
    [
      "only zeros",
      () => emptied(["snapshot.1", "\0".repeat(5_000)], ["log.1", "\0".repeat(500)]),
      "ERR_SOURCE_DAMAGED",
    ],
  ])("a directory with %s is refused all the same", async (_, prepare, code) => {
    await prepare();
    await expect(series.backup({ allowDamaged: true })).rejects.toSatisfy(coded(code));
    expect(await series.catalog.ids({ signal: new AbortController().signal })).toEqual([]);
  });
});

async function emptied(...files: readonly (readonly [name: string, content: string])[]): Promise<void> {
  await rm(version2, { recursive: true });
  await mkdir(version2);
  for (const [name, content] of files) await writeFile(join(version2, name), content);
}
