import { execFile } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { delimiter, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePorts } from "./free-port.ts";
import type { Release } from "./releases.ts";
import { spawnTethered, type TetheredProcess } from "./tethered-process.ts";

/** How to start a server. */
export interface ZooKeeperOptions {
  /** Everything of this server lies in here: `zoo.cfg`, `server.log` and, unless named, the data. Created when missing. */
  directory: string;
  /** The release to run (`fetchRelease`); the one that {@link zooKeeperMissing} looks for if not given. */
  release?: Release;
  /** `directory/data` if not given. May hold a restored `version-2`. */
  dataDir?: string;
  /** The data directory if not given, as in ZooKeeper itself. */
  dataLogDir?: string;
  /** Added to `zoo.cfg`; replaces the defaults of the same name. */
  config?: Readonly<Record<string, string>>;
  /** Added to the java command line, for example `-Dzookeeper.forceSync=no`. */
  javaOptions?: readonly string[];
  /** The client port; a free one if not given. */
  port?: number;
  /** How long it may take until the server serves. 60 s if not given. */
  timeoutMs?: number;
}

/** How to start an ensemble. */
export interface EnsembleOptions extends Omit<ZooKeeperOptions, "dataDir" | "dataLogDir" | "port"> {
  /** Number of members. Their directories are `directory/1`, `directory/2`, ... */
  size: number;
  /** A separate directory for transaction logs, `directory/<id>/log`. */
  separateLogs?: boolean;
}

/** A running server. Whoever started it stops it; it is killed when the starting process ends. */
export interface ZooKeeperServer {
  /** `myid` of a member of an ensemble, undefined for a standalone server. */
  readonly id: number | undefined;
  readonly clientPort: number;
  readonly adminPort: number;
  /** `127.0.0.1:<clientPort>` */
  readonly connectString: string;
  readonly dataDir: string;
  readonly dataLogDir: string;
  /** `version-2` under the data directory: the snapshots. */
  readonly snapshotDirectory: string;
  /** `version-2` under the log directory: the transaction logs. */
  readonly logDirectory: string;
  /** Path of `zoo.cfg`. */
  readonly configFile: string;
  /** The command line that runs it, for a supervisor that shall start it instead. */
  readonly command: readonly string[];
  /** Of the running server, or of the last one. */
  readonly pid: number;
  readonly running: boolean;
  /** All output so far, of every start. */
  log(): Promise<string>;
  /**
   * Sends a four-letter word (`ruok`, `srvr`, `mntr`, `conf`, ...) and returns the answer.
   * Always ends: a server between listening and serving may never answer.
   */
  fourLetterWord(word: string, timeoutMs?: number): Promise<string>;
  /** SIGTERM; resolves when the process is gone. Does nothing if it is not running. */
  stop(): Promise<void>;
  /** SIGKILL; resolves when the process is gone. Does nothing if it is not running. */
  kill(): Promise<void>;
  /** Starts it again after `stop` or `kill` with the same `zoo.cfg`; resolves when it serves. */
  start(): Promise<void>;
}

const APT_LINE = "apt-get install --no-install-recommends zookeeper";
// zookeeper.jar names its dependencies, but not these: without the first the AdminServer is silently off, without the
// second there is no log, and Netty, without which there is no TLS, needs the others.
const DEBIAN_JARS = ["zookeeper", "servlet-api", "slf4j-simple", "netty-codec", "netty-resolver"].map(
  (jar) => `/usr/share/java/${jar}.jar`,
);
const PORT_TAKEN = /Address already in use|BindException/;
const START_ATTEMPTS = 5;

/**
 * What is missing for starting a ZooKeeper server, with the command that installs it; null when nothing is missing.
 * A release unpacked somewhere else is used if the environment variable `ZOOKEEPER_HOME` names it.
 */
export function zooKeeperMissing(): string | null {
  const missing: string[] = [];
  if (findJava() === undefined) missing.push("java");
  const home = process.env.ZOOKEEPER_HOME;
  if (home !== undefined && home !== "") {
    if (releaseJars(home).length === 0) missing.push(`jars in ZOOKEEPER_HOME=${home} (looked in it and in its lib/)`);
  } else {
    missing.push(...DEBIAN_JARS.filter((jar) => !existsSync(jar)));
  }
  if (missing.length === 0) return null;
  return `${missing.join(", ")} not found: run \`${APT_LINE}\`, or set ZOOKEEPER_HOME to an unpacked release and have java on the PATH`;
}

/** What is missing for starting a server of a `Release`: only ever java. Null when nothing is missing. */
export function javaMissing(): string | null {
  return findJava() === undefined ? "java not found: have Java 17 or newer on the PATH, or set JAVA_HOME" : null;
}

/**
 * Starts a standalone server on loopback and resolves when it serves. The AdminServer listens on a port of its own,
 * all four-letter words are allowed, and autopurge is off.
 */
export async function startZooKeeper(options: ZooKeeperOptions): Promise<ZooKeeperServer> {
  return onFreePorts(async () => {
    const server = await prepare(options, undefined);
    await startAll([server], options.timeoutMs);
    return server;
  });
}

/** Starts an ensemble and resolves when every member serves; the order is that of their ids, from 1. */
export async function startEnsemble(options: EnsembleOptions): Promise<ZooKeeperServer[]> {
  return onFreePorts(async () => {
    const ids = Array.from({ length: options.size }, (_, index) => index + 1);
    const ports = await freePorts(options.size * 2);
    const members: Record<string, string> = {};
    for (const [index, id] of ids.entries()) {
      members[`server.${id}`] = `127.0.0.1:${ports[index * 2]}:${ports[index * 2 + 1]}`;
    }
    const servers: Server[] = [];
    for (const id of ids) {
      const directory = join(options.directory, String(id));
      const logs = options.separateLogs ? { dataLogDir: join(directory, "log") } : {};
      servers.push(await prepare({ ...options, ...logs, directory, config: { ...members, ...options.config } }, id));
    }
    await startAll(servers, options.timeoutMs);
    return servers;
  });
}

/**
 * Runs ZooKeeper's own `PurgeTxnLog` on the directories of a server: what autopurge does, at the moment you choose.
 * ZooKeeper refuses to keep fewer than 3 snapshots.
 */
export async function purge(
  server: Pick<ZooKeeperServer, "dataDir" | "dataLogDir">,
  retain: number,
): Promise<{ output: string }> {
  const { stdout, stderr } = await promisify(execFile)(
    java(),
    [
      ...JVM_OPTIONS,
      "-cp",
      zooKeeperClassPath(),
      "org.apache.zookeeper.server.PurgeTxnLog",
      server.dataLogDir,
      server.dataDir,
    ].concat("-n", String(retain)),
    { timeout: 60_000 },
  );
  return { output: stdout + stderr };
}

// C1 only and one garbage collector thread: a server serves after half a second, and three fit on two cores.
const JVM_OPTIONS = [
  "-Xmx256m",
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "-Djava.net.preferIPv4Stack=true",
  // Digests depend on it, and without a locale older Javas know ASCII only.
  "-Dfile.encoding=UTF-8",
];

interface Server extends ZooKeeperServer {
  launch(): void;
  /** Whether it serves; rejects if it has died, with the tail of its output. */
  serves(): Promise<boolean>;
}

class PortTakenError extends Error {}

async function onFreePorts<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start();
    } catch (error) {
      if (!(error instanceof PortTakenError) || attempt === START_ATTEMPTS) throw error;
      await sleep(100 * attempt);
    }
  }
}

async function startAll(servers: readonly Server[], timeoutMs = 60_000): Promise<void> {
  try {
    for (const server of servers) server.launch();
    await Promise.all(servers.map((server) => untilServing(server, timeoutMs)));
  } catch (error) {
    await Promise.all(servers.map((server) => server.kill()));
    throw error;
  }
}

async function untilServing(server: Server, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await server.serves())) {
    if (Date.now() > deadline) {
      throw new Error(
        `ZooKeeper does not serve after ${timeoutMs} ms: ${server.configFile}\n${tail(await server.log())}`,
      );
    }
    await sleep(25);
  }
}

async function prepare(options: ZooKeeperOptions, id: number | undefined): Promise<Server> {
  const missing = options.release === undefined ? zooKeeperMissing() : javaMissing();
  if (missing !== null) throw new Error(missing);

  const directory = resolve(options.directory);
  const dataDir = resolve(options.dataDir ?? join(directory, "data"));
  const dataLogDir = resolve(options.dataLogDir ?? dataDir);
  const [freePort = 0, adminPort = 0] = await freePorts(2);
  const clientPort = options.port ?? freePort;
  await mkdir(directory, { recursive: true });
  await mkdir(dataDir, { recursive: true });
  await mkdir(dataLogDir, { recursive: true });
  if (id !== undefined) await writeFile(join(dataDir, "myid"), `${id}\n`);

  const config: Record<string, string> = {
    tickTime: "1000",
    initLimit: "20",
    syncLimit: "10",
    dataDir,
    ...(dataLogDir === dataDir ? {} : { dataLogDir }),
    clientPort: String(clientPort),
    clientPortAddress: "127.0.0.1",
    "4lw.commands.whitelist": "*",
    "admin.serverAddress": "127.0.0.1",
    "admin.serverPort": String(adminPort),
    "autopurge.purgeInterval": "0",
    maxClientCnxns: "0",
    extendedTypesEnabled: "true",
    ...options.config,
  };
  const configFile = join(directory, "zoo.cfg");
  const lines = Object.entries(config).map(([key, value]) => `${key}=${value}\n`);
  await writeFile(configFile, lines.join(""));

  const logFile = join(directory, "server.log");
  const args = [
    ...JVM_OPTIONS,
    // Where the configuration key of the same name is not yet known (3.5).
    "-Dzookeeper.extendedTypesEnabled=true",
    // 3.4 looks for log4j by name, and logs to slf4j like the others.
    "-Dzookeeper.jmx.log4j.disable=true",
    ...(options.javaOptions ?? []),
    "-cp",
    options.release?.classPath ?? zooKeeperClassPath(),
    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
    configFile,
  ];

  let running: TetheredProcess | undefined;
  let startedAt = 0;
  // An earlier start in the same directory has written to the same file.
  const log = async (from = 0): Promise<string> => {
    const bytes = await readFile(logFile).catch(() => Buffer.alloc(0));
    return bytes.subarray(from).toString("utf8");
  };
  const ask = (word: string, timeoutMs?: number): Promise<string> => fourLetterWord(clientPort, word, timeoutMs);

  const server: Server = {
    id,
    clientPort,
    adminPort,
    connectString: `127.0.0.1:${clientPort}`,
    dataDir,
    dataLogDir,
    snapshotDirectory: join(dataDir, "version-2"),
    logDirectory: join(dataLogDir, "version-2"),
    configFile,
    command: [java(), ...args],
    get pid() {
      return running?.pid ?? 0;
    },
    get running() {
      return running !== undefined && running.exit === undefined;
    },
    log: () => log(),
    fourLetterWord: ask,
    async stop() {
      await running?.end("SIGTERM");
    },
    async kill() {
      await running?.end("SIGKILL");
    },
    async start() {
      if (server.running) throw new Error(`ZooKeeper is running already: ${configFile}`);
      await onFreePorts(() => startAll([server], options.timeoutMs));
    },
    launch() {
      startedAt = statSync(logFile, { throwIfNoEntry: false })?.size ?? 0;
      running = spawnTethered(java(), args, { logFile, cwd: directory });
    },
    async serves() {
      const output = await log(startedAt);
      if (running?.exit === undefined && !PORT_TAKEN.test(output)) {
        // Another server may have won the race for the port: `conf` tells whose data this one serves.
        return (
          /^Mode: /m.test(await ask("srvr", 500).catch(() => "")) &&
          (await ask("conf", 500).catch(() => "")).includes(`dataDir=${join(dataDir, "version-2")}\n`)
        );
      }
      const end = running?.exit === undefined ? "" : ` (${running.exit.signal ?? `exit code ${running.exit.code}`})`;
      const message = `ZooKeeper did not start${end}: ${configFile}\n${tail(output)}`;
      throw PORT_TAKEN.test(output) ? new PortTakenError(message) : new Error(message);
    },
  };
  return server;
}

function fourLetterWord(port: number, word: string, timeoutMs = 2_000): Promise<string> {
  return new Promise((resolveAnswer, reject) => {
    const socket = connect(port, "127.0.0.1");
    const deadline = setTimeout(() => {
      socket.destroy(new Error(`no answer to ${word} on port ${port} after ${timeoutMs} ms`));
    }, timeoutMs);
    let answer = "";
    socket.setEncoding("utf8");
    socket.on("connect", () => socket.write(word));
    socket.on("data", (chunk) => {
      answer += chunk;
    });
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(deadline);
      resolveAnswer(answer);
    });
  });
}

function java(): string {
  return findJava() ?? "java";
}

function findJava(): string | undefined {
  const home = process.env.JAVA_HOME;
  const directories = (process.env.PATH ?? "").split(delimiter);
  if (home !== undefined && home !== "") directories.unshift(join(home, "bin"));
  return directories.map((directory) => join(directory, "java")).find((path) => existsSync(path));
}

/** Jars of the installed ZooKeeper: Debian's, or those below `ZOOKEEPER_HOME`. */
export function zooKeeperClassPath(): string {
  const home = process.env.ZOOKEEPER_HOME;
  return (home !== undefined && home !== "" ? releaseJars(home) : DEBIAN_JARS).join(delimiter);
}

// 3.4 has the server's jar at the top, 3.5 and later have it among the libraries.
function releaseJars(home: string): string[] {
  return [home, join(home, "lib")].flatMap((directory) => {
    if (!existsSync(directory)) return [];
    return readdirSync(directory)
      .filter((name) => name.endsWith(".jar"))
      .map((name) => join(directory, name));
  });
}

function tail(output: string): string {
  return output.trimEnd().split("\n").slice(-25).join("\n");
}
