import { execFile } from "node:child_process";
import { cp, glob, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { requirePart, UnreachableError } from "@zk-backyp/testbed";
import { parse } from "yaml";
import { RELEASE } from "../tools/blobs.ts";
import { bundle } from "../tools/bundle.ts";
import { fetchBlobs } from "../tools/fetch-blobs.ts";

// Where an agent compiles, without network: what the machine has in /var is out of sight.
const COMPILE = `
mount -t tmpfs tmpfs /var
mkdir -p /var/vcap/packages "/var/vcap/data/compile/$name"
mount --bind "$into" /var/vcap/packages
mount --bind "$source" "/var/vcap/data/compile/$name"
cd "/var/vcap/data/compile/$name"
mkdir "/var/vcap/packages/$name"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin BOSH_COMPILE_TARGET="$PWD" \
  BOSH_INSTALL_TARGET="/var/vcap/packages/$name" BOSH_PACKAGE_NAME="$name" BOSH_PACKAGE_VERSION=0 bash -x packaging
`;

/** What is missing here for compiling packages, in words; `null` if nothing is. */
function packagingMissing(): string | null {
  if (process.platform !== "linux" || process.arch !== "x64") return "Linux on x64";
  return process.getuid?.() === 0 ? null : "root, for mount namespaces";
}

/**
 * Whether packages can be compiled here; fetches the blobs. For `describe.skipIf(!(await requirePackages()))`. While the
 * places that the blobs come from are out of reach this is false, with a warning, even under `CI`: nobody can install
 * them.
 *
 * @throws Error under `CI`, if this is not root
 */
export async function requirePackages(): Promise<boolean> {
  if (!requirePart(packagingMissing())) return false;
  try {
    await fetchBlobs();
    return true;
  } catch (error) {
    if (!(error instanceof UnreachableError)) throw error;
    console.warn(`SKIPPED TESTS: what the BOSH release is made of is missing: ${error.message}`);
    return false;
  }
}

/**
 * Compiles every package of the release as a BOSH agent does: from the files that its spec names and nothing else, each
 * in mount and network namespaces of its own, with an empty `/var/vcap` and an empty environment. Needs root, the blobs
 * and the workspace built; makes the bundle of the command anew.
 *
 * @param into becomes what `/var/vcap/packages` is on a VM: `into/node-24`, `into/zookeeper`, ...; is made if it is
 *   missing
 * @throws Error with the output of the packaging script that has failed
 */
export async function compilePackages(into: string): Promise<void> {
  await fetchBlobs();
  await mkdir(into, { recursive: true });
  const stage = await mkdtemp(join(tmpdir(), "zk-backyp-packages-"));
  try {
    // Not the bundle that lies there, which another process may be writing.
    const src = join(stage, "src");
    const old = join(RELEASE, "src", "zk-backyp", "dist");
    await cp(join(RELEASE, "src"), src, { recursive: true, filter: (path) => path !== old });
    await bundle(join(src, "zk-backyp", "dist"));
    for (const name of await readdir(join(RELEASE, "packages"))) {
      const source = join(stage, name);
      await collectPackage(name, source, { src, blobs: join(RELEASE, "blobs") });
      await run("unshare", ["-m", "-n", "bash", "-euc", COMPILE], { name, into, source });
    }
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

async function collectPackage(
  name: string,
  into: string,
  { src, blobs }: { readonly src: string; readonly blobs: string },
): Promise<void> {
  const folder = join(RELEASE, "packages", name);
  const { files = [], dependencies = [] } = parse(await readFile(join(folder, "spec"), "utf8"));
  if (dependencies.length > 0) throw new Error(`${name} needs ${dependencies}: order the packages by that first`);
  for (const pattern of files as string[]) {
    let found = 0;
    // As `bosh create-release`: what is in src wins.
    for (const place of [blobs, src]) {
      for await (const entry of glob(pattern, { cwd: place, withFileTypes: true })) {
        if (entry.isDirectory()) continue;
        const path = join(entry.parentPath, entry.name);
        const to = join(into, path.slice(place.length));
        await mkdir(dirname(to), { recursive: true });
        await cp(path, to);
        found += 1;
      }
    }
    if (found === 0) throw new Error(`nothing is ${pattern}, which the package ${name} names`);
  }
  await mkdir(into, { recursive: true });
  await cp(join(folder, "packaging"), join(into, "packaging"));
}

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { env: { ...process.env, ...env }, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (error === null) resolve();
      else reject(new Error(`the package ${env.name} does not compile:\n${stdout}${stderr}`));
    });
  });
}
