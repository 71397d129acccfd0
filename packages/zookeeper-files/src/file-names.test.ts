import { expect, test } from "vitest";
import { logsFor, parseFileName } from "./file-names.ts";
import { formatZxid, isNextZxid } from "./zxid.ts";

test.each([
  ["snapshot.0", "snapshot", 0n, "none"],
  ["snapshot.22", "snapshot", 0x22n, "none"],
  ["snapshot.22.gz", "snapshot", 0x22n, "gz"],
  ["snapshot.22.GZ", "snapshot", 0x22n, "gz"],
  ["snapshot.22.snappy", "snapshot", 0x22n, "snappy"],
  ["snapshot.22.gz.", "snapshot", 0x22n, "gz"],
  ["snapshot.22.gz.bak", "snapshot", 0x22n, "none"],
  ["snapshot.22.tmp", "snapshot", 0x22n, "none"],
  ["snapshot.7fffffffffffffff", "snapshot", 0x7fff_ffff_ffff_ffffn, "none"],
  ["log.1000000AB", "log", 0x1_0000_00abn, "none"],
  ["log.1.bak", "log", 1n, "none"],
  ["log.1.gz", "log", 1n, "none"],
])("%s is a data file", (name, kind, zxid, compression) => {
  expect(parseFileName(name)).toEqual({ kind, zxid, compression });
});

test.each([
  "snapshot",
  "snapshot.",
  "snapshot..22",
  "snapshot.gz",
  "snapshot.old",
  "snapshot.ffffffffffffffff",
  "snapshot.8000000000000000",
  "snapshot.-1",
  "snapshot.0x22",
  "snapshot. 22",
  "Snapshot.22",
  ".snapshot.22",
  "log",
  "log.",
  "log.keep.40",
  "logs.1",
  "currentEpoch",
  "",
])("%j is none", (name) => {
  expect(parseFileName(name)).toBeNull();
});

test("zxids are printed unsigned, in lower case, without padding", () => {
  expect([0n, 0x22n, 0x1_0000_00abn, -1n].map(formatZxid)).toEqual([
    "0x0",
    "0x22",
    "0x1000000ab",
    "0xffffffffffffffff",
  ]);
});

test("which zxid may follow which", () => {
  expect(isNextZxid(0n, 1n)).toBe(true);
  expect(isNextZxid(5n, 6n)).toBe(true);
  expect(isNextZxid(5n, 7n)).toBe(false);
  expect(isNextZxid(5n, 5n)).toBe(false);
  expect(isNextZxid(5n, 4n)).toBe(false);
  expect(isNextZxid(5n, 0x1_0000_0001n)).toBe(true);
  expect(isNextZxid(5n, 0x3_0000_0001n)).toBe(true);
  expect(isNextZxid(5n, 0x1_0000_0002n)).toBe(false);
  expect(isNextZxid(0x2_0000_0005n, 0x1_0000_0001n)).toBe(false);
  expect(isNextZxid(0x1_0000_0000n, 0x1_0000_0001n)).toBe(true);
  expect(isNextZxid(0xffff_ffffn, 0x1_0000_0000n)).toBe(false);
});

test("the logs for a snapshot: the last that begins at or before it, and all later ones", () => {
  const logs = [0x30n, 0x1n, 0x20n, 0x10n].map((zxid) => ({ zxid }));
  const chosen = (zxid: bigint): bigint[] => logsFor(zxid, logs).map((log) => log.zxid);
  expect(chosen(0x0n)).toEqual([0x1n, 0x10n, 0x20n, 0x30n]);
  expect(chosen(0x1n)).toEqual([0x1n, 0x10n, 0x20n, 0x30n]);
  expect(chosen(0xfn)).toEqual([0x1n, 0x10n, 0x20n, 0x30n]);
  expect(chosen(0x10n)).toEqual([0x10n, 0x20n, 0x30n]);
  expect(chosen(0x1fn)).toEqual([0x10n, 0x20n, 0x30n]);
  expect(chosen(0xffn)).toEqual([0x30n]);
  expect(logsFor(5n, [])).toEqual([]);
});
