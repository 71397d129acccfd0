import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import type { NodeControl } from "../src/node-control/node-control.ts";
import { openNodeControl } from "../src/node-control/open-node-control.ts";
import { nodeControlContract } from "../src/testing/index.ts";
import { type SlowNode, slowNode } from "./slow-node.ts";

const signal = (): AbortSignal => AbortSignal.timeout(60_000);
const backInMs = 600_000;

interface Controlled extends AsyncDisposable {
  readonly folder: string;
  readonly node: SlowNode;
  readonly control: NodeControl;
}

type Overrides = { [name in "start" | "stop" | "status"]?: readonly string[] } & {
  readonly pidFile?: string;
  readonly timeoutMs?: number;
  readonly endsAfterSeconds?: number;
};

async function controlled({ endsAfterSeconds = 1, ...overrides }: Overrides = {}): Promise<Controlled> {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-command-"));
  const node = await slowNode(join(folder, "node"), { endsAfterSeconds });
  const { start, stop, status } = node;
  await openNodeControl({ use: "command", start, stop, status }, "/").start({ signal: signal() });
  return {
    folder,
    node,
    control: openNodeControl({ use: "command", start, stop, status, ...overrides }, folder),
    async [Symbol.asyncDispose]() {
      await node.kill();
      await rm(folder, { recursive: true });
    },
  };
}

async function until(control: NodeControl, state: string): Promise<void> {
  const look = async (): Promise<void> => expect((await control.status({ signal: signal() })).state).toBe(state);
  await vi.waitFor(look, { timeout: 20_000, interval: 20 });
}

for (const [how, overrides] of [
  ["without a pid file", {}],
  ["with a pid file", { pidFile: "node/node.pid" }],
] as const) {
  describe.concurrent(`commands of one's own, ${how}`, () => {
    const cases = nodeControlContract(async () => {
      const test = await controlled(overrides);
      const { control, node } = test;
      return { control, livingPid: node.livingPid, dispose: async () => test[Symbol.asyncDispose]() };
    });
    for (const { name, run } of cases) it(name, run);
  });
}

describe.concurrent("commands of one's own", () => {
  it.each([
    [0, "running"],
    [1, "failed"],
    [2, "failed"],
    [3, "stopped"],
  ] as const)("takes the exit code %i of status for %s", async (code, state) => {
    await using test = await controlled({ status: ["sh", "-c", `exit ${code}`] });
    expect(await test.control.status({ signal: signal() })).toEqual({ state, pid: null });
  });

  it("calls stopped what is dead after it was stopped through it", async () => {
    await using test = await controlled();
    const { folder, node } = test;
    // As zkServer.sh: 1 for whatever does not answer.
    const [shell = "", script = ""] = node.status;
    const status = [shell, "-c", `${shell} ${script} || exit 1`];
    const control = openNodeControl({ use: "command", start: node.start, stop: node.stop, status }, folder);
    await control.stop({ signal: signal(), backInMs });
    expect(await control.status({ signal: signal() })).toEqual({ state: "stopped", pid: null });
    await control.start({ signal: signal() });
    await until(control, "running");
    await node.kill();
    expect((await control.status({ signal: signal() })).state).toBe("failed");
  });

  it("does not call stopped what has died after it was started through it, whatever the commands say", async () => {
    await using test = await controlled();
    const { control, node } = test;
    await control.stop({ signal: signal(), backInMs });
    await control.start({ signal: signal() });
    await until(control, "running");
    await node.kill();
    // Its script says 3, as for one that was stopped.
    expect((await control.status({ signal: signal() })).state).toBe("failed");
  });

  it("does not call stopped what lives by its pid file, whatever the commands say", async () => {
    await using test = await controlled({
      stop: ["true"],
      status: ["sh", "-c", "exit 3"],
      pidFile: "node/node.pid",
    });
    const { control, node } = test;
    await control.stop({ signal: signal(), backInMs });
    expect(await control.status({ signal: signal() })).toEqual({ state: "stopping", pid: await node.livingPid() });
    await node.kill();
    expect(await control.status({ signal: signal() })).toEqual({ state: "stopped", pid: null });
  });

  it("fails with the last line that the command said", async () => {
    await using test = await controlled({ stop: ["sh", "-c", "echo one >&2; echo 'no permission' >&2; exit 4"] });
    await expect(test.control.stop({ signal: signal(), backInMs })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(/failed: exit code 4: no permission$/),
    });
    await expect(test.control.status({ signal: signal() })).resolves.toMatchObject({ state: "running" });
  });

  it("keeps only the end of what a command says without an end", async () => {
    await using test = await controlled({
      stop: ["sh", "-c", "yes noise | head -c 30000000 >&2; echo over >&2; exit 1"],
    });
    const failure = await test.control.stop({ signal: signal(), backInMs }).catch((error: Error) => error);
    expect(String(failure)).toMatch(/exit code 1: over$/);
    expect(String(failure).length).toBeLessThan(500);
  });

  it.each([
    ["knows neither", ["sh", "-c", "exit 4"], /does not tell whether the node runs: exit code 4$/],
    ["dies", ["sh", "-c", "kill -9 $$"], /does not tell whether the node runs: SIGKILL$/],
  ])("fails when the status %s", async (_, status, message) => {
    await using test = await controlled({ status });
    await expect(test.control.status({ signal: signal() })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringMatching(message),
    });
    await expect(test.control.stop({ signal: signal(), backInMs })).rejects.toMatchObject({ code: "ERR_NODE_CONTROL" });
    expect(await test.node.livingPid()).not.toBeNull();
  });

  it("ends a stop that takes too long, and says so", async () => {
    await using test = await controlled({ stop: ["sh", "-c", "exec sleep 60"], timeoutMs: 1000 });
    await expect(test.control.stop({ signal: signal(), backInMs })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringContaining("took longer than 1000 ms and was ended"),
    });
    expect(await test.node.livingPid()).not.toBeNull();
  });

  it("starts a node again whose stop hangs", async () => {
    await using test = await controlled({ timeoutMs: 2000 });
    const { folder, node } = test;
    // Kills the node, and does not return.
    const stop = ["sh", "-c", `${node.stop.join(" ")}; exec sleep 60`];
    const control = openNodeControl(
      { use: "command", start: node.start, stop, status: node.status, timeoutMs: 4000 },
      folder,
    );
    const abort = new AbortController();
    const stopping = control.stop({ signal: abort.signal, backInMs }).catch((error: Error) => error);
    await vi.waitFor(async () => expect(await node.livingPid()).toBeNull(), { timeout: 10_000 });
    abort.abort();
    expect(await stopping).toMatchObject({ code: "ERR_ABORTED" });
    expect((await control.status({ signal: signal() })).state).toBe("stopping");
    await control.start({ signal: signal() });
    await until(control, "running");
    expect(await node.livingPid()).not.toBeNull();
  });

  it("does not wait for a node that keeps the output of its start open", async () => {
    await using test = await controlled();
    const { folder, node } = test;
    await node.kill();
    const start = ["sh", "-c", `sh node/node.sh & echo $! >node/node.pid`];
    const script = join(folder, "start");
    await writeFile(script, `cd ${folder}\n${start[2]}\n`);
    const control = openNodeControl(
      { use: "command", start: ["sh", script], stop: node.stop, status: node.status },
      folder,
    );
    await control.start({ signal: signal() });
    await until(control, "running");
  });

  it("passes arguments as they are, with no shell between", async () => {
    await using test = await controlled();
    const { folder, node } = test;
    await node.kill();
    const told = join(folder, "told");
    const start = ["sh", "-c", `printf '%s\\n' "$@" >${told}`, "sh", "a b", "$HOME", "it's", "*"];
    const control = openNodeControl({ use: "command", start, stop: node.stop, status: node.status }, folder);
    await control.start({ signal: signal() });
    expect(await readFile(told, "utf8")).toBe("a b\n$HOME\nit's\n*\n");
  });
});
