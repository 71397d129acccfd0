import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import {
  connectZooKeeper,
  fetchRelease,
  type Release,
  requireReleases,
  startZooKeeper,
  unpackFixture,
  type ZooKeeperServer,
} from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { requirePackages } from "../testing/packaging.ts";
import { RELEASE, readBlobs } from "../tools/blobs.ts";

// What docs/migration.md says of servers that change to this release with their disks.
describe.skipIf(!((await requireReleases()) && (await requirePackages())))("the ZooKeeper of this release", () => {
  let folder: string;
  let servers: ZooKeeperServer[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-old-data-"));
    servers = [];
  });

  afterEach(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true, force: true });
  });

  const start = async (options: Parameters<typeof startZooKeeper>[0]): Promise<ZooKeeperServer> => {
    const server = await startZooKeeper(options);
    servers.push(server);
    return server;
  };

  const jars = readBlobs(RELEASE).flatMap(({ path }) => (path.endsWith(".jar") ? [join(RELEASE, "blobs", path)] : []));
  const ours: Release = { line: "3.9", version: "of this release", jars, classPath: jars.join(delimiter) };

  it("serves the data that a 3.4 has left, with a snapshot", async () => {
    const dataDir = join(folder, "data");
    const javaOptions = ["-Dzookeeper.snapCount=20"];
    const old = await start({
      release: await fetchRelease("3.4"),
      directory: join(folder, "old"),
      dataDir,
      javaOptions,
    });
    const writer = await connectZooKeeper(old.connectString);
    for (let i = 0; i < 100; i += 1) await writer.create(`/node-${i}`, Buffer.from(`value-${i}`));
    await writer.close();
    await old.stop();

    const server = await start({ release: ours, directory: join(folder, "new"), dataDir });
    const reader = await connectZooKeeper(server.connectString);
    for (let i = 0; i < 100; i += 1) {
      expect(String((await reader.getData(`/node-${i}`)).data)).toBe(`value-${i}`);
    }
    await reader.close();
  });

  it("serves logs of a 3.4 without a snapshot only if it is told to trust them", async () => {
    const { dataDir, dataLogDir } = await unpackFixture("zookeeper-3.4.14", folder);
    const given = { release: ours, dataDir, dataLogDir };
    await expect(start({ ...given, directory: join(folder, "refusing") })).rejects.toThrow(
      "No snapshot found, but there are log entries",
    );
    const config = { "snapshot.trust.empty": "true" };
    const server = await start({ ...given, directory: join(folder, "trusting"), config });
    expect(await server.fourLetterWord("srvr")).toContain("Zxid: 0x1d\n");
  });
});
