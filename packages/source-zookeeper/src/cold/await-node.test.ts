import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { BackypError } from "@zk-backyp/core";
import { describe, expect, it } from "vitest";
import type { NodeControl, NodeState, NodeStatus } from "../node-control/node-control.ts";
import type { ServerStatus } from "../server-status.ts";
import { identityOf } from "../stop-promise/process-identity.ts";
import { type AwaitedNode, isListening, NotBack, untilCaughtUp, untilServing, untilStopped } from "./await-node.ts";

/** Nobody listens there. */
const CLOSED = { host: "127.0.0.1", port: 1 };
const DOWN = { asked: null, isGone: true };
const within = (ms: number): AbortSignal => AbortSignal.timeout(ms);

const says = (role: string, zxid = 5n): ServerStatus => ({
  version: "3.8.4",
  role,
  zxid,
  nodeCount: 5,
  digestMismatches: null,
  serverId: null,
  leaderId: null,
  syncedFollowers: null,
  learners: null,
});

interface Script {
  /** One for each call; the last one goes on. */
  readonly states?: readonly (NodeState | Error)[];
  readonly answers?: readonly (ServerStatus | Error)[];
  readonly starts?: readonly (Error | null)[];
  readonly port?: AwaitedNode["port"];
  readonly keptStopped?: string;
  /** What the supervisor takes for the node's process. */
  readonly pid?: number;
  /** Serves only once it was started so often. */
  readonly neededStarts?: number;
}

function nodeThat(script: Script): { readonly node: AwaitedNode; readonly calls: { starts: number; looks: number } } {
  const calls = { starts: 0, looks: 0, answers: 0 };
  const nth = <Item>(items: readonly (Item | Error)[], index: number): Item => {
    const item = items[Math.min(index, items.length - 1)];
    if (item instanceof Error) throw item;
    return item as Item;
  };
  const control: NodeControl = {
    name: "the node",
    async stop() {},
    async start() {
      calls.starts += 1;
      nth(script.starts ?? [null], calls.starts - 1);
    },
    async status(): Promise<NodeStatus> {
      calls.looks += 1;
      return { state: nth(script.states ?? ["stopped"], calls.looks - 1), pid: script.pid ?? null };
    },
    startCommand: null,
    async close() {},
  };
  const node: AwaitedNode = {
    control,
    port: script.port ?? CLOSED,
    async ask() {
      if (calls.starts < (script.neededStarts ?? 0)) throw new Error("connection refused");
      calls.answers += 1;
      return nth(script.answers ?? [new Error("no answer")], calls.answers - 1);
    },
    whyKeepStopped: async () => script.keptStopped ?? null,
  };
  return { node, calls };
}

const unasked = new BackypError("ERR_NODE_CONTROL", "monit cannot be asked");

describe("a node is stopped", () => {
  it.each<NodeState>(["stopped", "failed"])("when it is called %s, and nothing else is left of it", async (state) => {
    const { node } = nodeThat({ states: ["running", "stopping", unasked, state] });
    await untilStopped(node, null, within(5_000));
  });

  it.each<NodeState>(["running", "starting", "stopping"])("never while it is called %s", async (state) => {
    const { node, calls } = nodeThat({ states: [state] });
    await expect(untilStopped(node, null, within(200))).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(calls.looks).toBeGreaterThan(1);
  });

  it("never while the process lives that was asked", async () => {
    const { node } = nodeThat({ states: ["stopped"] });
    const alive = await identityOf(process.pid);
    await expect(untilStopped(node, alive, within(200))).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("when another process has its pid by now", async () => {
    const { node } = nodeThat({ states: ["stopped"] });
    const alive = await identityOf(process.pid);
    await untilStopped(node, { ...alive, startTicks: "1" }, within(5_000));
  });

  it("not while its port is open, which may be a moment longer", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const { node } = nodeThat({ states: ["stopped"], port: { host: "127.0.0.1", port } });
    let isStopped = false;
    const stopped = untilStopped(node, null, within(5_000)).then(() => {
      isStopped = true;
    });
    await sleep(200);
    expect(isStopped).toBe(false);
    server.close();
    await stopped;
  });

  it("is not guessed from a supervisor's failure that is none of asking it", async () => {
    const { node } = nodeThat({ states: [new TypeError("a mistake of the control's")] });
    await expect(untilStopped(node, null, within(5_000))).rejects.toThrow("a mistake of the control's");
  });
});

describe("a port", () => {
  it("is closed only where the connection is refused", async () => {
    expect(await isListening(CLOSED)).toBe(false);
    expect(await isListening({ host: "no-such-host.invalid", port: 1 })).toBe(true);
  });
});

describe("a node serves", () => {
  it.each(["leader", "follower", "observer", "standalone"])("as %s", async (role) => {
    const { node } = nodeThat({ answers: [new Error("refused"), says(""), says("read-only"), says(role)] });
    expect(await untilServing(node, DOWN, () => {}, within(5_000))).toMatchObject({ role });
  });

  it("after it was started once, of which the caller hears once", async () => {
    const refused = new BackypError("ERR_NODE_CONTROL", "busy");
    const { node, calls } = nodeThat({ starts: [refused, null], answers: [new Error("refused"), says("leader")] });
    let heard = 0;
    const onAccepted = (): void => {
      heard += 1;
    };
    await untilServing(node, DOWN, onAccepted, within(5_000));
    expect({ heard, starts: calls.starts }).toEqual({ heard: 1, starts: 2 });
  });

  it("not with the process that was asked to stop and is still there, before it is clear that it stays", async () => {
    const asked = await identityOf(process.pid);
    const { node } = nodeThat({ states: ["running"], answers: [says("leader")] });
    const before = { asked, isGone: false };
    await expect(untilServing(node, before, () => {}, within(1_500))).rejects.toBeInstanceOf(NotBack);
  });

  it("with the next process, once the one that was asked to stop is gone", async () => {
    const asked = { ...(await identityOf(process.pid)), startTicks: "1" };
    const { node } = nodeThat({ states: ["running"], answers: [says("leader")] });
    expect(await untilServing(node, { asked, isGone: false }, () => {}, within(5_000))).toMatchObject({
      role: "leader",
    });
  });

  it("after a late stop of ours, which is not taken for an operator's", async () => {
    const asked = { ...(await identityOf(process.pid)), startTicks: "1" };
    // Its supervisor knows a moment later than we that it is gone.
    const { node, calls } = nodeThat({
      states: ["running", "stopped"],
      pid: asked.pid,
      neededStarts: 2,
      answers: [says("leader")],
    });
    await untilServing(node, { asked, isGone: false }, () => {}, within(8_000));
    expect(calls.starts).toBe(2);
  });

  it("never, where an operator has stopped it since it was seen to run", async () => {
    const asked = { ...(await identityOf(process.pid)), startTicks: "1" };
    const { node, calls } = nodeThat({ states: ["running", "stopped"], pid: asked.pid + 1, neededStarts: 2 });
    const failure = await untilServing(node, { asked, isGone: true }, () => {}, within(8_000)).catch(
      (error: NotBack) => error,
    );
    expect(failure).toMatchObject({
      why: "stopped-again",
      message: expect.stringMatching(/somebody stopped it again/),
    });
    expect(calls.starts).toBe(1);
  });

  it("is not waited for where it is kept stopped on purpose", async () => {
    const { node, calls } = nodeThat({ keptStopped: "the unit is masked" });
    const failure = await untilServing(node, DOWN, () => {}, within(5_000)).catch((error: NotBack) => error);
    expect(failure).toMatchObject({ why: "kept-stopped", message: "the unit is masked" });
    expect(calls.starts).toBe(0);
  });

  it("is not waited for longer than the caller wants, and then all is told that is known", async () => {
    const { node } = nodeThat({ states: ["starting"], answers: [new Error("connection refused")] });
    const failure = await untilServing(node, DOWN, () => {}, within(700)).catch((error: NotBack) => error);
    expect(failure).toMatchObject({
      why: "too-late",
      message: "the start was accepted 1 times; its supervisor says that it is starting; connection refused",
    });
  });
});

describe("a node has caught up", () => {
  it("when it shows at least that zxid, in a role in which it serves", async () => {
    const { node } = nodeThat({
      answers: [says("follower", 4n), new Error("no answer"), says("", 9n), says("follower", 5n)],
    });
    expect(await untilCaughtUp(node, 5n, within(5_000))).toMatchObject({ role: "follower", zxid: 5n });
  });

  it("by any zxid where nobody has one yet", async () => {
    const { node } = nodeThat({ answers: [says("follower", 0n)] });
    expect(await untilCaughtUp(node, 0n, within(5_000))).toMatchObject({ zxid: 0n });
  });

  it("or else both zxids are told", async () => {
    const { node } = nodeThat({ answers: [says("follower", 0x4n)] });
    const failure = await untilCaughtUp(node, 0x1_0000_0005n, within(200)).catch((error: NotBack) => error);
    expect(failure).toMatchObject({ message: expect.stringMatching(/had 0x100000005 .* has applied 0x4$/) });
  });
});
