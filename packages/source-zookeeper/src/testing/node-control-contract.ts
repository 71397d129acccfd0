import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { isBackypError } from "@zk-backyp/core";
import type { ContractCase } from "@zk-backyp/core/testing";
import type { NodeControl, NodeState, NodeStatus } from "../node-control/node-control.ts";

/** A process under a supervisor, for the contract to stop and start. */
export interface NodeUnderTest {
  /** The control to test. Closed by the contract. */
  readonly control: NodeControl;
  /** Another one of the same kind, for a name that the supervisor does not know. Closed by the contract. */
  readonly stranger?: NodeControl;
  /** The pid of the living process, found in another way than through the control; null while there is none. */
  livingPid(): Promise<number | null>;
  /** Ends the process and its supervisor, whatever state they are in. */
  dispose(): Promise<void>;
}

export interface NodeControlContractOptions {
  /** Longest time in milliseconds until a start or a stop must be done. Default: 30,000. */
  readonly doneWithinMs?: number;
  /** Longest time in milliseconds from an abort to the rejection. Default: 1000. */
  readonly abortWithinMs?: number;
}

/**
 * The guarantees of a {@link NodeControl}, as cases for any test runner.
 *
 * @param startNode makes a node that runs, with a control of its own. Its process takes a second or so to end when it is
 * asked to, so that a stop is pending for a while; called once for each case
 */
export function nodeControlContract(
  startNode: () => Promise<NodeUnderTest>,
  options: NodeControlContractOptions = {},
): ContractCase[] {
  const { doneWithinMs = 30_000, abortWithinMs = 1000 } = options;
  const backInMs = 10 * doneWithinMs;

  const contractCase = (name: string, check: (node: Checked) => Promise<void>): ContractCase => ({
    name,
    async run() {
      const node = await startNode();
      const signal = AbortSignal.timeout(5 * doneWithinMs);
      try {
        await check({ ...node, signal, doneWithinMs, until: (...states) => until(node, states, doneWithinMs, signal) });
      } finally {
        await node.control.close();
        await node.stranger?.close();
        await node.dispose();
      }
    },
  });

  return [
    contractCase(
      "stops the node, and starts it again as another process",
      async ({ control, livingPid, signal, until }) => {
        assert.notEqual(control.name.trim(), "");
        const before = await until("running");
        await control.stop({ signal, backInMs });
        const stopped = await until("stopped");
        assert.equal(stopped.pid, null, "what is stopped has no process");
        assert.equal(await livingPid(), null, "the process must be gone");
        await control.start({ signal });
        const after = await until("running");
        assert.notEqual(await livingPid(), null, "the process must be there");
        if (before.pid !== null) assert.notEqual(after.pid, before.pid, "must be another process");
      },
    ),

    contractCase("tells the pid of the process, if it tells any", async ({ livingPid, until }) => {
      const { pid } = await until("running");
      if (pid !== null) assert.equal(pid, await livingPid());
    }),

    contractCase("never calls stopped what is still stopping", async ({ control, livingPid, signal, until }) => {
      await until("running");
      const stopping = control.stop({ signal, backInMs });
      stopping.catch(() => {});
      const seen = new Set<NodeState>();
      const deadline = Date.now() + doneWithinMs;
      while (!seen.has("stopped")) {
        assert.ok(Date.now() < deadline, `not stopped within ${doneWithinMs} ms: ${[...seen].join(", ")}`);
        const { state } = await control.status({ signal });
        seen.add(state);
        if (state === "stopped") assert.equal(await livingPid(), null, "called stopped with its process alive");
        await sleep(20);
      }
      await stopping;
      assert.ok(!seen.has("failed"), "a stop that was asked for is no failure");
      assert.ok(seen.has("stopping"), "was never seen stopping: does the process of this test end too soon?");
    }),

    contractCase("takes a second stop, and a stop of what is stopped", async ({ control, signal, until }) => {
      await until("running");
      await Promise.all([control.stop({ signal, backInMs }), control.stop({ signal, backInMs })]);
      await until("stopped");
      await control.stop({ signal, backInMs });
      assert.equal((await control.status({ signal })).state, "stopped");
    }),

    contractCase("takes a start of what runs, and leaves it alone", async ({ control, livingPid, signal, until }) => {
      await until("running");
      const before = await livingPid();
      await control.start({ signal });
      await control.start({ signal });
      await until("running");
      assert.equal(await livingPid(), before, "a start must not replace a running process");
    }),

    contractCase("takes a second start while the first is under way", async ({ control, livingPid, signal, until }) => {
      await until("running");
      await control.stop({ signal, backInMs });
      await until("stopped");
      await Promise.all([control.start({ signal }), control.start({ signal })]);
      const { pid } = await until("running");
      if (pid !== null) assert.equal(pid, await livingPid());
    }),

    contractCase("starts the node again that is being stopped", async (node) => {
      const { control, signal, until } = node;
      await until("running");
      const stopping = control.stop({ signal, backInMs });
      stopping.catch(() => {});
      // The stop is under way, whether stop() has resolved or not.
      await until("stopping", "stopped");
      await startUntilRunning(node);
      await stopping;
      await staysUp(node);
    }),

    contractCase("forgets nothing when a stop is aborted: a start brings the node back", async (node) => {
      const { control, until } = node;
      await until("running");
      const abort = new AbortController();
      const stopping = control.stop({ signal: abort.signal, backInMs });
      stopping.catch(() => {});
      await until("stopping", "stopped");
      abort.abort();
      await stopping.catch(() => {});
      await startUntilRunning(node);
      await staysUp(node);
    }),

    contractCase("rejects with ERR_ABORTED when it is aborted", async ({ control, until }) => {
      const before = await until("running");
      const aborted = AbortSignal.abort();
      const isAborted = (error: unknown): boolean => isBackypError(error, "ERR_ABORTED");
      await assert.rejects(control.status({ signal: aborted }), isAborted);
      await assert.rejects(control.stop({ signal: aborted, backInMs }), isAborted);
      await assert.rejects(control.start({ signal: aborted }), isAborted);
      const abort = new AbortController();
      const asked = control.status({ signal: abort.signal }).then(
        () => null,
        (error: unknown) => error,
      );
      abort.abort();
      const outcome = await Promise.race([asked, sleep(abortWithinMs, "late")]);
      assert.ok(outcome === null || isAborted(outcome), `${String(outcome)} after an abort`);
      assert.equal((await until("running")).pid, before.pid, "what was aborted beforehand must not reach the node");
    }),

    contractCase("fails with ERR_NODE_CONTROL for a node that the supervisor does not know", async (node) => {
      const { stranger, signal, until } = node;
      await until("running");
      if (stranger === undefined) return;
      const isRefused = (error: unknown): boolean => isBackypError(error, "ERR_NODE_CONTROL");
      await assert.rejects(stranger.status({ signal }), isRefused);
      await assert.rejects(stranger.stop({ signal, backInMs }), isRefused);
      await assert.rejects(stranger.start({ signal }), isRefused);
    }),

    contractCase(
      "has a command that starts the node without this process",
      async ({ control, livingPid, signal, until }) => {
        await until("running");
        if (control.startCommand === null) return;
        const [program = "", ...args] = control.startCommand;
        assert.ok(program.startsWith("/"), `${program} is no absolute path`);
        await control.stop({ signal, backInMs });
        // Also while the stop is pending: it is then accepted, or fails, and whoever runs it tries again.
        const deadline = Date.now() + doneWithinMs;
        while ((await exitCode(program, args)) !== 0) {
          assert.ok(Date.now() < deadline, `not accepted within ${doneWithinMs} ms: ${control.startCommand.join(" ")}`);
          await sleep(200);
        }
        await until("running");
        assert.notEqual(await livingPid(), null);
        assert.equal(await exitCode(program, args), 0, "must be accepted, too, while the node runs");
      },
    ),
  ];
}

interface Checked extends NodeUnderTest {
  readonly signal: AbortSignal;
  readonly doneWithinMs: number;
  until(...states: readonly NodeState[]): Promise<NodeStatus>;
}

async function until(
  { control, livingPid }: NodeUnderTest,
  states: readonly NodeState[],
  doneWithinMs: number,
  signal: AbortSignal,
): Promise<NodeStatus> {
  const deadline = Date.now() + doneWithinMs;
  while (true) {
    const status = await control.status({ signal });
    // A supervisor may call it running a moment before the process has done anything that the test could see.
    const isSeen = status.state !== "running" || (await livingPid()) !== null;
    if (states.includes(status.state) && isSeen) return status;
    assert.ok(Date.now() < deadline, `${status.state}, and not ${states.join(" or ")}, after ${doneWithinMs} ms`);
    await sleep(20);
  }
}

/** As whoever waits for a node does: asks, and asks again where that was forgotten. */
async function startUntilRunning({ control, livingPid, signal, doneWithinMs }: Checked): Promise<void> {
  const deadline = Date.now() + doneWithinMs;
  while (true) {
    await control.start({ signal });
    for (let looks = 0; looks < 40; looks += 1) {
      const { state } = await control.status({ signal });
      if (state === "running" && (await livingPid()) !== null) return;
      await sleep(50);
    }
    assert.ok(Date.now() < deadline, `the node did not come back within ${doneWithinMs} ms`);
  }
}

/** Longer than the stop takes: nothing of it comes late. */
async function staysUp({ until, livingPid }: Checked): Promise<void> {
  await sleep(3000);
  await until("running");
  assert.notEqual(await livingPid(), null, "the node went down again after its start");
}

/** How a program ends that has nobody to talk to, as when a guard runs it. */
function exitCode(program: string, args: readonly string[]): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [...args], { stdio: "ignore", detached: true });
    child.on("error", reject);
    child.on("exit", resolve);
  });
}
