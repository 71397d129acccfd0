import { type ChildProcess, fork } from "node:child_process";
import { get, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Figures, Order, Told } from "./http-server.ts";

const TOKEN = "planted-secret-of-the-test";
const BEARER = `Authorization: Bearer ${TOKEN}\r\n`;

interface MadeServer {
  readonly url: string;
  readonly port: number;
  /** Everything that was logged, at the level of debug. */
  readonly log: string[];
  figures(): Promise<Figures>;
  endRuns(count: number, messageLength: number): Promise<void>;
  close(): Promise<Figures>;
  /** Whether it still runs and answers. */
  isWell(): Promise<boolean>;
}

const children = new Set<ChildProcess>();
const sockets = new Set<Socket>();

async function startServer(): Promise<MadeServer> {
  const child = fork(join(import.meta.dirname, "http-server.ts"), [TOKEN], {
    execArgv: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
  });
  children.add(child);
  const log: string[] = [];
  child.on("message", (told: Told) => {
    if (told.kind === "log") log.push(told.line);
  });
  const told = <Kind extends Told["kind"]>(kind: Kind): Promise<Extract<Told, { kind: Kind }>> =>
    new Promise((resolve, reject) => {
      const onExit = (): void => reject(new Error("the server has died"));
      const onMessage = (message: Told): void => {
        if (message.kind !== kind) return;
        child.off("exit", onExit);
        child.off("message", onMessage);
        resolve(message as Extract<Told, { kind: Kind }>);
      };
      child.on("message", onMessage);
      child.on("exit", onExit);
    });
  const order = <Kind extends Told["kind"]>(sent: Order, kind: Kind): Promise<Extract<Told, { kind: Kind }>> => {
    const answer = told(kind);
    child.send(sent);
    return answer;
  };
  const { url } = await told("listening");
  const port = Number(new URL(url).port);
  return {
    url,
    port,
    log,
    figures: () => order({ kind: "figures" }, "figures"),
    endRuns: async (count, messageLength) => {
      await order({ kind: "end-runs", count, messageLength }, "done");
    },
    close: () => order({ kind: "close" }, "figures"),
    async isWell() {
      if (child.exitCode !== null || child.signalCode !== null) return false;
      const { text } = await exchange(
        port,
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        10_000,
      );
      return text.endsWith('{"status":"ok"}');
    },
  };
}

afterAll(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  for (const child of children) child.kill("SIGKILL");
  children.clear();
});

function open(port: number, localAddress = "127.0.0.1"): Socket {
  const socket = connect({ port, host: "127.0.0.1", localAddress });
  sockets.add(socket);
  // What the server does to it is what is looked at.
  socket.on("error", () => {});
  socket.on("close", () => sockets.delete(socket));
  return socket;
}

interface Exchange {
  readonly text: string;
  /** Of the first answer; null if there was none. */
  readonly status: number | null;
  readonly isClosed: boolean;
}

/** Sends bytes as they are, and reads until the other side closes or `patienceMs` are over. */
function exchange(port: number, bytes: string | Buffer, patienceMs = 3_000, localAddress?: string): Promise<Exchange> {
  return new Promise((resolve) => {
    const socket = open(port, localAddress);
    let text = "";
    const finish = (isClosed: boolean) => (): void => {
      clearTimeout(patience);
      socket.destroy();
      resolve({ text, status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(text)?.[1] ?? "") || null, isClosed });
    };
    const patience = setTimeout(finish(false), patienceMs);
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.on("close", finish(true));
    socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
  });
}

const HOST = "Host: localhost\r\n";
const CLOSE = "Connection: close\r\n";
const RUN = "POST /api/v1/series/good/verify HTTP/1.1\r\n";
const JSON_TYPE = "Content-Type: application/json\r\n";

const MALFORMED: readonly (readonly [what: string, bytes: string | Buffer])[] = [
  ["no HTTP at all", "hello\r\n\r\n"],
  ["zeros", Buffer.alloc(5_000)],
  ["random bytes", Buffer.from(Array.from({ length: 4_000 }, (_, index) => (index * 7_919) % 256))],
  ["TLS", Buffer.from("16030100a5010000a10303", "hex")],
  ["HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["HTTP/9.9", `GET /healthz HTTP/9.9\r\n${HOST}\r\n`],
  ["no host", `GET /api/v1/status HTTP/1.1\r\n${CLOSE}\r\n`],
  ["another host", `GET /api/v1/status HTTP/1.1\r\nHost: evil.example\r\n${CLOSE}\r\n`],
  ["an unknown method", `BREW /api/v1/status HTTP/1.1\r\n${HOST}\r\n`],
  ["a method in lower case", `get /api/v1/status HTTP/1.1\r\n${HOST}\r\n`],
  ["a path with a space", `GET /api/v1/ status HTTP/1.1\r\n${HOST}\r\n`],
  ["a path that is none", `GET api HTTP/1.1\r\n${HOST}\r\n`],
  ["a header without a colon", `GET /api/v1/status HTTP/1.1\r\n${HOST}Evil\r\n\r\n`],
  ["a space before the colon", `GET /api/v1/status HTTP/1.1\r\n${HOST}Evil : 1\r\n\r\n`],
  ["a folded header", `GET /api/v1/status HTTP/1.1\r\n${HOST}X: 1\r\n  folded\r\n\r\n`],
  ["a zero in a header", `GET /api/v1/status HTTP/1.1\r\n${HOST}X: a\0b\r\n\r\n`],
  ["a bare carriage return", `GET /api/v1/status HTTP/1.1\r\n${HOST}X: a\rb\r\n\r\n`],
  ["two lengths", `${RUN}${HOST}${BEARER}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
  ["a negative length", `${RUN}${HOST}${BEARER}Content-Length: -1\r\n\r\n{}`],
  ["a length that is no number", `${RUN}${HOST}${BEARER}Content-Length: 2x\r\n\r\n{}`],
  ["a length beyond all numbers", `${RUN}${HOST}${BEARER}Content-Length: ${"9".repeat(40)}\r\n\r\n{}`],
  [
    "a length and chunks, to smuggle a request",
    `${RUN}${HOST}${BEARER}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/v1/status HTTP/1.1\r\n${HOST}\r\n`,
  ],
  ["an unknown encoding", `${RUN}${HOST}${BEARER}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`],
  ["a chunk of no length", `${RUN}${HOST}${BEARER}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n`],
  [
    "a chunk with an endless extension",
    `${RUN}${HOST}${BEARER}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n2;${"x".repeat(40_000)}\r\n{}\r\n0\r\n\r\n`,
  ],
  ["JSON that is none", `${RUN}${HOST}${BEARER}${JSON_TYPE}${CLOSE}Content-Length: 2\r\n\r\n{]`],
  ["deep JSON", `${RUN}${HOST}${BEARER}${JSON_TYPE}${CLOSE}Content-Length: 4000\r\n\r\n${"[".repeat(4_000)}`],
  ["JSON that is no UTF-8", `${RUN}${HOST}${BEARER}${JSON_TYPE}${CLOSE}Content-Length: 10\r\n\r\n{"id":"\xff"}`],
  ["a path with a line end", `GET /api/v1/status%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\n${HOST}${CLOSE}\r\n`],
  ["a name with a line end", `GET /api/v1/series/x%0d%0aX-Evil:%201 HTTP/1.1\r\n${HOST}${CLOSE}\r\n`],
  ["a token with more headers", `${RUN}${HOST}${CLOSE}Authorization: Bearer x%0d%0aX-Evil: 1\r\n\r\n`],
  ["a proxy's request", `GET http://evil.example/etc/passwd HTTP/1.1\r\n${HOST}${CLOSE}\r\n`],
  ["a tunnel", `CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n`],
  ["an expectation", `GET /nothing HTTP/1.1\r\n${HOST}Expect: the-unexpected\r\n${CLOSE}\r\n`],
];

const OVERSIZED: readonly (readonly [what: string, bytes: string, statuses: readonly (number | null)[]])[] = [
  ["a path of 100 kB", `GET /${"x".repeat(100_000)} HTTP/1.1\r\n${HOST}\r\n`, [431]],
  ["a path of 8,000 bytes", `GET /api/v1/series/${"x".repeat(7_900)} HTTP/1.1\r\n${HOST}${CLOSE}\r\n`, [400]],
  ["a query of 100 kB", `GET /api/v1/status?${"x=1&".repeat(25_000)} HTTP/1.1\r\n${HOST}\r\n`, [431]],
  ["a header of 100 kB", `GET /api/v1/status HTTP/1.1\r\n${HOST}X: ${"x".repeat(100_000)}\r\n\r\n`, [431]],
  ["10,000 headers", `GET /api/v1/status HTTP/1.1\r\n${HOST}${"X: 1\r\n".repeat(10_000)}\r\n`, [431]],
  ["a token of 100 kB", `${RUN}${HOST}Authorization: Bearer ${"x".repeat(100_000)}\r\n\r\n`, [431]],
  [
    "a body of 4 TB that is announced",
    `${RUN}${HOST}${BEARER}${JSON_TYPE}Content-Length: ${4 * 1024 ** 4}\r\n\r\n{`,
    [413],
  ],
  [
    "a body of 1 MB",
    `${RUN}${HOST}${BEARER}${JSON_TYPE}Content-Length: 1000000\r\n\r\n${"x".repeat(1_000_000)}`,
    // Or it hangs up while the rest is still being sent.
    [413, null],
  ],
  [
    "a body of 1 MB in chunks",
    `${RUN}${HOST}${BEARER}${JSON_TYPE}Transfer-Encoding: chunked\r\n\r\n${`1000\r\n${"x".repeat(4_096)}\r\n`.repeat(250)}`,
    [413, null],
  ],
];

describe("bytes that are no proper request", () => {
  it("are refused, whatever they are, and the server stays well", async () => {
    const server = await startServer();
    const all = [...MALFORMED, ...OVERSIZED];
    const answers = await Promise.all(
      // Each from another address: otherwise the limits would answer.
      all.map(([, bytes], index) => exchange(server.port, bytes, 3_000, `127.0.1.${index + 1}`)),
    );
    for (const [index, { text, status, isClosed }] of answers.entries()) {
      const [what, , statuses] = all[index] as (typeof OVERSIZED)[number];
      if (statuses !== undefined) expect(statuses, what).toContain(status);
      else expect(status === null || (status >= 400 && status < 500), `${what} was answered with ${status}`).toBe(true);
      expect(isClosed, `${what} was not hung up on`).toBe(true);
      expect(text.match(/HTTP\/1\.1 /g)?.length ?? 0, `answers to ${what}`).toBeLessThanOrEqual(1);
      expect(text, what).not.toMatch(/set-cookie|x-evil|root:|\.ts:|\.js:|node_modules/i);
      expect(text, what).not.toContain(TOKEN);
      if (status !== null) {
        const body = JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4).replace(/^[0-9a-f]+\r\n|\r\n0\r\n\r\n$/g, ""));
        expect(Object.keys(body.error), what).toEqual(["code", "message"]);
      }
    }
    expect(await server.isWell()).toBe(true);
    expect(server.log.filter((line) => line.includes('"warn"') && !line.includes("http.refused"))).toEqual([]);
    expect(server.log.join("\n")).not.toContain(TOKEN);
    const { sockets: left } = await server.figures();
    expect(left).toBe(0);
  });
});

// Most of it is waiting. Each has a server of its own.
describe.concurrent("clients that are slow", () => {
  it("are cut off after some seconds, others are served meanwhile", async () => {
    const server = await startServer();
    const drip = (socket: Socket, bytes: string): void => {
      let at = 0;
      const timer = setInterval(() => socket.write(bytes.charAt(at++ % bytes.length)), 250);
      socket.on("close", () => clearInterval(timer));
    };
    const ended: Promise<{ readonly text: string; readonly seconds: number }>[] = [];
    const begin = (first: string, then: string | null, localAddress: string): void => {
      const socket = open(server.port, localAddress);
      const startedAt = performance.now();
      let text = "";
      socket.on("data", (chunk) => {
        text += chunk;
      });
      ended.push(
        new Promise((resolve) => {
          socket.on("close", () => resolve({ text, seconds: (performance.now() - startedAt) / 1_000 }));
        }),
      );
      if (first !== "") socket.write(first);
      if (then !== null) drip(socket, then);
    };
    for (let client = 1; client <= 100; client++) {
      begin("", null, `127.0.2.${client}`);
      begin("GET /api/v1/sta", null, `127.0.2.${client}`);
      begin(`GET /api/v1/status HTTP/1.1\r\n${HOST}X: `, "slow", `127.0.2.${client}`);
      begin(`${RUN}${HOST}${BEARER}${JSON_TYPE}Content-Length: 4000\r\n\r\n`, " ", `127.0.2.${client}`);
      begin(`${RUN}${HOST}Content-Length: 4000\r\n\r\n`, " ", `127.0.2.${client}`);
    }
    let isOver = false;
    const all = Promise.all(ended).finally(() => {
      isOver = true;
    });
    let slowest = 0;
    while (!isOver) {
      const startedAt = performance.now();
      expect(await server.isWell()).toBe(true);
      slowest = Math.max(slowest, performance.now() - startedAt);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    expect(slowest).toBeLessThan(8_000);
    for (const { text, seconds } of await all) {
      expect(seconds).toBeLessThan(40);
      if (text !== "") expect(text).toMatch(/^HTTP\/1\.1 (408|401) /);
      expect(text).not.toContain("HTTP/1.1 202");
    }
    const { sockets: left } = await server.figures();
    expect(left).toBe(0);
  }, 60_000);

  it("that do not read events are hung up on, and cost no memory", async () => {
    const server = await startServer();
    const before = await server.figures();
    const stalled = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const socket = open(server.port);
        socket.write(`GET /api/v1/events HTTP/1.1\r\n${HOST}\r\n`);
        await new Promise((resolve) => socket.once("data", resolve));
        socket.pause();
        return socket;
      }),
    );
    expect((await server.figures()).sockets).toBe(stalled.length);
    // Beyond what the kernel takes on behalf of each.
    await server.endRuns(1_500, 20_000);
    const after = await server.figures();
    expect(after.sockets).toBe(0);
    expect(after.heapMB - before.heapMB).toBeLessThan(20);
    expect(await server.isWell()).toBe(true);
  });

  it("that ask for much and read nothing are refused before they cost much memory", async () => {
    const server = await startServer();
    const ask = `GET /api/v1/series/good/backups?limit=1000 HTTP/1.1\r\n${HOST}\r\n`;
    const before = await server.figures();
    await Promise.all(
      Array.from({ length: 150 }, async (_, index) => {
        const socket = open(server.port, `127.0.6.${index + 1}`);
        socket.write(ask.repeat(20));
        await new Promise((resolve) => socket.once("data", resolve));
        socket.pause();
      }),
    );
    const { rssMB } = await server.figures();
    // The kernel takes a part of what they come to, 1.4 GB.
    expect(rssMB - before.rssMB).toBeLessThan(250);
    expect(await server.isWell()).toBe(true);
  });
});

/** A reader of events, with what it has read. */
interface Reader {
  readonly status: number;
  text: string;
  readonly response: IncomingMessage;
  readonly ended: Promise<void>;
}

function read(url: string, localAddress: string): Promise<Reader> {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false, localAddress }, (response) => {
      const reader: Reader = {
        status: response.statusCode ?? 0,
        text: "",
        response,
        ended: new Promise((end) => {
          response.on("close", end);
        }),
      };
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        reader.text += chunk;
      });
      response.on("error", () => {});
      resolve(reader);
    });
    request.on("error", reject);
  });
}

const until = async (what: string, isSo: () => boolean | Promise<boolean>): Promise<void> => {
  for (const deadline = performance.now() + 40_000; !(await isSo()); ) {
    if (performance.now() > deadline) throw new Error(`waited too long: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

describe("1,000 readers at once", () => {
  it("are served round after round, and nothing of them is left", async () => {
    const server = await startServer();
    const paths = ["/", "/metrics", "/readyz", "/api/v1/status", "/api/v1/series/good/backups?limit=20"];
    const heapsMB: number[] = [];
    for (let round = 0; round < 4; round++) {
      const address = (index: number): string => `127.0.3.${(index % 200) + 1}`;
      const readers = await Promise.all(
        Array.from({ length: 1_000 }, (_, index) => read(`${server.url}/api/v1/events`, address(index))),
      );
      expect(readers.every(({ status }) => status === 200)).toBe(true);
      const refused = await read(`${server.url}/api/v1/events`, address(0));
      await refused.ended;
      expect([refused.status, refused.text]).toEqual([503, expect.stringContaining("ERR_TOO_MANY_STREAMS")]);
      const plain = await Promise.all(
        Array.from({ length: 900 }, (_, index) => read(`${server.url}${paths[index % paths.length]}`, address(index))),
      );
      await Promise.all(plain.map(({ ended }) => ended));
      expect(plain.every(({ status, text }) => status === 200 && text.length > 0)).toBe(true);
      await server.endRuns(3, 100);
      const isTold = ({ text }: Reader): boolean => text.split("event: run\n").length === 4;
      await until("every reader is told of three runs", () => readers.every(isTold));
      const { listeners } = await server.figures();
      expect(listeners).toBe(2);
      for (const { text } of [...readers, ...plain, refused]) expect(text).not.toContain(TOKEN);
      for (const { response } of readers) response.destroy();
      await until("all have gone", async () => (await server.figures()).sockets === 0);
      heapsMB.push((await server.figures()).heapMB);
    }
    const [, second = 0] = heapsMB;
    expect(Math.max(...heapsMB.slice(2)) - second, `heaps in MB: ${heapsMB}`).toBeLessThan(5);
    expect(await server.isWell()).toBe(true);
    expect(server.log.join("\n")).not.toContain(TOKEN);
    const closed = await server.close();
    expect([closed.sockets, closed.listeners, closed.timers]).toEqual([0, 0, 0]);
  });

  it("and more than 2,000 connections are not taken, until some of them go", async () => {
    const server = await startServer();
    const held: Socket[] = [];
    // Not all at once: the kernel lets only some wait to be accepted.
    while (held.length < 2_400) {
      // One that does not read would not notice that it was hung up on.
      const some = Array.from({ length: 200 }, () => open(server.port).resume());
      await Promise.all(some.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
      held.push(...some);
    }
    // Those that were accepted are told later that they are slow.
    const isDropped = (socket: Socket): boolean => socket.destroyed && socket.bytesRead === 0;
    await until("the surplus is hung up on", () => held.filter(isDropped).length >= 100);
    expect((await server.figures()).sockets).toBeLessThanOrEqual(2_000);
    for (const socket of held) socket.destroy();
    await until("it answers again", () => server.isWell());
  });
});

describe("tokens", () => {
  it("that are wrong, guessed by many at once, open nothing and get into no answer and no log", async () => {
    const server = await startServer();
    const guesses = [
      "",
      "Authorization: \r\n",
      "Authorization: Bearer\r\n",
      `Authorization: Bearer ${TOKEN.slice(0, -1)}\r\n`,
      `Authorization: Bearer ${TOKEN}x\r\n`,
      `Authorization: Bearer ${TOKEN.toUpperCase()}\r\n`,
      `Authorization: Basic ${Buffer.from(`x:${TOKEN}`).toString("base64")}\r\n`,
      `Authorization: Bearer wrong\r\n${BEARER}`,
      `X-Authorization: Bearer ${TOKEN}\r\n`,
      `Cookie: token=${TOKEN}\r\n`,
    ];
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, client) =>
        Promise.all(
          guesses.map((header) =>
            exchange(server.port, `${RUN}${HOST}${CLOSE}${header}\r\n`, 5_000, `127.0.4.${client + 1}`),
          ),
        ),
      ),
    );
    const bodies = new Set(answers.flat().map(({ text }) => text.slice(text.indexOf("\r\n\r\n"))));
    expect(answers.flat().every(({ status }) => status === 401)).toBe(true);
    expect(bodies.size).toBe(1);
    expect([...bodies].join()).not.toContain(TOKEN);
    // Each of them has used up its ten.
    const late = await exchange(server.port, `${RUN}${HOST}${CLOSE}${BEARER}\r\n`, 5_000, "127.0.4.1");
    expect([late.status, late.text]).toEqual([429, expect.stringMatching(/\r\nretry-after: \d+\r\n/)]);
    const right = await exchange(server.port, `${RUN}${HOST}${CLOSE}${BEARER}\r\n`, 5_000, "127.0.5.1");
    expect(right.status).toBe(202);
    for (const header of guesses.slice(3)) {
      for (const word of header.split(/[\s=:]+/).filter((part) => part.length > 12 && !/authorization/i.test(part))) {
        expect(server.log.join("\n")).not.toContain(word);
      }
    }
  });
});
