// How long a node is down for a backup of its files: by a bare stop and start, by a cold backup, and by `tar` between a
// stop and a start. In turns, on one server in use, seen by a client that asks every 10 ms. `--full`: with 2 GB too.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { cpus } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openSeries } from "../packages/core/dist/index.js";
import { createFsSink } from "../packages/sink-fs/dist/index.js";
import { createZooKeeperSource } from "../packages/source-zookeeper/dist/index.js";
import { connectZooKeeper, startZooKeeper, writeLargeData, zooKeeperMissing } from "../packages/testbed/dist/index.js";
import { median } from "./measure.mjs";

/** `tar` takes so long that fewer rounds of it tell enough. */
const SIZES = [
  { bytes: 100e6, rounds: 5, tarRounds: 2 },
  ...(process.argv.includes("--full") ? [{ bytes: 2e9, rounds: 3, tarRounds: 1 }] : []),
];
const POLL_MS = 10;
/** By how much a client may see a server down for longer than its backup says, in seconds. */
const TOLERANCE = 0.1;
const asJson = process.argv.includes("--json");
const say = (line) => (asJson ? console.error(line) : console.log(line));

/** What a supervisor would do, with LSB's exit codes. */
const CONTROL = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
# Not one that has ended and that nobody has asked for its exit code yet.
lives() { [ -e pid ] && grep -qs '^State:.[^ZX]' "/proc/$(cat pid)/status"; }
case $1 in
start)
  [ -e no-start ] && exit 1
  lives && exit 0
  setsid COMMAND </dev/null >>server.out 2>&1 &
  echo $! >pid.new && mv pid.new pid ;;
stop)
  lives || exit 0
  kill -TERM "$(cat pid)"
  while lives; do sleep 0.02; done
  rm -f pid ;;
status) lives || exit 3 ;;
esac
`;

const missing = zooKeeperMissing();
if (missing !== null) throw new Error(missing);
const cache = fileURLToPath(new URL("../node_modules/.cache/zk-backyp-bench", import.meta.url));
mkdirSync(cache, { recursive: true });
const results = [];
for (const size of SIZES) {
  const folder = mkdtempSync(join(cache, "downtime-"));
  try {
    results.push(await measureWith(size, folder));
  } finally {
    rmSync(folder, { recursive: true, maxRetries: 10 });
  }
}
const javaVersion = /version "([^"]+)"/.exec(String(spawnSync("java", ["-version"]).stderr))?.[1];
const machine = `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} CPUs, Node ${process.versions.node}, Java ${javaVersion}`;
if (asJson) console.log(JSON.stringify({ name: "downtime", machine, results }));
else print();

async function measureWith({ bytes, rounds, tarRounds }, folder) {
  say(`making ${bytes / 1e6} MB of data, and starting a server on it ...`);
  const node = await startNode(bytes, folder);
  try {
    const ways = { bare: () => bare(node), ours: () => ours(node, folder), origin: () => origin(node, folder) };
    const seconds = { bare: [], ours: [], origin: [] };
    let dataBytes = 0;
    for (let round = 0; round < rounds; round++) {
      for (const [name, way] of Object.entries(ways)) {
        if (name === "origin" && round >= tarRounds) continue;
        dataBytes = await tidy(node);
        seconds[name].push(await way());
        say(`  ${name}: ${seconds[name].at(-1).toFixed(2)} s`);
      }
    }
    const inMs = (all) => Math.round(median(all) * 1000) / 1000;
    return {
      dataBytes,
      bareSeconds: inMs(seconds.bare),
      oursSeconds: inMs(seconds.ours),
      originSeconds: inMs(seconds.origin),
    };
  } finally {
    await node.end();
  }
}

/** A server that is started and stopped by a script, and does not outlive this process. */
async function startNode(bytes, folder) {
  const dataDir = join(folder, "data");
  await writeLargeData(dataDir, bytes);
  const heapMB = 512 + Math.ceil((1.5 * bytes) / 1e6);
  const server = await startZooKeeper({ directory: folder, dataDir, javaOptions: [`-Xmx${heapMB}m`] });
  await server.stop();
  const script = join(folder, "control.sh");
  const command = server.command.map((argument) => `'${argument}'`).join(" ");
  writeFileSync(
    script,
    CONTROL.replace("COMMAND", () => command),
  );
  chmodSync(script, 0o755);
  const watchdog = spawn("sh", ["-c", 'read -r _; touch no-start; kill -KILL "$(cat pid)"'], {
    cwd: folder,
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  const node = {
    server,
    script,
    pidFile: join(folder, "pid"),
    async control(action) {
      const child = spawn(script, [action], { stdio: "inherit" });
      const code = await new Promise((resolve) => child.once("close", resolve));
      if (code !== 0) throw new Error(`${script} ${action} failed (${code})`);
    },
    async end() {
      await node.control("stop");
      watchdog.kill();
    },
  };
  await node.control("start");
  while (!(await serves(server.clientPort))) await sleep(POLL_MS);
  return node;
}

/** Writes a little, as a server in use has a log behind its snapshot, and removes what is older. Returns what is left. */
async function tidy({ server }) {
  const client = await connectZooKeeper(server.connectString);
  const path = `/written-${Date.now()}`;
  await client.create(path, Buffer.from("a little"));
  await client.close();
  const folder = server.snapshotDirectory;
  const newest = (kind) =>
    readdirSync(folder)
      .filter((name) => name.startsWith(`${kind}.`))
      .sort((a, b) => Number.parseInt(a.split(".")[1], 16) - Number.parseInt(b.split(".")[1], 16))
      .at(-1);
  const kept = [newest("snapshot"), newest("log")];
  for (const name of readdirSync(folder)) if (!kept.includes(name)) rmSync(join(folder, name));
  // What the round before has written shall not slow this one down.
  spawnSync("sync", ["-f", folder]);
  return kept.reduce((sum, name) => sum + statSync(join(folder, name)).blocks * 512, 0);
}

async function bare({ server, control }) {
  const watch = watchDowntime(server.clientPort);
  await control("stop");
  await control("start");
  return watch.seconds;
}

async function ours({ server, script, pidFile }, folder) {
  const path = join(folder, "backups");
  mkdirSync(path);
  const source = createZooKeeperSource({
    dataDir: server.dataDir,
    server: server.connectString,
    mode: "cold",
    cold: {
      control: {
        use: "command",
        start: [script, "start"],
        stop: [script, "stop"],
        status: [script, "status"],
        pidFile,
      },
      allowStandalone: true,
    },
  });
  // Compression comes after the downtime, and only takes time here.
  const series = openSeries({ prefix: "downtime", source, sink: createFsSink({ path }), codecs: [] });
  let watch;
  series.events.on("backup:step", ({ step }) => {
    if (step === "stopping") watch = watchDowntime(server.clientPort);
  });
  const manifest = await series.backup();
  await source.close();
  rmSync(path, { recursive: true });
  const reported = manifest.facts.downtime.servingMs / 1000;
  const seen = await watch.seconds;
  if (seen > reported + TOLERANCE) {
    throw new Error(`the backup says that the server was down for ${reported} s, but a client saw ${seen} s`);
  }
  return reported;
}

async function origin({ server, control }, folder) {
  const watch = watchDowntime(server.clientPort);
  await control("stop");
  const archive = join(folder, "backup.tar.gz");
  const tar = spawn("tar", ["czf", archive, "-C", server.dataDir, "version-2"], { stdio: "inherit" });
  const code = await new Promise((resolve) => tar.once("close", resolve));
  if (code !== 0) throw new Error(`tar failed (${code})`);
  await control("start");
  const seconds = await watch.seconds;
  rmSync(archive);
  return seconds;
}

/** Asks every 10 ms from now on. `seconds` resolves when the server, which was down meanwhile, serves again. */
function watchDowntime(port) {
  const began = performance.now();
  let downAt = null;
  let answered;
  const seconds = new Promise((resolve) => {
    answered = resolve;
  });
  const timer = setInterval(async () => {
    const askedAt = performance.now();
    const served = await serves(port);
    const now = performance.now();
    if (!served) downAt ??= now;
    // Not an answer from before the stop that came late.
    if (served && downAt !== null && askedAt > downAt) {
      clearInterval(timer);
      answered((now - began) / 1000);
    }
  }, POLL_MS);
  return { seconds };
}

/** Whether the server answers `srvr` with a role. */
function serves(port) {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1");
    // Between listening and serving it may never answer.
    socket.setTimeout(500, () => socket.destroy());
    socket.setEncoding("utf8");
    socket.on("connect", () => socket.write("srvr"));
    socket.on("data", (text) => {
      answer += text;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(answer.includes("Mode: ")));
  });
}

function print() {
  console.log(`\n${machine}\nfrom the stop until srvr is answered again, median of all rounds\n`);
  const row = (...cells) => console.log(cells.map((cell) => cell.padStart(16)).join(" "));
  row("data MB", "stop, start s", "cold backup s", "stop, tar, start");
  for (const { dataBytes, bareSeconds, oursSeconds, originSeconds } of results) {
    row(String(Math.round(dataBytes / 1e6)), ...[bareSeconds, oursSeconds, originSeconds].map((s) => s.toFixed(2)));
  }
}
