import { describe, expect, it } from "vitest";
import { describePoint, isoTime, parsePoint, showTime } from "./point.ts";

const span = (fromMs: number, lengthMs: number) => ({ fromMs, toMs: fromMs + lengthMs - 1 });

describe("a point in a history", () => {
  it.each([
    ["0x3E4", { zxid: 0x3e4n }],
    ["0x0", { zxid: 0n }],
    ["0x100000001", { zxid: 0x1_0000_0001n }],
    ["2026-11-22", span(Date.UTC(2026, 10, 22), 86_400_000)],
    ["2026-11-22T20:58", span(Date.UTC(2026, 10, 22, 20, 58), 60_000)],
    ["2026-11-22 20:58:22", span(Date.UTC(2026, 10, 22, 20, 58, 22), 1000)],
    ["2026-11-22T20:58:22.5Z", span(Date.UTC(2026, 10, 22, 20, 58, 22, 500), 1)],
    ["2026-11-22T20:58:22+02:00", span(Date.UTC(2026, 10, 22, 18, 58, 22), 1000)],
    ["2026-11-22 20:58:22 UTC", null],
    ["2026-02-30", null],
    ["2026-13-01", null],
    ["2026-11-22T25:00", null],
    ["20261122", null],
    ["3e4", null],
    ["0x", null],
    ["0x11111111111111111", null],
    ["yesterday", null],
    ["", null],
  ])("is read from %j", (text, point) => {
    expect(parsePoint(text)).toEqual(point);
  });

  it("is shown in UTC, also where a server's clock is no date", () => {
    expect(describePoint({ zxid: 0x3e4n })).toBe("0x3e4");
    expect(describePoint(span(Date.UTC(2026, 10, 22, 20, 58, 22, 5), 1))).toBe("2026-11-22 20:58:22 UTC");
    expect(showTime(1e18)).toBe("1000000000000000000 ms");
    expect(isoTime(1e18)).toBeNull();
  });
});
