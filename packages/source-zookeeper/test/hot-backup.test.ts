import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Logger, openSeries, type Series, silentLogger } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import {
  connectZooKeeper,
  requirePart,
  startEnsemble,
  startZooKeeper,
  writeSampleData,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createZooKeeperSource, type ZooKeeperSourceOptions } from "../src/index.ts";
import { runHotRounds } from "./hot-rounds.ts";
import { startRestored } from "./restored-server.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("a hot backup of a real server", () => {
  let folder: string;
  let servers: ZooKeeperServer[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-hot-"));
    servers = [];
  });
  afterEach(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true });
  });

  const seriesOf = (options: ZooKeeperSourceOptions, logger: Logger = silentLogger): Series =>
    openSeries({
      prefix: "zk",
      logger,
      source: createZooKeeperSource(options),
      sink: createFsSink({ path: join(folder, "backups") }),
    });

  const fill = async (server: ZooKeeperServer): Promise<Map<string, unknown>> => {
    const client = await connectZooKeeper(server.connectString);
    await writeSampleData(client);
    // Its ephemeral znodes go with it.
    await client.close();
    return readTree(server);
  };

  const backUpAndCompare = async (
    options: ZooKeeperSourceOptions,
    tree: Map<string, unknown>,
    restoreOptions: Parameters<typeof startRestored>[3] = {},
  ) => {
    const series = seriesOf(options);
    const manifest = await series.backup();
    if (manifest === null) throw new Error("nothing was backed up");
    await series.verify(manifest.id);
    const restored = await startRestored(series, manifest, join(folder, "restored"), restoreOptions);
    expect(restored.zxid).toBe(manifest.range.upTo);
    expect([...restored.tree.keys()]).toEqual([...tree.keys()]);
    expect(restored.tree).toEqual(tree);
    return manifest;
  };

  it("restores, again and again, while a client writes, snapshots roll and old files are purged", async () => {
    const report = await runHotRounds(folder, 4);
    expect(report.writesPerSecond).toBeGreaterThan(100);
  });

  it("takes one shared directory, and tells what the server said of itself", async () => {
    const server = await startZooKeeper({ directory: folder });
    servers.push(server);
    const tree = await fill(server);
    const manifest = await backUpAndCompare({ dataDir: server.dataDir, server: server.connectString }, tree);
    expect(manifest.facts).toMatchObject({
      mode: "hot",
      server: { role: "standalone", version: expect.stringMatching(/^3\./), nodeCount: expect.any(Number) },
      myid: null,
    });
  });

  it.each([
    ["zoo.cfg", (server: ZooKeeperServer) => ({ zooCfg: server.configFile })],
    ["the server's own word", (server: ZooKeeperServer) => ({ server: server.connectString })],
  ])("finds separate directories by %s", async (_, options) => {
    const server = await startZooKeeper({ directory: folder, dataLogDir: join(folder, "log") });
    servers.push(server);
    const tree = await fill(server);
    const manifest = await backUpAndCompare(options(server), tree, { separateLogs: true });
    expect(manifest.facts).toMatchObject({ dataDir: server.dataDir, dataLogDir: server.dataLogDir });
  });

  it.each(["gz", "snappy"])("takes %s snapshots", async (method) => {
    const server = await startZooKeeper({
      directory: folder,
      javaOptions: [`-Dzookeeper.snapshot.compression.method=${method}`],
    });
    servers.push(server);
    await fill(server);
    await server.stop();
    await server.start();
    const tree = await fillMore(server);
    const manifest = await backUpAndCompare({ dataDir: server.dataDir, server: server.connectString }, tree);
    expect(manifest.entries[0]?.path).toMatch(new RegExp(`^version-2/snapshot\\.[0-9a-f]+\\.${method}$`));
  });

  it("takes a member of an ensemble, leader or follower, with its identity as information", async () => {
    servers = await startEnsemble({ directory: join(folder, "ensemble"), size: 3, separateLogs: true });
    const [first] = servers;
    if (first === undefined) throw new Error("no ensemble");
    const tree = await fill(first);
    for (const member of servers) {
      const manifest = await backUpAndCompare({ zooCfg: member.configFile }, tree);
      expect(manifest.facts).toMatchObject({
        server: { role: expect.stringMatching(/^(leader|follower)$/) },
        myid: String(member.id),
        epochs: { current: "1", accepted: "1" },
      });
      expect(manifest.entries.map(({ path }) => path)).toEqual(
        expect.arrayContaining(["config/myid", "config/currentEpoch", "config/acceptedEpoch", "config/zoo.cfg"]),
      );
    }
  });

  it("brings a whole ensemble back: the same backup on every new member", async () => {
    const [first, ...others] = await startEnsemble({ directory: join(folder, "old"), size: 3 });
    if (first === undefined) throw new Error("no ensemble");
    servers = [first, ...others];
    const tree = await fill(first);
    const series = seriesOf({ zooCfg: first.configFile });
    const manifest = await series.backup();
    if (manifest === null) throw new Error("nothing was backed up");
    for (const server of servers) await server.kill();
    for (const id of [1, 2, 3]) await series.restore(manifest.id, { main: join(folder, "new", String(id), "data") });
    servers = await startEnsemble({ directory: join(folder, "new"), size: 3 });
    for (const server of servers) expect(await readTree(server)).toEqual(tree);
  });

  it("takes a stopped server's directory, and one that was killed in mid-write", async () => {
    const server = await startZooKeeper({ directory: folder });
    servers.push(server);
    const tree = await fill(server);
    await server.kill();
    const manifest = await backUpAndCompare({ zooCfg: server.configFile }, tree);
    expect(manifest.facts).toMatchObject({ server: null });
  });

  it("says so when the logs are not those of the server that it asks", async () => {
    const server = await startZooKeeper({ directory: join(folder, "a") });
    const other = await startZooKeeper({ directory: join(folder, "b") });
    servers.push(server, other);
    await fill(server);
    const series = seriesOf({ dataDir: other.dataDir, server: server.connectString });
    await expect(series.backup()).rejects.toThrow(/is this that server's dataLogDir\?/);
    expect(await readdir(folder)).not.toContain("backups/zk");
  });

  it("goes on with the files of a server that is down, and says so", async () => {
    const server = await startZooKeeper({ directory: folder });
    servers.push(server);
    const tree = await fill(server);
    await server.stop();
    const warnings: string[] = [];
    const logger = { ...silentLogger, warn: (_: object, message: string) => warnings.push(message) };
    const options = { dataDir: server.dataDir, server: server.connectString };
    const manifest = await seriesOf(options, logger).backup();
    expect(manifest?.facts).toMatchObject({ server: null });
    expect(warnings).toEqual([
      expect.stringMatching(
        `${server.connectString} did not answer "srvr": .*ECONNREFUSED.*; going on with the files alone`,
      ),
    ]);
    await backUpAndCompare(options, tree);
  });

  it("goes on with the files of a member without a quorum", async () => {
    const [member, ...others] = await startEnsemble({ directory: folder, size: 3 });
    if (member === undefined) throw new Error("no ensemble");
    servers.push(member, ...others);
    await fill(member);
    for (const other of others) await other.kill();
    await expect.poll(() => member.fourLetterWord("srvr").catch(String)).toMatch(/not currently serving/);
    const manifest = await seriesOf({ dataDir: member.dataDir, server: member.connectString }).backup();
    expect(manifest?.facts).toMatchObject({ server: null });
  });

  it("says which server does not answer as one should", async () => {
    const server = await startZooKeeper({ directory: folder });
    servers.push(server);
    const address = `127.0.0.1:${server.adminPort}`;
    const series = seriesOf({ dataDir: server.dataDir, server: address });
    await expect(series.backup()).rejects.toThrow(new RegExp(`${address} did not answer "srvr": .*is this no plain`));
  });
});

async function fillMore(server: ZooKeeperServer): Promise<Map<string, unknown>> {
  const client = await connectZooKeeper(server.connectString);
  await client.create("/more", Buffer.from("after the restart"));
  await client.close();
  return readTree(server);
}

async function readTree(server: ZooKeeperServer): Promise<Map<string, unknown>> {
  const client = await connectZooKeeper(server.connectString);
  const tree = await client.readTree();
  await client.close();
  return tree;
}
