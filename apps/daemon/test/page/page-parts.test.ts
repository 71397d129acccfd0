import { describe, expect, it } from "vitest";
import type { Outcome, RunKind, RunRecord } from "../../src/daemon/daemon-view.ts";

// They are plain JavaScript for a browser; what is tested here touches no document.
const part = (name: string): Promise<unknown> => import(new URL(`../../page/${name}`, import.meta.url).href);

interface Problem {
  readonly code: string;
  readonly count: number;
  readonly overAt: string | null;
}
const { problemsOf } = (await part("problems.js")) as { problemsOf(runs: readonly RunRecord[]): Problem[] };
const { formatAge, formatBytes, formatDuration, formatUtc } = (await part("format.js")) as Record<
  string,
  (value: number | string) => string | null
>;
const { findGaps, toPoint, axisTicks } = (await part("timeline.js")) as {
  findGaps(times: readonly number[]): [number, number][];
  toPoint(backup: object): { readonly atMs: number; readonly state: string };
  axisTicks(from: number, to: number, most: number): { atMs: number; text: string }[];
};

describe("formats", () => {
  it.each([
    [formatBytes, 0, "0 B"],
    [formatBytes, 999, "999 B"],
    [formatBytes, 86_123, "86.1 kB"],
    [formatBytes, 999_600, "1.00 MB"],
    [formatBytes, 1_234_000_000, "1.23 GB"],
    [formatDuration, 0, "0.0 s"],
    [formatDuration, 59_940, "59.9 s"],
    [formatDuration, 125_000, "2 min 5 s"],
    [formatDuration, 4_800_000, "1 h 20 min"],
    [formatAge, -5, "0 s"],
    [formatAge, 59_999, "59 s"],
    [formatAge, 3_599_999, "59 min"],
    [formatAge, 26.9 * 3_600_000, "26 h"],
    [formatAge, 72 * 3_600_000, "3 d"],
  ])("%o of %d is %s", (format, value, text) => {
    expect(format?.(value)).toBe(text);
  });

  it("does not say the same time twice where the local time is UTC", () => {
    const before = process.env.TZ;
    try {
      process.env.TZ = "UTC";
      expect(formatUtc?.("2026-11-22T12:00:00.000Z")).toBeNull();
      process.env.TZ = "Europe/Berlin";
      expect(formatUtc?.("2026-11-22T12:00:00.000Z")).toBe("12:00 UTC");
    } finally {
      if (before === undefined) delete process.env.TZ;
      else process.env.TZ = before;
    }
  });
});

describe("gaps", () => {
  it.each<[string, readonly number[], [number, number][]]>([
    ["none in nothing", [], []],
    ["none in one", [1], []],
    ["none in two, since nothing says how close they should be", [1, 100], []],
    ["none in an even row", [0, 10, 20, 30], []],
    ["one that was missed", [0, 10, 20, 40, 50], [[20, 40]]],
    ["none where retention thins out", [0, 70, 140, 150, 160, 170], []],
    ["one at the end", [0, 10, 20, 90], [[20, 90]]],
    ["none of the same time", [5, 5, 5], []],
  ])("%s", (_, times, gaps) => {
    expect(findGaps(times)).toEqual(gaps);
  });
});

describe("a restore point", () => {
  const good = { id: "zk-20261122T101112345Z", startedAt: "2026-11-22T10:11:12.345Z", verified: true };

  it.each([
    ["good", { ...good, verifiedAt: null, problem: null }],
    ["read-back", { ...good, verifiedAt: good.startedAt, problem: null }],
    ["damaged", { ...good, verified: false, verifiedAt: good.startedAt, problem: null }],
    ["unreadable", { ...good, startedAt: "", verified: false, verifiedAt: null, problem: "no JSON" }],
  ])("is %s, and on the line at its time", (state, backup) => {
    expect(toPoint(backup)).toMatchObject({ state, atMs: Date.parse(good.startedAt) });
  });

  it("is nowhere on the line if nothing says when it was taken", () => {
    expect(toPoint({ ...good, id: "what?", startedAt: "", verified: false, problem: "x" }).atMs).toBeNaN();
  });
});

describe("the axis", () => {
  const HOUR_MS = 3_600_000;
  const from = Date.parse("2026-03-20T05:00:00.000Z");

  it.each([1, 24, 7 * 24, 30 * 24, 365 * 24, 300 * 365 * 24])(
    "has round times that have room, over %d hours",
    (hours) => {
      const ticks = axisTicks(from, from + hours * HOUR_MS, 8);
      expect(ticks.length).toBeLessThanOrEqual(10);
      expect(new Set(ticks.map(({ atMs }) => atMs)).size).toBe(ticks.length);
      for (const { atMs } of ticks) expect(new Date(atMs).getMinutes()).toBe(0);
    },
  );
});

describe("problems", () => {
  let at = 100;
  const run = (kind: RunKind, outcome: Outcome, code = "ERR_SINK_FULL"): RunRecord =>
    ({
      kind,
      outcome,
      finishedAt: `t${at--}`,
      message: outcome,
      error: outcome === "failed" ? { code, message: "m", remedy: "r" } : null,
    }) as RunRecord;

  it.each<[string, () => RunRecord[], readonly [string, number, boolean][]]>([
    ["none", () => [run("backup", "ok"), run("backup", "skipped"), run("backup", "lost")], []],
    ["one that lasts", () => [run("backup", "failed"), run("backup", "failed")], [["ERR_SINK_FULL", 2, false]]],
    ["one that is over", () => [run("backup", "ok"), run("backup", "failed")], [["ERR_SINK_FULL", 1, true]]],
    [
      "one that another daemon has made good",
      () => [run("backup", "taken"), run("backup", "failed")],
      [["ERR_SINK_FULL", 1, true]],
    ],
    [
      "not over by another kind of run",
      () => [run("verify", "ok"), run("backup", "failed")],
      [["ERR_SINK_FULL", 1, false]],
    ],
    [
      "not over by a run that did nothing",
      () => [run("backup", "skipped"), run("backup", "failed")],
      [["ERR_SINK_FULL", 1, false]],
    ],
    [
      "two that came in turns",
      () => [run("backup", "failed"), run("backup", "failed", "ERR_SINK_DENIED"), run("backup", "failed")],
      [
        ["ERR_SINK_FULL", 1, false],
        ["ERR_SINK_DENIED", 1, false],
        ["ERR_SINK_FULL", 1, false],
      ],
    ],
    [
      "the same again, after it was over",
      () => [run("backup", "failed"), run("backup", "ok"), run("backup", "failed")],
      [
        ["ERR_SINK_FULL", 1, false],
        ["ERR_SINK_FULL", 1, true],
      ],
    ],
    ["damage that has no code", () => [run("verify", "damaged")], [["damaged", 1, false]]],
  ])("are %s", (_, runs, expected) => {
    expect(problemsOf(runs()).map(({ code, count, overAt }) => [code, count, overAt !== null])).toEqual(expected);
  });
});
