import { createServer, type Server, type Socket } from "node:net";
import { isBackypError } from "@zk-backyp/core";
import { JuteReader, JuteWriter } from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FrameReader } from "../session/frame-reader.ts";
import { type CandidacyOptions, ZooKeeperCandidacy } from "./candidacy.ts";

// A server that does what real ones cannot be made to do. What real ones do: test/election.test.ts.

const CREATE = 1;
const DELETE = 2;
const EXISTS = 3;
const GET_DATA = 4;
const SET_DATA = 5;
const GET_CHILDREN = 8;
const SYNC = 9;
const CLOSE = -11;
const NO_NODE = -101;
const NO_AUTH = -102;
const NODE_EXISTS = -110;

interface Znode {
  data: Buffer;
  owner: bigint;
}

/** What a fault makes of a request: an error, or nothing in answer, with or without the request done. */
type Fault = number | "lost" | "lost-after" | undefined;

/** One server with a tree, as far as an election needs one. */
class ScriptedServer {
  readonly znodes: Map<string, Znode> = new Map();
  readonly requests: string[] = [];
  /** Asked before each request. */
  fault: (type: number, path: string) => Fault = () => undefined;
  /** The session that a connection asks to go on with is over. */
  expires = false;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #sessions = 0n;
  #sequence = 0;

  constructor() {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return (this.#server.address() as { port: number }).port;
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  get candidates(): string[] {
    return [...this.znodes.keys()].filter((path) => path.includes("/candidate-"));
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    const frames = new FrameReader();
    let session = 0n;
    socket.on("data", (chunk: Buffer) => {
      for (const frame of frames.push(chunk)) {
        if (session === 0n) session = this.#greet(frame.readBigInt64BE(16), socket);
        else this.#answer(frame, session, socket);
      }
    });
  }

  #greet(asked: bigint, socket: Socket): bigint {
    const isOver = this.expires && asked !== 0n;
    if (isOver) this.#end(asked);
    if (asked === 0n) this.#sessions += 1n;
    const session = isOver ? 0n : asked || this.#sessions;
    socket.write(
      packet((writer) => {
        writer.int(0, "");
        writer.int(isOver ? 0 : 2_000, "");
        writer.long(session, "");
        writer.buffer(Buffer.alloc(16), "");
        writer.boolean(false);
      }),
    );
    return session;
  }

  #end(session: bigint): void {
    for (const [path, { owner }] of this.znodes) if (owner === session) this.znodes.delete(path);
  }

  #answer(frame: Buffer, session: bigint, socket: Socket): void {
    const reader = new JuteReader(frame, 0, frame.byteLength, (what) => new Error(what));
    const xid = reader.int();
    const type = reader.int();
    const path = type === CLOSE ? "" : reader.text();
    if (type !== SYNC) this.requests.push(`${type} ${path}`);
    const fault = this.fault(type, path);
    if (fault === "lost") return void socket.destroy();
    const body = typeof fault === "number" ? fault : this.#do(type, path, reader, session);
    if (fault === "lost-after") return void socket.destroy();
    socket.write(
      packet((writer) => {
        writer.int(xid, "");
        writer.long(7n, "");
        writer.int(typeof body === "number" ? body : 0, "");
        if (typeof body === "function") body(writer);
      }),
    );
  }

  #do(type: number, path: string, reader: JuteReader, session: bigint): number | ((writer: JuteWriter) => void) {
    const znode = this.znodes.get(path);
    const stat = (writer: JuteWriter, owner: bigint): void => {
      for (let i = 0; i < 4; i += 1) writer.long(1n, "");
      for (let i = 0; i < 3; i += 1) writer.int(0, "");
      writer.long(owner, "");
      for (let i = 0; i < 2; i += 1) writer.int(0, "");
      writer.long(1n, "");
    };
    switch (type) {
      case CREATE: {
        const data = reader.buffer() ?? Buffer.alloc(0);
        reader.list(() => [reader.int(), reader.text(), reader.text()]);
        const flags = reader.int();
        if (path.lastIndexOf("/") > 0 && !this.znodes.has(path.slice(0, path.lastIndexOf("/")))) return NO_NODE;
        if (znode !== undefined) return NODE_EXISTS;
        const made = (flags & 2) === 0 ? path : this.add(path, data, session);
        if (made === path) this.znodes.set(path, { data, owner: (flags & 1) === 0 ? 0n : session });
        return (writer) => writer.text(made, "");
      }
      case DELETE:
        return this.znodes.delete(path) ? () => {} : NO_NODE;
      case EXISTS:
        return znode === undefined ? NO_NODE : (writer) => stat(writer, znode.owner);
      case GET_DATA:
        if (znode === undefined) return NO_NODE;
        return (writer) => {
          writer.buffer(znode.data, "");
          stat(writer, znode.owner);
        };
      case SET_DATA:
        if (znode === undefined) return NO_NODE;
        znode.data = reader.buffer() ?? Buffer.alloc(0);
        return (writer) => stat(writer, znode.owner);
      case GET_CHILDREN: {
        if (znode === undefined) return NO_NODE;
        const names = [...this.znodes.keys()].filter((each) => each.startsWith(`${path}/`));
        return (writer) => writer.list(names, (name) => writer.text(name.slice(path.length + 1), ""));
      }
      case CLOSE:
        this.#end(session);
        return () => {};
      default:
        return (writer) => writer.text(path, "");
    }
  }

  /** A sequential znode. */
  add(path: string, data: Buffer, owner: bigint): string {
    this.#sequence += 1;
    const name = `${path}${String(this.#sequence).padStart(10, "0")}`;
    this.znodes.set(name, { data, owner });
    return name;
  }

  /** Another's znode. */
  addOther(label: string, uuid = "00000000-0000-4000-8000-000000000000"): string {
    for (const path of ["/elections", "/elections/job"]) this.znodes.set(path, { data: Buffer.alloc(0), owner: 0n });
    return this.add(`/elections/job/candidate-${uuid}-`, Buffer.from(label), 99n);
  }
}

function packet(write: (writer: JuteWriter) => void): Buffer {
  const writer = new JuteWriter();
  write(writer);
  const body = writer.take();
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.byteLength);
  return Buffer.concat([size, body]);
}

let server: ScriptedServer;
const candidacies: ZooKeeperCandidacy[] = [];
const { signal } = new AbortController();

beforeEach(() => {
  server = new ScriptedServer();
});
afterEach(async () => {
  server.fault = () => undefined;
  await Promise.all(candidacies.splice(0).map((candidacy) => candidacy.close()));
  server.close();
});

async function stand(options: Partial<CandidacyOptions> = {}): Promise<ZooKeeperCandidacy> {
  const candidacy = new ZooKeeperCandidacy({
    own: null,
    servers: options.servers ?? [{ host: "127.0.0.1", port: await server.listen() }],
    path: "/elections",
    name: "job",
    label: { host: "here" },
    sessionTimeoutMs: 2_000,
    signal,
    ...options,
  });
  candidacies.push(candidacy);
  return candidacy;
}

const until = (isSo: () => boolean): Promise<void> =>
  vi.waitUntil(isSo, { timeout: 15_000, interval: 5 }).then(() => {});

async function refusal(confirming: Promise<void>): Promise<string> {
  try {
    await confirming;
  } catch (error) {
    if (isBackypError(error, "ERR_NOT_ELECTED")) return error.message;
    throw error;
  }
  throw new Error("this should have failed");
}

/** The fault for the first request of this type alone. */
function once(type: number, fault: Fault): (asked: number) => Fault {
  let left = 1;
  return (asked) => (asked === type && left-- > 0 ? fault : undefined);
}

describe("a candidate", () => {
  it.each(["lost", "lost-after"] as const)("stands once where the answer to its create was %s", async (fault) => {
    server.addOther("{}");
    server.fault = once(CREATE, fault);
    const candidacy = await stand();
    await until(() => candidacy.state === "waiting");
    expect(server.candidates).toHaveLength(2);
    for (const [path, { owner }] of server.znodes) if (owner === 99n) server.znodes.delete(path);
    await until(() => candidacy.state === "elected");
    await candidacy.confirm(signal);
    expect(server.candidates).toHaveLength(1);
  });

  it("stands once where its server did not show at first what it has created", async () => {
    const other = server.addOther("{}");
    let hidden = 2;
    const loseAnswer = once(CREATE, "lost-after");
    server.fault = (type) => {
      if (type !== GET_CHILDREN) return loseAnswer(type);
      hidden -= 1;
      return hidden < 0 ? undefined : NO_NODE;
    };
    const candidacy = await stand();
    await until(() => candidacy.state === "waiting");
    expect(server.candidates).toHaveLength(2);
    server.znodes.delete(other);
    await until(() => candidacy.state === "elected");
    await candidacy.confirm(signal);
  });

  it("is not kept from the other servers by one that hangs", async () => {
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const ports = [(silent.address() as { port: number }).port, await server.listen()];
    try {
      // So long that the first one gets all the time for a session.
      const candidacy = await stand({
        servers: ports.map((port) => ({ host: "127.0.0.1", port })),
        sessionTimeoutMs: 600_000,
      });
      await until(() => candidacy.state === "elected");
    } finally {
      silent.close();
    }
  });

  it("makes what is missing above it, and nothing else", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    expect([...server.znodes].filter(([, { owner }]) => owner === 0n).map(([path]) => path)).toEqual([
      "/elections",
      "/elections/job",
    ]);
  });

  it("does not have to be allowed to make what is there", async () => {
    server.znodes.set("/elections", { data: Buffer.alloc(0), owner: 0n });
    server.fault = (type, path) => (type === CREATE && path === "/elections" ? NO_AUTH : undefined);
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
  });

  it.each([
    ["may not be read", NO_AUTH, "{}"],
    ["is no JSON", undefined, "host"],
    ["is far too long", undefined, `{"host":"${"x".repeat(10_000)}"}`],
  ])("waits for one whose data %s", async (_, fault, label) => {
    const other = server.addOther(label);
    server.fault = (type, path) => (type === GET_DATA && path === other ? fault : undefined);
    const candidacy = await stand();
    await until(() => candidacy.state === "waiting");
    expect(candidacy.holder).toBeNull();
    expect(await refusal(candidacy.confirm(signal))).toMatch(/not the first in order\. Elected is null/);
    server.znodes.delete(other);
    await until(() => candidacy.state === "elected");
  });

  it("begins anew, under another name, when its session has expired", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    const [first] = server.candidates;
    server.expires = true;
    server.cut();
    await until(() => server.candidates.length === 1 && server.candidates[0] !== first);
    await until(() => candidacy.state === "elected");
    expect(server.candidates[0]?.slice(0, -10)).not.toBe(first?.slice(0, -10));
    await candidacy.confirm(signal);
  });

  it("leaves nothing behind where it may not do what it has to, says so, and tries again", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    server.fault = (type) => (type === GET_CHILDREN ? NO_AUTH : undefined);
    await until(() => candidacy.problem?.includes("NO_AUTH") === true);
    expect(candidacy.state).toBe("unreachable");
    expect(candidacy.problem).toMatch(/\/elections\/job.*Set election\.auth .*or name another election\.path/);
    await until(() => server.candidates.length === 0);
    server.fault = () => undefined;
    await until(() => candidacy.state === "elected");
    expect(candidacy.problem).toBeNull();
  });

  it("tells of each change, and of nothing that is none", async () => {
    const candidacy = await stand();
    const states: string[] = [];
    candidacy.onChange(() => states.push(`${candidacy.state} ${candidacy.holder?.host ?? ""}`));
    await until(() => candidacy.state === "elected");
    const { since } = candidacy;
    const looks = (): number => server.requests.filter((request) => request.startsWith(`${GET_CHILDREN} `)).length;
    const seen = looks();
    await until(() => looks() > seen + 2);
    expect(candidacy.since).toBe(since);
    await candidacy.close();
    await until(() => states.length === 2);
    expect(states).toEqual(["elected here", "unreachable "]);
    expect(candidacy.problem).toBe("this node has left the election");
  });
});

describe("a proof", () => {
  it("is a write, done again where the connection was lost", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    server.requests.splice(0);
    let lost = 2;
    server.fault = (type) => (type === SET_DATA && lost-- > 0 ? "lost" : undefined);
    await candidacy.confirm(signal);
    expect(server.requests.filter((request) => request.startsWith(`${SET_DATA} `))).toHaveLength(3);
  });

  it("is none where the znode is another session's", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    for (const znode of server.znodes.values()) if (znode.owner !== 0n) znode.owner = 99n;
    await refusal(candidacy.confirm(signal));
  });

  it("is none where the znode is gone, which is the moment it stands anew", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    for (const path of server.candidates) server.znodes.delete(path);
    server.addOther('{"host":"other"}');
    expect(await refusal(candidacy.confirm(signal))).toMatch(/its znode is gone\. Elected is \{"host":"other"\}/);
    expect(candidacy.state).toBe("waiting");
  });

  it("is none that came too late", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    server.fault = (type) => {
      // Everything is well; but the process was away since it asked.
      if (type === GET_CHILDREN) vi.spyOn(Date, "now").mockReturnValue(Date.now() + 60_000);
      return undefined;
    };
    const confirming = refusal(candidacy.confirm(signal));
    try {
      expect(await confirming).toMatch(/session may be over|has expired/);
    } finally {
      vi.restoreAllMocks();
    }
  });

  it("is none before anybody was reached, and ends with the signal", async () => {
    const candidacy = await stand();
    server.close();
    expect(await refusal(candidacy.confirm(signal))).toMatch(/it does not stand/);
    await expect(candidacy.confirm(AbortSignal.abort())).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("that gets no answer ends with the signal", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    const abort = new AbortController();
    server.fault = (type) => {
      if (type === SET_DATA) abort.abort();
      return type === SET_DATA ? "lost" : undefined;
    };
    await expect(candidacy.confirm(abort.signal)).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });
});

describe("a step back", () => {
  it("ends also where no server is reached", async () => {
    const candidacy = await stand();
    server.close();
    await candidacy.stepBack();
    expect(candidacy.state).toBe("unreachable");
    await candidacy.close();
    await candidacy.stepBack();
    expect(candidacy.state).toBe("unreachable");
  });

  it("goes behind all others, also where an answer is lost", async () => {
    const candidacy = await stand();
    await until(() => candidacy.state === "elected");
    const other = server.addOther('{"host":"other"}');
    server.fault = once(DELETE, "lost-after");
    await candidacy.stepBack();
    await until(() => candidacy.state === "waiting" && candidacy.holder?.host === "other");
    expect(server.candidates).toHaveLength(2);
    expect(server.candidates[0]).toBe(other);
  });
});
