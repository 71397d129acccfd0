import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Fixture, flipBit, unpackFixture } from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CliOptions, runCli } from "./run-cli.ts";

const ID = /^zookeeper-backup-\d{8}T\d{9}Z$/;

let folder: string;
let fixture: Fixture;
let sink: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-cli-"));
  fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
  sink = join(folder, "backups");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function json(args: readonly string[], options: CliOptions = {}): Promise<{ code: number | null; value: never }> {
  const { code, stdout, stderr } = await runCli([...args, "--json"], options);
  try {
    return { code, value: JSON.parse(stdout) as never };
  } catch {
    throw new Error(`not one JSON document: ${stdout}\n${stderr}`);
  }
}

async function backUp(...more: string[]): Promise<{ id: string; archive: { key: string; size: number } }> {
  const { code, value } = await json(["backup", "--data-dir", fixture.dataDir, "--to", sink, ...more]);
  expect(code).toBe(0);
  return value;
}

async function expectFailure(
  args: readonly string[],
  code: number,
  message: RegExp,
  options: CliOptions = {},
): Promise<void> {
  const result = await runCli(args, options);
  expect({ code: result.code, stderr: result.stderr }).toEqual({ code, stderr: expect.stringMatching(message) });
  expect(result.stderr, "a stack trace is no message").not.toMatch(/\n {4}at /);
}

/** Everything below a directory, but for the sink's own folder for unfinished work, which must be empty. */
async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

describe("the commands, from a directory to a directory", () => {
  it("back up, list, show, verify, restore and inspect", async () => {
    const manifest = await backUp();
    expect(manifest.id).toMatch(ID);
    expect((await json(["list", "--from", sink])).value).toEqual([
      {
        id: manifest.id,
        kind: "full",
        startedAt: expect.any(String),
        finishedAt: expect.any(String),
        size: manifest.archive.size,
        range: { after: null, upTo: "0x3ea" },
        verified: true,
      },
    ]);
    expect((await json(["show", "latest", "--from", sink])).value).toEqual(manifest);
    expect((await json(["verify", manifest.id, "--from", sink])).value).toEqual([{ id: manifest.id, ok: true }]);
    const target = join(folder, "restored");
    const restored = await json(["restore", manifest.id, "--from", `file:${sink}`, "--to", target]);
    expect(restored).toMatchObject({ code: 0, value: { id: manifest.id, to: target, dataLogDir: null } });
    const inspected = await json(["inspect", target]);
    expect(inspected).toMatchObject({
      code: 0,
      value: {
        recoverable: { zxid: "0x3ea", from: "snapshot.3e4", logs: ["log.3a8", "log.3e5"] },
        tree: { nodes: 993, ttlNodes: 25, snapshotDigest: "matched" },
        problems: [{ severity: "info", code: "TTL_NODES_VANISH" }],
      },
    });
  });

  it("speak to people without --json, and colour nothing that is not a terminal", async () => {
    const taken = await runCli(["backup", "--data-dir", fixture.dataDir, "--to", sink]);
    expect(taken.stdout).toMatch(
      /zookeeper-backup-\d{8}T\d{9}Z\n +taken .*\n +archive +file:.*\n(.*\n)* +up to +0x3ea/,
    );
    for (const args of [
      ["list"],
      ["show", "latest"],
      ["verify", "--all"],
      ["restore", "latest", "--to", join(folder, "x")],
    ]) {
      const { code, stdout, stderr } = await runCli([...args, "--from", sink]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toMatch(/zookeeper-backup-\d/);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what is looked for
      expect(stdout).not.toMatch(/\x1b/);
    }
    const { stdout } = await runCli(["inspect", fixture.dataDir]);
    expect(stdout).toMatch(/recoverable up to 0x3ea.*: 993 znodes .* proven by the digest of the snapshot/);
    expect(stdout).toMatch(/\n3\.5\.4 and later +loads with loss +0x3ea +TTL_NODES_VANISH\n/);
  });

  it("put logs into their own directory", async () => {
    const { id } = await backUp();
    const log = join(folder, "log");
    await runCli(["restore", id, "--from", sink, "--to", join(folder, "data"), "--data-log-dir", log]);
    expect((await readdir(join(log, "version-2"))).sort()).toEqual(["log.3a8", "log.3e5"]);
    expect(await readdir(join(folder, "data/version-2"))).toEqual(["snapshot.3e4"]);
  });

  it("make an archive that tar alone restores", async () => {
    const { archive } = await backUp();
    const target = join(folder, "by-hand");
    await mkdir(target);
    execFileSync("tar", ["xzf", join(sink, archive.key), "-C", target]);
    expect((await json(["inspect", target])).value).toMatchObject({ recoverable: { zxid: "0x3ea" } });
  });

  it("keep series apart by prefix, and know the prefix of an id", async () => {
    const { id } = await backUp("--prefix", "kafka");
    expect((await json(["list", "--from", sink])).value).toEqual([]);
    expect((await json(["list", "--from", sink, "--prefix", "kafka"])).value).toMatchObject([{ id }]);
    expect((await json(["show", id, "--from", sink])).value).toMatchObject({ id, prefix: "kafka" });
  });

  it.each([
    ["none", "tar", []],
    ["gzip:1", "tar.gz", ["gzip"]],
  ])("compress with %s", async (compression, ending, codecs) => {
    const { id, archive } = await backUp("--compression", compression);
    expect(archive).toMatchObject({ key: `zookeeper-backup/archives/${id}.${ending}`, codecs });
    expect((await runCli(["verify", id, "--from", sink])).code).toBe(0);
  });

  it("teach by example", async () => {
    for (const command of ["backup", "list", "show", "verify", "restore", "inspect", "recover", "helper"]) {
      const { code, stdout } = await runCli([command, "--help"]);
      expect(code).toBe(0);
      expect(stdout).toMatch(new RegExp(`Examples:\n  zk-backyp ${command} `));
    }
    expect((await runCli(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("a configuration file", () => {
  const configure = async (name: string, text: string): Promise<string> => {
    const path = join(folder, name);
    await writeFile(path, text);
    return path;
  };

  it.each([
    [
      "yaml",
      (dataDir: string) =>
        `series:\n  prod:\n    source: { use: zookeeper, dataDir: ${dataDir} }\n    sink: { use: fs, path: backups }\n`,
    ],
    [
      "json",
      (dataDir: string) =>
        JSON.stringify({
          series: { prod: { source: { use: "zookeeper", dataDir }, sink: { use: "fs", path: "backups" } } },
        }),
    ],
    [
      "ts",
      (dataDir: string) =>
        `const path: string = "backups";\nexport default { series: { prod: { source: { use: "zookeeper", dataDir: ${JSON.stringify(dataDir)} }, sink: { use: "fs", path } } } };\n`,
    ],
  ])("in %s is found in the working directory and serves every command", async (ending, text) => {
    await configure(`zk-backyp.config.${ending}`, text(fixture.dataDir));
    const { code, value } = await json(["backup"], { cwd: folder });
    expect({ code, value }).toMatchObject({ code: 0, value: { prefix: "prod" } });
    for (const args of [["list"], ["show", "latest"], ["verify", "--all"], ["restore", "latest", "--to", "restored"]]) {
      expect((await runCli(args, { cwd: folder })).code, args.join(" ")).toBe(0);
    }
  });

  it("chooses among series, and takes secrets from the environment or a file", async () => {
    const path = await configure(
      "c.yaml",
      `series:
  a: { source: { use: zookeeper, dataDir: { env: ZK_DATA } }, sink: { use: fs, path: { file: ./where } } }
  b: { source: { use: zookeeper, dataDir: /x }, sink: { use: fs, path: /x }, prefix: p, compression: { gzip: { level: 9 } } }\n`,
    );
    await writeFile(join(folder, "where"), `${sink}\n`);
    const env = { ZK_DATA: fixture.dataDir };
    expect((await runCli(["backup", "--config", path, "--series", "a"], { env })).code).toBe(0);
    await expectFailure(["backup", "--config", path], 2, /2 series \(a, b\): say which with --series/);
    await expectFailure(["backup", "--config", path, "--series", "c"], 2, /no series "c"; there are: a, b/);
    await expectFailure(
      ["backup", "--config", path, "--series", "a"],
      2,
      /series\.a\.source\.dataDir: .* ZK_DATA is not set/,
    );
  });

  it("is refused whole, with every wrong field named", async () => {
    const path = await configure(
      "c.yaml",
      "series:\n  a: { source: { dataDir: /x }, sink: { use: fs }, compresion: gzip }\n",
    );
    await expectFailure(["backup", "--config", path], 2, /series\.a\.source\.use.*compresion/s);
    await expectFailure(
      ["backup", "--config", join(folder, "none.yaml")],
      2,
      /cannot read the configuration .*none\.yaml/,
    );
    await expectFailure(["backup", "--config", await configure("d.yaml", "a: [")], 2, /cannot read the configuration/);
    await expectFailure(["list"], 2, /where are the backups\? Give --from/, { cwd: folder });
    await expectFailure(["list", "--config", path, "--from", sink], 2, /but not both/);
  });

  it("names plugins that are looked for beside it first, and says what is wrong with them", async () => {
    const useSink = (use: string) =>
      configure("c.json", JSON.stringify({ series: { a: { source: { use: "zookeeper" }, sink: { use } } } }));
    await writeFile(join(folder, "none.mjs"), "export default {};\n");
    await writeFile(join(folder, "broken.mjs"), "throw new Error('broken on purpose');\n");
    await writeFile(
      join(folder, "old.mjs"),
      "export default { kind: 'sink', apiVersion: 0, parseOptions() {}, create() {} };\n",
    );
    await expectFailure(
      ["list", "--config", await useSink("tape")],
      2,
      /no sink plugin "tape": looked for @zk-backyp\/sink-tape and zk-backyp-sink-tape in /,
    );
    await expectFailure(["list", "--config", await useSink("./none.mjs")], 2, /not made with defineSink/);
    await expectFailure(["list", "--config", await useSink("./broken.mjs")], 2, /fails to load: broken on purpose/);
    await expectFailure(["list", "--config", await useSink("./old.mjs")], 2, /plugin API version 0/);
  });
});

describe("a configuration file, seen by who wishes us ill or makes mistakes,", () => {
  it("does not show its secrets when it cannot be read", async () => {
    for (const [name, text] of [
      ["a.yaml", "series:\n  a:\n   sink: {secretAccessKey: hunter2\n"],
      ["a.json", '{ "series": { "secretAccessKey": "hunter2" "x": 1 } }'],
      ["b.json", '{ "secretAccessKey": "hunter2'],
    ] as const) {
      await writeFile(join(folder, name), text);
      for (const more of [[], ["--json"]]) {
        const { code, stdout, stderr } = await runCli(["list", "--config", join(folder, name), ...more]);
        expect(code).toBe(2);
        expect(stderr).toMatch(/cannot read the configuration .*[ab]\.(yaml|json)/);
        expect(stdout + stderr).not.toMatch(/hunter2/);
      }
    }
  });

  it("leaves an option that is called like a secret's place to the plugin", async () => {
    const module =
      "export default { kind: 'sink', apiVersion: 1, parseOptions: (o) => { throw new Error(JSON.stringify(o)); }, create() {} };";
    await writeFile(join(folder, "own.mjs"), module);
    const config = { series: { a: { source: { use: "zookeeper" }, sink: { use: "./own.mjs", file: "x.db" } } } };
    await writeFile(join(folder, "c.json"), JSON.stringify(config));
    const { stderr } = await runCli(["list", "--config", join(folder, "c.json")]);
    expect(stderr).toContain('{"file":"x.db"}');
  });

  it("counts its relative paths from where it lies", async () => {
    const path = join(folder, "c.json");
    const dataDir = "zookeeper-3.8.0-rich";
    const config = { series: { a: { source: { use: "zookeeper", dataDir }, sink: { use: "fs", path: "here" } } } };
    await writeFile(path, JSON.stringify(config));
    expect((await runCli(["backup", "--config", path], { cwd: "/" })).code).toBe(0);
    expect(await filesBelow(join(folder, "here"))).toHaveLength(2);
    await expectFailure(["backup", "--config", path, "--data-dir", "/x"], 2, /leave --data-dir and the like out/);
    for (const name of ["constructor", "__proto__"]) {
      await expectFailure(["list", "--config", path, "--series", name], 2, /has no series/);
    }
  });

  it("does not get code from the working directory to handle paths and s3:", async () => {
    for (const name of ["sink-fs", "sink-s3", "source-zookeeper"]) {
      const module = join(folder, "node_modules/@zk-backyp", name);
      await mkdir(module, { recursive: true });
      await writeFile(join(module, "package.json"), '{ "name": "x", "type": "module", "exports": "./index.js" }');
      await writeFile(join(module, "index.js"), "process.exit(99);");
    }
    await mkdir(sink);
    expect((await runCli(["list", "--from", sink], { cwd: folder })).code).toBe(0);
    expect((await runCli(["list", "--from", "s3://bucket?endpoint=http://127.0.0.1:1"], { cwd: folder })).code).toBe(1);
  });
});

describe("what goes wrong has a message and an exit code:", () => {
  it("bad usage is 2", async () => {
    await expectFailure([], 2, /Usage: zk-backyp/);
    await expectFailure(["bakup"], 2, /unknown command 'bakup'/);
    await expectFailure(["backup", "--nope"], 2, /unknown option '--nope'/);
    await expectFailure(["show", "--from", sink], 2, /missing required argument 'id'/);
    await expectFailure(["backup", "--data-dir", fixture.dataDir], 2, /where are the backups\? Give --to/, {
      cwd: folder,
    });
    await expectFailure(["backup", "--to", sink], 2, /where is ZooKeeper's data\?/);
    await expectFailure(["backup", "--data-dir", fixture.dataDir, "--to", sink, "--prefix", "a/b"], 2, /no prefix/);
    await expectFailure(
      ["backup", "--data-dir", fixture.dataDir, "--to", sink, "--compression", "lzma"],
      2,
      /no compression/,
    );
    await expectFailure(
      ["backup", "--data-dir", fixture.dataDir, "--to", "gopher://x/y"],
      2,
      /no sink plugin "gopher"/,
    );
    await expectFailure(["backup", "--data-dir", fixture.dataDir, "--to", ""], 2, /address of the sink is empty/);
    await expectFailure(["backup", "--data-dir", fixture.dataDir, "--to", "file:relative"], 2, /write file:\/path/);
    await expectFailure(["list", "--from", "s3://bucket/%zz"], 2, /not an address of a sink/);
    await expectFailure(["verify", "--from", sink], 2, /an id, latest, or --all/);
    await expectFailure(["verify", "x", "--all", "--from", sink], 2, /an id, latest, or --all/);
    await expectFailure(["restore", "latest", "--from", sink], 2, /Give --to/);
    expect(await filesBelow(sink)).toEqual([]);
  });

  it("with --json, failures are one document too", async () => {
    const usage = await json(["list", "--bogus"]);
    expect(usage).toMatchObject({ code: 2, value: { error: { message: expect.stringContaining("--bogus") } } });
    await mkdir(sink);
    const { code, value } = await json(["show", "latest", "--from", sink]);
    expect({ code, value }).toEqual({
      code: 4,
      value: { error: { code: "ERR_BACKUP_NOT_FOUND", message: expect.stringContaining("no backup") } },
    });
  });

  it("a source that cannot be read is 1", async () => {
    await expectFailure(["backup", "--data-dir", "/nowhere", "--to", sink], 1, /\/nowhere: it does not exist/);
    await mkdir(join(folder, "empty"));
    await expectFailure(["backup", "--data-dir", join(folder, "empty"), "--to", sink], 1, /has no folder version-2/);
    expect(await filesBelow(sink)).toEqual([]);
  });

  it.skipIf(process.getuid?.() !== 0)("no permission is 1, and says for whom there is", async () => {
    await chmod(folder, 0o755);
    await chmod(join(fixture.dataDir, "version-2/snapshot.3e4"), 0o600);
    await expectFailure(
      ["backup", "--data-dir", fixture.dataDir, "--to", "/tmp"],
      1,
      /snapshot\.3e4: no permission; run as ZooKeeper's user.* It belongs to uid 0/,
      { uid: 65534 },
    );
    await chmod(join(fixture.dataDir, "version-2/snapshot.3e4"), 0o644);
    await expectFailure(
      ["backup", "--data-dir", fixture.dataDir, "--to", sink],
      1,
      /ERR_SINK_DENIED.*this user may not/,
      {
        uid: 65534,
      },
    );
    await backUp();
    execFileSync("chmod", ["-R", "a+rX", sink]);
    await expectFailure(
      ["restore", "latest", "--from", sink, "--to", join(folder, "new")],
      1,
      /cannot restore into .*no permission/,
      { uid: 65534 },
    );
  });

  it("damage in the source is 3, and nothing is stored", async () => {
    await flipBit(join(fixture.dataDir, "version-2/log.3a8"), 3_000);
    await expectFailure(
      ["backup", "--data-dir", fixture.dataDir, "--to", sink],
      3,
      /would not restore without loss: log\.3a8/,
    );
    expect(await filesBelow(sink)).toEqual([]);
    const { code, stdout } = await runCli(["inspect", fixture.dataDir]);
    expect(code).toBe(3);
    expect(stdout).toMatch(/\nall releases +refuses +LOG_BAD_CHECKSUM log\.3a8\n/);
  });

  it("a damaged newest snapshot is passed over, with a warning", async () => {
    await flipBit(join(fixture.dataDir, "version-2/snapshot.3e4"), 30_000);
    const { code, stderr } = await runCli(["backup", "--data-dir", fixture.dataDir, "--to", sink]);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/warning: .*snapshot\.3e4.*trying an older/),
    });
    expect(await filesBelow(sink)).toHaveLength(2);
  });

  it("damage in the sink is 3, named, for verify and restore", async () => {
    const { id, archive } = await backUp();
    const path = join(sink, archive.key);
    const good = await readFile(path);
    for (const [change, bytes] of Object.entries({
      truncated: good.subarray(0, 1000),
      flipped: good.map((byte, index) => (index === 5000 ? byte ^ 1 : byte)),
      replaced: Buffer.from("something else"),
    })) {
      await writeFile(path, bytes);
      await expectFailure(["restore", id, "--from", sink, "--to", join(folder, "new")], 3, /ERR_/);
      expect(await readdir(folder), change).not.toContain("new");
      const { code, value } = await json(["verify", "--all", "--from", sink]);
      expect({ code, value }, change).toMatchObject({
        code: 3,
        value: [{ id, ok: false, error: { message: expect.stringContaining(archive.key) } }],
      });
    }
    await rm(path);
    const verified = await runCli(["verify", id, "--from", sink]);
    expect(verified).toMatchObject({ code: 3, stdout: expect.stringContaining("is missing") });
  });

  it("with --all, what was found is told also when something else is in the way of the rest", async () => {
    const [first, second] = [await backUp(), await backUp()];
    await writeFile(join(sink, first.archive.key), "x");
    const path = join(sink, "zookeeper-backup/manifests", `${second.id}.json`);
    await writeFile(path, (await readFile(path, "utf8")).replace('"source": "zookeeper"', '"source": "other"'));
    const { code, value } = await json(["verify", "--all", "--from", sink]);
    expect({ code, value }).toMatchObject({
      code: 3,
      value: [
        { id: first.id, ok: false },
        { id: second.id, ok: false, error: { code: "ERR_CONFIG_INVALID" } },
      ],
    });
  });

  it("one damaged backup does not hide the others", async () => {
    const [first, second] = [await backUp(), await backUp()];
    await writeFile(join(sink, first.archive.key), "x");
    const { code, value } = await json(["verify", "--all", "--from", sink]);
    expect({ code, value }).toMatchObject({
      code: 3,
      value: [
        { id: first.id, ok: false },
        { id: second.id, ok: true },
      ],
    });
  });

  it("a manifest of an unknown version is 1, and listed as unreadable", async () => {
    const { id } = await backUp();
    const path = join(sink, "zookeeper-backup/manifests", `${id}.json`);
    await writeFile(path, (await readFile(path, "utf8")).replace('"formatVersion": 1', '"formatVersion": 99'));
    for (const args of [
      ["show", id],
      ["verify", id],
      ["restore", id, "--to", join(folder, "new")],
    ]) {
      const { code, stdout, stderr } = await runCli([...args, "--from", sink]);
      expect({ code, text: stdout + stderr }).toEqual({ code: 1, text: expect.stringMatching(/format version 99/) });
    }
    const listed = await runCli(["list", "--from", sink]);
    expect(listed).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/unreadable/),
      stderr: expect.stringMatching(/version 99/),
    });
    expect((await json(["list", "--from", sink])).value).toMatchObject([
      { id, error: { code: "ERR_MANIFEST_UNSUPPORTED" } },
    ]);
  });

  it("no such backup is 4, and a sink that is not there is 1", async () => {
    await expectFailure(["list", "--from", sink], 1, /ERR_SINK_NOT_FOUND/);
    await mkdir(sink);
    await expectFailure(["restore", "latest", "--from", sink, "--to", join(folder, "new")], 4, /no backup/);
    await expectFailure(["verify", "zookeeper-backup-20200101T000000000Z", "--from", sink], 4, /no backup/);
  });

  it("a restore target that is not empty is 2, and stays as it was", async () => {
    await backUp();
    await expectFailure(
      ["restore", "latest", "--from", sink, "--to", fixture.dataDir],
      2,
      /is not empty \(there is "version-2"\)/,
    );
    expect((await readdir(join(fixture.dataDir, "version-2"))).length).toBe(18);
  });

  it("a closed pipe does not end what was begun, and a full disk behind stdout is a failure", async () => {
    const shell = (command: string): string =>
      execFileSync("bash", ["-c", command], {
        cwd: new URL("../../..", import.meta.url),
        env: { PATH: process.env.PATH, COMMAND: `${process.execPath} apps/daemon/dist/main.js`, SINK: sink },
      }).toString();
    await flipBit(join(fixture.dataDir, "version-2/snapshot.3e4"), 30_000);
    expect(shell(`$COMMAND backup --data-dir "${fixture.dataDir}" --to "$SINK" 2>&1 >&- | true; echo done`)).toBe(
      "done\n",
    );
    expect(shell(`$COMMAND verify --all --from "$SINK" | true; echo \${PIPESTATUS[0]}`)).toBe("0\n");
    expect(await filesBelow(sink)).toHaveLength(2);
    expect(shell(`$COMMAND list --from "$SINK" > /dev/full; echo $?`)).toBe("1\n");
  });
});
