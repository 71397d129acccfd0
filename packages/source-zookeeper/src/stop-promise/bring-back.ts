import { setTimeout as sleep } from "node:timers/promises";
import { abortError, BackypError, type Logger } from "@zk-backyp/core";
import type { NodeControl, NodeState } from "../node-control/node-control.ts";
import { whyKeepStopped } from "./why-keep-stopped.ts";

/** How long a process has to go on that was asked to stop and did not, before nobody expects it to stop any more. */
export const SETTLE_MS = 20_000;

export interface BringBackOptions {
  readonly control: NodeControl;
  /** While this file is there, an operator wants the node to stay stopped. */
  readonly stayStoppedFile: string | null;
  /** False ends it: somebody else has paid, or an operator has stopped the node on purpose. Asked before every start. */
  stillOwed(state: NodeState | "unknown"): Promise<boolean>;
  /**
   * For how long a node has to run that was never seen down. A stop that was asked for may not have begun: a stop
   * program, for example, goes on when its caller dies.
   */
  readonly settleMs: number;
  /** For how long to try. */
  readonly limitMs: number;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Called whenever the supervisor has accepted a start. */
  onAccepted?(): void;
}

export type BroughtBack =
  | { readonly did: "was-running" | "started" | "not-owed" }
  | { readonly did: "stays-stopped"; readonly why: string };

const POLL_MS = 250;
/** A supervisor that is restarted can forget a start that it had accepted. */
const ASK_AGAIN_MS = 10_000;
const LONGEST_CALL_MS = 60_000;

/**
 * Has the node started until it is seen to run, whatever the supervisor says in between.
 *
 * @throws BackypError `ERR_NODE_DOWN` when it does not run within `limitMs`
 * @throws BackypError `ERR_ABORTED`
 */
export async function bringBack(options: BringBackOptions): Promise<BroughtBack> {
  const { control, signal, logger } = options;
  const end = performance.now() + options.limitMs;
  let wasDown = false;
  let accepted = false;
  let askAgainAt = 0;
  let failures = 0;
  let failure: unknown;
  let seenDown = false;
  let runsSince: number | null = null;
  for (;;) {
    if (signal.aborted) throw abortError(signal);
    const now = performance.now();
    const call = AbortSignal.any([signal, AbortSignal.timeout(LONGEST_CALL_MS)]);
    const state = await control.status({ signal: call }).then(
      (status) => status.state,
      (error) => {
        failure = error;
        return "unknown" as const;
      },
    );
    if (signal.aborted) throw abortError(signal);
    const runs = state === "running";
    // What it was started for while it ran was in vain.
    if (!runs && runsSince !== null) askAgainAt = 0;
    runsSince = runs ? (runsSince ?? now) : null;
    if (runsSince !== null && (seenDown || now - runsSince >= options.settleMs)) {
      return { did: wasDown ? "started" : "was-running" };
    }
    seenDown ||= state === "stopped" || state === "failed";
    wasDown ||= !runs;
    if (!runs && !(await options.stillOwed(state))) return { did: "not-owed" };
    // A supervisor that cannot be asked is heard of by the start.
    const why = await whyKeepStopped(options, call).catch(() => null);
    if (!runs && why !== null) return { did: "stays-stopped", why };
    // Once also while it runs: that takes back a stop which has not begun.
    if (why === null && now >= askAgainAt && !(runs && accepted)) {
      try {
        await control.start({ signal: call });
        accepted = true;
        failures = 0;
        failure = undefined;
        askAgainAt = performance.now() + ASK_AGAIN_MS;
        options.onAccepted?.();
      } catch (error) {
        if (signal.aborted) throw abortError(signal);
        failure = error;
        askAgainAt = performance.now() + Math.min(ASK_AGAIN_MS, 1000 * 2 ** failures++);
        logger.warn({ error: (error as Error).message, attempt: failures }, `${control.name} could not be started`);
      }
    }
    if (!runs && performance.now() >= end) throw nodeDown(options, state, accepted, failure);
    await sleep(POLL_MS, undefined, { signal }).catch(() => {});
  }
}

function nodeDown(options: BringBackOptions, state: string, accepted: boolean, failure: unknown): BackypError {
  const { control, limitMs } = options;
  const facts = failure === undefined ? "" : `; last: ${(failure as Error).message}`;
  return new BackypError(
    "ERR_NODE_DOWN",
    `${control.name} was stopped for a backup and is ${state} after ${limitMs / 1000} s of starting it ` +
      `(${accepted ? "its start was accepted" : "no start was accepted"}${facts}); start it by hand, and read its own log`,
    { cause: failure, details: { node: control.name, state, startAccepted: accepted } },
  );
}
