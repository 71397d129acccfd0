import { setTimeout as sleep } from "node:timers/promises";
import { BackypError, type Logger, silentLogger } from "@zk-backyp/core";
import type { NodeControl } from "../node-control/node-control.ts";
import { bringBack, SETTLE_MS } from "./bring-back.ts";
import { type JournalFile, journalIn, type StopJournal, type UnreadableJournal } from "./journal.ts";
import { identityOf } from "./process-identity.ts";

export interface RecoveryOptions {
  readonly control: NodeControl;
  readonly stateDir: string;
  /** While this file is there, an operator wants the node to stay stopped. */
  readonly stayStoppedFile: string | null;
  /** Resolves when the node serves; what it throws, recoverNode throws, and the journal stays. Default: running will do. */
  readonly waitServing?: (signal: AbortSignal) => Promise<void>;
  readonly signal: AbortSignal;
  readonly logger?: Logger;
  /** For how long to try to start it. Default: 5 minutes. */
  readonly limitMs?: number;
  /** For how long a node has to run that is not seen down: a stop may be under way still. Default: 20 s. */
  readonly settleMs?: number;
}

/**
 * - `nothing`: no start was owed;
 * - `was-running`, `started`: it runs, and nothing is owed any more;
 * - `stays-stopped`: an operator wants it so, and `why`. `owed`: it will be started once that reason is gone.
 */
export type Recovery =
  | { readonly did: "nothing" | "was-running" | "started" }
  | { readonly did: "stays-stopped"; readonly why: string; readonly owed: boolean };

const LOOK_AGAIN_MS = 1_000;
// Where a stop that was asked for this long ago has not taken effect, it never will.
const STOP_FORGOTTEN_MS = 600_000;

/**
 * Pays what a run that died has left: sees to it that the node runs, and removes the journal. To be called before
 * anything is stopped again, and at the start of whatever stops nodes.
 *
 * An operator who has stopped the node is respected: where `stayStoppedFile` or the control says so, and where the
 * guard had finished its work and the node was stopped once more after that.
 *
 * @throws BackypError `ERR_BUSY` while the run lives that stopped it
 * @throws BackypError `ERR_NODE_DOWN` when it cannot be started; the journal stays
 * @throws BackypError `ERR_ABORTED`
 */
export async function recoverNode(options: RecoveryOptions): Promise<Recovery> {
  const { control, signal, logger = silentLogger } = options;
  const journal = journalIn(options.stateDir);
  const left = await journal.read();
  if (left === null) return { did: "nothing" };
  await requireUnowned(journal, left);
  const about = left.run === null ? { reason: left.reason } : { run: left.run, pid: left.owner.pid, at: left.at };
  logger.warn(
    { ...about, journal: journal.path },
    `a run that died may have left ${control.name} stopped; seeing to it that it runs`,
  );

  let stoppedLater = false;
  const result = await bringBack({
    control,
    stayStoppedFile: options.stayStoppedFile,
    settleMs: (await canBeStopping(journal, left)) ? (options.settleMs ?? SETTLE_MS) : 0,
    limitMs: options.limitMs ?? 300_000,
    signal,
    logger,
    async stillOwed(state) {
      const now = await journal.read();
      if (now === null || now.run !== left.run) return false;
      // What the guard knows is that its starts were accepted. Where a crash looks like a stop, it is started once more.
      const isMeant = state === "stopped" && control.tellsFailed !== false;
      if (!isMeant || (await journal.rescue(left.run)) !== "done") return true;
      // Twice: a supervisor that restarts a process may show it so for a moment.
      await sleep(LOOK_AGAIN_MS, undefined, { signal }).catch(() => {});
      stoppedLater = (await control.status({ signal })).state === "stopped";
      return !stoppedLater;
    },
  });
  if (result.did === "stays-stopped") {
    logger.warn({ why: result.why }, `${control.name} stays stopped for now`);
    return { ...result, owed: true };
  }
  if (stoppedLater) {
    await journal.end(left.run);
    logger.info({}, `${control.name} stays stopped: somebody stopped it after it had been started again`);
    return { did: "stays-stopped", why: "it was stopped once more after it had been started again", owed: false };
  }
  if (result.did === "not-owed") return { did: "nothing" };
  await options.waitServing?.(signal);
  await journal.end(left.run);
  logger.info({ did: result.did }, `${control.name} runs`);
  return { did: result.did };
}

async function requireUnowned(journal: JournalFile, left: StopJournal | UnreadableJournal): Promise<void> {
  if (left.run === null || !(await journal.isOwned(left))) return;
  throw new BackypError(
    "ERR_BUSY",
    `process ${left.owner.pid} has been at work on ${left.node} since ${left.at} (${journal.path}); wait for it`,
    { details: { pid: left.owner.pid, run: left.run, at: left.at } },
  );
}

/** Whether a stop that the dead run asked for may be yet to take effect. */
async function canBeStopping(journal: JournalFile, left: StopJournal | UnreadableJournal): Promise<boolean> {
  if (left.run === null) return true;
  const { bootId } = await identityOf(process.pid);
  if (bootId !== left.owner.bootId || (await journal.rescue(left.run)) === "done") return false;
  // A clock that was set back makes it younger, which costs a wait and no more.
  return Date.now() - Date.parse(left.at) < STOP_FORGOTTEN_MS;
}
