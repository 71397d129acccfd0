import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Fixture, unpackFixture } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startWebdavServer, type WebdavServer } from "../../../examples/custom-sink/test/webdav-server.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PUBLISHED = ["core", "zookeeper-files", "source-zookeeper", "sink-fs", "sink-s3", "daemon"];

interface PackageFile {
  readonly name: string;
  readonly version: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly packageManager?: string;
}

let folder: string;
/** Where everything is installed, as a user would: nothing of the workspace is above it. */
let home: string;
let fixture: Fixture;
let server: WebdavServer;
/** By package name, the path of the packed package. */
const tarballs = new Map<string, string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-installed-"));
  fixture = await unpackFixture("zookeeper-3.8.0-rich", folder);
  server = await startWebdavServer(await mkdtemp(join(folder, "webdav-")));
  await pack();
  home = await mkdtemp(join(folder, "home-"));
  await copyExample("embed-core");
  await copyExample("custom-sink");
  const dependencies = Object.fromEntries([...tarballs].map(([name, path]) => [name, `file:${path}`]));
  const sink = { "zk-backyp-sink-webdav": "file:custom-sink" };
  await writeFile(
    join(home, "package.json"),
    JSON.stringify({ private: true, dependencies: { ...dependencies, ...sink } }),
  );
  // --install-links copies the example in as a package; without it, npm would only link to its folder.
  await execute("npm", ["install", "--install-links", "--prefer-offline", "--no-audit", "--no-fund"], home);
}, 180_000);

afterAll(async () => {
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function pack(): Promise<void> {
  const { packageManager } = await packageFile(ROOT);
  const filters = PUBLISHED.flatMap((name) => ["--filter", `@zk-backyp/${name}`]);
  const pnpm = ["--yes", "--prefer-offline", packageManager ?? "pnpm"];
  await execute("npx", [...pnpm, "--recursive", ...filters, "pack", "--pack-destination", folder], ROOT);
  for (const file of await readdir(folder)) {
    const name = /^zk-backyp-(.+)-\d+\.\d+\.\d+.*\.tgz$/.exec(file)?.[1];
    if (name !== undefined) tarballs.set(`@zk-backyp/${name}`, join(folder, file));
  }
}

/** Copies an example as it lies in the repository, with the packed packages instead of the workspace's. */
async function copyExample(name: string): Promise<void> {
  const from = join(ROOT, "examples", name);
  const to = join(home, name);
  await cp(from, to, { recursive: true, filter: (path) => !path.includes("node_modules") });
  const description = await packageFile(from);
  const dependencies = Object.entries(description.dependencies ?? {}).map(([dependency, range]) => {
    const tarball = tarballs.get(dependency);
    return [dependency, tarball === undefined ? range : `file:${tarball}`];
  });
  const changed = { ...description, dependencies: Object.fromEntries(dependencies), devDependencies: {} };
  await writeFile(join(to, "package.json"), JSON.stringify(changed));
}

async function packageFile(directory: string): Promise<PackageFile> {
  return JSON.parse(await readFile(join(directory, "package.json"), "utf8")) as PackageFile;
}

/** Runs a command on this Node, and returns what it printed. Rejects when it fails. */
async function execute(command: string, args: readonly string[], cwd: string): Promise<string> {
  const env = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) };
  const { stdout } = await promisify(execFile)(command, args, { cwd, env, maxBuffer: 64 * 1024 * 1024 });
  return stdout;
}

const zkBackyp = (...args: string[]): Promise<string> => execute("npx", ["--no-install", "zk-backyp", ...args], home);

describe("the packages, packed and installed away from the workspace", () => {
  it("are all there, without their tests", async () => {
    expect([...tarballs.keys()].sort()).toEqual(PUBLISHED.map((name) => `@zk-backyp/${name}`).sort());
    for (const path of tarballs.values()) {
      const files = (await execute("tar", ["tzf", path], folder)).trimEnd().split("\n");
      expect(files).toEqual(expect.arrayContaining(["package/package.json", "package/README.md", "package/LICENSE"]));
      expect(files.some((file) => file.startsWith("package/dist/"))).toBe(true);
      const unwanted = /\.test\.|\/(src|test|campaign|fixtures)\/|tsbuildinfo|\.ts$(?<!\.d\.ts)/;
      expect(
        files.filter((file) => unwanted.test(file)),
        path,
      ).toEqual([]);
    }
  });

  it("know each other by versions that a registry has", async () => {
    for (const name of tarballs.keys()) {
      const { version, dependencies = {} } = await packageFile(join(home, "node_modules", name));
      for (const [dependency, range] of Object.entries(dependencies)) {
        expect(range).toMatch(dependency.startsWith("@zk-backyp/") ? `^${version}` : /^\d+\.\d+\.\d+$/);
      }
    }
    // One copy of core for all: npm found every range met by what is installed.
    const cores = (await execute("npm", ["ls", "@zk-backyp/core", "--all", "--parseable"], home)).trimEnd().split("\n");
    expect(cores).toEqual([join(home, "node_modules/@zk-backyp/core")]);
  });

  it("can be embedded: the example backs a data directory up", async () => {
    const output = await execute(
      process.execPath,
      ["back-up.ts", fixture.dataDir, "backups"],
      join(home, "embed-core"),
    );
    expect(output).toMatch(/^begun {3}(\S+)\nstored {2}zookeeper\/archives\/\1\.tar\.gz\nholds {3}.* 0x3ea\n$/);
    const listed = await zkBackyp("list", "--from", "embed-core/backups", "--prefix", "zookeeper", "--json");
    expect(JSON.parse(listed)).toMatchObject([{ range: { upTo: "0x3ea" }, verified: true }]);
  });

  it("find a sink of somebody else by its name: backup, verify, restore and inspect through WebDAV", async () => {
    const address = `${server.url.replace("http:", "webdav:")}/?tls=false`;
    const taken = await zkBackyp("backup", "--data-dir", fixture.dataDir, "--to", address, "--json");
    const { id } = JSON.parse(taken) as { id: string };
    expect(JSON.parse(await zkBackyp("list", "--from", address, "--json"))).toMatchObject([{ id }]);
    expect(JSON.parse(await zkBackyp("verify", "--all", "--from", address, "--json"))).toEqual([{ id, ok: true }]);
    await zkBackyp("restore", "latest", "--from", address, "--to", "restored");
    expect(JSON.parse(await zkBackyp("inspect", "restored", "--json"))).toMatchObject({
      recoverable: { zxid: "0x3ea" },
      tree: { nodes: 993, snapshotDigest: "matched" },
      problems: [{ severity: "info", code: "TTL_NODES_VANISH" }],
    });
  });
});
