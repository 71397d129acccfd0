import { expect, it } from "vitest";
import { formatBytes, formatDuration, formatTime } from "./formats.ts";

it.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [86_123, "86.1 kB"],
  [999_499, "999 kB"],
  [999_500, "1.00 MB"],
  [5e15, "5.00 PB"],
])("%i bytes are %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

it.each([
  [0, "0.0 s"],
  [59_940, "59.9 s"],
  [59_960, "1 min 0 s"],
  [125_000, "2 min 5 s"],
  [3_599_900, "1 h 0 min"],
  [4_800_000, "1 h 20 min"],
])("%i ms are %s", (milliseconds, text) => {
  expect(formatDuration(milliseconds)).toBe(text);
});

it("prints times without their zone, which is UTC", () => {
  expect(formatTime("2026-11-22T10:15:00.123Z")).toBe("2026-11-22 10:15:00");
});
