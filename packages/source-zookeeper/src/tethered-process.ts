import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";

/** A child process that does not outlive this process. */
export interface TetheredProcess extends AsyncDisposable {
  /** How it ended, in words; null while it runs. */
  readonly end: string | null;
}

// Reads from its stdin the pid to guard and then blocks on it. The other end of that pipe is held by our process alone:
// it closes when our process is gone in any way, kill -9 included.
const GUARD = "read -r pid || exit 0; read -r _; kill -KILL $pid";

/**
 * Starts a process, whose output goes to `logFile`. It is killed when it is disposed of (which resolves when it is
 * gone), and by a small shell if our process ends before that. A Ctrl-C on the terminal does not reach it.
 */
export function spawnTethered(command: string, args: readonly string[], logFile: string, cwd: string): TetheredProcess {
  const guard = spawn("/bin/sh", ["-c", GUARD], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  guard.on("error", () => {});
  guard.stdin.on("error", () => {});
  guard.unref();
  (guard.stdin as unknown as { unref?: () => void }).unref?.();

  const log = openSync(logFile, "a");
  let child: ChildProcess;
  try {
    child = spawn(command, [...args], { stdio: ["ignore", log, log], detached: true, cwd });
  } finally {
    closeSync(log);
  }
  let end: string | null = null;
  const ended = new Promise<void>((resolve) => {
    const settle = (how: string): void => {
      // The pid may be another process's from now on.
      guard.kill("SIGKILL");
      end ??= how;
      resolve();
    };
    child.on("error", (error) => settle(error.message));
    child.on("exit", (code, signal) => settle(signal ?? `exit code ${code}`));
  });
  if (child.pid !== undefined) guard.stdin.write(`${child.pid}\n`);
  return {
    get end() {
      return end;
    },
    async [Symbol.asyncDispose]() {
      if (end === null) child.kill("SIGKILL");
      await ended;
    },
  };
}
