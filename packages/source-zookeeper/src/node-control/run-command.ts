import { spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { abortError, BackypError, childEnvironment } from "@zk-backyp/core";

/** How long a supervisor may take for an answer, in milliseconds. */
export const ANSWER_WITHIN_MS = 30_000;

/** What is kept of a command's output in bytes: more than a supervisor has to say of a few hundred services. */
const OUTPUT_BYTES = 1024 * 1024;

/** What is kept of its stderr in bytes: the end, where the reason stands. */
const STDERR_BYTES = 4096;

/** How long a command has in milliseconds from SIGTERM to SIGKILL, once it took too long. */
const END_WITHIN_MS = 5_000;

/** How long output may still come in milliseconds after the end: a child of the command may hold it open for ever. */
const REST_WITHIN_MS = 200;

/** What is looked through where the PATH is short, as it is for services. */
const USUAL_FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

export interface CommandResult {
  /** Exit code; null when a signal ended the command. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Empty unless it was wanted. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  readonly wantsOutput?: boolean;
  /** Default: ours, without what {@link childEnvironment} leaves out. */
  readonly environment?: NodeJS.ProcessEnv;
}

/**
 * Runs a command without a shell, in a session of its own, so that a Ctrl-C on our terminal does not end it half-way.
 * Only the command itself is ended when it is aborted or late, never its children: the node may be one of them.
 *
 * @throws BackypError `ERR_NODE_CONTROL` when it cannot be started or takes longer than `timeoutMs`, else what the
 * signal says
 */
export function runCommand(argv: readonly string[], options: RunOptions): Promise<CommandResult> {
  const { timeoutMs, signal: abort, wantsOutput = false, environment = childEnvironment() } = options;
  const [program = "", ...args] = argv;
  return new Promise((fulfil, reject) => {
    if (abort?.aborted === true) {
      reject(abortError(abort));
      return;
    }
    const child = spawn(program, args, {
      stdio: ["ignore", wantsOutput ? "pipe" : "ignore", "pipe"],
      detached: true,
      env: { ...environment, LC_ALL: "C" },
    });
    const stdout = keepEnd(child.stdout, OUTPUT_BYTES);
    const stderr = keepEnd(child.stderr, STDERR_BYTES);
    let isLate = false;
    let lastResort: NodeJS.Timeout | undefined;
    const end = (): void => {
      child.kill("SIGTERM");
      lastResort ??= setTimeout(() => child.kill("SIGKILL"), END_WITHIN_MS);
    };
    const limit = setTimeout(() => {
      isLate = true;
      end();
    }, timeoutMs);
    const onAbort = (): void => {
      end();
      if (abort !== undefined) reject(abortError(abort));
    };
    abort?.addEventListener("abort", onAbort, { once: true });
    const over = (): void => {
      clearTimeout(limit);
      clearTimeout(lastResort);
      abort?.removeEventListener("abort", onAbort);
    };

    child.on("error", (cause) => {
      over();
      reject(nodeControlError(`cannot run ${program}: ${cause.message}`, { cause }));
    });
    child.on("exit", (code, signal) => {
      over();
      const settle = (): void => {
        clearTimeout(rest);
        child.stdout?.destroy();
        child.stderr?.destroy();
        const result = { code, signal, stdout: stdout(), stderr: stderr() };
        if (isLate) {
          reject(
            nodeControlError(`${argv.join(" ")} took longer than ${timeoutMs} ms and was ended${lastLine(result)}`),
          );
        } else {
          fulfil(result);
        }
      };
      const rest = setTimeout(settle, REST_WITHIN_MS);
      child.once("close", settle);
    });
  });
}

/** `: exit code 1: <last line of stderr>`, for the end of an error's message. */
export function howItEnded(result: CommandResult): string {
  return `: ${result.signal ?? `exit code ${result.code}`}${lastLine(result)}`;
}

function lastLine({ stderr }: CommandResult): string {
  const line = stderr.trimEnd().split("\n").at(-1)?.trim() ?? "";
  return line === "" ? "" : `: ${line}`;
}

/**
 * The absolute path of a program: as it is, counted from `folder` where it is a relative path, looked up where it is a
 * bare name. Resolved once, so that whoever runs it later, elsewhere, runs the same.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` when there is none
 */
export function findProgram(name: string, folder: string): string {
  const candidates = name.includes("/")
    ? [resolve(folder, name)]
    : [...(process.env.PATH ?? "").split(delimiter), ...USUAL_FOLDERS]
        .filter((path) => path.startsWith("/"))
        .map((path) => join(path, name));
  const found = candidates.find(isProgram);
  if (found !== undefined) return found;
  const where = name.includes("/")
    ? `${candidates[0]} is no program that may be run`
    : `there is no ${name} on the PATH`;
  throw new BackypError("ERR_CONFIG_INVALID", `the node's control: ${where}; name its absolute path`);
}

export function nodeControlError(message: string, options?: { readonly cause?: unknown }): BackypError {
  return new BackypError("ERR_NODE_CONTROL", message, options);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

function keepEnd(stream: Readable | null, limitBytes: number): () => string {
  let kept = Buffer.alloc(0);
  stream?.on("data", (chunk: Buffer) => {
    kept = Buffer.concat([kept, chunk]);
    if (kept.byteLength > limitBytes) kept = kept.subarray(-limitBytes);
  });
  stream?.on("error", () => {});
  return () => kept.toString();
}
