import { BackypError } from "./errors.ts";
import type { Schedule } from "./schedule.ts";

const UNITS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
] as const;
const MIN_MS = 1_000;
/** Ten years. */
const MAX_MS = 3_653 * 86_400_000;

/**
 * A slot every `intervalMs` after the newest backup, whoever made it. Without one they are the multiples of the interval
 * since 1970, so that nodes without a backup agree too. Time zones have no part in it: a day has 24 hours.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` for anything but whole milliseconds from 1 second to 10 years
 */
export function intervalSchedule(intervalMs: number): Schedule {
  if (!Number.isInteger(intervalMs) || intervalMs < MIN_MS || intervalMs > MAX_MS) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `an interval of ${String(intervalMs)} ms is no schedule: use whole milliseconds from ${MIN_MS} (a second) to ${MAX_MS} (ten years), such as 86400000 for a day`,
      { details: { intervalMs } },
    );
  }
  const last = (now: Date, newest: Date | null): number => {
    const origin = newest?.getTime() ?? 0;
    return origin + Math.floor((now.getTime() - origin) / intervalMs) * intervalMs;
  };
  const [unit, unitMs] = UNITS.find(([, ms]) => intervalMs % ms === 0) ?? ["ms", 1];
  return {
    text: `every ${intervalMs / unitMs} ${unit}`,
    last: (now, newest) => new Date(last(now, newest)),
    next: (now, newest) => new Date(last(now, newest) + intervalMs),
  };
}
