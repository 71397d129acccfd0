import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Candidacy, isBackypError, type Source, silentLogger } from "@zk-backyp/core";
import { electionContract } from "@zk-backyp/core/testing";
import {
  connectZooKeeper,
  freePorts,
  requirePart,
  startEnsemble,
  startZooKeeper,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createZooKeeperSource, type ZooKeeperSourceOptions } from "../src/index.ts";

const { signal } = new AbortController();
const logger = silentLogger;
const sources: Source[] = [];
const running = requirePart(zooKeeperMissing());

interface Standing extends Candidacy {
  readonly source: Source;
}

/** Stands for election, as the daemon beside a server does. */
async function stand(options: ZooKeeperSourceOptions, host = "here", name = "job"): Promise<Standing> {
  const source = createZooKeeperSource(options);
  sources.push(source);
  const candidacy = await source.elect?.(name, { host }, { signal, logger });
  if (candidacy === undefined) throw new Error("it has no elections");
  return Object.assign(candidacy, { source });
}

async function until(what: string, isSo: () => boolean, limitMs = 30_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (!isSo()) {
    if (Date.now() > end) throw new Error(`not within ${limitMs / 1000} s: ${what}`);
    await sleep(20);
  }
}

const elected = (candidacy: Candidacy): Promise<void> => until("elected", () => candidacy.state === "elected");
const waiting = (candidacy: Candidacy): Promise<void> =>
  until("waiting", () => candidacy.state === "waiting" && candidacy.holder !== null);

async function failure(doing: Promise<unknown>): Promise<{ code: string; message: string; details: unknown }> {
  try {
    await doing;
  } catch (error) {
    if (isBackypError(error)) return error;
    throw error;
  }
  throw new Error("this should have failed");
}

/** The candidates below `/zk-backyp/job`. */
async function candidates(server: ZooKeeperServer, folder = "/zk-backyp/job"): Promise<string[]> {
  const client = await connectZooKeeper(server.connectString);
  try {
    return (await client.getChildren(folder)).sort((a, b) => a.slice(-10).localeCompare(b.slice(-10)));
  } finally {
    await client.close();
  }
}

/** The members, the leader first. */
async function leaderFirst(servers: readonly ZooKeeperServer[]): Promise<ZooKeeperServer[]> {
  const roles = await Promise.all(servers.map((server) => server.fourLetterWord("srvr").catch(() => "")));
  const leader = roles.findIndex((text) => text.includes("Mode: leader"));
  return [...servers.slice(leader), ...servers.slice(0, leader)];
}

const leave = (): Promise<unknown> => Promise.all(sources.splice(0).map((source) => source.close()));

afterEach(leave);

describe.skipIf(!running)("an election in an ensemble whose sessions live for 4 s", () => {
  let folder: string;
  let servers: ZooKeeperServer[] = [];
  const holders: ChildProcess[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-election-"));
    servers = await startEnsemble({ directory: folder, size: 3, config: { maxSessionTimeout: "4000" } });
  });
  afterEach(async () => {
    await leave();
    for (const holder of holders.splice(0)) {
      if (holder.exitCode === null && holder.signalCode === null) {
        holder.stdin?.write("leave\n");
        const timer = setTimeout(() => holder.kill("SIGKILL"), 6_000);
        await once(holder, "exit");
        clearTimeout(timer);
      }
    }
    // The next test finds nobody.
    while ((await candidates(servers[0] as ZooKeeperServer).catch(() => [])).length > 0) await sleep(100);
  });
  afterAll(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true });
  });

  /** As the daemon beside that server is configured. */
  const beside = (server: ZooKeeperServer): ZooKeeperSourceOptions => ({
    server: server.connectString,
    dataDir: server.dataDir,
    election: { members: servers.map(({ connectString }) => connectString) },
  });
  const [one, two, three] = [0, 1, 2].map((at) => (): ZooKeeperServer => servers[at] as ZooKeeperServer) as [
    () => ZooKeeperServer,
    () => ZooKeeperServer,
    () => ZooKeeperServer,
  ];

  /** Another process that stands; `line` sends it a line, and `next` is the next one that it says. */
  async function startHolder(server: ZooKeeperServer) {
    const program = fileURLToPath(new URL("./election-candidate.ts", import.meta.url));
    const child = spawn(process.execPath, [program, JSON.stringify(beside(server))], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    holders.push(child);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (): Promise<string> => String((await lines.next()).value);
    expect(await next()).toBe("elected");
    return { child, pid: child.pid as number, next, line: (text: string): unknown => child.stdin.write(`${text}\n`) };
  }

  it("has one elected, in the order in which they came, and tells all who it is", async () => {
    const first = await stand(beside(one()), "a");
    await elected(first);
    const second = await stand(beside(two()), "b");
    await waiting(second);
    const third = await stand(beside(three()), "c");
    await waiting(third);
    expect(second.holder).toEqual({
      host: "a",
      pid: process.pid,
      role: expect.stringMatching(/^(leader|follower)$/),
    });
    expect(first.holder).toEqual(second.holder);
    await first.confirm(signal);
    const refused = await failure(third.confirm(signal));
    expect(refused.code).toBe("ERR_NOT_ELECTED");
    expect(refused.message).toMatch(/\/zk-backyp\/job.*not the first in order.*"host":"a"/);
    await first.close();
    await elected(second);
    expect(third.state).toBe("waiting");
    await second.close();
    await elected(third);
    await third.confirm(signal);
    expect(await candidates(one())).toHaveLength(1);
    await third.close();
    expect(await candidates(one())).toEqual([]);
    expect(third.state).toBe("unreachable");
    expect((await failure(third.confirm(signal))).code).toBe("ERR_NOT_ELECTED");
  });

  it("is one for each name, whatever the name is", async () => {
    const names = ["prod/zk", "..", "a b", "💾 é", "zookeeper", "%2F"];
    const all = await Promise.all(names.map((name) => stand(beside(one()), "a", name)));
    for (const candidacy of all) {
      await elected(candidacy);
      await candidacy.confirm(signal);
    }
  });

  it("has the next one elected after the elected one was killed", async () => {
    const holder = await startHolder(one());
    const next = await stand(beside(two()));
    await waiting(next);
    expect(next.holder).toMatchObject({ host: "holder", pid: holder.pid });
    holder.child.kill("SIGKILL");
    await elected(next);
    await next.confirm(signal);
  });

  it("is lost by one that was paused, which knows it before it does anything else", async () => {
    const holder = await startHolder(one());
    const next = await stand(beside(two()));
    await waiting(next);
    holder.line("confirm");
    expect(await holder.next()).toBe("confirmed");
    holder.line("pause");
    while (!/^\d+ \(.*\) T /.test(await readFile(`/proc/${holder.pid}/stat`, "utf8"))) await sleep(20);
    await elected(next);
    holder.line("confirm");
    holder.child.kill("SIGCONT");
    expect(await holder.next()).toBe("woken unreachable");
    const said = [await holder.next(), await holder.next(), await holder.next()];
    expect(said.slice().sort()).toEqual([
      expect.stringMatching(/^ERR_NOT_ELECTED .*Elected is \{"host":"here"/),
      "unreachable",
      "waiting",
    ]);
    await next.confirm(signal);
    await next.close();
    expect(await holder.next()).toBe("elected");
  });

  it("stays as it is while the leader is stopped and another one elected, and can be confirmed then", async () => {
    const [leader, follower, other] = (await leaderFirst(servers)) as [
      ZooKeeperServer,
      ZooKeeperServer,
      ZooKeeperServer,
    ];
    const first = await stand(beside(leader), "a");
    await elected(first);
    const second = await stand(beside(follower), "b");
    await waiting(second);
    const states = new Set<string>();
    first.onChange(() => states.add(first.state));
    await leader.stop();
    try {
      await first.confirm(signal);
      expect((await failure(second.confirm(signal))).code).toBe("ERR_NOT_ELECTED");
      expect(states).not.toContain("waiting");
      expect((await candidates(other)).length).toBe(2);
      // Its server is no leader any more, which all are told.
      await until("the role", () => second.state === "waiting" && second.holder?.role === null);
    } finally {
      await leader.start();
    }
  });

  it("goes on where its connection is cut, and is lost where it stays cut", async () => {
    const proxy = await startProxy(one().clientPort);
    try {
      const cut = await stand({ server: `127.0.0.1:${proxy.port}` }, "cut");
      await elected(cut);
      const next = await stand(beside(two()), "next");
      await waiting(next);
      for (let i = 0; i < 5; i += 1) {
        proxy.cut();
        await cut.confirm(signal);
      }
      expect(cut.state).toBe("elected");
      await proxy.close();
      const both: boolean[] = [];
      await until("the next is elected", () => {
        both.push(cut.state === "elected" && next.state === "elected");
        return next.state === "elected";
      });
      expect(both).not.toContain(true);
      expect(cut.state).toBe("unreachable");
      expect(cut.holder).toBeNull();
      expect(cut.problem).toMatch(
        /^who is elected for \/zk-backyp\/job is not known: .*reachable from here: 127\.0\.0\.1:/,
      );
      const refused = await failure(cut.confirm(signal));
      expect(refused.code).toBe("ERR_NOT_ELECTED");
      await proxy.open();
      await waiting(cut);
      expect(cut.problem).toBeNull();
      expect(cut.holder).toMatchObject({ host: "next" });
      await cut.close();
    } finally {
      await proxy.close();
    }
  });

  it("is begun anew by one whose znode somebody has deleted", async () => {
    const first = await stand(beside(one()), "a");
    await elected(first);
    const second = await stand(beside(two()), "b");
    await waiting(second);
    const client = await connectZooKeeper(one().connectString);
    const [name] = await candidates(one());
    await client.delete(`/zk-backyp/job/${name}`);
    // Whether it has noticed already or not.
    const refused = await failure(first.confirm(signal));
    expect(refused.code).toBe("ERR_NOT_ELECTED");
    await elected(second);
    await waiting(first);
    expect(first.holder).toMatchObject({ host: "b" });
    expect(await candidates(one())).toHaveLength(2);
    await client.close();
  });

  it("is not kept from anybody by a znode that stays", async () => {
    const client = await connectZooKeeper(one().connectString);
    const stays = "/zk-backyp/job/candidate-00000000-0000-0000-0000-000000000000-0000000000";
    try {
      await (await stand(beside(one()))).close();
      await client.create(stays);
      await client.create("/zk-backyp/job/else");
      const candidacy = await stand(beside(one()));
      await elected(candidacy);
      await candidacy.confirm(signal);
    } finally {
      await client.delete(stays);
      await client.delete("/zk-backyp/job/else");
      await client.close();
    }
  });

  it("goes to the next one when the elected one steps back, and to nobody else where nobody waits", async () => {
    const first = await stand(beside(one()), "a");
    await elected(first);
    await first.stepBack();
    expect(first.state).toBe("elected");
    await first.confirm(signal);
    const second = await stand(beside(two()), "b");
    await waiting(second);
    await until("that another one waits is known", () => first.state === "elected");
    await sleep(500);
    const stepped = first.stepBack();
    expect(first.state).toBe("waiting");
    expect((await failure(first.confirm(signal))).code).toBe("ERR_NOT_ELECTED");
    await stepped;
    await elected(second);
    await second.confirm(signal);
    await waiting(first);
    expect(first.holder).toMatchObject({ host: "b" });
    expect(await candidates(one())).toHaveLength(2);
  });

  it("prefers another one where one's own server leads, once in a while", async () => {
    const [leader, follower] = (await leaderFirst(servers)) as [ZooKeeperServer, ZooKeeperServer];
    const onLeader = await stand(beside(leader), "leader");
    await elected(onLeader);
    expect(onLeader.prefersOther).toBe(false);
    const onFollower = await stand(beside(follower), "follower");
    await until("it prefers the other", () => onLeader.prefersOther === true);
    expect(onLeader.state).toBe("elected");
    await onLeader.stepBack();
    await elected(onFollower);
    await sleep(500);
    expect(onFollower.prefersOther).toBe(false);
    await onFollower.stepBack();
    await elected(onLeader);
    await sleep(1_000);
    expect(onLeader.prefersOther).toBe(false);
  });

  it("has nobody preferred where both are at the leader", async () => {
    const [leader] = (await leaderFirst(servers)) as [ZooKeeperServer];
    const first = await stand(beside(leader), "a");
    await elected(first);
    const second = await stand(beside(leader), "b");
    await waiting(second);
    await sleep(1_000);
    expect(first.prefersOther).toBe(false);
  });

  it("is among members with names, which they tell", async () => {
    const nameOf = (options: ZooKeeperSourceOptions): unknown =>
      createZooKeeperSource(options).nodeName?.({ signal, logger });
    expect(await nameOf({ server: two().connectString })).toBe("2");
    expect(await nameOf({ server: `http://127.0.0.1:${three().adminPort}` })).toBe("3");
    expect(await nameOf({ zooCfg: one().configFile })).toBe("1");
  });

  it("ends with the signal", async () => {
    const abort = new AbortController();
    const source = createZooKeeperSource(beside(one()));
    sources.push(source);
    const candidacy = await source.elect?.("job", {}, { signal: abort.signal, logger });
    if (candidacy === undefined) throw new Error("it has no elections");
    await elected(candidacy);
    abort.abort();
    expect((await failure(candidacy.confirm(signal))).code).toBe("ERR_ABORTED");
    await candidacy.close();
    expect(await candidates(one())).toEqual([]);
    const again = source.elect?.("job", {}, { signal: abort.signal, logger });
    expect((await failure(again as Promise<unknown>)).code).toBe("ERR_ABORTED");
  });

  it("never has two confirmed at once, whatever happens to their connections", async () => {
    const proxies = await Promise.all(servers.map((server) => startProxy(server.clientPort)));
    const end = Date.now() + 6_000;
    let inside = 0;
    let confirmed = 0;
    const refusals = new Set<string>();
    const random = randomFrom(Number(process.env.ELECTION_SEED ?? 20_261_123));
    const compete = async (nth: number): Promise<void> => {
      while (Date.now() < end) {
        const proxy = proxies[nth % proxies.length] as Proxied;
        const candidacy = await stand({ server: `127.0.0.1:${proxy.port}` }, `${nth}`);
        for (let turns = 0; turns < 8 && Date.now() < end; turns += 1) {
          await sleep(random(200));
          // Others may be confirmed between a proof and what it is for; not before the work of the proven one has begun.
          const error = await candidacy.confirm(signal).catch((cause: { code: string }) => cause);
          if (error !== undefined) {
            refusals.add(error.code);
            continue;
          }
          confirmed += 1;
          inside += 1;
          expect(inside).toBe(1);
          await sleep(random(20));
          inside -= 1;
          if (random(4) === 0) await candidacy.stepBack();
        }
        await candidacy.close();
      }
    };
    const disturb = async (): Promise<void> => {
      while (Date.now() < end) {
        await sleep(random(600));
        proxies[random(proxies.length)]?.cut();
      }
    };
    try {
      await Promise.all([...Array.from({ length: 6 }, (_, nth) => compete(nth)), disturb()]);
    } finally {
      for (const proxy of proxies) await proxy.close();
    }
    expect(confirmed).toBeGreaterThan(20);
    expect([...refusals]).toEqual(["ERR_NOT_ELECTED"]);
  });
});

describe.skipIf(!running)("an election through a server alone", () => {
  let folder: string;
  let server: ZooKeeperServer;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-election-acl-"));
    server = await startZooKeeper({ directory: folder, config: { maxSessionTimeout: "4000" } });
  });
  afterAll(async () => {
    await server.kill();
    await rm(folder, { recursive: true });
  });

  const auth = { scheme: "digest", credential: "backup:secret" } as const;

  it("is closed to strangers where there is a credential, who are told what to do, and open to read", async () => {
    const path = "/apart/deep";
    const first = await stand({ server: server.connectString, election: { path, auth } }, "a");
    await elected(first);
    const second = await stand({ server: server.connectString, election: { path, auth } }, "b");
    await waiting(second);
    for (const wrong of [undefined, { ...auth, credential: "backup:guess" }]) {
      const election = wrong === undefined ? { path } : { path, auth: wrong };
      const stranger = await stand({ server: server.connectString, election }, "stranger");
      await until("it is told", () => stranger.problem?.includes("NO_AUTH") === true);
      expect(stranger.state).toBe("unreachable");
      expect(stranger.problem).toMatch(/Set election\.auth to what the other nodes use/);
    }
    const client = await connectZooKeeper(server.connectString);
    const names = await candidates(server, "/apart/deep/job");
    expect(names).toHaveLength(2);
    const znode = `/apart/deep/job/${names[0]}`;
    expect(JSON.parse(String((await client.getData(znode)).data))).toEqual({
      host: "a",
      pid: process.pid,
      role: "standalone",
    });
    await expect(client.delete(znode)).rejects.toThrow(/NO_AUTH/);
    await expect(client.setData(znode, Buffer.alloc(0))).rejects.toThrow(/NO_AUTH/);
    await expect(client.create("/apart/deep/job/candidate", null)).rejects.toThrow(/NO_AUTH/);
    await client.close();
    await first.confirm(signal);
  });

  for (const { name, run } of electionContract(async () =>
    createZooKeeperSource({ server: server.connectString, election: { auth, path: "/contract" } }),
  )) {
    it(name, run);
  }

  it("is where no server has a name", async () => {
    const source = createZooKeeperSource({ server: server.connectString });
    expect(await source.nodeName?.({ signal, logger })).toBeNull();
  });

  it("cannot be below a znode that goes, which is said", async () => {
    const client = await connectZooKeeper(server.connectString);
    await client.create("/goes", null, { ephemeral: true });
    const candidacy = await stand({ server: server.connectString, election: { path: "/goes" } });
    await until("it is told", () => /NO_CHILDREN_FOR_EPHEMERALS.*another election\.path/.test(candidacy.problem ?? ""));
    await client.close();
    await elected(candidacy);
  });

  it("begins when the server comes up", async () => {
    await server.stop();
    const candidacy = await stand({ server: server.connectString });
    expect(candidacy.state).toBe("unreachable");
    await until("it is told", () => /ECONNREFUSED.*Start the servers/.test(candidacy.problem ?? ""));
    expect((await failure(candidacy.confirm(signal))).code).toBe("ERR_NOT_ELECTED");
    await server.start();
    await elected(candidacy);
    await candidacy.confirm(signal);
  });
});

interface Proxied {
  readonly port: number;
  /** Cuts all connections; new ones may be made. */
  cut(): void;
  /** Cuts all connections, and lets none in. */
  close(): Promise<void>;
  open(): Promise<void>;
}

async function startProxy(to: number): Promise<Proxied> {
  const [port = 0] = await freePorts(1);
  const sockets = new Set<Socket>();
  let server: Server | null = null;
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
  };
  const open = async (): Promise<void> => {
    server = createServer((socket) => {
      const other = connect(to, "127.0.0.1");
      for (const each of [socket, other]) {
        sockets.add(each);
        each.on("error", () => {});
        each.on("close", () => {
          socket.destroy();
          other.destroy();
        });
      }
      socket.pipe(other);
      other.pipe(socket);
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  };
  await open();
  return {
    port,
    cut,
    open,
    close: async () => {
      const closing = server;
      server = null;
      if (closing === null) return;
      closing.close();
      cut();
      await once(closing, "close");
    },
  };
}

/** Whole numbers below what is asked for, the same ones for the same seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}
