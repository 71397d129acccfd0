import { setTimeout as sleep } from "node:timers/promises";
import { abortError } from "@zk-backyp/core";
import { identityOf, isAlive, type ProcessIdentity } from "../stop-promise/process-identity.ts";
import type { NodeControl, NodeStatus } from "./node-control.ts";
import { nodeControlError } from "./run-command.ts";

/** One way to talk to monit: its command line or its HTTP interface. */
export interface MonitInterface {
  /** For people: `monit at http://127.0.0.1:2822`. */
  readonly name: string;
  /** Asks for an action. `busy`: monit 5.2.5 takes none while another one on the service is pending. */
  request(action: "start" | "stop", signal: AbortSignal): Promise<"accepted" | "busy">;
  /** What monit says of the service, or the names of those that it has if this one is not among them. */
  look(signal: AbortSignal): Promise<MonitService | { readonly others: readonly string[] }>;
  readonly startCommand: readonly string[];
}

/** What monit says of one service. */
export interface MonitService {
  /** `initializing`: monit has not looked at it since one of the two was started. */
  readonly monitoring: "monitored" | "initializing" | "not monitored";
  /** What was asked for and is not over, in monit's words: `stop`, `start`, `restart`, `unmonitor`, ...; or null. */
  readonly pending: string | null;
  /** Whether monit found no process when it looked last. */
  readonly isMissing: boolean;
  readonly pid: number | null;
}

/** How long monit may refuse an action in milliseconds because another one is pending. */
const ACCEPTED_WITHIN_MS = 180_000;
const ASK_AGAIN_AFTER_MS = 500;

/** Pending actions that end with the process there. */
const STARTING = ["start", "restart", "monitor"];

/**
 * A node that monit supervises: any monit from 5.2.5, which BOSH's virtual machines have, to 5.33.
 *
 * When a stop takes longer than monit's own limit for it (30 s, or the service's `timeout`), monit calls the service not
 * monitored and forgets about it, with the process still alive (seen with 5.2.5 and with 5.33). So the process that was
 * last seen is remembered, and as long as it lives, the node is not `stopped`. A process that was never seen monitored
 * cannot be told from one that is gone: monit says nothing of it.
 */
export function openMonit(monit: MonitInterface, service: string): NodeControl {
  let last: ProcessIdentity | null = null;
  let stopWasAsked = false;
  // monit writes what it is to do to the disk when its loop comes round: with the next cycle, or the next request. Until
  // then a power cut would have it come back with the node stopped (seen with 5.33). So after a start there is one more
  // request, which does nothing else to a process that runs, before the node is called running.
  let isNoted = true;

  async function look(signal: AbortSignal): Promise<MonitService & { readonly lives: number | null }> {
    if (signal.aborted) throw abortError(signal);
    const seen = await monit.look(signal);
    if ("others" in seen) {
      const known = seen.others.length === 0 ? "it has none" : `it has ${seen.others.join(", ")}`;
      throw nodeControlError(`${monit.name} has no service ${service} (${known}): correct the option service`);
    }
    if (seen.pid !== null && seen.pid !== last?.pid) last = await identityOf(seen.pid);
    const lives = last !== null && (await isAlive(last)) ? last.pid : null;
    return { ...seen, lives };
  }

  async function status({ signal }: { readonly signal: AbortSignal }): Promise<NodeStatus> {
    const { monitoring, pending, isMissing, pid, lives } = await look(signal);
    if (pending === "stop") return { state: "stopping", pid: lives };
    if (pending !== null && STARTING.includes(pending)) return { state: "starting", pid: lives };
    if (monitoring === "not monitored") {
      if (lives !== null) return { state: stopWasAsked ? "stopping" : "running", pid: lives };
      return { state: pending === null ? "stopped" : "starting", pid: null };
    }
    if (isMissing) return { state: "failed", pid: null };
    if (monitoring !== "monitored" || pid === null) return { state: "starting", pid };
    if (isNoted) return { state: "running", pid };
    isNoted = (await monit.request("start", signal)) === "accepted";
    return { state: "starting", pid };
  }

  /** Asks until it is accepted, or until the node is on its way there anyway. */
  async function ask(action: "start" | "stop", signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + ACCEPTED_WITHIN_MS;
    while (true) {
      const { monitoring, pending, isMissing, lives } = await look(signal);
      const isAtRest = pending === null && monitoring === "not monitored";
      if (action === "stop" && isAtRest && lives !== null && !stopWasAsked) {
        // 5.33 accepts the stop of what it does not watch, and does nothing.
        throw nodeControlError(
          `${monit.name} does not watch ${service}, whose process ${lives} runs, so that it is not stopped: run \`monit monitor ${service}\` when whoever unmonitored it is done`,
        );
      }
      const isUnderWay =
        action === "start"
          ? STARTING.includes(pending ?? "") || (pending === null && monitoring !== "not monitored" && !isMissing)
          : isAtRest || pending === "stop";
      if (isUnderWay || (await monit.request(action, signal)) === "accepted") {
        isNoted = action === "stop" || (isNoted && isUnderWay && !stopWasAsked);
        break;
      }
      if (Date.now() > deadline) {
        throw nodeControlError(
          `${monit.name} refused for ${ACCEPTED_WITHIN_MS} ms to ${action} ${service}: "${pending}" is pending there`,
        );
      }
      await sleep(ASK_AGAIN_AFTER_MS, undefined, { signal }).catch(() => {
        throw abortError(signal);
      });
    }
    stopWasAsked = action === "stop";
  }

  return {
    name: `monit's service ${service}`,
    stop: ({ signal }) => ask("stop", signal),
    start: ({ signal }) => ask("start", signal),
    status,
    startCommand: monit.startCommand,
    async close() {},
  };
}
