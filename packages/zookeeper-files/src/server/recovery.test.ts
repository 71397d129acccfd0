import { describe, expect, test } from "vitest";
import { ZooKeeperFileError } from "../file-error.ts";
import { createLogChecker } from "../log/log-checker.ts";
import type { SnapshotSummary } from "../snapshot/snapshot-summary.ts";
import { flipped } from "../testing/chunks.ts";
import { int } from "../testing/jute.ts";
import { LOG_HEADER, type MadeTxn, makeLog } from "../testing/made-log.ts";
import { MADE_SUMMARY } from "../testing/made-summary.ts";
import { type CheckedLog, type CheckedSnapshot, planRecovery, type RecoveryPlan } from "./recovery.ts";

function snapshot(zxid: bigint, summary: Partial<SnapshotSummary> = {}): CheckedSnapshot {
  const file = `snapshot.${zxid.toString(16)}`;
  return { file, zxid, mtimeMs: 0, summary: { ...MADE_SUMMARY, ...summary }, error: null };
}

function badSnapshot(zxid: bigint): CheckedSnapshot {
  const error = new ZooKeeperFileError("SNAPSHOT_BAD_SEAL", 300, "bad seal");
  return { ...snapshot(zxid), summary: null, error };
}

/** A log with the given txns; numbers make ordinary ones. */
function log(...txns: (bigint | MadeTxn)[]): CheckedLog {
  return checked(makeLog(...txns.map((txn) => (typeof txn === "bigint" ? { zxid: txn } : txn))));
}

function checked(bytes: Uint8Array, zxid?: bigint): CheckedLog {
  const checker = createLogChecker();
  checker.push(bytes);
  const summary = checker.end();
  const start = zxid ?? summary.firstZxid ?? 0n;
  return { file: `log.${start.toString(16)}`, zxid: start, summary };
}

function row(first: bigint, last: bigint): bigint[] {
  return Array.from({ length: Number(last - first) + 1 }, (_, i) => first + BigInt(i));
}

const codes = (plan: RecoveryPlan): string[] =>
  plan.problems.map(({ severity, code, file }) => `${severity} ${code} ${file}`);

const epoch = (n: number, counter = 0n): bigint => (BigInt(n) << 32n) | counter;

describe("files that fit together", () => {
  test("the newest snapshot and the logs behind it", () => {
    const logs = [log(...row(0x10n, 0x1fn)), log(...row(1n, 0xfn)), log(...row(0x20n, 0x28n))];
    const plan = planRecovery([snapshot(0n), snapshot(0x22n), snapshot(0x14n)], logs);
    expect(plan).toEqual({ recoverable: { zxid: 0x28n, from: "snapshot.22", logs: ["log.20"] }, problems: [] });
  });

  test("a snapshot in the middle of a log, at its end, and at the end before the next", () => {
    const logs = [log(...row(1n, 9n)), log(...row(10n, 19n))];
    const plan = (zxid: bigint): unknown => planRecovery([snapshot(zxid)], logs).recoverable;
    expect(plan(5n)).toEqual({ zxid: 19n, from: "snapshot.5", logs: ["log.1", "log.a"] });
    expect(plan(9n)).toEqual({ zxid: 19n, from: "snapshot.9", logs: ["log.1", "log.a"] });
    expect(plan(10n)).toEqual({ zxid: 19n, from: "snapshot.a", logs: ["log.a"] });
    expect(plan(19n)).toEqual({ zxid: 19n, from: "snapshot.13", logs: ["log.a"] });
    expect(plan(25n)).toEqual({ zxid: 25n, from: "snapshot.19", logs: ["log.a"] });
  });

  test("no logs", () => {
    expect(planRecovery([snapshot(0x22n)], [], { partial: true })).toEqual({
      recoverable: { zxid: 0x22n, from: "snapshot.22", logs: [] },
      problems: [],
    });
    // They may lie where nobody looked.
    expect(codes(planRecovery([snapshot(0x22n)], []))).toEqual(["info NO_LOGS null"]);
  });

  test("epochs that follow each other, in one log and from one to the next", () => {
    const logs = [log(1n, 2n, epoch(1, 1n), epoch(1, 2n)), log(epoch(4, 1n), epoch(4, 2n))];
    expect(planRecovery([snapshot(1n)], logs)).toMatchObject({ recoverable: { zxid: epoch(4, 2n) }, problems: [] });
    // Taken by a new leader before its first txn.
    expect(planRecovery([snapshot(epoch(1))], logs)).toMatchObject({
      recoverable: { zxid: epoch(4, 2n) },
      problems: [],
    });
    expect(planRecovery([snapshot(epoch(5))], logs)).toMatchObject({ recoverable: { zxid: epoch(5) }, problems: [] });
  });

  test("of two snapshots of one zxid the one that was written last", () => {
    const plain = { ...snapshot(0x22n), mtimeMs: 2000 };
    const gz = { ...snapshot(0x22n), file: "snapshot.22.gz", mtimeMs: 1000 };
    expect(planRecovery([plain, gz], []).recoverable?.from).toBe("snapshot.22");
    expect(planRecovery([{ ...plain, mtimeMs: 500 }, gz], []).recoverable?.from).toBe("snapshot.22.gz");
  });

  test("a torn tail, also of a log that another one follows", () => {
    const first = makeLog(...row(1n, 5n).map((zxid) => ({ zxid })));
    const logs = [checked(first.subarray(0, -3)), log(5n, 6n)];
    const plan = planRecovery([snapshot(0n)], logs);
    expect(plan.recoverable).toEqual({ zxid: 6n, from: "snapshot.0", logs: ["log.1", "log.5"] });
    expect(codes(plan)).toEqual(["info LOG_TORN_TAIL log.1"]);
  });

  test("a gap that lies before the snapshot", () => {
    const logs = [log(1n, 2n, 3n), log(7n, 8n, 9n)];
    expect(planRecovery([snapshot(8n)], logs)).toMatchObject({ recoverable: { zxid: 9n }, problems: [] });
    expect(planRecovery([snapshot(6n)], logs)).toMatchObject({ recoverable: { zxid: 9n }, problems: [] });
    const within = [log(1n, 2n, 7n, 8n, 9n)];
    expect(planRecovery([snapshot(7n)], within)).toMatchObject({ recoverable: { zxid: 9n }, problems: [] });
  });
});

describe("txns that are missing", () => {
  test.each([
    ["a removed log in the middle", [log(1n, 2n), log(5n, 6n)], 0n, 2n, "log.5", ["log.1"]],
    ["a removed log right behind the snapshot", [log(5n, 6n)], 3n, 3n, "log.5", []],
    ["a gap inside a log", [log(1n, 2n, 5n, 6n)], 1n, 2n, "log.1", ["log.1"]],
    ["a gap between the snapshot and the log it lies in", [log(1n, 2n, 5n, 6n)], 3n, 3n, "log.1", []],
    ["an epoch that does not begin at 1", [log(1n, 2n), log(epoch(1, 3n))], 0n, 2n, "log.100000003", ["log.1"]],
  ])("%s", (_, logs, start, reached, where, used) => {
    const plan = planRecovery([snapshot(start)], logs);
    expect(plan.recoverable).toEqual({ zxid: reached, from: `snapshot.${start.toString(16)}`, logs: used });
    expect(codes(plan)).toEqual([`data-loss LOG_GAP ${where}`]);
  });

  test("whether a server notices is said", () => {
    const message = (start: bigint, ...logs: CheckedLog[]): string =>
      planRecovery([snapshot(start)], logs).problems[0]?.message ?? "";
    expect(message(0n, log(1n, 2n), log(5n))).toContain("3.9.4 and later do not start");
    expect(message(2n, log(1n, 2n), log(5n))).not.toContain("3.9.4");
    expect(message(0n, log(1n, 2n), log(epoch(1, 3n)))).not.toContain("3.9.4");
  });

  test("what comes behind the first gap does not count, however it goes on", () => {
    const plan = planRecovery([snapshot(0n)], [log(1n), log(3n, 4n), log(epoch(1, 1n))]);
    expect(plan.recoverable).toEqual({ zxid: 1n, from: "snapshot.0", logs: ["log.1"] });
    expect(codes(plan)).toEqual(["data-loss LOG_GAP log.3"]);
  });

  test("txns that come twice or go back", () => {
    for (const logs of [
      [log(1n, 2n, 3n, { zxid: 3n, timeMs: 7n }, 4n)],
      [log(1n, 2n, 3n), { ...log(2n, 3n, 4n), file: "log.4", zxid: 4n }],
    ]) {
      const plan = planRecovery([snapshot(0n)], logs);
      expect(plan.recoverable?.zxid).toBe(3n);
      expect(codes(plan)).toContainEqual(expect.stringMatching(/^data-loss LOGS_OUT_OF_ORDER/));
    }
    // What the snapshot has is skipped, in whatever order it comes.
    expect(planRecovery([snapshot(3n)], [log(1n, 3n, 2n, { zxid: 3n, timeMs: 7n }, 4n)])).toMatchObject({
      recoverable: { zxid: 4n },
      problems: [],
    });
  });
});

describe("a snapshot that was written under load", () => {
  const logs = [log(...row(1n, 0x30n))];

  test.each<[string, Partial<SnapshotSummary>]>([
    ["digest", { digest: { zxid: 0x30n, version: 2, value: 1n } }],
    ["lastZxid", { lastZxid: 0x30n }],
    ["stats", { highestZxid: 0x30n }],
  ])("needs the logs up to what its %s shows", (_, summary) => {
    expect(planRecovery([snapshot(0x28n, summary)], logs)).toMatchObject({
      recoverable: { zxid: 0x30n },
      problems: [],
    });
    const short = [log(...row(1n, 0x2fn))];
    const plan = planRecovery([snapshot(0x28n, summary)], short);
    expect(plan.recoverable).toBeNull();
    expect(codes(plan)).toEqual(["data-loss SNAPSHOT_NOT_COVERED snapshot.28"]);
    const withOlder = planRecovery([snapshot(0x28n, summary), snapshot(0x20n)], short);
    expect(withOlder.recoverable).toEqual({ zxid: 0x2fn, from: "snapshot.20", logs: ["log.1"] });
    expect(codes(withOlder)).toEqual(["data-loss SNAPSHOT_NOT_COVERED snapshot.28"]);
  });

  test("a gap can leave it uncovered", () => {
    const plan = planRecovery([snapshot(2n, { lastZxid: 6n })], [log(1n, 2n, 3n), log(5n, 6n)]);
    expect(plan.recoverable).toBeNull();
    expect(codes(plan)).toEqual(["data-loss SNAPSHOT_NOT_COVERED snapshot.2", "data-loss LOG_GAP log.5"]);
  });

  test("the mere beginning of an epoch needs no log", () => {
    const summary = { lastZxid: epoch(2), digest: { zxid: epoch(2), version: 2, value: 1n } };
    expect(planRecovery([snapshot(0x30n, summary)], logs)).toMatchObject({
      recoverable: { zxid: 0x30n },
      problems: [],
    });
  });

  test("an older or an empty digest shows nothing", () => {
    const summary = { digest: { zxid: 0n, version: 2, value: 0n }, lastZxid: 0x30n, highestZxid: 0x11n };
    const plan = planRecovery([snapshot(0x30n, summary)], [], { partial: true });
    expect(plan).toMatchObject({ recoverable: { zxid: 0x30n }, problems: [] });
  });

  test("a later epoch does not stand for what is missing of an earlier one", () => {
    const traced = snapshot(epoch(1, 5n), { highestZxid: epoch(1, 8n) });
    const later = log(epoch(4, 1n), epoch(4, 2n));
    const missing = planRecovery([traced], [log(...row(epoch(1, 1n), epoch(1, 6n))), later]);
    expect(missing.recoverable).toBeNull();
    expect(codes(missing)[0]).toMatch(/^data-loss SNAPSHOT_NOT_COVERED/);
    const there = planRecovery([traced], [log(...row(epoch(1, 1n), epoch(1, 8n))), later]);
    expect(there).toMatchObject({ recoverable: { zxid: epoch(4, 2n) }, problems: [] });
    const bad = planRecovery(
      [snapshot(epoch(1, 2n)), badSnapshot(epoch(2, 7n))],
      [log(...row(epoch(1, 1n), epoch(1, 6n))), later],
    );
    expect(codes(bad).some((code) => code.startsWith("data-loss SNAPSHOT_BAD_SEAL"))).toBe(true);
  });

  test("of two logs of one zxid the one with the plain name counts, and that is told", () => {
    const copy = { ...log(...row(1n, 5n)), file: "log.1.bak" };
    for (const logs of [
      [copy, log(...row(1n, 9n))],
      [log(...row(1n, 9n)), copy],
    ]) {
      const plan = planRecovery([snapshot(0n)], logs);
      expect(plan.recoverable).toMatchObject({ zxid: 9n, logs: ["log.1"] });
      expect(codes(plan)).toEqual(["data-loss LOG_DUPLICATE log.1.bak"]);
    }
  });

  test("ACLs that it lacks are mentioned", () => {
    const plan = planRecovery([snapshot(0x30n, { danglingAcls: 2 }), snapshot(0n, { danglingAcls: 1 })], logs);
    expect(codes(plan)).toEqual(["info SNAPSHOT_DANGLING_ACLS snapshot.30"]);
  });
});

describe("bad snapshots", () => {
  const logs = [log(...row(1n, 9n))];

  test("an older one takes the place of a bad one", () => {
    const plan = planRecovery([snapshot(2n), badSnapshot(7n), snapshot(4n)], logs);
    expect(plan.recoverable).toEqual({ zxid: 9n, from: "snapshot.4", logs: ["log.1"] });
    expect(plan.problems).toMatchObject([
      { severity: "info", code: "SNAPSHOT_BAD_SEAL", file: "snapshot.7", offset: 300 },
    ]);
  });

  test("but something is lost where the logs do not reach the bad one", () => {
    const plan = planRecovery([snapshot(4n), badSnapshot(0x20n)], logs);
    expect(plan.recoverable?.zxid).toBe(9n);
    expect(codes(plan)).toEqual(["data-loss SNAPSHOT_BAD_SEAL snapshot.20"]);
    expect(codes(planRecovery([snapshot(4n), badSnapshot(epoch(1))], logs))).toEqual([
      "info SNAPSHOT_BAD_SEAL snapshot.100000000",
    ]);
  });

  test("no good one", () => {
    const plan = planRecovery([badSnapshot(0n), badSnapshot(5n)], logs);
    expect(plan.recoverable).toBeNull();
    expect(codes(plan)).toEqual([
      "fatal NO_VALID_SNAPSHOT null",
      "fatal SNAPSHOT_BAD_SEAL snapshot.0",
      "fatal SNAPSHOT_BAD_SEAL snapshot.5",
    ]);
    expect(codes(planRecovery([badSnapshot(5n)], [], { partial: true }))).toEqual([
      "fatal SNAPSHOT_BAD_SEAL snapshot.5",
    ]);
  });
});

describe("damaged logs", () => {
  const bytes = makeLog(...row(1n, 9n).map((zxid) => ({ zxid })));
  const recordBytes = (bytes.byteLength - 16) / 9;
  /** Damaged in its fifth record. */
  const damaged = (): CheckedLog => checked(flipped(bytes, 16 + 4 * recordBytes + 20, 1));

  test("count up to the damage", () => {
    const plan = planRecovery([snapshot(2n)], [damaged()]);
    expect(plan.recoverable).toEqual({ zxid: 4n, from: "snapshot.2", logs: ["log.1"] });
    expect(codes(plan)).toEqual(["fatal LOG_BAD_CHECKSUM log.1"]);
  });

  test("the damage is fatal also where the snapshot is newer, as servers read the log from its beginning", () => {
    const plan = planRecovery([snapshot(7n)], [damaged(), log(8n, 9n)]);
    expect(codes(plan)).toEqual(["fatal LOG_BAD_CHECKSUM log.1"]);
    expect(plan.recoverable?.zxid).toBe(9n);
  });

  test("and lose what comes behind, where another log goes on", () => {
    const plan = planRecovery([snapshot(2n)], [damaged(), log(10n, 11n)]);
    expect(plan.recoverable).toEqual({ zxid: 4n, from: "snapshot.2", logs: ["log.1"] });
    expect(codes(plan).sort()).toEqual(["data-loss LOG_GAP log.a", "fatal LOG_BAD_CHECKSUM log.1"]);
  });

  test("do not matter where no server reads them", () => {
    const plan = planRecovery([snapshot(10n)], [damaged(), log(10n, 11n)]);
    expect(plan.recoverable).toEqual({ zxid: 11n, from: "snapshot.a", logs: ["log.a"] });
    expect(codes(plan)).toEqual(["info LOG_BAD_CHECKSUM log.1"]);
  });

  test("empty and cut ones are named, and are not part of what to restore", () => {
    const plan = planRecovery([snapshot(0n)], [log(1n, 2n), checked(Buffer.alloc(0), 3n)]);
    expect(plan.recoverable).toEqual({ zxid: 2n, from: "snapshot.0", logs: ["log.1"] });
    expect(codes(plan)).toEqual(["fatal LOG_EMPTY log.3"]);
    expect(planRecovery([snapshot(2n)], [log(1n, 2n), checked(LOG_HEADER, 3n)]).problems).toEqual([]);
  });

  test("a name that does not fit the content", () => {
    expect(codes(planRecovery([snapshot(0n)], [checked(makeLog({ zxid: 1n }), 0n)]))).toEqual([
      "info LOG_NAME_MISMATCH log.0",
    ]);
  });
});

describe("logs without a snapshot", () => {
  test.each([1n, epoch(1, 1n)])("from the first txn on, of 3.4: %d", (first) => {
    const plan = planRecovery([], [log(first, first + 1n), log(first + 2n)]);
    expect(plan.recoverable).toMatchObject({ zxid: first + 2n, from: null });
    expect(plan.recoverable?.logs).toHaveLength(2);
    expect(codes(plan)).toEqual(["info LOGS_ONLY null"]);
  });

  test.each<[string, CheckedLog[]]>([
    ["not from the first txn on", [log(2n, 3n)]],
    ["not from the first txn of the first epochs on", [log(epoch(2, 1n))]],
    ["of 3.5 or later, by a type", [log(1n, { zxid: 2n, type: 20, body: Buffer.concat([int(2), Buffer.from("/a")]) })]],
    ["of 3.6 or later, by a digest", [log(1n, { zxid: 2n, digest: 5n })]],
    ["of 3.6 or later, by what a closed session leaves", [log(1n), log({ zxid: 2n, type: -11, body: int(0) })]],
    ["without a txn", [checked(LOG_HEADER, 1n)]],
    ["none", []],
  ])("%s", (_, logs) => {
    const plan = planRecovery([], logs);
    expect(plan.recoverable).toBeNull();
    expect(codes(plan)).toEqual(["fatal NO_SNAPSHOT null"]);
    expect(planRecovery([], logs, { partial: true })).toEqual({ recoverable: null, problems: [] });
  });

  test("with a gap", () => {
    const plan = planRecovery([], [log(1n, 2n), log(4n)]);
    expect(plan.recoverable?.zxid).toBe(2n);
    expect(codes(plan)).toEqual(["info LOGS_ONLY null", "data-loss LOG_GAP log.4"]);
  });
});

test("every problem says what to make of it", () => {
  const plan = planRecovery([snapshot(2n, { lastZxid: 9n }), badSnapshot(1n)], [log(1n, 2n, 3n), log(5n)]);
  for (const problem of plan.problems) expect(problem.message).toMatch(/^.{40,}$/);
});
