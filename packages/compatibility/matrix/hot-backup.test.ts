import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Manifest, openSeries, type Series } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { createZooKeeperSource } from "@zk-backyp/source-zookeeper";
import {
  fetchRelease,
  RELEASE_LINES,
  requireReleases,
  startEnsemble,
  startZooKeeper,
  type ZooKeeperServer,
} from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LIVELY, readAll, startLively, startLoad, untilSnapshots, writeHistory } from "./load.ts";
import { expectRecorded } from "./recorded.ts";

/** Each release line, with itself and the next, which must both be able to load its backups. */
const LINES = RELEASE_LINES.map((line, index) => [line, RELEASE_LINES.slice(index, index + 2)] as const);

describe.skipIf(!(await requireReleases()))("a hot backup under load, with everything a release can write", () => {
  let folder: string;
  let servers: ZooKeeperServer[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-matrix-"));
    servers = [];
  });
  afterEach(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true });
  });

  const seriesOf = ({ dataDir, dataLogDir, connectString }: ZooKeeperServer): Series =>
    openSeries({
      prefix: "zk",
      source: createZooKeeperSource({ dataDir, dataLogDir, server: connectString }),
      sink: createFsSink({ path: join(folder, "backups") }),
    });

  const backUp = async (series: Series): Promise<Manifest> => {
    const manifest = await series.backup();
    if (manifest === null) throw new Error("nothing was backed up");
    await series.verify(manifest.id);
    return manifest;
  };

  it.each(LINES)("of a %s server restores into servers of %j", async (line, targets) => {
    const release = await fetchRelease(line);
    const live = await startLively(release, join(folder, "live"));
    servers.push(live);
    await writeHistory(live, release);
    const load = await startLoad(live, release);
    const series = seriesOf(live);
    const manifests: Manifest[] = [];
    for (let round = 0; round < 2; round += 1) {
      await untilSnapshots(live, 2);
      manifests.push(await backUp(series));
    }
    await load.stop();
    await live.kill();

    for (const { id, range } of manifests) {
      for (const target of targets) {
        const directory = join(folder, `${id}-${target}`);
        const main = join(directory, "data");
        await series.restore(id, { main });
        const restored = await startZooKeeper({ release: await fetchRelease(target), directory, dataDir: main });
        servers.push(restored);
        const srvr = await restored.fourLetterWord("srvr");
        const found = await readAll(restored);
        expectRecorded(found, load, BigInt(range.upTo), target);
        expect(srvr).toContain(`Zxid: ${range.upTo}\n`);
        // It counts the root twice.
        expect(srvr).toContain(`Node count: ${found.size + 1}\n`);
        await restored.stop();
      }
    }
  });

  it.each(LINES)("of any member of a %s ensemble restores into ensembles of %j", async (line, targets) => {
    const release = await fetchRelease(line);
    servers = await startEnsemble({ release, directory: join(folder, "live"), size: 3, separateLogs: true, ...LIVELY });
    const [first] = servers;
    if (first === undefined) throw new Error("no ensemble");
    const load = await startLoad(first, release);
    const taken: Array<[Series, Manifest]> = [];
    for (const member of servers) {
      await untilSnapshots(member, 2);
      const series = seriesOf(member);
      taken.push([series, await backUp(series)]);
    }
    await load.stop();
    for (const server of servers) await server.kill();

    for (const target of targets) {
      for (const [series, { id, range }] of taken) {
        const directory = join(folder, `${id}-${target}`);
        for (const member of ["1", "2", "3"]) await series.restore(id, { main: join(directory, member, "data") });
        const restored = await startEnsemble({ release: await fetchRelease(target), directory, size: 3 });
        servers.push(...restored);
        for (const member of restored) expectRecorded(await readAll(member), load, BigInt(range.upTo), target);
        for (const member of restored) await member.kill();
      }
    }
  });

  it("of a 3.4 server that never took a snapshot restores into 3.4, and into 3.5 if that is told to trust it", async () => {
    const release = await fetchRelease("3.4");
    const live = await startZooKeeper({ release, directory: join(folder, "live") });
    servers.push(live);
    const load = await startLoad(live, release);
    while (load.steady.writes < 200) await new Promise((resolve) => setTimeout(resolve, 10));
    const series = seriesOf(live);
    const { id, range, problems } = await backUp(series);
    await load.stop();
    expect(problems.map(({ code }) => code)).toContain("LOGS_ONLY");

    const start = async (line: "3.4" | "3.5", javaOptions: readonly string[] = []): Promise<ZooKeeperServer> => {
      const directory = join(folder, `restored-${line}-${javaOptions.length}`);
      const main = join(directory, "data");
      await series.restore(id, { main });
      const server = await startZooKeeper({ release: await fetchRelease(line), directory, dataDir: main, javaOptions });
      servers.push(server);
      return server;
    };
    await expect(start("3.5")).rejects.toThrow(/No snapshot found, but there are log entries/);
    for (const [line, options] of [["3.4"], ["3.5", ["-Dzookeeper.snapshot.trust.empty=true"]]] as const) {
      const server = await start(line, options);
      expect(await server.fourLetterWord("srvr")).toContain(`Zxid: ${range.upTo}\n`);
      expectRecorded(await readAll(server), load, BigInt(range.upTo), line);
    }
  });
});
