import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";

/** A child process that does not outlive the process that started it. */
export interface TetheredProcess {
  readonly pid: number;
  /** How it ended; undefined while it runs. */
  readonly exit: ProcessExit | undefined;
  /** Resolves when it has ended and been reaped: its pid is gone, its ports are closed. */
  readonly exited: Promise<ProcessExit>;
  /** Sends the signal and waits for the end. After `patienceMs` (30 s if not given) it sends SIGKILL. */
  end(signal: "SIGTERM" | "SIGKILL", patienceMs?: number): Promise<void>;
}

/** How a process ended: one of the two is set. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

// Reads the pid to guard from its stdin, then blocks on it. The other end of that pipe is held by our process alone, so
// it closes when our process is gone in any way, kill -9 included.
const WATCHDOG = "read -r pid || exit 0; read -r _; kill -KILL $pid";

/**
 * Starts a process whose output is appended to `logFile`, in a process group of its own (a Ctrl-C on the terminal
 * reaches the starter, which stops its servers in its own order). When the starter dies, a small shell kills the
 * process. Neither keeps the starter's event loop alive.
 */
export function spawnTethered(
  command: string,
  args: readonly string[],
  options: { logFile: string; cwd?: string; env?: NodeJS.ProcessEnv },
): TetheredProcess {
  const watchdog = spawn("/bin/sh", ["-c", WATCHDOG], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  watchdog.on("error", () => {});
  watchdog.stdin.on("error", () => {});

  const log = openSync(options.logFile, "a");
  let child: ChildProcess;
  try {
    child = spawn(command, [...args], {
      stdio: ["ignore", log, log],
      detached: true,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(options.env === undefined ? {} : { env: options.env }),
    });
  } finally {
    closeSync(log);
  }
  const pid = child.pid;
  if (pid === undefined) {
    watchdog.kill("SIGKILL");
    child.on("error", () => {});
    throw new Error(`cannot start ${command}: no such program, or it may not be run`);
  }
  watchdog.stdin.write(`${pid}\n`);

  let exit: ProcessExit | undefined;
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once("exit", (code, signal) => {
      // The pid may belong to somebody else from now on.
      watchdog.kill("SIGKILL");
      exit = { code, signal };
      resolve(exit);
    });
  });

  child.unref();
  watchdog.unref();
  const pipe = watchdog.stdin as unknown as { unref?: () => void };
  pipe.unref?.();

  return {
    pid,
    get exit() {
      return exit;
    },
    exited,
    async end(signal, patienceMs = 30_000) {
      if (exit !== undefined) return;
      child.ref();
      child.kill(signal);
      const lastResort = setTimeout(() => child.kill("SIGKILL"), patienceMs);
      await exited;
      clearTimeout(lastResort);
    },
  };
}
