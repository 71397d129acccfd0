// Checks a snapshot of a million znodes, alone and with the log after it, in turns with ZooKeeper's own classes and `cat`.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { measure, median } from "./measure.mjs";
import { verifyData } from "./verify-data.mjs";

const ROUNDS = 3;
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const cache = here("../node_modules/.cache/zk-backyp-bench");
const asJson = process.argv.includes("--json");
const say = (line) => (asJson ? console.error(line) : console.log(line));

mkdirSync(cache, { recursive: true });
say("making the data, if they are not there yet ...");
const { directory, snapshot, log, nodes, txns } = verifyData(cache);
const snapshotMB = statSync(snapshot).size / 1e6;
const bothMB = snapshotMB + statSync(log).size / 1e6;
const java = findJava();

const ours = (level, ...files) => [process.execPath, [here("verify-ours.mjs"), level, ...files]];
const contenders = [
  { name: "structure", command: ours("structure", snapshot), megabytes: snapshotMB },
  { name: "digest", command: ours("digest", snapshot), megabytes: snapshotMB },
  { name: "replay", command: ours("replay", snapshot, log), megabytes: bothMB },
  { name: "cat > /dev/null", command: ["cat", [snapshot]], megabytes: snapshotMB, discard: true },
  ...(java === null
    ? []
    : [
        { name: "Java's load", command: java("LoadSnapshot", "snapshot", snapshot), megabytes: snapshotMB },
        {
          name: "Java's load and replay",
          command: java("LoadSnapshot", "replay", directory),
          megabytes: bothMB,
          rounds: 1,
        },
        {
          name: "SnapshotFormatter > /dev/null",
          command: java("org.apache.zookeeper.server.SnapshotFormatter", snapshot),
          megabytes: snapshotMB,
          discard: true,
          rounds: 1,
        },
      ]),
];
const runs = new Map(contenders.map(({ name }) => [name, []]));
await measure("cat", [snapshot, log], { discard: true });
for (let round = 0; round < ROUNDS; round++) {
  for (const { name, command, discard = false, rounds = ROUNDS } of contenders) {
    if (round < rounds) runs.get(name).push(await measure(...command, { discard }));
  }
}
checkOutputs();

const PAIRS = [
  ["structure", "cat > /dev/null"],
  ["structure", "SnapshotFormatter > /dev/null"],
  ["structure", "Java's load"],
  ["digest", "cat > /dev/null"],
  ["digest", "SnapshotFormatter > /dev/null"],
  ["digest", "Java's load"],
  ["replay", "Java's load and replay"],
];
const results = PAIRS.filter(([, peer]) => runs.has(peer)).map(([level, peer]) => compare(level, peer));
const javaVersion = java === null ? "no Java" : `Java ${java.version}`;
const machine = `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} CPUs, Node ${process.versions.node}, ${javaVersion}`;
if (asJson) console.log(JSON.stringify({ name: "verify", machine, results }));
else print();

/** All that say how many nodes there are, and what their digest is, say the same. */
function checkOutputs() {
  const output = (name) => runs.get(name)?.[0]?.output;
  const same = [
    ["digest", "Java's load"],
    ["replay", "Java's load and replay"],
  ];
  if (Number(output("structure")) !== nodes) throw new Error(`${output("structure")} nodes, not ${nodes}`);
  for (const [own, peer] of same) {
    if (output(peer) !== undefined && output(own) !== output(peer)) {
      throw new Error(`"${output(own)}" is not what Java says: "${output(peer)}"`);
    }
  }
}

/** How many times faster, round by round where both ran in it. */
function compare(level, peer) {
  const [own, other] = [runs.get(level), runs.get(peer)];
  const megabytes = contenders.find(({ name }) => name === level).megabytes;
  const seconds = (all) => median(all.map((run) => run.seconds));
  const cpuSeconds = (all) => median(all.map((run) => run.cpuSeconds));
  const ratios = other.map((run, round) => run.seconds / own[round].seconds);
  const round2 = (value) => Number(value.toPrecision(3));
  return {
    peer,
    level,
    oursMBps: Math.round(megabytes / seconds(own)),
    peerMBps: Math.round(megabytes / seconds(other)),
    ratio: round2(median(ratios)),
    spread: [round2(Math.min(...ratios)), round2(Math.max(...ratios))],
    cpuRatio: round2(cpuSeconds(own) / cpuSeconds(other)),
    rssMB: Math.round(Math.max(...own.map((run) => run.rssMB))),
    peerRssMB: Math.round(Math.max(...other.map((run) => run.rssMB))),
  };
}

function print() {
  console.log(`\n${machine}`);
  console.log(
    `snapshot: ${nodes} znodes, ${Math.round(snapshotMB)} MB; log: ${txns} txns; whole processes, ${ROUNDS} rounds\n`,
  );
  const row = (...cells) =>
    console.log(cells.map((cell, n) => (n < 2 ? cell.padEnd(31) : cell.padStart(11))).join(" "));
  row("ours", "against", "ours MB/s", "peer MB/s", "x faster", "from-to", "CPU ratio", "our RSS MB", "peer RSS MB");
  for (const { level, peer, ...figures } of results) {
    const { oursMBps, peerMBps, ratio, spread, cpuRatio, rssMB, peerRssMB } = figures;
    row(level, peer, ...[oursMBps, peerMBps, ratio, spread.join("-"), cpuRatio, rssMB, peerRssMB].map(String));
  }
}

/** Null, and it says why, without Java or ZooKeeper's classes. */
function findJava() {
  const version = /version "([^"]+)"/.exec(String(spawnSync("java", ["-version"]).stderr))?.[1];
  const classPath = findZooKeeper();
  if (version === undefined || classPath === null || spawnSync("javac", ["-version"]).status !== 0) {
    const missing = classPath === null ? "ZooKeeper (Debian's package, or set ZOOKEEPER_HOME)" : "java and javac";
    say(`skipped what needs ${missing}: all comparisons with ZooKeeper's own classes`);
    return null;
  }
  const compiled = spawnSync("javac", ["-cp", classPath, "-d", cache, here("LoadSnapshot.java")], { encoding: "utf8" });
  if (compiled.status !== 0) throw new Error(compiled.stderr);
  const options = ["-Xmx6g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", `${cache}:${classPath}`];
  return Object.assign((main, ...args) => ["java", [...options, main, ...args]], { version });
}

function findZooKeeper() {
  const { ZOOKEEPER_HOME = "" } = process.env;
  if (ZOOKEEPER_HOME !== "") {
    const jars = readdirSync(join(ZOOKEEPER_HOME, "lib")).filter((name) => name.endsWith(".jar"));
    return jars.map((name) => join(ZOOKEEPER_HOME, "lib", name)).join(":");
  }
  const debian = ["zookeeper.jar", "slf4j-simple.jar", "servlet-api.jar"].map((name) => `/usr/share/java/${name}`);
  return existsSync("/usr/share/java/zookeeper.jar") ? debian.join(":") : null;
}
