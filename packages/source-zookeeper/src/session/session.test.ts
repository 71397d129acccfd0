import { createServer, type Server, type Socket } from "node:net";
import { isBackypError } from "@zk-backyp/core";
import { JuteWriter, OPEN_ACL } from "@zk-backyp/zookeeper-files";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { ServerAddress } from "../ensemble/server-address.ts";
import { FrameReader } from "./frame-reader.ts";
import { openSession, type Session } from "./session.ts";

// Servers that do what real ones cannot be made to do. What real ones do: test/stop-lock.test.ts.

const { signal } = new AbortController();
const servers = new Set<Server>();
const sockets = new Set<Socket>();
const sessions: Session[] = [];

interface Script {
  /** Answers the first packet of a connection; a number is the session's id, with a password of that number. */
  hello(packet: Buffer, socket: Socket): Buffer | bigint | null;
  /** Answers a request; a number is the error of a reply. */
  request?(xid: number, type: number, socket: Socket): Buffer | number | null;
}

const CREATE = 1;
const DELETE = 2;
const EXISTS = 3;
const SET_DATA = 5;
const GET_CHILDREN = 8;
const AUTH = 100;
const CLOSE = -11;

async function start(script: Script): Promise<ServerAddress> {
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    const frames = new FrameReader();
    let greeted = false;
    socket.on("data", (chunk: Buffer) => {
      for (const frame of frames.push(chunk)) {
        const answer = greeted
          ? (script.request ?? ok)(frame.readInt32BE(0), frame.readInt32BE(4), socket)
          : script.hello(frame, socket);
        if (typeof answer === "bigint") socket.write(welcome(answer));
        else if (typeof answer === "number") socket.write(reply(frame.readInt32BE(0), answer));
        else if (answer !== null) socket.write(answer);
        greeted = true;
      }
    });
  });
  servers.add(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { host: "127.0.0.1", port: (server.address() as { port: number }).port };
}

function packet(write: (writer: JuteWriter) => void): Buffer {
  const writer = new JuteWriter();
  write(writer);
  const body = writer.take();
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.byteLength);
  return Buffer.concat([size, body]);
}

function welcome(sessionId: bigint, timeoutMs = 30_000): Buffer {
  return packet((writer) => {
    writer.int(0, "");
    writer.int(timeoutMs, "");
    writer.long(sessionId, "");
    writer.buffer(Buffer.alloc(16, Number(sessionId & 0xffn)), "");
    writer.boolean(false);
  });
}

function reply(xid: number, error: number, zxid = 7n): Buffer {
  return packet((writer) => {
    writer.int(xid, "");
    writer.long(zxid, "");
    writer.int(error, "");
    if (error === 0) writer.text("/a", "");
  });
}

function statReply(xid: number): Buffer {
  return packet((writer) => {
    writer.int(xid, "");
    writer.long(7n, "");
    writer.int(0, "");
    for (let i = 0; i < 4; i++) writer.long(1n, "");
    for (let i = 0; i < 3; i++) writer.int(0, "");
    writer.long(9n, "");
    for (let i = 0; i < 2; i++) writer.int(0, "");
    writer.long(1n, "");
  });
}

const ok = (): number => 0;

async function open(...addresses: readonly ServerAddress[]): Promise<Session> {
  const session = await openSession({ servers: addresses, signal });
  sessions.push(session);
  return session;
}

const create = (session: Session, abort: AbortSignal = signal): Promise<string> =>
  session.create("/a", Buffer.alloc(0), { acl: OPEN_ACL, mode: "ephemeral" }, abort);

/** What ZooKeeper calls the error that this fails with. */
async function refusal(request: Promise<unknown>): Promise<unknown> {
  try {
    await request;
  } catch (error) {
    if (isBackypError(error)) return error.details.zooKeeperError ?? error.code;
    throw error;
  }
  throw new Error("this should have failed");
}

afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(sessions.splice(0).map((session) => session.close()));
  for (const socket of sockets) socket.destroy();
  for (const server of servers) server.close();
  sockets.clear();
  servers.clear();
});

describe("a session", () => {
  it("is what the server has made of it", async () => {
    const server = await start({ hello: () => welcome(9n, 4_000) });
    const session = await open(server);
    expect(session.id).toBe(9n);
    expect(session.timeoutMs).toBe(4_000);
    expect(session.server).toEqual(server);
    expect(await create(session)).toBe("/a");
  });

  it("is surely alive for two thirds of its timeout after an answer was asked for, by either clock", async () => {
    vi.useFakeTimers({ toFake: ["performance", "Date"] });
    const session = await open(await start({ hello: () => 9n }));
    expect(session.isSurelyAlive()).toBe(true);
    vi.advanceTimersByTime(19_999);
    expect(session.isSurelyAlive()).toBe(true);
    vi.advanceTimersByTime(1);
    expect(session.isSurelyAlive()).toBe(false);
    await create(session);
    expect(session.isSurelyAlive()).toBe(true);
    // The machine was suspended: the monotonic clock has not moved.
    vi.setSystemTime(Date.now() + 20_000);
    expect(session.isSurelyAlive()).toBe(false);
    await create(session);
    vi.setSystemTime(Date.now() - 3_600_000);
    expect(session.isSurelyAlive()).toBe(true);
    vi.advanceTimersByTime(20_000);
    expect(session.isSurelyAlive()).toBe(false);
  });

  it("does not take an answer for younger than its question", async () => {
    vi.useFakeTimers({ toFake: ["performance", "Date"] });
    let onAsked = (_answer: () => void): void => {};
    const asked = new Promise<() => void>((resolve) => {
      onAsked = resolve;
    });
    const server = await start({
      hello: () => 9n,
      request: (xid, type, socket) => {
        if (type !== CREATE) return 0;
        onAsked(() => socket.write(reply(xid, 0)));
        return null;
      },
    });
    const session = await open(server);
    const created = create(session);
    const answer = await asked;
    vi.advanceTimersByTime(20_000);
    answer();
    await created;
    expect(session.isSurelyAlive()).toBe(false);
  });

  it("goes on with another server, with its id, its password and the last zxid", async () => {
    const hellos: Buffer[] = [];
    const first = await start({
      hello: () => 9n,
      request: (_, type, socket) => {
        if (type === DELETE) socket.destroy();
        return 0;
      },
    });
    const second = await start({
      hello: (hello) => {
        hellos.push(hello);
        return 9n;
      },
    });
    const session = await openSession({
      servers: [first, second],
      auth: { scheme: "digest", credential: "u:p" },
      signal,
    });
    sessions.push(session);
    expect(await create(session)).toBe("/a");
    expect(await refusal(session.delete("/a", -1, signal))).toBe("CONNECTION_LOSS");
    expect(await create(session)).toBe("/a");
    expect(session.server).toEqual(second);
    const [hello] = hellos as [Buffer];
    expect(hello.readBigInt64BE(4)).toBe(7n);
    expect(hello.readBigInt64BE(16)).toBe(9n);
    expect(hello.subarray(28, 44)).toEqual(Buffer.alloc(16, 9));
  });

  it("is expired for good when a server says so", async () => {
    let connections = 0;
    const server = await start({
      hello: () => (connections++ === 0 ? 9n : welcome(0n, 0)),
      request: (_, __, socket) => {
        socket.destroy();
        return null;
      },
    });
    const session = await open(server);
    expect(await refusal(create(session))).toBe("CONNECTION_LOSS");
    expect(await session.ended).toBe("expired");
    expect(session.isSurelyAlive()).toBe(false);
    expect(await refusal(create(session))).toBe("SESSION_EXPIRED");
    expect(connections).toBe(2);
  });

  it("is expired when nobody has answered for its timeout, though nobody says so", async () => {
    const server = await start({ hello: () => welcome(9n, 1_000), request: () => null });
    const session = await open(server);
    for (const each of servers) each.close();
    for (const socket of sockets) socket.destroy();
    expect(await session.ended).toBe("expired");
  });

  it("is closed once, and then does nothing more", async () => {
    const session = await open(await start({ hello: () => 9n }));
    await session.close();
    await session.close();
    expect(await session.ended).toBe("closed");
    expect(session.isSurelyAlive()).toBe(false);
    expect(await refusal(create(session))).toBe("SESSION_CLOSED");
  });

  it("is closed also where the server does not answer", async () => {
    const session = await open(await start({ hello: () => 9n, request: () => null }));
    await session.close();
    expect(await session.ended).toBe("closed");
  });

  it("is closed at another server when the connection is lost meanwhile", async () => {
    const losing = await start({
      hello: () => 9n,
      request: (_, __, socket) => {
        socket.destroy();
        return null;
      },
    });
    const types: number[] = [];
    const other = await start({
      hello: () => 9n,
      request: (_, type) => {
        types.push(type);
        return 0;
      },
    });
    const session = await open(losing, other);
    await session.close();
    expect(types).toEqual([CLOSE]);
  });

  it.each([
    ["a request", undefined],
    ["the credential", { scheme: "digest", credential: "u:p" } as const],
  ])("leaves a server that does not answer %s  for another", async (_, auth) => {
    const silent = await start({ hello: () => welcome(9n, 3_000), request: () => null });
    const other = await start({ hello: () => welcome(9n, 3_000) });
    const session = await openSession({ servers: [silent, other], auth, signal });
    sessions.push(session);
    if (auth === undefined) expect(await refusal(create(session))).toBe("CONNECTION_LOSS");
    expect(await create(session)).toBe("/a");
    expect(session.server).toEqual(other);
  });
});

describe("a request", () => {
  it("is refused with ZooKeeper's name of the error", async () => {
    const server = await start({ hello: () => 9n, request: (_, type) => (type === CREATE ? -102 : 0) });
    const session = await open(server);
    expect(await refusal(create(session))).toBe("NO_AUTH");
    expect(session.isSurelyAlive()).toBe(true);
  });

  it("for a znode that is not there finds nothing", async () => {
    const session = await open(await start({ hello: () => 9n, request: () => -101 }));
    expect(await session.exists("/a", signal)).toBeNull();
    expect(await refusal(session.getData("/a", signal))).toBe("NO_NODE");
  });

  it("for the names below a znode gets them, or is lost where fewer are there than are announced", async () => {
    const answers = [2, 0, 0x7fffffff];
    const server = await start({
      hello: () => 9n,
      request: (xid, type) => {
        if (type !== GET_CHILDREN) return 0;
        return packet((writer) => {
          writer.int(xid, "");
          writer.long(7n, "");
          writer.int(0, "");
          writer.int(answers.shift() ?? -1, "");
          for (const name of ["a", "b"]) writer.text(name, "");
        });
      },
    });
    const session = await open(server);
    expect(await session.getChildren("/a", signal)).toEqual(["a", "b"]);
    expect(await session.getChildren("/a", signal)).toEqual([]);
    expect(await refusal(session.getChildren("/a", signal))).toBe("CONNECTION_LOSS");
    expect(session.failures).toEqual([expect.stringMatching(/its answer is unreadable/)]);
  });

  it("that writes is a sign of life, and one that reads is none", async () => {
    vi.useFakeTimers({ toFake: ["performance", "Date"] });
    const server = await start({
      hello: () => 9n,
      request: (xid, type) => (type === SET_DATA || type === EXISTS ? statReply(xid) : 0),
    });
    const session = await open(server);
    vi.advanceTimersByTime(20_000);
    await session.exists("/a", signal);
    expect(session.isSurelyAlive()).toBe(false);
    await session.setData("/a", Buffer.from("d"), -1, signal);
    expect(session.isSurelyAlive()).toBe(true);
  });

  it("ends with the signal, and the session goes on", async () => {
    let silent = true;
    const session = await open(await start({ hello: () => 9n, request: () => (silent ? null : 0) }));
    const abort = new AbortController();
    const created = refusal(create(session, abort.signal));
    abort.abort();
    expect(await created).toBe("ERR_ABORTED");
    silent = false;
    expect(session.isSurelyAlive()).toBe(true);
  });

  it.each([
    ["to another request", (xid: number) => reply(xid + 1, 0)],
    ["that is cut off", (xid: number) => reply(xid, 0).fill(0x0c, 0, 4).fill(0, 0, 3).subarray(0, 16)],
    ["that is no packet", () => Buffer.from("HTTP/1.1 400 Bad Request\r\n")],
    ["of a negative length", () => Buffer.from("80000000", "hex")],
  ])("whose answer is one %s is lost with the connection", async (_, garbage) => {
    const server = await start({
      hello: () => 9n,
      request: (xid, type) => (type === CREATE ? garbage(xid) : 0),
    });
    const session = await open(server);
    expect(await refusal(create(session))).toBe("CONNECTION_LOSS");
  });

  it("is not disturbed by the event of a watch", async () => {
    const server = await start({
      hello: () => 9n,
      request: (_, __, socket) => {
        socket.write(reply(-1, 0));
        return 0;
      },
    });
    expect(await create(await open(server))).toBe("/a");
  });
});

describe("no session is opened", () => {
  it.each([
    [
      "a server that answers with noise",
      () => Buffer.from("SSH-2.0-OpenSSH_9.2\r\n"),
      /packet of \d+ bytes; is that a Zoo/,
    ],
    ["a server whose answer is cut off", () => Buffer.from("000000020000", "hex"), /answer is unreadable/],
  ])("with %s", async (_, hello, message) => {
    const server = await start({ hello });
    await expect(openSession({ servers: [server], openMs: 300, signal })).rejects.toThrow(message);
  });

  it("with a server that closes the connection, until another one answers", async () => {
    const closing = await start({
      hello: (_, socket) => {
        socket.destroy();
        return null;
      },
    });
    await expect(openSession({ servers: [closing], openMs: 300, signal })).rejects.toThrow(/it closed the connection/);
    const session = await open(closing, await start({ hello: () => 9n }));
    expect(session.id).toBe(9n);
  });

  it("with a server that never answers, when the signal is aborted", async () => {
    const server = await start({ hello: () => null });
    const opening = openSession({ servers: [server], signal: AbortSignal.timeout(50) });
    expect(await refusal(opening)).toBe("ERR_ABORTED");
  });

  it("with a credential that the server refuses", async () => {
    const server = await start({ hello: () => 9n, request: (_, type) => (type === AUTH ? -115 : 0) });
    const auth = { scheme: "digest", credential: "u:p" } as const;
    await expect(openSession({ servers: [server], auth, openMs: 300, signal })).rejects.toThrow(
      /refuses the credential/,
    );
  });

  it("with a session that the server says is none", async () => {
    const server = await start({ hello: () => welcome(0n, 0) });
    expect(await refusal(openSession({ servers: [server], signal }))).toBe("SESSION_EXPIRED");
  });

  it("without any server", async () => {
    expect(await refusal(openSession({ servers: [], signal }))).toBe("CONNECTION_LOSS");
  });

  it("where a session is an AdminServer's", async () => {
    const servers = [{ host: "127.0.0.1", port: 1, scheme: "http" as const }];
    expect(await refusal(openSession({ servers, signal }))).toBe("ERR_CONFIG_INVALID");
  });
});
