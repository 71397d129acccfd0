import { accessSync, constants } from "node:fs";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "./free-port.ts";
import { spawnTethered, type TetheredProcess } from "./tethered-process.ts";

/** A process that monit supervises. */
export interface MonitService {
  readonly name: string;
  readonly pidFile: string;
  /** Absolute path and arguments of the program that starts the process and writes `pidFile`. It has to return. */
  readonly start: readonly string[];
  /** Of the program that stops it, and returns when it is gone. */
  readonly stop: readonly string[];
  /** How long monit waits for the process to come up, in seconds. 30 if not given. */
  readonly startTimeoutSeconds?: number;
  /** How long monit waits for the process to go, in seconds. 30 if not given. */
  readonly stopTimeoutSeconds?: number;
}

/** How to start monit. */
export interface MonitOptions {
  /** Everything of monit's own lies in here: control file, state, log. Created when missing. */
  readonly directory: string;
  readonly services: readonly MonitService[];
  /** Port of its HTTP interface; a free one if not given. */
  readonly port?: number;
  /** The user of the HTTP interface. `vcap` and a fixed password if not given. */
  readonly user?: { readonly name: string; readonly password: string };
  /** How often it looks at its services, in seconds. 1 if not given. */
  readonly cycleSeconds?: number;
  /** How long it may take in milliseconds until it answers. 10,000 if not given. */
  readonly timeoutMs?: number;
}

/**
 * A running monit. Whoever started it stops it; it is killed when the starting process ends. What it supervises is no
 * child of it and stays.
 */
export interface Monit {
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  readonly user: { readonly name: string; readonly password: string };
  /** Holds `user:password`, for whoever asks over HTTP. */
  readonly credentialsFile: string;
  /** The command line that asks this monit: the program, `-c` and its control file. */
  readonly command: readonly string[];
  readonly pid: number;
  readonly logFile: string;
  /** Ends it; resolves when it is gone. */
  stop(): Promise<void>;
  /** Kills it with SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** Starts it again, with what it remembers in its state file; resolves when it answers. */
  restart(): Promise<void>;
  /** Has it read its control file anew, as `monit reload` does. Requests in flight are lost. */
  reload(): void;
}

const START_ATTEMPTS = 3;

/** Another release than the one on the PATH, for a test run by hand. */
const PROGRAM = process.env.MONIT ?? "monit";

/** What is missing for starting monit, with the command that installs it; null when nothing is missing. */
export function monitMissing(): string | null {
  const folders = (process.env.PATH ?? "").split(delimiter);
  if (folders.some((folder) => isExecutable(resolve(folder, PROGRAM)))) return null;
  return `${PROGRAM} not found: run \`apt-get install --no-install-recommends monit\``;
}

/** Starts monit in the foreground, on loopback, and resolves when it answers. It starts the services by itself. */
export async function startMonit(options: MonitOptions): Promise<Monit> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(options);
    } catch (error) {
      // Another process may have taken the port between the choice and the start.
      if (attempt === START_ATTEMPTS || options.port !== undefined) throw error;
    }
  }
}

async function start(options: MonitOptions): Promise<Monit> {
  const { timeoutMs = 10_000, user = { name: "vcap", password: "not-a-secret" } } = options;
  const directory = resolve(options.directory);
  await mkdir(directory, { recursive: true });
  const port = options.port ?? (await freePorts(1))[0] ?? 0;
  const url = `http://127.0.0.1:${port}`;
  const controlFile = join(directory, "monitrc");
  const credentialsFile = join(directory, "monit.user");
  const logFile = join(directory, "monit.log");
  const command = [PROGRAM, "-c", controlFile];
  await writeFile(credentialsFile, `${user.name}:${user.password}\n`, { mode: 0o600 });
  await writeFile(controlFile, configuration(options, directory, port, user), { mode: 0o600 });
  // monit refuses a control file that others can read, also one that was there before.
  await chmod(controlFile, 0o600);

  let child: TetheredProcess;
  const launch = async (): Promise<void> => {
    child = spawnTethered(PROGRAM, ["-I", "-c", controlFile], { logFile: join(directory, "monit.out") });
    try {
      await untilAnswering(url, user, child, timeoutMs);
    } catch (cause) {
      await child.end("SIGKILL");
      const output = await readFile(join(directory, "monit.out"), "utf8").catch(() => "");
      throw new Error(`monit did not start in ${directory}: ${String(cause)}\n${output.slice(-2000)}`, { cause });
    }
  };
  await launch();
  return {
    url,
    user,
    credentialsFile,
    command,
    logFile,
    get pid() {
      return child.pid;
    },
    stop: () => child.end("SIGTERM"),
    kill: () => child.end("SIGKILL"),
    async restart() {
      await child.end("SIGTERM");
      await launch();
    },
    reload() {
      process.kill(child.pid, "SIGHUP");
    },
  };
}

async function untilAnswering(
  url: string,
  user: Monit["user"],
  child: TetheredProcess,
  timeoutMs: number,
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  const authorization = `Basic ${Buffer.from(`${user.name}:${user.password}`).toString("base64")}`;
  while (true) {
    if (child.exit !== undefined) throw new Error("monit ended by itself");
    // Another server on a port that was free a moment ago would answer, too, but not to this user.
    const isUp = await fetch(`${url}/_status2?format=xml`, {
      headers: { authorization },
      signal: AbortSignal.timeout(2000),
    }).then(
      async (response) => response.ok && (await response.text()).includes("<monit"),
      () => false,
    );
    if (isUp) return;
    if (Date.now() > deadline) throw new Error(`no answer from ${url} within ${timeoutMs} ms`);
    await sleep(50);
  }
}

function configuration(options: MonitOptions, directory: string, port: number, user: Monit["user"]): string {
  const services = options.services.map(
    ({ name, pidFile, start: startProgram, stop, startTimeoutSeconds = 30, stopTimeoutSeconds = 30 }) =>
      `check process ${name} with pidfile "${resolve(pidFile)}"
  start program = "${commandLine(startProgram)}" with timeout ${startTimeoutSeconds} seconds
  stop program = "${commandLine(stop)}" with timeout ${stopTimeoutSeconds} seconds
  group vcap
`,
  );
  return `set daemon ${options.cycleSeconds ?? 1}
set pidfile "${directory}/monit.pid"
set idfile "${directory}/monit.id"
set statefile "${directory}/monit.state"
set logfile "${directory}/monit.log"
set httpd port ${port} and use address 127.0.0.1
  allow ${user.name}:"${user.password}"
${services.join("")}`;
}

// monit splits a command line at blanks, and an argument in quotes is one.
function commandLine(argv: readonly string[]): string {
  const strange = argv.find((argument) => /["'\\\n]/.test(argument) || argument === "");
  if (strange !== undefined) throw new Error(`monit cannot be given the argument ${JSON.stringify(strange)}`);
  return argv.map((argument) => (/\s/.test(argument) ? `'${argument}'` : argument)).join(" ");
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
