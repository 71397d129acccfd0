import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { type Fixture, flipBit, unpackFixture } from "@zk-backyp/testbed";
import { type NodeContent, writeSnapshot } from "@zk-backyp/zookeeper-files";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CliResult } from "./run-cli.ts";
import { runHere } from "./run-here.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));

let folder: string;
let rich: Fixture;
let sink: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-browse-"));
  rich = await unpackFixture("zookeeper-3.8.0-rich", folder);
  sink = join(folder, "backups");
  await ok("backup", "--data-dir", rich.dataDir, "--to", sink);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Standard output of a run that has nothing to complain of. */
async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runHere(args);
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: "" });
  return stdout;
}

async function lines(...args: string[]): Promise<string[]> {
  return (await ok(...args)).split("\n").slice(0, -1);
}

async function json(...args: string[]): Promise<never> {
  return JSON.parse(await ok(...args, "--json")) as never;
}

async function fails(code: number, message: RegExp, ...args: string[]): Promise<CliResult> {
  const result = await runHere(args);
  expect({ args, code: result.code, stderr: result.stderr }).toEqual({
    args,
    code,
    stderr: expect.stringMatching(message),
  });
  expect(result.stderr, "a stack trace is no message").not.toMatch(/\n {4}at /);
  return result;
}

/** The places that hold the same state: a directory, and a backup of it. */
const places = [
  ["a directory", () => [rich.dataDir]],
  ["a backup", () => ["latest", "--from", sink]],
] as const;

/** Of no date. */
const STAT = {
  ...{ czxid: 1n, mzxid: 1n, pzxid: 1n, ctimeMs: 9e15, mtimeMs: -5, version: 0, cversion: 0, aversion: 0 },
  ephemeralOwner: 0n,
};

describe.each(places)("in %s", (_, place) => {
  const [at, ...from] = [() => place()[0] as string, () => place().slice(1) as string[]];
  const flags = (): string[] => from.flatMap((more) => more());

  it("ls lists children, all below, and what is known of them", async () => {
    expect(await lines("ls", at(), ...flags())).toEqual(["app", "eph", "zookeeper"]);
    expect(await lines("ls", at(), "/app/late1", ...flags())).toEqual([]);
    const all = await lines("ls", at(), "/", "-R", ...flags());
    expect(all).toHaveLength(992);
    expect(all).toContain("/app/bin/ünïcødé-名前-ß");
    const table = await lines("ls", at(), "/app", "--stat", ...flags());
    expect(table).toContain("persistent       2 B         0         0  2026-11-22 10:46:23  late1");
    expect(await json("ls", at(), "/app/", ...flags())).toMatchObject({
      zxid: "0x3ea",
      time: "2026-11-22T10:46:24.278Z",
      path: "/app",
      znodes: expect.arrayContaining([
        {
          path: "/app/late1",
          kind: "persistent",
          dataLength: 2,
          children: 0,
          acl: [{ permissions: ["create", "delete", "read", "write", "admin"], scheme: "world", id: "anyone" }],
          stat: {
            czxid: "0x3e6",
            mzxid: "0x3e6",
            pzxid: "0x3e6",
            ctime: "2026-11-22T10:46:23.085Z",
            mtime: "2026-11-22T10:46:23.085Z",
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeralOwner: "0x0",
          },
        },
      ]),
    });
  });

  it("cat writes data byte for byte, and says what it knows", async () => {
    expect(await ok("cat", at(), "/app/late1", ...flags())).toBe("v1");
    const child = spawn(process.execPath, [MAIN, "cat", at(), "/app/bin/100k", ...flags()]);
    const bytes: Buffer[] = [];
    for await (const chunk of child.stdout) bytes.push(chunk as Buffer);
    const data = Buffer.concat(bytes);
    expect(data.byteLength).toBe(100_000);
    const document: { data: { base64: string } } = await json("cat", at(), "/app/bin/100k", ...flags());
    expect(document.data).toEqual({ base64: data.toString("base64") });
    expect(await json("cat", at(), "/app/late1", ...flags())).toMatchObject({ data: { base64: "djE=", utf8: "v1" } });
    expect(await json("cat", at(), "/app/null", ...flags())).toMatchObject({ dataLength: null, data: null });
    expect(await json("cat", at(), "/app/empty", ...flags())).toMatchObject({
      dataLength: 0,
      data: { base64: "", utf8: "" },
    });
    expect(await ok("cat", at(), "/eph/live0", "--stat", ...flags())).toMatch(
      /kind +ephemeral\n +session +0x100001ae0c50000\n +data +4 B\n +children +0\n +acl +world:anyone:cdrwa\n/,
    );
  });

  it("tree adds up", async () => {
    const { subtrees }: { subtrees: { path: string; depth: number; znodes: number; dataBytes: number }[] } = await json(
      "tree",
      at(),
      "--depth",
      "1",
      ...flags(),
    );
    expect(subtrees).toEqual([
      { path: "/", depth: 0, znodes: 993, dataBytes: 148_878 },
      { path: "/app", depth: 1, znodes: 928, dataBytes: 148_606 },
      { path: "/eph", depth: 1, znodes: 61, dataBytes: 272 },
      { path: "/zookeeper", depth: 1, znodes: 3, dataBytes: 0 },
    ]);
    expect(await lines("tree", at(), "--depth", "1", ...flags())).toEqual([
      "   ZNODES      DATA  PATH",
      "      993    149 kB  /",
      "      928    149 kB  ├─ app",
      "       61     272 B  ├─ eph",
      "        3       0 B  └─ zookeeper",
    ]);
    expect(await lines("tree", at(), "/app", "--top", "2", "--by", "znodes", ...flags())).toEqual([
      "   ZNODES      DATA  PATH",
      "      481   45.7 kB  /app/cfg",
      "      272   1.81 kB  /app/multi",
    ]);
  });

  it("the state at an earlier moment is another one", async () => {
    for (const when of [
      ["--at-zxid", "0x3e6"],
      ["--at-time", "2026-11-22T10:46:23.100"],
    ]) {
      expect(await ok("cat", at(), "/app/late1", ...when, ...flags())).toBe("v1");
      await fails(
        4,
        /^error ZNODE_NOT_FOUND: there is no znode \/app\/late3 in .* at 0x3e6: /,
        "cat",
        at(),
        "/app/late3",
        ...when,
        ...flags(),
      );
    }
    expect(await json("ls", `${at()}@0x3e4`, "/app", ...flags())).toMatchObject({ zxid: "0x3e4" });
    await fails(2, /say once which moment/, "ls", `${at()}@0x3e4`, "/", "--at-zxid", "0x3e4", ...flags());
    await fails(2, /--at-time "0x3e4": write .* a time as/, "ls", at(), "/", "--at-time", "0x3e4", ...flags());
  });

  it.each(["0x4000", "2026-11-22T09:00"])(
    "a moment that is not covered (%s) is refused with what is",
    async (moment) => {
      await fails(1, /^error POINT_NOT_COVERED: .* 0x3ea/, "ls", `${at()}@${moment}`, ...flags());
    },
  );

  it("a time as it is shown holds all of its second", async () => {
    for (const time of ["2026-11-22T10:46:24", "2026-11-22T10:46", "2026-11-22"]) {
      expect(await json("ls", at(), "/", "--at-time", time, ...flags())).toMatchObject({ zxid: "0x3ea" });
    }
    expect(await json("ls", `${at()}@2026-11-22T10:46:23`, ...flags())).toMatchObject({ zxid: "0x3e8" });
    const second = ["--since", "2026-11-22T10:46:24", "--until", "2026-11-22T10:46:24"];
    const { txns }: { txns: { zxid: string }[] } = await json("log", at(), ...second, ...flags());
    expect(txns.map(({ zxid }) => zxid)).toEqual(["0x3e9", "0x3ea"]);
  });

  it("log finds who deleted a znode, in a multi too", async () => {
    const found = await lines("log", at(), "--since", "0x3a8", "--path", "/app/late*", ...flags());
    expect(found).toEqual([
      "ZXID    TIME (UTC)           SESSION            OP               PATH",
      "0x3e6   2026-11-22 10:46:23  0x100001aed550000  create           /app/late1  (2 B)",
      "0x3e8   2026-11-22 10:46:23  0x100001aed550001  create           /app/late2  (2 B)",
      "0x3ea   2026-11-22 10:46:24  0x100001aed550002  create           /app/late3  (2 B)",
    ]);
    const { txns }: { txns: object[] } = await json("log", at(), "--session", "0x100001aed550002", ...flags());
    expect(txns).toMatchObject([
      { zxid: "0x3e9", type: "createSession", timeoutMs: 10_000 },
      { zxid: "0x3ea", time: "2026-11-22T10:46:24.278Z", type: "create", path: "/app/late3", dataLength: 2 },
    ]);
  });

  it("export writes every znode, and its data as it was", async () => {
    const document: { znodes: { path: string; data: { utf8?: string; base64?: string } | null }[] } = JSON.parse(
      await ok("export", at(), "/app", ...flags()),
    );
    expect(document).toMatchObject({ format: "zk-backyp-export", formatVersion: 1, zxid: "0x3ea", path: "/app" });
    expect(document.znodes).toHaveLength(928);
    const target = await mkdtemp(join(folder, "tar-"));
    const archive = join(target, "app.tar");
    expect(await ok("export", at(), "/app", "--format", "tar", "--output", archive, ...flags())).toMatch(
      /928 znodes, 149 kB/,
    );
    execFileSync("tar", ["xf", archive, "-C", target]);
    for (const { path, data } of document.znodes) {
      if (!/^[\w/-]+$/.test(path)) continue;
      const file = await readFile(join(target, path, "@data")).catch(() => null);
      const content =
        data === null ? null : Buffer.from(data.utf8 ?? data.base64 ?? "", data.utf8 === undefined ? "base64" : "utf8");
      expect({ path, data: file }).toEqual({ path, data: content });
      expect(JSON.parse(await readFile(join(target, path, "@znode.json"), "utf8"))).toMatchObject({ path });
    }
    await fails(
      2,
      /^error ERR_TARGET_NOT_EMPTY: .* there already/,
      "export",
      at(),
      "/app",
      "--output",
      archive,
      ...flags(),
    );
    expect(await readdir(target)).toEqual(["app", "app.tar"]);
  });
});

describe("diff", () => {
  it("compares backups, directories, and moments of them", async () => {
    const late = [
      "A  /app/late1  (persistent, 2 B)",
      "A  /app/late2  (persistent, 2 B)",
      "A  /app/late3  (persistent, 2 B)",
    ];
    expect(await lines("diff", "latest", rich.dataDir, "--from", sink)).toEqual(["no difference"]);
    for (const [a, b, ...from] of [
      [`${rich.dataDir}@0x3e4`, rich.dataDir],
      ["latest@0x3e4", "latest", "--from", sink],
      ["latest@0x3e4", rich.dataDir, "--from", sink],
    ] as const) {
      expect(await lines("diff", a, b, ...from)).toEqual([...late, "3 added, 0 removed, 0 changed"]);
    }
    expect(await lines("diff", rich.dataDir, `${rich.dataDir}@0x3e4`, "/app/late3")).toEqual([
      "D  /app/late3  (persistent, 2 B)",
      "0 added, 1 removed, 0 changed",
    ]);
  });

  it.each(["zookeeper-3.4.14", "zookeeper-3.5.10", "zookeeper-3.6.4", "zookeeper-3.8.0-snappy"] as const)(
    "finds no difference between a backup of %s and the directory",
    async (name) => {
      const { dataDir, dataLogDir } = await unpackFixture(name, join(folder, "diff"));
      const to = join(folder, `backups-${name}`);
      const taken = await runHere(["backup", "--data-dir", dataDir, "--data-log-dir", dataLogDir, "--to", to]);
      expect(taken.code).toBe(0);
      const compared = ["diff", "latest", `${dataDir},${dataLogDir}`, "--from", to, "--stat"];
      expect(await lines(...compared)).toEqual(["no difference"]);
    },
  );

  it("says what changed, and of parents only if asked", async () => {
    const moments = [`${rich.dataDir}@0x3a1`, `${rich.dataDir}@0x3a3`, "/app/multi"];
    const changed = (await lines("diff", ...moments)).filter((line) => line.startsWith("M"));
    expect(changed).toEqual(["M  /app/multi  data (3 B), version 28 → 30, children"]);
    const document: { changes: { kind: string; path: string; fields: string[] }[]; changed: number } = await json(
      "diff",
      ...moments,
    );
    expect(document.changed).toBe(1);
    expect(document.changes.find(({ kind }) => kind === "changed")).toMatchObject({
      path: "/app/multi",
      fields: ["data", "mzxid", "pzxid", "mtime", "version", "cversion"],
      before: { stat: { version: 28 } },
      after: { stat: { version: 30 } },
    });
    const parent = [`${rich.dataDir}@0x3e4`, rich.dataDir];
    expect(await lines("diff", ...parent, "--stat")).toContain("M  /app  children");
  });

  it("tells no data from data of no length", async () => {
    const place = async (name: string, data: Buffer | null): Promise<string> => {
      const path = join(folder, `snapshot.${name}`);
      const nodes = ["", "/a"].map((znode) => ({ path: znode, data, aclId: 7n, stat: STAT }));
      await pipeline(writeSnapshot({ sessions: new Map(), acls: new Map(), nodes }), createWriteStream(path));
      return path;
    };
    const [none, empty] = [await place("5", null), await place("6", Buffer.alloc(0))];
    expect(await lines("diff", none, empty)).toContain("M  /a  data none → 0 B");
  });

  it("has an exit code of its own for a difference, if asked", async () => {
    const moments = [`${rich.dataDir}@0x3e4`, rich.dataDir];
    expect((await runHere(["diff", ...moments, "--exit-code"])).code).toBe(6);
    expect((await runHere(["diff", rich.dataDir, rich.dataDir, "--exit-code"])).code).toBe(0);
  });

  it("knows when there is nothing to compare", async () => {
    await fails(
      4,
      /ZNODE_NOT_FOUND: there is no znode \/nope, neither in /,
      "diff",
      rich.dataDir,
      rich.dataDir,
      "/nope",
    );
  });
});

describe("log", () => {
  it("tells what every release wrote, and what a session took along", async () => {
    for (const name of ["zookeeper-3.4.14", "zookeeper-3.5.10", "zookeeper-3.6.4", "zookeeper-3.7.2"] as const) {
      const { dataDir, dataLogDir } = await unpackFixture(name, folder);
      const where = `${dataDir},${dataLogDir}`;
      const { txns }: { txns: { type: string; deleted?: string[]; complete?: boolean }[] } = await json("log", where);
      expect(txns).toHaveLength(name === "zookeeper-3.4.14" ? 29 : 34);
      const closings = txns.filter(({ type }) => type === "closeSession");
      expect(closings.map(({ deleted, complete }) => ({ count: deleted?.length, complete }))).toEqual([
        { count: 2, complete: true },
        { count: 2, complete: true },
      ]);
      const deletions = await lines("log", where, "--path", "/app/eph", "--op", "delete");
      expect(deletions.at(-1)).toMatch(/ closeSession +\/app\/eph +\(ephemeral\)$/);
    }
  });

  it("names the error of a request that failed, and undoes a multi that did", async () => {
    expect(await lines("log", rich.dataDir, "--since", "0x3a4", "--until", "0x3a5")).toEqual([
      "ZXID    TIME (UTC)           SESSION            OP               PATH",
      "0x3a4   2026-11-22 10:46:17  0x100001ad5030000  multi/create     /app/multi/never  (1 B, not done: another part failed)",
      "0x3a4   2026-11-22 10:46:17  0x100001ad5030000  multi/error      NoNode (-101)",
      "0x3a5   2026-11-22 10:46:17  0x100001ad5030000  error            NoNode (-101)",
    ]);
  });

  it("says on stderr that nothing matches, or that the logs end before", async () => {
    const none = await runHere(["log", rich.dataDir, "--path", "/nope"]);
    expect(none).toMatchObject({ code: 0, stdout: "" });
    expect(none.stderr).toMatch(/^warning: none of the 1002 txns matches; the logs hold 0x1 .* to 0x3ea /);
    const early = await runHere(["log", "latest", "--from", sink, "--until", "0x3a8", "--since", "0x1"]);
    expect(early.stderr).toMatch(/^warning: the logs hold only 0x3a8 /);
  });

  it("shows damage as damage, and all that is good before it", async () => {
    const damaged = join(folder, "damaged-log");
    await mkdir(damaged);
    await copyFile(join(rich.dataDir, "version-2/log.3a8"), join(damaged, "log.3a8"));
    await copyFile(join(rich.dataDir, "version-2/log.3e5"), join(damaged, "log.3e5"));
    await flipBit(join(damaged, "log.3a8"), 1000);
    const { code, stdout, stderr } = await runHere(["log", damaged, "--json"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /warning: .*log\.3a8: a record whose checksum does not match .*\n.*txns are missing between 0x/,
    );
    expect(JSON.parse(stdout)).toMatchObject({
      upTo: { zxid: "0x3ea" },
      damage: [expect.any(String), expect.any(String)],
    });
  });

  it("ends without a word when its reader has had enough", () => {
    const command = `"${process.execPath}" "${MAIN}" log "${rich.dataDir}"; echo "exit $?" >&2`;
    const output = execFileSync("sh", [
      "-c",
      `{ ${command}; } 2>&1 >/dev/null | cat; { ${command}; } 2>"${folder}/stderr" | head -2`,
    ]);
    expect(output.toString()).toMatch(/^exit 0\nZXID .*\n0x1 .*\n$/);
  });
});

describe("damage", () => {
  it("in a snapshot: an older one is taken, and it is said", async () => {
    const { dataDir } = await unpackFixture("zookeeper-3.8.0-rich", join(folder, "bad-snapshot"));
    await flipBit(join(dataDir, "version-2/snapshot.3e4"), 3000);
    const { code, stdout, stderr } = await runHere(["cat", dataDir, "/app/late3"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "v3" });
    expect(stderr).toMatch(
      /^warning: \S*snapshot\.3e4: the checksum .*; servers pass it over, and nothing is lost with it\n$/,
    );
  });

  it("is what it looks like where only one of the two directories is named", async () => {
    const { dataDir, dataLogDir } = await unpackFixture("zookeeper-3.8.0", join(folder, "one-of-two"));
    const { code, stdout, stderr } = await runHere(["ls", dataDir]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "zookeeper\n" });
    expect(stderr).toMatch(
      /^warning: there is no log in .*, so this is the state of the snapshot: .*dataDir,dataLogDir/,
    );
    await fails(3, /^error NOT_RECOVERABLE: .*\(dataDir\), name that too$/m, "ls", dataLogDir);
    expect(await lines("ls", `${dataDir},${dataLogDir}`)).toEqual(["app", "zookeeper"]);
    expect(await lines("ls", join(dataDir, "version-2/snapshot.0"))).toEqual(["zookeeper"]);
  });

  it("in a log: the state ends before it", async () => {
    const { dataDir } = await unpackFixture("zookeeper-3.8.0-rich", join(folder, "bad-log"));
    await flipBit(join(dataDir, "version-2/log.3e5"), 200);
    const { code, stdout, stderr } = await runHere(["ls", dataDir, "/app", "--json"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/warning: .*log\.3e5: /);
    const { zxid } = JSON.parse(stdout);
    expect(Number(zxid)).toBeLessThan(0x3ea);
    expect(stdout).not.toContain("/app/late3");
  });

  it("in an archive: nothing of it is shown as good", async () => {
    const broken = join(folder, "broken-backups");
    await ok("backup", "--data-dir", rich.dataDir, "--to", broken);
    const archives = join(broken, "zookeeper-backup/archives");
    const [archive = ""] = await readdir(archives);
    await flipBit(join(archives, archive), 5000);
    for (const args of [["ls"], ["cat"], ["tree"], ["export"]]) {
      const { stdout } = await fails(
        3,
        /^error ERR_(ARCHIVE_CORRUPT|CHECKSUM_MISMATCH)/,
        ...args,
        "latest",
        "/app",
        "--from",
        broken,
      );
      expect(stdout).toBe("");
    }
  });

  it("in a backup that was taken all the same: what is good is shown, and what is not is said", async () => {
    const { dataDir } = await unpackFixture("zookeeper-3.8.0-rich", join(folder, "kept"));
    const kept = join(folder, "kept-backups");
    await flipBit(join(dataDir, "version-2/log.3e5"), 200);
    const taken = await runHere(["backup", "--data-dir", dataDir, "--to", kept, "--allow-damaged"]);
    expect(taken).toMatchObject({ code: 3, stdout: expect.stringContaining("DAMAGED") });
    for (const args of [
      ["ls", "latest", "/app"],
      ["log", "latest", "--op", "create"],
    ]) {
      const { code, stdout, stderr } = await runHere([...args, "--from", kept]);
      expect(code).toBe(3);
      expect(stderr).toMatch(/^warning: zookeeper-backup-\S+ was taken of damaged data: .*log\.3e5: [^\n]*\n$/);
      expect(stdout).toContain("late1");
      expect(stdout).not.toContain("late3");
    }
    const compared = await runHere(["diff", "latest", dataDir, "--from", kept]);
    expect(compared).toMatchObject({ code: 3, stdout: "no difference\n" });
  });

  it("that leaves no whole state is refused", async () => {
    const one = join(folder, "one-snapshot");
    await mkdir(one);
    await copyFile(join(rich.dataDir, "version-2/snapshot.149"), join(one, "snapshot.149"));
    await fails(3, /^error NOT_RECOVERABLE: .*logs up to 0x14a/, "ls", join(one, "snapshot.149"));
  });
});

describe("a znode that is not there", () => {
  it.each([
    ["/eph/closed", /deleted at 0x3a7 \(2026-11-22 10:46:17 UTC\) by session 0x100001ad5030000/],
    ["/app/multi/m28-0", /deleted at 0x3a3 /],
    ["/app/multi/never", /at 0x3ea$/m],
    ["/never/was", /at 0x3ea$/m],
  ])("%s comes with what became of it", async (path, hint) => {
    await fails(4, hint, "cat", rich.dataDir, path);
  });

  it("was not there yet", async () => {
    await fails(4, /created at 0x3ea /, "cat", `${rich.dataDir}@0x3e4`, "/app/late3");
  });

  it("is one JSON document with --json", async () => {
    const { code, stdout } = await runHere(["cat", rich.dataDir, "/nope", "--json"]);
    expect(code).toBe(4);
    expect(JSON.parse(stdout)).toEqual({
      error: { code: "ZNODE_NOT_FOUND", message: expect.stringContaining("/nope") },
    });
  });
});

describe("names and data that somebody made up", () => {
  const NAMES = ["/\u001b[31mred", "/two\nlines", "/..", "/@data", "/\u202eright", `/${"x".repeat(300)}`];
  let made: string;
  beforeAll(async () => {
    await mkdir(join(folder, "made"));
    made = join(folder, "made/snapshot.1");
    const nodes: NodeContent[] = ["", ...NAMES].map((path) => {
      return { path, data: Buffer.from("\u001b[2J"), aclId: 7n, stat: STAT };
    });
    const acls = new Map([[7n, [{ permissions: 31, scheme: "digest", id: "a\u001b]0;\u0007" }]]]);
    await pipeline(writeSnapshot({ sessions: new Map(), acls, nodes }), createWriteStream(made));
  });

  it("do nothing to a terminal", async () => {
    const commands = [
      ["ls", made, "/", "--stat"],
      ["ls", made, "/", "-R"],
      ["tree", made],
      ["diff", made, rich.dataDir],
      ["cat", made, "/..", "--stat"],
      ["cat", made, "/\u001b"],
    ];
    for (const args of commands) {
      const { stdout, stderr } = await runHere(args);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect(stdout + stderr).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
    }
    expect(await lines("ls", made)).toHaveLength(NAMES.length);
    expect(await lines("ls", made)).toContain("two\\u{a}lines");
  });

  it("stay inside of the folder that an archive is unpacked into", async () => {
    const target = join(folder, "unpacked");
    await mkdir(target);
    const archive = join(folder, "made.tar");
    await ok("export", made, "/", "--format", "tar", "--output", archive);
    execFileSync("tar", ["xf", archive, "-C", target]);
    const long = `@sha256-${createHash("sha256").update("x".repeat(300)).digest("hex")}`;
    expect((await readdir(target)).sort()).toEqual(
      ["%1B%5B31mred", "%2E%2E", "%40data", "%E2%80%AEright", "@data", "@znode.json", long, "two%0Alines"].sort(),
    );
    const { znodes }: { znodes: { path: string }[] } = JSON.parse(await ok("export", made));
    expect(znodes.map(({ path }) => path).sort()).toEqual(["/", ...NAMES].sort());
  });
});

describe("bad usage", () => {
  it.each([
    [["ls"], /missing required argument 'where'/],
    [["cat", "x"], /missing required argument 'path'/],
    [["ls", ""], /where to look is empty/],
    [["ls", "latest", "app"], /"app" is no path of a znode/],
    [["ls", "/app", "--from", "/backups"], /\/app is no backup: with --from, say first which one/],
    [["ls", "latest"], /Give --from/],
    [["log", "x", "--op", "remove"], /--op "remove": there are create, /],
    [["log", "x", "--path", "app"], /--path "app": paths of znodes begin with \//],
    [["log", "x", "--session", "17"], /--session "17": write it as 0x/],
    [["log", "x", "--since", "yesterday"], /--since "yesterday": write a zxid as/],
    [["tree", "x", "--depth", "-1"], /--depth "-1": give a number/],
    [["tree", "x", "--top", "0"], /--top "0": give a number/],
    [["tree", "x", "--by", "size"], /--by "size": give data or znodes/],
    [["export", "x", "--format", "zip"], /--format "zip": give json or tar/],
    [["export", "x", "--format", "tar", "--json"], /give --output/],
  ])("%j is refused", async (args, message) => {
    await fails(2, message, ...args);
  });

  it("of a place that is not there is said as such", async () => {
    await fails(1, /^error PATH_NOT_FOUND: there is nothing at \/no\/such/, "ls", "/no/such");
    await fails(1, /^error NO_DATA_FILES/, "ls", sink);
    await fails(4, /^error ERR_BACKUP_NOT_FOUND/, "ls", "zookeeper-backup-20200101T000000000Z", "--from", sink);
    const none = join(folder, "no-log");
    await mkdir(none);
    await writeFile(join(none, "snapshot.0"), "");
    await fails(1, /^error NO_DATA_FILES: there is no log in /, "log", none);
  });

  it("is met with examples", async () => {
    for (const command of ["ls", "cat", "tree", "export", "diff", "log"]) {
      expect(await ok(command, "--help")).toMatch(new RegExp(`Examples:\n  zk-backyp ${command} `));
    }
  });
});
