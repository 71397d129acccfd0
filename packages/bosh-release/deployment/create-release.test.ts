import { execFile, execFileSync } from "node:child_process";
import { cp, lstat, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { requireBoshCli } from "../testing/bosh-cli.ts";
import { requirePackages } from "../testing/packaging.ts";
import { RELEASE, readBlobs } from "../tools/blobs.ts";
import { boshCli } from "../tools/bosh-cli.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

interface Part {
  readonly name: string;
  readonly fingerprint: string;
  readonly packages?: readonly string[];
}

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly commit_hash: string;
  readonly uncommitted_changes: boolean;
  readonly jobs: readonly Part[];
  readonly packages: readonly Part[];
  readonly license: { readonly fingerprint: string };
}

/** A checkout of the same commit, in which a release was made. */
interface Made {
  readonly tarball: string;
  readonly manifest: Manifest;
  /** What git has to say of the checkout afterwards. */
  readonly changes: string;
}

const git = (folder: string, ...args: readonly string[]): string =>
  execFileSync("git", ["-C", folder, "-c", "user.name=test", "-c", "user.email=test@example.com", ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });

describe.skipIf(!(await requirePackages()) || !(await requireBoshCli()))("a release of a clean clone", () => {
  let folder: string;
  let made: readonly [Made, Made];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-release-"));
    const committed = join(folder, "committed");
    await commitTree(committed);
    made = [await make(committed, join(folder, "one")), await make(committed, join(folder, "another"))];
  }, 900_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** The working tree as it is, as a commit of its own. */
  async function commitTree(to: string): Promise<void> {
    for (const path of git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")) {
      // One that was deleted is still in the index.
      if (path === "" || !(await lstat(join(ROOT, path)).catch(() => null))) continue;
      await mkdir(dirname(join(to, path)), { recursive: true });
      await cp(join(ROOT, path), join(to, path), { verbatimSymlinks: true });
    }
    git(to, "init", "-q");
    git(to, "add", "-A");
    git(to, "-c", "commit.gpgsign=false", "commit", "-qm", "The working tree");
  }

  async function make(repository: string, clone: string): Promise<Made> {
    git(folder, "clone", "-q", repository, clone);
    // The blobs are the same bytes wherever they come from; this saves fetching 100 MB more.
    await cp(join(RELEASE, "blobs"), join(clone, "node_modules/.cache/bosh-blobs"), { recursive: true });
    await promisify(execFile)("npm", ["run", "bosh:release"], {
      cwd: clone,
      env: { ...process.env, BOSH_CLI: await boshCli() },
      maxBuffer: 1 << 26,
    });
    const dist = join(clone, "packages/bosh-release/dist");
    const [name = ""] = await readdir(dist);
    const tarball = join(dist, name);
    const manifest = parse(execFileSync("tar", ["-xzOf", tarball, "release.MF"], { encoding: "utf8" }));
    return { tarball, manifest, changes: git(clone, "status", "--porcelain") };
  }

  const fingerprints = ({ jobs, packages, license }: Manifest): Record<string, string> =>
    Object.fromEntries([
      ...jobs.map(({ name, fingerprint }) => [`job ${name}`, fingerprint]),
      ...packages.map(({ name, fingerprint }) => [`package ${name}`, fingerprint]),
      ["license", license.fingerprint],
    ]);

  it("is zookeeper-hybris, of that commit, and changes nothing that git knows", () => {
    const [{ tarball, manifest, changes }] = made;
    const commit = git(join(folder, "committed"), "rev-parse", "HEAD").trim();
    expect(manifest).toMatchObject({ name: "zookeeper-hybris", uncommitted_changes: false });
    expect(commit.startsWith(manifest.commit_hash)).toBe(true);
    expect(tarball).toMatch(new RegExp(`/zookeeper-hybris-${manifest.version.replaceAll(/[+.]/g, "\\$&")}\\.tgz$`));
    expect(changes).toBe("");
  });

  it("has every job and package of the tree, and the packages that each job names", async () => {
    const { jobs, packages } = made[0].manifest;
    const release = join(folder, "one", "packages/bosh-release");
    expect(jobs.map(({ name }) => name).sort()).toEqual((await readdir(join(release, "jobs"))).sort());
    expect(packages.map(({ name }) => name).sort()).toEqual((await readdir(join(release, "packages"))).sort());
    for (const job of jobs) {
      const spec = parse(await readFile(join(release, "jobs", job.name, "spec"), "utf8"));
      expect([...(job.packages ?? [])].sort(), job.name).toEqual([...(spec.packages ?? [])].sort());
    }
  });

  it("has the same version and fingerprints in another clone", () => {
    const [one, another] = made;
    for (const fingerprint of Object.values(fingerprints(one.manifest))) expect(fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(fingerprints(another.manifest)).toEqual(fingerprints(one.manifest));
    expect(another.manifest.version).toBe(one.manifest.version);
  });

  it("carries every blob that its packages are made of, and the whole command", async () => {
    const unpacked = join(folder, "unpacked");
    await mkdir(unpacked);
    execFileSync("tar", ["-xzf", made[0].tarball, "-C", unpacked]);
    const files: string[] = [];
    for (const name of await readdir(join(unpacked, "packages"))) {
      const list = execFileSync("tar", ["-tzf", join(unpacked, "packages", name)], { encoding: "utf8" });
      files.push(...list.split("\n").map((path) => path.replace(/^\.\//, "")));
    }
    const blobs = readBlobs(join(folder, "one", "packages/bosh-release")).map(({ path }) => path);
    const bundle = ["zk-backyp.mjs", "start-node.mjs", "LICENSES.txt", "page/status.html"];
    expect(files).toEqual(expect.arrayContaining([...blobs, ...bundle.map((name) => `zk-backyp/dist/${name}`)]));
  });
});
