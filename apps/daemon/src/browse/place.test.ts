import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBackypError } from "@zk-backyp/core";
import { afterAll, describe, expect, it } from "vitest";
import { parsePlace, requireZnodePath } from "./place.ts";

const ID = "zookeeper-backup-20261122T101500123Z";
const HALF_PAST = Date.UTC(2026, 10, 22, 10, 15, 0, 500);
const folder = mkdtempSync(join(tmpdir(), "zk-backyp-place-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("where to look", () => {
  it.each([
    ["latest", { kind: "backup", id: "latest", at: null }],
    [ID, { kind: "backup", id: ID, at: null }],
    [`${ID}@0x3e4`, { kind: "backup", id: ID, at: { zxid: 0x3e4n } }],
    ["latest@0xffffffff00000001", { kind: "backup", id: "latest", at: { zxid: -0xffffffffn } }],
    ["latest@2026-11-22T10:15:00.5", { kind: "backup", id: "latest", at: { fromMs: HALF_PAST, toMs: HALF_PAST } }],
    ["./latest", { kind: "files", paths: ["./latest"], at: null }],
    ["/no/such,/no/log", { kind: "files", paths: ["/no/such", "/no/log"], at: null }],
    ["/no/such,/no/log@0x1", { kind: "files", paths: ["/no/such", "/no/log"], at: { zxid: 1n } }],
    ["/no/user@host", { kind: "files", paths: ["/no/user@host"], at: null }],
    ["@0x1", { kind: "files", paths: ["@0x1"], at: null }],
  ])("is read from %s", (text, place) => {
    for (const isBackupMeant of [false, true]) expect(parsePlace(text, isBackupMeant)).toEqual({ ...place, text });
  });

  it("is what exists under the whole name, whatever is in it", () => {
    for (const name of ["a,b", "zk@0x5"]) {
      const path = join(folder, name);
      mkdirSync(path);
      expect(parsePlace(path, true)).toMatchObject({ paths: [path], at: null });
    }
    expect(parsePlace(`${join(folder, "a,b")}@0x7`, false)).toMatchObject({
      paths: [join(folder, "a,b")],
      at: { zxid: 7n },
    });
  });

  it("is the backup of an id, whatever exists under that name, if it is said where backups are", () => {
    const before = process.cwd();
    process.chdir(folder);
    try {
      for (const name of [ID, `${ID}@0x5`]) mkdirSync(name);
      expect(parsePlace(ID, true)).toMatchObject({ kind: "backup", id: ID, at: null });
      expect(parsePlace(`${ID}@0x5`, true)).toMatchObject({ kind: "backup", id: ID, at: { zxid: 5n } });
      expect(parsePlace(ID, false)).toMatchObject({ kind: "files", paths: [ID] });
      expect(parsePlace(`${ID}@0x5`, false)).toMatchObject({ kind: "files", paths: [`${ID}@0x5`], at: null });
      expect(parsePlace(`./${ID}`, true)).toMatchObject({ kind: "files", paths: [`./${ID}`] });
    } finally {
      process.chdir(before);
    }
  });

  it.each(["latest@2026-13-01", `${ID}@yesterday`, `${folder}@-5`, `${folder},${folder}@0xg`, `${folder}@`])(
    "is not taken for another place if the moment behind it is none: %s",
    (text) => {
      expect(() => parsePlace(text, false)).toThrow(/^the moment ".*": write a zxid as 0x3e4, and a time as /);
    },
  );

  it("may have @ in several names", () => {
    const [data, log] = [join(folder, "data@prod"), join(folder, "log@prod")];
    for (const path of [data, log, join(folder, "log")]) mkdirSync(path);
    expect(parsePlace(`${data},${log}`, false)).toMatchObject({ kind: "files", paths: [data, log], at: null });
  });

  it("is not empty", () => {
    expect(() => parsePlace("", false)).toThrow(/where to look is empty/);
  });
});

describe("a znode's path", () => {
  it.each([
    ["/", "/"],
    ["/a", "/a"],
    ["/a/b/", "/a/b"],
  ])("%s is %s", (text, path) => {
    expect(requireZnodePath(text)).toBe(path);
  });

  it.each(["", "a", "a/b", "//", "/a//b", "./a"])("is not %j", (text) => {
    let error: unknown;
    try {
      requireZnodePath(text);
    } catch (caught) {
      error = caught;
    }
    expect(isBackypError(error, "ERR_CONFIG_INVALID")).toBe(true);
  });
});
