import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatServerAddress } from "../ensemble/server-address.ts";
import { parseOptions, type ZooKeeperSourceOptions } from "../options.ts";
import { electionServers } from "./election-servers.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-election-servers-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function zooCfg(...lines: readonly string[]): Promise<string> {
  const path = join(folder, `${Math.random()}.cfg`);
  await writeFile(path, lines.join("\n"));
  return path;
}

async function found(options: ZooKeeperSourceOptions): Promise<{ own: string | null; servers: string[] }> {
  const { own, servers } = await electionServers(options);
  return { own: own && formatServerAddress(own), servers: servers.map(formatServerAddress) };
}

const MEMBERS = ["server.1=zk1:2888:3888", "server.2=zk2:2888:3888", "server.3=zk3:2888:3888:observer"] as const;

describe("the servers of an election", () => {
  it("are the one that is named, and no other", async () => {
    expect(await found({ server: "zk1:2181" })).toEqual({ own: "zk1:2181", servers: ["zk1:2181"] });
  });

  it("are this node's first, then all members of zoo.cfg at its port", async () => {
    const path = await zooCfg("clientPort=2181", ...MEMBERS);
    expect(await found({ zooCfg: path })).toEqual({
      own: "127.0.0.1:2181",
      servers: ["127.0.0.1:2181", "zk1:2181", "zk2:2181", "zk3:2181"],
    });
  });

  it("are at the ports in the lines of zoo.cfg", async () => {
    const path = await zooCfg("server.1=zk1:2888:3888;2191", "server.2=zk2|zk2b:2888:3888;10.0.0.2:2192");
    await expect(found({ zooCfg: path })).rejects.toMatchObject({ code: "ERR_CONFIG_INVALID" });
    const good = await zooCfg("server.1=zk1:2888:3888;2191", "server.2=zk2:2888:3888|zk2b:2888:3888;10.0.0.2:2192");
    expect(await found({ zooCfg: good })).toEqual({ own: null, servers: ["zk1:2191", "10.0.0.2:2192"] });
  });

  it("are over TLS where this node's is", async () => {
    const path = await zooCfg("clientPort=2181", ...MEMBERS);
    expect((await found({ zooCfg: path, server: "tls://zk1:2281" })).servers).toEqual([
      "tls://zk1:2281",
      "tls://zk2:2281",
      "tls://zk3:2281",
    ]);
  });

  it("are those of zoo.cfg where an AdminServer is named, which is asked for the role", async () => {
    const path = await zooCfg("clientPort=2181", "clientPortAddress=10.0.0.1");
    expect(await found({ zooCfg: path, server: "http://localhost:8080" })).toEqual({
      own: "http://localhost:8080",
      servers: ["10.0.0.1:2181"],
    });
  });

  it("are the members that are named, instead of those in zoo.cfg, each once", async () => {
    const path = await zooCfg("clientPort=2181", ...MEMBERS);
    const election = { members: ["a:1", "tls://b:2", "127.0.0.1:2181"] };
    expect((await found({ zooCfg: path, election })).servers).toEqual(["127.0.0.1:2181", "a:1", "tls://b:2"]);
    expect(await found({ election: { members: ["a:1"] } })).toEqual({ own: null, servers: ["a:1"] });
  });

  it.each([
    ["nothing", {}, /give zooCfg, server .* or election\.members/],
    ["a dataDir", { dataDir: "/data" }, /give zooCfg/],
    ["an AdminServer", { server: "http://localhost:8080" }, /give zooCfg/],
    ["a zoo.cfg that is missing", { zooCfg: "/nowhere/zoo.cfg" }, /there is no such file/],
  ])("are not known from %s", async (_, options, message) => {
    await expect(electionServers(options)).rejects.toMatchObject({
      code: "ERR_CONFIG_INVALID",
      message: expect.stringMatching(message),
    });
  });
});

describe("the options of an election", () => {
  it("are taken as they are", () => {
    const election = {
      path: "/a/b.c",
      auth: { scheme: "digest", credential: "user:pass:word" },
      sessionTimeoutMs: 4_000,
      members: ["zk1:2181", "tls://zk2:2281"],
    } as const;
    expect(parseOptions({ election })).toEqual({ election });
    expect(parseOptions({ election: {} })).toEqual({ election: {} });
  });

  it.each([
    ["a relative path", { path: "zk" }, /election\.path.*no znode path/],
    ["the root", { path: "/" }, /election\.path/],
    ["a slash too many", { path: "/a/" }, /election\.path/],
    ["a path with ..", { path: "/a/../b" }, /election\.path/],
    ["a path with a line in it", { path: "/a\nb" }, /election\.path/],
    ["another scheme", { auth: { scheme: "sasl", credential: "a:b" } }, /election\.auth\.scheme/],
    [
      "no password",
      { auth: { scheme: "digest", credential: "user:" } },
      /election\.auth\.credential.*not user:password/,
    ],
    ["a short session", { sessionTimeoutMs: 999 }, /less than a second/],
    ["a long session", { sessionTimeoutMs: 600_001 }, /more than ten minutes/],
    ["an AdminServer", { members: ["http://zk1:8080"] }, /election\.members\.0: is no client port/],
    ["no port", { members: ["zk1"] }, /election\.members\.0: is no client port/],
    ["no members", { members: [] }, /election\.members.*empty/],
    ["an option that is none", { lock: true }, /lock/],
  ])("are refused with %s", (_, election, message) => {
    expect(() => parseOptions({ election })).toThrow(expect.objectContaining({ code: "ERR_CONFIG_INVALID" }));
    expect(() => parseOptions({ election })).toThrow(message);
  });
});
