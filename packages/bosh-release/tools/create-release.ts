// npm run bosh:release: makes dist/zookeeper-hybris-VERSION.tgz of the built workspace. --version sets another version.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { sha256OfFile, UnreachableError } from "@zk-backyp/testbed";
import { RELEASE } from "./blobs.ts";
import { BoshCliMissingError, boshCli } from "./bosh-cli.ts";
import { bundle } from "./bundle.ts";
import { fetchBlobs } from "./fetch-blobs.ts";
import { releaseVersion } from "./release-version.ts";

/** The CLI does not take what is in the release directory. */
class RefusedError extends Error {}

/** A release as it can be uploaded. */
export interface CreatedRelease {
  readonly version: string;
  readonly tarball: string;
  /** Of the tarball, whose bytes are others each time that it is made. */
  readonly sha256: string;
}

/**
 * Makes a release of this release directory: fetches its blobs, bundles the command, and has the bosh CLI put it all into
 * `dist/zookeeper-hybris-VERSION.tgz`. Needs the workspace built.
 *
 * @throws BoshCliMissingError if there is no bosh CLI, and none can be made
 * @throws UnreachableError if a blob cannot be had
 * @throws Error with what the CLI says, if it refuses
 */
export async function createRelease(
  version: string = releaseVersion(join(RELEASE, "..", "..")),
): Promise<CreatedRelease> {
  const bosh = await boshCli();
  await fetchBlobs();
  await bundle();
  const tarball = join(RELEASE, "dist", `zookeeper-hybris-${version}.tgz`);
  await mkdir(join(RELEASE, "dist"), { recursive: true });
  // The CLI keeps what it has built before in the home directory, and lists it here. Each time it would be 100 MB more.
  for (const name of [".dev_builds", "dev_releases"]) await rm(join(RELEASE, name), { recursive: true, force: true });
  const home = await mkdtemp(join(tmpdir(), "zk-backyp-bosh-home-"));
  try {
    const gitConfig = process.env.GIT_CONFIG_GLOBAL ?? join(homedir(), ".gitconfig");
    const { status, stdout, stderr, error } = spawnSync(
      bosh,
      // Forced: what is not committed is said in the release's manifest.
      ["create-release", "--dir", RELEASE, "--force", "--version", version, "--tarball", tarball, "--sha2"],
      {
        encoding: "utf8",
        env: {
          ...process.env,
          HOME: home,
          BOSH_NON_INTERACTIVE: "true",
          ...(existsSync(gitConfig) ? { GIT_CONFIG_GLOBAL: gitConfig } : {}),
        },
      },
    );
    if (status !== 0) throw new RefusedError(`bosh create-release fails: ${error?.message ?? `${stdout}${stderr}`}`);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
  return { version, tarball, sha256: (await sha256OfFile(tarball)) ?? "" };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { version } = parseArgs({ options: { version: { type: "string" } } }).values;
  try {
    const created = await createRelease(version);
    console.log(`${created.tarball}\nversion ${created.version}\nsha256:${created.sha256}`);
  } catch (error) {
    const said = [BoshCliMissingError, UnreachableError, RefusedError].some((type) => error instanceof type);
    if (!said) throw error;
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
