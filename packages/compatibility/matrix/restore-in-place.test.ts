import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSeries } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { createZooKeeperSource } from "@zk-backyp/source-zookeeper";
import {
  connectZooKeeper,
  fetchRelease,
  RELEASE_LINES,
  requireReleases,
  startEnsemble,
  type ZooKeeperServer,
} from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

describe.skipIf(!(await requireReleases()))("a restore in place", { timeout: 300_000 }, () => {
  let folder: string;
  let members: ZooKeeperServer[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-matrix-"));
    members = [];
  });
  afterEach(async () => {
    await Promise.all(members.map((member) => member.kill()));
    await rm(folder, { recursive: true });
  });

  const write = async (prefix: string): Promise<void> => {
    const [member] = members;
    const client = await connectZooKeeper(member?.connectString ?? "");
    for (let index = 0; index < 20; index += 1) await client.create(`/${prefix}-${index}`, Buffer.from(prefix));
    await client.close();
  };
  const stateOf = async (member: ZooKeeperServer): Promise<ReadonlyMap<string, string>> => {
    const client = await connectZooKeeper(member.connectString);
    const tree = await client.readTree();
    await client.close();
    return new Map([...tree].map(([path, { data, mzxid }]) => [path, `${data?.subarray(0, 20)} ${mzxid}`]));
  };
  const stopAll = (): Promise<unknown> => Promise.all(members.map((member) => member.stop()));
  const startAll = (): Promise<unknown> => Promise.all(members.map((member) => member.start()));

  it.each(RELEASE_LINES)("takes over a member of %s that was left out, with later snapshots", async (line) => {
    const release = await fetchRelease(line);
    members = await startEnsemble({ release, directory: join(folder, "ensemble"), size: 3 });
    const [first, second, third] = members;
    if (first === undefined || second === undefined || third === undefined) throw new Error("not three members");
    await write("early");
    const sink = createFsSink({ path: join(folder, "backups") });
    const backup = openSeries({ prefix: "zk", source: createZooKeeperSource({ zooCfg: first.configFile }), sink });
    const manifest = await backup.backup();
    const backedUp = await stateOf(first);
    for (const round of ["late", "later"]) {
      await write(round);
      await stopAll();
      await startAll();
    }
    await write("latest");
    await stopAll();
    const series = openSeries({ prefix: "zk", source: createZooKeeperSource(), sink });
    const epochs = new Set();
    for (const { dataDir } of [first, second]) {
      const { replaced } = await series.replace(manifest?.id ?? "", { main: dataDir });
      epochs.add(replaced.epoch);
    }
    expect(epochs.size).toBe(1);
    await Promise.all([first.start(), second.start()]);
    await third.start();
    for (const member of members) expect(await stateOf(member), `member ${member.id}`).toEqual(backedUp);
    // What they have on their disks, too.
    for (const member of members) {
      await member.kill();
      await member.start();
    }
    for (const member of members) expect(await stateOf(member), `member ${member.id}`).toEqual(backedUp);
    // The file that is there while data is replaced.
    await stopAll();
    const lock = join(third.logDirectory, "log.7fffffffffffffff");
    await writeFile(lock, "zk-backyp replaces the data here, or was ended while it did so.\n");
    await expect(third.start()).rejects.toThrow(/exit code/);
    await rm(lock);
    await startAll();
    for (const member of members) expect(await stateOf(member), `member ${member.id}`).toEqual(backedUp);
  });

  it.each(RELEASE_LINES)("of another backup on a member of %s has all end with the data of one", async (line) => {
    const release = await fetchRelease(line);
    members = await startEnsemble({ release, directory: join(folder, "ensemble"), size: 3 });
    const [first, second, third] = members;
    if (first === undefined || second === undefined || third === undefined) throw new Error("not three members");
    const client = await connectZooKeeper(first.connectString);
    // With this much, a leader would rather send transactions than the tree.
    for (let index = 0; index < 20; index += 1) await client.create(`/large-${index}`, Buffer.alloc(100_000));
    await client.close();
    const sink = createFsSink({ path: join(folder, "backups") });
    const backup = openSeries({ prefix: "zk", source: createZooKeeperSource({ zooCfg: first.configFile }), sink });
    const series = openSeries({ prefix: "zk", source: createZooKeeperSource(), sink });
    const made: { id: string; state: ReadonlyMap<string, string>; epoch: number }[] = [];
    for (const prefix of ["one", "other"]) {
      await write(prefix);
      const manifest = await backup.backup();
      made.push({ id: manifest?.id ?? "", state: await stateOf(first), epoch: 0 });
    }
    await stopAll();
    for (const one of made) {
      const { replaced } = await series.replace(one.id, { main: third.dataDir });
      one.epoch = Number(replaced.epoch);
    }
    const [lower, higher] = made.toSorted((one, other) => one.epoch - other.epoch);
    if (lower === undefined || higher === undefined) throw new Error("not two backups");
    await series.replace(higher.id, { main: third.dataDir });
    for (const { dataDir } of [first, second]) await series.replace(lower.id, { main: dataDir });
    // The two serve without the third, and nobody writes: they end where an epoch begins.
    await Promise.all([first.start(), second.start()]);
    await first.stop();
    await third.start();
    await first.start();
    for (const member of members) expect(await stateOf(member), `member ${member.id}`).toEqual(higher.state);
    await stopAll();
    await startAll();
    for (const member of members) expect(await stateOf(member), `member ${member.id}`).toEqual(higher.state);
  });

  it.each(RELEASE_LINES)("is not started by %s before it is done, nor an empty one", async (line) => {
    const release = await fetchRelease(line);
    members = await startEnsemble({ release, directory: join(folder, "ensemble"), size: 3 });
    await stopAll();
    const [first, , third] = members;
    if (first === undefined || third === undefined) throw new Error("not three members");
    await rm(first.snapshotDirectory, { recursive: true });
    await mkdir(first.snapshotDirectory);
    for (const { logDirectory } of [first, third]) {
      await writeFile(join(logDirectory, "log.7fffffffffffffff"), "zk-backyp replaces the data here.\n");
    }
    for (const member of [first, third]) await expect(member.start()).rejects.toThrow(/exit code/);
  });
});
