import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Manifest, openSeries, type Series } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import {
  connectZooKeeper,
  createRecordedWriter,
  monitMissing,
  requirePart,
  startEnsemble,
  startZooKeeper,
  writeSampleData,
  type ZooKeeperClient,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type ColdOptions, createZooKeeperSource } from "../src/index.ts";
import {
  type MonitMember,
  type MonitMembers,
  startUnderMonit,
  type Watch,
  watchMembers,
} from "./ensemble-under-monit.ts";
import { assertTreeIsRecorded, startRestored } from "./restored-server.ts";

/**
 * A 3.8.0 that joins its ensemble again, and is dropped by the leader in the middle, writes what it missed to its log once
 * more when it joins the next time. That log is refused; here it is not what is tested. The more it missed the more often.
 */
const WRITES_PER_SECOND = 100;

const canRun = requirePart(zooKeeperMissing()) && requirePart(monitMissing());

describe.skipIf(!canRun)("cold backups of an ensemble under monit", () => {
  let folder: string;
  let all: MonitMembers;
  let members: readonly MonitMember[];
  let alone: MonitMember;
  let watch: Watch;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-ensemble-"));
    const servers = await startEnsemble({ directory: join(folder, "ensemble"), size: 3, separateLogs: true });
    servers.push(await startZooKeeper({ directory: join(folder, "alone") }));
    const client = await connectZooKeeper(servers[0]?.connectString ?? "");
    await writeSampleData(client);
    await client.close();
    await Promise.all(servers.map((server) => server.stop()));
    all = await startUnderMonit(join(folder, "monit"), servers);
    const [last] = all.members.slice(-1);
    if (last === undefined) throw new Error("no servers");
    alone = last;
    members = all.members.slice(0, 3);
    await all.untilServing();
    watch = watchMembers(members);
  });
  afterEach(async () => {
    // A test that failed leaves the next one an ensemble all the same.
    await all.untilServing();
  });
  afterAll(async () => {
    await watch?.stop();
    await all?.end();
    await rm(folder, { recursive: true, force: true });
  });

  const leader = async (): Promise<MonitMember> => withRole("leader");
  const follower = async (): Promise<MonitMember> => withRole("follower");
  async function withRole(role: string): Promise<MonitMember> {
    for (const member of members) if ((await member.role()) === role) return member;
    throw new Error(`no ${role}`);
  }
  const without = (member: MonitMember): MonitMember[] => members.filter((one) => one !== member);
  const connectTo = (some: readonly MonitMember[]): string => some.map(({ server }) => server.connectString).join();

  const optionsFor = (member: MonitMember, cold: Partial<ColdOptions> = {}) => ({
    zooCfg: member.server.configFile,
    mode: "cold" as const,
    cold: {
      control: member.control,
      stayStoppedFile: join(folder, "stay-stopped"),
      ...(member === alone ? {} : { members: members.map(({ server }) => server.connectString) }),
      ...cold,
    },
  });
  function seriesOf(member: MonitMember, cold: Partial<ColdOptions> = {}): Series {
    const sink = createFsSink({ path: join(folder, "backups") });
    return openSeries({ prefix: member.service, source: createZooKeeperSource(optionsFor(member, cold)), sink });
  }

  async function backUp(series: Series): Promise<Manifest> {
    const manifest = await series.backup();
    if (manifest === null) throw new Error("nothing was backed up");
    await series.verify(manifest.id);
    return manifest;
  }

  async function expectUntouched(member: MonitMember, act: () => Promise<unknown>): Promise<void> {
    const before = await member.pid();
    await act();
    expect(await member.pid()).toBe(before);
    expect(await member.role()).not.toBeNull();
    expect(await leftBy(member)).toEqual([]);
  }

  async function leftBy({ server }: MonitMember): Promise<string[]> {
    const places = [server.dataDir, server.dataLogDir].map((path) => join(path, ".zk-backyp"));
    const names = await Promise.all(places.map((place) => readdir(place).catch(() => [])));
    return names.flat().filter((name) => name.startsWith("links-") || name.startsWith("stop.json"));
  }

  // First what comes without load: see WRITES_PER_SECOND.
  it("stops no node that the quorum needs", async () => {
    const member = await follower();
    const { service } = await leader();
    const [down] = without(member).filter((one) => one.service !== service);
    if (down === undefined) throw new Error("no other follower");
    const control = down.opened;
    const signal = AbortSignal.timeout(30_000);
    await control.stop({ signal, backInMs: 60_000 });
    await expect.poll(async () => (await control.status({ signal })).state, { timeout: 20_000 }).toBe("stopped");
    try {
      await expectUntouched(member, () =>
        expect(seriesOf(member).backup()).rejects.toMatchObject({
          code: "ERR_STOP_REFUSED",
          message: expect.stringMatching(/is not stopped: .*voters would be left/),
          details: { reason: "quorum" },
        }),
      );

      // The one that is down already is backed up as it is.
      const manifest = await backUp(seriesOf(down));
      expect(manifest.facts).toMatchObject({ downtime: null, stop: { wasStopped: true }, server: null });
      expect((await control.status({ signal })).state).toBe("stopped");
      expect(await down.role()).toBeNull();
    } finally {
      await control.start({ signal });
      await all.untilServing();
    }
  });

  it("stops no server that nobody stands in for, unless that is allowed", async () => {
    await expectUntouched(alone, () =>
      expect(seriesOf(alone).backup()).rejects.toMatchObject({
        code: "ERR_STOP_REFUSED",
        message: expect.stringMatching(/it is standalone, and nobody would serve meanwhile/),
        details: { reason: "standalone" },
      }),
    );
    const before = await alone.pid();
    expect(await backUp(seriesOf(alone, { allowStandalone: true }))).toMatchObject({ facts: { mode: "cold" } });
    expect(await alone.pid()).not.toBe(before);
  });

  it("waits for a member that is down for its own backup", async () => {
    const [first, second] = without(await leader());
    if (first === undefined || second === undefined) throw new Error("no followers");
    const daemon = startDaemon(optionsFor(second), join(folder, "daemons"), second.service);
    try {
      await daemon.ready;
      const series = seriesOf(first);
      series.events.on("backup:step", ({ step }) => {
        if (step === "stopped") daemon.begin();
      });
      await backUp(series);
      expect(await daemon.result).toEqual({ id: expect.any(String) });
    } finally {
      daemon.kill();
    }
  });

  it("never has two members down, when the daemons of all three begin at once", async () => {
    const pids = await Promise.all(members.map((member) => member.pid()));
    const began = watchMembers(members);
    const daemons = members.map((member) =>
      startDaemon(optionsFor(member, { ifLeader: "proceed" }), join(folder, "daemons"), member.service),
    );
    try {
      for (const daemon of daemons) await daemon.ready;
      for (const daemon of daemons) daemon.begin();
      const results = await Promise.all(daemons.map(({ result }) => result));
      await began.stop();
      expect(began.worst, "members down at the same time").toBe(1);
      const done = results.filter(({ id }) => typeof id === "string");
      expect(done.length).toBeGreaterThan(0);
      for (const result of results) {
        if (result.id === undefined) expect(result.code).toMatch(/^(ERR_BUSY|ERR_STOP_REFUSED)$/);
      }
      for (const [index, member] of members.entries()) {
        const wasStopped = results[index]?.id !== undefined;
        expect(began.wasDown(member), `${member.service}: ${JSON.stringify(results[index])}`).toBe(wasStopped);
        expect((await member.pid()) !== pids[index]).toBe(wasStopped);
        expect(await leftBy(member)).toEqual([]);
      }
    } finally {
      await began.stop();
      for (const daemon of daemons) daemon.kill();
    }
  });

  it("takes a follower while clients of the others write on, and holds what they wrote", async () => {
    const member = await follower();
    const before = await member.pid();
    const writer = createRecordedWriter({
      connectString: connectTo([await leader()]),
      rate: WRITES_PER_SECOND,
      root: "/follower",
    });
    await writer.start();
    try {
      const series = seriesOf(member);
      const writes: Record<string, number> = {};
      let appliedBefore = 0n;
      series.events.on("backup:step", ({ step, facts }) => {
        writes[step] = writer.writes;
        if (step === "checked") appliedBefore = BigInt(String(facts.zxid));
      });
      const manifest = await backUp(series);
      expect(manifest.facts).toMatchObject({ mode: "cold", stop: { role: "follower", spareVoters: 0 } });
      expect(await member.pid()).not.toBe(before);
      expect(await leftBy(member)).toEqual([]);
      expect(writes.serving, "the others wrote while it was down").toBeGreaterThan(writes.stopped ?? 0);

      const upTo = BigInt(manifest.range.upTo);
      expect(upTo).toBeGreaterThanOrEqual(appliedBefore);
      const restored = await startRestored(series, manifest, join(folder, "restored"), { separateLogs: true });
      expect(restored.zxid).toBe(manifest.range.upTo);
      expect(writer.interrupted, "no client was disturbed").toBeUndefined();
      assertTreeIsRecorded(restored, writer, upTo);
    } finally {
      await writer.stop();
    }
  });

  it("leaves the leader alone, says so, and fails once that was so too often in a row", async () => {
    const member = await leader();
    const series = seriesOf(member, { maxSkippedRuns: 2 });
    const skipped: string[] = [];
    series.events.on("backup:skipped", ({ reason, message }) => skipped.push(`${reason}: ${message}`));
    await expectUntouched(member, async () => {
      expect(await series.backup()).toBeNull();
      expect(await series.backup()).toBeNull();
      await expect(series.backup()).rejects.toMatchObject({
        code: "ERR_STOP_REFUSED",
        message: expect.stringMatching(
          /it is the leader.* So it was in 3 runs in a row, since .*: there are no backups/,
        ),
      });
    });
    expect(skipped).toEqual([1, 2].map(() => expect.stringMatching(/^leader: .* it is the leader/)));
  });

  it("hands the leader's backup over to a command, and fails as that does", async () => {
    const member = await leader();
    const mark = join(folder, "handed-over");
    const series = seriesOf(member, { ifLeader: { handOver: ["/bin/sh", "-c", `: >${mark}`] } });
    const skipped: string[] = [];
    series.events.on("backup:skipped", ({ reason }) => skipped.push(reason));
    await expectUntouched(member, async () => {
      expect(await series.backup()).toBeNull();
      expect({ skipped, isRun: existsSync(mark) }).toEqual({ skipped: ["handed-over"], isRun: true });
      const failing = seriesOf(member, {
        ifLeader: { handOver: ["/bin/sh", "-c", "echo no other member >&2; exit 3"] },
      });
      await expect(failing.backup()).rejects.toMatchObject({
        code: "ERR_NODE_CONTROL",
        message: expect.stringMatching(/handing over by \/bin\/sh failed: exit code 3: no other member/),
      });
    });
  });

  it("takes the leader where it is told to: others lead on, and nothing that was acknowledged is lost", async () => {
    const member = await leader();
    const others = without(member);
    const ledger = await keepLedger(connectTo(others));
    const skipsFile = join(member.server.dataDir, ".zk-backyp", "skipped-runs.json");
    expect(await seriesOf(member, { maxSkippedRuns: 100 }).backup()).toBeNull();
    expect(existsSync(skipsFile)).toBe(true);
    let acknowledgedBefore = 0n;
    try {
      const series = seriesOf(member, { ifLeader: "proceed" });
      series.events.on("backup:step", ({ step }) => {
        if (step === "stopping") acknowledgedBefore = ledger.last();
      });
      const manifest = await backUp(series);
      const atBackup = ledger.entries.length;
      await expect.poll(() => ledger.entries.length, { timeout: 20_000 }).toBeGreaterThan(atBackup + 20);
      await ledger.stop();
      expect(await member.role()).toBe("follower");
      expect(others.map((one) => one.service)).toContain((await leader()).service);
      expect(manifest.facts).toMatchObject({ stop: { role: "leader" } });
      expect(existsSync(skipsFile), "the skipped runs are counted anew").toBe(false);

      const upTo = BigInt(manifest.range.upTo);
      expect(upTo).toBeGreaterThanOrEqual(acknowledgedBefore);
      const restored = await startRestored(series, manifest, join(folder, "restored"), { separateLogs: true });
      for (const { path, zxid } of ledger.entries) {
        if (zxid <= upTo) expect(restored.tree.has(path), `${path} in the backup`).toBe(true);
      }
      for (const one of members) {
        const client = await connectZooKeeper(one.server.connectString);
        // A write of this session, so that what follows is no older view.
        await client.create(`/seen-by-${one.service}`);
        const names = new Set(await client.getChildren(ledger.root));
        await client.close();
        const lost = ledger.entries.filter(({ path }) => !names.has(path.slice(ledger.root.length + 1)));
        expect(lost, `acknowledged, but not on ${one.service}`).toEqual([]);
      }
    } finally {
      await ledger.stop();
    }
  });

  it("never had two members down in all of this", () => {
    expect(watch.worst).toBe(1);
    expect(watch.looks).toBeGreaterThan(500);
  });
});

interface Ledger {
  readonly root: string;
  /** What was acknowledged. */
  readonly entries: { readonly path: string; readonly zxid: bigint }[];
  last(): bigint;
  stop(): Promise<void>;
}

/** Creates znodes, one after the other, over every election, and notes those that were acknowledged. */
async function keepLedger(connectString: string): Promise<Ledger> {
  const root = "/ledger";
  let client: ZooKeeperClient = await connectZooKeeper(connectString);
  await client.create(root);
  const entries: { path: string; zxid: bigint }[] = [];
  let isOver = false;
  const writing = (async () => {
    for (let number = 0; !isOver; number += 1) {
      const path = `${root}/${number}`;
      try {
        const { zxid } = await client.create(path, Buffer.from(path));
        entries.push({ path, zxid });
        await sleep(1000 / WRITES_PER_SECOND);
      } catch {
        // Nobody knows what came of this one.
        client.abandon();
        client = await connectZooKeeper(connectString, { timeoutMs: 30_000 });
      }
    }
    await client.close();
  })();
  return {
    root,
    entries,
    last: () => entries.at(-1)?.zxid ?? 0n,
    async stop() {
      isOver = true;
      await writing;
    },
  };
}

interface DaemonResult {
  readonly id?: string | null;
  readonly code?: string;
  readonly message?: string;
}

function startDaemon(options: object, backups: string, prefix: string) {
  const script = fileURLToPath(new URL("cold-daemon.ts", import.meta.url));
  const child: ChildProcess = spawn(process.execPath, [script, JSON.stringify(options), backups, prefix], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]();
  const next = async <Line>(): Promise<Line> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`${prefix}'s daemon ended without a word`);
    return JSON.parse(value) as Line;
  };
  const ready = next<{ ready: true }>();
  return {
    ready,
    begin: () => void child.stdin?.write("begin\n"),
    result: ready.then(() => next<DaemonResult>()),
    kill: () => void child.kill("SIGKILL"),
  };
}
