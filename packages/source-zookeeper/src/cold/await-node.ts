import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { abortError, BackypError, isBackypError } from "@zk-backyp/core";
import { formatZxid } from "@zk-backyp/zookeeper-files";
import type { NodeControl, NodeState, NodeStatus } from "../node-control/node-control.ts";
import type { ServingStatus } from "../server-status.ts";
import { SETTLE_MS } from "../stop-promise/bring-back.ts";
import { isAlive, type ProcessIdentity } from "../stop-promise/process-identity.ts";

/** Short, since every wait is a part of the downtime. */
const POLL_MS = 10;
/** How long a port may stay open behind a process that is gone, or a supervisor that calls it stopped. */
const PORT_GRACE_MS = 5_000;
const CONNECT_TIMEOUT_MS = 500;
/** How often the supervisor is asked whether what it was to start is still there. */
const LOOK_MS = 500;
/** A start that the supervisor has forgotten, or that failed, is asked for again this long after the last time. */
const ASK_AGAIN_MS = 2_000;
/** How long a supervisor may take until it has seen that a node runs. */
const NOTED_WITHIN_MS = 15_000;
const SERVING: ReadonlySet<string> = new Set(["leader", "follower", "observer", "standalone"]);

/** A server that starts may accept a connection and never answer it, and a busy one may take a while. */
const FIRST_ASK_TIMEOUT_MS = 250;
const LAST_ASK_TIMEOUT_MS = 4_000;

/** What a node says that serves. */
export type Applied = Pick<ServingStatus, "role" | "zxid">;

/** The node that is stopped, as far as waiting for it goes. */
export interface AwaitedNode {
  readonly control: NodeControl;
  /** Where clients connect to it. */
  readonly port: { readonly host: string; readonly port: number };
  /** Its own word. Fails when it does not answer soon. */
  ask(timeoutMs: number, signal: AbortSignal): Promise<Applied>;
  /** Why an operator wants it to stay stopped, or null. */
  whyKeepStopped(signal: AbortSignal): Promise<string | null>;
}

/**
 * Resolves when the node is stopped beyond doubt: the supervisor says so, the process is gone, and nobody listens on the
 * port.
 *
 * @param asked the process that was asked to stop, where it is known
 * @throws BackypError `ERR_NODE_CONTROL` when something else answers on its port; the signal's reason when it is aborted
 */
export async function untilStopped(
  node: AwaitedNode,
  asked: ProcessIdentity | null,
  signal: AbortSignal,
): Promise<void> {
  let calledStoppedAt: number | null = null;
  while (true) {
    if (signal.aborted) throw abortError(signal);
    const isOpen = await isListening(node.port);
    // The supervisor last: it is the slowest to ask.
    if ((asked === null || !(await isAlive(asked))) && (await isDown(node.control, signal))) {
      if (!isOpen) return;
      calledStoppedAt ??= performance.now();
      if (performance.now() - calledStoppedAt > PORT_GRACE_MS) throw anotherServer(node);
    }
    await pause(signal, POLL_MS);
  }
}

async function isDown(control: NodeControl, signal: AbortSignal): Promise<boolean> {
  try {
    const { state } = await control.status({ signal });
    // Some supervisors count the exit code of a JVM that was told to end as a failure.
    return state === "stopped" || state === "failed";
  } catch (error) {
    // It was asked before the stop and could answer: it is busy, or reads its configuration again.
    if (isBackypError(error, "ERR_NODE_CONTROL")) return false;
    throw error;
  }
}

function anotherServer({ control, port }: AwaitedNode): BackypError {
  return new BackypError(
    "ERR_NODE_CONTROL",
    `${control.name} was stopped, but ${port.host}:${port.port} still answers: does it control another server than the one that is backed up?`,
    { details: { node: control.name, port: port.port } },
  );
}

/** Whether somebody accepts connections. What is neither accepted nor refused counts as somebody. */
export function isListening({ host, port }: AwaitedNode["port"]): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const settle = (listening: boolean): void => {
      socket.destroy();
      resolve(listening);
    };
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => settle(true));
    socket.on("connect", () => settle(true));
    socket.on("error", (error: NodeJS.ErrnoException) => settle(error.code !== "ECONNREFUSED"));
  });
}

/** What is known of a node that does not come back. */
export class NotBack extends Error {
  /**
   * `kept-stopped`: an operator wants that, and it is owed its start once the reason is gone. `stopped-again`: somebody
   * stopped it after it was started, and nothing is owed any more.
   */
  readonly why: "too-late" | "kept-stopped" | "stopped-again";

  constructor(why: NotBack["why"], message: string) {
    super(message);
    this.why = why;
  }
}

/** What came before a start. */
export interface StopBefore {
  /** The process that was asked to stop, where it is known. */
  readonly asked: ProcessIdentity | null;
  /** Whether it was seen to be gone. If not, it may answer for a while, and go then. */
  readonly isGone: boolean;
}

/**
 * Asks for the start until it is accepted, and asks again where the node is down nevertheless; resolves when it serves.
 *
 * A process that was asked to stop and is still there may be about to: it counts only once it has served for
 * {@link SETTLE_MS}.
 *
 * @param onAccepted called when the supervisor has accepted the start for the first time
 * @throws NotBack when the signal is aborted before that, or an operator has stopped the node meanwhile
 */
export async function untilServing(
  node: AwaitedNode,
  before: StopBefore,
  onAccepted: () => void,
  signal: AbortSignal,
): Promise<Applied> {
  const ask = patientAsk(node, signal);
  let { isGone } = before;
  let servesSince = Number.NaN;
  let askedAt = Number.NEGATIVE_INFINITY;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let accepted = 0;
  let wasUp = false;
  let looksAtStopped = 0;
  let state: NodeState = "stopped";
  let trouble = "";
  let answer = "it was not asked";
  const needsStart = (): boolean => state === "stopped" || state === "failed";

  while (!signal.aborted) {
    const now = performance.now();
    if (accepted === 0 || (needsStart() && now - askedAt > ASK_AGAIN_MS)) {
      const why = await node.whyKeepStopped(signal).catch(() => null);
      if (why !== null) throw new NotBack("kept-stopped", why);
      // Twice: a supervisor that restarts a process may show it so for a moment.
      if (wasUp && looksAtStopped > 1 && node.control.tellsFailed !== false) {
        throw new NotBack("stopped-again", "somebody stopped it again while it was starting");
      }
      askedAt = now;
      try {
        await node.control.start({ signal });
        accepted += 1;
        if (accepted === 1) onAccepted();
        trouble = "";
      } catch (error) {
        // That the time is over is no trouble of the supervisor's.
        if (!signal.aborted) trouble = (error as Error).message;
        await pause(signal, accepted === 0 ? LOOK_MS : 0);
      }
    }
    let serving: Applied | null = null;
    try {
      const status = await ask();
      if (SERVING.has(status.role)) serving = status;
      answer = `it says that it is ${status.role || "nothing yet"}`;
    } catch (error) {
      if (!signal.aborted) answer = (error as Error).message;
    }
    if (serving !== null && isGone) return serving;
    if (now - lookedAt > LOOK_MS) {
      lookedAt = now;
      const looked = await node.control.status({ signal }).catch((error: Error): NodeStatus | null => {
        if (!signal.aborted) trouble = error.message;
        return null;
      });
      state = looked?.state ?? state;
      looksAtStopped = looked?.state === "stopped" ? looksAtStopped + 1 : 0;
      isGone ||= before.asked === null ? looked !== null && needsStart() : !(await isAlive(before.asked));
      // One that was starting may be down because its supervisor was restarted and has forgotten the request; the process
      // that was asked to stop, because it was asked.
      wasUp ||= isGone && looked?.state === "running" && isAnother(looked.pid, before.asked);
    }
    if (serving === null || state !== "running") servesSince = Number.NaN;
    else if (Number.isNaN(servesSince)) servesSince = now;
    else if (now - servesSince > SETTLE_MS) return serving;
    await pause(signal, POLL_MS);
  }
  const asked = accepted === 0 ? "no start was accepted" : `the start was accepted ${accepted} times`;
  const facts = [asked, trouble, `its supervisor says that it is ${state}`, answer].filter((fact) => fact !== "");
  throw new NotBack("too-late", facts.join("; "));
}

function isAnother(pid: number | null, asked: ProcessIdentity | null): boolean {
  return asked === null || (pid !== null && pid !== asked.pid);
}

/**
 * Resolves when the supervisor of a node that serves takes it for running, too, or has not done so for long. Before that
 * it may not yet have noted on the disk that the node is not to be stopped any more: after a power cut monit would leave
 * it stopped.
 */
export async function untilNoted({ control }: AwaitedNode, signal: AbortSignal): Promise<void> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(NOTED_WITHIN_MS)]);
  while (!within.aborted) {
    const looked = await control.status({ signal: within }).catch(() => null);
    if (looked?.state === "running") return;
    await pause(within, LOOK_MS);
  }
}

/**
 * Resolves when a node that serves has applied what the ensemble had before.
 *
 * @throws NotBack when the signal is aborted before that
 */
export async function untilCaughtUp(node: AwaitedNode, zxid: bigint, signal: AbortSignal): Promise<Applied> {
  const ask = patientAsk(node, signal);
  let answer = "it was not asked";
  while (!signal.aborted) {
    try {
      const status = await ask();
      if (SERVING.has(status.role) && status.zxid >= zxid) return status;
      answer = `it is ${status.role} and has applied ${formatZxid(status.zxid)}`;
    } catch (error) {
      if (isBackypError(error, "ERR_ABORTED")) break;
      answer = (error as Error).message;
    }
    await pause(signal, POLL_MS);
  }
  throw new NotBack(
    "too-late",
    `it serves, but is behind: the ensemble had ${formatZxid(zxid)} when it was stopped; ${answer}`,
  );
}

/** Asks with a short limit at first, so that a question that is lost costs little, and gives more time when it was used up. */
function patientAsk(node: AwaitedNode, signal: AbortSignal): () => Promise<Applied> {
  let timeoutMs = FIRST_ASK_TIMEOUT_MS;
  return async () => {
    const began = performance.now();
    try {
      return await node.ask(timeoutMs, signal);
    } finally {
      if (performance.now() - began >= timeoutMs) timeoutMs = Math.min(2 * timeoutMs, LAST_ASK_TIMEOUT_MS);
    }
  };
}

async function pause(signal: AbortSignal, ms: number): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
