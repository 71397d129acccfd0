import { setTimeout as sleep } from "node:timers/promises";
import { abortError, BackypError, isBackypError, type Logger } from "@zk-backyp/core";
import type { NodeControl, NodeStatus } from "../node-control/node-control.ts";
import { bringBack, SETTLE_MS } from "../stop-promise/bring-back.ts";
import { armGuard, type Guard } from "../stop-promise/guard.ts";
import { journalIn } from "../stop-promise/journal.ts";
import { recoverNode } from "../stop-promise/recover.ts";
import { whyKeepStopped } from "../stop-promise/why-keep-stopped.ts";
import { requireOwnFolder } from "./own-folder.ts";

export interface NodeKeeperOptions {
  readonly control: NodeControl;
  /** {@link NodeControl.startCommand}, which the guard needs. */
  readonly startCommand: readonly string[];
  readonly stateDir: string;
  readonly maxDowntimeMs: number;
  readonly stayStoppedFile: string | null;
  readonly logger: Logger;
}

/** Whoever asked for the stop: compared by identity. */
type Holder = object;

/** Stops the node for one holder at a time, and starts it whatever becomes of the holder. */
export interface NodeKeeper {
  stop(holder: Holder, backInMs: number): Promise<void>;
  /** Resolves when the start was accepted. The holder is freed when the node was seen running. */
  start(holder: Holder, signal: AbortSignal): Promise<void>;
  status(signal: AbortSignal): Promise<NodeStatus & { readonly keepStopped: string | null }>;
  holds(holder: Holder): boolean;
  /** The holder is gone. */
  left(holder: Holder): void;
  /**
   * Has a node that was stopped for a holder started, and resolves when that was accepted. It does not wait long until
   * the node runs: monit starts nothing before the stop program of this very process has ended. The guard sees to it.
   */
  close(): Promise<void>;
}

/** A node that is stopped for a holder, or about to be. */
interface Hold {
  readonly holder: Holder;
  readonly since: string;
  /** Aborted when the node is to run again: a stop is no longer waited for. */
  readonly returning: AbortController;
  /** Resolves when the stop has been asked for, or nothing was done. Never rejects. */
  begun: Promise<void>;
  /** Null: nothing is promised (yet). */
  run: string | null;
  guard: Guard | null;
  deadline: NodeJS.Timeout | undefined;
  seenDown: boolean;
  /** Settles when the supervisor has accepted the start, or it is not going to be asked. */
  readonly accepted: Promise<void>;
  readonly settle: { accept(): void; refuse(why: unknown): void };
  back: Promise<void> | null;
}

const STOP_GRACE_MS = 5_000;
/** The deadline is ours while we live: two starts in one moment are more than some start scripts can take. */
const GUARD_LATER_MS = 10_000;
const STOP_PATIENCE_MS = 3_000;
const CLOSE_ACCEPTED_MS = 10_000;
const CLOSE_RUNNING_MS = 2_000;
const RECOVER_AGAIN_MS = 10_000;

/**
 * Begins with recovering what an earlier one left; stops are refused meanwhile.
 *
 * @throws BackypError `ERR_BUSY` when a process that lives works with the same `stateDir`
 */
export async function keepNode(options: NodeKeeperOptions): Promise<NodeKeeper> {
  const { control, stateDir, stayStoppedFile, logger } = options;
  const journal = journalIn(stateDir);
  const closing = new AbortController();
  let hold: Hold | null = null;

  await requireOwnFolder(stateDir);
  const left = await journal.read();
  if (left !== null && left.run !== null && (await journal.isOwned(left))) {
    throw new BackypError("ERR_BUSY", `process ${left.owner.pid} lives and works with ${stateDir}; stop it first`);
  }
  let recovering = left !== null;
  const recovered = recover();

  async function recover(): Promise<void> {
    while (recovering && !closing.signal.aborted) {
      try {
        await recoverNode({ control, stateDir, stayStoppedFile, signal: closing.signal, logger });
        recovering = false;
      } catch (error) {
        if (closing.signal.aborted) return;
        logger.warn({ error: (error as Error).message }, `${control.name} is not back yet; trying on`);
        await sleep(RECOVER_AGAIN_MS, undefined, { signal: closing.signal }).catch(() => {});
      }
    }
  }

  async function begin(taken: Hold, backInMs: number): Promise<void> {
    const { returning } = taken;
    const { state } = await control.status({ signal: returning.signal });
    // An operator did that; there is nothing to stop, and nobody is owed a start.
    if (state === "stopped") return;
    await requireMayStart("is not stopped, since nothing would start it again", returning.signal);
    const recovery = await recoverNode({ control, stateDir, stayStoppedFile, signal: returning.signal, logger });
    if (recovery.did === "stays-stopped") {
      throw new BackypError("ERR_STOP_REFUSED", `${control.name} stays stopped: ${recovery.why}`);
    }
    const { run } = await journal.begin({ node: control.name, backInMs });
    try {
      taken.guard = await armGuard({
        startCommand: options.startCommand,
        journalFile: journal.path,
        run,
        backInMs: backInMs + GUARD_LATER_MS,
        stayStoppedFile,
      });
      if (returning.signal.aborted) throw abortError(returning.signal);
    } catch (error) {
      await journal.end(run);
      await taken.guard?.dismiss();
      throw error;
    }
    // From here on the node is owed a start.
    taken.run = run;
    taken.deadline = setTimeout(() => giveBack(taken, "the deadline has passed"), backInMs);
    await control.stop({ signal: returning.signal, backInMs });
  }

  function giveBack(taken: Hold, why: string): Promise<void> {
    taken.back ??= payBack(taken, why).catch((error: unknown) => {
      taken.settle.refuse(error);
      if (!isBackypError(error, "ERR_ABORTED")) {
        logger.warn({ error: (error as Error).message }, `${control.name} was left to the guard`);
      }
    });
    return taken.back;
  }

  async function payBack(taken: Hold, why: string): Promise<void> {
    taken.returning.abort(new BackypError("ERR_ABORTED", `the stop was given up: ${why}`));
    await Promise.race([taken.begun, sleep(STOP_GRACE_MS, undefined, { ref: false })]);
    clearTimeout(taken.deadline);
    const { run } = taken;
    if (run !== null) {
      logger.info({ why }, `starting ${control.name}`);
      try {
        const result = await bringBack({
          control,
          stayStoppedFile,
          stillOwed: async () => true,
          settleMs: taken.seenDown ? 0 : SETTLE_MS,
          limitMs: Number.POSITIVE_INFINITY,
          signal: closing.signal,
          logger,
          onAccepted: () => taken.settle.accept(),
        });
        if (result.did === "stays-stopped") {
          throw new BackypError("ERR_NODE_CONTROL", `${control.name} stays stopped: ${result.why}`);
        }
        try {
          await journal.end(run);
        } finally {
          await taken.guard?.dismiss();
        }
        logger.info({}, `${control.name} runs`);
      } catch (error) {
        // Where a journal is left, the guard cares, and later the recovery.
        journal.leave(run);
        taken.guard?.handOver();
        throw error;
      } finally {
        if (hold === taken) hold = null;
      }
    }
    if (hold === taken) hold = null;
    taken.settle.accept();
  }

  async function requireMayStart(what: string, signal: AbortSignal): Promise<void> {
    const why = await whyKeepStopped({ control, stayStoppedFile }, signal);
    if (why !== null) throw new BackypError("ERR_STOP_REFUSED", `${control.name} ${what}: ${why}`);
  }

  function requireFree(holder: Holder): void {
    if (closing.signal.aborted) throw new BackypError("ERR_NODE_CONTROL", "the helper is ending; try again");
    if (recovering) {
      throw new BackypError("ERR_BUSY", `${control.name} is being brought back after a run that died; try again later`);
    }
    if (hold !== null && (hold.holder !== holder || hold.back !== null)) {
      const doing = hold.back === null ? "stopped" : "being started after it was stopped";
      throw new BackypError("ERR_BUSY", `${control.name} is ${doing} for a client since ${hold.since}`);
    }
  }

  return {
    async stop(holder, backInMs) {
      // Mostly it runs already, and that is about to be seen.
      if (hold?.back) await Promise.race([hold.back, sleep(STOP_PATIENCE_MS, undefined, { ref: false })]);
      requireFree(holder);
      if (hold !== null) {
        await hold.begun;
        requireFree(holder);
        await control.stop({ signal: hold.returning.signal, backInMs });
        return;
      }
      let settle: Hold["settle"] | undefined;
      const accepted = new Promise<void>((accept, refuse) => {
        settle = { accept, refuse };
      });
      // Nobody may be waiting for it.
      accepted.catch(() => {});
      const taken: Hold = {
        holder,
        since: new Date().toISOString(),
        returning: new AbortController(),
        begun: Promise.resolve(),
        run: null,
        guard: null,
        deadline: undefined,
        seenDown: false,
        accepted,
        settle: settle as Hold["settle"],
        back: null,
      };
      hold = taken;
      const beginning = begin(taken, Math.min(backInMs, options.maxDowntimeMs));
      taken.begun = beginning.catch(() => {});
      try {
        await beginning;
        if (taken.run === null && hold === taken && taken.back === null) hold = null;
        else logger.info({ backInMs }, `${control.name} was asked to stop`);
      } catch (error) {
        // It may have been stopped all the same.
        void giveBack(taken, "the stop failed");
        throw error;
      }
    },
    async start(holder, signal) {
      if (hold === null) {
        await requireMayStart("is not started", signal);
        await control.start({ signal });
        return;
      }
      if (hold.holder !== holder && hold.back === null) requireFree(holder);
      void giveBack(hold, "the client asked for it");
      await hold.accepted;
    },
    async status(signal) {
      const of = hold;
      const status = await control.status({ signal });
      if (of !== null && of.run !== null && (status.state === "stopped" || status.state === "failed"))
        of.seenDown = true;
      return { ...status, keepStopped: await whyKeepStopped({ control, stayStoppedFile }, signal) };
    },
    holds: (holder) => hold?.holder === holder,
    left(holder) {
      if (hold?.holder === holder) void giveBack(hold, "the client is gone");
    },
    async close() {
      const taken = hold;
      if (taken !== null) {
        const back = giveBack(taken, "the helper is ending");
        const timeUp = (ms: number): Promise<void> => sleep(ms, undefined, { ref: false });
        await Promise.race([taken.accepted.catch(() => {}), timeUp(CLOSE_ACCEPTED_MS)]);
        await Promise.race([back, timeUp(CLOSE_RUNNING_MS)]);
        closing.abort();
        await back;
      }
      closing.abort();
      await recovered;
    },
  };
}
