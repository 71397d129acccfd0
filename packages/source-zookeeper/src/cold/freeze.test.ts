import { spawn } from "node:child_process";
import { once } from "node:events";
import { lstatSync } from "node:fs";
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { type ErrorCode, isBackypError } from "@zk-backyp/core";
import { createLogChecker } from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
// Files with good checksums, whatever they hold.
import { frame, LOG_HEADER, makeLog, makeRecord } from "../../../zookeeper-files/src/testing/made-log.ts";
import { makeSnapshot } from "../../../zookeeper-files/src/testing/made-snapshot.ts";
import type { Location } from "../locate.ts";
import { identityOf } from "../stop-promise/process-identity.ts";
import { dropLeftovers, type Freeze, type Frozen, openFreeze } from "./freeze.ts";

const RUN = "0b0e1a1c-6f0a-4a63-8d8e-000000000001";

let folder: string;
let dataDir: string;
let version2: string;
let location: Location;
let opened: Freeze[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-freeze-"));
  dataDir = join(folder, "zk");
  version2 = join(dataDir, "version-2");
  await mkdir(version2, { recursive: true });
  location = { dataDir, snapshots: version2, logs: version2, zooCfg: null, server: null };
  opened = [];
});
afterEach(async () => {
  for (const freeze of opened) await freeze.drop();
  await rm(folder, { recursive: true });
});

const write = (file: string, content: Uint8Array | string): Promise<void> => writeFile(join(version2, file), content);
const logFrom = (zxid: bigint): Buffer => makeLog({ zxid }, { zxid: zxid + 1n });
const snapshot = (text = ""): Buffer =>
  makeSnapshot({ nodes: [{ path: "" }, { path: "/a", data: Buffer.from(text) }] });
const freezeOf = async (
  where: Location = location,
  options: { linkDir?: string; run?: string; signal?: AbortSignal } = {},
): Promise<Freeze> => {
  const freeze = await openFreeze(where, { run: RUN, signal: new AbortController().signal, ...options });
  opened.push(freeze);
  return freeze;
};
const frozenAt = (frozen: Frozen, file: string): string => join(frozen.snapshots ?? "", file);
const inodeOf = (path: string): bigint => lstatSync(path, { bigint: true }).ino;
/** Names and content of the files of a folder. */
async function contentOf(path: string | null): Promise<Record<string, string>> {
  const content: Record<string, string> = {};
  for (const name of await readdir(path ?? "")) {
    content[name] = (await readFile(join(path ?? "", name))).toString("base64");
  }
  return content;
}
const coded =
  (code: ErrorCode, ...messages: RegExp[]) =>
  (error: unknown): boolean =>
    isBackypError(error, code) && messages.every((message) => message.test(error.message));

describe("a frozen folder", () => {
  beforeEach(async () => {
    await write("snapshot.1", snapshot());
    await write("log.2", logFrom(2n));
  });

  it("holds links of all data files, those with odd names too, and nothing else", async () => {
    for (const file of ["log.1.bak", "log.2.keep", "snapshot.1.tmp", "snapshot.1.gz"]) await write(file, file);
    for (const file of ["currentEpoch", "acceptedEpoch.tmp", "snapshot.old", "snapshot.ffffffffffffffff", "x.1"]) {
      await write(file, "1");
    }
    await mkdir(join(version2, "log.9"));
    const freeze = await freezeOf();
    await freeze.warm();
    const frozen = await freeze.complete();
    const names = ["log.1.bak", "log.2", "log.2.keep", "snapshot.1", "snapshot.1.gz", "snapshot.1.tmp"];
    expect((await readdir(frozen.snapshots ?? "")).sort()).toEqual(names);
    for (const name of names) expect(inodeOf(frozenAt(frozen, name))).toBe(inodeOf(join(version2, name)));
    expect(frozen).toMatchObject({ logs: frozen.snapshots, files: names.length, copied: [] });
  });

  it("is one that only this user can enter, beside version-2, and is gone when it is dropped", async () => {
    const freeze = await freezeOf();
    await freeze.warm();
    const frozen = await freeze.complete();
    expect(frozen.snapshots).toBe(join(dataDir, ".zk-backyp", `links-${RUN}`, "data"));
    for (let path = frozen.snapshots ?? ""; path !== dataDir; path = dirname(path)) {
      expect((await stat(path)).mode & 0o777).toBe(0o700);
    }
    await freeze.drop();
    await freeze.drop();
    expect(await readdir(dataDir)).toEqual(["version-2"]);
    expect((await readdir(version2)).sort()).toEqual(["log.2", "snapshot.1"]);
  });

  it("leaves what others keep beside it", async () => {
    const freeze = await freezeOf();
    await writeFile(join(dataDir, ".zk-backyp", "stop.json"), "{}");
    await freeze.warm();
    await freeze.drop();
    expect(await readdir(join(dataDir, ".zk-backyp"))).toEqual(["stop.json"]);
  });

  it("counts the bytes that the files take on the disk, not their holes", async () => {
    await truncate(join(version2, "log.2"), 64 * 1024 * 1024);
    const freeze = await freezeOf();
    const frozen = await freeze.complete();
    expect(frozen.bytes).toBeGreaterThan(0);
    expect(frozen.bytes).toBeLessThan(1024 * 1024);
  });

  it("follows two directories, each with its links on its own file system", async () => {
    const logs = join(folder, "zk-logs", "version-2");
    await mkdir(logs, { recursive: true });
    await rename(join(version2, "log.2"), join(logs, "log.2"));
    const freeze = await freezeOf({ ...location, logs });
    await freeze.warm();
    const frozen = await freeze.complete();
    expect(frozen.logs).toBe(join(folder, "zk-logs", ".zk-backyp", `links-${RUN}`, "log"));
    expect([await readdir(frozen.snapshots ?? ""), await readdir(frozen.logs ?? "")]).toEqual([
      ["snapshot.1"],
      ["log.2"],
    ]);
    // Linked and not copied: the log in the other directory was seen.
    expect(frozen).toMatchObject({ files: 2, copied: [] });
    await freeze.drop();
    expect(await readdir(join(folder, "zk-logs"))).toEqual(["version-2"]);
  });

  it("has one folder where two names lead to one directory", async () => {
    await symlink(dataDir, join(folder, "alias"));
    const freeze = await freezeOf({ ...location, logs: join(folder, "alias", "version-2") });
    const frozen = await freeze.complete();
    expect(frozen.logs).toBe(frozen.snapshots);
    expect(frozen.files).toBe(2);
  });

  it("goes into linkDir, with the links of both directories apart, and leaves linkDir there", async () => {
    const logs = join(folder, "zk-logs", "version-2");
    await mkdir(logs, { recursive: true });
    await writeFile(join(logs, "log.2"), "another one of the same name");
    const linkDir = join(folder, "made", "links");
    const freeze = await freezeOf({ ...location, logs }, { linkDir });
    const frozen = await freeze.complete();
    expect(frozen.snapshots).toBe(join(linkDir, `links-${RUN}`, "data"));
    expect(frozen.logs).toBe(join(linkDir, `links-${RUN}`, "log"));
    expect(await readFile(join(frozen.logs ?? "", "log.2"), "utf8")).toContain("another");
    await freeze.drop();
    expect(await readdir(linkDir)).toEqual([]);
    expect(await readdir(dataDir)).toEqual(["version-2"]);
  });

  it("has none for a directory that is not there yet", async () => {
    const freeze = await freezeOf({ ...location, snapshots: null });
    await freeze.warm();
    expect(await freeze.complete()).toMatchObject({ snapshots: null, files: 2, copied: [] });
  });

  it("holds the files that symbolic links lead to, not the links", async () => {
    const real = join(folder, "elsewhere");
    await mkdir(real);
    for (const file of ["snapshot.1", "log.2"]) {
      await rename(join(version2, file), join(real, file));
      await symlink(join(real, file), join(version2, file));
    }
    await symlink(join(real, "nothing"), join(version2, "log.8"));
    const freeze = await freezeOf();
    await freeze.warm();
    const frozen = await freeze.complete();
    expect((await readdir(frozen.snapshots ?? "")).sort()).toEqual(["log.2", "snapshot.1"]);
    expect(inodeOf(frozenAt(frozen, "log.2"))).toBe(inodeOf(join(real, "log.2")));
  });

  it("follows a version-2 that is a symbolic link, to another file system too", async () => {
    await rename(version2, join(folder, "moved"));
    await symlink(join(folder, "moved"), version2);
    const same = await freezeOf();
    const frozen = await same.complete();
    expect(frozen).toMatchObject({ snapshots: join(dataDir, ".zk-backyp", `links-${RUN}`, "data"), files: 2 });

    await using other = await otherFileSystem();
    if (other === null) return;
    const far = join(other.path, "zk", "version-2");
    await mkdir(far, { recursive: true });
    await writeFile(join(far, "log.5"), logFrom(5n));
    await rm(version2);
    await symlink(far, version2);
    const freeze = await freezeOf(location, { run: "far" });
    expect(await freeze.complete()).toMatchObject({
      snapshots: join(other.path, "zk", ".zk-backyp", "links-far", "data"),
      files: 1,
    });
    await freeze.drop();
    expect(await readdir(join(other.path, "zk"))).toEqual(["version-2"]);
  });
});

describe("between warm and complete", () => {
  it("takes in what is new or replaced, and leaves out what is gone", async () => {
    await write("snapshot.1", snapshot());
    await write("log.1", logFrom(1n));
    await write("log.3", logFrom(3n));
    await write("log.5", logFrom(5n));
    const freeze = await freezeOf();
    await freeze.warm();
    await rm(join(version2, "log.1"));
    await write("new", logFrom(3n));
    await rename(join(version2, "new"), join(version2, "log.3"));
    await appendFile(join(version2, "log.5"), makeRecord({ zxid: 7n }));
    await write("log.8", logFrom(8n));
    const frozen = await freeze.complete();
    expect(await contentOf(frozen.snapshots)).toEqual(await contentOf(version2));
    expect(frozen).toMatchObject({ files: 4, copied: [] });
    expect(inodeOf(frozenAt(frozen, "log.3"))).toBe(inodeOf(join(version2, "log.3")));
  });

  it("holds, whatever has happened, exactly the files that are there at the end", async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = randomNumbers(seed);
      const below = (limit: number): number => Math.floor(random() * limit);
      const step = async (): Promise<void> => {
        const zxid = BigInt(below(6));
        const file = `${["log", "snapshot"][below(2)]}.${zxid.toString(16)}${["", "", ".gz", ".bak"][below(4)]}`;
        const content = [makeLog({ zxid }), LOG_HEADER, snapshot(String(random())), "", "x"][below(5)] ?? "";
        const path = join(version2, file);
        const kind = below(6);
        if (kind === 0) await rm(path, { force: true });
        else if (kind === 1) await writeFile(path, content);
        else if (kind === 2) await appendFile(path, content);
        else if (kind === 3) await rename(path, join(version2, `log.${below(6)}`)).catch(() => {});
        else await writeFile(join(version2, "new"), content).then(() => rename(join(version2, "new"), path));
      };
      for (let n = below(12); n > 0; n--) await step();
      const freeze = await freezeOf();
      if (seed % 5 !== 0) await freeze.warm();
      for (let n = below(12); n > 0; n--) await step();
      const frozen = await freeze.complete();
      const expected = await contentOf(version2);
      expect(await contentOf(frozen.snapshots), `seed ${seed}`).toEqual(expected);
      expect(frozen.files, `seed ${seed}`).toBe(Object.keys(expected).length);

      // Whatever a start writes once more in place, the copy keeps what was there.
      const last = Math.max(-1, ...Object.keys(expected).map(lastZxidOf(expected)));
      for (const name of await readdir(version2)) {
        if (name.startsWith("snapshot.") && Number.parseInt(name.slice(9), 16) === last) await write(name, "rewritten");
      }
      expect(await contentOf(frozen.snapshots), `seed ${seed}, after a start`).toEqual(expected);
      await freeze.drop();
      for (const name of await readdir(version2)) await rm(join(version2, name));
    }
  });

  it("bears that files vanish and come while it links", async () => {
    const names = Array.from({ length: 300 }, (_, n) => `log.${(n + 1).toString(16)}`);
    for (const name of names) await write(name, name);
    const freeze = await freezeOf();
    await Promise.all([
      freeze.warm(),
      ...names.slice(0, 200).map((name) => rm(join(version2, name))),
      ...names.slice(0, 50).map((_, n) => write(`snapshot.${n}`, "s")),
    ]);
    const frozen = await freeze.complete();
    expect(await contentOf(frozen.snapshots)).toEqual(await contentOf(version2));
  });
});

describe("which snapshots are copied", () => {
  const torn = logFrom(6n).subarray(0, 60);
  const badChecksum = Buffer.from(makeLog({ zxid: 6n }));
  badChecksum[40] = 0xff;
  const hugeLength = Buffer.from(makeLog({ zxid: 6n }));
  hugeLength.writeInt32BE(0x7fffffff, 24);
  const long = frame(Buffer.concat([makeRecord({ zxid: 6n }).subarray(12, -1), Buffer.alloc(3_000_000)]));

  const cases: [name: string, files: Record<string, Uint8Array | string>, copied: string[]][] = [
    ["the only one", { "snapshot.0": snapshot() }, ["snapshot.0"]],
    ["the newest one", { "snapshot.3": snapshot(), "snapshot.5": snapshot(), "log.1": logFrom(1n) }, ["snapshot.5"]],
    ["none if a later log has a record", { "snapshot.5": snapshot(), "log.6": logFrom(6n) }, []],
    ["none if one of the later logs has", { "snapshot.5": snapshot(), "log.6": logFrom(6n), "log.8": LOG_HEADER }, []],
    [
      "none if the first record is a long one",
      { "snapshot.5": snapshot(), "log.6": Buffer.concat([LOG_HEADER, long]) },
      [],
    ],
    ["the newest one beside a later log of nothing", { "snapshot.5": snapshot(), "log.6": "" }, ["snapshot.5"]],
    ["the newest one beside a later log's header", { "snapshot.5": snapshot(), "log.6": LOG_HEADER }, ["snapshot.5"]],
    [
      "the newest one beside a later log's padding",
      { "snapshot.5": snapshot(), "log.6": Buffer.concat([LOG_HEADER, Buffer.alloc(100_000)]) },
      ["snapshot.5"],
    ],
    ["the newest one beside a torn record", { "snapshot.5": snapshot(), "log.6": torn }, ["snapshot.5"]],
    [
      "the newest one beside a torn record and padding",
      { "snapshot.5": snapshot(), "log.6": Buffer.concat([torn, Buffer.alloc(100_000)]) },
      ["snapshot.5"],
    ],
    ["the newest one beside a damaged record", { "snapshot.5": snapshot(), "log.6": badChecksum }, ["snapshot.5"]],
    ["the newest one beside a made-up length", { "snapshot.5": snapshot(), "log.6": hugeLength }, ["snapshot.5"]],
    ["the newest one beside something else", { "snapshot.5": snapshot(), "log.6": "x".repeat(999) }, ["snapshot.5"]],
    [
      "the newest one beside records that belong before it",
      { "snapshot.5": snapshot(), "log.6": makeLog({ zxid: 3n }) },
      ["snapshot.5"],
    ],
    [
      "all names of the newest zxid",
      { "snapshot.4": snapshot(), "snapshot.5": snapshot(), "snapshot.5.gz": gzipSync(""), "snapshot.5.bak": "" },
      ["snapshot.5", "snapshot.5.bak", "snapshot.5.gz"],
    ],
    ["a compressed one", { "snapshot.5.snappy": "snappy", "log.4": logFrom(4n) }, ["snapshot.5.snappy"]],
    ["by the zxid, not by the letters", { "snapshot.9": snapshot(), "snapshot.10": snapshot() }, ["snapshot.10"]],
    ["none where there is none", { "log.1": logFrom(1n) }, []],
    ["none of nothing", {}, []],
  ];
  it.each(cases)("%s", async (_, files, copied) => {
    for (const [file, content] of Object.entries(files)) await write(file, content);
    const freeze = await freezeOf();
    await freeze.warm();
    const frozen = await freeze.complete();
    expect(frozen.copied.map(({ file }) => file).sort()).toEqual(copied);
    expect(frozen.copied.every(({ whileStopped }) => !whileStopped)).toBe(true);
    for (const file of Object.keys(files)) {
      const isLink = inodeOf(frozenAt(frozen, file)) === inodeOf(join(version2, file));
      expect(isLink, file).toBe(!copied.includes(file));
    }
    expect(await contentOf(frozen.snapshots)).toEqual(await contentOf(version2));
  });
});

describe("a copy", () => {
  const NAME = "snapshot.5";

  it("keeps what the snapshot held when the server writes it once more, and its time", async () => {
    await write(NAME, snapshot("before"));
    await utimes(join(version2, NAME), 1_700_000_000, 1_700_000_000);
    const freeze = await freezeOf();
    await freeze.warm();
    const frozen = await freeze.complete();
    expect(frozen.copied).toEqual([{ file: NAME, bytes: snapshot("before").byteLength, whileStopped: false }]);
    await write(NAME, snapshot("after, in the same inode"));
    expect((await readFile(frozenAt(frozen, NAME))).equals(snapshot("before"))).toBe(true);
    expect((await stat(frozenAt(frozen, NAME))).mtimeMs).toBe(1_700_000_000_000);
  });

  it.each<[what: string, act: () => Promise<void>]>([
    ["was written once more", () => write(NAME, snapshot("other"))],
    [
      "was replaced",
      () => write("new", snapshot("other")).then(() => rename(join(version2, "new"), join(version2, NAME))),
    ],
    ["got another mode", () => chmod(join(version2, NAME), 0o600)],
  ])("is made again while the server is stopped if the snapshot %s", async (_, act) => {
    await write(NAME, snapshot("first"));
    const freeze = await freezeOf();
    await freeze.warm();
    await act();
    const frozen = await freeze.complete();
    expect(frozen.copied).toMatchObject([{ file: NAME, whileStopped: true }]);
    const content = await contentOf(version2);
    await write(NAME, "rewritten by the start");
    expect(await contentOf(frozen.snapshots)).toEqual(content);
  });

  it("is made of a newer snapshot that came with no transaction after it, and is no longer needed of the older", async () => {
    await write("snapshot.5", snapshot());
    const freeze = await freezeOf();
    await freeze.warm();
    await write("log.6", makeLog({ zxid: 6n }));
    await write("snapshot.6", snapshot());
    const frozen = await freeze.complete();
    expect(frozen.copied).toMatchObject([
      { file: "snapshot.5", whileStopped: false },
      { file: "snapshot.6", whileStopped: true },
    ]);
  });

  it("ends when the run is aborted, and leaves the link and nothing else", async () => {
    await using other = await otherFileSystem();
    // Where blocks can be shared there is nothing to abort.
    if (other === null) return;
    const far = join(other.path, "version-2");
    await mkdir(far);
    await writeFile(join(far, NAME), Buffer.alloc(8 * 1024 * 1024));
    let looks = 0;
    const signal = new Proxy(new AbortController().signal, {
      get: (target, name) => (name === "aborted" ? ++looks > 5 : Reflect.get(target, name, target)),
    });
    const freeze = await freezeOf({ ...location, dataDir: other.path, snapshots: far, logs: far }, { signal });
    await expect(freeze.warm()).rejects.toSatisfy(coded("ERR_ABORTED"));
    const home = join(other.path, ".zk-backyp", `links-${RUN}`);
    expect((await readdir(home)).sort()).toEqual(["data", "owner.json"]);
    expect(inodeOf(join(home, "data", NAME))).toBe(inodeOf(join(far, NAME)));
    await freeze.drop();
    expect(await readdir(other.path)).toEqual(["version-2"]);
  });
});

describe("what a server takes back when it joins again", () => {
  const freezeLogs = async (...logs: string[]): Promise<{ freeze: Freeze; frozen: Frozen }> => {
    await write("snapshot.1", snapshot());
    for (const log of logs) await write(log, logFrom(BigInt(`0x${log.slice(4)}`)));
    const freeze = await freezeOf();
    await freeze.warm();
    return { freeze, frozen: await freeze.complete() };
  };
  const remove = (...files: string[]): Promise<unknown> => Promise.all(files.map((file) => rm(join(version2, file))));

  it("is left out: newer logs that it deleted while older ones stay", async () => {
    const { freeze, frozen } = await freezeLogs("log.2", "log.4", "log.a", "log.c");
    await truncate(join(version2, "log.4"), 80);
    await remove("log.a", "log.c");
    expect(await freeze.dropTakenBack()).toEqual(["log.a", "log.c"]);
    expect((await readdir(frozen.logs ?? "")).sort()).toEqual(["log.2", "log.4", "snapshot.1"]);
    // What it cut off from a log that it kept is gone from the link too.
    expect((await stat(frozenAt(frozen, "log.4"))).size).toBe(80);
    expect(await freeze.dropTakenBack()).toEqual([]);
  });

  it("is left out: a log that it began anew", async () => {
    const { freeze } = await freezeLogs("log.2", "log.4");
    await write("new", logFrom(4n));
    await rename(join(version2, "new"), join(version2, "log.4"));
    expect(await freeze.dropTakenBack()).toEqual(["log.4"]);
  });

  it("is not what a purge deletes: the oldest logs, and snapshots", async () => {
    const { freeze, frozen } = await freezeLogs("log.2", "log.4", "log.6");
    await remove("log.2", "log.4", "snapshot.1");
    expect(await freeze.dropTakenBack()).toEqual([]);
    expect(await readdir(frozen.logs ?? "")).toHaveLength(4);
  });

  it("is nothing when it only writes on", async () => {
    const { freeze } = await freezeLogs("log.2", "log.4");
    await appendFile(join(version2, "log.4"), makeRecord({ zxid: 6n }));
    await write("log.7", logFrom(7n));
    expect(await freeze.dropTakenBack()).toEqual([]);
  });
});

describe("what cannot be frozen", () => {
  it("is told with both places and the remedy where they are on two file systems", async () => {
    await using other = await otherFileSystem();
    if (other === null) return;
    await write("log.2", logFrom(2n));
    const freeze = await freezeOf(location, { linkDir: other.path });
    await expect(freeze.warm()).rejects.toSatisfy(
      coded(
        "ERR_SOURCE_UNAVAILABLE",
        new RegExp(join(version2, "log.2")),
        new RegExp(other.path),
        /two file systems; .*leave linkDir out/,
      ),
    );
    await freeze.drop();
    expect(await readdir(other.path)).toEqual([]);
    expect(await readdir(dataDir)).toEqual(["version-2"]);
  });

  it("is refused where the folder for the links is a file, or leads elsewhere", async () => {
    await writeFile(join(folder, "file"), "");
    await expect(freezeOf(location, { linkDir: join(folder, "file") })).rejects.toSatisfy(
      coded("ERR_SOURCE_UNAVAILABLE", /cannot make .*file/),
    );
    await mkdir(join(folder, "elsewhere"));
    await symlink(join(folder, "elsewhere"), join(dataDir, ".zk-backyp"));
    await expect(freezeOf()).rejects.toSatisfy(coded("ERR_SOURCE_UNAVAILABLE", /\.zk-backyp is not a folder/));
    expect(await readdir(join(folder, "elsewhere"))).toEqual([]);
  });

  it("leaves nothing where only one of two folders can be made", async () => {
    const logs = join(folder, "zk-logs", "version-2");
    await mkdir(logs, { recursive: true });
    await writeFile(join(folder, "zk-logs", ".zk-backyp"), "");
    await expect(freezeOf({ ...location, logs })).rejects.toSatisfy(coded("ERR_SOURCE_UNAVAILABLE"));
    expect(await readdir(dataDir)).toEqual(["version-2"]);
  });

  it("is a run a second time, which leaves the first one alone", async () => {
    await write("log.2", logFrom(2n));
    const freeze = await freezeOf();
    const frozen = await freeze.complete();
    await expect(freezeOf()).rejects.toSatisfy(coded("ERR_SOURCE_UNAVAILABLE", /EEXIST/));
    expect(await readdir(frozen.logs ?? "")).toEqual(["log.2"]);
  });

  it("is refused when its folder is removed during the run", async () => {
    await write("log.2", logFrom(2n));
    const freeze = await freezeOf();
    await rm(join(dataDir, ".zk-backyp"), { recursive: true });
    await expect(freeze.warm()).rejects.toSatisfy(coded("ERR_SOURCE_UNAVAILABLE", /was removed during the run/));
    await freeze.drop();
  });

  it("is told when the data are not there", async () => {
    await rm(version2, { recursive: true });
    await expect(freezeOf()).rejects.toSatisfy(coded("ERR_SOURCE_UNAVAILABLE", /version-2: it does not exist/));
  });

  it("is nothing at all once the run is aborted", async () => {
    const freeze = await freezeOf(location, { signal: AbortSignal.abort() });
    await expect(freeze.warm()).rejects.toSatisfy(coded("ERR_ABORTED"));
    await expect(freeze.complete()).rejects.toSatisfy(coded("ERR_ABORTED"));
  });
});

describe("leftovers", () => {
  const place = (): string => join(dataDir, ".zk-backyp");
  /** The folder of a run as another process leaves it. */
  const leave = async (run: string, owner: string | null, parent = place()): Promise<string> => {
    const home = join(parent, `links-${run}`);
    await mkdir(join(home, "data"), { recursive: true });
    await writeFile(join(home, "data", "log.1"), "x");
    if (owner !== null) await writeFile(join(home, "owner.json"), owner);
    return home;
  };
  const ownerWith = async (pid: number): Promise<string> => JSON.stringify(await identityOf(pid));

  it("are removed if their process is gone, of this and of the last boot, and no file of the server with them", async () => {
    const child = spawn("sleep", ["60"]);
    const identity = await ownerWith(child.pid ?? 0);
    child.kill("SIGKILL");
    await once(child, "exit");
    const dead = await leave("dead", identity);
    const rebooted = await leave("boot", (await ownerWith(process.pid)).replace(/"bootId":"./, '"bootId":"-'));
    await write("log.1", logFrom(1n));
    expect([...(await dropLeftovers(location))].sort()).toEqual([rebooted, dead].sort());
    expect(await readdir(dataDir)).toEqual(["version-2"]);
    expect(await readdir(version2)).toEqual(["log.1"]);
    expect(await dropLeftovers(location)).toEqual([]);
  });

  it("stay while their process is alive, and so do the links of this process", async () => {
    const child = spawn("sleep", ["60"]);
    try {
      const other = await leave("alive", await ownerWith(child.pid ?? 0));
      await write("log.2", logFrom(2n));
      const freeze = await freezeOf();
      const frozen = await freeze.complete();
      expect(await dropLeftovers(location)).toEqual([]);
      expect(await readdir(frozen.logs ?? "")).toEqual(["log.2"]);
      expect(await readdir(join(other, "data"))).toEqual(["log.1"]);
    } finally {
      child.kill("SIGKILL");
      await once(child, "exit");
    }
  });

  it("are what an earlier run of this process could not remove", async () => {
    const home = await leave("before", await ownerWith(process.pid));
    expect(await dropLeftovers(location)).toEqual([home]);
  });

  it.each(["", "{", "null", "[]", '{"pid":-1}', '{"pid":"1","startTicks":null,"bootId":null}'])(
    "stay for a moment when they do not say whose they are: %j",
    async (owner) => {
      await leave("young", owner);
      await leave("younger", null);
      expect(await dropLeftovers(location)).toEqual([]);
    },
  );

  it("are looked for in linkDir, and only there, and nothing else is removed", async () => {
    const linkDir = join(folder, "links");
    await leave("here", "x");
    const home = await leave("there", await ownerWith(process.pid), linkDir);
    await leave("x", await ownerWith(process.pid), join(folder, "elsewhere"));
    await symlink(join(folder, "elsewhere", "links-x"), join(linkDir, "links-y"));
    await writeFile(join(linkDir, "links-z"), "a file");
    await mkdir(join(linkDir, "other"));
    expect(await dropLeftovers(location, linkDir)).toEqual([home]);
    expect((await readdir(linkDir)).sort()).toEqual(["links-y", "links-z", "other"]);
    expect(await readdir(join(folder, "elsewhere", "links-x"))).toContain("data");
    expect(await dropLeftovers(location, join(folder, "not there"))).toEqual([]);
  });

  it("are not looked for behind a symbolic link beside the data", async () => {
    const elsewhere = join(folder, "elsewhere");
    await leave("x", await ownerWith(process.pid), elsewhere);
    await symlink(elsewhere, place());
    expect(await dropLeftovers(location)).toEqual([]);
    expect(await readdir(elsewhere)).toEqual(["links-x"]);
  });
});

interface OtherFileSystem extends AsyncDisposable {
  readonly path: string;
}

/** A folder in memory: a file system of its own, in which files share no blocks. Null where there is none, loudly. */
async function otherFileSystem(): Promise<OtherFileSystem | null> {
  const memory = "/dev/shm";
  const [here, there] = await Promise.all([stat(folder), stat(memory).catch(() => null)]);
  if (there === null || there.dev === here.dev) {
    console.warn(`SKIPPED: ${memory} is not another file system than ${basename(folder)} is on`);
    return null;
  }
  const path = await mkdtemp(join(memory, "zk-backyp-freeze-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** What a server ends at that loads this file. */
function lastZxidOf(content: Record<string, string>) {
  return (name: string): number => {
    if (name.startsWith("snapshot.")) return Number.parseInt(name.slice(9), 16);
    const checker = createLogChecker();
    checker.push(Buffer.from(content[name] ?? "", "base64"));
    return Number(checker.end().lastZxid ?? -1);
  };
}

/** mulberry32: small, and the same everywhere. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
