import { createServer, type Server, type Socket } from "node:net";
import { BackypError, type Logger } from "@zk-backyp/core";
import type { NodeControl } from "../node-control/node-control.ts";
import { listenAt } from "./listen.ts";
import { keepNode, type NodeKeeper } from "./node-keeper.ts";
import { type Answer, lineCutter, parseRequest, type Request, toAnswer, toLine } from "./protocol.ts";

export interface RootHelperOptions {
  /** Absolute path of the unix socket; at most 100 bytes. Its folder is made if it is missing. */
  readonly socket: string;
  /** The group, by name or number, that may use the socket. Default: this process's own. */
  readonly group?: string;
  /** The one node it stops and starts. It stays the caller's, who closes it. */
  readonly control: NodeControl;
  /** Where its journal is: a folder of its own, on a disk that survives a reboot, that its clients cannot write to. */
  readonly stateDir: string;
  /** How long a client may keep the node stopped at most, in milliseconds, whatever it asks for. */
  readonly maxDowntimeMs: number;
  /** While this file is there, an operator wants the node to stay stopped. */
  readonly stayStoppedFile: string | null;
  readonly logger: Logger;
}

export interface RootHelper {
  /** Has the node started if it is stopped for a client, and ends. To be called on SIGTERM. Never fails. */
  close(): Promise<void>;
}

const LARGEST_DOWNTIME_MS = 86_400_000;
const MOST_CONNECTIONS = 16;
const IDLE_MS = 60_000;

/**
 * Lets processes that may not ask the supervisor stop and start one node, over a unix socket (see `protocol.ts`), and
 * keeps the promise that it comes back: it is started when the connection that had it stopped ends, for whatever
 * reason, and at the deadline; by the guard when this process dies; and by the recovery when it starts again.
 *
 * A client names nothing, no command, service or path.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` for options that cannot be
 * @throws BackypError `ERR_BUSY` when another one lives
 * @throws BackypError `ERR_NODE_CONTROL` when the socket cannot be made
 */
export async function startRootHelper(options: RootHelperOptions): Promise<RootHelper> {
  const { control, maxDowntimeMs, logger } = options;
  const { startCommand } = control;
  if (startCommand === null) {
    throw new BackypError("ERR_CONFIG_INVALID", `${control.name} has no command that starts it, which a guard needs`);
  }
  if (!Number.isSafeInteger(maxDowntimeMs) || maxDowntimeMs < 1 || maxDowntimeMs > LARGEST_DOWNTIME_MS) {
    throw new BackypError("ERR_CONFIG_INVALID", `maxDowntimeMs: ${maxDowntimeMs} is not from 1 to a day`);
  }
  const sockets = new Set<Socket>();
  let keeper: NodeKeeper | undefined;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    if (keeper === undefined) socket.destroy();
    else serve(socket, keeper, logger);
  });
  server.maxConnections = MOST_CONNECTIONS;
  const removeSocket = await listenAt(server, options.socket, options.group);
  try {
    keeper = await keepNode({ ...options, startCommand });
  } catch (error) {
    await removeSocket();
    await closeServer(server, sockets);
    throw error;
  }
  const started = keeper;
  logger.info({ socket: options.socket, node: control.name }, "the helper is ready");
  return {
    async close() {
      await removeSocket();
      const closed = closeServer(server, sockets);
      await started.close();
      await closed;
    },
  };
}

function closeServer(server: Server, sockets: Iterable<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    for (const socket of sockets) socket.destroy();
  });
}

function serve(socket: Socket, keeper: NodeKeeper, logger: Logger): void {
  const gone = new AbortController();
  const cut = lineCutter();
  const waiting: string[] = [];
  let busy = false;

  const left = (): void => {
    gone.abort();
    keeper.left(socket);
  };
  socket.on("end", left);
  socket.on("close", left);
  socket.on("error", () => {});
  socket.setTimeout(IDLE_MS);
  socket.on("timeout", () => {
    if (busy || keeper.holds(socket)) socket.setTimeout(IDLE_MS);
    else socket.destroy();
  });
  socket.on("data", (chunk) => {
    const lines = cut(chunk as Buffer);
    if (lines === null || waiting.length + lines.length > MOST_WAITING) {
      refuse(socket, "a line is too long, or there are too many");
      return;
    }
    waiting.push(...lines);
    if (!busy) void work();
  });

  async function work(): Promise<void> {
    busy = true;
    for (let line = waiting.shift(); line !== undefined && !gone.signal.aborted; line = waiting.shift()) {
      const request = parseRequest(line);
      if (request === null) {
        refuse(socket, "this is no request");
        return;
      }
      const answer = await answerTo(request, socket, keeper, gone.signal).catch(toAnswer);
      // A client that waits asks for the status all the time.
      if (request.do !== "status" || !answer.ok) logger.info({ request, answer }, "a client's request was answered");
      if (!gone.signal.aborted) socket.write(toLine(answer));
      // It asks and asks, and reads nothing.
      if (socket.writableLength > MOST_UNREAD_BYTES) {
        socket.destroy();
        return;
      }
    }
    busy = false;
  }
}

const MOST_WAITING = 16;
const MOST_UNREAD_BYTES = 64 * 1024;

/** Says why, and ends the connection: nothing more that comes from it is looked at. */
function refuse(socket: Socket, why: string): void {
  socket.removeAllListeners("data");
  socket.end(toLine({ ok: false, code: "ERR_NODE_CONTROL", message: why }), () => socket.destroy());
}

async function answerTo(request: Request, socket: Socket, keeper: NodeKeeper, signal: AbortSignal): Promise<Answer> {
  switch (request.do) {
    case "status":
      return { ok: true, ...(await keeper.status(signal)) };
    case "stop":
      await keeper.stop(socket, request.backInMs);
      // It may have gone before there was anything to give back.
      if (signal.aborted) keeper.left(socket);
      return { ok: true };
    case "start":
      await keeper.start(socket, signal);
      return { ok: true };
  }
}
