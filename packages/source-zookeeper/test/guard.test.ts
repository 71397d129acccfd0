import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { armGuard } from "../src/stop-promise/guard.ts";
import { type JournalFile, journalIn } from "../src/stop-promise/journal.ts";
import { type DummyNode, makeDummyNode, processesOfSession } from "./dummy-node.ts";

const source = (path: string): string => JSON.stringify(fileURLToPath(new URL(`../src/${path}`, import.meta.url)));

// Does what a backup does: journal, guard, stop. Then it says so and waits for its fate, or for a word.
const PROGRAM = `
  import { spawn, spawnSync } from "node:child_process";
  import { createInterface } from "node:readline";
  import { journalIn } from ${source("stop-promise/journal.ts")};
  import { armGuard } from ${source("stop-promise/guard.ts")};
  const [stateDir, script, backInMs, stayStoppedFile] = process.argv.slice(1);
  const journal = journalIn(stateDir);
  const { run } = await journal.begin({ node: "the test's node", backInMs: Number(backInMs) });
  const guard = await armGuard({
    startCommand: [script, "start"], journalFile: journal.path, run, backInMs: Number(backInMs), stayStoppedFile,
  });
  // A child that outlives us must not hold our end of the guard's pipe.
  spawn("sleep", ["20"], { stdio: "ignore" }).unref();
  spawnSync(script, ["stop"], { stdio: "ignore" });
  console.log(guard.pid);
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "acted?") console.log(await guard.hasActed());
    if (line === "give up") guard.handOver();
    if (line === "serve") {
      spawnSync(script, ["start"], { stdio: "ignore" });
      await journal.end(run);
      await guard.dismiss();
      console.log("served");
    }
  }`;

interface Program {
  readonly process: ChildProcess;
  readonly guard: number;
  /** The other one of the guard's two shells. */
  readonly timer: number;
  ask(word: string): Promise<string>;
}

let folder: string;
let journal: JournalFile;
let node: DummyNode;
let program: ChildProcess | undefined;
const sessions: number[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-guard-"));
  journal = journalIn(join(folder, "state"));
  node = await makeDummyNode(folder);
});

afterEach(async () => {
  program?.kill("SIGKILL");
  // Nothing is owed any more, so whatever is left of the guard ends by itself; what does not is ended here.
  await rm(journal.path, { force: true });
  const pid = await node.pid();
  if (pid !== null) process.kill(pid, "SIGKILL");
  for (const session of sessions.splice(0)) {
    for (const left of await processesOfSession(session)) process.kill(left.pid, "SIGKILL");
  }
  await rm(folder, { recursive: true });
});

async function stopNode(backInMs: number): Promise<Program> {
  const args = [join(folder, "state"), node.script, String(backInMs), join(folder, "stay")];
  const child = spawn(process.execPath, ["--input-type=module", "-e", PROGRAM, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  program = child;
  sessions.push(child.pid ?? 0);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const guard = Number((await lines.next()).value);
  sessions.push(guard);
  expect(await node.pid(), "it was stopped").toBeNull();
  const [timer] = (await processesOfSession(guard)).filter(({ pid, name }) => pid !== guard && name === "sh");
  return {
    process: child,
    guard,
    timer: timer?.pid ?? 0,
    async ask(word) {
      child.stdin.write(`${word}\n`);
      return String((await lines.next()).value);
    },
  };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** Without the node that it has started. */
async function guardOf(stopper: Program): Promise<unknown[]> {
  const nodePid = await node.pid();
  return (await processesOfSession(stopper.guard)).filter(({ pid }) => pid !== nodePid);
}

const nodeRuns = (): Promise<unknown> => expect.poll(() => node.pid(), { timeout: 10_000 }).not.toBeNull();
const rescue = async (): Promise<string> => journal.rescue((await journal.read())?.run ?? null);

describe("a guard", () => {
  it("starts the node at once when the process is killed, and says so before it does", async () => {
    const { process: stopper } = await stopNode(600_000);
    await kill(stopper);
    await nodeRuns();
    expect(await rescue()).toBe("begun");
    expect(await readFile(join(folder, "state", "guard.log"), "utf8")).toMatch(
      /^2\S+Z the process that stopped the node is gone: starting the node: \S+node.sh start\n2\S+Z the start was accepted\n$/,
    );
  });

  it("starts it at the deadline although the process lives, which learns of it", async () => {
    const stopper = await stopNode(2_000);
    expect(await stopper.ask("acted?")).toBe("false");
    stopper.process.kill("SIGSTOP");
    await nodeRuns();
    stopper.process.kill("SIGCONT");
    expect(await stopper.ask("acted?")).toBe("true");
    expect(await rescue()).toBe("begun");
  });

  it.each([
    ["its first shell is killed", 2_000, ["guard"]],
    ["the process and its first shell are killed", 2_000, ["guard", "process"]],
    ["its second shell and the process are killed", 600_000, ["timer", "process"]],
    ["the process is paused and its first shell is killed", 2_000, ["pause", "guard"]],
  ])("starts the node also when %s", async (_, backInMs, victims) => {
    const stopper = await stopNode(backInMs);
    for (const victim of victims) {
      if (victim === "guard") process.kill(stopper.guard, "SIGKILL");
      if (victim === "timer") process.kill(stopper.timer, "SIGKILL");
      if (victim === "process") await kill(stopper.process);
      if (victim === "pause") stopper.process.kill("SIGSTOP");
    }
    await nodeRuns();
    expect(await rescue()).toBe("begun");
  });

  it.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)(
    "outlives a %s to everything that belongs to us",
    async (signal) => {
      const stopper = await stopNode(600_000);
      const before = await processesOfSession(stopper.guard);
      expect(before.map(({ name }) => name).sort()).toEqual(["sh", "sh", "sleep"]);
      for (let times = 0; times < 20; times++) {
        for (const { pid } of before) process.kill(pid, signal);
        await sleep(5);
      }
      expect(await processesOfSession(stopper.guard)).toEqual(before);
      expect(await node.starts()).toBe(0);
      process.kill(-(stopper.process.pid ?? 0), signal);
      await nodeRuns();
    },
  );

  it("starts a node that a signal still ends", async () => {
    const { process: stopper } = await stopNode(600_000);
    await kill(stopper);
    await nodeRuns();
    const status = await readFile(`/proc/${await node.pid()}/status`, "utf8");
    const ignored = Number.parseInt(/^SigIgn:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "", 16);
    // HUP and TERM; a shell without job control has its background jobs ignore INT and QUIT.
    expect(ignored & ((1 << 0) | (1 << 14))).toBe(0);
  });

  it.each([
    ["fails", 1],
    ["is accepted and does nothing", 0],
  ])("starts it again when a start %s", async (_, exitCode) => {
    const { process: stopper } = await stopNode(600_000);
    await node.spoil(2, exitCode);
    await kill(stopper);
    await nodeRuns();
    expect(await node.starts()).toBe(3);
    const log = await readFile(join(folder, "state", "guard.log"), "utf8");
    expect(log).toContain("spoilt start");
    if (exitCode === 1) expect(log).toContain("the start failed with exit code 1");
  });

  it("starts it where the journal cannot be read any more", async () => {
    const { process: stopper } = await stopNode(600_000);
    await writeFile(journal.path, "\0\0\0");
    await kill(stopper);
    await nodeRuns();
  });

  it.each([
    ["the journal is gone", () => rm(journal.path)],
    ["the journal is another run's", () => writeFile(journal.path, '{"formatVersion":1,"run":"another"}\n')],
    ["an operator wants it to stay stopped", () => writeFile(join(folder, "stay"), "")],
  ])("starts nothing when %s", async (_, change) => {
    const stopper = await stopNode(1_500);
    await change();
    await kill(stopper.process);
    await expect.poll(() => processesOfSession(stopper.guard), { timeout: 10_000 }).toEqual([]);
    expect(await node.starts()).toBe(0);
    expect(await journal.rescue((await journal.read())?.run ?? null)).toBe("none");
  });

  it("starts the node when the process gives up", async () => {
    const stopper = await stopNode(600_000);
    stopper.process.stdin?.write("give up\n");
    await nodeRuns();
    expect(await stopper.ask("acted?")).toBe("true");
  });

  it("goes when it is dismissed, and leaves nothing", async () => {
    const stopper = await stopNode(8_000);
    expect(await stopper.ask("serve")).toBe("served");
    expect(await processesOfSession(stopper.guard)).toEqual([]);
    await sleep(8_500);
    expect(await node.starts()).toBe(1);
    expect(await journal.read()).toBeNull();
  });

  it("goes when it is dismissed after its first shell was killed", async () => {
    const stopper = await stopNode(600_000);
    process.kill(stopper.guard, "SIGKILL");
    await sleep(100);
    expect(await stopper.ask("serve")).toBe("served");
    expect(await processesOfSession(stopper.guard)).toEqual([]);
  });

  it("ends its attempts when the debt is paid by somebody else", async () => {
    const stopper = await stopNode(600_000);
    await node.spoil(1_000, 1);
    await kill(stopper.process);
    await expect.poll(() => node.starts(), { timeout: 10_000 }).toBeGreaterThan(1);
    await rm(journal.path);
    await expect.poll(() => processesOfSession(stopper.guard), { timeout: 12_000 }).toEqual([]);
  });

  it("ends when somebody has paid after its starts, also where another run has begun", {
    timeout: 60_000,
  }, async () => {
    const stopper = await stopNode(600_000);
    await kill(stopper.process);
    await nodeRuns();
    await expect.poll(() => node.starts(), { timeout: 40_000, interval: 500 }).toBe(6);
    await journal.end((await journal.read())?.run ?? null);
    await journal.begin({ node: "the test's node", backInMs: 600_000 });
    await expect.poll(() => guardOf(stopper), { timeout: 10_000 }).toEqual([]);
  });

  it("says when it is done: some starts were accepted, and the deadline is over", { timeout: 120_000 }, async () => {
    const { process: stopper } = await stopNode(1_000);
    await kill(stopper);
    await nodeRuns();
    await expect.poll(rescue, { timeout: 100_000, interval: 500 }).toBe("done");
    expect(await node.starts()).toBeGreaterThanOrEqual(6);
  });

  it("takes a few MB of memory", async () => {
    const stopper = await stopNode(600_000);
    let sumKb = 0;
    for (const { pid } of await processesOfSession(stopper.guard)) {
      const status = await readFile(`/proc/${pid}/status`, "utf8");
      const kb = Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]);
      expect(kb).toBeLessThan(4096);
      sumKb += kb;
    }
    expect(sumKb).toBeGreaterThan(0);
    expect(sumKb).toBeLessThan(10_240);
  });

  it("cannot be had without sleep, and is not waited for then", async () => {
    const begun = await journal.begin({ node: "n", backInMs: 1_000 });
    const options = { startCommand: [node.script, "start"], journalFile: journal.path, run: begun.run };
    const path = process.env.PATH;
    process.env.PATH = "/nonexistent";
    try {
      await expect(armGuard({ ...options, backInMs: 1_000, stayStoppedFile: null })).rejects.toMatchObject({
        code: "ERR_NODE_CONTROL",
        message: expect.stringMatching(/exit code 127.*it needs \/bin\/sh and sleep$/),
      });
    } finally {
      process.env.PATH = path;
    }
    await journal.end(begun.run);
  });

  it.each([
    [
      "its folder is missing",
      (options: { journalFile: string }) => ({ journalFile: `${options.journalFile}/no/stop.json` }),
    ],
    ["its arguments are too long", () => ({ startCommand: ["x".repeat(300_000)] })],
    ["an argument cannot be one", () => ({ startCommand: ["a\0b"] })],
  ])("cannot be had when %s", async (_, change) => {
    const begun = await journal.begin({ node: "n", backInMs: 1_000 });
    const options = { startCommand: ["/bin/true"], journalFile: journal.path, run: begun.run, backInMs: 1_000 };
    await expect(armGuard({ ...options, stayStoppedFile: null, ...change(options) })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
    });
    await journal.end(begun.run);
  });
});
