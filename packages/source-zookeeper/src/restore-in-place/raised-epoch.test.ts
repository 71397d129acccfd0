import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger, Manifest } from "@zk-backyp/core";
import { writeLog } from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { epochLog, epochLogName, gapLog, gapLogName } from "./epoch-log.ts";
import { memberFolders } from "./member-folders.ts";
import {
  epochOfBackup,
  epochOffset,
  type MemberHistory,
  memberHistory,
  raisedEpoch,
  requireEpoch,
} from "./raised-epoch.ts";

const logged: string[] = [];
const logger: Logger = { debug() {}, info() {}, warn: (_, message) => logged.push(message) };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-epoch-"));
  logged.length = 0;
});
afterEach(() => rm(folder, { recursive: true }));

describe("the epoch after a restore", () => {
  const first: MemberHistory = { epoch: 6n, restored: null, isUntouched: false };
  const served: MemberHistory = { epoch: 1_000_501n, restored: 1_000_500n, isUntouched: false };
  const untouched: MemberHistory = { epoch: 1_000_500n, restored: 1_000_500n, isUntouched: true };
  it.each<[string, MemberHistory, bigint, bigint]>([
    ["of a member that knows nothing", { ...first, epoch: 0n }, 0n, 1_000_500n],
    ["of an ensemble's first restore", first, 5n, 1_000_500n],
    ["where the store knows more", first, 1_000_003n, 2_000_500n],
    ["is well above what others may have seen meanwhile", { ...first, epoch: 999_901n }, 0n, 2_000_500n],
    ["where that is just enough", { ...first, epoch: 999_900n }, 0n, 1_000_500n],
    ["of a second restore", served, 6n, 2_000_500n],
    ["once more, before any start", untouched, 6n, 1_000_500n],
    ["once more, when it has accepted a later epoch before", { ...untouched, epoch: 1_000_501n }, 6n, 1_000_500n],
    ["once more, standalone, started", { ...untouched, isUntouched: false }, 6n, 2_000_500n],
    ["of a member that has joined the restored ones", { ...first, epoch: 1_000_501n }, 6n, 1_000_500n],
    ["of that, after a hundred elections", { ...first, epoch: 1_000_600n }, 6n, 1_000_500n],
    ["of that, after its own earlier restore", { ...first, epoch: 2_000_501n, restored: 1_000_500n }, 6n, 2_000_500n],
    ["of that, after its own of another backup", { ...first, epoch: 2_000_501n, restored: 1_000_020n }, 6n, 2_000_500n],
    ["of that, when the store knows of the restore", { ...first, epoch: 1_000_501n }, 1_000_501n, 2_000_500n],
    ["once more, with a newer backup", untouched, 1_000_501n, 2_000_500n],
    ["of another backup, above", { ...first, epoch: 1_000_499n }, 6n, 2_000_500n],
    ["of another backup, below", { ...first, epoch: 1_000_601n }, 6n, 2_000_500n],
    ["of another backup, after a restore that served", { ...served, restored: 1_000_020n }, 6n, 2_000_500n],
    [
      "of another backup, when it has accepted a later epoch",
      { epoch: 1_000_021n, restored: 1_000_020n, isUntouched: true },
      6n,
      2_000_500n,
    ],
    [
      "of another backup, before any start",
      { epoch: 1_000_020n, restored: 1_000_020n, isUntouched: true },
      6n,
      1_000_500n,
    ],
  ])("%s", (_, history, store, expected) => {
    expect(raisedEpoch(history, { epoch: store, offset: 500n })).toBe(expected);
  });

  it("is another one for each backup, by all that is restored of it and by nothing else", () => {
    const snapshot = { path: "version-2/snapshot.1", size: 1, sha256: "1".repeat(64) };
    const log = { path: "version-2/log.2", size: 1, sha256: "2".repeat(64) };
    const myid = { path: "config/myid", size: 1, sha256: "3".repeat(64) };
    const offset = epochOffset({ entries: [snapshot, log] });
    expect(epochOffset({ entries: [myid, log, snapshot] })).toBe(offset);
    const others = [
      [snapshot],
      [snapshot, { ...log, sha256: "3".repeat(64) }],
      [snapshot, { ...log, path: "version-2/log.1" }],
      ...Array.from({ length: 2000 }, (_, index) => [{ ...log, path: `version-2/log.${index}` }]),
    ].map((entries) => epochOffset({ entries }));
    expect(others).not.toContain(offset);
    for (const one of [offset, ...others]) {
      expect(one % 10n, "the epochs of the next elections are nobody's").toBe(0n);
      expect(one).toBeGreaterThan(0n);
      // That leaves room for elections before the next multiple.
      expect(one).toBeLessThanOrEqual(900_000n);
    }
    // Of 2000 some 22 meet by chance.
    expect(new Set(others).size).toBeGreaterThan(1900);
  });

  it("is one that a zxid has room for", async () => {
    await mkdir(join(folder, "version-2"));
    const [target] = await memberFolders({ main: folder });
    if (target === undefined) throw new Error("no folder");
    requireEpoch(0x7fff_ffffn, target);
    expect(() => requireEpoch(0x8000_0000n, target)).toThrow(/so high .* none fits above it/);
  });
});

describe("what old files tell of epochs", () => {
  const history = async (files: Readonly<Record<string, string | Uint8Array>>): Promise<MemberHistory> => {
    await mkdir(join(folder, "version-2"));
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, "version-2", name), text);
    return memberHistory(await memberFolders({ main: folder }), logger);
  };
  const log = async (...zxids: bigint[]): Promise<Buffer> => {
    const header = { timeMs: 1, sessionId: 0n, cxid: 0, digest: null };
    const txns = zxids.map((zxid) => ({ ...header, zxid, type: "error" as const, errorCode: -101 }));
    return Buffer.concat(await Array.fromAsync(writeLog(txns)));
  };

  it("is nothing where there is none", async () => {
    const nothing = { epoch: 0n, restored: null, isUntouched: false };
    expect(await memberHistory(await memberFolders({ main: folder }), logger)).toEqual(nothing);
    expect(await history({})).toEqual(nothing);
  });

  it.each<[string, Readonly<Record<string, string>>, bigint]>([
    ["a file's name", { "snapshot.500000000": "", currentEpoch: "4", acceptedEpoch: "4" }, 5n],
    ["the accepted epoch", { "log.300000001": "", currentEpoch: "3", acceptedEpoch: "7\n" }, 7n],
    ["an interrupted rewrite", { currentEpoch: "3", acceptedEpoch: "4", "currentEpoch.tmp": "9" }, 9n],
  ])("is the highest there is: %s", async (_, files, expected) => {
    expect((await history(files)).epoch).toBe(expected);
    expect(logged).toEqual([]);
  });

  it("is in the newest log's records where no epoch file says it, also if the log is torn", async () => {
    const records = await log(0x2_0000_0001n, 0x2_0000_0002n, 0x9_0000_0001n, 0xb_0000_0001n);
    expect((await history({ "log.200000001": records.subarray(0, -9), "log.1": "not looked at" })).epoch).toBe(9n);
  });

  it("is not in what cannot be understood, which is said and does not stop a restore", async () => {
    const found = await history({
      currentEpoch: "NaN",
      acceptedEpoch: "9".repeat(5000),
      "log.200000001": "no log",
      "zk-backyp-restored.json": "{",
    });
    expect(found).toEqual({ epoch: 2n, restored: null, isUntouched: false });
    expect(logged.filter((message) => message.includes("holds no epoch"))).toHaveLength(2);
  });

  it("is whether a restore was ever started", async () => {
    const restored = { "zk-backyp-restored.json": '{"id":"x","epoch":1000000}', currentEpoch: "1000000" };
    const files = { ...restored, "snapshot.100": "", [epochLogName(1_000_000n)]: "" };
    expect(await history(files)).toEqual({ epoch: 1_000_000n, restored: 1_000_000n, isUntouched: true });
    // It has joined others, and nothing was written.
    await writeFile(join(folder, "version-2/currentEpoch"), "1000001");
    expect(await memberHistory(await memberFolders({ main: folder }), logger)).toMatchObject({ isUntouched: false });
    await writeFile(join(folder, "version-2/currentEpoch"), "1000000");
    // A standalone server has written its first snapshot.
    await writeFile(join(folder, "version-2/snapshot.f4240000003e8"), "");
    expect(await memberHistory(await memberFolders({ main: folder }), logger)).toMatchObject({ isUntouched: false });
  });

  it.each<[unknown, unknown, string, bigint]>([
    [{ current: "3", accepted: "4" }, { zxid: "0x200000001" }, "0x200000001", 4n],
    [{ current: null, accepted: null }, { zxid: "0x500000000" }, "0x200000001", 5n],
    [{ current: "-1", accepted: "x" }, null, "0x200000001", 2n],
    [undefined, undefined, "12", 0n],
    ["3", 7, "0xzz", 0n],
  ])("is in a backup's manifest: %j, %j, %s", (epochs, server, upTo, expected) => {
    expect(epochOfBackup({ range: { upTo }, facts: { epochs, server } } as unknown as Manifest)).toBe(expected);
  });
});

describe("the log of an epoch", () => {
  it("has a thousand transactions that change nothing, the first with the name's zxid", async () => {
    const bytes = Buffer.concat(await epochLog(1_000_000n, new Date(5)).toArray());
    const records = bytes.subarray(16);
    expect(epochLogName(1_000_000n)).toBe("log.f424000000001");
    expect(records.byteLength % 1000).toBe(0);
    const size = records.byteLength / 1000;
    const zxidAt = (index: number): bigint => records.readBigInt64BE(index * size + 12 + 12);
    expect([zxidAt(0), zxidAt(999)]).toEqual([0xf4240_0000_0001n, 0xf4240_0000_03e8n]);
    expect(records.readInt32BE(999 * size + 12 + 28)).toBe(-1);
  });

  it("has one without transactions before it, right behind what is restored", async () => {
    expect(gapLogName(0x1_0000_00ffn)).toBe("log.100000100");
    const bytes = Buffer.concat(await gapLog().toArray());
    expect(bytes.toString("latin1")).toBe(`ZKLG${"\0".repeat(3)}\x02${"\0".repeat(8)}`);
  });
});
