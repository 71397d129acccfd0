import { setTimeout as sleep } from "node:timers/promises";
import { BackypError, type Candidacy, openSeries, type Sink, silentLogger, timeOfBackupId } from "@zk-backyp/core";
import { memorySink, type ScriptedSource, scriptedSource } from "@zk-backyp/core/testing";
import { EventEmitter } from "eventemitter3";
import { afterEach, describe, expect, it } from "vitest";
import type { SeriesConfig } from "../config.ts";
import type { DaemonEvents, RunRecord } from "./daemon-view.ts";
import { createDaemonLogger } from "./log.ts";
import { RunHistory } from "./run-history.ts";
import { SeriesRunner } from "./series-runner.ts";
import { Turns } from "./turns.ts";

interface Made {
  readonly runner: SeriesRunner;
  readonly records: RunRecord[];
  readonly events: EventEmitter<DaemonEvents>;
  readonly source: ScriptedSource;
  readonly lines: () => readonly Record<string, unknown>[];
  /** Resolves to the next record of that kind. */
  next(kind: RunRecord["kind"]): Promise<RunRecord>;
}

/** In seconds; so long that no slot comes while a test runs. */
const YEAR = 31_536_000;

const runners: SeriesRunner[] = [];
let made = 0;

afterEach(async () => {
  for (const runner of runners.splice(0)) await runner.close(true);
});

async function make(
  config: Partial<SeriesConfig>,
  parts: { sink?: Sink; source?: ScriptedSource } = {},
): Promise<Made> {
  const { sink = memorySink(), source = scriptedSource({ a: "one", b: "two" }) } = parts;
  // Of its own, since a run lock is the host's.
  const prefix = `unit-${process.pid}-${made++}`;
  const series = openSeries({ prefix, source, sink, logger: silentLogger });
  const close = async (): Promise<void> => {
    await source.close();
    await sink.close();
  };
  const events = new EventEmitter<DaemonEvents>();
  const records: RunRecord[] = [];
  events.on("run:end", (_, record) => records.push(record));
  let text = "";
  const logger = createDaemonLogger(
    "info",
    (chunk) => {
      text += chunk;
    },
    false,
  );
  const full: SeriesConfig = { source: { use: "scripted" }, sink: { use: "memory" }, ...config };
  const runner = new SeriesRunner({
    name: "zk",
    config: full,
    opened: { series, source, sink, prefix, retention: full.retention, [Symbol.asyncDispose]: close },
    history: await RunHistory.open(null, "zk", silentLogger),
    logger,
    events,
    host: "node-a",
    turns: new Turns(1),
    heldUntil: () => null,
    restoreCommand: (id) => `restore ${id}`,
  });
  runners.push(runner);
  return {
    runner,
    records,
    events,
    source,
    lines: () =>
      text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line)),
    next: (kind) =>
      new Promise((resolve) => {
        const listener = (_: string, record: RunRecord): void => {
          if (record.kind !== kind) return;
          events.off("run:end", listener);
          resolve(record);
        };
        events.on("run:end", listener);
      }),
  };
}

/** In a moment at the latest: nothing here waits for a clock. */
async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    if (tries > 500) throw new Error("this did not come");
    await sleep(20);
  }
}

async function begin({ runner }: Made): Promise<void> {
  await runner.place();
  runner.start();
}

function candidacy(state: Candidacy["state"]): Candidacy & { become(next: Candidacy["state"]): void; stepped: number } {
  const listeners: (() => void)[] = [];
  const self = {
    state,
    // Long enough ago for what is unreachable to count as down.
    since: new Date(Date.now() - 120_000),
    holder: { host: "node-b" },
    problem: state === "unreachable" ? "nobody answers" : null,
    stepped: 0,
    async confirm() {
      if (self.state !== "elected") throw new BackypError("ERR_NOT_ELECTED", "node-b is elected");
    },
    async stepBack() {
      self.stepped += 1;
    },
    onChange: (listener: () => void) => void listeners.push(listener),
    async close() {},
    become(next: Candidacy["state"]) {
      self.state = next;
      for (const listener of listeners) listener();
    },
  };
  return self;
}

describe("a series in the daemon", () => {
  it("is backed up at once where there is no backup yet, and then when it is due", async () => {
    const it = await make({ schedule: { interval: YEAR } });
    const first = it.next("backup");
    await begin(it);
    const record = await first;
    expect(record).toMatchObject({ kind: "backup", trigger: "first", outcome: "ok", error: null, downtimeMs: null });
    expect(record.slot).not.toBeNull();
    const status = it.runner.status();
    expect(status).toMatchObject({ health: "ok", current: null, failuresInARow: 0, schedule: "every 365 d" });
    expect(status.lastGood?.id).toBe(record.backupId);
    expect(status.totals).toMatchObject({ backups: 1, damaged: 0 });
    await until(() => it.runner.status().next !== null);
    const next = it.runner.status().next;
    expect(Date.parse(next?.slot ?? "") - (timeOfBackupId(record.backupId ?? "") ?? 0)).toBe(YEAR * 1000);
    const [backup] = await it.runner.backups();
    expect(backup).toMatchObject({ id: record.backupId, verified: true, restoreCommand: `restore ${record.backupId}` });
  });

  it("tells a failure with what to do, tries again later, and is well again", async () => {
    const source = scriptedSource({ a: "one" });
    source.failures.push(new BackypError("ERR_SOURCE_UNAVAILABLE", "no such directory"));
    const it = await make({ schedule: { interval: YEAR } }, { source });
    const first = it.next("backup");
    await begin(it);
    expect(await first).toMatchObject({
      outcome: "failed",
      error: { code: "ERR_SOURCE_UNAVAILABLE", message: "no such directory", remedy: expect.stringContaining("check") },
    });
    expect(it.runner.status()).toMatchObject({ health: "failing", failuresInARow: 1 });
    await until(() => it.runner.status().next?.trigger === "retry");
    const second = it.next("backup");
    it.runner.runNow();
    expect(await second).toMatchObject({ outcome: "ok", trigger: "request", slot: null });
    expect(it.runner.status()).toMatchObject({ health: "ok", failuresInARow: 0 });
  });

  it("has one run at a time", async () => {
    const it = await make({ schedule: { interval: YEAR, firstRun: "scheduled" } });
    await begin(it);
    const run = it.runner.runNow();
    expect(() => it.runner.runNow()).toThrow(expect.objectContaining({ code: "ERR_BUSY" }));
    expect(() => it.runner.verifyNow("latest")).toThrow(expect.objectContaining({ code: "ERR_BUSY" }));
    await until(() => it.runner.status().current === null);
    expect(it.records.map(({ runId }) => runId)).toEqual([run.runId]);
  });

  it("has a run id in every line about a run", async () => {
    const it = await make({ retention: { keepLast: 1 } });
    const pruned = it.next("prune");
    await begin(it);
    await pruned;
    const lines = it.lines().filter(({ event }) => String(event).startsWith("run."));
    expect(lines.map(({ event }) => event)).toEqual(["run.start", "run.end", "run.start", "run.end"]);
    expect(lines.map(({ runId }) => runId)).toEqual(it.records.flatMap(({ runId }) => [runId, runId]));
  });

  it("prunes after a good backup, and only then", async () => {
    const source = scriptedSource({ a: "one" });
    const it = await make({ retention: { keepLast: 1 }, schedule: { interval: YEAR } }, { source });
    const pruned = it.next("prune");
    await begin(it);
    await pruned;
    const again = it.next("prune");
    it.runner.runNow();
    expect(await again).toMatchObject({ outcome: "ok", message: "deleted 1 backup" });
    expect(await it.runner.backups()).toHaveLength(1);
    source.failures.push(new BackypError("ERR_SOURCE_UNAVAILABLE", "gone"));
    const failed = it.next("backup");
    it.runner.runNow();
    await failed;
    await sleep(50);
    expect(it.records.filter(({ kind }) => kind === "prune")).toHaveLength(2);
  });

  it("reads a backup back, and keeps in mind when", async () => {
    const it = await make({});
    const first = it.next("backup");
    await begin(it);
    const { backupId } = await first;
    const verified = it.next("verify");
    it.runner.verifyNow("latest");
    expect(await verified).toMatchObject({ outcome: "ok", backupId, trigger: "request" });
    expect(it.runner.status().lastVerified?.id).toBe(backupId);
    expect((await it.runner.backups())[0]?.verifiedAt).toBe(it.runner.status().lastVerified?.at);
  });

  it("calls a backup damaged whose bytes have changed", async () => {
    const sink = memorySink();
    const rotten: Sink = {
      ...sink,
      get: (key, options) => (key.includes("/archives/") ? flipped(sink, key, options) : sink.get(key, options)),
    };
    const it = await make({}, { sink: rotten });
    const first = it.next("backup");
    await begin(it);
    await first;
    const verified = it.next("verify");
    it.runner.verifyNow("latest");
    expect(await verified).toMatchObject({
      outcome: "damaged",
      error: { remedy: expect.stringContaining("Do not restore") },
    });
    expect(it.runner.status().lastVerified).toBeNull();
  });

  it("does not verify what is not there", async () => {
    const it = await make({ schedule: { interval: YEAR, firstRun: "scheduled" } });
    await begin(it);
    const verified = it.next("verify");
    it.runner.verifyNow("latest");
    expect(await verified).toMatchObject({ outcome: "skipped", message: "there is no backup yet" });
  });

  it("tries a backup also where the sink cannot be listed, and shows that it cannot", async () => {
    const sink = memorySink();
    let isDown = true;
    const unlisted: Sink = {
      ...sink,
      async *list(prefix, options) {
        if (isDown) throw new BackypError("ERR_SINK_UNAVAILABLE", "nobody listens at 127.0.0.1:9");
        yield* sink.list(prefix, options);
      },
    };
    const it = await make({ schedule: { interval: YEAR } }, { sink: unlisted });
    const first = it.next("backup");
    await begin(it);
    expect(await first).toMatchObject({ outcome: "ok", trigger: "first" });
    expect(it.runner.status()).toMatchObject({
      health: "failing",
      healthText: expect.stringContaining("127.0.0.1:9"),
      totals: null,
    });
    await expect(it.runner.backups()).rejects.toMatchObject({ code: "ERR_SINK_UNAVAILABLE" });
    await until(() => it.runner.status().next?.trigger === "schedule");
    isDown = false;
    expect(await it.runner.backups()).toHaveLength(1);
    expect(it.runner.status().health).toBe("ok");
  });

  it("ends a run that is under way when it is closed, and begins none", async () => {
    const it = await make({ schedule: { interval: YEAR, firstRun: "scheduled" } });
    await begin(it);
    it.runner.runNow();
    await it.runner.close(true);
    expect(it.records.map(({ outcome }) => outcome)).toEqual(["aborted"]);
    expect(it.source.openCaptures()).toBe(0);
    expect(() => it.runner.runNow()).toThrow(expect.objectContaining({ code: "ERR_BUSY" }));
  });

  it("lets a run go on to its end when another configuration takes its place", async () => {
    const it = await make({ schedule: { interval: YEAR, firstRun: "scheduled" } });
    await begin(it);
    it.runner.runNow();
    await it.runner.close(false);
    expect(it.records.map(({ outcome }) => outcome)).toEqual(["ok"]);
  });

  it("is aborted after all where it was let go on, and the daemon ends", async () => {
    let isHeld = true;
    const source: ScriptedSource = { ...scriptedSource({ a: "one" }) };
    const { capture } = source;
    const slow: ScriptedSource = {
      ...source,
      async capture(request, context) {
        while (isHeld && !context.signal.aborted) await sleep(10);
        return capture(request, context);
      },
    };
    const it = await make({ schedule: { interval: YEAR, firstRun: "scheduled" } }, { source: slow });
    await begin(it);
    it.runner.runNow();
    const gone = it.runner.close(false);
    await sleep(50);
    expect(it.records).toEqual([]);
    await it.runner.close(true);
    await gone;
    isHeld = false;
    expect(it.records.map(({ outcome }) => outcome)).toEqual(["aborted"]);
  });

  it("does not begin once it was closed", async () => {
    const it = await make({});
    await it.runner.place();
    await it.runner.close(true);
    it.runner.start();
    await sleep(50);
    expect(it.records).toEqual([]);
  });

  it("does not add up what runs come late by", async () => {
    const it = await make({ schedule: { interval: 1, jitter: 1 } });
    await begin(it);
    await until(() => it.records.length === 4);
    const slots = it.records.slice(1).map(({ slot }) => Date.parse(slot ?? ""));
    expect((slots[2] ?? 0) - (slots[0] ?? 0)).toBe(2_000);
  });

  it("steps back where it fails by what is only here", async () => {
    const election = candidacy("elected");
    const source: ScriptedSource = { ...scriptedSource({ a: "one" }), elect: async () => election };
    source.failures.push(new BackypError("ERR_SOURCE_DAMAGED", "the snapshot is damaged"));
    const it = await make({ runOn: "elected", schedule: { interval: YEAR } }, { source });
    const first = it.next("backup");
    await begin(it);
    expect(await first).toMatchObject({ outcome: "failed" });
    expect(election.stepped).toBe(1);
  });

  it("does not take an election for down that was just not reached yet", async () => {
    const election = { ...candidacy("unreachable"), since: new Date() };
    const source: ScriptedSource = { ...scriptedSource({ a: "one" }), elect: async () => election };
    const it = await make({ runOn: "elected", ifElectionDown: "run", schedule: { interval: YEAR } }, { source });
    await begin(it);
    await sleep(100);
    expect(it.records).toEqual([]);
  });

  it("goes on when who listens to it fails", async () => {
    const it = await make({ schedule: { interval: YEAR } });
    it.events.on("changed", () => {
      throw new Error("a listener's mistake");
    });
    const first = it.next("backup");
    await begin(it);
    expect(await first).toMatchObject({ outcome: "ok" });
    expect(it.lines().some(({ event }) => event === "listener.failed")).toBe(true);
  });

  it("does not believe a backup of the future", async () => {
    const sink = memorySink();
    const it = await make({ schedule: { interval: YEAR } }, { sink });
    const { prefix } = it.runner.status();
    const ahead = openSeries({
      prefix,
      source: scriptedSource({ a: "one" }),
      sink,
      logger: silentLogger,
      clock: () => new Date(Date.UTC(9999, 0, 1)),
    });
    await ahead.backup();
    const first = it.next("backup");
    await begin(it);
    const { backupId } = await first;
    expect(it.runner.status().lastGood?.id).toBe(backupId);
  });

  it("does not let one who asks keep others from what they ask for", async () => {
    const it = await make({ schedule: { interval: YEAR, firstRun: "scheduled" } });
    const gone = new AbortController();
    const one = it.runner.backups({ signal: gone.signal });
    const other = it.runner.backups();
    gone.abort(new BackypError("ERR_ABORTED", "gone"));
    await expect(one).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(await other).toEqual([]);
  });

  it("runs only on the host that is named", async () => {
    const here = await make({ runOn: "node-a" });
    const first = here.next("backup");
    await begin(here);
    await first;
    const elsewhere = await make({ runOn: "node-b" });
    await begin(elsewhere);
    await sleep(50);
    expect(elsewhere.records).toEqual([]);
    expect(elsewhere.runner.status()).toMatchObject({ runOn: "node-b", notHere: expect.stringContaining("node-a") });
  });

  it("runs beside the server whose id is named", async () => {
    const source: ScriptedSource = { ...scriptedSource({ a: "one" }), nodeName: async () => "3" };
    const it = await make({ runOn: 3 }, { source });
    const first = it.next("backup");
    await begin(it);
    expect(await first).toMatchObject({ outcome: "ok" });
  });

  it("waits until it is elected, and is stored only while it is", async () => {
    const election = candidacy("waiting");
    const source: ScriptedSource = { ...scriptedSource({ a: "one" }), elect: async () => election };
    const it = await make({ runOn: "elected", schedule: { interval: YEAR } }, { source });
    await begin(it);
    await sleep(50);
    expect(it.records).toEqual([]);
    expect(it.runner.status().election).toMatchObject({ state: "waiting", holder: "node-b" });
    const first = it.next("backup");
    election.become("elected");
    const { outcome, backupId, slot } = await first;
    expect(outcome).toBe("ok");
    expect(backupId).toContain(slot?.replace(/[-:.]/g, ""));
  });

  it.each([
    ["cold", 0],
    ["hot", 1],
  ] as const)("elected in the place of another one, %s, at once begins %i runs", async (mode, runs) => {
    const election = { ...candidacy("waiting"), since: new Date() };
    const listeners: (() => void)[] = [];
    election.onChange = (listener) => void listeners.push(listener);
    const become = (state: Candidacy["state"], since: Date): void => {
      Object.assign(election, { state, since });
      for (const listener of listeners) listener();
    };
    election.confirm = async () => {};
    const source: ScriptedSource = { ...scriptedSource({ a: "one" }), elect: async () => election };
    const it = await make({ mode, runOn: "elected", schedule: { interval: YEAR } }, { source });
    const first = it.next("backup");
    await begin(it);
    become("waiting", new Date());
    become("elected", new Date());
    await (runs === 0 ? sleep(100) : first);
    expect(it.records).toHaveLength(runs);
    // Half a minute later: the server of the one before may have been about to stop.
    become("elected", new Date(Date.now() - 31_000));
    expect(await first).toMatchObject({ outcome: "ok" });
  });

  it("stores nothing when it turns out at the end that another one is elected", async () => {
    const election = candidacy("elected");
    const refusing: Candidacy = {
      ...election,
      onChange: election.onChange,
      confirm: async () => {
        throw new BackypError("ERR_NOT_ELECTED", "node-b is elected meanwhile");
      },
    };
    const source: ScriptedSource = { ...scriptedSource({ a: "one" }), elect: async () => refusing };
    const it = await make({ runOn: "elected", schedule: { interval: YEAR } }, { source });
    const first = it.next("backup");
    await begin(it);
    expect(await first).toMatchObject({ outcome: "lost", error: null, message: "node-b is elected meanwhile" });
    expect(await it.runner.backups()).toEqual([]);
    expect(it.runner.status().failuresInARow).toBe(0);
  });

  it.each([
    ["wait", 0],
    ["run", 1],
  ] as const)("with ifElectionDown: %s and no election backs up %d times", async (ifElectionDown, runs) => {
    const election = candidacy("unreachable");
    const source: ScriptedSource = { ...scriptedSource({ a: "one" }), elect: async () => election };
    const it = await make({ runOn: "elected", ifElectionDown, schedule: { interval: YEAR } }, { source });
    const first = runs === 0 ? sleep(100) : it.next("backup");
    await begin(it);
    await first;
    expect(it.records.map(({ outcome }) => outcome)).toEqual(runs === 0 ? [] : ["ok"]);
    expect(it.runner.status().election).toMatchObject({ state: "unreachable", problem: "nobody answers" });
  });

  it("lets another node go first when it had to skip a run", async () => {
    const election = candidacy("elected");
    const source = {
      ...scriptedSource({ a: "one" }),
      elect: async () => election,
      capture: async () => ({ skipped: "leader", message: "it leads" }),
    } as unknown as ScriptedSource;
    const it = await make({ runOn: "elected", schedule: { interval: YEAR } }, { source });
    const first = it.next("backup");
    await begin(it);
    expect(await first).toMatchObject({ outcome: "skipped", message: "it leads" });
    expect(election.stepped).toBe(1);
  });
});

async function* flipped(sink: Sink, key: string, options: Parameters<Sink["get"]>[1]): AsyncGenerator<Uint8Array> {
  for await (const chunk of sink.get(key, options)) {
    const copy = Buffer.from(chunk);
    copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
    yield copy;
  }
}
