import { describe, expect, test } from "vitest";
import { ZooKeeperFileError } from "../file-error.ts";
import { createLogChecker } from "../log/log-checker.ts";
import { type DamagedSnapshotReading, SNAPSHOT_READERS } from "../snapshot/damaged-snapshot.ts";
import type { SnapshotSummary } from "../snapshot/snapshot-summary.ts";
import { flipped } from "../testing/chunks.ts";
import { field, int } from "../testing/jute.ts";
import { LOG_HEADER, type MadeTxn, makeLog } from "../testing/made-log.ts";
import { MADE_SUMMARY } from "../testing/made-summary.ts";
import type { CheckedLog, CheckedSnapshot } from "./recovery.ts";
import { releaseRange, SERVER_RELEASES, type ServerRelease } from "./server-release.ts";
import { checkSet, type FileSet, type ReplayedState, type ServerSettings } from "./server-verdict.ts";

function snapshot(zxid: bigint, summary: Partial<SnapshotSummary> = {}, file?: string): CheckedSnapshot {
  const name = file ?? `snapshot.${zxid.toString(16)}`;
  return { file: name, zxid, mtimeMs: 0, summary: { ...MADE_SUMMARY, ...summary }, error: null };
}

function badSnapshot(zxid: bigint, reading: Partial<DamagedSnapshotReading> = {}): CheckedSnapshot {
  const error = new ZooKeeperFileError("SNAPSHOT_BAD_SEAL", 300, "bad seal");
  const whole: DamagedSnapshotReading = {
    outcome: "passed-over",
    reason: null,
    strays: [],
    highestZxid: 0n,
    ...reading,
  };
  return {
    ...snapshot(zxid),
    summary: null,
    error,
    readings: new Map(SNAPSHOT_READERS.map((reader) => [reader, whole])),
  };
}

function checked(bytes: Uint8Array, zxid: bigint, file = `log.${zxid.toString(16)}`): CheckedLog {
  const checker = createLogChecker();
  checker.push(bytes);
  return { file, zxid, summary: checker.end() };
}

function log(...txns: (bigint | MadeTxn)[]): CheckedLog {
  const made = txns.map((txn) => (typeof txn === "bigint" ? { zxid: txn } : txn));
  return checked(makeLog(...made), made[0]?.zxid ?? 0n);
}

const epoch = (n: number, counter = 0n): bigint => (BigInt(n) << 32n) | counter;

/** What each release does, with where it comes up or why not. */
function outcomes(set: FileSet, settings: ServerSettings = {}): Record<string, string> {
  const rows: { first: ServerRelease; last: ServerRelease; text: string }[] = [];
  for (const release of SERVER_RELEASES) {
    const { outcome, zxid, reasons } = checkSet(set, { release, ...settings });
    const codes = reasons.map(({ code }) => code).join(" ");
    const text = [outcome, zxid === null ? "" : `0x${zxid.toString(16)}`, codes]
      .filter((word) => word !== "")
      .join(" ");
    const row = rows.at(-1);
    if (row?.text === text) row.last = release;
    else rows.push({ first: release, last: release, text });
  }
  return Object.fromEntries(rows.map(({ first, last, text }) => [releaseRange(first, last), text]));
}

/** A state whose replay came to a txn that these releases do not survive. */
function needing(releases: readonly ServerRelease[]): ReplayedState {
  const problem = { severity: "fatal", code: "DANGLING_ACL_USED", file: "log.1", offset: 16, message: "" } as const;
  return { containers: 0, ttlNodes: 0, isDeletedAsStray: () => false, danglingAclUsed: { problem, releases } };
}

const all = (text: string): Record<string, string> => ({ "all releases": text });
const logs = [log(1n, 2n), log(3n, 4n)];

test("good files", () => {
  const verdict = checkSet({ snapshots: [snapshot(0n), snapshot(2n)], logs }, { release: "3.8" });
  expect(verdict).toEqual({
    release: "3.8",
    outcome: "loads",
    snapshot: "snapshot.2",
    logs: ["log.1", "log.3"],
    zxid: 4n,
    reasons: [],
  });
  expect(outcomes({ snapshots: [], logs: [] })).toEqual(all("loads 0x0"));
});

test.each<[string, FileSet, Record<string, string>]>([
  [
    "a gap in what is replayed",
    { snapshots: [snapshot(0n)], logs: [log(1n, 2n), log(5n)] },
    {
      "3.4 to 3.9.3": "loads-with-loss 0x5 LOG_GAP",
      "3.9.4 and later": "refuses LOG_GAP",
    },
  ],
  [
    "a gap behind the snapshot",
    { snapshots: [snapshot(2n)], logs: [log(1n, 2n), log(5n)] },
    all("loads-with-loss 0x5 LOG_GAP"),
  ],
  [
    "a gap before another epoch",
    { snapshots: [snapshot(0n)], logs: [log(1n), log(epoch(1, 3n))] },
    all("loads-with-loss 0x100000003 LOG_GAP"),
  ],
  [
    "txns that come twice",
    { snapshots: [snapshot(0n)], logs: [log(1n, 2n, { zxid: 2n, timeMs: 7n }, 3n)] },
    all("loads-with-loss 0x3 LOGS_OUT_OF_ORDER"),
  ],
  [
    "a row that is repeated, as by a server that joined twice",
    { snapshots: [snapshot(0n)], logs: [log(1n, 2n, 1n, 2n, 3n)] },
    all("loads 0x3"),
  ],
  [
    "an empty last log",
    { snapshots: [snapshot(0n)], logs: [log(1n), checked(Buffer.alloc(0), 2n)] },
    {
      "3.4 to 3.9.2": "refuses LOG_EMPTY",
      "3.9.3 and later": "loads 0x1",
    },
  ],
  [
    "an empty log before the last",
    { snapshots: [snapshot(0n)], logs: [checked(Buffer.alloc(0), 1n), log(2n)] },
    all("refuses LOG_EMPTY"),
  ],
  [
    "half a header",
    { snapshots: [snapshot(0n)], logs: [log(1n), checked(LOG_HEADER.subarray(0, 9), 2n)] },
    all("refuses LOG_TRUNCATED_HEADER"),
  ],
  [
    "damage before the snapshot",
    { snapshots: [snapshot(2n)], logs: [checked(flipped(makeLog({ zxid: 1n }, { zxid: 2n }), 40, 1), 1n)] },
    all("refuses LOG_BAD_CHECKSUM"),
  ],
  [
    "damage in a log that is not read",
    { snapshots: [snapshot(3n)], logs: [checked(flipped(makeLog({ zxid: 1n }), 40, 1), 1n), log(3n, 4n)] },
    all("loads 0x4"),
  ],
  [
    "a check outside of a multi",
    { snapshots: [snapshot(0n)], logs: [log(1n, { zxid: 2n, type: 13, body: Buffer.concat([field("/a"), int(1)]) })] },
    all("refuses LOG_POISON_RECORD"),
  ],
  [
    "a txn that 3.5 added",
    { snapshots: [snapshot(0n)], logs: [log(1n, { zxid: 2n, type: 20, body: field("/a") })] },
    {
      "3.4": "refuses LOG_TYPE_OF_35",
      "3.5.3 and later": "loads 0x2",
    },
  ],
  [
    "a wrong end mark",
    { snapshots: [snapshot(0n)], logs: [checked(flipped(makeLog({ zxid: 1n }, { zxid: 2n }), -1, 1), 1n)] },
    all("loads-with-loss 0x1 LOG_BAD_RECORD_END"),
  ],
  ["no snapshot", { snapshots: [], logs }, { "3.4": "loads 0x4", "3.5.3 and later": "refuses NO_SNAPSHOT" }],
  ["no good snapshot", { snapshots: [badSnapshot(0n)], logs }, all("refuses NO_VALID_SNAPSHOT")],
  [
    "no snapshot that looks like one",
    { snapshots: [badSnapshot(0n, { outcome: "unseen" })], logs },
    { "3.4": "loads 0x4", "3.5.3 and later": "refuses NO_SNAPSHOT" },
  ],
  ["a bad snapshot that the logs reach", { snapshots: [snapshot(0n), badSnapshot(4n)], logs }, all("loads 0x4")],
  [
    "a bad snapshot of later",
    { snapshots: [snapshot(0n), badSnapshot(9n)], logs },
    all("loads-with-loss 0x4 SNAPSHOT_BAD_SEAL"),
  ],
  [
    "a bad snapshot that stops servers",
    { snapshots: [snapshot(0n), badSnapshot(2n, { outcome: "stops", reason: "a null" })], logs },
    all("refuses SNAPSHOT_STOPS_SERVER"),
  ],
  [
    "one that would, older than a good one",
    { snapshots: [badSnapshot(0n, { outcome: "stops" }), snapshot(2n)], logs },
    all("loads 0x4"),
  ],
  [
    "a bad snapshot that leaves nodes behind",
    { snapshots: [snapshot(0n), badSnapshot(2n, { strays: [{ owner: 7n, path: "/a" }] })], logs },
    all("loads-with-loss 0x4 SNAPSHOT_LEAVES_STRAYS"),
  ],
  [
    "a bad snapshot that servers load",
    { snapshots: [badSnapshot(2n, { outcome: "loads", highestZxid: 2n })], logs },
    all("loads 0x4"),
  ],
  [
    "one with traces of what is not there",
    { snapshots: [badSnapshot(2n, { outcome: "loads", highestZxid: 9n })], logs },
    all("loads-with-loss 0x4 SNAPSHOT_NOT_COVERED"),
  ],
  [
    "a snapshot that the logs do not cover",
    { snapshots: [snapshot(2n, { lastZxid: 9n, digest: { zxid: 2n, version: 2, value: 1n } })], logs },
    all("loads-with-loss 0x4 SNAPSHOT_NOT_COVERED"),
  ],
  [
    "a compressed snapshot",
    { snapshots: [snapshot(4n, {}, "snapshot.4.gz"), snapshot(0n)], logs: [log(1n, 2n)] },
    {
      "3.4 to 3.5": "loads-with-loss 0x2 SERVER_STOPS_SHORT",
      "3.6 and later": "loads 0x4",
    },
  ],
  [
    "an oddly named log",
    { snapshots: [snapshot(0n)], logs: [log(1n, 2n), { ...log(3n), file: "log.3.bak" }] },
    {
      "3.4 to 3.5": "loads-with-loss 0x2 SERVER_STOPS_SHORT",
      "3.6 and later": "loads 0x3",
    },
  ],
  [
    "nodes whose ACL is missing",
    { snapshots: [snapshot(2n, { danglingAcls: 1 })], logs },
    {
      "3.4 to 3.8.4": "loads-with-loss 0x4 SNAPSHOT_DANGLING_ACLS",
      "3.8.5 to 3.8": "loads 0x4",
      "3.9 to 3.9.3": "loads-with-loss 0x4 SNAPSHOT_DANGLING_ACLS",
      "3.9.4 and later": "loads 0x4",
    },
  ],
  [
    "nodes whose ACL is missing where a txn needs it",
    {
      snapshots: [snapshot(2n, { danglingAcls: 1 })],
      logs,
      replayed: needing(["3.8.4", "3.8.5", "3.9.2", "3.9.3", "3.9.4"]),
    },
    {
      "3.4 to 3.8.3": "loads-with-loss 0x4 SNAPSHOT_DANGLING_ACLS",
      "3.8.4 to 3.8": "refuses DANGLING_ACL_USED",
      "3.9 to 3.9.1": "loads-with-loss 0x4 SNAPSHOT_DANGLING_ACLS",
      "3.9.2 and later": "refuses DANGLING_ACL_USED",
    },
  ],
  [
    "nodes whose ACL is missing where a txn needs it, to those that do not take it from a creation",
    { snapshots: [snapshot(2n, { danglingAcls: 1 })], logs, replayed: needing(["3.8.4", "3.9.2", "3.9.3"]) },
    {
      "3.4 to 3.8.3": "loads-with-loss 0x4 SNAPSHOT_DANGLING_ACLS",
      "3.8.4": "refuses DANGLING_ACL_USED",
      "3.8.5 to 3.8": "loads 0x4",
      "3.9 to 3.9.1": "loads-with-loss 0x4 SNAPSHOT_DANGLING_ACLS",
      "3.9.2 to 3.9.3": "refuses DANGLING_ACL_USED",
      "3.9.4 and later": "loads 0x4",
    },
  ],
  [
    "containers",
    { snapshots: [snapshot(2n, { containers: 1 })], logs },
    {
      "3.4": "loads-with-loss 0x4 CONTAINERS_VANISH",
      "3.5.3 and later": "loads 0x4",
    },
  ],
  [
    "files in the wrong place",
    { snapshots: [snapshot(2n)], logs, misplaced: ["log.1"] },
    {
      "3.4": "refuses FILE_MISPLACED",
      "3.5.3": "loads 0x4",
      "3.5.4 and later": "refuses FILE_MISPLACED",
    },
  ],
])("%s", (_, set, expected) => {
  expect(outcomes(set)).toEqual(expected);
});

describe("settings", () => {
  test("trustEmptySnapshot", () => {
    expect(outcomes({ snapshots: [], logs }, { trustEmptySnapshot: true })).toEqual({
      "3.4": "loads 0x4",
      "3.5.3 to 3.5.5": "refuses NO_SNAPSHOT",
      "3.5.6": "loads-with-loss 0x0 SERVER_STOPS_SHORT",
      "3.5.7 and later": "loads 0x4",
    });
  });

  test("extendedTypesEnabled", () => {
    const set = { snapshots: [snapshot(2n, { ttlNodes: 3 })], logs };
    expect(outcomes(set)).toEqual({
      "3.4": "loads-with-loss 0x4 TTL_NODES_VANISH",
      "3.5.3": "loads 0x4",
      "3.5.4 and later": "loads-with-loss 0x4 TTL_NODES_VANISH",
    });
    expect(outcomes(set, { extendedTypesEnabled: true })).toEqual({
      "3.4": "loads-with-loss 0x4 TTL_NODES_VANISH",
      "3.5.3 and later": "loads 0x4",
    });
    // What counts is what is there in the end.
    const replayed = { ttlNodes: 0, containers: 0, isDeletedAsStray: () => false };
    expect(outcomes({ ...set, replayed })).toEqual(all("loads 0x4"));
  });

  test("digestEnabled", () => {
    const digest = { zxid: 2n, version: 2, value: 1n };
    const both = { snapshots: [snapshot(2n, { digest, lastZxid: 2n })], logs };
    expect(outcomes(both)).toEqual(all("loads 0x4"));
    expect(outcomes(both, { digestEnabled: false })).toEqual({
      "3.4 to 3.8": "loads 0x4",
      "3.9 and later": "refuses NO_VALID_SNAPSHOT",
    });
    const lastZxid = { snapshots: [snapshot(2n, { lastZxid: 2n })], logs };
    expect(outcomes(lastZxid, { digestEnabled: false })).toEqual(all("loads 0x4"));
    expect(outcomes(lastZxid)).toEqual({ "3.4 to 3.5": "loads 0x4", "3.6 and later": "refuses NO_VALID_SNAPSHOT" });
  });

  test("juteMaxBuffer", () => {
    const body = Buffer.concat([field("/a"), field(Buffer.alloc(2000)), int(1)]);
    const large = { snapshots: [snapshot(0n)], logs: [log({ zxid: 1n, body })] };
    expect(outcomes(large)).toEqual(all("loads 0x1"));
    expect(outcomes(large, { juteMaxBuffer: 900 })).toEqual(all("refuses LOG_RECORD_TOO_LARGE"));
    // 3.4 adds 1024, later releases as much again.
    expect(outcomes(large, { juteMaxBuffer: 1023 })).toEqual(all("loads 0x1"));
    const snapshots = { snapshots: [snapshot(1n, { largestFieldBytes: 5000 }), snapshot(0n)], logs: [log(1n)] };
    expect(checkSet(snapshots, { release: "3.8", juteMaxBuffer: 2500 }).snapshot).toBe("snapshot.1");
    expect(checkSet(snapshots, { release: "3.8", juteMaxBuffer: 2499 }).snapshot).toBe("snapshot.0");
    expect(checkSet(snapshots, { release: "3.4", juteMaxBuffer: 2500 }).snapshot).toBe("snapshot.0");
  });

  test("role", () => {
    const epochs = { currentEpoch: "5", acceptedEpoch: "4", currentEpochTmp: null, updatingEpoch: false };
    const set = { snapshots: [snapshot(2n)], logs, epochs };
    expect(outcomes(set)).toEqual(all("refuses EPOCHS_CONFLICT"));
    expect(outcomes(set, { role: "standalone" })).toEqual(all("loads 0x4"));
    const unread = { ...set, epochs: { ...epochs, currentEpoch: null, acceptedEpoch: null } };
    expect(outcomes(unread)).toEqual(all("loads 0x4"));
    const empty = { snapshots: [], logs: [], epochs: { ...epochs, acceptedEpoch: "5" } };
    expect(outcomes(empty)).toEqual(all("loads-with-loss 0x0 EPOCH_WITHOUT_DATA"));
  });
});

test("a server tries a hundred snapshots", () => {
  const bad = (count: number): CheckedSnapshot[] => Array.from({ length: count }, (_, i) => badSnapshot(BigInt(i + 1)));
  const many = log(...Array.from({ length: 120 }, (_, i) => BigInt(i + 1)));
  expect(outcomes({ snapshots: [snapshot(0n), ...bad(99)], logs: [many] })).toEqual(all("loads 0x78"));
  expect(outcomes({ snapshots: [snapshot(0n), ...bad(100)], logs: [many] })).toEqual(all("refuses NO_VALID_SNAPSHOT"));
});

test("a state that its digests contradict is not called good", () => {
  const mismatch = {
    severity: "data-loss",
    code: "DIGEST_MISMATCH",
    file: "log.1",
    offset: 16,
    message: "no",
  } as const;
  const replayed = { ttlNodes: 0, containers: 0, isDeletedAsStray: () => false, mismatch };
  expect(outcomes({ snapshots: [snapshot(2n)], logs, replayed })).toEqual(all("loads-with-loss 0x4 DIGEST_MISMATCH"));
});

test("every reason names what to make of it", () => {
  const sets: FileSet[] = [
    { snapshots: [badSnapshot(0n)], logs },
    { snapshots: [], logs },
    { snapshots: [snapshot(9n, { ttlNodes: 1, danglingAcls: 1, containers: 1, highestZxid: 99n })], logs },
  ];
  for (const set of sets) {
    for (const { message } of checkSet(set, { release: "3.4" }).reasons) expect(message).toMatch(/^.{40,}$/);
  }
});
