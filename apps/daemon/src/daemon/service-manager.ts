import { execFile } from "node:child_process";
import type { Logger } from "@zk-backyp/core";

/**
 * Whoever started the daemon and wants to know how it is: systemd, or what speaks its notification protocol. Calls
 * return at once and never fail. What is told arrives in the order of the calls.
 */
export interface ServiceManager {
  /** The daemon works; also at the end of a reload, whether that was taken or refused. */
  ready(status: string): void;
  /** A reload has begun. `ready` has to follow. */
  reloading(): void;
  /** A line for people, as `systemctl status` shows it. */
  status(text: string): void;
  /** The daemon is about to end. */
  stopping(): void;
  /** Ends the watchdog's beat; resolves when everything that was told has arrived, or could not. */
  close(): Promise<void>;
}

export interface ServiceManagerOptions {
  /** Whether the daemon gets on with its work: asked before each beat of the watchdog, which is left out if not. */
  isAlive(): boolean;
  readonly logger: Logger;
  /**
   * Its NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are removed, so that no child inherits them. Default: `process.env`.
   */
  readonly env?: NodeJS.ProcessEnv;
}

// The manager takes 4096 bytes in all, and a character may have four.
const LONGEST_STATUS = 500;
// systemd-notify itself waits for 5 s at most until the manager has read the message.
const TOLD_WITHIN_MS = 10_000;

/**
 * Connects to the manager that the environment names. Without NOTIFY_SOCKET all calls do nothing.
 *
 * Node has no datagram sockets of the unix kind, so `systemd-notify`, a part of systemd itself, is run for each message.
 * It stays until the manager has read the message (since systemd 246), else the manager could not tell whose it was. The
 * unit needs `NotifyAccess=all`, as the message comes from a child.
 *
 * If the manager gave a watchdog's time, it is sent a beat three times within it, as long as the event loop turns and
 * `isAlive` says so.
 */
export function connectServiceManager({ isAlive, logger, env = process.env }: ServiceManagerOptions): ServiceManager {
  const { NOTIFY_SOCKET: socket, PATH } = env;
  const watchdogMs = watchdogTimeMs(env);
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) delete env[name];
  if (socket === undefined || socket === "") {
    return { ready() {}, reloading() {}, status() {}, stopping() {}, close: async () => {} };
  }

  let waiting: (readonly string[])[] = [];
  let telling: Promise<void> | null = null;
  let wasLost = false;
  let wasAlive = true;

  function tell(...assignments: string[]): void {
    // A newer status is all that anybody wants to know, and one beat is as good as two: what waits stays small.
    const isOutdated = ([first = ""]: readonly string[]): boolean =>
      /^(STATUS|WATCHDOG)=/.test(first) && first.split("=", 1)[0] === assignments[0]?.split("=", 1)[0];
    waiting = [...waiting.filter((message) => !isOutdated(message)), assignments];
    telling ??= tellAll().finally(() => {
      telling = null;
    });
  }

  async function tellAll(): Promise<void> {
    for (let message = waiting.shift(); message !== undefined; message = waiting.shift()) {
      const problem = await notify(message, { NOTIFY_SOCKET: socket, PATH });
      if (problem === null || wasLost) continue;
      wasLost = true;
      logger.warn(
        { problem },
        `the service manager cannot be told how the daemon is: ${problem}; systemd-notify has to be installed`,
      );
    }
  }

  function beat(): void {
    const alive = isAlive();
    if (alive) tell("WATCHDOG=1");
    else if (wasAlive) logger.warn({}, "the daemon does not get on: the service manager's watchdog will end it");
    wasAlive = alive;
  }

  const timer = watchdogMs === null ? undefined : setInterval(beat, watchdogMs / 3).unref();
  return {
    ready: (status) => tell("READY=1", statusLine(status)),
    // By the clock that systemd itself uses: with Type=notify-reload it has to know which of its signals is meant.
    reloading: () => tell("RELOADING=1", `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`),
    status: (text) => tell(statusLine(text)),
    stopping: () => tell("STOPPING=1"),
    async close() {
      clearInterval(timer);
      await telling;
    },
  };
}

/** Null if there is no watchdog, or it watches another process. */
function watchdogTimeMs({ WATCHDOG_USEC = "", WATCHDOG_PID = "" }: NodeJS.ProcessEnv): number | null {
  if (!/^[1-9]\d{0,15}$/.test(WATCHDOG_USEC)) return null;
  if (WATCHDOG_PID !== "" && WATCHDOG_PID !== String(process.pid)) return null;
  // Longer than a timer of Node can be, it is as good as that.
  return Math.min(Number(WATCHDOG_USEC) / 1000, 2 ** 31 - 1);
}

/** Without line ends, which begin the next assignment. */
function statusLine(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ");
  return `STATUS=${[...line].slice(0, LONGEST_STATUS).join("")}`;
}

/** Null, or why it could not. */
function notify(message: readonly string[], env: NodeJS.ProcessEnv): Promise<string | null> {
  return new Promise((resolve) => {
    const options = { env, timeout: TOLD_WITHIN_MS, killSignal: "SIGKILL" } as const;
    try {
      execFile("systemd-notify", [...message], options, (error, _stdout, stderr) =>
        resolve(error === null ? null : stderr.trim() || error.message),
      );
    } catch (error) {
      // No process can be had: thrown, not reported, for some reasons.
      resolve((error as Error).message);
    }
  });
}
