import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { access, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { BackypError, openSeries } from "@zk-backyp/core";
import { memorySink, withFaults } from "@zk-backyp/core/testing";
import { flipBit } from "@zk-backyp/testbed";
import { describe, expect, it, type TestContext, vi } from "vitest";
import { type MadeNode, makeEnsemble } from "../../test/made-node.ts";
import { type MadeNodeOptions, type MadeNodeRuns, makeNodeRuns } from "../../test/made-node-runs.ts";
import type { StopLock, StopLockOptions } from "../ensemble/stop-lock.ts";
import { createZooKeeperSource } from "../index.ts";
import { COLD_STEPS } from "./cold-stop.ts";

// The lock is an object of a real ensemble's. Each test has its own, by its path.
const locks = new Map<string | undefined, (options: StopLockOptions) => Promise<StopLock>>();
vi.mock("../ensemble/stop-lock.ts", () => ({
  takeStopLock: async (options: StopLockOptions): Promise<StopLock> => {
    const take = locks.get(options.path);
    if (take === undefined) throw new Error(`no lock ${options.path} in this test`);
    return take(options);
  },
}));
vi.setConfig({ maxConcurrency: 24 });

const goodLock: StopLock = { isHeld: () => true, confirm: async () => {}, release: async () => {} };

/** What a stop takes that was not seen to happen: the node has to go on serving for so long. */
const SETTLING = 45_000;

const refusal = (what: string): BackypError => new BackypError("ERR_NODE_CONTROL", what);

function prepare(context: TestContext, options: Omit<MadeNodeOptions, "onTestFinished"> = {}): Promise<MadeNodeRuns> {
  return makeNodeRuns({ ...options, onTestFinished: (dispose) => context.onTestFinished(dispose) });
}

let lockNumber = 0;
/** A run on a follower of three, with a lock of its own. */
async function prepareMember(
  context: TestContext,
  {
    cold = {},
    lock = async () => goodLock,
  }: { cold?: object; lock?: (options: StopLockOptions) => Promise<StopLock> } = {},
): Promise<{ readonly run: MadeNodeRuns; readonly leader: MadeNode; readonly other: MadeNode }> {
  const [leader, node, other] = await makeEnsemble(3);
  if (leader === undefined || node === undefined || other === undefined) throw new Error("no ensemble");
  context.onTestFinished(async () => {
    await leader.fall();
    await other.fall();
  });
  lockNumber += 1;
  const path = `/lock-${lockNumber}`;
  locks.set(path, lock);
  const run = await prepare(context, { node, cold: { lock: { path }, ...cold } });
  await writeFile(join(run.dataDir, "myid"), "2\n");
  return { run, leader, other };
}

/** The node serves, nothing is owed any more, and no link keeps a purged file's space. */
async function expectPaid(run: MadeNodeRuns): Promise<void> {
  expect(run.node.isUp, "the node is up").toBe(true);
  expect(await run.left(), "nothing is left").toEqual([]);
}

/** The start is still owed, and the links are gone all the same. */
async function expectOwed(run: MadeNodeRuns): Promise<void> {
  const left = await run.left();
  expect(left).toContain("stop.json");
  expect(left.filter((name) => name.startsWith("links-"))).toEqual([]);
}

/** Nothing was asked of anybody. */
async function expectUntouched(run: MadeNodeRuns, pid: number | null): Promise<void> {
  expect(run.node.pid).toBe(pid);
  expect({ stops: run.node.stops, starts: run.node.starts }).toEqual({ stops: 0, starts: 0 });
  expect(run.steps).not.toContain("stopping");
  await expectPaid(run);
}

/** The pid of a process that has ended and that nobody reaps. */
async function makeZombie(context: TestContext): Promise<number> {
  const parent: ChildProcess = spawn("/bin/sh", ["-c", "sleep 0.3 & echo $!; exec cat"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  context.onTestFinished(() => void parent.kill("SIGKILL"));
  const [pid] = await once(parent.stdout ?? parent, "data");
  await vi.waitFor(() => expect(readFileSync(`/proc/${Number(pid)}/stat`, "latin1")).toMatch(/\) Z /), {
    timeout: 5_000,
  });
  return Number(pid);
}

describe.concurrent("a cold run", () => {
  it.concurrent("stops the node once, links, starts it, and archives from the links while it is up", async (context) => {
    const run = await prepare(context);
    const { node, series } = run;
    const before = node.pid;
    const upWhileArchived: boolean[] = [];
    series.events.on("backup:progress", () => upWhileArchived.push(node.isUp));
    const { manifest } = await run.backUp();
    expect(manifest).toMatchObject({
      range: { upTo: "0x22" },
      verified: true,
      facts: {
        mode: "cold",
        dataDir: run.dataDir,
        downtime: { askedAt: expect.stringMatching(/Z$/), caughtUpMs: expect.any(Number) },
        stop: { role: "standalone", spareVoters: 0 },
      },
    });
    expect(run.steps).toEqual(COLD_STEPS.filter((step) => step !== "locked"));
    expect(upWhileArchived.length).toBeGreaterThan(0);
    expect(upWhileArchived).not.toContain(false);
    expect(node.stops).toBe(1);
    expect(node.pid).not.toBe(before);
    await expectPaid(run);
  });

  it.concurrent("takes a member's lock, proves it right before the stop, and lets go of it", async (context) => {
    const calls: string[] = [];
    const { run } = await prepareMember(context, {
      lock: async () => ({
        isHeld: () => calls.push("isHeld") > 0,
        confirm: async () => void calls.push("confirm"),
        release: async () => void calls.push("release"),
      }),
    });
    run.at("stopping", () => calls.push("stopping"));
    run.at("caught-up", () => calls.push("caught-up"));
    expect(await run.backUp()).toMatchObject({ manifest: { facts: { stop: { role: "follower", spareVoters: 0 } } } });
    expect(run.steps).toEqual([...COLD_STEPS]);
    expect(calls).toEqual(["confirm", "isHeld", "stopping", "caught-up", "release"]);
    await expectPaid(run);
  });
});

describe.concurrent("a stop that", () => {
  it.concurrent.for<[string, (node: MadeNode) => MadeNode["onStop"], object]>([
    [
      "is refused",
      () => () => {
        throw refusal("monit did not stop zookeeper: HTTP 403");
      },
      { code: "ERR_NODE_CONTROL", message: "monit did not stop zookeeper: HTTP 403" },
    ],
    [
      "never takes effect",
      () => () => {},
      { code: "ERR_NODE_CONTROL", message: expect.stringMatching(/did not stop within 1 s, and was left running/) },
    ],
    [
      "is never answered",
      () => async (_, signal) => {
        await once(signal, "abort");
        throw signal.reason;
      },
      { code: "ERR_NODE_CONTROL", message: expect.stringMatching(/did not stop within 1 s, and was left running/) },
    ],
    [
      "is called done by a supervisor while the process lives",
      (node) => async () => {
        await node.deafen();
        node.state = "stopped";
      },
      { code: "ERR_NODE_CONTROL", message: expect.stringMatching(/did not stop within 1 s/) },
    ],
  ])(
    "%s leaves the same process running, and links nothing",
    { timeout: SETTLING },
    async ([, script, error], context) => {
      const run = await prepare(context, { cold: { stopTimeoutMs: 1_000 } });
      const { node } = run;
      const before = node.pid;
      node.onStop = script(node);
      expect((await run.backUp()).error).toMatchObject(error);
      expect(node.stops).toBe(1);
      // What was asked for may be yet to come.
      expect(node.starts).toBeGreaterThan(0);
      expect(node.pid).toBe(before);
      expect(run.steps).not.toContain("stopped");
      await expectPaid(run);
    },
  );

  it.concurrent("is refused, and happens all the same, ends with a start", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    const before = node.pid;
    node.onStop = async (usual) => {
      await usual();
      throw refusal("the stop program was ended after 120 s");
    };
    expect((await run.backUp()).error).toMatchObject({ message: "the stop program was ended after 120 s" });
    expect(node.pid).not.toBe(before);
    await expectPaid(run);
  });

  it.concurrent.for<[string, MadeNode["onStop"], RegExp]>([
    [
      "is refused",
      () => {
        throw refusal("the stop program was ended after 120 s");
      },
      /was ended after 120 s/,
    ],
    ["was given up", () => {}, /did not stop within 1 s/],
  ])("happens long after it %s ends with a start", { timeout: SETTLING }, async ([, onStop, message], context) => {
    const run = await prepare(context, { cold: { stopTimeoutMs: 1_000 } });
    const { node } = run;
    const before = node.pid;
    const late: { stop?: Promise<void> } = {};
    node.onStop = (usual, signal) => {
      late.stop = sleep(3_500).then(usual);
      return onStop?.(usual, signal);
    };
    const { error } = await run.backUp();
    await late.stop;
    expect(error).toMatchObject({ code: "ERR_NODE_CONTROL", message: expect.stringMatching(message) });
    expect(node.pid).not.toBe(before);
    await expectPaid(run);
  });

  it.concurrent("its supervisor calls done is not believed before the process is gone", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    node.onStop = async () => {
      await node.deafen();
      node.state = "stopped";
      void sleep(700).then(() => node.kill());
    };
    let pidWhenStopped: number | null = -1;
    run.at("stopped", () => {
      pidWhenStopped = node.pid;
    });
    expect(await run.backUp()).toMatchObject({ manifest: { verified: true } });
    expect(pidWhenStopped).toBeNull();
    await expectPaid(run);
  });

  it.concurrent("leaves a process that its parent has not reaped is done", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    const zombie = await makeZombie(context);
    node.onStatus = async (usual) => {
      const { state } = await usual();
      return { state, pid: state === "stopped" ? null : zombie };
    };
    expect(await run.backUp()).toMatchObject({ error: null, manifest: { verified: true } });
    await expectPaid(run);
  });

  it.concurrent("comes after the node was started anew waits for the new process", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    let looks = 0;
    node.onStatus = async (usual) => {
      looks += 1;
      if (looks === 2) {
        await node.fall();
        await node.rise();
      }
      return usual();
    };
    node.onStop = async () => {
      await node.deafen();
      node.state = "stopped";
      void sleep(500).then(() => node.kill());
    };
    let pidWhenStopped: number | null = -1;
    run.at("stopped", () => {
      pidWhenStopped = node.pid;
    });
    expect(await run.backUp()).toMatchObject({ manifest: { verified: true } });
    expect(looks).toBeGreaterThan(2);
    expect(pidWhenStopped).toBeNull();
  });

  it.concurrent("ends another service than the one that is backed up is noticed", async (context) => {
    const run = await prepare(context, { cold: { stopTimeoutMs: 20_000 } });
    const { node } = run;
    const another = spawn("cat", { stdio: ["pipe", "ignore", "ignore"] });
    context.onTestFinished(() => void another.kill("SIGKILL"));
    node.onStatus = () => ({
      state: node.state,
      pid: (another.exitCode ?? another.signalCode === null) ? (another.pid ?? null) : null,
    });
    node.onStop = async () => {
      const gone = once(another, "exit");
      another.kill("SIGKILL");
      await gone;
      node.state = "stopped";
    };
    const before = node.pid;
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(/was stopped, but 127\.0\.0\.1:\d+ still answers: does it control another server/),
    });
    expect(node.starts, "what was stopped by mistake is started again").toBeGreaterThan(0);
    expect(node.pid).toBe(before);
    await expectPaid(run);
  });

  it.concurrent("cannot be watched at every moment is waited for all the same", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    let looks = 0;
    node.onStatus = (usual) => {
      looks += 1;
      if (looks > 2 && looks < 6) throw refusal("monit cannot be asked: it reads its files again");
      return usual();
    };
    node.onStop = (usual) => void sleep(200).then(usual);
    expect(await run.backUp()).toMatchObject({ error: null, manifest: { verified: true } });
    expect(looks).toBeGreaterThan(5);
    await expectPaid(run);
  });
});

describe.concurrent("a start that", () => {
  it.concurrent("is refused once is asked for again", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    node.onStart = (usual) => {
      if (node.starts === 1) throw refusal("another action is in progress");
      return usual();
    };
    expect(await run.backUp()).toMatchObject({ manifest: { verified: true } });
    expect(node.starts).toBe(2);
    await expectPaid(run);
  });

  it.concurrent.for(["failed", "stopped"] as const)(
    "is accepted and forgotten, so that the node is %s, is asked for again",
    async (state, context) => {
      const run = await prepare(context);
      const { node } = run;
      node.onStart = (usual) => {
        if (node.starts > 1) return usual();
        node.state = state;
      };
      expect(await run.backUp()).toMatchObject({ manifest: { verified: true } });
      expect(node.starts).toBe(2);
      await expectPaid(run);
    },
  );

  it.concurrent("ends in a process that dies is asked for again", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    node.onStart = (usual) => {
      if (node.starts > 1) return usual();
      node.spawn();
      node.state = "running";
      void sleep(700).then(async () => {
        await node.kill();
        node.state = "failed";
      });
    };
    expect(await run.backUp()).toMatchObject({ manifest: { verified: true } });
    expect(node.starts).toBe(2);
    await expectPaid(run);
  });

  it.concurrent.for<[string, MadeNode["onStart"], RegExp]>([
    [
      "is always refused",
      () => {
        throw refusal("Unit zookeeper.service not found.");
      },
      /no start was accepted; Unit zookeeper.service not found.; its supervisor says that it is stopped; .*ECONNREFUSED/,
    ],
    [
      "never brings it up",
      () => {},
      /the start was accepted 1 times; its supervisor says that it is stopped; .*ECONNREFUSED/,
    ],
  ])("%s is an alarm with the facts, and the next run's first duty", async ([, onStart, facts], context) => {
    const run = await prepare(context, { cold: { startTimeoutMs: 1_000 } });
    const { node } = run;
    node.onStart = onStart;
    const { error } = await run.backUp();
    expect(error).toMatchObject({ code: "ERR_NODE_DOWN", message: expect.stringMatching(facts) });
    expect(error?.message).toMatch(
      /was stopped for a backup and is not back after 1 s: .* start it \(\/bin\/true\)\.$/,
    );
    await expectOwed(run);
    expect(node.isUp).toBe(false);

    node.onStart = null;
    let upWhenChecked = false;
    run.at("checked", () => {
      upWhenChecked = node.isUp;
    });
    expect(await run.backUp()).toMatchObject({ error: null, manifest: { verified: true } });
    expect(upWhenChecked).toBe(true);
    expect(node.stops).toBe(2);
    await expectPaid(run);
  });

  it.concurrent("brings up a server that is not serving yet is waited for", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    node.onStart = async (usual) => {
      node.role = "";
      await usual();
      void sleep(300).then(() => {
        node.role = "standalone";
      });
    };
    let roleWhenServing = "none";
    run.at("serving", () => {
      roleWhenServing = node.role;
    });
    expect(await run.backUp()).toMatchObject({ manifest: { verified: true } });
    expect(roleWhenServing).toBe("standalone");
  });

  it.concurrent("does not lead to where the ensemble was is an alarm that names both zxids", async (context) => {
    const { run } = await prepareMember(context, { cold: { startTimeoutMs: 1_000 } });
    const { node } = run;
    node.onStart = async (usual) => {
      node.zxid = 0x10n;
      await usual();
    };
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_NODE_DOWN",
      message: expect.stringMatching(
        /it serves, but is behind: the ensemble had 0x22 .* follower and has applied 0x10/,
      ),
    });
    await expectPaid(run);
  });

  it.concurrent("is seen to work, and is followed by an operator's stop, is not repeated", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    node.onStart = () => {
      node.spawn();
      node.state = "running";
      void sleep(900).then(() => node.stopAsAsked());
    };
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_NODE_DOWN",
      message: expect.stringMatching(/stays stopped: somebody stopped it again while it was starting/),
    });
    expect(node.starts).toBe(1);
    expect(await run.left(), "nothing is owed").toEqual([]);

    const { manifest } = await run.backUp();
    expect(manifest?.facts).toMatchObject({ downtime: null, stop: { wasStopped: true } });
    expect({ starts: node.starts, isUp: node.isUp }).toEqual({ starts: 1, isUp: false });
  });

  it.concurrent("an operator does not want is not asked for, until that is over", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    const file = join(run.folder, "stay-stopped");
    run.at("stopped", () => writeFileSync(file, ""));
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_NODE_DOWN",
      message: expect.stringMatching(/stays stopped: .*stay-stopped is there/),
    });
    expect({ starts: node.starts, isUp: node.isUp }).toEqual({ starts: 0, isUp: false });
    await expectOwed(run);

    rmSync(file);
    run.at("stopped", () => {});
    expect(await run.backUp()).toMatchObject({ error: null, manifest: { verified: true } });
    await expectPaid(run);
  });

  it.concurrent("a masked unit forbids is not asked for", async (context) => {
    const run = await prepare(context);
    run.at("stopped", () => Object.assign(run.node.control, { whyKeepStopped: async () => "the unit is masked" }));
    expect((await run.backUp()).error?.message).toMatch(/stays stopped: .*the unit is masked/);
    expect(run.node.starts).toBe(0);
  });
});

describe.concurrent("links that", () => {
  it.concurrent("cannot be made once it is stopped fail the run, with the node back", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    run.at("stopped", () => {
      rmSync(join(run.dataLogDir, ".zk-backyp"), { recursive: true });
      writeFileSync(join(run.dataLogDir, "version-2", "log.23"), "");
    });
    const before = node.pid;
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_SOURCE_UNAVAILABLE",
      message: expect.stringContaining("log.23"),
    });
    expect(node.pid).not.toBe(before);
    await expectPaid(run);
  });

  it.concurrent("were made beside a server that somebody has started are worth nothing", async (context) => {
    const run = await prepare(context);
    run.at("stopped", () => void run.node.startAsAsked());
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(
        /was started while its files were linked, by somebody else; the next run tries again/,
      ),
    });
    expect(run.node.stops).toBe(1);
    await expectPaid(run);
  });

  it.concurrent("were made after the guard had begun to start it are worth nothing", async (context) => {
    const run = await prepare(context);
    run.at("stopped", () => {
      const journal = join(run.stateDir, "stop.json");
      writeFileSync(`${journal}.rescued`, JSON.parse(readFileSync(journal, "utf8")).run);
    });
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(/by the guard, since it was down for too long/),
    });
    await expectPaid(run);
  });
});

describe.concurrent("nothing is stopped", () => {
  it.concurrent.for<[string, string, RegExp, (run: MadeNodeRuns) => unknown, MadeNodeOptions["cold"]?]>([
    [
      "when files cannot be linked",
      "ERR_SOURCE_UNAVAILABLE",
      /linkDir|not a directory/i,
      ({ folder }) => writeFile(join(folder, "file"), ""),
      (folder) => ({ linkDir: join(folder, "file", "links") }),
    ],
    [
      "when the journal cannot be written",
      "ERR_STOP_REFUSED",
      /cannot write the journal .* or name another stateDir/,
      ({ folder }) => writeFile(join(folder, "file"), ""),
      (folder) => ({ stateDir: join(folder, "file", "state") }),
    ],
    [
      "when no guard can be had",
      "ERR_NODE_CONTROL",
      /cannot start the guard/,
      async ({ stateDir }) => mkdir(join(stateDir, "guard.log"), { recursive: true }),
    ],
    [
      "of a node that failed",
      "ERR_STOP_REFUSED",
      /its supervisor says that it is failed/,
      ({ node }) => Object.assign(node, { state: "failed" }),
    ],
    [
      "of a node that is starting",
      "ERR_STOP_REFUSED",
      /says that it is starting/,
      ({ node }) => Object.assign(node, { state: "starting" }),
    ],
    [
      "of a node that somebody is stopping",
      "ERR_STOP_REFUSED",
      /says that it is stopping/,
      ({ node }) => Object.assign(node, { state: "stopping" }),
    ],
    [
      "of a node whose supervisor calls it stopped while it answers",
      "ERR_STOP_REFUSED",
      /says that it is stopped, but 127\.0\.0\.1:\d+ answers/,
      ({ node }) => Object.assign(node, { state: "stopped" }),
    ],
    [
      "of a node that failed while the run got ready",
      "ERR_STOP_REFUSED",
      /says that it is failed/,
      async ({ at, node }) => at("linked-ahead", () => Object.assign(node, { state: "failed" })),
    ],
    [
      "when the supervisor does not answer",
      "ERR_NODE_CONTROL",
      /does not run/,
      ({ node }) => Object.assign(node, { onStatus: async () => Promise.reject(refusal("the daemon does not run")) }),
    ],
    [
      "of a standalone server, unless that is allowed",
      "ERR_STOP_REFUSED",
      /it is standalone, and nobody would serve/,
      async () => {},
      { allowStandalone: false },
    ],
    [
      "of a node that nothing would start again",
      "ERR_STOP_REFUSED",
      /nothing would start it again, since the unit is masked, although it runs/,
      ({ node }) => Object.assign(node.control, { whyKeepStopped: async () => "the unit is masked" }),
    ],
    [
      "of a server that is not serving",
      "ERR_STOP_REFUSED",
      /is not stopped/,
      ({ node }) => Object.assign(node, { role: "" }),
    ],
  ])("%s", async ([, code, message, spoil, cold = {}], context) => {
    const run = await prepare(context, { cold });
    await spoil(run);
    const before = run.node.pid;
    expect((await run.backUp()).error).toMatchObject({ code, message: expect.stringMatching(message) });
    await expectUntouched(run, before);
  });

  it.concurrent("of a member that could not start again without its myid", async (context) => {
    const { run } = await prepareMember(context);
    rmSync(join(run.dataDir, "myid"));
    const before = run.node.pid;
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_STOP_REFUSED",
      message: expect.stringMatching(/there is no .*\/myid, without which it would not start again/),
    });
    await expectUntouched(run, before);
  });

  it.concurrent("when the store does not take anything", async (context) => {
    const full = new BackypError("ERR_SINK_FULL", "no space left");
    const run = await prepare(context, { sink: withFaults(memorySink(), { put: [full] }) });
    const before = run.node.pid;
    expect((await run.backUp()).error).toMatchObject({ code: "ERR_SINK_FULL" });
    await expectUntouched(run, before);
  });

  it.concurrent.for<[string, Partial<StopLock> | Error, string]>([
    ["when another member is being stopped", new BackypError("ERR_BUSY", "another node is being stopped"), "ERR_BUSY"],
    [
      "when the lock cannot be proved",
      {
        confirm: async () => {
          throw new BackypError("ERR_STOP_REFUSED", "no proof");
        },
      },
      "ERR_STOP_REFUSED",
    ],
    ["when the lock was lost while this process slept", { isHeld: () => false }, "ERR_STOP_REFUSED"],
  ])("%s", async ([, lock, code], context) => {
    const { run } = await prepareMember(context, {
      lock: async () => {
        if (lock instanceof Error) throw lock;
        return { ...goodLock, ...lock };
      },
    });
    const before = run.node.pid;
    expect((await run.backUp()).error).toMatchObject({ code });
    await expectUntouched(run, before);
  });

  it.concurrent("while another member's backup has that one down, but after it", async (context) => {
    const { run, other } = await prepareMember(context, {
      lock: async () => {
        await other.rise();
        return goodLock;
      },
    });
    await other.fall();
    expect(await run.backUp()).toMatchObject({ error: null, manifest: { facts: { stop: { role: "follower" } } } });
    expect(run.steps).toEqual([...COLD_STEPS]);
  });

  it.concurrent("while a member is down that nobody backs up", async (context) => {
    for (const cold of [{}, { lock: false }]) {
      const { run, other } = await prepareMember(context, { cold });
      await other.fall();
      const before = run.node.pid;
      expect((await run.backUp()).error).toMatchObject({ code: "ERR_STOP_REFUSED", details: { reason: "quorum" } });
      await expectUntouched(run, before);
    }
  });

  it.concurrent("when another member went down after the first look", async (context) => {
    const { run, other } = await prepareMember(context, {
      lock: async () => {
        await other.fall();
        return goodLock;
      },
    });
    const before = run.node.pid;
    expect((await run.backUp()).error).toMatchObject({ code: "ERR_STOP_REFUSED", details: { reason: "quorum" } });
    expect(run.steps).toContain("locked");
    await expectUntouched(run, before);
  });
});

describe.concurrent("an operator", () => {
  it.concurrent("who starts a stopped node while it is linked makes no cold backup of it", async (context) => {
    const run = await prepare(context);
    const { node } = run;
    await node.stopAsAsked();
    let asked = 0;
    node.onStatus = async (usual) => {
      asked += 1;
      if (asked === 2) await node.startAsAsked();
      return usual();
    };
    expect((await run.backUp()).error).toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(/was started while its files were linked/),
    });
    await expectPaid(run);
  });

  it.concurrent("who keeps the node stopped meanwhile is owed its start once that is over, also by a hot run", async (context) => {
    const run = await prepare(context);
    const { node, dataDir, dataLogDir } = run;
    const stay = join(run.folder, "stay-stopped");
    run.at("stopped", () => writeFileSync(stay, ""));
    const { error } = await run.backUp();
    expect(error).toMatchObject({
      code: "ERR_NODE_DOWN",
      message: expect.stringMatching(/stays stopped: .* is there/),
    });
    await expectOwed(run);
    rmSync(stay);
    const cold = { control: node.control, allowStandalone: true, stayStoppedFile: stay };
    const source = createZooKeeperSource({ dataDir, dataLogDir, server: node.server, mode: "hot", cold });
    const manifest = await openSeries({ prefix: "hot", source, sink: memorySink() }).backup();
    expect(manifest?.facts).toMatchObject({ mode: "hot" });
    await expectPaid(run);
  });
});

describe.concurrent("a run that is aborted", () => {
  it.concurrent.for(COLD_STEPS)("at %s brings the node back", { timeout: 60_000 }, async (step, context) => {
    const { run } = await prepareMember(context);
    const { node } = run;
    const controller = new AbortController();
    // As the controls do it: what was asked for is not withdrawn.
    node.onStop = async (usual, signal) => {
      await usual();
      signal.throwIfAborted();
    };
    run.at(step, () => controller.abort());
    expect((await run.backUp({ signal: controller.signal })).error).toMatchObject({ code: "ERR_ABORTED" });
    const reached = COLD_STEPS.indexOf(step);
    expect(node.stops).toBe(reached < COLD_STEPS.indexOf("stopping") ? 0 : 1);
    await expectPaid(run);
  });

  it.concurrent("while the node does not come back leaves the rest to the guard and the next run", {
    timeout: 60_000,
  }, async (context) => {
    const run = await prepare(context);
    const { node } = run;
    const mark = join(run.folder, "asked-by-the-guard");
    node.startCommand = ["/bin/sh", "-c", `: >${mark}`];
    const controller = new AbortController();
    node.onStart = () => {};
    run.at("starting", () => controller.abort());
    expect((await run.backUp({ signal: controller.signal })).error).toMatchObject({ code: "ERR_ABORTED" });
    await expectOwed(run);
    await vi.waitFor(() => access(mark), { timeout: 5_000 });
    node.onStart = null;
    expect(await run.backUp()).toMatchObject({ error: null, manifest: { verified: true } });
    await expectPaid(run);
  });
});

describe.concurrent("once the node is back it is left alone", () => {
  it.concurrent("although the newest snapshot is damaged, so that an older one is captured", async (context) => {
    const run = await prepare(context, { fixture: "zookeeper-3.8.0-rich" });
    const { node, series } = run;
    node.zxid = 0x3ean;
    await flipBit(join(run.dataDir, "version-2", "snapshot.3e4"), 5_000);
    const attempts: number[] = [];
    series.events.on("backup:start", ({ attempt }) => attempts.push(attempt));
    const { manifest } = await run.backUp();
    expect(manifest).toMatchObject({
      range: { upTo: "0x3ea" },
      facts: { mode: "cold", passedOver: [{ file: "snapshot.3e4" }] },
    });
    expect(attempts).toEqual([1, 2]);
    expect({ stops: node.stops, starts: node.starts }).toEqual({ stops: 1, starts: 1 });
    await expectPaid(run);
  });

  it.concurrent.for([false, true])(
    "although its log is damaged, with allowDamaged %s",
    async (allowDamaged, context) => {
      const run = await prepare(context, { fixture: "zookeeper-3.8.0-rich" });
      const { node } = run;
      node.zxid = 0x3ean;
      await flipBit(join(run.dataDir, "version-2", "log.3e5"), 60);
      const { manifest, error } = await run.backUp({ allowDamaged });
      if (allowDamaged) expect(manifest).toMatchObject({ verified: false, facts: { mode: "cold" } });
      else expect(error?.code).toMatch(/^ERR_SOURCE_/);
      expect({ stops: node.stops, starts: node.starts }).toEqual({ stops: 1, starts: 1 });
      await expectPaid(run);
    },
  );

  it.concurrent("although the store fails", async (context) => {
    const gone = new BackypError("ERR_SINK_UNAVAILABLE", "the store is gone");
    const sink = withFaults(memorySink(), { put: [null, gone] });
    const run = await prepare(context, { sink });
    const { node } = run;
    let pidWhenBack: number | null = null;
    run.at("caught-up", () => {
      pidWhenBack = node.pid;
    });
    expect((await run.backUp()).error).toMatchObject({ code: "ERR_SINK_UNAVAILABLE" });
    expect(node.pid).toBe(pidWhenBack);
    expect({ stops: node.stops, starts: node.starts }).toEqual({ stops: 1, starts: 1 });
    await expectPaid(run);
  });
});
