// Proves on the oldest and the newest Node that the built command backs up, verifies and restores a real data directory.
// Needs the workspace built. Runs on Node 20.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { main, root } from "./setup.mjs";

const COMMAND = join(root, "apps", "daemon", "dist", "main.js");
const FIXTURE = "zookeeper-3.8.0-rich";
const NODES = process.arch === "x64" ? ["22.23.3", "26.10.0"] : ["22", "26"];

await main(() => {
  const counts = { passed: 0, failed: 0 };
  for (const version of NODES) {
    const directory = mkdtempSync(join(tmpdir(), "zk-backyp-smoke-"));
    try {
      for (const [name, problem] of smoke(version, directory)) {
        console.log(`${problem === null ? "ok  " : "FAIL"} Node ${version}: ${name}`);
        if (problem === null) {
          counts.passed += 1;
        } else {
          counts.failed += 1;
          console.log(problem.trimEnd().replace(/^/gm, "     "));
          break;
        }
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed === 0 ? 0 : 1;
});

/** Yields each step's name with what is wrong, or null. Steps build on one another. */
function* smoke(version, directory) {
  const node = `node-${process.platform}-${process.arch}`;
  const install = ["install", "--no-save", "--no-audit", "--no-fund", "--prefix", directory, `${node}@${version}`];
  yield ["is installed", problemOf(spawn("npm", install))];

  const binary = join(directory, "node_modules", node, "bin", "node");
  const cli = (...args) => spawn(binary, [COMMAND, ...args]);
  yield [
    "unpacks the fixture",
    problemOf(spawn("tar", ["-xzSf", join(root, "fixtures", `${FIXTURE}.tar.gz`), "-C", directory])),
  ];
  const data = join(directory, FIXTURE);
  const store = join(directory, "store");
  const restored = join(directory, "restored");

  const inspected = cli("inspect", data, "--json");
  yield ["inspect", problemOf(inspected) ?? (isJson(inspected.stdout) ? null : `not JSON: ${inspected.stdout}`)];

  const backedUp = cli("backup", "--data-dir", data, "--to", store, "--json");
  const id = isJson(backedUp.stdout) ? JSON.parse(backedUp.stdout).id : undefined;
  yield ["backup", problemOf(backedUp) ?? (typeof id === "string" ? null : `no id in: ${backedUp.stdout}`)];

  yield ["verify", problemOf(cli("verify", id, "--from", store))];
  yield ["restore", problemOf(cli("restore", id, "--from", store, "--to", restored)) ?? differences(data, restored)];

  const archive = readdirSync(store, { recursive: true }).find((name) => name.endsWith(`${id}.tar.gz`));
  yield [
    "the archive opens with tar",
    archive === undefined ? `no ${id}.tar.gz in the store` : problemOf(spawn("tar", ["-tzf", join(store, archive)])),
  ];

  const config = join(directory, "zk-backyp.config.json");
  const series = { source: { use: "zookeeper", dataDir: data }, sink: { use: "fs", path: store } };
  writeFileSync(config, JSON.stringify({ http: { port: 0 }, series: { scheduled: series } }));
  // As a service manager does: SIGTERM after a while, which it has to take for a good end.
  const daemon = ["--preserve-status", "--signal=TERM", "10", binary, COMMAND, "daemon", "--config", config];
  yield ["the daemon ends when it is told to", problemOf(spawn("timeout", daemon))];
  yield ["what the daemon has stored", problemOf(cli("verify", "latest", "--config", config))];
}

// A backup holds what restores, not every old file: each file that it holds must be the original, and one of them a
// snapshot.
function differences(original, restored) {
  const files = existsSync(join(restored, "version-2")) ? readdirSync(join(restored, "version-2")) : [];
  if (!files.some((name) => name.startsWith("snapshot.")))
    return `no snapshot among the restored files: ${files.join(" ")}`;
  for (const name of files.filter((file) => file.startsWith("snapshot."))) {
    const before = join(original, "version-2", name);
    if (!existsSync(before)) return `${name} was restored, and is not in the original`;
    if (sha256(before) !== sha256(join(restored, "version-2", name))) return `${name} differs from the original`;
  }
  return null;
}

function sha256(path) {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function problemOf({ status, signal, error, stdout, stderr }) {
  if (status === 0) return null;
  return `${error?.message ?? signal ?? `exit code ${status}`}\n${stdout ?? ""}${stderr ?? ""}`;
}

function spawn(command, args) {
  return spawnSync(command, args, { encoding: "utf8", timeout: 300_000 });
}
