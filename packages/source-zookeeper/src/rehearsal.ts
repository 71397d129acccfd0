import { createReadStream } from "node:fs";
import { mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  abortError,
  BackypError,
  CHUNK_BYTES,
  isBackypError,
  type JsonObject,
  type JsonValue,
  type Manifest,
  type Rehearsal,
} from "@zk-backyp/core";
import { checkSnapshot, createReplay, formatZxid, type ReplayResult } from "@zk-backyp/zookeeper-files";
import { askServer } from "./four-letter-word.ts";
import { findZooKeeper, type InstalledZooKeeper } from "./installed-zookeeper.ts";
import { askDirectories, askStatus, type ServerStatus } from "./server-status.ts";
import { spawnTethered, type TetheredProcess } from "./tethered-process.ts";

const POLL_MS = 50;
const ANSWER_TIMEOUT_MS = 500;
/** What a server gets to start in: this, and as much again for every 256 MiB of files. */
const START_TIMEOUT_MS = 60_000;
/** Others look for free ports at the same time. */
const MAX_STARTS = 5;
/** Some eleven days: no session and no container ends while we look. */
const NEVER_MS = 1_000_000_000;

/** A server that will not start for reasons that are not the data's. */
const NOT_THE_DATA =
  /OutOfMemoryError|UnsupportedClassVersionError|NoClassDefFoundError|ClassNotFoundException|Could not find or load main class|Could not reserve enough space|Could not create the Java Virtual Machine/;
const DIGEST_MISMATCH = /Digests are not matching|digest mismatch on txn/i;
const PORT_TAKEN = /Address already in use|BindException/;

/**
 * The rehearsal of a restore: a real server, on the loopback interface, loads what was restored and says what it has.
 *
 * @throws BackypError `ERR_REHEARSAL_UNAVAILABLE` when no ZooKeeper is installed
 */
export async function prepareRehearsal(): Promise<Rehearsal> {
  const installed = findZooKeeper(process.env);
  return {
    async run({ main }, manifest, { signal }): Promise<JsonObject> {
      const began = performance.now();
      const snapshot = join(main, "version-2", `snapshot.${manifest.range.upTo.slice(2)}`);
      const before = await changeTimeOf(snapshot);
      const status = await serverStatus(installed, main, manifest, signal);
      // 3.5 and later write one as soon as they have loaded everything, over one of the same name if need be.
      const isFresh = !isBefore(status.version, 3, 5) && (await changeTimeOf(snapshot)) !== before;
      const tree = isFresh ? await readBack(snapshot, status.zxid, signal) : null;
      requireSame(status, tree, manifest);
      return {
        server: status.version,
        zxid: formatZxid(status.zxid),
        nodeCount: status.nodeCount,
        digest: tree === null ? null : String(tree.digest),
        digestMismatches: status.digestMismatches,
        seconds: Math.round((performance.now() - began) / 100) / 10,
      };
    },
  };
}

/** What a server says that was started on the files in `dataDir`. It is gone again when this settles. */
async function serverStatus(
  installed: InstalledZooKeeper,
  dataDir: string,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<ServerStatus> {
  const bytes = manifest.entries.reduce((sum, { size }) => sum + size, 0);
  const timeoutMs = START_TIMEOUT_MS * (1 + bytes / (256 * 1024 * 1024));
  for (let start = 1; ; start++) {
    const port = await freePort();
    const logFile = join(dataDir, `server-${start}.log`);
    await using server = await startServer(installed, dataDir, manifest, port, logFile);
    const status = await untilServing(server, dataDir, port, performance.now() + timeoutMs, signal);
    const output = await readFile(logFile, "utf8");
    // Where it does not count them, it has at least told of them.
    const told = DIGEST_MISMATCH.test(output) ? 1 : null;
    if (status !== null) return { ...status, digestMismatches: status.digestMismatches ?? told };
    if (PORT_TAKEN.test(output) && start < MAX_STARTS) continue;
    throw notServing(server, manifest, output, timeoutMs);
  }
}

async function startServer(
  { java, classPath }: InstalledZooKeeper,
  dataDir: string,
  manifest: Manifest,
  port: number,
  logFile: string,
): Promise<TetheredProcess> {
  const configuration = join(dataDir, "rehearsal");
  await mkdir(configuration, { recursive: true });
  const settings = {
    dataDir,
    clientPort: port,
    clientPortAddress: "127.0.0.1",
    tickTime: NEVER_MS,
    minSessionTimeout: 1,
    maxSessionTimeout: NEVER_MS,
    "4lw.commands.whitelist": "srvr,mntr,conf",
    "admin.enableServer": "false",
    "autopurge.purgeInterval": 0,
  };
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`);
  await writeFile(join(configuration, "zoo.cfg"), lines.join(""));
  await writeFile(join(configuration, "logback.xml"), LOGBACK);
  await writeFile(join(configuration, "log4j.properties"), LOG4J);
  const properties = {
    "java.net.preferIPv4Stack": "true",
    // Where no terminal is, Debian's logger would say much.
    "org.slf4j.simpleLogger.defaultLogLevel": "warn",
    "logback.configurationFile": join(configuration, "logback.xml"),
    "log4j.configuration": `file:${join(configuration, "log4j.properties")}`,
    // How the server that wrote the digests spelled paths in them.
    "file.encoding": at(manifest.contents, "state", "digestCharset") === "ascii" ? "US-ASCII" : "UTF-8",
    // What 3.4 to 3.7 do for their own log4j fails with another one.
    "zookeeper.jmx.log4j.disable": "true",
    "zookeeper.extendedTypesEnabled": "true",
    "znode.container.checkIntervalMs": NEVER_MS,
    // As much as is backed up. It is a limit only.
    "jute.maxbuffer": 128 * 1024 * 1024,
    ...digestProperty(manifest),
    ...(at(manifest.contents, "snapshot") === null ? { "zookeeper.snapshot.trust.empty": "true" } : {}),
  };
  const options = Object.entries(properties).map(([key, value]) => `-D${key}=${value}`);
  const main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
  const args = [
    `-Xmx${heapMiB(manifest)}m`,
    "-XX:+IgnoreUnrecognizedVMOptions",
    "-XX:+UseSerialGC",
    // Both would leave files elsewhere when it is killed.
    "-XX:-UsePerfData",
    `-Djava.io.tmpdir=${configuration}`,
    ...options,
    "-cp",
    classPath,
    main,
    join(configuration, "zoo.cfg"),
  ];
  return spawnTethered(java, args, logFile, dataDir);
}

/**
 * A snapshot without a digest but with a last zxid, as 3.9 writes it with digests switched off, is loaded only with
 * digests switched off: its sections have no tags.
 */
function digestProperty({ contents }: Manifest): Record<string, string> {
  const isWithout = at(contents, "snapshot", "digest") === null && at(contents, "snapshot", "lastZxid") !== null;
  return isWithout ? { "zookeeper.digest.enabled": "false" } : {};
}

/** Enough for a tree like this one; Java's own default depends on the machine alone. */
function heapMiB({ contents }: Manifest): number {
  const figure = (name: string): number =>
    Math.max(Number(at(contents, "state", name) ?? 0), Number(at(contents, "snapshot", name) ?? 0));
  return Math.ceil(256 + (2 * figure("dataBytes") + 1024 * figure("nodes")) / (1024 * 1024));
}

/** Null when it ended, or did not serve in time. */
async function untilServing(
  server: TetheredProcess,
  dataDir: string,
  port: number,
  deadline: number,
  signal: AbortSignal,
): Promise<ServerStatus | null> {
  const address = { host: "127.0.0.1", port };
  while (server.end === null && performance.now() < deadline) {
    try {
      // While it starts it may take a connection and never answer.
      const isUp = /^Mode: /m.test(await askServer(address, "srvr", signal, ANSWER_TIMEOUT_MS));
      // Another server may have won the race for the port.
      const isOurs = isUp && (await askDirectories(address, signal)).dataDir === join(dataDir, "version-2");
      if (isOurs) return await askStatus(address, signal);
    } catch (error) {
      if (!isBackypError(error, "ERR_SOURCE_UNAVAILABLE")) throw error;
    }
    await sleep(POLL_MS, undefined, { signal }).catch(() => {
      throw abortError(signal);
    });
  }
  return null;
}

function notServing(server: TetheredProcess, { id }: Manifest, output: string, timeoutMs: number): BackypError {
  const lines = output.split("\n").filter((line) => line.trim() !== "" && !/^\s+at |^\s*\.\.\. \d+ more/.test(line));
  // Warnings come before it, and may be many.
  const first = lines.findIndex((line) => /ERROR|Exception|^Error/.test(line));
  const said = (first === -1 ? lines.slice(-3) : lines.slice(first, first + 4)).join(" | ");
  const details = { id, output: lines.slice(-50) };
  if (server.end === null) {
    const message = `the ZooKeeper server did not serve within ${Math.round(timeoutMs / 1000)} s, so that nothing is known of ${id}: ${said}`;
    return new BackypError("ERR_REHEARSAL_UNAVAILABLE", message, { details });
  }
  if (NOT_THE_DATA.test(output) || PORT_TAKEN.test(output) || said === "") {
    const message = `the ZooKeeper server could not run (${server.end}), so that nothing is known of ${id}: ${said}`;
    return new BackypError("ERR_REHEARSAL_UNAVAILABLE", message, { details });
  }
  const hint = "If the server that was backed up is of a newer release, use that one";
  const message = `a ZooKeeper server does not start on the restored ${id} (${server.end}): ${said}. ${hint}`;
  return new BackypError("ERR_REHEARSAL_FAILED", message, { details });
}

function requireSame(status: ServerStatus, tree: ReplayResult | null, manifest: Manifest): void {
  const { version } = status;
  const state = (name: string): JsonValue | undefined => at(manifest.contents, "state", name);
  const differences: string[] = [];
  const compare = (what: string, is: JsonValue, recorded: JsonValue | undefined): void => {
    if (recorded !== undefined && is !== recorded) differences.push(`${what} ${is} instead of ${recorded}`);
  };
  compare("zxid", formatZxid(status.zxid), manifest.range.upTo);
  const nodes = state("nodes");
  if (typeof nodes === "number") {
    // Where a server begins with an empty tree, 3.5 and later put /zookeeper/config into it.
    const own = at(manifest.contents, "snapshot") === null && isBefore(version, 3, 5) ? 1 : 0;
    compare("node count", status.nodeCount, nodes + 1 - own);
    if (tree !== null) compare("in its own snapshot, nodes", tree.nodes, nodes);
  }
  // Older ones keep other counts of changes in their stats when they replay a log.
  if (tree !== null && !isBefore(version, 3, 6)) compare("the tree digest", String(tree.digest), state("digest"));
  // The one that is expected: a digest that the server which wrote the snapshot took too early.
  const expected = state("snapshotDigest") === "stale" ? 1 : 0;
  if (status.digestMismatches !== null && status.digestMismatches > expected) {
    differences.push(`reported ${status.digestMismatches} digest mismatches`);
  }
  if (differences.length === 0) return;
  throw new BackypError(
    "ERR_REHEARSAL_FAILED",
    `a ZooKeeper ${version} server that was started on the restored ${manifest.id} is not as recorded: ${differences.join("; ")}`,
    { details: { id: manifest.id, differences } },
  );
}

/** The tree in the snapshot that a server wrote of what it has loaded. */
async function readBack(path: string, zxid: bigint, signal: AbortSignal): Promise<ReplayResult> {
  const replay = createReplay();
  const body = createReadStream(path, { signal, highWaterMark: CHUNK_BYTES });
  try {
    replay.snapshotEnd(zxid, await checkSnapshot(body, replay.snapshotHooks));
  } catch (error) {
    if (signal.aborted) throw abortError(signal);
    throw error;
  }
  return replay.finish();
}

async function changeTimeOf(path: string): Promise<number | null> {
  return stat(path).then(
    ({ ctimeMs }) => ctimeMs,
    () => null,
  );
}

function isBefore(version: string, major: number, minor: number): boolean {
  const [itsMajor = 0, itsMinor = 0] = version.split(".").map(Number);
  return itsMajor < major || (itsMajor === major && itsMinor < minor);
}

/** A value inside of what the verifier found, or undefined where it is not recorded. */
function at(contents: JsonObject, ...path: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = contents;
  for (const name of path) {
    if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
    value = (value as JsonObject)[name];
  }
  return value;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

// Without a configuration the one says all and the other nothing.
const LOGBACK = `<configuration>
  <appender name="CONSOLE" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%level %msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="CONSOLE" /></root>
</configuration>
`;
const LOG4J = `log4j.rootLogger=WARN, CONSOLE
log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender
log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout
log4j.appender.CONSOLE.layout.ConversionPattern=%p %m%n
`;
