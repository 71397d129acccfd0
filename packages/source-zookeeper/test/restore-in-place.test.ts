import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Manifest, openSeries, type Series } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import {
  connectZooKeeper,
  requirePart,
  startEnsemble,
  startZooKeeper,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createZooKeeperSource } from "../src/index.ts";

/** What a client sees: data, and which transaction made it what it is. */
type State = ReadonlyMap<string, string>;

async function stateOf(server: ZooKeeperServer): Promise<State> {
  const client = await connectZooKeeper(server.connectString);
  try {
    const tree = await client.readTree();
    return new Map([...tree].map(([path, { data, mzxid }]) => [path, `${data?.subarray(0, 20)} ${mzxid}`]));
  } finally {
    await client.close();
  }
}

async function write(server: ZooKeeperServer, names: readonly string[]): Promise<void> {
  const client = await connectZooKeeper(server.connectString);
  for (const name of names) await client.create(`/${name}`, Buffer.from(`of ${name}`));
  await client.close();
}

function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
}

/** So much that a leader would rather send another member transactions than the tree, if it takes these to be all it lacks. */
async function writeMuch(server: ZooKeeperServer): Promise<void> {
  const client = await connectZooKeeper(server.connectString);
  for (const name of numbered("large", 20)) await client.create(`/${name}`, Buffer.alloc(100_000, name));
  await client.close();
}

async function zxidOf(server: ZooKeeperServer): Promise<bigint> {
  return BigInt(/^Zxid: (0x\S+)/m.exec(await server.fourLetterWord("srvr"))?.[1] ?? 0);
}

/** Whether a server answers a client that has seen this zxid: one that is refused is disconnected without a word. */
async function answers({ clientPort }: ZooKeeperServer, lastZxidSeen: bigint): Promise<boolean> {
  // Length, protocol version, last zxid, timeout in ms, no session yet, and the 16 bytes of its password.
  const request = Buffer.alloc(4 + 4 + 8 + 4 + 8 + 4 + 16);
  request.writeInt32BE(request.byteLength - 4);
  request.writeBigInt64BE(lastZxidSeen, 8);
  request.writeInt32BE(10_000, 16);
  request.writeInt32BE(16, 28);
  const socket = connect(clientPort, "127.0.0.1");
  socket.setTimeout(20_000, () => socket.destroy(new Error("no answer")));
  socket.write(request);
  try {
    for await (const _ of socket) return true;
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNRESET") return false;
    throw error;
  } finally {
    socket.destroy();
  }
}

async function roleOf(server: ZooKeeperServer): Promise<string> {
  const answer = await server.fourLetterWord("srvr").catch(() => "");
  return /^Mode: (\S+)/m.exec(answer)?.[1] ?? "none";
}

describe.skipIf(!requirePart(zooKeeperMissing()))("a restore in place", { timeout: 240_000 }, () => {
  let folder: string;
  let members: ZooKeeperServer[];
  let series: Series;
  const source = createZooKeeperSource();

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-in-place-"));
    members = [];
    series = openSeries({ prefix: "zk", source, sink: createFsSink({ path: join(folder, "backups") }) });
  });
  afterEach(async () => {
    await Promise.all(members.map((member) => member.kill()));
    await rm(folder, { recursive: true });
  });

  const one = (id: number): ZooKeeperServer => {
    const member = members[id - 1];
    if (member === undefined) throw new Error(`there is no member ${id}`);
    return member;
  };
  const backUp = async (server: ZooKeeperServer): Promise<Manifest> => {
    const own = createZooKeeperSource({ zooCfg: server.configFile });
    const manifest = await openSeries({
      prefix: "zk",
      source: own,
      sink: createFsSink({ path: join(folder, "backups") }),
    }).backup();
    if (manifest === null) throw new Error("nothing was backed up");
    return manifest;
  };
  const replace = async (server: ZooKeeperServer, id: string): Promise<number> => {
    const { dataDir, dataLogDir } = server;
    const targets = dataDir === dataLogDir ? { main: dataDir } : { main: dataDir, log: dataLogDir };
    return Number((await series.replace(id, targets)).replaced.epoch);
  };
  /** Starts members that may not serve before others are there. */
  const launch = (...servers: ZooKeeperServer[]): Promise<unknown> => {
    const started = Promise.all(servers.map((server) => server.start()));
    started.catch(() => {});
    return started;
  };
  const leaderOf = async (servers: readonly ZooKeeperServer[]): Promise<ZooKeeperServer> => {
    for (const server of servers) if ((await roleOf(server)) === "leader") return server;
    throw new Error("nobody leads");
  };
  /** All serve, and what a client sees is the same everywhere: this. */
  const expectEverywhere = async (state: State): Promise<void> => {
    for (const member of members) expect(await stateOf(member), `member ${member.id}`).toEqual(state);
  };
  /** An ensemble that goes on after its backup. */
  const ensembleWithHistory = async (separateLogs = false): Promise<{ manifest: Manifest; backedUp: State }> => {
    members = await startEnsemble({ directory: join(folder, "ensemble"), size: 3, separateLogs });
    await write(one(1), numbered("early", 40));
    const backedUp = await stateOf(one(1));
    const manifest = await backUp(one(1));
    await write(one(2), numbered("late", 30));
    return { manifest, backedUp };
  };

  it.each([false, true])("brings all members back, with logs apart: %s", async (separateLogs) => {
    const { manifest, backedUp } = await ensembleWithHistory(separateLogs);
    const lastSeen = await zxidOf(one(3));
    await Promise.all(members.map((member) => member.stop()));
    const epochs = [];
    for (const member of members) epochs.push(await replace(member, manifest.id));
    expect(new Set(epochs).size).toBe(1);
    await launch(...members);
    await expectEverywhere(backedUp);
    for (const member of members) {
      expect(await zxidOf(member)).toBeGreaterThan(lastSeen);
      expect((await readdir(member.dataDir)).filter((name) => !/^version-2|^myid$|^log$/.test(name))).toEqual([]);
      expect(await member.log()).not.toContain("digests are not matching");
    }
    // What it is now can be backed up, and is whole.
    await write(one(1), ["later"]);
    const again = await backUp(one(2));
    await expect(series.verify(again.id)).resolves.toMatchObject({ manifest: { verified: true } });
    expect(again.facts).toMatchObject({ epochs: { current: `${Number(epochs[0]) + 1}` } });
  });

  it("brings a member back alone, that others with old data do not overwrite, nor it them; then the others", async () => {
    const { manifest, backedUp } = await ensembleWithHistory();
    const old = await stateOf(one(3));
    const first = await leaderOf(members);
    const [second = one(2), third = one(3)] = members.filter((member) => member !== first);
    await first.stop();
    const epoch = await replace(first, manifest.id);
    const restored = await filesIn(first.snapshotDirectory);
    const firstServes = launch(first);
    await sleep(8_000);
    expect(await roleOf(first)).toBe("none");
    expect(await stateOf(second)).toEqual(old);
    await write(third, ["while-one-was-restored"]);
    for (const [name, bytes] of restored) {
      expect((await readFile(join(first.snapshotDirectory, name))).equals(bytes), name).toBe(true);
    }
    // Without the second, the first leads, and the third takes its data.
    await second.stop();
    await firstServes;
    expect(await stateOf(first)).toEqual(backedUp);
    expect(await stateOf(third)).toEqual(backedUp);
    await write(third, ["after-the-restore"]);
    const now = await stateOf(first);
    await replace(second, manifest.id);
    await launch(second);
    expect(await stateOf(second)).toEqual(now);
    // It has joined those that were restored. Done on it, too, it does not stand in their way.
    await third.stop();
    expect(await replace(third, manifest.id)).toBe(epoch);
    await launch(third);
    await expectEverywhere(now);
  });

  describe("takes a member with later history over to the restored data", () => {
    const restoreTwo = async (manifest: Manifest, third: ZooKeeperServer): Promise<void> => {
      await Promise.all(members.map((member) => member.stop()));
      for (const member of members.filter((candidate) => candidate !== third)) await replace(member, manifest.id);
    };
    const joinAll = async (backedUp: State): Promise<void> => {
      await launch(...members);
      await expectEverywhere(backedUp);
      // What it has on the disk counts, too.
      for (const member of members) {
        await member.kill();
        await launch(member);
      }
      await expectEverywhere(backedUp);
    };

    it("that comes before anything was written", async () => {
      const { manifest, backedUp } = await ensembleWithHistory();
      await restoreTwo(manifest, one(3));
      await joinAll(backedUp);
    });

    it("that was restarted meanwhile, and so has snapshots of later times", async () => {
      const { manifest, backedUp } = await ensembleWithHistory();
      for (const round of [1, 2]) {
        for (const member of members) await member.stop();
        await launch(...members);
        await write(one(3), numbered(`round-${round}`, 10));
      }
      await restoreTwo(manifest, one(3));
      await joinAll(backedUp);
    });

    it("that was just elected, and so ends where an epoch begins", async () => {
      const { manifest, backedUp } = await ensembleWithHistory();
      await Promise.all(members.map((member) => member.stop()));
      await launch(...members);
      const third = await leaderOf(members);
      await restoreTwo(manifest, third);
      await joinAll(backedUp);
    });

    it("that was just elected, where there is so much data that others are sent transactions", async () => {
      members = await startEnsemble({ directory: join(folder, "ensemble"), size: 3 });
      await writeMuch(one(1));
      const backedUp = await stateOf(one(1));
      const manifest = await backUp(one(1));
      await write(one(2), numbered("late", 30));
      await Promise.all(members.map((member) => member.stop()));
      await launch(...members);
      const third = await leaderOf(members);
      await restoreTwo(manifest, third);
      await joinAll(backedUp);
    });

    it("that was just elected, and comes when there were sessions already", async () => {
      const { manifest, backedUp } = await ensembleWithHistory();
      await Promise.all(members.map((member) => member.stop()));
      await launch(...members);
      const third = await leaderOf(members);
      await restoreTwo(manifest, third);
      const others = members.filter((member) => member !== third);
      await launch(...others);
      const [first = third] = others;
      await write(first, ["new"]);
      expect(await stateOf(first)).not.toEqual(backedUp);
      const now = await stateOf(first);
      await launch(third);
      await expectEverywhere(now);
    });
  });

  describe("from two backups", () => {
    interface Restored {
      readonly state: State;
      readonly epoch: number;
      readonly members: readonly ZooKeeperServer[];
    }
    /** Two backups of one ensemble, restored on one member and on two of them; the one with the lower epoch first. */
    const restoreBoth = async (onPair: "lower" | "higher"): Promise<{ lower: Restored; higher: Restored }> => {
      members = await startEnsemble({ directory: join(folder, "ensemble"), size: 3 });
      await writeMuch(one(1));
      const made: { id: string; state: State; epoch: number }[] = [];
      for (const name of ["first", "second"]) {
        await write(one(1), numbered(name, 10));
        const state = await stateOf(one(1));
        const { id } = await backUp(one(1));
        made.push({ id, state, epoch: 0 });
      }
      await write(one(1), ["late"]);
      await Promise.all(members.map((member) => member.stop()));
      // Before any start, another backup may be chosen.
      for (const backup of made) backup.epoch = await replace(one(1), backup.id);
      const [low, high] = made.toSorted((one, other) => one.epoch - other.epoch);
      if (low === undefined || high === undefined) throw new Error("not two backups");
      const [forLow, forHigh] = onPair === "lower" ? [members.slice(0, 2), [one(3)]] : [[one(3)], members.slice(0, 2)];
      for (const member of forLow) expect(await replace(member, low.id)).toBe(low.epoch);
      for (const member of forHigh) expect(await replace(member, high.id)).toBe(high.epoch);
      return { lower: { ...low, members: forLow }, higher: { ...high, members: forHigh } };
    };
    const expectOnDisks = async (state: State): Promise<void> => {
      for (const member of members) {
        await member.kill();
        await launch(member);
      }
      await expectEverywhere(state);
      for (const member of members) expect(await member.log()).not.toContain("digests are not matching");
    };

    it("brings all the same data where members with the higher epoch come first", async () => {
      const { lower, higher } = await restoreBoth("higher");
      expect(higher.epoch).toBeGreaterThan(lower.epoch + 1);
      await launch(...higher.members);
      await launch(...lower.members);
      await expectEverywhere(higher.state);
      await expectOnDisks(higher.state);
    });

    it("brings all the same data where they start together", async () => {
      const { lower, higher } = await restoreBoth("higher");
      await launch(...lower.members, ...higher.members);
      await expectEverywhere(higher.state);
      await expectOnDisks(higher.state);
    });

    it("keeps one with the higher epoch apart from those that serve, until it leads: then all have its data", async () => {
      const { lower, higher } = await restoreBoth("lower");
      const [first = one(1), second = one(1)] = lower.members;
      // No client connects, so they end where an epoch begins.
      await launch(first, second);
      const serves = launch(...higher.members);
      await sleep(8_000);
      expect(await Promise.all(higher.members.map(roleOf))).toEqual(["none"]);
      expect((await Promise.all(lower.members.map(roleOf))).sort()).toEqual(["follower", "leader"]);
      await first.stop();
      await serves;
      await launch(first);
      await expectEverywhere(higher.state);
      await expectOnDisks(higher.state);
    });

    it("that is chosen when another one serves has a higher epoch on all members, whether restored or joined", async () => {
      const { manifest } = await ensembleWithHistory();
      const later = await stateOf(one(1));
      const { id } = await backUp(one(1));
      await Promise.all(members.map((member) => member.stop()));
      const epochs = [await replace(one(1), manifest.id), await replace(one(2), manifest.id)];
      await launch(...members);
      await Promise.all(members.map((member) => member.stop()));
      for (const member of members) epochs.push(await replace(member, id));
      expect(epochs.map((epoch) => Math.floor(epoch / 1_000_000))).toEqual([1, 1, 2, 2, 2]);
      expect(new Set(epochs).size).toBe(2);
      await launch(...members);
      await expectEverywhere(later);
    });
  });

  it("is not destroyed by empty members that start first, and wins over them", async () => {
    const { manifest, backedUp } = await ensembleWithHistory();
    await Promise.all(members.map((member) => member.stop()));
    for (const { snapshotDirectory } of [one(2), one(3)]) await rm(snapshotDirectory, { recursive: true });
    await replace(one(1), manifest.id);
    const restored = await filesIn(one(1).snapshotDirectory);
    await launch(one(2), one(3));
    expect((await stateOf(one(2))).size).toBe(1);
    const serves = launch(one(1));
    await sleep(6_000);
    expect(await roleOf(one(1))).toBe("none");
    for (const [name, bytes] of restored) {
      expect((await readFile(join(one(1).snapshotDirectory, name))).equals(bytes), name).toBe(true);
    }
    await one(3).stop();
    await serves;
    await launch(one(3));
    await expectEverywhere(backedUp);
  });

  it("refuses no client that was connected before, from the first moment on", async () => {
    const { manifest, backedUp } = await ensembleWithHistory();
    const lastSeen = await zxidOf(one(2));
    await Promise.all(members.map((member) => member.stop()));
    for (const member of members) await replace(member, manifest.id);
    await launch(...members);
    for (const member of members) expect(await answers(member, lastSeen), `member ${member.id}`).toBe(true);
    await expectEverywhere(backedUp);
  });

  it("brings all members back that have lost everything, also with one that others have joined since", async () => {
    const { manifest, backedUp } = await ensembleWithHistory();
    await Promise.all(members.map((member) => member.kill()));
    for (const { snapshotDirectory } of members) await rm(snapshotDirectory, { recursive: true });
    await replace(one(2), manifest.id);
    const serves = launch(one(2));
    await replace(one(3), manifest.id);
    await launch(one(3));
    await serves;
    await replace(one(1), manifest.id);
    await launch(one(1));
    await expectEverywhere(backedUp);
  });

  it("done twice is above the first time", async () => {
    const { manifest, backedUp } = await ensembleWithHistory();
    const epochs: number[] = [];
    for (const round of [0, 1]) {
      await Promise.all(members.map((member) => member.stop()));
      for (const member of members.toReversed()) epochs[round] = await replace(member, manifest.id);
      await launch(...members);
      await expectEverywhere(backedUp);
      await write(one(1), ["after"]);
    }
    expect(epochs[1]).toBe(Number(epochs[0]) + 1_000_000);
  });

  it("is for a standalone server, too, whose clients are not refused", async () => {
    const server = await startZooKeeper({ directory: join(folder, "alone") });
    members = [server];
    await write(server, numbered("early", 10));
    const manifest = await backUp(server);
    const backedUp = await stateOf(server);
    await write(server, numbered("late", 10));
    const lastSeen = await zxidOf(server);
    await server.stop();
    // As a restore does it that raises nothing: the client is refused.
    await rm(server.snapshotDirectory, { recursive: true });
    await series.restore(manifest.id, { main: server.dataDir });
    await launch(server);
    expect(await answers(server, lastSeen)).toBe(false);
    await server.stop();
    await replace(server, manifest.id);
    await launch(server);
    expect(await answers(server, lastSeen)).toBe(true);
    expect(await stateOf(server)).toEqual(backedUp);
  });
});

async function filesIn(directory: string): Promise<Map<string, Buffer>> {
  const names = await readdir(directory);
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(directory, name))] as const)));
}
