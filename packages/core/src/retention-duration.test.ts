import { describe, expect, it } from "vitest";
import { after, before, parseDuration } from "./retention-duration.ts";

describe("a duration", () => {
  it.each([
    ["36h", 0, 36],
    ["14d", 0, 336],
    ["2w", 0, 336],
    ["6m", 6, 0],
    ["1y6m", 18, 0],
    ["1y5m1w7d2h", 17, 14 * 24 + 2],
    ["001d", 0, 24],
  ])("%s is so many months and hours", (text, months, hours) => {
    expect(parseDuration(text)).toEqual({ months, hours });
  });

  it.each(["", " ", "0d", "0y0m", "14", "d", "14 d", "-1d", "1.5d", "2h1d", "1d1d", "10000h", "1M", "14days", "1s"])(
    "%j is none",
    (text) => {
      expect(parseDuration(text)).toBeNull();
    },
  );

  it.each([
    ["2026-03-31T10:00:00Z", "1m", "2026-02-28T10:00:00Z"],
    ["2028-03-31T10:00:00Z", "1m", "2028-02-29T10:00:00Z"],
    ["2028-02-29T10:00:00Z", "1y", "2027-02-28T10:00:00Z"],
    ["2027-01-01T00:30:00Z", "1h", "2026-12-31T23:30:00Z"],
    ["2027-01-15T00:00:00Z", "1y6m", "2025-07-15T00:00:00Z"],
    ["2027-01-15T00:00:00Z", "1m1d", "2026-12-14T00:00:00Z"],
  ])("before %s, %s is %s", (time, text, expected) => {
    const duration = parseDuration(text);
    if (duration === null) throw new Error("no duration");
    expect(before(new Date(time), duration)).toEqual(new Date(expected));
  });

  it.each([
    ["2027-01-31T10:00:00Z", "1m", "2027-02-28T10:00:00Z"],
    ["2026-12-31T23:30:00Z", "1h", "2027-01-01T00:30:00Z"],
    ["2028-02-29T10:00:00Z", "4y", "2032-02-29T10:00:00Z"],
  ])("after %s, %s is %s", (time, text, expected) => {
    const duration = parseDuration(text);
    if (duration === null) throw new Error("no duration");
    expect(after(new Date(time), duration)).toEqual(new Date(expected));
  });
});
