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
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { findDataFiles, pathError } from "../directory.ts";
import { flipped } from "../testing/chunks.ts";
import { field, int } from "../testing/jute.ts";
import { makeLog } from "../testing/made-log.ts";
import { makeSnapshot } from "../testing/made-snapshot.ts";
import { realFiles, scratchFolder } from "../testing/real-files.ts";
import { checkDirectory, type DirectoryReport } from "./check-directory.ts";
import { releaseRange, type ServerRelease } from "./server-release.ts";

const files = realFiles();
const scratch = scratchFolder();
let folders = 0;

/** What is said of good files, too. */
const HINTS: ReadonlySet<string> = new Set(["TTL_NODES_VANISH", "SNAPSHOT_DUPLICATE"]);

/** Neighbouring releases that do the same, with where they come up or what is first against it. */
function outcomes({ releases }: DirectoryReport): Record<string, string> {
  const rows: { first: ServerRelease; last: ServerRelease; text: string }[] = [];
  for (const { release, outcome, zxid, reasons } of releases) {
    const [reason] = reasons;
    const text = `${outcome} ${reason === undefined ? zxid : `${reason.code} ${reason.file}`}`;
    const row = rows.at(-1);
    if (row?.text === text) row.last = release;
    else rows.push({ first: release, last: release, text });
  }
  return Object.fromEntries(rows.map(({ first, last, text }) => [releaseRange(first, last), text]));
}

function folder(contents: Record<string, Uint8Array | string> = {}): string {
  const path = join(scratch, String(folders++));
  mkdirSync(path);
  for (const [name, body] of Object.entries(contents)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    writeFileSync(join(path, name), body);
  }
  return path;
}

test("a file that a purge removes before it is read makes the check begin again", async () => {
  const path = folder();
  cpSync(files.path("zookeeper-3.8.0-rich", "version-2"), path, { recursive: true });
  const signal = new AbortController().signal;
  let calls = 0;
  signal.throwIfAborted = () => {
    calls += 1;
    // The files are listed by then.
    if (calls === 2) for (const name of ["snapshot.b5", "log.1"]) rmSync(join(path, name));
  };
  const report = await checkDirectory([path], { signal });
  expect(report.snapshots.map(({ file }) => file)).not.toContain("snapshot.b5");
  expect(report.recoverable).toMatchObject({ zxid: "0x3ea", from: "snapshot.3e4" });
});

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
    const report = await checkDirectory([
      files.path(`zookeeper-${release}`, "data"),
      files.path(`zookeeper-${release}`, "log"),
    ]);
    expect(report).toMatchObject({
      recoverable: { zxid: "0x22", from: "snapshot.22", logs: ["log.1"] },
      ...expected,
    });
    expect(report.problems.filter(({ code }) => !HINTS.has(code))).toEqual([]);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  test("3.4.14 leaves a log and no snapshot", async () => {
    const report = await checkDirectory([
      files.path("zookeeper-3.4.14", "data"),
      files.path("zookeeper-3.4.14", "log"),
    ]);
    expect(report).toMatchObject({
      snapshots: [],
      logs: [{ file: "log.1", firstZxid: "0x1", lastZxid: "0x1d", records: 29, bytes: 924_288, end: "padding" }],
      recoverable: { zxid: "0x1d", from: null, logs: ["log.1"] },
      tree: { zxid: "0x1d", nodes: 15, sessions: 0, ephemerals: 0, snapshotDigest: "absent" },
      problems: [expect.objectContaining({ severity: "info", code: "LOGS_ONLY" })],
    });
    expect(outcomes(report)).toEqual({
      "3.4": "loads 0x1d",
      "3.5.3 and later": "refuses NO_SNAPSHOT null",
    });
  });

  test("3.8.0 with a long history", async () => {
    const report = await checkDirectory([files.path("zookeeper-3.8.0-rich")]);
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
    expect(report.tree).toMatchObject({ zxid: "0x3ea", ttlNodes: 25, snapshotDigest: "matched" });
    expect(report.problems.map(({ severity, code }) => `${severity} ${code}`)).toEqual(["info TTL_NODES_VANISH"]);
    expect(outcomes(report)).toEqual({
      "3.4": "loads-with-loss TTL_NODES_VANISH null",
      "3.5.3": "loads 0x3ea",
      "3.5.4 and later": "loads-with-loss TTL_NODES_VANISH null",
    });
    const enabled = await checkDirectory([files.path("zookeeper-3.8.0-rich")], { extendedTypesEnabled: true });
    expect(enabled.problems).toEqual([]);
    expect(outcomes(enabled)).toEqual({
      "3.4": "loads-with-loss TTL_NODES_VANISH null",
      "3.5.3 and later": "loads 0x3ea",
    });
  });

  test("every snapshot but one can be lost without losing data, and every log that is needed cannot", async () => {
    const copy = folder();
    cpSync(files.path("zookeeper-3.8.0-rich"), copy, { recursive: true });
    const inside = (name: string): string => join(copy, "version-2", name);
    truncateSync(inside("snapshot.3e4"), 200_000);
    rmSync(inside("snapshot.3a7"));
    const fallback = await checkDirectory([copy], { extendedTypesEnabled: true });
    expect(fallback.recoverable).toMatchObject({ zxid: "0x3ea", from: "snapshot.346" });
    expect(fallback.snapshots.at(-1)).toMatchObject({ file: "snapshot.3e4", valid: false, nodes: null, digest: null });
    expect(fallback.problems).toMatchObject([
      { severity: "info", code: "SNAPSHOT_TRUNCATED", file: "snapshot.3e4", offset: 200_000 },
    ]);

    rmSync(inside("log.3a8"));
    const gap = await checkDirectory([copy], { extendedTypesEnabled: true });
    expect(gap.recoverable).toEqual({ zxid: "0x3a7", from: "snapshot.346", logs: ["log.2a8", "log.348"] });
    expect(gap.problems.map((problem) => problem.code)).toEqual(["LOG_GAP", "SNAPSHOT_TRUNCATED"]);
    expect(gap.problems.map((problem) => problem.severity)).toEqual(["data-loss", "data-loss"]);
  });

  test("single files", async () => {
    const snapshot = files.path("zookeeper-3.8.0-rich", "version-2", "snapshot.3e4");
    const log = files.path("zookeeper-3.8.0-rich", "version-2", "log.3e5");
    const options = { extendedTypesEnabled: true };
    expect(await checkDirectory([snapshot], options)).toMatchObject({
      recoverable: { zxid: "0x3e4", logs: [] },
      releases: [],
      problems: [],
    });
    expect(await checkDirectory([log])).toMatchObject({
      snapshots: [],
      logs: [{ records: 6 }],
      recoverable: null,
      problems: [],
    });
    expect(await checkDirectory([log, snapshot], options)).toMatchObject({
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
    expect(await checkDirectory([folder({ "snapshot.0": snapshot, "log.1": log })])).toMatchObject({
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
    const report = await checkDirectory([path]);
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
    const report = await checkDirectory([join(path, "a"), join(path, "b")]);
    expect(report.snapshots.map((file) => file.file)).toEqual(["a/version-2/snapshot.0", "b/version-2/snapshot.0"]);
    expect(report.logs.map((file) => file.file)).toEqual(["log.1"]);
  });
});

describe("what servers make of a directory", () => {
  const log = makeLog({ zxid: 1n }, { zxid: 2n });
  const good = { "version-2/snapshot.0": makeSnapshot({}), "version-2/log.1": log };
  const codes = ({ problems }: DirectoryReport): string[] =>
    problems.map(({ severity, code, file }) => `${severity} ${code} ${file}`);

  test("files under odd names, which only later releases read", async () => {
    const report = await checkDirectory([folder({ ...good, "version-2/snapshot.2.tmp": makeSnapshot({}) })]);
    expect(report.releases.map(({ release, snapshot }) => [release, snapshot])).toEqual(
      report.releases.map(({ release }) => [release, /^3\.[45]/.test(release) ? "snapshot.0" : "snapshot.2.tmp"]),
    );
    expect(codes(report)).toEqual(["info ODD_FILE_NAME snapshot.2.tmp"]);
  });

  test("a compressed snapshot, which 3.4 and 3.5 leave alone", async () => {
    const report = await checkDirectory([
      folder({ "version-2/snapshot.2.gz": gzipSync(makeSnapshot({})), "version-2/log.1": log }),
    ]);
    expect(outcomes(report)).toEqual({
      "3.4": "loads 0x2",
      "3.5.3 to 3.5": "refuses NO_SNAPSHOT null",
      "3.6 and later": "loads 0x2",
    });
  });

  test("a damaged snapshot that stops them instead of being passed over", async () => {
    // The digest says that it is of an old version, and an old version is a text.
    const bytes = makeSnapshot({ digest: { zxid: 1n, version: 2, value: 7n << 32n } });
    bytes.writeInt32BE(1, bytes.byteLength - 13 - 12);
    const report = await checkDirectory([folder({ ...good, "version-2/snapshot.2": bytes })]);
    expect(outcomes(report)).toEqual({
      "3.4 to 3.5": "loads 0x2",
      "3.6 and later": "refuses SNAPSHOT_STOPS_SERVER snapshot.2",
    });
    expect(codes(report)).toEqual(["info SNAPSHOT_BAD_SEAL snapshot.2", "fatal SNAPSHOT_STOPS_SERVER snapshot.2"]);
  });

  test("a damaged snapshot that they pass over, but that has them delete a node", async () => {
    const nodes = [{ path: "" }, { path: "/a" }];
    const strange = makeSnapshot({ nodes: [{ path: "" }, { path: "/a", owner: 77n }] });
    const bad = flipped(strange, strange.byteLength - 6, 1);
    const contents = { "version-2/snapshot.1": makeSnapshot({ nodes }), "version-2/snapshot.2": bad };
    const report = await checkDirectory([folder({ ...contents, "version-2/log.1": log })]);
    expect(outcomes(report)).toEqual({ "all releases": "loads-with-loss SNAPSHOT_LEAVES_STRAYS snapshot.2" });
    expect(codes(report)).toContain("data-loss SNAPSHOT_LEAVES_STRAYS snapshot.2");
    const elsewhere = { ...contents, "version-2/snapshot.1": makeSnapshot({ nodes: [{ path: "" }, { path: "/b" }] }) };
    const harmless = await checkDirectory([folder({ ...elsewhere, "version-2/log.1": log })]);
    expect(outcomes(harmless)).toEqual({ "all releases": "loads 0x2" });
  });

  test("files in the wrong one of two directories", async () => {
    const path = folder({
      "data/version-2/snapshot.0": makeSnapshot({}),
      "data/version-2/log.old": "",
      "log/version-2/log.1": log,
      "log/version-2/snapshot.1": makeSnapshot({}),
    });
    const report = await checkDirectory([join(path, "data"), join(path, "log")]);
    expect(outcomes(report)).toEqual({
      "3.4": "refuses FILE_MISPLACED log.old",
      "3.5.3": "loads 0x2",
      "3.5.4 and later": "refuses FILE_MISPLACED log.old",
    });
    expect(codes(report)).toEqual(
      expect.arrayContaining(["fatal FILE_MISPLACED log.old", "fatal FILE_MISPLACED snapshot.1"]),
    );
    expect(outcomes(await checkDirectory([join(path, "log")]))).toEqual({ "all releases": "loads 0x2" });
  });

  test("epochs, which only members of an ensemble look at", async () => {
    const path = folder({ ...good, "version-2/currentEpoch": "5", "version-2/acceptedEpoch": "4" });
    const report = await checkDirectory([path]);
    expect(outcomes(report)).toEqual({ "all releases": "refuses EPOCHS_CONFLICT acceptedEpoch" });
    expect(codes(report)).toEqual(["fatal EPOCHS_CONFLICT acceptedEpoch"]);
    const alone = await checkDirectory([path], { role: "standalone" });
    expect(outcomes(alone)).toEqual({ "all releases": "loads 0x2" });
    expect(codes(alone)).toEqual([]);
  });

  test("what interrupted rewrites and preparations leave", async () => {
    const report = await checkDirectory([folder({ ...good, "version-2/currentEpoch.tmp": "1", initialize: "" })]);
    expect(codes(report)).toEqual([
      "info EPOCH_REWRITE_LEFT currentEpoch.tmp",
      "info INITIALIZE_BESIDE_DATA initialize",
    ]);
  });

  test("two snapshots of one zxid", async () => {
    const report = await checkDirectory([folder({ ...good, "version-2/snapshot.0.gz": gzipSync(makeSnapshot({})) })]);
    expect(codes(report)).toEqual(["info SNAPSHOT_DUPLICATE snapshot.0.gz"]);
  });

  test("a record that is larger than they accept", async () => {
    const body = Buffer.concat([field("/a"), field(Buffer.alloc(3_000_000)), int(1)]);
    const path = folder({ ...good, "version-2/log.1": makeLog({ zxid: 1n, body }, { zxid: 2n }) });
    const report = await checkDirectory([path]);
    expect(outcomes(report)).toEqual({ "all releases": "refuses LOG_RECORD_TOO_LARGE log.1" });
    // The server that wrote it was set up for it, so this is only a hint.
    expect(codes(report)).toEqual(["info LARGER_BUFFER_NEEDED null"]);
    expect(codes(await checkDirectory([path], { juteMaxBuffer: 1_000_000 }))).toEqual([
      "fatal LARGER_BUFFER_NEEDED null",
    ]);
    const large = await checkDirectory([path], { juteMaxBuffer: 4_000_000 });
    expect([outcomes(large), codes(large)]).toEqual([{ "all releases": "loads 0x2" }, []]);
  });

  test("a txn that needs an ACL that the snapshot lacks", async () => {
    const snapshot = makeSnapshot({ nodes: [{ path: "" }, { path: "/a", aclId: 5n }] });
    const report = await checkDirectory([folder({ ...good, "version-2/snapshot.0": snapshot })]);
    expect(outcomes(report)).toEqual({
      "3.4 to 3.8.3": "loads-with-loss SNAPSHOT_DANGLING_ACLS snapshot.0",
      "3.8.4 to 3.8": "refuses DANGLING_ACL_USED log.1",
      "3.9 to 3.9.1": "loads-with-loss SNAPSHOT_DANGLING_ACLS snapshot.0",
      "3.9.2 and later": "refuses DANGLING_ACL_USED log.1",
    });
    expect(codes(report)).toEqual(["info SNAPSHOT_DANGLING_ACLS snapshot.0", "fatal DANGLING_ACL_USED log.1"]);
    expect(report.recoverable).toEqual({ zxid: "0x2", from: "snapshot.0", logs: ["log.1"] });
  });

  test("one release, if only that is asked for", async () => {
    const { releases } = await checkDirectory([folder(good)], { releases: ["3.8"] });
    expect(releases).toEqual([
      { release: "3.8", outcome: "loads", snapshot: "snapshot.0", logs: ["log.1"], zxid: "0x2", reasons: [] },
    ]);
  });
});

describe("places that cannot be read", () => {
  test("nothing there", async () => {
    await expect(checkDirectory([join(scratch, "nowhere")])).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
    const path = folder({ file: "x" });
    await expect(checkDirectory([join(path, "file", "below")])).rejects.toMatchObject({ code: "PATH_NOT_FOUND" });
  });

  test("nothing in it", async () => {
    const path = folder({ "version-2/currentEpoch": "1" });
    await expect(checkDirectory([path])).rejects.toMatchObject({
      code: "NO_DATA_FILES",
      message: expect.stringContaining(path),
    });
    await expect(checkDirectory([path])).rejects.toThrow(/may win an election/);
    await expect(checkDirectory([])).rejects.toMatchObject({ code: "NO_DATA_FILES" });
  });

  test("another file", async () => {
    const path = join(folder({ "zoo.cfg": "" }), "zoo.cfg");
    await expect(checkDirectory([path])).rejects.toMatchObject({ code: "NOT_A_DATA_FILE" });
  });

  test("no file at all", async () => {
    await expect(checkDirectory(["/dev/null"])).rejects.toMatchObject({ code: "PATH_NOT_USABLE" });
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
    await expect(checkDirectory([path])).rejects.toMatchObject({ code: "PATH_DENIED" });
    chmodSync(join(path, "version-2"), 0o755);
  });
});

test("can be stopped", async () => {
  const path = folder({ "snapshot.0": makeSnapshot({}) });
  const reason = new Error("enough");
  await expect(checkDirectory([path], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  const controller = new AbortController();
  const big = join(path, "log.1");
  writeFileSync(big, makeLog({ zxid: 1n }));
  truncateSync(big, 8 * 1024 * 1024 * 1024);
  const running = checkDirectory([path], { signal: controller.signal });
  setTimeout(() => controller.abort(reason), 20);
  await expect(running).rejects.toBe(reason);
});

test("a file that grew since is read to its end", async () => {
  const path = folder({ "log.1": makeLog({ zxid: 1n }) });
  appendFileSync(join(path, "log.1"), Buffer.alloc(3_000_000));
  expect(await checkDirectory([path])).toMatchObject({ logs: [{ records: 1, end: "padding" }] });
});
