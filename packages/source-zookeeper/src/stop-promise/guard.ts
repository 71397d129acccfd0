import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { BackypError, childEnvironment } from "@zk-backyp/core";
import { readGuardScript } from "./guard-script.ts";
import { journalIn } from "./journal.ts";
import { identityOf, isAlive, type ProcessIdentity } from "./process-identity.ts";

export interface GuardOptions {
  /** Asks for the start: an absolute path and arguments. Exit code 0 means accepted. */
  readonly startCommand: readonly string[];
  /** The path of the journal of this run. Once that is gone, the guard starts nothing any more. */
  readonly journalFile: string;
  readonly run: string;
  /** From now, in milliseconds; rounded up to seconds. Then it starts the node although this process lives. */
  readonly backInMs: number;
  /** While this file is there the node is left as it is. */
  readonly stayStoppedFile: string | null;
}

/** A small shell that starts the node when this process dies, in whatever way, or is too late. */
export interface Guard {
  readonly pid: number;
  /** Whether it has begun to start the node: ask after every pause, this process may have been stopped for hours. */
  hasActed(): Promise<boolean>;
  /**
   * Ends it. The journal has to be gone by then, or what the guard is doing goes on. Never fails. A start command that
   * it is running comes to its end.
   */
  dismiss(): Promise<void>;
  /** Has it start the node now, as if this process were gone: for who gives up, and leaves the journal. */
  handOver(): void;
}

const ARMED_WITHIN_MS = 10_000;
const GONE_WITHIN_MS = 5_000;
const LARGEST_LOG_BYTES = 262_144;

/**
 * Starts a guard, and resolves once it is armed. What it does is in `guard.log` beside the journal.
 *
 * It survives `kill -9` of this process, a TERM to the process group or to everything in the service's cgroup, and
 * the death of one of its own two shells. It does not survive a reboot, or a supervisor that kills the whole cgroup;
 * then the journal is what the next start goes by.
 *
 * @throws BackypError `ERR_NODE_CONTROL` when it cannot be had; nothing may be stopped then
 */
export async function armGuard(options: GuardOptions): Promise<Guard> {
  const stateDir = dirname(options.journalFile);
  const [script, log] = await Promise.all([readGuardScript(), openLog(join(stateDir, "guard.log"))]).catch(
    (cause: Error) => {
      throw unarmed(cause.message, cause);
    },
  );
  const seconds = Math.max(1, Math.ceil(options.backInMs / 1000));
  const stayStopped = options.stayStoppedFile === null ? "" : resolve(options.stayStoppedFile);
  const fixed = [resolve(options.journalFile), options.run, String(seconds), stayStopped];
  let child: ChildProcess;
  let ending: Ending;
  try {
    child = spawn("/bin/sh", ["-c", script, "zk-backyp-guard", ...fixed, ...options.startCommand], {
      stdio: ["pipe", "pipe", log.fd],
      // A session of its own: what is sent to this process's group, or its terminal, does not end it.
      detached: true,
      // Pins no file system.
      cwd: "/",
      env: childEnvironment(),
    });
    // It may end, or say that it cannot begin, before anything else here has a turn.
    ending = endingOf(child);
    if (child.pid === undefined) {
      await ending.end;
      throw new Error(ending.how ?? "no process can be had");
    }
  } catch (cause) {
    throw unarmed((cause as Error).message, cause);
  } finally {
    await log.close();
  }
  return watch(child, ending, options);
}

interface Ending {
  readonly end: Promise<void>;
  /** In words; null while it runs. */
  readonly how: string | null;
}

function endingOf(child: ChildProcess): Ending {
  let how: string | null = null;
  const end = new Promise<void>((settled) => {
    const settle = (words: string): void => {
      how ??= words;
      settled();
    };
    child.once("error", (error) => settle(error.message));
    child.once("exit", (code, signal) => settle(`it ended with ${signal ?? `exit code ${code}`}, see guard.log`));
  });
  return {
    end,
    get how() {
      return how;
    },
  };
}

async function watch(child: ChildProcess, ending: Ending, { journalFile, run }: GuardOptions): Promise<Guard> {
  const { end } = ending;
  const stdin = child.stdin as (Writable & { unref?(): void }) | undefined;
  const stdout = child.stdout as (Readable & { unref?(): void }) | undefined;
  stdin?.on("error", () => {});
  stdout?.on("error", () => {});

  let timer: ProcessIdentity | null = null;
  let acted = false;
  const armed = new Promise<void>((ready) => {
    let saidArmed = false;
    let timerPid = 0;
    if (stdout === undefined) return;
    createInterface({ input: stdout }).on("line", (line) => {
      if (line === "starting") acted = true;
      if (line === "armed") saidArmed = true;
      if (line.startsWith("timer ")) timerPid = Number(line.slice(6));
      if (saidArmed && timerPid > 0 && timer === null) {
        void identityOf(timerPid).then((identity) => {
          timer = identity;
          ready();
        });
      }
    });
  });

  const dismiss = async (): Promise<void> => {
    stdin?.write("served\n");
    child.ref();
    const waited = new AbortController();
    await Promise.race([end, sleep(GONE_WITHIN_MS, undefined, { signal: waited.signal }).catch(() => {})]);
    waited.abort();
    child.unref();
    // The first of the two shells tells the other one, unless somebody has killed it.
    for (let waitedMs = 0; timer !== null && waitedMs < GONE_WITHIN_MS && (await isAlive(timer)); waitedMs += 20) {
      if (ending.how !== null && waitedMs === 0) signalQuietly(timer.pid);
      await sleep(20);
    }
    stdin?.destroy();
    stdout?.destroy();
  };

  const late = new AbortController();
  await Promise.race([armed, end, sleep(ARMED_WITHIN_MS, undefined, { signal: late.signal }).catch(() => {})]);
  late.abort();
  if (timer === null || ending.how !== null || child.pid === undefined) {
    if (child.pid !== undefined) await dismiss();
    throw unarmed(ending.how ?? `it was not ready within ${ARMED_WITHIN_MS / 1000} s`);
  }
  // Neither keeps this process from ending.
  child.unref();
  stdin?.unref?.();
  stdout?.unref?.();
  return {
    pid: child.pid,
    async hasActed() {
      return acted || (await journalIn(dirname(journalFile)).rescue(run)) !== "none";
    },
    dismiss,
    handOver() {
      stdin?.destroy();
    },
  };
}

async function openLog(path: string): Promise<FileHandle> {
  const { O_APPEND, O_CREAT, O_WRONLY, O_NOFOLLOW } = constants;
  const log = await open(path, O_APPEND | O_CREAT | O_WRONLY | O_NOFOLLOW, 0o600);
  if ((await log.stat()).size > LARGEST_LOG_BYTES) await log.truncate();
  return log;
}

function signalQuietly(pid: number): void {
  try {
    process.kill(pid, "SIGUSR1");
  } catch {
    // Gone in this moment.
  }
}

function unarmed(why: string, cause?: unknown): BackypError {
  return new BackypError(
    "ERR_NODE_CONTROL",
    `cannot start the guard that brings the node back if this process dies: ${why}; it needs /bin/sh and sleep`,
    { cause },
  );
}
