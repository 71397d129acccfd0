import { setTimeout as sleep } from "node:timers/promises";
import { abortError, BackypError } from "@zk-backyp/core";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatTime } from "../formats.ts";
import { type RunningStatus, runningDaemon } from "../running-daemon/running-daemon.ts";
import { MAX_HOLD_SECONDS, secondsOf } from "../seconds.ts";

/** As the daemon has them: see api-routes. */
const DEFAULT_HOLD_SECONDS = 3_600;
const DEFAULT_TIMEOUT_SECONDS = 120;
const MAX_TIMEOUT_SECONDS = 86_400;
const LOOK_MS = 250;
const NODE_RETURN = "the server to be back that a run has stopped";

export interface HoldFlags {
  readonly config?: string | undefined;
  readonly abort?: true | undefined;
  readonly for?: string | undefined;
  readonly timeout?: string | undefined;
}

/**
 * `hold`: has the daemon begin nothing for now, and waits until nothing is under way.
 *
 * @throws BackypError `ERR_BUSY` when that is not so in time: the hold stays in force. `ERR_NODE_DOWN` when nothing is under
 * way, but a server that was stopped is not back
 */
export async function hold(flags: HoldFlags, context: CommandContext): Promise<number> {
  const seconds = secondsOf("--for", flags.for, MAX_HOLD_SECONDS) ?? DEFAULT_HOLD_SECONDS;
  const timeout = secondsOf("--timeout", flags.timeout, MAX_TIMEOUT_SECONDS) ?? DEFAULT_TIMEOUT_SECONDS;
  const daemon = await runningDaemon(flags.config);
  const { signal } = context;
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeout * 1000)]);
  const say = sayOnce(context);
  /** Which daemon was asked: another one that has begun meanwhile knows nothing of it. */
  let held: string | null = null;
  let isLater = false;
  let waitsFor = "the daemon's answer";
  for (;;) {
    let asked = await daemon.ask({ path: "/api/v1/status" }, deadline);
    if (asked.kind === "answered" && asked.status.state !== "stopping" && asked.status.startedAt !== held) {
      asked = await daemon.ask({ path: "/api/v1/hold", body: { abort: flags.abort === true, seconds } }, deadline);
      if (asked.kind === "answered") held = asked.status.startedAt;
    }
    if (asked.kind === "gone") {
      const why = held === null ? "there is nothing to hold" : "it has ended meanwhile";
      return tell(context, null, `no daemon answers at ${daemon.url}: ${why}`);
    }
    if (asked.kind === "answered") {
      const { status } = asked;
      if (status.state === "held" && status.hold !== null) {
        const { problem } = status.hold;
        if (problem !== null) throw new BackypError("ERR_NODE_DOWN", `the daemon is held, but ${problem}`);
        const until = formatTime(status.hold.until);
        return tell(context, status, `held until ${until} UTC; \`zk-backyp release\` ends that before`);
      }
      if (status.state === "running") {
        throw new BackypError(
          "ERR_BUSY",
          "the hold was over before all that was under way had ended: somebody has released the daemon, or --for is too short",
        );
      }
      waitsFor = whatIsUnderWay(status);
      // What ends at once is not worth a word.
      if (isLater) say(`waiting for ${waitsFor}`);
    } else {
      say(`the daemon at ${daemon.url} does not answer: ${asked.why}`);
    }
    isLater = true;
    await sleep(LOOK_MS, undefined, { signal: deadline }).catch(() => {});
    if (signal.aborted) throw abortError(signal);
    if (deadline.aborted && waitsFor === NODE_RETURN) {
      throw new BackypError("ERR_NODE_DOWN", `after ${timeout} s the daemon is still waiting for ${waitsFor}`);
    }
    if (deadline.aborted) {
      const outcome = held === null ? "the daemon was not held" : "the hold stays: `zk-backyp release` ends it";
      throw new BackypError("ERR_BUSY", `not held within ${timeout} s, still waiting for ${waitsFor}; ${outcome}`);
    }
  }
}

function whatIsUnderWay({ state, series }: RunningStatus): string {
  if (state === "stopping") return "the end of the daemon, which is stopping";
  const runs = series.flatMap(({ name, current }) => {
    if (current === null) return [];
    const step = current.step === null ? "" : ` (${current.step})`;
    return [`the ${current.kind} of ${name}, which began at ${formatTime(current.startedAt)} UTC${step}`];
  });
  return runs.length === 0 ? NODE_RETURN : runs.join(", and ");
}

function sayOnce({ logger }: CommandContext): (line: string) => void {
  let last = "";
  return (line) => {
    if (line !== last) logger.say(line);
    last = line;
  };
}

function tell(context: CommandContext, status: RunningStatus | null, text: string): number {
  if (!context.json) context.print(text);
  else printJson(context, { daemon: status !== null, state: status?.state ?? null, hold: status?.hold ?? null });
  return ExitCode.ok;
}
