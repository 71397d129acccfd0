import { readFile } from "node:fs/promises";
import { abortError, systemErrorCode, unlessAborted } from "@zk-backyp/core";
import { identityOf, isAlive } from "../stop-promise/process-identity.ts";
import type { NodeControl, NodeStatus } from "./node-control.ts";
import { ANSWER_WITHIN_MS, type CommandResult, howItEnded, nodeControlError, runCommand } from "./run-command.ts";

/** A node that is started, stopped and asked by programs of its own: an init script, `zkServer.sh`, a container's. */
export interface CommandControlOptions {
  /** Each an absolute path and arguments. They run without a shell, with our environment. */
  readonly start: readonly string[];
  readonly stop: readonly string[];
  /** By exit codes as in LSB init scripts: 0 it runs, 1 and 2 it is dead, 3 it does not run, others unknown. */
  readonly status: readonly string[];
  /** A file that holds the process's pid. As long as that process lives, the node is not stopped. */
  readonly pidFile?: string | undefined;
  /** How long `start` and `stop` may take each, in milliseconds. */
  readonly timeoutMs: number;
}

/** The longest that a pid file may be. */
const PID_FILE_BYTES = 64;

/**
 * For {@link CommandControlOptions}. Nothing supervises such a node, so nothing but us can tell whether somebody asked
 * for its end: a node that is dead after it was stopped through this object is `stopped`.
 *
 * A start or stop that is under way is left to its end when the caller's signal is aborted, and the next request waits
 * for it.
 */
export function openCommand(options: CommandControlOptions): NodeControl {
  let stopWasAsked = false;
  let startWasAsked = false;
  let pending: { readonly action: "start" | "stop"; readonly over: Promise<void> } | null = null;

  async function livingPid(): Promise<number | null> {
    if (options.pidFile === undefined) return null;
    let text: string;
    try {
      text = await readFile(options.pidFile, "latin1");
    } catch (cause) {
      if (systemErrorCode(cause) === "ENOENT") return null;
      throw nodeControlError(`cannot read the pid file ${options.pidFile}: ${(cause as Error).message}`, { cause });
    }
    const pid = Number(text.slice(0, PID_FILE_BYTES).trim());
    // Empty while it is being written.
    if (!Number.isSafeInteger(pid) || pid <= 0) return null;
    return (await isAlive(await identityOf(pid))) ? pid : null;
  }

  async function status({ signal }: { readonly signal: AbortSignal }): Promise<NodeStatus> {
    const result = await runCommand(options.status, { signal, timeoutMs: ANSWER_WITHIN_MS });
    const { code } = result;
    if (code === null || code > 3) {
      throw nodeControlError(`${options.status.join(" ")} does not tell whether the node runs${howItEnded(result)}`);
    }
    const pid = await livingPid();
    if (pending !== null) return { state: pending.action === "stop" ? "stopping" : "starting", pid };
    if (code === 0 && !(options.pidFile !== undefined && pid === null && stopWasAsked))
      return { state: "running", pid };
    if (pid !== null) return { state: stopWasAsked ? "stopping" : "starting", pid };
    // Many a program says 3 of a node that has crashed as well. What was started here was not to be down.
    const isStopped = stopWasAsked || (code === 3 && !startWasAsked);
    return { state: isStopped ? "stopped" : "failed", pid };
  }

  async function run(action: "start" | "stop", signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw abortError(signal);
    // A start that is under way ends with what is wanted; a stop has to end first. And the other way round.
    while (pending !== null && pending.action !== action)
      await unlessAborted(
        pending.over.catch(() => {}),
        signal,
      );
    if (pending === null) {
      const { state } = await status({ signal });
      if (action === "start" ? state === "running" : state === "stopped") return;
    }
    if (pending === null) {
      const over = runCommand(options[action], { timeoutMs: options.timeoutMs })
        .then((result) => requireSuccess(options[action], result))
        .finally(() => {
          pending = null;
        });
      // Nobody may be waiting any more when it fails.
      over.catch(() => {});
      stopWasAsked = action === "stop";
      startWasAsked = action === "start";
      pending = { action, over };
    }
    await unlessAborted(pending.over, signal);
  }

  return {
    // Without the arguments: the name is told to others.
    name: `the node of ${options.start[0]}`,
    stop: ({ signal }) => run("stop", signal),
    start: ({ signal }) => run("start", signal),
    status,
    tellsFailed: false,
    // Many a start program fails where the node runs already, and whoever runs this would try for ever.
    startCommand: ["/bin/sh", "-c", `${quoted(options.status)} || exec ${quoted(options.start)}`],
    async close() {},
  };
}

function requireSuccess(argv: readonly string[], result: CommandResult): void {
  if (result.code !== 0) throw nodeControlError(`${argv.join(" ")} failed${howItEnded(result)}`);
}

function quoted(argv: readonly string[]): string {
  return argv.map((argument) => `'${argument.replaceAll("'", "'\\''")}'`).join(" ");
}
