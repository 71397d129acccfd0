import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { abortError, BackypError, systemErrorCode } from "@zk-backyp/core";
import { type Answer, lineCutter, parseAnswer, type Request, toError, toLine } from "../root-helper/protocol.ts";
import type { NodeControl } from "./node-control.ts";
import { ANSWER_WITHIN_MS } from "./run-command.ts";

export interface HelperControlOptions {
  /** Absolute path of the root helper's unix socket. */
  readonly socket: string;
}

/** How long a helper may be away, or restarting, before a start gives up. */
const AWAY_MS = 30_000;
const AWAY_POLL_MS = 250;

/**
 * The node behind a root helper. The helper keeps the promise: it starts the node when the connection ends that asked
 * for the stop. That one is held until the node was seen running after a start, or {@link NodeControl.close}.
 */
export function openHelperControl({ socket: path }: HelperControlOptions): NodeControl {
  let held: Connection | null = null;
  let holding: Promise<Connection> | null = null;
  let startAsked = false;

  const letGo = (): void => {
    held?.close();
    held = null;
  };
  const hold = async (signal: AbortSignal): Promise<Connection> => {
    if (held?.isOpen() === true) return held;
    holding ??= connectTo(path, signal).finally(() => {
      holding = null;
    });
    held = await holding;
    return held;
  };
  /** On a connection of its own: the held one may be waiting for an answer. */
  const askOnce = async (request: Request, signal: AbortSignal): Promise<Succeeded> => {
    const connection = await connectTo(path, signal);
    try {
      return await connection.ask(request, signal);
    } finally {
      connection.close();
    }
  };
  const askStatus = async (signal: AbortSignal): Promise<Succeeded> => {
    const limit = AbortSignal.timeout(ANSWER_WITHIN_MS);
    try {
      return await askOnce({ do: "status" }, AbortSignal.any([signal, limit]));
    } catch (error) {
      if (signal.aborted || !limit.aborted) throw error;
      throw away(path, `it has not answered within ${ANSWER_WITHIN_MS / 1000} s`);
    }
  };
  return {
    name: `the node of the helper at ${path}`,
    startCommand: null,
    // That depends on what the helper asks.
    tellsFailed: false,
    async stop({ signal, backInMs }) {
      startAsked = false;
      const connection = await hold(signal);
      try {
        await connection.ask({ do: "stop", backInMs: Math.max(1, Math.round(backInMs)) }, signal);
      } catch (error) {
        // The helper takes it as: start it again, if it was stopped.
        letGo();
        throw error;
      }
    },
    async start({ signal }) {
      const end = performance.now() + AWAY_MS;
      for (;;) {
        try {
          if (held?.isOpen() === true) await held.ask({ do: "start" }, signal);
          else await askOnce({ do: "start" }, signal);
          startAsked = true;
          return;
        } catch (error) {
          if (signal.aborted) throw abortError(signal);
          if (!(error instanceof HelperAway) || performance.now() >= end) throw error;
        }
        letGo();
        await sleep(AWAY_POLL_MS, undefined, { signal }).catch(() => {});
      }
    },
    async status({ signal }) {
      const { state, pid } = await askStatus(signal);
      if (state === undefined) throw noAnswer(path);
      if (state === "running" && startAsked) letGo();
      return { state, pid: pid ?? null };
    },
    async whyKeepStopped({ signal }) {
      return (await askStatus(signal)).keepStopped ?? null;
    },
    async close() {
      letGo();
    },
  };
}

type Succeeded = Extract<Answer, { ok: true }>;

interface Connection {
  ask(request: Request, signal: AbortSignal): Promise<Succeeded>;
  isOpen(): boolean;
  close(): void;
}

/** The helper does not answer, now: it may be restarting. */
class HelperAway extends BackypError {}

function connectTo(path: string, signal: AbortSignal): Promise<Connection> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(abortError(signal));
      return;
    }
    const socket = connect(path);
    const abort = (): void => {
      socket.destroy();
      reject(abortError(signal));
    };
    signal.addEventListener("abort", abort, { once: true });
    socket.once("error", (error) => {
      signal.removeEventListener("abort", abort);
      reject(unreachable(path, error));
    });
    socket.once("connect", () => {
      signal.removeEventListener("abort", abort);
      resolve(connectionOf(socket, path));
    });
  });
}

function connectionOf(socket: Socket, path: string): Connection {
  const cut = lineCutter();
  // Answers come in the order of the requests.
  const waiting: ((answer: Answer | Error) => void)[] = [];
  const end = (): void => {
    for (const settle of waiting.splice(0)) settle(away(path, "it has closed the connection"));
  };
  socket.on("data", (chunk) => {
    const lines = cut(chunk as Buffer);
    if (lines === null) {
      socket.destroy();
      return;
    }
    for (const line of lines) waiting.shift()?.(parseAnswer(line) ?? noAnswer(path));
  });
  socket.on("error", () => {});
  socket.on("close", end);
  return {
    ask: (request, signal) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(abortError(signal));
          return;
        }
        // An answer that nobody waits for would be taken for the next one, so that the connection is of no use.
        const abort = (): void => {
          socket.destroy();
          reject(abortError(signal));
        };
        signal.addEventListener("abort", abort, { once: true });
        waiting.push((answer) => {
          signal.removeEventListener("abort", abort);
          if (answer instanceof Error) reject(answer);
          else if (answer.ok) resolve(answer);
          else reject(toError(answer));
        });
        if (socket.destroyed) end();
        else socket.write(toLine(request));
      }),
    isOpen: () => !socket.destroyed,
    close: () => socket.end(),
  };
}

function away(path: string, why: string, cause?: unknown): BackypError {
  const message = `the helper at ${path} does not answer: ${why}; is it running?`;
  return new HelperAway("ERR_NODE_CONTROL", message, { cause, details: { path } });
}

function unreachable(path: string, cause: Error): BackypError {
  const code = systemErrorCode(cause);
  if (code === "EACCES" || code === "EPERM") {
    const message = `may not use the helper's socket ${path}; is this user in the group that it was started for?`;
    return new BackypError("ERR_NODE_CONTROL", message, { cause, details: { path } });
  }
  return away(path, code === "ENOENT" ? "there is no such socket" : cause.message, cause);
}

function noAnswer(path: string): BackypError {
  return new BackypError("ERR_NODE_CONTROL", `what answers at ${path} is not a helper of this release`, {
    details: { path },
  });
}
