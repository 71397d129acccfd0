import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, isBackypError, type Manifest, openSeries, type Series, silentLogger } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import {
  connectZooKeeper,
  createRecordedWriter,
  type FixtureName,
  flipBit,
  requirePart,
  startEnsemble,
  startZooKeeper,
  unpackFixture,
  writeSampleData,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createZooKeeperSource, type ZooKeeperSourceOptions } from "../src/index.ts";

/** `verify` with `deep` makes its folder below the one for temporary files: here it is one of the test's own. */
let folder: string;
let temporary: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-deep-"));
  temporary = join(folder, "tmp");
  await mkdir(temporary);
  vi.stubEnv("TMPDIR", temporary);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const seriesOf = (options: ZooKeeperSourceOptions): Series =>
  openSeries({
    prefix: "zk",
    source: createZooKeeperSource(options),
    sink: createFsSink({ path: join(folder, "backups") }),
  });

async function backUp(series: Series): Promise<Manifest> {
  const manifest = await series.backup();
  if (manifest === null) throw new Error("nothing was backed up");
  return manifest;
}

const coded =
  (code: ErrorCode, message: RegExp) =>
  (error: unknown): boolean =>
    isBackypError(error, code) && message.test(error.message);

/** The command lines of the processes that have something to do with a folder, but this one. */
async function processesIn(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command.includes(path)) found.push(command.replaceAll("\0", " "));
  }
  return found;
}

async function expectNothingLeft(): Promise<void> {
  expect(await readdir(temporary)).toEqual([]);
  // The guard of the folder is told to go, and not waited for.
  for (let tries = 0; tries < 100 && (await processesIn(temporary)).length > 0; tries++) await sleep(20);
  expect(await processesIn(temporary)).toEqual([]);
}

/** The port of a server that runs in a folder. */
async function portIn(path: string): Promise<number> {
  const configuration = (await readdir(path, { recursive: true })).find((name) => name.endsWith("zoo.cfg")) ?? "";
  return Number(/^clientPort=(\d+)$/m.exec(await readFile(join(path, configuration), "utf8"))?.[1]);
}

async function isListening(port: number): Promise<boolean> {
  const hex = `:${port.toString(16).toUpperCase().padStart(4, "0")} `;
  const sockets = (await readFile("/proc/net/tcp", "utf8")) + (await readFile("/proc/net/tcp6", "utf8"));
  return sockets.split("\n").some((line) => line.includes(hex) && / 0A /.test(line));
}

describe.skipIf(!requirePart(zooKeeperMissing()))("a deep verification", () => {
  it.each<[FixtureName, number]>([
    ["zookeeper-3.4.14", 16],
    ["zookeeper-3.5.10", 21],
    ["zookeeper-3.6.4", 21],
    ["zookeeper-3.7.2", 21],
    ["zookeeper-3.8.0", 21],
    ["zookeeper-3.8.0-gz", 19],
    ["zookeeper-3.8.0-snappy", 21],
    ["zookeeper-3.8.0-rich", 993],
  ])("of %s starts a server that has every znode and the same digest", async (name, nodes) => {
    const series = seriesOf(await unpackFixture(name, folder));
    const { id, range, contents } = await backUp(series);
    const { rehearsal } = await series.verify(id, { deep: true });
    expect(rehearsal).toEqual({
      server: expect.stringMatching(/^3\.\d+\.\d+/),
      zxid: range.upTo,
      nodeCount: nodes + 1,
      digest: (contents.state as { digest: string }).digest,
      digestMismatches: 0,
      seconds: expect.any(Number),
    });
    await expectNothingLeft();
  });

  it("of a backup that was taken under load finds what was there at its zxid", async () => {
    const live = await startZooKeeper({
      directory: join(folder, "live"),
      javaOptions: ["-Dzookeeper.snapCount=300"],
    });
    const writer = createRecordedWriter({ connectString: live.connectString, rate: 500, root: "/load", seed: 1 });
    try {
      await writer.start();
      const series = seriesOf({ dataDir: live.dataDir, server: live.connectString });
      for (let round = 1; round <= 3; round++) {
        await sleep(1_000);
        const { id, range } = await backUp(series);
        const { rehearsal } = await series.verify(id, { deep: true });
        expect(rehearsal).toMatchObject({ zxid: range.upTo, digestMismatches: 0 });
        expect(writer.interrupted).toBeUndefined();
      }
    } finally {
      await writer.stop();
      await live.kill();
    }
    await expectNothingLeft();
  });

  it("of a member of an ensemble takes a server that stands alone", async () => {
    const members = await startEnsemble({ directory: join(folder, "ensemble"), size: 3 });
    try {
      const [member] = members;
      if (member === undefined) throw new Error("no ensemble");
      const client = await connectZooKeeper(member.connectString);
      await writeSampleData(client);
      await client.close();
      const series = seriesOf({ zooCfg: member.configFile });
      const { id, range, contents } = await backUp(series);
      expect(range.upTo).toMatch(/^0x1000000[0-9a-f]{2}$/);
      const { nodes, digest } = contents.state as { nodes: number; digest: string };
      const { rehearsal } = await series.verify(id, { deep: true });
      expect(rehearsal).toMatchObject({ zxid: range.upTo, nodeCount: nodes + 1, digest, digestMismatches: 0 });
    } finally {
      for (const member of members) await member.kill();
    }
  });

  it("knows the one digest that the server before took too early", async () => {
    const { dataDir } = await unpackFixture("zookeeper-3.8.0-rich", folder);
    // Drops the znodes with a time to live, and then writes a snapshot with the digest from before that.
    const server = await startZooKeeper({
      directory: join(folder, "server"),
      dataDir,
      config: { extendedTypesEnabled: "false" },
      javaOptions: ["-Dzookeeper.extendedTypesEnabled=false"],
    });
    try {
      const series = seriesOf({ dataDir });
      const idle = await backUp(series);
      expect(idle).toMatchObject({
        facts: { passedOver: [{ file: "snapshot.3ea", reason: expect.stringMatching(/until its next transaction/) }] },
        contents: { state: { ttlNodes: 25 } },
        proof: { snapshotDigest: "matched" },
      });
      const client = await connectZooKeeper(server.connectString);
      await client.create("/after", Buffer.from("x"));
      await client.close();
      const { id, contents, proof, problems } = await backUp(series);
      expect(contents.state).toMatchObject({ ttlNodes: 0 });
      expect(proof).toMatchObject({ snapshotDigest: "stale", txnDigestsCompared: 3, txnDigestsMatched: 3 });
      expect(problems).toMatchObject([{ severity: "info", code: "DIGEST_STALE", file: "snapshot.3ea" }]);
      expect((await series.verify(id, { deep: true })).rehearsal).toMatchObject({ digestMismatches: 1 });
    } finally {
      await server.kill();
    }
  });

  it("finds the folder for temporary files whatever its name is", async () => {
    temporary = join(folder, "tmp = #ü\\n");
    await mkdir(temporary);
    vi.stubEnv("TMPDIR", temporary);
    vi.stubEnv("LC_ALL", "POSIX");
    const series = seriesOf(await unpackFixture("zookeeper-3.8.0", folder));
    const { id, range } = await backUp(series);
    expect((await series.verify(id, { deep: true })).rehearsal).toMatchObject({
      zxid: range.upTo,
      digestMismatches: 0,
    });
    await expectNothingLeft();
  });

  it("leaves no process, no port and no folder behind when it is aborted", async () => {
    const series = seriesOf(await unpackFixture("zookeeper-3.8.0-rich", folder));
    const { id } = await backUp(series);
    const abort = new AbortController();
    let port = 0;
    series.events.on("verify:rehearsal", async () => {
      while ((await processesIn(temporary)).every((command) => !command.includes("QuorumPeerMain"))) await sleep(5);
      port = await portIn(temporary);
      abort.abort();
    });
    await expect(series.verify(id, { deep: true, signal: abort.signal })).rejects.toSatisfy(coded("ERR_ABORTED", /./));
    expect(port).toBeGreaterThan(0);
    expect(await isListening(port)).toBe(false);
    await expectNothingLeft();
  });
});

describe.skipIf(!requirePart(zooKeeperMissing()))("a rehearsal", () => {
  const context = { signal: new AbortController().signal, logger: silentLogger };

  /** What `verify` would hand to it, with whatever a test does to the files or to what is recorded of them. */
  async function rehearse(
    damage: (version2: string) => Promise<void>,
    edit: (manifest: Manifest) => Manifest = (same) => same,
  ): Promise<unknown> {
    const source = createZooKeeperSource(await unpackFixture("zookeeper-3.8.0-rich", folder));
    const series = openSeries({ prefix: "zk", source, sink: createFsSink({ path: join(folder, "backups") }) });
    const manifest = await backUp(series);
    const main = join(temporary, "restored");
    await series.restore(manifest.id, { main });
    await damage(join(main, "version-2"));
    const { run } = (await source.rehearse?.(context)) ?? {};
    try {
      return await run?.({ main }, edit(manifest), context);
    } finally {
      await rm(main, { recursive: true });
      await expectNothingLeft();
    }
  }
  const nothing = async (): Promise<void> => {};
  const withState = (state: object) => (manifest: Manifest) =>
    ({
      ...manifest,
      contents: { ...manifest.contents, state: { ...(manifest.contents.state as object), ...state } },
    }) as Manifest;

  it("passes what is as recorded", async () => {
    expect(await rehearse(nothing)).toMatchObject({ zxid: "0x3ea", nodeCount: 994 });
  });

  it.each<[string, (manifest: Manifest) => Manifest, RegExp]>([
    ["zxid", (manifest) => ({ ...manifest, range: { after: null, upTo: "0x3eb" } }), /zxid 0x3ea instead of 0x3eb/],
    ["number of znodes", withState({ nodes: 992 }), /node count 994 instead of 993/],
    ["digest", withState({ digest: "1" }), /the tree digest 2209323497027 instead of 1/],
  ])("fails when the server has another %s", async (_, edit, message) => {
    await expect(rehearse(nothing, edit)).rejects.toSatisfy(coded("ERR_REHEARSAL_FAILED", message));
  });

  it.each<[string, (version2: string) => Promise<void>, RegExp]>([
    ["a record is damaged", (path) => flipBit(join(path, "log.3e5"), 300), /does not start.*CRC/],
    ["the snapshot is missing", (path) => rm(join(path, "snapshot.3e4")), /does not start.*No snapshot found/],
    ["a log is no log", (path) => writeFile(join(path, "log.3e5"), "x"), /does not start/],
  ])("fails when %s and the server does not start", async (_, damage, message) => {
    await expect(rehearse(damage)).rejects.toSatisfy(coded("ERR_REHEARSAL_FAILED", message));
  });

  async function withJava(script: string): Promise<void> {
    const java = join(folder, "java-home/bin");
    await mkdir(java, { recursive: true });
    await writeFile(join(java, "java"), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    vi.stubEnv("JAVA_HOME", join(folder, "java-home"));
  }

  it.each<[string, string, RegExp]>([
    ["cannot run", "echo 'Error: Could not create the Java Virtual Machine.' >&2; exit 1", /Could not create the Java/],
    ["finds no room on the disk", "echo 'java.io.IOException: No space left on device'; exit 10", /No space left/],
    ["is killed", "echo 'WARN something else'; kill -9 $$", /could not run \(SIGKILL\)/],
    ["is killed below a shell", "echo 'WARN something else'; exit 137", /could not run \(exit code 137\)/],
    ["says more than fits into memory", "truncate -s 3G /dev/fd/1; echo OutOfMemoryError; exit 1", /OutOfMemoryError/],
    ["says nothing", "exit 1", /could not run/],
  ])("says nothing about the backup when java %s", async (_, script, message) => {
    await withJava(script);
    await expect(rehearse(nothing)).rejects.toSatisfy(coded("ERR_REHEARSAL_UNAVAILABLE", message));
  });

  it("says nothing about the backup when java cannot be started", async () => {
    await withJava("");
    await chmod(join(folder, "java-home/bin/java"), 0o644);
    await expect(rehearse(nothing)).rejects.toSatisfy(coded("ERR_REHEARSAL_UNAVAILABLE", /Permission denied/));
  });

  it("hands none of its environment on but what java needs", async () => {
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "hush");
    vi.stubEnv("JAVA_TOOL_OPTIONS", "-Dsecret=hush");
    await withJava("echo 'ERROR here it comes'; env; exit 1");
    const error = await rehearse(nothing).catch((thrown: unknown) => thrown);
    expect(error).toSatisfy(coded("ERR_REHEARSAL_FAILED", /here it comes/));
    expect(JSON.stringify(error)).toContain("PATH=");
    expect(JSON.stringify(error) + String(error)).not.toContain("hush");
  });
});

describe("without what it needs, a rehearsal", () => {
  it.each<[string, Record<string, string>, RegExp]>([
    ["java", { PATH: "/nonexistent", JAVA_HOME: "" }, /there is no java.*have java on the PATH/],
    ["a release in ZOOKEEPER_HOME", { ZOOKEEPER_HOME: "/nonexistent" }, /no jars in ZOOKEEPER_HOME=\/nonexistent/],
  ])("says that there is no %s, and what to install", async (_, environment, message) => {
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    const context = { signal: new AbortController().signal, logger: silentLogger };
    await expect(createZooKeeperSource().rehearse?.(context)).rejects.toSatisfy(
      coded("ERR_REHEARSAL_UNAVAILABLE", message),
    );
  });
});
