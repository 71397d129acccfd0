// The demo itself, on the Node that the product needs. See demo.mjs.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs, styleText } from "node:util";
import * as testbed from "../packages/testbed/dist/index.js";
import { root } from "./setup.mjs";

const { values: options } = parseArgs({
  options: { s3: { type: "boolean", default: false }, daemon: { type: "boolean", default: false } },
});
/** Nobody looks at a demo for longer, and nothing of it stays. */
const DAEMON_MINUTES = 10;
const folder = await mkdtemp(join(tmpdir(), "zk-backyp-demo-"));
const began = performance.now();
/** What has to be stopped, last started first. */
const running = [];
const empty = Buffer.alloc(0);
let steps = 0;
let cleared;

// A Ctrl-C comes more than once: from the terminal, and from npm.
for (const name of ["SIGINT", "SIGTERM"]) process.on(name, () => void clearUp().then(() => process.exit(130)));
try {
  await demo();
} catch (error) {
  console.error(`\n${styleText("red", "The demo failed:")} ${error.message}`);
  process.exitCode = 1;
} finally {
  await clearUp();
}

async function demo() {
  const live = await startLive();
  const store = await openStore();
  const source = live.server === null ? ["--data-dir", live.dataDir] : ["--zoo-cfg", live.server.configFile];

  step("Back it up, while it runs: checked byte by byte on its way into the archive");
  await zkBackyp(store.env, "backup", ...source, "--to", store.address);

  step("What is there?");
  await zkBackyp(store.env, "list", "--from", store.address);

  step("Look inside, without a server");
  await zkBackyp(store.env, "tree", "latest", "/", "--depth", "1", "--from", store.address);

  step("Read it back: decompress, compare every hash, replay every record, compare with ZooKeeper's own digests");
  await zkBackyp(store.env, "verify", "latest", "--from", store.address);

  step("Restore it to a new directory");
  const restored = join(folder, "restored");
  await zkBackyp(store.env, "restore", "latest", "--from", store.address, "--to", restored);
  await printFiles(restored);

  if (live.server === null) {
    step("What would a server make of it?");
    await zkBackyp({}, "inspect", restored);
  } else {
    step("Start another ZooKeeper from it, and compare");
    const second = await start("the restored server", join(folder, "second"), { dataDir: restored });
    await compare(await readTree(second), live.tree);
  }
  if (options.daemon) await showDaemon(live.dataDir);
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(`\n${styleText("green", "Done")} in ${seconds} s. Servers are stopped, and ${folder} is removed.`);
}

/** The daemon with its status page, until it is interrupted. */
async function showDaemon(dataDir) {
  step("Leave it to the daemon: a backup every ten seconds, until Ctrl-C");
  const config = join(folder, "zk-backyp.config.json");
  const demo = {
    source: { use: "zookeeper", dataDir },
    sink: { use: "fs", path: "scheduled" },
    schedule: { cron: "*/10 * * * * *" },
    retention: { keepLast: 20 },
  };
  await writeFile(config, JSON.stringify({ series: { demo } }));
  const ended = zkBackyp({}, "daemon", "--config", config);
  await Promise.race([ended, sleep(DAEMON_MINUTES * 60_000, undefined, { ref: false })]);
}

/** A real server with something in it, or a directory that one left. */
async function startLive() {
  const missing = testbed.zooKeeperMissing();
  if (missing !== null) {
    step("No ZooKeeper here: using a data directory that a real 3.8.0 server wrote");
    note(missing);
    const { dataDir } = await testbed.unpackFixture("zookeeper-3.8.0-rich", folder);
    return { server: null, dataDir };
  }
  step("Start a throw-away ZooKeeper and fill it");
  const server = await start("ZooKeeper", join(folder, "first"), {});
  const client = await testbed.connectZooKeeper(server.connectString);
  const count = await testbed.writeSampleData(client);
  await client.close();
  note(`${count} znodes, as Kafka, ClickHouse and an application would have them`);
  return { server, dataDir: server.dataDir, tree: await readTree(server) };
}

async function start(what, directory, more) {
  const server = await testbed.startZooKeeper({ directory, ...more });
  running.push(() => server.kill());
  const [, version] = /version: ([^,-]+)/.exec(await server.fourLetterWord("srvr")) ?? [];
  note(`${what}: ${version}, on ${server.connectString}`);
  return server;
}

/** Where the backups go: a directory, or a bucket of an S3 server that is started for it. */
async function openStore() {
  if (!options.s3) return { address: join(folder, "backups"), env: {} };
  const missing = testbed.cephRgwMissing();
  if (missing !== null) throw new Error(`there is no S3 server to start here: ${missing}`);
  const s3 = await testbed.startCephRgw({ directory: join(folder, "s3") });
  running.push(() => s3.stop());
  await s3.createBucket("demo");
  note(`S3: Ceph RGW, on ${s3.endpoint}`);
  return {
    address: `s3://demo/zookeeper?endpoint=${s3.endpoint}&pathStyle=true`,
    env: { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey },
  };
}

async function readTree(server) {
  const client = await testbed.connectZooKeeper(server.connectString);
  const tree = await client.readTree();
  await client.close();
  return tree;
}

async function compare(found, expected) {
  const same = (a, b) =>
    b !== undefined && a.mzxid === b.mzxid && Buffer.compare(a.data ?? empty, b.data ?? empty) === 0;
  const equal = [...expected].filter(([path, znode]) => same(znode, found.get(path))).length;
  const branches = Map.groupBy(
    [...found.keys()].filter((path) => path !== "/"),
    (path) => path.split("/")[1],
  );
  for (const [name, paths] of branches) console.log(`  /${name.padEnd(18)} ${String(paths.length).padStart(4)} znodes`);
  if (equal !== expected.size || found.size !== expected.size) {
    throw new Error(`only ${equal} of ${expected.size} znodes came back as they were, and ${found.size} in all`);
  }
  console.log(`\n  ${styleText("green", "✔")} all ${equal} znodes are as they were: data, versions and zxids`);
}

async function printFiles(directory) {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  console.log(`\n  ${directory}`);
  for (const file of files.sort()) console.log(`    ${relative(directory, file)}`);
}

/** Shows a command as a person would type it, and runs it. */
function zkBackyp(env, ...args) {
  console.log(`\n${styleText("bold", `$ zk-backyp ${args.map(quoted).join(" ")}`)}`);
  return new Promise((resolve, reject) => {
    const child = spawn(join(root, "bin", "zk-backyp"), args, {
      stdio: "inherit",
      env: { ...process.env, ...env, NODE_NO_WARNINGS: "1" },
    });
    running.push(async () => {
      if (child.exitCode !== null) return;
      child.kill();
      await once(child, "close");
    });
    child.on("error", reject);
    child.on("close", (code) =>
      code === 0 ? resolve() : reject(new Error(`zk-backyp ${args[0]} ended with ${code}`)),
    );
  });
}

function quoted(word) {
  return /[^\w./:=-]/.test(word) ? `'${word}'` : word;
}

function step(text) {
  steps += 1;
  console.log(`\n${styleText(["cyan", "bold"], `${steps}  ${text}`)}`);
}

function note(text) {
  console.log(`  ${styleText("dim", text)}`);
}

/** Once, however often it is asked for. */
async function clearUp() {
  cleared ??= stopAndRemove();
  await cleared;
}

async function stopAndRemove() {
  for (const stop of running.splice(0).reverse()) await stop();
  await rm(folder, { recursive: true, force: true });
}
