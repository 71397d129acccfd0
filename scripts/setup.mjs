// What every other script starts with: the packages installed, and a Node that is new enough. Runs on Node 20 with
// nothing installed, so it imports nothing but Node's own modules.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

// 11 does not run on Node 20.
const PNPM = "pnpm@10.34.9";
const STAMP = join(root, "node_modules", ".setup-stamp");
const WANTED_NODE = "^22.18 || >=24";

/** A message for the person at the terminal: printed without a stack trace by {@link main}. */
export class SetupError extends Error {}

/** Runs a script: prints a SetupError as its message, exits with the number that `script` returns (0 if none). */
export async function main(script) {
  try {
    process.exitCode = (await script(process.argv.slice(2))) ?? 0;
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}

let node;

/**
 * Installs the workspace's packages if they are not those of the lockfile, and finds the Node to use: this one if it is
 * new enough, else the one that comes as a package. Says nothing if all is well. Returns the path of that Node.
 */
export async function setUp() {
  if (node !== undefined) return node;
  const digest = digestOfManifests();
  if (!existsSync(STAMP) || readFileSync(STAMP, "utf8") !== digest) {
    const { code, output } = await capture("npx", pnpm("install", "--frozen-lockfile"), { CI: "true" });
    if (code !== 0) {
      const hint = output.includes("ERR_PNPM_OUTDATED_LOCKFILE")
        ? `\nA package.json was changed without the lockfile: run \`npx --yes ${PNPM} install\`.`
        : "\nInstalling needs npm's registry (or a mirror of it, see `npm config get registry`).";
      throw new SetupError(`${output}${hint}`);
    }
    writeFileSync(STAMP, digest);
  }
  node = findNode();
  return node;
}

/** Runs a command on the right Node, with the workspace's tools on its PATH and this terminal. Returns its exit code. */
export async function run(command, args, { env = {}, cwd = root } = {}) {
  await setUp();
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: "inherit", env: environment(env) });
    // A Ctrl-C reaches the child from the terminal; what is sent to this process alone has to be passed on.
    const forward = (signal) => (signal === "SIGINT" && process.stdin.isTTY ? undefined : child.kill(signal));
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, forward);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      for (const name of signals) process.off(name, forward);
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

/** Runs a command the same way, but quietly. Returns its exit code and its output. */
export async function capture(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], env: environment(env) });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk) => {
        output += chunk;
      });
    }
    child.on("error", (error) => resolve({ code: 127, output: `cannot run ${command}: ${error.message}\n` }));
    child.on("close", (code, signal) => resolve({ code: code ?? 128 + constants.signals[signal], output }));
  });
}

/** The arguments for `npx` that run a tool of the workspace with pnpm on its PATH. */
export function pnpm(...args) {
  // Once fetched, npx asks nobody about it again.
  return ["--yes", "--prefer-offline", PNPM, ...args];
}

/** The workspace's packages that are published: name and directory. */
export function publishablePackages() {
  return packageFiles()
    .map((path) => ({ directory: dirname(path), manifest: JSON.parse(readFileSync(path, "utf8")) }))
    .filter(({ manifest }) => manifest.private !== true)
    .map(({ directory, manifest }) => ({ directory, name: manifest.name }));
}

function environment(env) {
  const path = [join(root, "node_modules", ".bin"), process.env.PATH];
  if (node !== undefined) path.unshift(dirname(node));
  // npm complains about every setting that is pnpm's.
  return { ...process.env, npm_config_loglevel: "error", PATH: path.join(delimiter), ...env };
}

/** The package.json of the workspace and of each of its packages. */
export function packageFiles() {
  const workspaces = ["packages", "apps", "examples"]
    .map((name) => join(root, name))
    .filter((path) => existsSync(path));
  const directories = workspaces.flatMap((path) => readdirSync(path).map((name) => join(path, name)));
  return [root, ...directories].map((directory) => join(directory, "package.json")).filter((path) => existsSync(path));
}

// By content: a checkout sets every file's time anew.
function digestOfManifests() {
  const hash = createHash("sha256").update(PNPM);
  for (const path of [...packageFiles(), join(root, "pnpm-lock.yaml"), join(root, "pnpm-workspace.yaml")]) {
    hash.update(path.slice(root.length)).update(readFileSync(path));
  }
  return hash.digest("hex");
}

function findNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major >= 24 || (major === 22 && minor >= 18)) return process.execPath;
  const packaged = join(root, "node_modules", `node-linux-${process.arch}`, "bin", "node");
  if (process.platform === "linux" && spawnSync(packaged, ["--version"]).status === 0) return packaged;
  throw new SetupError(
    `This is Node ${process.versions.node}; zk-backyp needs ${WANTED_NODE}, and there is none to install from npm for ` +
      `${process.platform} on ${process.arch}. Install Node 24 and run this again.`,
  );
}
