import { createReadStream } from "node:fs";
import { mkdir, open, stat, writeFile } from "node:fs/promises";
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
  systemErrorCode,
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
/** Of what a server has said, the beginning and the end are looked at. */
const MAX_OUTPUT_BYTES = 256 * 1024;
/** Some eleven days: no session and no container ends while we look. */
const NEVER_MS = 1_000_000_000;

/** A server that will not start for reasons that are not the data's. */
const NOT_THE_DATA = new RegExp(
  [
    "OutOfMemoryError|insufficient memory|Cannot allocate memory|Could not reserve enough space",
    "UnsupportedClassVersionError|NoClassDefFoundError|ClassNotFoundException|UnsatisfiedLinkError",
    "Could not find or load main class|Could not create the Java Virtual Machine",
    "No space left on device|Disk quota exceeded|Read-only file system|Permission denied|Too many open files",
  ].join("|"),
);
/** Ended from outside, or by a crash of Java itself, or never started. A shell makes exit codes from 126 on of that. */
const NOT_BY_ITSELF = /^SIG|^exit code 1(2[679]|[3-9]\d)$/;
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
      try {
        return await rehearse(installed, main, manifest, signal);
      } catch (cause) {
        if (isBackypError(cause) || systemErrorCode(cause) === undefined) throw cause;
        const { message } = cause as Error;
        throw new BackypError(
          "ERR_REHEARSAL_UNAVAILABLE",
          `the ZooKeeper server could not be tried out, so that nothing is known of ${manifest.id}: ${message}`,
          { cause, details: { id: manifest.id } },
        );
      }
    },
  };
}

async function rehearse(
  installed: InstalledZooKeeper,
  dataDir: string,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<JsonObject> {
  const began = performance.now();
  const snapshot = join(dataDir, "version-2", `snapshot.${manifest.range.upTo.slice(2)}`);
  const before = await changeTimeOf(snapshot);
  const status = await serverStatus(installed, dataDir, manifest, signal);
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
    const output = await beginningAndEnd(logFile);
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
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${forProperties(String(value))}\n`);
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
    "file.encoding": manifest.proof?.digestCharset === "ascii" ? "US-ASCII" : "UTF-8",
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
  return spawnTethered(java, args, { logFile, cwd: dataDir, env: environment() });
}

/**
 * What it takes to find and run Java, and no more: the secrets of our own environment are none of its business, and what
 * `JAVA_TOOL_OPTIONS` and the like add, such as an agent that listens, is meant for other servers.
 */
function environment(): NodeJS.ProcessEnv {
  const { PATH, HOME, JAVA_HOME, LD_LIBRARY_PATH } = process.env;
  // Without a locale Java finds no file with other letters than those of ASCII in its path.
  return { PATH, HOME, JAVA_HOME, LD_LIBRARY_PATH, LC_ALL: "C.UTF-8" };
}

/** As a value in a Java properties file, which is read as Latin-1. */
function forProperties(value: string): string {
  return value.replaceAll("\\", "\\\\").replace(/[^ -~]/g, (unit) => {
    return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
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
      const isUp = /^Mode: /m.test(await askServer(address, "srvr", { timeoutMs: ANSWER_TIMEOUT_MS }, signal));
      // Another server may have won the race for the port.
      const isOurs =
        isUp && isSamePath((await askDirectories(address, {}, signal)).dataDir, join(dataDir, "version-2"));
      if (isOurs) return await askStatus(address, {}, signal);
    } catch (error) {
      if (!isBackypError(error, "ERR_SOURCE_UNAVAILABLE")) throw error;
    }
    await sleep(POLL_MS, undefined, { signal }).catch(() => {
      throw abortError(signal);
    });
  }
  return null;
}

/** A server that was told to use ASCII says "?" for every other letter. The folder's own name has none. */
function isSamePath(said: string | undefined, path: string): boolean {
  const inAscii = (text: string): string => text.replace(/[^ ->@-~]+/g, "?");
  return said !== undefined && inAscii(said) === inAscii(path);
}

async function beginningAndEnd(path: string): Promise<string> {
  await using file = await open(path);
  const { size } = await file.stat();
  const read = async (from: number, bytes: number): Promise<string> => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, from);
    return buffer.toString("utf8", 0, bytesRead);
  };
  if (size <= MAX_OUTPUT_BYTES) return await read(0, size);
  const half = MAX_OUTPUT_BYTES / 2;
  return `${await read(0, half)}\n${await read(size - half, half)}`;
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
  const isElsewhere = NOT_BY_ITSELF.test(server.end) || NOT_THE_DATA.test(output) || PORT_TAKEN.test(output);
  if (isElsewhere || said === "") {
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
  const expected = manifest.proof?.snapshotDigest === "stale" ? 1 : 0;
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
