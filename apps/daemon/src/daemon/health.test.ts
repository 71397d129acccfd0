import { describe, expect, it } from "vitest";
import type { RunRecord } from "./daemon-view.ts";
import { healthOf } from "./health.ts";

const now = new Date("2026-11-22T12:00:00Z");
const lastGood = { id: "zk-20261122T090000000Z", startedAt: "2026-11-22T09:00:00.000Z", upToTime: null };
const later = new Date("2026-11-22T18:00:00Z");
const earlier = new Date("2026-11-22T11:00:00Z");

function run(outcome: RunRecord["outcome"]): RunRecord {
  return {
    runId: "1",
    kind: "backup",
    trigger: "schedule",
    slot: null,
    startedAt: "2026-11-22T11:00:00.000Z",
    finishedAt: "2026-11-22T11:00:01.000Z",
    durationMs: 1000,
    outcome,
    backupId: null,
    bytes: null,
    downtimeMs: null,
    message: "what happened",
    error: outcome === "failed" ? { code: "ERR_SINK_FULL", message: "no space in /backups", remedy: "" } : null,
  };
}

const well = {
  now,
  lastGood,
  staleAt: later,
  lastBackupRun: run("ok"),
  sinkProblem: null,
  electionProblem: null,
  isSeen: true,
};

describe("a series", () => {
  it.each([
    ["is ok with a good backup that is new enough", well, "ok", "The newest good backup is 3 hours old."],
    ["is ok after a run that was skipped", { ...well, lastBackupRun: run("skipped") }, "ok", "3 hours old"],
    [
      "is failing when the last run has failed",
      { ...well, lastBackupRun: run("failed") },
      "failing",
      "no space in /backups",
    ],
    [
      "is ok when another node has made a good backup since the last run failed",
      { ...well, lastBackupRun: { ...run("failed"), startedAt: "2026-11-22T08:00:00.000Z" } },
      "ok",
      "3 hours old",
    ],
    [
      "is failing while nobody can be elected",
      { ...well, electionProblem: "no quorum" },
      "failing",
      "Nothing is backed up: no quorum",
    ],
    ["is failing when the store cannot be read", { ...well, sinkProblem: "no answer" }, "failing", "no answer"],
    [
      "is stale when a newer backup should be there",
      { ...well, staleAt: earlier },
      "stale",
      "a newer one should be there",
    ],
    [
      "is stale rather than failing",
      { ...well, staleAt: earlier, lastBackupRun: run("failed") },
      "stale",
      "no space in /backups",
    ],
    ["is stale without any backup in time", { ...well, lastGood: null, staleAt: earlier }, "stale", "no good backup"],
    [
      "is unknown before its first backup",
      { ...well, lastGood: null, lastBackupRun: null },
      "unknown",
      "no backup yet",
    ],
    [
      "is stale in time also where the store was never seen",
      { ...well, lastGood: null, lastBackupRun: null, isSeen: false, staleAt: earlier },
      "stale",
      "no good backup",
    ],
    [
      "is unknown before the store was seen",
      { ...well, lastGood: null, lastBackupRun: null, isSeen: false },
      "unknown",
      "not looked at",
    ],
    ["is never stale where nothing says when it is", { ...well, staleAt: null }, "ok", "3 hours old"],
  ])("%s", (_, facts, health, text) => {
    const found = healthOf(facts);
    expect(found.health).toBe(health);
    expect(found.healthText).toContain(text);
  });

  it.each([
    [0, "less than a minute"],
    [59_999, "less than a minute"],
    [60_000, "1 minute"],
    [3_599_999, "59 minutes"],
    [3_600_000, "1 hour"],
    [47 * 3_600_000, "47 hours"],
    [48 * 3_600_000, "2 days"],
  ])("whose backup is %d ms old says so as %s", (ms, text) => {
    const startedAt = new Date(now.getTime() - ms).toISOString();
    expect(healthOf({ ...well, lastGood: { ...lastGood, startedAt } }).healthText).toBe(
      `The newest good backup is ${text} old.`,
    );
  });
});
