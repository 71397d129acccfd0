import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBackypError } from "@zk-backyp/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseProperties } from "../zoo-cfg.ts";
import { mayStop } from "./may-stop.ts";
import { type EnsembleView, type ViewOptions, viewEnsemble } from "./view.ts";

const { signal } = new AbortController();
const NOT_ALLOWED = "x is not executed because it is not in the whitelist.\n";
let folder: string;
let servers: Server[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-view-"));
  servers = [];
});
afterEach(async () => {
  for (const server of servers) server.close();
  await rm(folder, { recursive: true });
});

/** A server that answers only these words, with `srvr` made from its role. */
async function member(role: string | null, words: Record<string, string> = {}): Promise<number> {
  const srvr = `Zookeeper version: 3.8.4-x, built on y\nZxid: 0x100000005\nMode: ${role}\nNode count: 5\n`;
  const answers: Record<string, string> = { ...(role === null ? {} : { srvr }), ...words };
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (word) => socket.end(answers[String(word)] ?? NOT_ALLOWED));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as { port: number }).port;
}

interface Setup {
  readonly myid?: number;
  /** Text of zoo.cfg; without, there is none. */
  readonly zooCfg?: string;
  readonly members?: readonly string[];
}

async function viewFrom(port: number, { myid, zooCfg, members }: Setup): Promise<EnsembleView> {
  if (myid !== undefined) await writeFile(join(folder, "myid"), `${myid}\n`);
  const path = join(folder, "zoo.cfg");
  const options: ViewOptions = {
    server: { host: "127.0.0.1", port },
    dataDir: folder,
    zooCfg: zooCfg === undefined ? null : { path, text: zooCfg, settings: parseProperties(zooCfg) },
    members,
    timeoutMs: 500,
  };
  return viewEnsemble(options, signal);
}

const lines = (...ports: readonly (number | string)[]): string =>
  ports.map((port, index) => `server.${index + 1}=127.0.0.1:1:1:participant;127.0.0.1:${port}\n`).join("");
const roles = ({ self, others }: EnsembleView): (string | undefined)[] =>
  [self, ...others].map(({ status, problem }) => status?.role ?? problem?.kind);

describe("an ensemble is seen", () => {
  it("by zoo.cfg and myid, where only srvr is allowed", async () => {
    const [one, two, three] = [await member("follower"), await member("leader"), await member("follower")];
    const seen = await viewFrom(one, { myid: 1, zooCfg: lines(one, two, three) });
    expect(seen).toMatchObject({
      self: { id: 1, name: `server 1 (127.0.0.1:${one})`, votes: true, status: { role: "follower", serverId: null } },
      leader: { id: 2, clients: [{ host: "127.0.0.1", port: two }] },
      rule: { voters: [1, 2, 3], groups: null },
      doubt: null,
    });
    expect(roles(seen)).toEqual(["follower", "leader", "follower"]);
  });

  it("by what the server says, where conf is allowed", async () => {
    const two = await member("leader");
    const conf = `serverId=1\nmembership: \n${lines(1, two, 1)}version=0\n`;
    const one = await member("follower", { conf });
    const seen = await viewFrom(one, {});
    expect(seen).toMatchObject({ self: { id: 1 }, leader: { id: 2 }, rule: { voters: [1, 2, 3] }, doubt: null });
    expect(roles(seen)).toEqual(["follower", "leader", "no-answer"]);
  });

  it("with members that are down, silent, or without quorum", async () => {
    const one = await member("follower");
    const silent = createServer((socket) => socket.on("error", () => {}));
    servers.push(silent);
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port: two } = silent.address() as { port: number };
    const three = await member(null, { srvr: "This ZooKeeper instance is not currently serving requests\n" });
    const seen = await viewFrom(one, { myid: 1, zooCfg: lines(one, two, three, 1) });
    expect(roles(seen)).toEqual(["follower", "no-answer", "not-serving", "no-answer"]);
    expect(seen.others[0]?.problem?.message).toMatch(/no answer within 0.5 s/);
    expect(seen.others[2]?.problem?.message).toMatch(/ECONNREFUSED/);
  });

  it("when the node itself is down: that is no error", async () => {
    const two = await member("leader");
    const seen = await viewFrom(1, { myid: 1, zooCfg: lines(1, two, 1) });
    expect(roles(seen)).toEqual(["no-answer", "leader", "no-answer"]);
    expect(mayStop(seen, { ifLeader: "proceed", allowStandalone: true })).toMatchObject({ reason: "not-serving" });
  });

  it("at the first of several hosts that answers", async () => {
    const [one, two] = [await member("follower"), await member("leader")];
    const several = `server.2=127.0.0.9:1:1|127.0.0.1:1:1;${two}\n`;
    const seen = await viewFrom(one, { myid: 1, zooCfg: `server.1=127.0.0.1:1:1\n${several}` });
    expect(seen.leader).toMatchObject({
      id: 2,
      addresses: [
        { host: "127.0.0.1", port: two },
        { host: "127.0.0.9", port: two },
      ],
    });
  });

  it("as a standalone server, where it is one", async () => {
    const seen = await viewFrom(await member("standalone", { conf: "clientPort=1\nserverId=0\n" }), { myid: 7 });
    expect(seen).toMatchObject({ self: { id: null }, others: [], rule: null, doubt: null });
  });
});

describe("nobody is counted twice", () => {
  const policy = { ifLeader: "proceed", allowStandalone: true } as const;

  it("where all members would be asked at this node's own address", async () => {
    const one = await member("follower");
    const seen = await viewFrom(one, {
      myid: 1,
      zooCfg: "server.1=127.0.0.1:1:1\nserver.2=127.0.0.1:2:2\nserver.3=localhost:3:3\n",
    });
    expect(roles(seen)).toEqual(["follower", "no-answer", "no-answer"]);
    expect(seen.others[1]?.problem?.message).toMatch(/is another member's address, too/);
    expect(mayStop(seen, policy)).toMatchObject({ reason: "quorum" });
  });

  it("where the only other one would be asked at this node's own address", async () => {
    const one = await member("follower");
    const seen = await viewFrom(one, { myid: 1, zooCfg: "server.1=127.0.0.1:1:1\nserver.2=localhost:2:2\n" });
    expect(roles(seen)).toEqual(["follower", "no-answer"]);
  });

  it("where two members are on the one host that is named", async () => {
    const [one, two] = [await member("follower"), await member("leader")];
    const zooCfg = "server.1=a:1:1\nserver.2=127.0.0.1:2:2\nserver.3=127.0.0.1:3:3\n";
    const seen = await viewFrom(one, { myid: 1, zooCfg, members: [`127.0.0.1:${two}`] });
    expect(roles(seen)).toEqual(["follower", "no-answer", "no-answer"]);
    expect(seen.others[0]?.problem?.message).toMatch(/does not tell its id/);
  });

  it("where two members have one address under two names", async () => {
    const [one, two] = [await member("follower"), await member("leader")];
    const zooCfg = `${lines(one, two)}server.3=localhost:3:3;${two}\n`;
    expect(roles(await viewFrom(one, { myid: 1, zooCfg }))).toEqual(["follower", "no-answer", "no-answer"]);
  });

  it("where a server says it is another one", async () => {
    const [one, two] = [await member("follower"), await member("leader", { conf: "serverId=2\n" })];
    const seen = await viewFrom(one, { myid: 1, zooCfg: lines(one, two, two) });
    expect(roles(seen)).toEqual(["follower", "leader", "no-answer"]);
    expect(seen.others[1]?.problem?.message).toMatch(/is server 2; name this one's address in members/);
  });

  it("where an address is named twice", async () => {
    const [one, two] = [await member("follower"), await member("leader")];
    const members = [`2=127.0.0.1:${two}`, `3=localhost:${two}`];
    expect(roles(await viewFrom(one, { myid: 1, zooCfg: lines(1, 1, 1), members }))).toEqual([
      "follower",
      "no-answer",
      "no-answer",
    ]);
  });
});

describe("named addresses", () => {
  it("are those of the ids before them, of the ids that are told, and of their hosts", async () => {
    const one = await member("follower");
    const two = await member("leader");
    const three = await member("follower", { conf: "serverId=3\n" });
    const four = await member("follower");
    const zooCfg = "server.1=a:1:1\nserver.2=b:1:1\nserver.3=c:1:1\nserver.4=127.0.0.1:1:1\nserver.5=e:1:1\n";
    const members = [`127.0.0.1:${one}`, `2=127.0.0.1:${two}`, `localhost:${three}`, `127.0.0.1:${four}`];
    const seen = await viewFrom(one, { myid: 1, zooCfg, members: members.slice(1) });
    expect(roles(seen)).toEqual(["follower", "leader", "follower", "follower", "no-answer"]);
    expect(seen.others[3]).toMatchObject({
      id: 5,
      name: "server 5",
      addresses: [],
      problem: { message: expect.stringMatching(/write it as 5=host:port/) },
    });
    // This node may be among them.
    const conf = await member("follower", { conf: "serverId=1\n" });
    expect(
      roles(await viewFrom(conf, { myid: 1, zooCfg, members: [`localhost:${conf}`, `2=127.0.0.1:${two}`] })),
    ).toEqual(["follower", "leader", "no-answer", "no-answer", "no-answer"]);
  });
});

describe("it is doubted who belongs to the ensemble", () => {
  it.each<[string, string, Record<string, string>, Setup, string, RegExp]>([
    ["nothing tells", "follower", {}, { myid: 1 }, "unknown-members", /name the server's zoo\.cfg, or allow conf/],
    ["there is no id", "follower", {}, { zooCfg: lines(1, 1, 1) }, "unknown-members", /there is no myid/],
    [
      "the id is another server's",
      "follower",
      { conf: "serverId=2\n" },
      { myid: 1, zooCfg: lines(1, 1, 1) },
      "wrong-server",
      /is server 2, but myid in the dataDir says 1/,
    ],
    [
      "the id is none of them",
      "follower",
      {},
      { myid: 9, zooCfg: lines(1, 1, 1) },
      "members-differ",
      /server 9 .* is none of the ensemble's members, 1, 2, 3/,
    ],
    [
      "zoo.cfg has one more",
      "follower",
      { conf: `serverId=1\nmembership: \n${lines(1, 1, 1)}` },
      { myid: 1, zooCfg: lines(1, 1, 1, 1) },
      "members-differ",
      /has the voters 1, 2, 3, but its zoo\.cfg has 1, 2, 3, 4/,
    ],
    [
      "the server is standalone, but zoo.cfg has three",
      "standalone",
      {},
      { myid: 1, zooCfg: lines(1, 1, 1) },
      "members-differ",
      /standalone, but zoo\.cfg names 3 voters/,
    ],
  ])("when %s", async (_, role, words, setup, reason, message) => {
    const { doubt } = await viewFrom(await member(role, words), setup);
    expect(doubt).toEqual({ reason, message: expect.stringMatching(message) });
  });

  it("not when a lone server is named in its zoo.cfg", async () => {
    expect((await viewFrom(await member("standalone"), { myid: 1, zooCfg: lines(1) })).doubt).toBeNull();
  });
});

describe("a look at an ensemble fails", () => {
  it.each<[string, Setup, RegExp]>([
    ["a server.N line that is none", { myid: 1, zooCfg: "server.1=x\n" }, /server\.1=x is not understood/],
    ["a dynamic file that is gone", { myid: 1, zooCfg: "dynamicConfigFile=gone\n" }, /gone: there is no such file/],
  ])("with %s", async (_, setup, message) => {
    const port = await member("follower");
    await expect(viewFrom(port, setup)).rejects.toSatisfy(
      (error) => isBackypError(error, "ERR_SOURCE_UNAVAILABLE") && message.test(error.message),
    );
  });

  it("when it is aborted", async () => {
    const options = { server: { host: "127.0.0.1", port: 1 }, dataDir: folder, zooCfg: null };
    await expect(viewEnsemble(options, AbortSignal.abort())).rejects.toSatisfy((error) =>
      isBackypError(error, "ERR_ABORTED"),
    );
  });
});
