import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isBackypError } from "@zk-backyp/core";
import {
  type Certificates,
  connectZooKeeper,
  freePorts,
  makeCertificates,
  requirePart,
  startEnsemble,
  startZooKeeper,
  type ZooKeeperServer,
  zooKeeperClassPath,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { ServerAddress } from "../src/ensemble/server-address.ts";
import { type StopLock, type StopLockOptions, takeStopLock } from "../src/ensemble/stop-lock.ts";

const { signal } = new AbortController();
const locks: StopLock[] = [];
const running = requirePart(zooKeeperMissing());

async function take(servers: readonly ServerAddress[], options: Partial<StopLockOptions> = {}): Promise<StopLock> {
  const lock = await takeStopLock({ servers, label: { host: "here", node: "a" }, signal, ...options });
  locks.push(lock);
  return lock;
}

async function failure(taking: Promise<unknown>): Promise<{ code: string; message: string; details: unknown }> {
  try {
    await taking;
  } catch (error) {
    if (isBackypError(error)) return error;
    throw error;
  }
  throw new Error("this should have failed");
}

const addressOf = (server: ZooKeeperServer): ServerAddress => ({ host: "127.0.0.1", port: server.clientPort });

async function exists(server: ZooKeeperServer, path: string): Promise<boolean> {
  const client = await connectZooKeeper(server.connectString);
  try {
    return (await client.exists(path)) !== null;
  } finally {
    await client.close();
  }
}

/** The members, the leader first. */
async function leaderFirst(servers: readonly ZooKeeperServer[]): Promise<ZooKeeperServer[]> {
  const roles = await Promise.all(servers.map((server) => server.fourLetterWord("srvr")));
  const leader = roles.findIndex((text) => text.includes("Mode: leader"));
  return [...servers.slice(leader), ...servers.slice(0, leader)];
}

const releaseAll = (): Promise<unknown> => Promise.all(locks.splice(0).map((lock) => lock.release()));

afterEach(releaseAll);

describe.skipIf(!running)("the stop lock of an ensemble whose sessions live for 4 s", () => {
  let folder: string;
  let servers: ZooKeeperServer[] = [];
  let members: ServerAddress[];
  const holders: ChildProcess[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-lock-"));
    servers = await startEnsemble({ directory: folder, size: 3, config: { maxSessionTimeout: "4000" } });
    members = servers.map(addressOf);
  });
  afterEach(async () => {
    if (holders.length === 0) return;
    await releaseAll();
    for (const holder of holders.splice(0)) holder.kill("SIGKILL");
    // The next test finds it free.
    await take(members, { waitMs: 30_000 });
    await releaseAll();
  });
  afterAll(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true });
  });

  /** Another process that holds the lock; `line` sends it a line, and `next` is the next one that it says. */
  async function startHolder() {
    const ports = servers.map((server) => String(server.clientPort));
    const child = spawn(process.execPath, [fileURLToPath(new URL("./lock-holder.ts", import.meta.url)), ...ports], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    holders.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (): Promise<unknown> => (await lines.next()).value;
    const line = (text: string): unknown => child.stdin.write(`${text}\n`);
    expect(await next()).toBe("held true");
    return { pid: child.pid as number, child, next, line };
  }

  it("is for one taker, and tells the other who has it", async () => {
    const options = { label: { host: "db1", node: "zk 1" } };
    const takings = [take(members.slice(1), options), take(members.slice(0, 2), options)];
    const results = await Promise.allSettled(takings);
    expect(results.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const error = await failure(Promise.all(takings));
    expect(error.code).toBe("ERR_BUSY");
    expect(error.message).toContain('{"host":"db1","node":"zk 1","pid":');
    expect(error.details).toEqual({
      path: "/zk-backyp-stop",
      holder: { host: "db1", node: "zk 1", pid: process.pid, since: expect.stringMatching(/^\d{4}-.*Z$/) },
    });
  });

  it("is free as soon as it is released, and leaves nothing in the tree", async () => {
    const lock = await take(members);
    await lock.confirm(signal);
    expect(lock.isHeld()).toBe(true);
    expect(await exists(servers[0] as ZooKeeperServer, "/zk-backyp-stop")).toBe(true);
    await lock.release();
    expect(lock.isHeld()).toBe(false);
    const next = await take(members);
    await next.release();
    expect(await exists(servers[0] as ZooKeeperServer, "/zk-backyp-stop")).toBe(false);
  });

  it("is waited for", async () => {
    const lock = await take(members);
    const next = take(members, { waitMs: 60_000 });
    await sleep(1_000);
    expect(lock.isHeld()).toBe(true);
    await lock.release();
    expect((await next).isHeld()).toBe(true);
  });

  it("is not waited for any longer when the signal is aborted", async () => {
    await take(members);
    const abort = new AbortController();
    const next = failure(take(members, { waitMs: 60_000, signal: abort.signal }));
    await sleep(300);
    abort.abort();
    expect((await next).code).toBe("ERR_ABORTED");
  });

  it("outlives the signal with which it was taken, and many timeouts", async () => {
    const abort = new AbortController();
    const lock = await take(members, { signal: abort.signal });
    abort.abort();
    for (let i = 0; i < 10; i++) {
      await sleep(1_000);
      expect(lock.isHeld()).toBe(true);
    }
    await lock.confirm(signal);
    expect((await failure(take(members))).code).toBe("ERR_BUSY");
  });

  it("is free again some seconds after its holder was killed", async () => {
    const holder = await startHolder();
    holder.child.kill("SIGKILL");
    const error = await failure(take(members));
    expect(error.code).toBe("ERR_BUSY");
    expect(error.details).toMatchObject({ holder: { host: "holder", pid: holder.pid } });
    expect((await take(members, { waitMs: 30_000 })).isHeld()).toBe(true);
  });

  it("is known to be lost by a holder that was paused, before it does anything else", async () => {
    const holder = await startHolder();
    holder.line("confirm");
    expect(await holder.next()).toBe("confirmed");
    holder.line("pause");
    while (!/^\d+ \(.*\) T /.test(await readFile(`/proc/${holder.pid}/stat`, "utf8"))) await sleep(20);
    const lock = await take(members, { waitMs: 30_000 });
    holder.child.kill("SIGCONT");
    expect(await holder.next()).toBe("held false");
    holder.line("confirm");
    expect(await holder.next()).toBe("ERR_STOP_REFUSED");
    expect(lock.isHeld()).toBe(true);
    await lock.confirm(signal);
  });

  it("does not keep its process alive", async () => {
    const holder = await startHolder();
    holder.child.stdin.end();
    const exited = new Promise((resolve) => holder.child.once("exit", (code) => resolve(code)));
    expect(await exited).toBe(0);
  });

  it("is told to be gone when somebody has deleted it and another has taken it, and is taken again if nobody has", async () => {
    const lock = await take(members);
    const client = await connectZooKeeper(servers[0]?.connectString ?? "");
    await client.delete("/zk-backyp-stop");
    await lock.confirm(signal);
    expect(lock.isHeld()).toBe(true);
    await client.delete("/zk-backyp-stop");
    await client.close();
    const other = await take(members, { label: { host: "other" } });
    const error = await failure(lock.confirm(signal));
    expect(error.code).toBe("ERR_BUSY");
    expect(error.message).toContain('{"host":"other"');
    expect(lock.isHeld()).toBe(false);
    await lock.release();
    await other.confirm(signal);
  });

  it.each([
    ["/zk-backyp/stop", "NO_NODE", /Create \/zk-backyp, or name another lock\.path/],
    ["no-path", "BAD_ARGUMENTS", /Name another lock\.path/],
    ["/", "NODE_EXISTS", /\/ is a znode that stays/],
  ])("that cannot be at %s is refused (%s)", async (path, name, message) => {
    const error = await failure(take(members, { path }));
    expect(error.code).toBe("ERR_STOP_REFUSED");
    expect(error.message).toMatch(message);
    if (name !== "NODE_EXISTS") expect(error.details).toEqual({ path, zooKeeperError: name });
  });

  it("is not held through a server of which there is none, that is silent, or that is no ZooKeeper", async () => {
    const [port = 0] = await freePorts(1);
    const noise = await listen((socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"));
    const silence = await listen(() => {});
    const bad = [port, noise.port, silence.port].map((at) => ({ host: "127.0.0.1", port: at }));
    try {
      const error = await failure(take(bad));
      expect(error.code).toBe("ERR_STOP_REFUSED");
      expect(error.message).toMatch(/ECONNREFUSED/);
      expect(error.message).toMatch(/packet of 1213486160 bytes; is that a ZooKeeper client port/);
      expect(error.message).toMatch(/no answer within 5 s/);
      expect(error.message).toMatch(/lock: false/);
      // And they do not keep it from one that serves.
      expect((await take([...bad.slice(0, 2), ...members])).isHeld()).toBe(true);
    } finally {
      await noise.close();
      await silence.close();
    }
  });

  it("is refused without any other member", async () => {
    expect((await failure(take([]))).code).toBe("ERR_STOP_REFUSED");
  });
});

describe.skipIf(!running)("the stop lock where not everybody may create it", () => {
  let folder: string;
  let server: ZooKeeperServer | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-lock-acl-"));
    server = await startZooKeeper({ directory: folder });
    const client = await connectZooKeeper(server.connectString);
    await client.create("/open");
    await client.close();
    const hash = createHash("sha1").update("backup:secret").digest("base64");
    await promisify(execFile)(server.command[0] as string, [
      ...["-cp", zooKeeperClassPath(), "org.apache.zookeeper.ZooKeeperMain", "-server", server.connectString],
      ...["setAcl", "/", `world:anyone:r,digest:backup:${hash}:cdrwa`],
    ]);
  });
  afterAll(async () => {
    await server?.kill();
    await rm(folder, { recursive: true });
  });

  it("is refused, and it is said what would help", async () => {
    const { code, message, details } = await failure(take([addressOf(server as ZooKeeperServer)]));
    expect(code).toBe("ERR_STOP_REFUSED");
    expect(details).toEqual({ path: "/zk-backyp-stop", zooKeeperError: "NO_AUTH" });
    expect(message).toMatch(/Grant create on \/, set lock\.auth .*, name in lock\.path .*, or set lock: false/);
  });

  it("is taken below a znode that may be written", async () => {
    const lock = await take([addressOf(server as ZooKeeperServer)], { path: "/open/stop" });
    expect(lock.isHeld()).toBe(true);
  });

  it("is taken by who may, is nobody else's to delete, and is seen by all", async () => {
    const servers = [addressOf(server as ZooKeeperServer)];
    const auth = { scheme: "digest", credential: "backup:secret" } as const;
    const lock = await take(servers, { auth });
    await lock.confirm(signal);
    const client = await connectZooKeeper((server as ZooKeeperServer).connectString);
    await expect(client.setData("/zk-backyp-stop", Buffer.alloc(0))).rejects.toThrow(/NO_AUTH/);
    await expect(client.delete("/zk-backyp-stop")).rejects.toThrow(/NO_AUTH/);
    expect((await client.getData("/zk-backyp-stop")).data?.toString()).toMatch(/^\{"host":"here"/);
    await client.close();
    expect((await failure(take(servers, { auth }))).code).toBe("ERR_BUSY");
    const wrong = { scheme: "digest", credential: "backup:guess" } as const;
    expect((await failure(take(servers, { auth: wrong, path: "/other" }))).code).toBe("ERR_STOP_REFUSED");
  });
});

describe.skipIf(!running)("the stop lock of an ensemble with TLS", () => {
  let folder: string;
  let servers: ZooKeeperServer[] = [];
  let certificates: Certificates;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-lock-tls-"));
    certificates = await makeCertificates(join(folder, "certificates"));
    servers = await startEnsemble({ directory: folder, size: 3, config: certificates.zooCfg });
  });
  afterAll(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true });
  });

  const withTls = (server: ZooKeeperServer): ServerAddress => ({ ...addressOf(server), scheme: "tls" });

  it.each(["tls", "plain"])("is held while the leader is stopped and another one elected (%s)", async (how) => {
    const { caFile, client } = certificates;
    const options = how === "tls" ? { tls: { caFile, certFile: client.certFile, keyFile: client.keyFile } } : {};
    const address = how === "tls" ? withTls : addressOf;
    const [leader, ...followers] = (await leaderFirst(servers)) as [ZooKeeperServer, ...ZooKeeperServer[]];
    // Connected to the leader itself, so that the connection goes too.
    const lock = await take([leader, ...followers].map(address), options);
    await leader.stop();
    try {
      for (let i = 0; i < 20; i++) {
        expect(lock.isHeld()).toBe(true);
        await sleep(200);
      }
      await lock.confirm(signal);
      expect(lock.isHeld()).toBe(true);
      expect((await failure(take(followers.map(address), options))).code).toBe("ERR_BUSY");
    } finally {
      await leader.start();
    }
    await lock.release();
    expect((await take([address(leader)], options)).isHeld()).toBe(true);
  });

  it("is held while the member through which it is held hangs", async () => {
    const [leader, hanging] = (await leaderFirst(servers)) as [ZooKeeperServer, ZooKeeperServer];
    const lock = await take([hanging, leader].map(addressOf));
    process.kill(hanging.pid, "SIGSTOP");
    try {
      for (let i = 0; i < 80; i++) {
        expect(lock.isHeld()).toBe(true);
        await sleep(200);
      }
      await lock.confirm(signal);
    } finally {
      process.kill(hanging.pid, "SIGCONT");
    }
  });

  it("is refused with a certificate that the servers do not trust, or from servers that are not trusted", async () => {
    const { caFile, client, stranger } = certificates;
    const addresses = servers.map(withTls);
    const asStranger = { caFile, certFile: stranger.certFile, keyFile: stranger.keyFile };
    const refusals = await Promise.all([
      failure(take(addresses, { tls: asStranger })),
      failure(
        take(addresses, { tls: { caFile: stranger.certFile, certFile: client.certFile, keyFile: client.keyFile } }),
      ),
    ]);
    expect(refusals.map(({ code }) => code)).toEqual(["ERR_STOP_REFUSED", "ERR_STOP_REFUSED"]);
    expect(refusals[0]?.message).toMatch(/refuses the client certificate/);
    expect(refusals[1]?.message).toMatch(/signed by none of the CAs/);
  });

  it.each([
    ["a CA's file that is missing", { tls: { caFile: "/nowhere.pem" } }],
    ["an address that is no client port", { servers: [{ host: "127.0.0.1", port: 1, scheme: "http" as const }] }],
  ])("cannot be had with %s", async (_, options) => {
    expect((await failure(take(servers.map(withTls), options))).code).toBe("ERR_CONFIG_INVALID");
  });
});

async function listen(answer: (socket: Socket) => void): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    answer(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
