import { setTimeout as sleep } from "node:timers/promises";
import { abortError, BackypError } from "@zk-backyp/core";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { type RunningStatus, runningDaemon } from "../running-daemon/running-daemon.ts";

/** It has nothing to wait for. */
const ANSWERS_WITHIN_MS = 10_000;
const LOOK_MS = 250;

export interface ReleaseFlags {
  readonly config?: string | undefined;
}

/**
 * `release`: has a daemon that is held go on, whoever has held it.
 *
 * @throws BackypError `ERR_BUSY` when it does not answer
 */
export async function release(flags: ReleaseFlags, context: CommandContext): Promise<number> {
  const daemon = await runningDaemon(flags.config);
  const { signal } = context;
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(ANSWERS_WITHIN_MS)]);
  for (;;) {
    const before = await daemon.ask({ path: "/api/v1/status" }, deadline);
    const wasHeld = before.kind === "answered" && before.status.hold !== null;
    const asked =
      before.kind === "answered" ? await daemon.ask({ path: "/api/v1/release", body: {} }, deadline) : before;
    if (asked.kind === "gone")
      return tell(context, null, false, `no daemon answers at ${daemon.url}: there is nothing to release`);
    if (asked.kind === "answered")
      return tell(context, asked.status, wasHeld, wasHeld ? "released" : "nothing was held");
    await sleep(LOOK_MS, undefined, { signal: deadline }).catch(() => {});
    if (signal.aborted) throw abortError(signal);
    if (deadline.aborted)
      throw new BackypError("ERR_BUSY", `the daemon at ${daemon.url} does not answer: ${asked.why}`);
  }
}

function tell(context: CommandContext, status: RunningStatus | null, wasHeld: boolean, text: string): number {
  if (!context.json) context.print(text);
  else {
    const { state = null, hold = null } = status ?? {};
    printJson(context, { daemon: status !== null, state, wasHeld, hold });
  }
  return ExitCode.ok;
}
