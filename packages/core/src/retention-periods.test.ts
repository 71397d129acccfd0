import { describe, expect, it } from "vitest";
import { calendarOf } from "./retention-periods.ts";

const names = (timeZone: string, time: string) => calendarOf(timeZone)(Date.parse(time));

describe("the periods of a moment", () => {
  it("are those of the calendar", () => {
    expect(names("UTC", "2026-11-22T10:59:59.999Z")).toEqual({
      hourly: "2026-11-22 10:00 +00:00",
      daily: "2026-11-22",
      weekly: "2026-W47",
      monthly: "2026-11",
      yearly: "2026",
    });
  });

  it.each([
    ["2026-12-31T23:59:59.999Z", "2026-W53", "2026"],
    ["2027-01-01T00:00:00.000Z", "2026-W53", "2027"],
    ["2027-01-03T23:59:59.999Z", "2026-W53", "2027"],
    ["2027-01-04T00:00:00.000Z", "2027-W01", "2027"],
    ["2024-12-29T12:00:00.000Z", "2024-W52", "2024"],
    ["2024-12-30T12:00:00.000Z", "2025-W01", "2024"],
    ["2028-02-29T12:00:00.000Z", "2028-W09", "2028"],
    ["2000-01-01T00:00:00.000Z", "1999-W52", "2000"],
  ])("at %s are the week %s and the year %s", (time, weekly, yearly) => {
    expect(names("UTC", time)).toMatchObject({ weekly, yearly });
  });

  it.each([
    ["Europe/Berlin", "2026-12-31T23:30:00Z", "2027-01-01", "2027"],
    ["America/New_York", "2027-01-01T04:59:59Z", "2026-12-31", "2026"],
    ["Pacific/Kiritimati", "2026-12-31T10:00:00Z", "2027-01-01", "2027"],
    ["Asia/Kathmandu", "2026-12-31T18:14:59Z", "2026-12-31", "2026"],
    ["Asia/Kathmandu", "2026-12-31T18:15:00Z", "2027-01-01", "2027"],
  ])("in %s at %s are the day %s and the year %s", (zone, time, daily, yearly) => {
    expect(names(zone, time)).toMatchObject({ daily, yearly });
  });

  it("tell the two hours apart that a clock shows alike when summer time ends", () => {
    const [summer, winter] = [
      names("Europe/Berlin", "2026-10-25T00:30:00Z"),
      names("Europe/Berlin", "2026-10-25T01:30:00Z"),
    ];
    expect(summer.hourly).toBe("2026-10-25 02:00 +02:00");
    expect(winter.hourly).toBe("2026-10-25 02:00 +01:00");
    expect(summer.daily).toBe(winter.daily);
  });

  it("give London's summer hour another name than its winter hour", () => {
    expect(names("Europe/London", "2026-10-25T00:30:00Z").hourly).toBe("2026-10-25 01:00 +01:00");
    expect(names("Europe/London", "2026-10-25T01:30:00Z").hourly).toBe("2026-10-25 01:00 +00:00");
  });

  it("name all 24 hours of each day of three years, but for the days on which clocks change", () => {
    const calendar = calendarOf("Europe/Berlin");
    const hours = new Map<string, Set<string>>();
    for (let time = Date.parse("2026-12-31T23:00Z"); time < Date.parse("2029-12-31T23:00Z"); time += 3_600_000) {
      const { hourly, daily } = calendar(time);
      hours.set(daily, (hours.get(daily) ?? new Set()).add(hourly));
    }
    expect(hours.size).toBe(365 + 366 + 365);
    const odd = [...hours].filter(([, names]) => names.size !== 24).map(([day, { size }]) => [day, size]);
    expect(odd).toEqual([
      ["2027-03-28", 23],
      ["2027-10-31", 25],
      ["2028-03-26", 23],
      ["2028-10-29", 25],
      ["2029-03-25", 23],
      ["2029-10-28", 25],
    ]);
  });
});
