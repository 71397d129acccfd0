import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));

/** A line of the daemon's log. */
type LogLine = Readonly<Record<string, unknown>>;

/** The daemon as a process of its own. */
export interface RunningDaemon {
  readonly pid: number;
  /** All of the log so far. */
  lines(): readonly LogLine[];
  /** Resolves to the first line of that event, from the `after`-th line on, which `is` takes. */
  line(
    event: string,
    options?: { is?: (line: LogLine) => boolean; after?: number; withinMs?: number },
  ): Promise<LogLine>;
  /** Where it listens. */
  url(): Promise<string>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves to the exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Ends it as a service manager does, and by force if that takes too long. */
  stop(): Promise<number | NodeJS.Signals>;
  readonly stderr: () => string;
}

/** Starts `zk-backyp daemon` with a configuration. It is ended by {@link RunningDaemon.stop}. */
export function startDaemonProcess(
  config: string,
  {
    env = {},
    cwd,
    args = [],
  }: {
    readonly env?: Readonly<Record<string, string>>;
    readonly cwd?: string;
    readonly args?: readonly string[];
  } = {},
): RunningDaemon {
  const child: ChildProcess = spawn(process.execPath, [MAIN, "daemon", "--config", config, ...args], {
    env: { PATH: process.env.PATH ?? "", HOME: "/nonexistent", AWS_EC2_METADATA_DISABLED: "true", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
  });
  let text = "";
  let errors = "";
  child.stdout?.on("data", (chunk) => {
    text += chunk;
  });
  child.stderr?.on("data", (chunk) => {
    errors += chunk;
  });
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  let over = false;
  // It does not outlive a test run that forgets it.
  const onExit = (): void => void child.kill("SIGKILL");
  process.once("exit", onExit);
  void ended.then(() => {
    over = true;
    process.off("exit", onExit);
  });
  const lines = (): LogLine[] =>
    text
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine);
  const line: RunningDaemon["line"] = async (event, { is = () => true, after = 0, withinMs = 30_000 } = {}) => {
    for (const deadline = Date.now() + withinMs; ; await sleep(25)) {
      const found = lines()
        .slice(after)
        .find((each) => each.event === event && is(each));
      if (found !== undefined) return found;
      if (over || Date.now() > deadline) throw new Error(`no line ${event} in:\n${text}\n${errors}`);
    }
  };
  return {
    pid: child.pid ?? 0,
    lines,
    line,
    url: async () => String((await line("http.listens")).url),
    kill: (signal) => void child.kill(signal),
    ended,
    async stop() {
      child.kill("SIGCONT");
      child.kill("SIGTERM");
      const late = sleep(30_000, "late", { ref: false });
      if ((await Promise.race([ended, late])) === "late") child.kill("SIGKILL");
      return ended;
    },
    stderr: () => errors,
  };
}
