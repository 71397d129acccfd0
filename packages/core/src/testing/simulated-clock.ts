import { abortError } from "../errors.ts";
import type { Clock } from "../scheduler.ts";

/** A clock that stands still until a test lets time pass. */
export interface SimulatedClock extends Clock {
  /** Time in ms that has passed since it was made, whatever the clock was set to. */
  elapsedMs(): number;
  /** How many sleeps are under way. */
  sleepers(): number;
  /** Sets the clock, forward or back. Sleeps under way go on for as long as before, as they do on a real machine. */
  set(time: Date): void;
  /** Lets time pass. Each sleep ends when its time has come, and what it was for is done before more time passes. */
  pass(ms: number): Promise<void>;
}

/** @param settled resolves when everybody has done what there was to do; default: what needs no timers and no disk */
export function simulatedClock(start: Date, settled: () => Promise<void> = allTurns): SimulatedClock {
  let elapsedMs = 0;
  let offsetMs = start.getTime();
  const sleeping = new Set<{ readonly untilMs: number; readonly wake: () => void }>();

  return {
    now: () => new Date(offsetMs + elapsedMs),
    elapsedMs: () => elapsedMs,
    sleepers: () => sleeping.size,

    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        const stop = (): void => {
          sleeping.delete(sleeper);
          reject(abortError(signal));
        };
        const wake = (): void => {
          sleeping.delete(sleeper);
          signal.removeEventListener("abort", stop);
          resolve();
        };
        const sleeper = { untilMs: elapsedMs + Math.max(0, ms), wake };
        if (signal.aborted) return reject(abortError(signal));
        sleeping.add(sleeper);
        signal.addEventListener("abort", stop, { once: true });
      });
    },

    set(time) {
      offsetMs = time.getTime() - elapsedMs;
    },

    async pass(ms) {
      const endMs = elapsedMs + ms;
      for (;;) {
        await settled();
        let next: { readonly untilMs: number; readonly wake: () => void } | undefined;
        for (const sleeper of sleeping)
          if (sleeper.untilMs < (next?.untilMs ?? Number.POSITIVE_INFINITY)) next = sleeper;
        if (next === undefined || next.untilMs > endMs) break;
        elapsedMs = next.untilMs;
        next.wake();
      }
      elapsedMs = endMs;
    },
  };
}

function allTurns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
