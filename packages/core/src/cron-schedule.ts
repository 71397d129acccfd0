import { Cron } from "croner";
import { BackypError } from "./errors.ts";
import type { Schedule } from "./schedule.ts";

const EXAMPLE = 'write minute, hour, day of month, month and day of week, such as "30 2 * * *" for 02:30 every day';
/** By croner's names, which says of a value that is wrong something else where it counts from 1. */
const RANGES: Readonly<Record<string, string>> = {
  second: "the second has to be 0 to 59",
  minute: "the minute has to be 0 to 59",
  hour: "the hour has to be 0 to 23",
  day: "the day of the month has to be 1 to 31",
  month: "the month has to be 1 to 12, or JAN to DEC",
  dayOfWeek: "the day of the week has to be 0 to 7, or SUN to SAT",
};

/**
 * Slots by a cron expression of five fields, or of six with seconds first; `@hourly`, `@daily`, `@weekly`, `@monthly` and
 * `@yearly` too. Where both a day of the month and a day of the week are given one of them is enough, as with cron; a `+`
 * before the day of the week asks for both. `L`, `W` and `#` mean what they mean to croner.
 *
 * When clocks are changed, as with Vixie cron: a time of day that is given in numbers (`30 2 * * *`, `30 2,14 * * *`)
 * comes once on every day, also on one on which the clock shows it twice (then the first time), or never (then when the
 * clock has jumped). With a `*` or a step in seconds, minutes or hours what the clock shows twice comes twice, and what
 * it does not show does not come, so that the distances stay even.
 *
 * @param timeZone IANA name; default `UTC`, so that nodes in different zones agree
 * @throws BackypError `ERR_CONFIG_INVALID`, also for what never comes due, such as 30 February
 */
export function cronSchedule(expression: string, timeZone = "UTC"): Schedule {
  const invalid = (why: string, cause?: unknown): BackypError =>
    new BackypError("ERR_CONFIG_INVALID", `${JSON.stringify(expression)} is no schedule: ${why}; ${EXAMPLE}`, {
      cause,
      details: { expression },
    });
  checkTimeZone(timeZone);
  const text = String(expression).trim();
  const fields = text.split(/\s+/).length;
  // Also a date by itself, which croner takes for a job that runs once, and a year, after which nothing would run.
  if (!text.startsWith("@") && fields !== 5 && fields !== 6) {
    throw invalid(`it has ${text === "" ? 0 : fields} fields instead of five, or six with seconds first`);
  }
  let cron: Cron;
  let first: Date | null;
  try {
    cron = new Cron(text, {
      paused: true,
      timezone: timeZone,
      mode: "5-or-6-parts",
      fixedTimeRule: "no-wildcard",
    });
    first = cron.nextRun(new Date(0));
  } catch (cause) {
    throw invalid(reasonOf(cause as Error), cause);
  }
  if (first === null) throw invalid("no calendar has such a day, so that it never comes due");

  // Between two slots the answers are the same, and most questions come between two slots.
  let from = 0;
  let to = 0;
  const around = (now: Date): void => {
    const time = now.getTime();
    if (time >= from && time < to) return;
    // The one before is looked for strictly before, and the one after strictly after.
    from = cron.previousRuns(1, new Date(time + 1))[0]?.getTime() ?? Number.NaN;
    to = cron.nextRun(now)?.getTime() ?? Number.NaN;
  };
  return {
    text: `${text} (${timeZone})`,
    last(now) {
      around(now);
      return Number.isNaN(from) ? null : new Date(from);
    },
    next(now) {
      around(now);
      return new Date(to);
    },
  };
}

function checkTimeZone(timeZone: string): void {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone });
  } catch (cause) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `${JSON.stringify(timeZone)} is no time zone: use an IANA name, such as "Europe/Berlin", or "UTC"`,
      { cause, details: { timeZone } },
    );
  }
}

function reasonOf({ message }: Error): string {
  const field = /Invalid value for (\w+)/.exec(message)?.[1];
  return RANGES[field ?? ""] ?? message.replace(/^CronPattern: /, "").replace(/[.;]+$/, "");
}
