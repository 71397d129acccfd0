import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Writable } from "node:stream";

/** A child process that does not outlive this process. */
export interface TetheredProcess extends AsyncDisposable {
  /** How it ended, in words; null while it runs. */
  readonly end: string | null;
}

// Reads from its stdin the pid to guard and then blocks on it. The other end of that pipe is held by our process alone:
// it closes when our process is gone in any way, kill -9 included.
const GUARD = "read -r pid || exit 0; read -r _; kill -KILL $pid";

// Becomes the command, under its own pid, when it is told to, and never if our process is gone before that: what is
// started has its guard already.
const START = 'read -r _ && exec "$0" "$@" </dev/null';

/**
 * Starts a process, whose output goes to `logFile`. It is killed when it is disposed of (which resolves when it is
 * gone), and by a small shell if our process ends before that. A Ctrl-C on the terminal does not reach it.
 */
export function spawnTethered(
  command: string,
  args: readonly string[],
  { logFile, cwd, env }: { readonly logFile: string; readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): TetheredProcess {
  const log = openSync(logFile, "a");
  const guard = spawn("/bin/sh", ["-c", GUARD], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  guard.on("error", () => {});
  guard.unref();
  // Not there where our process has no file descriptor left.
  const stdin = guard.stdin as (Writable & { unref?(): void }) | undefined;
  stdin?.on("error", () => {});
  stdin?.unref?.();

  let child: ChildProcess;
  try {
    child = spawn("/bin/sh", ["-c", START, command, ...args], { stdio: ["pipe", log, log], detached: true, cwd, env });
  } catch (error) {
    guard.kill("SIGKILL");
    throw error;
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
  child.stdin?.on("error", () => {});
  if (child.pid !== undefined) stdin?.write(`${child.pid}\n`);
  child.stdin?.end("\n");
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
