import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { BackypError, silentLogger } from "@zk-backyp/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NodeControl } from "../src/node-control/node-control.ts";
import { openNodeControl } from "../src/node-control/open-node-control.ts";
import { type JournalFile, journalIn } from "../src/stop-promise/journal.ts";
import { type Recovery, type RecoveryOptions, recoverNode } from "../src/stop-promise/recover.ts";
import { type DummyNode, makeDummyNode } from "./dummy-node.ts";

const source = (path: string): string => JSON.stringify(fileURLToPath(new URL(`../src/${path}`, import.meta.url)));

// Begins a journal, has the node stopped, and waits for its end.
const PROGRAM = `
  import { spawn } from "node:child_process";
  import { once } from "node:events";
  import { journalIn } from ${source("stop-promise/journal.ts")};
  const [stateDir, script, wait] = process.argv.slice(1);
  await journalIn(stateDir).begin({ node: "the test's node", backInMs: 60_000 });
  const stop = spawn(script, ["stop"], { stdio: "ignore", detached: true });
  if (wait === "wait") await once(stop, "exit");
  console.log("stopped");
  setInterval(() => {}, 1000);`;

let folder: string;
let stateDir: string;
let journal: JournalFile;
let node: DummyNode;
let control: NodeControl;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-recover-"));
  stateDir = join(folder, "state");
  journal = journalIn(stateDir);
  node = await makeDummyNode(folder);
  const { script } = node;
  control = openNodeControl(
    { use: "command", start: [script, "start"], stop: [script, "stop"], status: [script, "status"] },
    folder,
  );
});
afterEach(async () => {
  const pid = await node.pid();
  if (pid !== null) process.kill(pid, "SIGKILL");
  await rm(folder, { recursive: true });
});

const recover = (changes: Partial<RecoveryOptions> = {}): Promise<Recovery> =>
  recoverNode({
    control,
    stateDir,
    stayStoppedFile: join(folder, "stay"),
    signal: AbortSignal.timeout(60_000),
    logger: silentLogger,
    settleMs: 0,
    ...changes,
  });

/** A run that begins a journal and asks for the stop, and is killed when it is disposed of. */
async function stoppingRun(waits: boolean): Promise<AsyncDisposable & { readonly pid: number }> {
  const args = [stateDir, node.script, waits ? "wait" : "go on"];
  const child = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout })) if (line === "stopped") break;
  return {
    pid: child.pid ?? 0,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

async function deadRun(waits = true): Promise<void> {
  const run = await stoppingRun(waits);
  await run[Symbol.asyncDispose]();
}

describe("a recovery", () => {
  it("does nothing where nothing is owed", async () => {
    node.run("stop");
    expect(await recover()).toEqual({ did: "nothing" });
    expect(await node.starts()).toBe(0);
  });

  it("starts the node that a dead run left stopped, and removes its journal", async () => {
    await deadRun();
    expect(await recover()).toEqual({ did: "started" });
    expect(await node.pid()).not.toBeNull();
    expect(await journal.read()).toBeNull();
  });

  it("waits for the node to serve before it removes the journal", async () => {
    await deadRun();
    const notServing = new BackypError("ERR_NODE_DOWN", "it does not serve");
    await expect(recover({ waitServing: () => Promise.reject(notServing) })).rejects.toBe(notServing);
    expect(await journal.read()).not.toBeNull();
    let journalWhileWaiting: unknown = null;
    const waitServing = async (): Promise<void> => {
      journalWhileWaiting = await journal.read();
    };
    expect(await recover({ waitServing })).toEqual({ did: "was-running" });
    expect(journalWhileWaiting).not.toBeNull();
    expect(await journal.read()).toBeNull();
  });

  it("leaves the node of a living run alone", async () => {
    await using run = await stoppingRun(true);
    await expect(recover()).rejects.toMatchObject({
      code: "ERR_BUSY",
      message: expect.stringContaining(`process ${run.pid} has been at work`),
    });
    expect(await node.starts()).toBe(0);
  });

  it("leaves the node of a run of this process alone, until that gives up", async () => {
    const { run } = await journal.begin({ node: control.name, backInMs: 60_000 });
    node.run("stop");
    await expect(recover()).rejects.toMatchObject({ code: "ERR_BUSY" });
    journal.leave(run);
    expect(await recover()).toEqual({ did: "started" });
  });

  it("is not fooled by a node that runs while a stop is still under way", async () => {
    await writeFile(join(folder, "slow"), "2");
    await deadRun(false);
    expect(await node.pid(), "it runs still").not.toBeNull();
    expect(await recover({ settleMs: 5_000 })).toEqual({ did: "started" });
    expect(await node.pid()).not.toBeNull();
    await sleep(1_000);
    expect(await node.pid()).not.toBeNull();
  });

  it.each([
    ["cannot be read", "\0\0\0\0"],
    ["is torn", '{"formatVersion":1,"run":"12'],
  ])("starts the node where the journal %s", async (_, text) => {
    await deadRun();
    await writeFile(journal.path, text);
    expect(await recover()).toEqual({ did: "started" });
    expect(await journal.read()).toBeNull();
  });

  it("starts it again until it runs", async () => {
    await deadRun();
    await node.spoil(2, 1);
    expect(await recover()).toEqual({ did: "started" });
    expect(await node.starts()).toBe(3);
  });

  it("says what it knows when the node does not come back, and owes it still", async () => {
    await deadRun();
    await node.spoil(1_000, 7);
    await expect(recover({ limitMs: 1_500 })).rejects.toMatchObject({
      code: "ERR_NODE_DOWN",
      message: expect.stringMatching(
        /is (stopped|failed) after 1\.5 s of starting it \(no start was accepted; last: .*7/,
      ),
    });
    expect(await journal.read()).not.toBeNull();
  });

  it("respects an operator for as long as he says so", async () => {
    await deadRun();
    await writeFile(join(folder, "stay"), "");
    const why = `${join(folder, "stay")} is there`;
    expect(await recover()).toEqual({ did: "stays-stopped", why, owed: true });
    const masked = { ...control, whyKeepStopped: async () => "the unit is masked" };
    expect(await recover({ stayStoppedFile: null, control: masked })).toEqual({
      did: "stays-stopped",
      why: "the unit is masked",
      owed: true,
    });
    expect(await node.starts()).toBe(0);
    expect(await journal.read()).not.toBeNull();
    await rm(join(folder, "stay"));
    expect(await recover()).toEqual({ did: "started" });
  });

  it("respects an operator who stopped the node after the guard had done its work", async () => {
    await deadRun();
    const { run } = (await journal.read()) ?? {};
    await writeFile(`${journal.path}.rescued`, `${run}\n`);
    await writeFile(`${journal.path}.started`, `${run}\n`);
    const telling = { ...control, tellsFailed: true };
    expect(await recover({ control: telling })).toMatchObject({ did: "stays-stopped", owed: false });
    expect(await node.starts()).toBe(0);
    expect(await journal.read()).toBeNull();
  });

  it("starts it once more where a stop by an operator cannot be told from a crash", async () => {
    await deadRun();
    const { run } = (await journal.read()) ?? {};
    await writeFile(`${journal.path}.started`, `${run}\n`);
    expect(await recover()).toEqual({ did: "started" });
  });

  it.each([
    ["had not finished", ".rescued", ""],
    ["was another run's", ".started", "another "],
  ])("starts a stopped node whose guard %s", async (_, mark, before) => {
    await deadRun();
    const { run } = (await journal.read()) ?? {};
    await writeFile(journal.path + mark, `${before}${run}\n`);
    expect(await recover()).toEqual({ did: "started" });
  });

  it("starts a node that failed, also when its guard had done its work", async () => {
    await deadRun();
    const { run } = (await journal.read()) ?? {};
    await writeFile(`${journal.path}.started`, `${run}\n`);
    await rm(join(folder, "asked"));
    expect(await recover()).toEqual({ did: "started" });
  });

  it("ends when it is told to, and owes the start still", async () => {
    await deadRun();
    await node.spoil(1_000, 1);
    await expect(recover({ signal: AbortSignal.timeout(1_000) })).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(await journal.read()).not.toBeNull();
  });

  it("starts nothing any more when somebody else has paid meanwhile", async () => {
    await deadRun();
    await node.spoil(1_000, 1);
    const recovery = recover();
    await sleep(500);
    await rm(journal.path);
    expect(await recovery).toEqual({ did: "nothing" });
  });
});
