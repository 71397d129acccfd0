import {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findDataFiles, pathError } from "./directory.ts";
import { inspect } from "./inspect.ts";
import { makeLog } from "./testing/made-log.ts";
import { makeSnapshot } from "./testing/made-snapshot.ts";
import { realFiles, scratchFolder } from "./testing/real-files.ts";

const files = realFiles();
const scratch = scratchFolder();
let folders = 0;

function folder(contents: Record<string, Uint8Array | string> = {}): string {
  const path = join(scratch, String(folders++));
  mkdirSync(path);
  for (const [name, body] of Object.entries(contents)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), body);
  }
  return path;
}

describe("what real servers wrote", () => {
  const digest = (value: string, zxid = "0x22"): object => ({ zxid, version: 2, value });
  const emptyDigest = digest("0", "0x0");
  const fresh = (digest: object | null): object => ({
    file: "snapshot.0",
    zxid: "0x0",
    valid: true,
    nodes: 4,
    sessions: 0,
    acls: 1,
    compression: "none",
    digest,
  });
  const log1 = (bytes: number): object => ({
    file: "log.1",
    firstZxid: "0x1",
    lastZxid: "0x22",
    records: 34,
    bytes,
    end: "padding",
  });
  const full = (file: string, compression: string, nodes: number, digest: object | null): object => {
    return { file, zxid: "0x22", valid: true, nodes, sessions: 0, acls: 3, compression, digest };
  };

  test.each<[string, object]>([
    ["3.5.10", { snapshots: [fresh(null), full("snapshot.22", "none", 21, null)], logs: [log1(924_806)] }],
    [
      "3.6.4",
      {
        snapshots: [fresh(emptyDigest), full("snapshot.22", "none", 21, digest("33409790382"))],
        logs: [log1(925_257)],
      },
    ],
    [
      "3.7.2",
      {
        snapshots: [fresh(emptyDigest), full("snapshot.22", "none", 21, digest("28008191920"))],
        logs: [log1(925_257)],
      },
    ],
    ["3.8.0", { snapshots: [fresh(emptyDigest)], logs: [log1(925_257)], recoverable: { from: "snapshot.0" } }],
    [
      "3.8.0-gz",
      {
        snapshots: [
          fresh(emptyDigest),
          full("snapshot.22", "none", 19, emptyDigest),
          full("snapshot.22.gz", "gz", 21, digest("33579441090")),
        ],
        logs: [log1(925_257)],
      },
    ],
    [
      "3.8.0-snappy",
      {
        snapshots: [fresh(emptyDigest), full("snapshot.22.snappy", "snappy", 21, digest("33579441090"))],
        logs: [log1(925_257)],
        recoverable: { from: "snapshot.22.snappy" },
      },
    ],
  ])("%s", async (release, expected) => {
    const report = await inspect([
      files.path(`zookeeper-${release}`, "data"),
      files.path(`zookeeper-${release}`, "log"),
    ]);
    expect(report).toMatchObject({
      recoverable: { zxid: "0x22", from: "snapshot.22", logs: ["log.1"] },
      problems: [],
      ...expected,
    });
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  test("3.4.14 leaves a log and no snapshot", async () => {
    const report = await inspect([files.path("zookeeper-3.4.14", "data"), files.path("zookeeper-3.4.14", "log")]);
    expect(report).toEqual({
      snapshots: [],
      logs: [{ file: "log.1", firstZxid: "0x1", lastZxid: "0x1d", records: 29, bytes: 924_288, end: "padding" }],
      recoverable: { zxid: "0x1d", from: null, logs: ["log.1"] },
      problems: [expect.objectContaining({ severity: "info", code: "LOGS_ONLY" })],
    });
  });

  test("3.8.0 with a long history", async () => {
    const report = await inspect([files.path("zookeeper-3.8.0-rich")]);
    expect(report.snapshots.map((snapshot) => [snapshot.file, snapshot.valid, snapshot.nodes])).toEqual([
      ["snapshot.0", true, 4],
      ["snapshot.b5", true, 184],
      ["snapshot.149", true, 333],
      ["snapshot.225", true, 553],
      ["snapshot.276", true, 632],
      ["snapshot.2a7", true, 679],
      ["snapshot.346", true, 679],
      ["snapshot.3a7", true, 930],
      ["snapshot.3e4", true, 990],
    ]);
    expect(report.snapshots.at(-1)?.digest).toEqual({ zxid: "0x3e4", version: 2, value: "2209879690540" });
    expect(report.logs.map((log) => [log.file, log.firstZxid, log.lastZxid])).toEqual([
      ["log.1", "0x1", "0xb6"],
      ["log.b7", "0xb7", "0x14a"],
      ["log.14b", "0x14b", "0x226"],
      ["log.227", "0x227", "0x276"],
      ["log.277", "0x277", "0x2a7"],
      ["log.2a8", "0x2a8", "0x347"],
      ["log.348", "0x348", "0x3a7"],
      ["log.3a8", "0x3a8", "0x3e4"],
      ["log.3e5", "0x3e5", "0x3ea"],
    ]);
    expect(report.recoverable).toEqual({ zxid: "0x3ea", from: "snapshot.3e4", logs: ["log.3a8", "log.3e5"] });
    expect(report.problems).toEqual([]);
  });

  test("every snapshot but one can be lost without losing data, and every log that is needed cannot", async () => {
    const copy = folder();
    cpSync(files.path("zookeeper-3.8.0-rich"), copy, { recursive: true });
    const inside = (name: string): string => join(copy, "version-2", name);
    truncateSync(inside("snapshot.3e4"), 200_000);
    rmSync(inside("snapshot.3a7"));
    const fallback = await inspect([copy]);
    expect(fallback.recoverable).toMatchObject({ zxid: "0x3ea", from: "snapshot.346" });
    expect(fallback.snapshots.at(-1)).toMatchObject({ file: "snapshot.3e4", valid: false, nodes: null, digest: null });
    expect(fallback.problems).toMatchObject([
      { severity: "info", code: "SNAPSHOT_TRUNCATED", file: "snapshot.3e4", offset: 200_000 },
    ]);

    rmSync(inside("log.3a8"));
    const gap = await inspect([copy]);
    expect(gap.recoverable).toEqual({ zxid: "0x3a7", from: "snapshot.346", logs: ["log.2a8", "log.348"] });
    expect(gap.problems.map((problem) => problem.code)).toEqual(["LOG_GAP", "SNAPSHOT_TRUNCATED"]);
    expect(gap.problems.map((problem) => problem.severity)).toEqual(["data-loss", "data-loss"]);
  });

  test("single files", async () => {
    const snapshot = files.path("zookeeper-3.8.0-rich", "version-2", "snapshot.3e4");
    const log = files.path("zookeeper-3.8.0-rich", "version-2", "log.3e5");
    expect(await inspect([snapshot])).toMatchObject({ recoverable: { zxid: "0x3e4", logs: [] }, problems: [] });
    expect(await inspect([log])).toMatchObject({
      snapshots: [],
      logs: [{ records: 6 }],
      recoverable: null,
      problems: [],
    });
    expect(await inspect([log, snapshot])).toMatchObject({
      recoverable: { zxid: "0x3ea", logs: ["log.3e5"] },
      problems: [],
    });
  });
});

describe("where it looks", () => {
  const snapshot = makeSnapshot({});
  const log = makeLog({ zxid: 1n });

  test("a data directory, its version-2, and a directory with the files", async () => {
    const path = folder({ "version-2/snapshot.0": snapshot, "version-2/log.1": log, myid: "3\n" });
    for (const place of [path, join(path, "version-2"), `${path}/`]) {
      const found = await findDataFiles([place]);
      expect(found.snapshots).toMatchObject([
        { kind: "snapshot", zxid: 0n, compression: "none", size: snapshot.byteLength },
      ]);
      expect(found.logs).toMatchObject([{ kind: "log", zxid: 1n, size: log.byteLength }]);
      expect(found.myid?.text).toBe("3");
      expect(found.snapshots[0]?.mtimeMs).toBeGreaterThan(1e12);
    }
    expect(await inspect([folder({ "snapshot.0": snapshot, "log.1": log })])).toMatchObject({
      recoverable: { zxid: "0x1" },
    });
  });

  test("the files of one server", async () => {
    const contents = {
      "version-2/currentEpoch": "5",
      "version-2/acceptedEpoch": "6\n",
      "version-2/snapshot.0": snapshot,
    };
    const path = folder(contents);
    expect(await findDataFiles([path])).toMatchObject({
      currentEpoch: { text: "5" },
      acceptedEpoch: { text: "6" },
      myid: null,
    });
  });

  test("a directory that is named twice, or reached through a link, counts once", async () => {
    const path = folder({ "version-2/snapshot.0": snapshot, "version-2/log.1": log });
    const link = join(folder(), "link");
    symlinkSync(path, link);
    const found = await findDataFiles([path, path, join(path, "version-2"), link, join(path, "version-2", "log.1")]);
    expect([found.snapshots.length, found.logs.length]).toEqual([1, 1]);
  });

  test("links to files, and nothing that is no file", async () => {
    const path = folder({ "real/snapshot.0": snapshot });
    symlinkSync(join(path, "real", "snapshot.0"), join(path, "snapshot.0"));
    symlinkSync(join(path, "gone"), join(path, "snapshot.7"));
    mkdirSync(join(path, "log.1"));
    const found = await findDataFiles([path]);
    expect([found.snapshots.map((file) => file.zxid), found.logs]).toEqual([[0n], []]);
  });

  test("odd names", async () => {
    const path = folder({
      "snapshot.0": snapshot,
      "snapshot.22.tmp": snapshot,
      "log.1.bak": log,
      "snapshot.old": "",
      "log.ffffffffffffffff": "",
      "zookeeper_server.pid": "1",
    });
    const report = await inspect([path]);
    expect(report.snapshots.map((file) => file.file)).toEqual(["snapshot.0", "snapshot.22.tmp"]);
    expect(report.logs.map((file) => file.file)).toEqual(["log.1.bak"]);
    const odd = report.problems.filter((problem) => problem.code.endsWith("_FILE_NAME"));
    expect(odd.map((problem) => `${problem.severity} ${problem.code} ${problem.file}`).sort()).toEqual([
      "info ODD_FILE_NAME log.1.bak",
      "info ODD_FILE_NAME snapshot.22.tmp",
      "info UNREAD_FILE_NAME log.ffffffffffffffff",
      "info UNREAD_FILE_NAME snapshot.old",
    ]);
  });

  test("files of one name are told apart by their folders", async () => {
    const path = folder({
      "a/version-2/snapshot.0": snapshot,
      "b/version-2/snapshot.0": snapshot,
      "b/version-2/log.1": log,
    });
    const report = await inspect([join(path, "a"), join(path, "b")]);
    expect(report.snapshots.map((file) => file.file)).toEqual(["a/version-2/snapshot.0", "b/version-2/snapshot.0"]);
    expect(report.logs.map((file) => file.file)).toEqual(["log.1"]);
  });
});

describe("places that cannot be read", () => {
  test("nothing there", async () => {
    await expect(inspect([join(scratch, "nowhere")])).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
    const path = folder({ file: "x" });
    await expect(inspect([join(path, "file", "below")])).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
  });

  test("nothing in it", async () => {
    const path = folder({ "version-2/currentEpoch": "1" });
    await expect(inspect([path])).rejects.toMatchObject({
      code: "NO_DATA_FILES",
      message: expect.stringContaining(path),
    });
    await expect(inspect([])).rejects.toMatchObject({ code: "NO_DATA_FILES" });
  });

  test("another file", async () => {
    const path = join(folder({ "zoo.cfg": "" }), "zoo.cfg");
    await expect(inspect([path])).rejects.toMatchObject({ code: "NOT_A_DATA_FILE" });
  });

  test("no file at all", async () => {
    await expect(inspect(["/dev/null"])).rejects.toMatchObject({ code: "PATH_NOT_USABLE" });
  });

  test("what the system says becomes a code, and stays the cause", () => {
    const codeFor = (code: string): string => pathError("/x", Object.assign(new Error("no"), { code })).code;
    expect(["EACCES", "EPERM", "ENOENT", "ENOTDIR", "EIO"].map(codeFor)).toEqual([
      "PATH_DENIED",
      "PATH_DENIED",
      "PATH_NOT_FOUND",
      "PATH_NOT_FOUND",
      "PATH_NOT_USABLE",
    ]);
    const cause = new Error("disk on fire");
    expect(pathError("/x", cause)).toMatchObject({ cause, message: "/x cannot be read: disk on fire" });
  });

  // Root may read everything.
  test.skipIf(process.getuid?.() === 0)("no permission", async () => {
    const path = folder({ "version-2/snapshot.0": makeSnapshot({}) });
    chmodSync(join(path, "version-2"), 0o000);
    await expect(inspect([path])).rejects.toMatchObject({ code: "PATH_DENIED" });
    chmodSync(join(path, "version-2"), 0o755);
  });
});

test("can be stopped", async () => {
  const path = folder({ "snapshot.0": makeSnapshot({}) });
  const reason = new Error("enough");
  await expect(inspect([path], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const controller = new AbortController();
  const big = join(path, "log.1");
  writeFileSync(big, makeLog({ zxid: 1n }));
  truncateSync(big, 8 * 1024 * 1024 * 1024);
  const running = inspect([path], { signal: controller.signal });
  setTimeout(() => controller.abort(reason), 20);
  await expect(running).rejects.toBe(reason);
});

test("a file that grew since is read to its end", async () => {
  const path = folder({ "log.1": makeLog({ zxid: 1n }) });
  appendFileSync(join(path, "log.1"), Buffer.alloc(3_000_000));
  expect(await inspect([path])).toMatchObject({ logs: [{ records: 1, end: "padding" }] });
});
