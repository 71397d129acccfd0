import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BackypError, withCode } from "./errors.ts";
import type { Schedule } from "./schedule.ts";

/** How often the clock is looked at, at least: it may be set, and a machine may sleep. */
const LOOK_MS = 30_000;
/** After a failed run the next attempt comes after this, then twice this, and so on. */
const FIRST_RETRY_MS = 60_000;
const LAST_RETRY_MS = 3_600_000;
/** A sink that could not be asked is asked again after this at the latest: to ask costs little. */
const LAST_ASK_MS = 300_000;
/** Of how many slots it is remembered that they are over. Only after a clock was set back more than the last matters. */
const REMEMBERED_SLOTS = 1_000;

export interface Clock {
  now(): Date;
  /** Rejects when `signal` is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** A run that is due, or will be. */
export interface PlannedRun {
  readonly slot: Date;
  /** When it is due: later than the slot by the jitter, or because an attempt failed. May be over. */
  readonly at: Date;
  /**
   * Why: `retry`: an attempt failed; `first`: there is no backup at all; `catch-up`: it is late by more than a look takes,
   * since nobody was there to run it, or something else took so long; `schedule`: none of these.
   */
  readonly trigger: "schedule" | "catch-up" | "retry" | "first";
  /** From 1. */
  readonly attempt: number;
}

export interface SchedulerOptions {
  readonly schedule: Schedule;
  /** With no backup at all: whether the last slot is made up for at once, or only later ones are due. */
  readonly firstRun: "now" | "scheduled";
  /**
   * Runs begin up to this later than their slot: by a part of it that depends on `seed` alone, and by half of the time to
   * the next slot at most. Default: 0.
   */
  readonly jitterMs?: number;
  readonly seed?: string;
  /** Default: the system's. */
  readonly clock?: Clock;
  /**
   * The time of the newest backup at or before `now`, as the sink has it. Asked before every attempt. A rejection is
   * reported, and it is asked again after 1, 2, 4, then every 5 minutes.
   */
  newest(now: Date, signal: AbortSignal): Promise<Date | null>;
  /**
   * Whether this node may run now. While it may not nothing is planned and `newest` is not asked; it is asked again every
   * 30 s and after `wake`. Default: always.
   */
  mayRun?(): boolean;
  /**
   * `done`: the slot is over, also if no backup came of it. `failed`: tried again, after 1 minute and twice that each time
   * up to 1 hour, until there is a backup or a later slot is due; a rejection is the same, and reported. `later`: tried
   * again after `wake` or in 30 s, and nothing has failed.
   */
  run(planned: PlannedRun, signal: AbortSignal): Promise<"done" | "failed" | "later">;
  /** Called when the plan changes; null while nothing is planned. */
  onPlan?(planned: PlannedRun | null): void;
  onProblem?(error: BackypError): void;
}

export interface Scheduler {
  /** Asks everything anew: after an election, or a run that was none of its own. */
  wake(): void;
  /** What runs now or comes next; null where that is not known yet, or this node may not run. */
  readonly planned: PlannedRun | null;
  /** Aborts the run that is under way, and waits for it. */
  close(): Promise<void>;
}

/** What a decision depends on. Times in ms since 1970. */
export interface Situation {
  readonly now: number;
  /** Time of the newest backup. One of the future does not count. */
  readonly newest: number | null;
  /** Slots that are over without need of a backup. */
  readonly over: readonly number[];
  /** With no backup only slots after this are due. */
  readonly notBefore: number;
  /** How much later than its slot a run begins. */
  readonly delayMs: number;
  /** The slot of which attempts failed, and when the next one may begin. */
  readonly retry: { readonly slot: number; readonly attempt: number; readonly at: number } | null;
}

/**
 * Which run is due, or comes next. Of several slots that were missed only the last is ever due; and it is not if there is
 * a backup from it or from later.
 */
export function planRun(schedule: Schedule, situation: Situation): PlannedRun {
  const { now, over, retry, notBefore, delayMs } = situation;
  const newest = situation.newest !== null && situation.newest <= now ? situation.newest : null;
  const newestDate = newest === null ? null : new Date(newest);
  const nextAfter = (time: number): number => schedule.next(new Date(time), newestDate).getTime();
  const plan = (slot: number): PlannedRun => {
    const isRetry = retry?.slot === slot;
    const inTime = delayMs === 0 ? slot : slot + Math.min(delayMs, Math.floor((nextAfter(slot) - slot) / 2));
    const at = isRetry ? Math.max(inTime, retry.at) : inTime;
    const trigger = isRetry ? "retry" : newest === null ? "first" : now - at > LOOK_MS ? "catch-up" : "schedule";
    return { slot: new Date(slot), at: new Date(at), trigger, attempt: isRetry ? retry.attempt : 1 };
  };

  const upcoming = plan(nextAfter(now));
  const last = schedule.last(new Date(now), newestDate)?.getTime();
  if (last === undefined || (newest === null && last <= notBefore)) return upcoming;
  const isOver = [newest, ...over].some((time) => time !== null && time >= last && time <= now);
  if (isOver) return upcoming;
  const missed = plan(last);
  return missed.at <= upcoming.at ? missed : upcoming;
}

/**
 * Runs what a schedule says, one run at a time, until it is closed. Slots whose time passes during a run, or while this
 * node may not run, merge into the last of them. The clock may be set and the machine may sleep.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` for a wrong `jitterMs`
 */
export function startScheduler(options: SchedulerOptions): Scheduler {
  const { schedule, firstRun, seed = "", clock = systemClock } = options;
  const delayMs = delayOf(options.jitterMs ?? 0, seed);
  const closing = new AbortController();
  let waking = new AbortController();
  let planned: PlannedRun | null = null;
  /** Undefined while it has to be asked. */
  let newest: number | null | undefined;
  let asks = 0;
  let askedAgainAt = Number.NEGATIVE_INFINITY;
  let notBefore = firstRun === "now" ? Number.NEGATIVE_INFINITY : clock.now().getTime();
  let over: readonly number[] = [];
  let retry: Situation["retry"] = null;

  const mayRun = (): boolean => options.mayRun?.() ?? true;
  const report = (cause: unknown): void => {
    if (closing.signal.aborted) return;
    try {
      options.onProblem?.(withCode(cause));
    } catch {
      // There is nobody left to tell.
    }
  };
  const show = (next: PlannedRun | null): void => {
    if (JSON.stringify(next) === JSON.stringify(planned)) return;
    planned = next;
    options.onPlan?.(next);
  };

  /** Does what there is to do now, and resolves to how long in ms nothing has to be done. */
  async function look(): Promise<number> {
    if (!mayRun()) {
      newest = undefined;
      show(null);
      return LOOK_MS;
    }
    const now = clock.now().getTime();
    // Whatever was agreed on with a clock that has been set back would else be waited for long.
    notBefore = Math.min(notBefore, now);
    if (retry !== null) retry = { ...retry, at: Math.min(retry.at, now + backoffMs(retry.attempt - 1, LAST_RETRY_MS)) };
    askedAgainAt = Math.min(askedAgainAt, now + backoffMs(asks, LAST_ASK_MS));

    const isAskedNow = newest === undefined || (newest !== null && newest > now);
    if (isAskedNow) {
      if (now < askedAgainAt) return askedAgainAt - now;
      try {
        newest = (await options.newest(new Date(now), closing.signal))?.getTime() ?? null;
        asks = 0;
      } catch (cause) {
        newest = undefined;
        asks += 1;
        askedAgainAt = clock.now().getTime() + backoffMs(asks, LAST_ASK_MS);
        report(cause);
        return 0;
      }
    }
    const then = clock.now().getTime();
    const plan = planRun(schedule, { now: then, newest: newest ?? null, over, notBefore, delayMs, retry });
    show(plan);
    if (plan.at.getTime() > then) return plan.at.getTime() - then;
    if (!isAskedNow) {
      newest = undefined;
      return 0;
    }
    if (closing.signal.aborted || !mayRun()) return 0;
    return execute(plan);
  }

  async function execute(plan: PlannedRun): Promise<number> {
    const slot = plan.slot.getTime();
    let outcome: Awaited<ReturnType<typeof options.run>> = "failed";
    try {
      outcome = await options.run(plan, closing.signal);
    } catch (cause) {
      report(cause);
    }
    newest = undefined;
    if (outcome === "later") return LOOK_MS;
    if (outcome === "done") {
      over = [...over, slot].slice(-REMEMBERED_SLOTS);
    } else {
      const at = clock.now().getTime() + backoffMs(plan.attempt, LAST_RETRY_MS);
      retry = { slot, attempt: plan.attempt + 1, at };
    }
    return 0;
  }

  async function loop(): Promise<void> {
    while (!closing.signal.aborted) {
      const { signal } = waking;
      let idleMs = LOOK_MS;
      try {
        idleMs = Math.min(await look(), LOOK_MS);
      } catch (cause) {
        // A listener's mistake must not be the end of all backups.
        report(cause);
      }
      if (idleMs > 0 && !closing.signal.aborted) await clock.sleep(idleMs, signal).catch(() => {});
      if (signal.aborted) {
        waking = new AbortController();
        newest = undefined;
        askedAgainAt = Number.NEGATIVE_INFINITY;
      }
    }
  }

  // Not before the caller has what this returns.
  const ended = Promise.resolve().then(loop);
  return {
    wake: () => waking.abort(),
    get planned() {
      return planned;
    },
    async close() {
      closing.abort();
      waking.abort();
      await ended;
    },
  };
}

/** The machine's own. */
export const systemClock: Clock = {
  now: () => new Date(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
};

function backoffMs(failures: number, mostMs: number): number {
  return Math.min(mostMs, FIRST_RETRY_MS * 2 ** Math.max(0, failures - 1));
}

function delayOf(jitterMs: number, seed: string): number {
  if (!Number.isInteger(jitterMs) || jitterMs < 0) {
    throw new BackypError("ERR_CONFIG_INVALID", `jitterMs is ${jitterMs}: use whole milliseconds, 0 for none`);
  }
  const part = createHash("sha256").update(seed).digest().readUInt32BE() / 2 ** 32;
  return Math.floor(part * (jitterMs + 1));
}
