import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { DaemonConfig, SeriesConfig } from "../config.ts";
import { Daemon } from "./daemon.ts";
import type { DaemonStatus, HoldOptions, RunRecord } from "./daemon-view.ts";
import { createDaemonLogger } from "./log.ts";

const CORE = fileURLToPath(new URL("../../../../packages/core/dist/index.js", import.meta.url));
const TESTING = fileURLToPath(new URL("../../../../packages/core/dist/testing/index.js", import.meta.url));

// A source whose captures wait while the file `gate` is there, and which notes in `said` what it was asked.
const GATED_SOURCE = `
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { scriptedSource } from ${JSON.stringify(TESTING)};
import { BackypError } from ${JSON.stringify(CORE)};
export default {
  kind: "source",
  apiVersion: 1,
  name: "gated",
  parseOptions: (options) => options,
  async create({ gate, said, elects }) {
    const source = scriptedSource({ a: "one" });
    const say = (word) => appendFileSync(said, word + " ");
    return {
      ...source,
      async recover() {
        say("recover");
        if (existsSync(gate + ".down")) throw new BackypError("ERR_NODE_DOWN", "the server is not back");
        return { did: "nothing" };
      },
      async capture(request, context) {
        say("capture");
        while (existsSync(gate) && !context.signal.aborted) await sleep(5);
        return source.capture(request, context);
      },
      ...(elects ? {
        elect: async () => (say("elect"), {
          state: "elected", since: new Date(), holder: null, problem: null,
          confirm: async () => {},
          stepBack: async () => say("step-back"),
          onChange() {},
          close: async () => {},
        }),
      } : {}),
    };
  },
};
`;

/** In seconds; so long that no slot comes while a test runs. */
const YEAR = 31_536_000;
const ABORT = { abort: true, seconds: 3_600 };
const WAIT = { abort: false, seconds: 3_600 };

let folder: string;
let daemon: Daemon;
let records: RunRecord[];
let log: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-daemon-"));
  await writeFile(join(folder, "gated.mjs"), GATED_SOURCE);
  await writeFile(join(folder, "said"), "");
  records = [];
  log = "";
});
afterEach(async () => {
  vi.useRealTimers();
  await daemon.stop();
  await rm(folder, { recursive: true, force: true });
});

function series(more: Partial<SeriesConfig> = {}, source: object = {}): SeriesConfig {
  return {
    source: { use: join(folder, "gated.mjs"), gate: join(folder, "gate"), said: join(folder, "said"), ...source },
    sink: { use: "fs", path: join(folder, "backups") },
    schedule: { interval: YEAR },
    ...more,
  };
}

function configOf(all: Readonly<Record<string, SeriesConfig>>): DaemonConfig {
  const path = join(folder, "c.json");
  return { path, folder, series: all, http: false, notifications: [], stateDir: undefined, log: { level: "info" } };
}

async function start(
  all: Readonly<Record<string, SeriesConfig>> = { zk: series() },
  held: HoldOptions | null = null,
): Promise<void> {
  const write = (chunk: string): void => {
    log += chunk;
  };
  daemon = new Daemon(configOf(all), createDaemonLogger("info", write, false));
  daemon.events.on("run:end", (_, record) => records.push(record));
  if (held !== null) daemon.hold(held);
  await daemon.take(configOf(all));
}

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await isSo()); tries++) {
    if (tries > 1_000) throw new Error(`this did not come; said so far:\n${log}`);
    await sleep(10);
  }
}

const said = async (): Promise<string[]> => (await readFile(join(folder, "said"), "utf8")).split(" ").slice(0, -1);
const state = (): DaemonStatus["state"] => daemon.status().state;
const shut = (): Promise<void> => writeFile(join(folder, "gate"), "");
const open = (): Promise<void> => rm(join(folder, "gate"), { force: true });
const outcomes = (): string[] => records.map(({ kind, outcome }) => `${kind} ${outcome}`);
const events = (): string[] =>
  log
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line).event as string)
    .filter((event) => event.startsWith("hold."));
const isCapturing = async (): Promise<boolean> => (await said()).includes("capture");

describe("a daemon that is held", () => {
  it("is held at once where nothing is under way, begins nothing, and goes on when it is released", async () => {
    await start();
    await until(() => records.length === 1);
    await until(() => daemon.status().series[0]?.next !== null);
    daemon.hold(WAIT);
    expect(state()).toBe("holding");
    await until(() => state() === "held");
    const { hold } = daemon.status();
    expect(Date.parse(hold?.until ?? "") - Date.parse(hold?.since ?? "")).toBe(3_600_000);
    await until(() => daemon.status().series[0]?.next === null);
    const [zk] = daemon.series();
    for (const begin of [() => zk?.runNow(), () => zk?.verifyNow("latest")]) {
      expect(begin).toThrow(
        expect.objectContaining({ code: "ERR_HELD", message: expect.stringContaining(hold?.until ?? "?") }),
      );
    }
    // How old the backups become is seen all the same.
    expect(daemon.status().series).toMatchObject([{ health: "ok", staleAt: expect.any(String) }]);
    daemon.release();
    expect(daemon.status()).toMatchObject({ state: "running", hold: null });
    await until(() => daemon.status().series[0]?.next !== null);
    zk?.runNow();
    await until(() => records.length === 2);
    expect(outcomes()).toEqual(["backup ok", "backup ok"]);
    expect(events()).toEqual(["hold.begin", "hold.held", "hold.released"]);
  });

  it("lets what is under way come to its end, and begins nothing behind it, not even to prune", async () => {
    await shut();
    await start({ zk: series({ retention: { keepLast: 1 } }) });
    await until(isCapturing);
    daemon.hold(WAIT);
    await sleep(50);
    expect([state(), outcomes()]).toEqual(["holding", []]);
    await open();
    await until(() => state() === "held");
    await sleep(50);
    expect(outcomes()).toEqual(["backup ok"]);
  });

  it("aborts what is under way, and makes up for it when it is released", async () => {
    await shut();
    await start();
    await until(isCapturing);
    daemon.hold(ABORT);
    await until(() => state() === "held");
    expect(records).toMatchObject([{ outcome: "aborted", message: "the daemon was held", error: null }]);
    expect(daemon.status().series).toMatchObject([{ current: null, failuresInARow: 0 }]);
    await open();
    daemon.release();
    await until(() => records.length === 2);
    expect(records[1]).toMatchObject({ outcome: "ok", slot: records[0]?.slot });
    expect(records[1]?.trigger).not.toBe("retry");
  });

  it("does what it missed also when it is released before what it aborts has ended", async () => {
    await shut();
    await start();
    await until(isCapturing);
    daemon.hold(ABORT);
    daemon.release();
    await open();
    await until(() => records.length === 2);
    expect(outcomes()).toEqual(["backup aborted", "backup ok"]);
    expect(events()).toEqual(["hold.begin", "hold.released"]);
  });

  it("lets nobody begin who waits for a turn", async () => {
    await shut();
    const names = ["a", "b", "c", "d", "e", "f"];
    await start(Object.fromEntries(names.map((name) => [name, series()])));
    await until(() => daemon.status().series.every(({ current }) => current !== null));
    await until(async () => (await said()).filter((word) => word === "capture").length === 4);
    daemon.hold(WAIT);
    await until(() => records.length === 2);
    expect([state(), outcomes()]).toEqual(["holding", ["backup aborted", "backup aborted"]]);
    await open();
    await until(() => state() === "held");
    expect(outcomes().filter((each) => each === "backup ok")).toHaveLength(4);
  });

  it("is held for longer by a second hold, never for shorter, and aborts what the first one waited for", async () => {
    await shut();
    await start();
    await until(isCapturing);
    daemon.hold(WAIT);
    const first = daemon.status().hold;
    daemon.hold({ abort: false, seconds: 7_200 });
    const second = daemon.status().hold;
    expect(second?.since).toBe(first?.since);
    expect((second?.until ?? "") > (first?.until ?? "")).toBe(true);
    daemon.hold({ abort: true, seconds: 1 });
    expect(daemon.status().hold).toEqual({ ...second, abort: true });
    await until(() => state() === "held");
    daemon.hold({ abort: false, seconds: 1 });
    expect(daemon.status()).toMatchObject({ state: "held", hold: { ...second, abort: true } });
    expect(outcomes()).toEqual(["backup aborted"]);
    expect(events().filter((event) => event === "hold.held")).toHaveLength(1);
  });

  it("goes on by itself, and says so, when its time is over, which the longest hold tells", async () => {
    await start();
    await until(() => records.length === 1);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    daemon.hold({ abort: false, seconds: 60 });
    vi.advanceTimersByTime(59_000);
    daemon.hold({ abort: false, seconds: 60 });
    vi.advanceTimersByTime(59_000);
    expect(daemon.status().hold).not.toBeNull();
    vi.advanceTimersByTime(1_000);
    expect(daemon.status()).toMatchObject({ state: "running", hold: null });
    expect(events().at(-1)).toBe("hold.expired");
  });

  it("is not shown as held when it was released meanwhile", async () => {
    await start();
    await until(() => records.length === 1);
    daemon.hold(WAIT);
    daemon.release();
    await sleep(50);
    expect(events()).toEqual(["hold.begin", "hold.released"]);
    daemon.release();
    expect(events()).toEqual(["hold.begin", "hold.released"]);
    expect(state()).toBe("running");
  });

  it("takes another configuration, of which nothing begins before it is released", async () => {
    await start();
    await until(() => records.length === 1);
    daemon.hold(WAIT);
    await until(() => state() === "held");
    await appendFile(join(folder, "said"), "| ");
    await daemon.take(configOf({ other: series() }));
    expect(daemon.status()).toMatchObject({ state: "held", series: [{ name: "other", current: null }] });
    await sleep(50);
    expect((await said()).join(" ").split("| ")[1] ?? "", "it leaves the server alone").toBe("");
    daemon.release();
    await until(() => records.length === 2);
    expect((await said()).join(" ").split("| ")[1]).toBe("recover capture");
    expect(await readdir(join(folder, "backups"))).toEqual(expect.arrayContaining(["zk", "other"]));
  });

  it("waits also for runs of a configuration that was given up, and aborts them", async () => {
    await shut();
    await start();
    await until(isCapturing);
    await daemon.take(configOf({ other: series({ schedule: { interval: YEAR, firstRun: "scheduled" } }) }));
    daemon.hold(WAIT);
    await sleep(50);
    expect(state()).toBe("holding");
    daemon.hold(ABORT);
    await until(() => state() === "held");
    expect(outcomes()).toEqual(["backup aborted"]);
  });

  it("lets another node be elected once its own run has ended", async () => {
    await shut();
    // Who is elected looks first what others have made.
    await mkdir(join(folder, "backups"));
    await start({ zk: series({ runOn: "elected" }, { elects: true }) });
    await until(isCapturing);
    daemon.hold(WAIT);
    await sleep(50);
    expect(await said()).not.toContain("step-back");
    await open();
    await until(async () => (await said()).includes("step-back"));
    expect(outcomes()).toEqual(["backup ok"]);
  });

  it("keeps other nodes from it where its own run is aborted, since its server is the next to stop", async () => {
    await shut();
    await mkdir(join(folder, "backups"));
    await start({ zk: series({ runOn: "elected" }, { elects: true }) });
    await until(isCapturing);
    daemon.hold(ABORT);
    await until(() => state() === "held");
    expect(outcomes()).toEqual(["backup aborted"]);
    // One that only waits does not give it away either.
    daemon.hold(WAIT);
    await sleep(50);
    expect(await said()).not.toContain("step-back");
  });

  it("does not stand for election where it is held from its start, until it is released", async () => {
    await mkdir(join(folder, "backups"));
    await start({ zk: series({ runOn: "elected" }, { elects: true }) }, WAIT);
    await until(() => state() === "held");
    await sleep(50);
    expect(await said()).toEqual([]);
    expect(daemon.status().series).toMatchObject([
      { election: null, notHere: "the daemon is held, and stands for election when it is released" },
    ]);
    daemon.release();
    await until(() => records.length === 1);
    expect(await said()).toEqual(["recover", "elect", "capture"]);
    expect(outcomes()).toEqual(["backup ok"]);
    expect(daemon.status().series).toMatchObject([{ election: { state: "elected" }, notHere: null }]);
    // Once it stands it stays, however often it is held.
    daemon.hold(ABORT);
    await until(() => state() === "held");
    daemon.release();
    await sleep(50);
    expect((await said()).filter((word) => word === "elect")).toEqual(["elect"]);
  });

  it("pays what a run that died has left when it is released, and before it runs anything", async () => {
    await start();
    await until(() => records.length === 1);
    daemon.hold(WAIT);
    await until(() => state() === "held");
    expect(await said()).toEqual(["recover", "capture", "recover"]);
    daemon.release();
    await until(async () => (await said()).length === 4);
    expect((await said()).at(-1)).toBe("recover");
  });

  it("says which server is not back that a run had stopped, until it is, which a second hold tries again", async () => {
    await start();
    await until(() => records.length === 1);
    await writeFile(join(folder, "gate.down"), "");
    daemon.hold(ABORT);
    await until(() => state() === "held");
    expect(daemon.status().hold?.problem).toBe("zk: the server is not back");
    daemon.hold(ABORT);
    expect(state()).toBe("holding");
    await until(() => state() === "held");
    expect(daemon.status().hold?.problem).not.toBeNull();
    await rm(join(folder, "gate.down"));
    daemon.hold(ABORT);
    await until(() => state() === "held");
    expect(daemon.status().hold?.problem).toBeNull();
  });

  it("ends as ever, and can no longer be held", async () => {
    await start();
    await until(() => records.length === 1);
    daemon.hold(WAIT);
    await until(() => state() === "held");
    await daemon.stop();
    daemon.release();
    daemon.hold(ABORT);
    expect(state()).toBe("stopping");
    expect(events()).toEqual(["hold.begin", "hold.held"]);
  });
});
