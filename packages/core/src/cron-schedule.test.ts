import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cronSchedule } from "./cron-schedule.ts";
import { isBackypError } from "./errors.ts";
import type { Schedule } from "./schedule.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

/** From `from` on, before `until`. */
function slotsOf(schedule: Schedule, from: Date, until: Date): string[] {
  const slots: string[] = [];
  let at = schedule.next(new Date(from.getTime() - 1), null);
  for (; at < until; at = schedule.next(at, null)) slots.push(at.toISOString());
  return slots;
}

interface WallClock {
  readonly date: string;
  readonly month: number;
  readonly day: number;
  readonly weekday: string;
  readonly minuteOfDay: number;
}

const clocks = new Map<string, WallClock>();

function wallClock(timeZone: string): (time: number) => WallClock {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    weekday: "short",
    hour: "numeric",
    minute: "numeric",
  });
  return (time) => {
    const known = clocks.get(`${timeZone} ${time}`);
    if (known !== undefined) return known;
    const parts = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, value]));
    const clock = {
      date: `${parts.year}-${parts.month}-${parts.day}`,
      month: Number(parts.month),
      day: Number(parts.day),
      weekday: parts.weekday ?? "",
      minuteOfDay: Number(parts.hour) * 60 + Number(parts.minute),
    };
    clocks.set(`${timeZone} ${time}`, clock);
    return clock;
  };
}

/** What a clock and a calendar on the wall say, minute by minute. */
function expectedSlots(
  timeZone: string,
  from: Date,
  until: Date,
  {
    onDay,
    at,
  }: { onDay(clock: WallClock): boolean; readonly at: readonly number[] | ((minuteOfDay: number) => boolean) },
): string[] {
  const clockAt = wallClock(timeZone);
  const slots: string[] = [];
  let date = "";
  let waiting: number[] = [];
  for (let time = from.getTime() - DAY_MS; time < until.getTime(); time += MINUTE_MS) {
    const clock = clockAt(time);
    let isSlot: boolean;
    if (typeof at === "function") {
      isSlot = onDay(clock) && at(clock.minuteOfDay);
    } else {
      if (clock.date !== date) waiting = onDay(clock) ? [...at] : [];
      date = clock.date;
      // Once a day each, as soon as the clock shows it or has jumped over it.
      const left = waiting.filter((minute) => minute > clock.minuteOfDay);
      isSlot = left.length < waiting.length;
      waiting = left;
    }
    if (isSlot && time >= from.getTime()) slots.push(new Date(time).toISOString());
  }
  return slots;
}

const everyDay = (): boolean => true;
const EXPRESSIONS: readonly (readonly [string, Parameters<typeof expectedSlots>[3]])[] = [
  ["30 2 * * *", { onDay: everyDay, at: [150] }],
  ["15 2 * * *", { onDay: everyDay, at: [135] }],
  ["0 0 * * *", { onDay: everyDay, at: [0] }],
  ["30 1,2 * * *", { onDay: everyDay, at: [90, 150] }],
  ["0,30 2,3 * * *", { onDay: everyDay, at: [120, 150, 180, 210] }],
  ["*/15 * * * *", { onDay: everyDay, at: (minute) => minute % 15 === 0 }],
  ["20 * * * *", { onDay: everyDay, at: (minute) => minute % 60 === 20 }],
  ["0 */6 * * *", { onDay: everyDay, at: (minute) => minute % 360 === 0 }],
  ["30 2 * * SUN", { onDay: ({ weekday }) => weekday === "Sun", at: [150] }],
  ["30 2 29 3,10 *", { onDay: ({ day, month }) => day === 29 && (month === 3 || month === 10), at: [150] }],
  ["30 2 1 * MON", { onDay: ({ day, weekday }) => day === 1 || weekday === "Mon", at: [150] }],
];
/** Sundays, or days, on which clocks are changed there. */
const CHANGES = [
  ["Europe/Berlin", "2026-03-29"],
  ["Europe/Berlin", "2026-10-25"],
  ["America/New_York", "2026-03-08"],
  ["America/New_York", "2026-11-01"],
  // By half an hour.
  ["Australia/Lord_Howe", "2026-04-05"],
  ["Australia/Lord_Howe", "2026-10-04"],
  // The clock is never changed, and is half an hour beside the others.
  ["Asia/Kolkata", "2026-03-29"],
  ["UTC", "2026-10-25"],
] as const;

describe("a cron schedule", () => {
  describe.each(CHANGES)("in %s around %s", (timeZone, day) => {
    const from = new Date(Date.parse(day) - 3 * DAY_MS);
    const until = new Date(Date.parse(day) + 5 * DAY_MS);
    it.each(EXPRESSIONS)("%s is what the clock on the wall says", (expression, meaning) => {
      const slots = slotsOf(cronSchedule(expression, timeZone), from, until);
      expect(slots).toEqual(expectedSlots(timeZone, from, until, meaning));
    });
  });

  it.each([
    // The clock jumps from 02:00 to 03:00.
    ["30 2 * * *", "Europe/Berlin", "2026-03-29", ["2026-03-29T01:00:00.000Z"]],
    // It shows 02:30 twice.
    ["30 2 * * *", "Europe/Berlin", "2026-10-25", ["2026-10-25T00:30:00.000Z"]],
    ["30 1-2/1 * * *", "Europe/Berlin", "2026-10-25", ["00:30", "01:30"].map((at) => `2026-10-25T${at}:00.000Z`)],
    ["45 30 2 * * *", "UTC", "2026-10-25", ["2026-10-25T02:30:45.000Z"]],
    ["@daily", "UTC", "2026-10-25", ["2026-10-25T00:00:00.000Z"]],
    ["0 12 L * *", "UTC", "2026-10-31", ["2026-10-31T12:00:00.000Z"]],
    ["0 12 1 * +MON", "UTC", "2026-11-01", []],
  ] as const)("%s in %s has on %s the slots %j", (expression, timeZone, day, slots) => {
    const from = new Date(day);
    expect(slotsOf(cronSchedule(expression, timeZone), from, new Date(from.getTime() + DAY_MS))).toEqual(slots);
  });

  it.each([
    ["0 0 1 * *", "2026-11-22T00:00:00Z", "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"],
    ["0 0 1 1 *", "2026-11-22T00:00:00Z", "2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"],
    ["0 0 29 2 *", "2026-11-22T00:00:00Z", "2024-02-29T00:00:00.000Z", "2028-02-29T00:00:00.000Z"],
    ["0 0 29 2 *", "2101-01-01T00:00:00Z", "2096-02-29T00:00:00.000Z", "2104-02-29T00:00:00.000Z"],
    ["0 0 29 2 +MON", "2026-11-22T00:00:00Z", "2016-02-29T00:00:00.000Z", "2044-02-29T00:00:00.000Z"],
    ["0 0 31 * *", "2026-11-22T00:00:00Z", "2026-10-31T00:00:00.000Z", "2026-12-31T00:00:00.000Z"],
    ["30 2 * * *", "2026-11-22T02:30:00.000Z", "2026-11-22T02:30:00.000Z", "2026-11-23T02:30:00.000Z"],
    ["30 2 * * *", "2026-11-22T02:29:59.999Z", "2026-11-21T02:30:00.000Z", "2026-11-22T02:30:00.000Z"],
    ["30 2 * * *", "2026-11-22T02:30:00.001Z", "2026-11-22T02:30:00.000Z", "2026-11-23T02:30:00.000Z"],
  ])("%s at %s was due last at %s and is due next at %s", (expression, now, last, next) => {
    const schedule = cronSchedule(expression);
    expect(schedule.last(new Date(now), null)?.toISOString()).toBe(last);
    expect(schedule.next(new Date(now), null).toISOString()).toBe(next);
  });

  it("says the same whatever it was asked before, and has no slot between the last and the next", () => {
    const zones = fc.constantFrom(...CHANGES.map(([timeZone]) => timeZone), "America/St_Johns", "Africa/Casablanca");
    const expressions = fc.constantFrom(...EXPRESSIONS.map(([expression]) => expression), "*/7 * * * * *");
    const change = fc
      .constantFrom(...CHANGES.map(([, day]) => Date.parse(day)))
      .chain((day) => fc.integer({ min: day - DAY_MS, max: day + 2 * DAY_MS }));
    const times = fc.oneof(change, fc.integer({ min: Date.UTC(2000), max: Date.UTC(2060) }));
    fc.assert(
      fc.property(
        zones,
        expressions,
        fc.array(times, { minLength: 1, maxLength: 6 }),
        (timeZone, expression, asked) => {
          const schedule = cronSchedule(expression, timeZone);
          for (const time of asked) {
            const now = new Date(time);
            const fresh = cronSchedule(expression, timeZone);
            const next = schedule.next(now, null);
            const last = schedule.last(now, null) ?? new Date(Number.NaN);
            expect(last <= now && now < next).toBe(true);
            expect(fresh.last(now, null)).toEqual(last);
            expect(fresh.next(last, null)).toEqual(next);
            expect(fresh.last(next, null)).toEqual(next);
            expect(fresh.last(new Date(next.getTime() - 1), null)).toEqual(last);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it("is called by what was written, and its time zone", () => {
    expect(cronSchedule("30 2 * * *").text).toBe("30 2 * * * (UTC)");
    expect(cronSchedule("@daily", "Europe/Berlin").text).toBe("@daily (Europe/Berlin)");
  });

  it.each([
    ["", /fields instead of five/],
    ["x", /fields instead of five/],
    ["* * *", /fields instead of five/],
    ["60 * * * *", /the minute has to be 0 to 59/],
    ["0 24 * * *", /the hour has to be 0 to 23/],
    // Of which croner says that 31 is wrong.
    ["0 0 32 * *", /the day of the month has to be 1 to 31/],
    ["0 0 0 * *", /the day of the month has to be 1 to 31/],
    ["0 0 1 13 *", /the month has to be 1 to 12/],
    ["0 0 * * 8", /the day of the week has to be 0 to 7/],
    ["61 0 0 * * *", /the second has to be 0 to 59/],
    ["0 0 30 2 *", /never comes due/],
    ["0 0 31 4,6,9,11 *", /never comes due/],
    ["0 0 0 1 1 * 2030", /7 fields instead of five/],
    ["2026-11-22T00:00:00", /1 fields instead of five/],
    ["@reboot", /not supported/],
    ["0 2 * * FUNDAY", /FUNDAY/i],
    ["*/0 * * * *", /0/],
    ["5/10 * * * *", /5\/10/],
    ["1-0 * * * *", /./],
    [undefined, /./],
    [null, /./],
    [5, /fields instead of five/],
  ])("refuses %j, says why, and gives an example", (expression, why) => {
    expect(() => cronSchedule(expression as string)).toThrow(
      expect.toSatisfy(
        (error: Error) =>
          isBackypError(error, "ERR_CONFIG_INVALID") &&
          why.test(error.message) &&
          error.message.includes('"30 2 * * *" for 02:30 every day'),
      ),
    );
  });

  it.each(["Mars/Olympus", "", "Europe", "local"])("refuses the time zone %j", (timeZone) => {
    expect(() => cronSchedule("30 2 * * *", timeZone)).toThrow(
      expect.toSatisfy(
        (error: Error) => isBackypError(error, "ERR_CONFIG_INVALID") && error.message.includes("Europe/Berlin"),
      ),
    );
  });
});
