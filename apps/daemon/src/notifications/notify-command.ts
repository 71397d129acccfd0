import { spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { childEnvironment } from "@zk-backyp/core";
import type { NotificationConfig } from "../config.ts";
import { printable } from "../printable.ts";
import type { Notification } from "./notification.ts";

export type CommandConfig = Extract<NotificationConfig, { readonly use: "command" }>;

/** How long a command may take, in milliseconds. */
const COMMAND_WITHIN_MS = 30_000;
/** What is kept of its output: the end, in bytes and in lines. */
const OUTPUT_BYTES = 4_096;
const OUTPUT_LINES = 5;
/** How long output may still come in milliseconds after the end: a child of the command may hold it open for ever. */
const REST_WITHIN_MS = 200;

interface CommandContext {
  readonly signal: AbortSignal;
  /** Default: {@link COMMAND_WITHIN_MS}. */
  readonly withinMs?: number;
}

/**
 * Runs a command without a shell, with the notification as JSON on stdin. It leads a process group, all of which is
 * killed when it takes too long or the signal is aborted.
 *
 * @returns the last lines of what it wrote to stdout and stderr
 * @throws Error that says how it ended, with these lines; its arguments are not shown
 */
export async function runNotifyCommand(
  { command: [program = "", ...args] }: CommandConfig,
  notification: Notification,
  { signal, withinMs = COMMAND_WITHIN_MS }: CommandContext,
): Promise<string> {
  signal.throwIfAborted();
  const child = spawn(program, args, {
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
    env: { ...childEnvironment(), ...variablesOf(notification) },
  });
  return new Promise((resolve, reject) => {
    let killed = "";
    const kill = (reason: string): void => {
      killed = reason;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has just ended.
      }
    };
    const limit = setTimeout(() => kill(`took longer than ${withinMs / 1000} s and was killed`), withinMs);
    const onAbort = (): void => kill("was killed, since the daemon ends");
    signal.addEventListener("abort", onAbort, { once: true });
    const over = (): void => {
      clearTimeout(limit);
      signal.removeEventListener("abort", onAbort);
    };
    const output = lastLines([child.stdout, child.stderr]);
    child.once("error", (cause) => {
      over();
      // The cause itself knows all arguments.
      reject(new Error(`${program} cannot be run: ${cause.message}`));
    });
    child.once("exit", (code, endedBy) => {
      over();
      const settle = (): void => {
        clearTimeout(rest);
        child.stdout.destroy();
        child.stderr.destroy();
        const how = killed === "" ? `ended with ${endedBy ?? `exit code ${code}`}` : killed;
        const said = output();
        if (code === 0) resolve(said);
        else reject(new Error(`${program} ${how}${said === "" ? "" : `: ${said}`}`));
      };
      const rest = setTimeout(settle, REST_WITHIN_MS);
      child.once("close", settle);
    });
    // A command that does not want to know closes it.
    child.stdin.on("error", () => {});
    child.stdin.end(`${JSON.stringify(notification)}\n`);
  });
}

function variablesOf({ event, series, host, message, kind, backupId, errorCode }: Notification): NodeJS.ProcessEnv {
  const all = {
    ZK_BACKYP_EVENT: event,
    ZK_BACKYP_SERIES: series,
    ZK_BACKYP_HOST: host,
    ZK_BACKYP_MESSAGE: message,
    ZK_BACKYP_KIND: kind,
    ZK_BACKYP_BACKUP_ID: backupId ?? "",
    ZK_BACKYP_ERROR_CODE: errorCode ?? "",
  };
  // The system has no variables with a NUL in them.
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, value.replaceAll("\0", "\ufffd")]));
}

function lastLines(streams: readonly Readable[]): () => string {
  let kept = Buffer.alloc(0);
  for (const stream of streams) {
    stream.on("data", (chunk: Buffer) => {
      kept = Buffer.concat([kept, chunk]).subarray(-OUTPUT_BYTES);
    });
    stream.on("error", () => {});
  }
  return () => printable(kept.toString().trim().split("\n").slice(-OUTPUT_LINES).join("\n"));
}
