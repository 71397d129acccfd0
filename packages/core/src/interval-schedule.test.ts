import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isBackypError } from "./errors.ts";
import { intervalSchedule } from "./interval-schedule.ts";

const HOUR_MS = 3_600_000;

describe("an interval", () => {
  it("counts from the newest backup, be it one without a slot", () => {
    const daily = intervalSchedule(24 * HOUR_MS);
    const newest = new Date("2026-11-20T13:07:45.123Z");
    const now = new Date("2026-11-22T15:00:00Z");
    expect(daily.last(now, newest)).toEqual(new Date("2026-11-22T13:07:45.123Z"));
    expect(daily.next(now, newest)).toEqual(new Date("2026-11-23T13:07:45.123Z"));
  });

  it("counts from 1970 where there is no backup", () => {
    const sixHours = intervalSchedule(6 * HOUR_MS);
    const now = new Date("2026-11-22T15:00:00Z");
    expect(sixHours.last(now, null)).toEqual(new Date("2026-11-22T12:00:00Z"));
    expect(sixHours.next(now, null)).toEqual(new Date("2026-11-22T18:00:00Z"));
  });

  it("has a slot at the moment itself", () => {
    const hourly = intervalSchedule(HOUR_MS);
    const now = new Date("2026-11-22T15:00:00Z");
    expect(hourly.last(now, null)).toEqual(now);
    expect(hourly.last(now, now)).toEqual(now);
    expect(hourly.next(now, now)).toEqual(new Date("2026-11-22T16:00:00Z"));
  });

  it("has slots that lie apart by it, around any moment", () => {
    const times = fc.integer({ min: Date.UTC(1990), max: Date.UTC(2090) });
    const intervals = fc.integer({ min: 1_000, max: 40 * 24 * HOUR_MS });
    fc.assert(
      fc.property(intervals, times, fc.option(fc.nat(400 * 24 * HOUR_MS)), (intervalMs, time, age) => {
        const { last, next } = intervalSchedule(intervalMs);
        const now = new Date(time);
        const newest = age === null ? null : new Date(time - age);
        const [from, to] = [last(now, newest)?.getTime() ?? 0, next(now, newest).getTime()];
        expect(to - from).toBe(intervalMs);
        expect(from <= time && time < to).toBe(true);
        expect(Math.abs((from - (newest?.getTime() ?? 0)) % intervalMs)).toBe(0);
        // The backup of a slot changes no later slot.
        expect(next(now, new Date(from)).getTime()).toBe(to);
      }),
    );
  });

  it.each([
    [1_000, "every 1 s"],
    [90_000, "every 90 s"],
    [900_000, "every 15 min"],
    [6 * HOUR_MS, "every 6 h"],
    [36 * HOUR_MS, "every 36 h"],
    [48 * HOUR_MS, "every 2 d"],
    [1_500, "every 1500 ms"],
  ])("of %d ms is called %s", (intervalMs, text) => {
    expect(intervalSchedule(intervalMs).text).toBe(text);
  });

  it.each([0, -1, 999, 1_000.5, Number.NaN, Number.POSITIVE_INFINITY, 1e15, "86400000", undefined])(
    "of %s is refused, with an example",
    (wrong) => {
      expect(() => intervalSchedule(wrong as number)).toThrow(
        expect.toSatisfy(
          (error: Error) => isBackypError(error, "ERR_CONFIG_INVALID") && error.message.includes("86400000 for a day"),
        ),
      );
    },
  );
});
