import { cpSync, mkdirSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { ZooKeeperFileError } from "../file-error.ts";
import { makeLog } from "../testing/made-log.ts";
import { makeSnapshot } from "../testing/made-snapshot.ts";
import { realFiles, scratchFolder } from "../testing/real-files.ts";
import { body } from "../testing/replayed.ts";
import { type LoadedTree, type LoadTreeOptions, loadTree } from "./load-tree.ts";

const real = realFiles();
const scratch = scratchFolder();
const rich = (): string[] => [real.path("zookeeper-3.8.0-rich")];
const both = (archive: string): string[] => [real.path(archive, "data"), real.path(archive, "log")];

const names = ({ from, logs }: LoadedTree): string[] => [
  from === null ? "nothing" : basename(from.path),
  ...logs.map(({ path }) => basename(path)),
];

async function refusal(paths: readonly string[], options: LoadTreeOptions): Promise<ZooKeeperFileError> {
  const error = await loadTree(paths, options).catch((thrown: unknown) => thrown);
  if (!(error instanceof ZooKeeperFileError)) throw new Error(`not refused: ${String(error)}`);
  return error;
}

describe("the end of real servers' files", () => {
  it.each([
    ["zookeeper-3.4.14", 0x1dn, 15, ["nothing", "log.1"]],
    ["zookeeper-3.5.10", 0x22n, 21, ["snapshot.22"]],
    ["zookeeper-3.6.4", 0x22n, 21, ["snapshot.22"]],
    ["zookeeper-3.8.0", 0x22n, 21, ["snapshot.0", "log.1"]],
    ["zookeeper-3.8.0-snappy", 0x22n, 21, ["snapshot.22.snappy"]],
  ])("%s ends at %s", async (archive, zxid, nodes, files) => {
    const loaded = await loadTree(both(archive));
    expect(loaded.zxid).toBe(zxid);
    expect(loaded.tree.nodes).toBe(nodes);
    expect(names(loaded)).toEqual(files);
    expect(loaded.result.problems.filter(({ severity }) => severity !== "info")).toEqual([]);
  });

  it("of the rich one is proven", async () => {
    const loaded = await loadTree(rich());
    expect(names(loaded)).toEqual(["snapshot.3e4", "log.3e5"]);
    expect(loaded).toMatchObject({ zxid: 0x3ean, timeMs: 1795344384278 });
    expect(loaded.result).toMatchObject({
      nodes: 993,
      digest: 2209323497027n,
      snapshotDigest: "matched",
      problems: [],
    });
  });
});

describe("a moment", () => {
  it.each([
    [{ atZxid: 0n }, 0n, ["snapshot.0"]],
    [{ atZxid: 0x10n }, 0x10n, ["snapshot.0", "log.1"]],
    // snapshot.b5 has seen txn b6.
    [{ atZxid: 0xb5n }, 0xb5n, ["snapshot.0", "log.1"]],
    [{ atZxid: 0xb6n }, 0xb6n, ["snapshot.b5", "log.1"]],
    [{ atZxid: 0x3e3n }, 0x3e3n, ["snapshot.3a7", "log.3a8"]],
    [{ atZxid: 0x3e4n }, 0x3e4n, ["snapshot.3e4"]],
    [{ atZxid: 0x3ean }, 0x3ean, ["snapshot.3e4", "log.3e5"]],
    [{ atTimeMs: 1795344384278 }, 0x3ean, ["snapshot.3e4", "log.3e5"]],
    [{ atTimeMs: 1795344384277 }, 0x3e9n, ["snapshot.3e4", "log.3e5"]],
    // A second in which the files end.
    [{ atTimeMs: 1795344384999, atTimeFromMs: 1795344384000 }, 0x3ean, ["snapshot.3e4", "log.3e5"]],
  ])("%o is loaded from the newest snapshot that was whole by then", async (at, zxid, files) => {
    const loaded = await loadTree(rich(), at);
    expect(loaded.zxid).toBe(zxid);
    expect(names(loaded)).toEqual(files);
    expect(loaded.result.problems).toEqual([]);
    const { compared, matched } = loaded.result.txnDigests;
    expect(matched).toBe(compared);
  });

  it.each([
    ["beyond the end", { atZxid: 0x3ebn }, "0x3eb: they hold 0x0 to 0x3ea"],
    [
      "after the last txn",
      { atTimeMs: 1795344384279 },
      "they hold 0x0 to 0x3ea, with txns from 2026-11-22T10:46:10.388Z to",
    ],
    ["in a second after the last txn", { atTimeMs: 1795344385999, atTimeFromMs: 1795344385000 }, "10:46:25.000Z: they"],
    ["before the first txn", { atTimeMs: 5 }, "1970-01-01T00:00:00.005Z"],
  ])("%s is refused", async (_, at, message) => {
    const error = await refusal(rich(), at);
    expect(error.code).toBe("POINT_NOT_COVERED");
    expect(error.message).toContain(message);
  });

  it("is covered by a snapshot from which only a new epoch speaks that has no txn yet", async () => {
    const folder = join(scratch, "epoch");
    mkdirSync(folder);
    writeFileSync(
      join(folder, "snapshot.5"),
      makeSnapshot({ digest: { zxid: 0n, value: 0n }, lastZxid: 0x1_0000_0000n }),
    );
    writeFileSync(join(folder, "log.100000001"), makeLog({ zxid: 0x1_0000_0001n }));
    expect((await loadTree([folder], { atZxid: 5n })).zxid).toBe(5n);
  });

  it("before the oldest snapshot is refused", async () => {
    const folder = join(scratch, "pruned");
    cpSync(real.path("zookeeper-3.8.0-rich", "version-2"), folder, { recursive: true });
    rmSync(join(folder, "snapshot.0"));
    const error = await refusal([folder], { atZxid: 0x50n });
    expect(error.message).toContain("the files do not reach 0x50: they hold 0xb6 to 0x3ea");
  });

  it("behind a gap is loaded from a snapshot behind it, and in the gap is refused", async () => {
    const folder = join(scratch, "gap");
    cpSync(real.path("zookeeper-3.8.0-rich", "version-2"), folder, { recursive: true });
    for (const name of ["log.2a8", "snapshot.2a7", "snapshot.346"]) rmSync(join(folder, name));
    expect((await loadTree([folder])).zxid).toBe(0x3ean);
    expect((await loadTree([folder], { atZxid: 0x2a7n })).zxid).toBe(0x2a7n);
    expect((await refusal([folder], { atZxid: 0x300n })).code).toBe("POINT_NOT_COVERED");
  });

  it("in the logs of 3.4, without any snapshot, is loaded", async () => {
    const loaded = await loadTree(both("zookeeper-3.4.14"), { atZxid: 0x10n });
    expect(loaded).toMatchObject({ zxid: 0x10n, from: null });
    expect((await refusal(both("zookeeper-3.4.14"), { atZxid: 0x1en })).message).toContain("0x0 to 0x1d");
  });

  it("is given in one way only", async () => {
    await expect(loadTree(rich(), { atZxid: 1n, atTimeMs: 1 })).rejects.toThrow("atZxid or atTimeMs, not both");
  });
});

describe("a purge while the files are read", () => {
  it("makes it begin again with what is left", async () => {
    const folder = join(scratch, "purged");
    cpSync(real.path("zookeeper-3.8.0-rich", "version-2"), folder, { recursive: true });
    truncateSync(join(folder, "snapshot.3e4"), 4_000);
    let isPurged = false;
    const keepData = (): boolean => {
      if (!isPurged) for (const name of ["snapshot.0", "log.1", "snapshot.3a7"]) rmSync(join(folder, name));
      isPurged = true;
      return false;
    };
    const loaded = await loadTree([folder], { keepData });
    expect(names(loaded)[0]).toBe("snapshot.346");
    expect(loaded.zxid).toBe(0x3ean);
  });

  it("that never ends is an error", async () => {
    const folder = join(scratch, "purging");
    mkdirSync(folder);
    let name = "snapshot.5";
    writeFileSync(join(folder, name), makeSnapshot({ nodes: [{ path: "" }, { path: "/a" }] }));
    writeFileSync(join(folder, "log.6"), makeLog({ zxid: 6n }));
    const signal = new AbortController().signal;
    signal.throwIfAborted = () => {
      renameSync(join(folder, name), join(folder, `${name}.x`));
      name += ".x";
    };
    expect((await refusal([folder], { signal })).code).toBe("PATH_NOT_FOUND");
  });

  it("that takes a file that was named is an error", async () => {
    const folder = join(scratch, "purged-by-name");
    mkdirSync(folder);
    const [snapshot, log] = [join(folder, "snapshot.5"), join(folder, "log.6")];
    writeFileSync(snapshot, makeSnapshot({ nodes: [{ path: "" }, { path: "/a" }] }));
    writeFileSync(log, makeLog({ zxid: 6n }));
    const keepData = (): boolean => {
      rmSync(log, { force: true });
      return false;
    };
    expect((await refusal([snapshot, log], { keepData })).message).toBe(`there is nothing at ${log}`);
  });
});

describe("of two snapshots of one zxid", () => {
  it.each(["snapshot.5", "snapshot.5.gz"])("the one that was written last is loaded: %s", async (newer) => {
    const folder = join(scratch, `rivals-${newer}`);
    mkdirSync(folder);
    const bytes = makeSnapshot({});
    writeFileSync(join(folder, "snapshot.5"), bytes);
    writeFileSync(join(folder, "snapshot.5.gz"), gzipSync(bytes));
    for (const name of ["snapshot.5", "snapshot.5.gz"]) utimesSync(join(folder, name), 1, name === newer ? 2 : 1);
    expect(names(await loadTree([folder]))).toEqual([newer]);
  });
});

describe("what is wrong", () => {
  it("with the newest snapshot makes it take the one before, and is told", async () => {
    const folder = join(scratch, "cut");
    cpSync(real.path("zookeeper-3.8.0-rich", "version-2"), folder, { recursive: true });
    truncateSync(join(folder, "snapshot.3e4"), 1_000);
    const loaded = await loadTree([folder]);
    expect(names(loaded)).toEqual(["snapshot.3a7", "log.3a8", "log.3e5"]);
    expect(loaded.zxid).toBe(0x3ean);
    const message = expect.stringMatching(/; servers pass it over, and nothing is lost with it$/);
    expect(loaded.result.problems).toMatchObject([{ severity: "info", code: "SNAPSHOT_TRUNCATED", message }]);
  });

  it("with the newest snapshot is a loss where the others do not reach it", async () => {
    const folder = join(scratch, "lost");
    cpSync(real.path("zookeeper-3.8.0-rich", "version-2"), folder, { recursive: true });
    truncateSync(join(folder, "snapshot.3e4"), 1_000);
    for (const name of ["log.3a8", "log.3e5"]) rmSync(join(folder, name));
    const loaded = await loadTree([folder]);
    expect(loaded.zxid).toBe(0x3a7n);
    const message = expect.stringMatching(/; servers pass it over, but the other files reach only 0x3a7$/);
    expect(loaded.result.problems).toMatchObject([{ severity: "data-loss", code: "SNAPSHOT_TRUNCATED", message }]);
  });

  it("with several snapshots is told of each, once", async () => {
    const folder = join(scratch, "two");
    cpSync(real.path("zookeeper-3.8.0-rich", "version-2"), folder, { recursive: true });
    for (const name of ["snapshot.3e4", "snapshot.3a7"]) truncateSync(join(folder, name), 1_000);
    const loaded = await loadTree([folder]);
    expect(names(loaded)[0]).toBe("snapshot.346");
    const files = loaded.result.problems.map(({ severity, file }) => [severity, basename(file ?? "")]);
    expect(files.toSorted()).toEqual([
      ["info", "snapshot.3a7"],
      ["info", "snapshot.3e4"],
    ]);
  });

  it("with all of them is refused", async () => {
    const folder = join(scratch, "none");
    mkdirSync(folder);
    writeFileSync(join(folder, "snapshot.5"), "ZKSN");
    const error = await refusal([folder], {});
    expect(error.code).toBe("NOT_RECOVERABLE");
    expect(error.message).toContain("snapshot.5: ");
  });

  it("with a snapshot that the logs do not cover is refused", async () => {
    const folder = join(scratch, "short");
    mkdirSync(folder);
    const nodes = [{ path: "" }, { path: "/a", mzxid: 9n }];
    writeFileSync(join(folder, "snapshot.5"), makeSnapshot({ nodes }));
    writeFileSync(join(folder, "log.6"), makeLog({ zxid: 6n }));
    expect((await refusal([folder], {})).message).toContain("mixture of states");
    expect((await refusal([folder], { atZxid: 6n })).code).toBe("POINT_NOT_COVERED");
  });

  it("with the digests is told, with the file", async () => {
    const folder = join(scratch, "digest");
    mkdirSync(folder);
    const nodes = [{ path: "" }, { path: "/a" }];
    writeFileSync(join(folder, "snapshot.5"), makeSnapshot({ nodes, digest: { zxid: 0n, value: 0n } }));
    writeFileSync(join(folder, "log.6"), makeLog({ zxid: 6n, digest: 77n }));
    const { problems } = (await loadTree([folder])).result;
    const file = join(folder, "log.6");
    expect(problems).toMatchObject([{ severity: "data-loss", code: "DIGEST_MISMATCH", file, offset: 16 }]);
  });
});

describe("rules", () => {
  /** A create of an older version than the parent's, which only later releases do not follow. */
  const log = (): Buffer =>
    makeLog(
      { zxid: 6n, type: 1, body: body.create("/a/x", 9) },
      { zxid: 7n, type: 1, body: body.create("/a/y", 3) },
      { zxid: 8n, type: 2, body: body.delete("/a/z") },
    );

  it.each([
    ["3.4", [], {}, { cversion: 3, pzxid: 7n }],
    ["3.5", [{ path: "/zookeeper" }, { path: "/zookeeper/config" }], {}, { cversion: 3, pzxid: 8n }],
    ["3.6", [], { digest: { zxid: 0n, value: 0n } }, { cversion: 9, pzxid: 8n }],
  ] as const)("of %s are found out from the files", async (release, more, tail, parent) => {
    const folder = join(scratch, `rules-${release}`);
    mkdirSync(folder);
    writeFileSync(
      join(folder, "snapshot.5"),
      makeSnapshot({ nodes: [{ path: "" }, { path: "/a" }, ...more], ...tail }),
    );
    writeFileSync(join(folder, "log.6"), log());
    expect((await loadTree([folder])).tree.get("/a")?.stat).toMatchObject(parent);
  });
});

describe("what is kept", () => {
  it("is the data of the paths that were asked for", async () => {
    const { tree } = await loadTree(rich(), { keepData: (path) => path === "/zookeeper/config" || path === "/" });
    expect(tree.get("/")?.data).toEqual(Buffer.alloc(0));
    expect(tree.get("/zookeeper/config")).toHaveProperty("data");
    expect(tree.get("/zookeeper/quota")).not.toHaveProperty("data");
  });

  it("stops when it is told to", async () => {
    const reason = new Error("enough");
    await expect(loadTree(rich(), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it("refuses a path where nothing is", async () => {
    expect((await refusal([join(scratch, "nowhere")], {})).code).toBe("PATH_NOT_FOUND");
  });
});
