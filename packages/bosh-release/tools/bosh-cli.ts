import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const MODULE = "github.com/cloudfoundry/bosh-cli/v7";
const PINNED = fileURLToPath(new URL("bosh-cli/", import.meta.url));
const CACHE = fileURLToPath(new URL("../../../node_modules/.cache/bosh-cli/", import.meta.url));

/** There is no bosh CLI here, and none can be made. */
export class BoshCliMissingError extends Error {}

let found: Promise<string> | undefined;

/**
 * The path of a bosh CLI: what `BOSH_CLI` in the environment names, else `bosh` on the PATH, else the one that
 * `tools/bosh-cli/go.mod` pins, which Go builds into `node_modules/.cache` (two minutes, the first time).
 *
 * @throws BoshCliMissingError which says what was tried
 */
export function boshCli(): Promise<string> {
  found ??= findOrBuild();
  return found;
}

async function findOrBuild(): Promise<string> {
  const { BOSH_CLI = "" } = process.env;
  if (BOSH_CLI !== "") {
    if (works(BOSH_CLI)) return BOSH_CLI;
    throw new BoshCliMissingError(`BOSH_CLI is ${BOSH_CLI}, which is no bosh CLI 7 that runs here`);
  }
  if (works("bosh")) return "bosh";
  const version = new RegExp(`${MODULE} v(\\S+)`).exec(readFileSync(join(PINNED, "go.mod"), "utf8"))?.[1];
  const built = join(CACHE, `bosh-${version}`);
  if (existsSync(built)) return built;
  if (spawnSync("go", ["version"]).error !== undefined) {
    throw new BoshCliMissingError(
      `there is no bosh CLI, and no Go to build it with: put bosh ${version} or newer on the PATH, name it in BOSH_CLI, or install Go 1.25`,
    );
  }
  await mkdir(CACHE, { recursive: true });
  const temporary = `${built}.${randomUUID()}.tmp`;
  const flags = ["-buildvcs=false", "-mod=readonly", `-ldflags=-s -w -X ${MODULE}/cmd.VersionLabel=${version}`];
  try {
    const { code, output } = await capture("go", ["build", ...flags, "-o", temporary, MODULE], PINNED);
    if (code !== 0) {
      throw new BoshCliMissingError(
        `there is no bosh CLI, and Go cannot build ${MODULE} ${version}: put bosh on the PATH, or name it in BOSH_CLI\n${output}`,
      );
    }
    await rename(temporary, built);
  } finally {
    await rm(temporary, { force: true });
  }
  return built;
}

/** Not the gem of the same name, which the CLI of version 1 was. */
function works(command: string): boolean {
  const { status, stdout } = spawnSync(command, ["--version"], { encoding: "utf8" });
  return status === 0 && /^version (?:[7-9]|\d\d|\[DEV BUILD\])/.test(stdout);
}

function capture(command: string, args: readonly string[], cwd: string): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}
