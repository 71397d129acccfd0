import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";
import {
  connectZooKeeper,
  requirePart,
  startZooKeeper,
  unpackFixture,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "@zk-backyp/testbed";
import {
  type Acl,
  CONTAINER_OWNER,
  cutLog,
  formatZxid,
  type NodeContent,
  OPEN_ACL,
  readLog,
  readSnapshot,
  type SnapshotSummary,
  type Txn,
  ttlOwner,
  writeLog,
  writeSnapshot,
  type ZnodeStat,
} from "@zk-backyp/zookeeper-files";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

// Servers of the testbed load files that this library wrote, and say what they hold: over the wire, in what `mntr`
// counts, and in the snapshot that they take themselves when they start.

const enabled = requirePart(zooKeeperMissing());

let folder: string;
let folders = 0;
const servers: ZooKeeperServer[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "writers-"));
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.kill()));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function emptyVersion2(): Promise<string> {
  folders += 1;
  const directory = join(folder, String(folders), "data", "version-2");
  await mkdir(directory, { recursive: true });
  return directory;
}

async function start(version2: string): Promise<ZooKeeperServer> {
  const server = await startZooKeeper({
    directory: join(version2, "..", ".."),
    dataDir: join(version2, ".."),
    // Nodes of any ACL are to be read.
    javaOptions: ["-Dzookeeper.extendedTypesEnabled=true", "-Dzookeeper.skipACL=yes"],
  });
  servers.push(server);
  return server;
}

const save = (directory: string, name: string, bytes: AsyncIterable<Uint8Array>): Promise<void> =>
  pipeline(bytes, createWriteStream(join(directory, name)));

/** What a server counts. */
async function mntr(server: ZooKeeperServer): Promise<Map<string, string>> {
  const lines = (await server.fourLetterWord("mntr")).trim().split("\n");
  return new Map(lines.map((line) => line.split("\t") as [string, string]));
}

async function zxidOf(server: ZooKeeperServer): Promise<string | undefined> {
  return /^Zxid: (0x[0-9a-f]+)$/m.exec(await server.fourLetterWord("srvr"))?.[1];
}

interface Content {
  readonly sessions: Map<bigint, number>;
  readonly acls: Map<bigint, Acl>;
  readonly nodes: Map<string, NodeContent>;
  readonly summary: SnapshotSummary;
}

async function contentOf(path: string): Promise<Content> {
  const content = { sessions: new Map<bigint, number>(), acls: new Map<bigint, Acl>(), nodes: new Map() };
  const summaries: SnapshotSummary[] = [];
  const onSummary = (summary: SnapshotSummary): unknown => summaries.push(summary);
  for await (const item of readSnapshot(createReadStream(path), { onSummary })) {
    if (item.type === "session") content.sessions.set(item.id, item.timeoutMs);
    else if (item.type === "acl") content.acls.set(item.id, item.acl);
    else content.nodes.set(item.path, { path: item.path, data: item.data, aclId: item.aclId, stat: item.stat });
  }
  return { ...content, summary: summaries[0] as SnapshotSummary };
}

const STAT: ZnodeStat = {
  czxid: 0n,
  mzxid: 0n,
  pzxid: 0n,
  ctimeMs: 0,
  mtimeMs: 0,
  version: 0,
  cversion: 0,
  aversion: 0,
  ephemeralOwner: 0n,
};
const SESSION = 0x100_0000_0000_0001n;
const OTHER_SESSION = 0x100_0000_0000_0002n;
const NOW = Date.now();
const SECRET: Acl = [{ permissions: 31, scheme: "digest", id: "ada:Ü=" }];

function node(path: string, data: string | null, stat: Partial<ZnodeStat> = {}, aclId = -1n): NodeContent {
  return { path, data: data === null ? null : Buffer.from(data), aclId, stat: { ...STAT, ...stat } };
}

const at = (zxid: bigint): Partial<ZnodeStat> => ({
  czxid: zxid,
  mzxid: zxid,
  pzxid: zxid,
  ctimeMs: NOW,
  mtimeMs: NOW,
});

const NODES: readonly NodeContent[] = [
  node("", "", { cversion: 5, pzxid: 0x10n }),
  node("/zookeeper", "", { cversion: 0 }),
  node("/zookeeper/config", "", {}, 2n),
  node("/zookeeper/quota", ""),
  node("/plain", "hello", { ...at(3n), version: 4 }),
  node("/plain/ünïcode-日本", null, at(4n), 7n),
  node("/box", "", { ...at(5n), ephemeralOwner: CONTAINER_OWNER, cversion: 1, pzxid: 6n }),
  node("/box/inside", "", at(6n)),
  node("/lease", "lasts", { ...at(7n), ephemeralOwner: ttlOwner(86_400_000n) }),
  node("/alive", "me", { ...at(8n), ephemeralOwner: SESSION }),
];
const ACLS = new Map<bigint, Acl>([
  [2n, [{ permissions: 1, scheme: "world", id: "anyone" }]],
  [7n, SECRET],
]);
const SESSIONS = new Map([
  [SESSION, 30_000],
  [OTHER_SESSION, 30_000],
]);

/** The tree digest as servers of 3.6 and later compute it: by its description, for paths in UTF-8. */
function digestOf(nodes: Iterable<NodeContent>): bigint {
  let sum = 0n;
  for (const { path, data, stat } of nodes) {
    if (path.startsWith("/zookeeper/")) continue;
    const fields = Buffer.alloc(60);
    const longs = [stat.czxid, stat.mzxid, stat.pzxid, BigInt(stat.ctimeMs), BigInt(stat.mtimeMs)];
    for (const [i, value] of longs.entries()) fields.writeBigInt64BE(value, 8 * i);
    for (const [i, value] of [stat.version, stat.cversion, stat.aversion].entries()) {
      fields.writeInt32BE(value, 40 + 4 * i);
    }
    fields.writeBigInt64BE(stat.ephemeralOwner, 52);
    sum += BigInt(crc32(Buffer.concat([Buffer.from(path), data ?? Buffer.alloc(0), fields])));
  }
  return BigInt.asIntN(64, sum);
}

/** Txns behind {@link NODES}, one of nearly every kind. */
function txns(): Txn[] {
  let zxid = 0x10n;
  const next = (): Pick<Txn, "zxid" | "timeMs" | "sessionId" | "cxid" | "digest"> => {
    zxid += 1n;
    return { zxid, timeMs: NOW, sessionId: SESSION, cxid: Number(zxid), digest: null };
  };
  const made = { data: Buffer.from("new"), acl: OPEN_ACL };
  return [
    { ...next(), type: "create", path: "/a", ...made, ephemeral: false, parentCversion: 6 }, // 0x11
    { ...next(), type: "create2", path: "/a/b", ...made, data: null, acl: null, ephemeral: false, parentCversion: 1 },
    { ...next(), type: "createContainer", path: "/a/box", ...made, parentCversion: 2 },
    { ...next(), type: "create", path: "/a/box/in", ...made, data: null, ephemeral: false, parentCversion: 1 },
    { ...next(), type: "createTtl", path: "/a/ttl", ...made, parentCversion: 3, ttlMs: 3_600_000n }, // 0x15
    { ...next(), type: "setData", path: "/plain", data: Buffer.alloc(0), version: 5 },
    { ...next(), type: "setAcl", path: "/plain", acl: SECRET, version: 1 },
    { ...next(), type: "error", errorCode: -101 },
    { ...next(), type: "create", path: "/mine", ...made, ephemeral: true, parentCversion: 7 },
    { ...next(), type: "createSession", timeoutMs: 20_000, sessionId: 0x100_0000_0000_0003n }, // 0x1a
    {
      ...next(), // 0x1b
      type: "multi",
      ops: [
        { type: "check", path: "/a", version: 1 },
        { type: "create", path: "/a/multi", ...made, ephemeral: false, parentCversion: 4 },
        { type: "delete", path: "/a/b" },
        { type: "setData", path: "/a", data: Buffer.from("multi"), version: 1 },
      ],
    },
    {
      ...next(),
      type: "multi",
      ops: [
        { type: "delete", path: "/a/multi" },
        { type: "error", errorCode: -101 },
      ],
    },
    { ...next(), type: "delete", path: "/plain/ünïcode-日本" },
    { ...next(), type: "closeSession", paths: ["/alive", "/mine"] }, // 0x1e
  ];
}

describe.skipIf(!enabled)("a server", () => {
  test("loads a snapshot that was written, with every kind of node, and finds its digest right", async () => {
    const directory = await emptyVersion2();
    const digest = { zxid: 0x10n, version: 2, value: digestOf(NODES) };
    await save(directory, "snapshot.10", writeSnapshot({ sessions: SESSIONS, acls: ACLS, nodes: NODES, digest }));
    const server = await start(directory);
    const counts = await mntr(server);
    // A server counts the root twice.
    expect(counts.get("zk_znode_count")).toBe(String(NODES.length + 1));
    expect(counts.get("zk_ephemerals_count")).toBe("1");
    expect(counts.get("zk_digest_mismatches_count")).toBe("0");
    expect(await zxidOf(server)).toBe("0x10");
    const client = await connectZooKeeper(server.connectString);
    expect((await client.getData("/plain")).data).toEqual(Buffer.from("hello"));
    expect(await client.getData("/alive")).toMatchObject({ ephemeralOwner: SESSION, czxid: 8n, ctime: BigInt(NOW) });
    expect(await client.getChildren("/plain")).toEqual(["ünïcode-日本"]);
    await client.close();
    await server.stop();

    // The snapshot that the server took of its own when it started.
    const own = await contentOf(join(directory, "snapshot.10"));
    expect([...own.nodes.keys()].sort()).toEqual(NODES.map(({ path }) => path).sort());
    for (const { path, data, aclId, stat } of NODES.filter((given) => given.path !== "/zookeeper/config")) {
      const written = own.nodes.get(path);
      expect(written).toMatchObject({ data, stat });
      expect(own.acls.get(written?.aclId ?? 0n)).toEqual(ACLS.get(aclId));
    }
    expect(own.sessions).toEqual(SESSIONS);
    expect(own.summary).toMatchObject({ ephemerals: 1, containers: 1, ttlNodes: 1, danglingAcls: 0 });
  });

  test("notices a digest that is wrong", async () => {
    const directory = await emptyVersion2();
    const digest = { zxid: 0x10n, version: 2, value: digestOf(NODES) + 1n };
    await save(directory, "snapshot.10", writeSnapshot({ sessions: SESSIONS, acls: ACLS, nodes: NODES, digest }));
    expect((await mntr(await start(directory))).get("zk_digest_mismatches_count")).toBe("1");
  });

  test("replays a log that was written onto it, and a cut one up to the cut", async () => {
    const trees: Record<string, Record<string, string | null>> = {};
    const kinds: Record<string, unknown> = {};
    for (const upTo of [0x15n, 0x1bn, 0x1en]) {
      const directory = await emptyVersion2();
      await save(directory, "snapshot.10", writeSnapshot({ sessions: SESSIONS, acls: ACLS, nodes: NODES }));
      await save(directory, "log.11", cutLog(writeLog(txns()), { upTo }));
      const server = await start(directory);
      expect(await zxidOf(server)).toBe(formatZxid(upTo));
      const client = await connectZooKeeper(server.connectString);
      const tree = await client.readTree();
      trees[formatZxid(upTo)] = Object.fromEntries([...tree].map(([path, { data }]) => [path, data && String(data)]));
      await client.close();
      await server.stop();
      const own = await contentOf(join(directory, `snapshot.${upTo.toString(16)}`));
      const { ephemerals, containers, ttlNodes } = own.summary;
      kinds[formatZxid(upTo)] = { ephemerals, containers, ttlNodes, sessions: [...own.sessions.keys()].length };
      if (upTo === 0x1en) {
        expect(own.acls.get(own.nodes.get("/plain")?.aclId ?? 0n)).toEqual(SECRET);
        expect(own.nodes.get("/a/ttl")?.stat.ephemeralOwner).toBe(ttlOwner(3_600_000n));
        expect(own.nodes.get("/a")?.stat).toMatchObject({ czxid: 0x11n, mzxid: 0x1bn, pzxid: 0x1bn, cversion: 4 });
      }
    }
    const always = { "/": "", "/box": "", "/box/inside": "", "/lease": "lasts", "/a/box": "new", "/a/box/in": null };
    expect(trees).toEqual({
      "0x15": {
        ...always,
        "/a": "new",
        "/a/b": null,
        "/a/ttl": "new",
        "/alive": "me",
        "/plain": "hello",
        "/plain/ünïcode-日本": null,
      },
      "0x1b": {
        ...always,
        "/a": "multi",
        "/a/multi": "new",
        "/a/ttl": "new",
        "/alive": "me",
        "/mine": "new",
        "/plain": "",
        "/plain/ünïcode-日本": null,
      },
      "0x1e": { ...always, "/a": "multi", "/a/multi": "new", "/a/ttl": "new", "/plain": "" },
    });
    expect(kinds).toEqual({
      "0x15": { ephemerals: 1, containers: 2, ttlNodes: 2, sessions: 2 },
      "0x1b": { ephemerals: 2, containers: 2, ttlNodes: 2, sessions: 3 },
      "0x1e": { ephemerals: 0, containers: 2, ttlNodes: 2, sessions: 2 },
    });
  });

  test("serves another server's files that were read and written anew as it serves the files themselves", async () => {
    const { dataDir } = await unpackFixture("zookeeper-3.8.0-rich", join(folder, "fixture"));
    const original = join(dataDir, "version-2");
    const copy = await emptyVersion2();
    const names = (await readdir(original)).filter((name) => /^(snapshot\.2a7|log\.(2a8|348|3a8|3e5))$/.test(name));
    expect(names.length).toBe(5);
    for (const name of names) {
      const path = join(original, name);
      if (name.startsWith("log.")) {
        await save(copy, name, writeLog(readLog(createReadStream(path))));
      } else {
        const { sessions, acls, nodes, summary } = await contentOf(path);
        await save(copy, name, writeSnapshot({ sessions, acls, nodes: nodes.values(), digest: summary.digest }));
      }
    }
    const results: unknown[] = [];
    for (const directory of [original, copy]) {
      const server = await start(directory);
      const counts = await mntr(server);
      const zxid = await zxidOf(server);
      const client = await connectZooKeeper(server.connectString);
      const tree = await client.readTree();
      await client.close();
      const kept = ["zk_znode_count", "zk_ephemerals_count", "zk_approximate_data_size", "zk_digest_mismatches_count"];
      await server.stop();
      results.push({ counts: kept.map((name) => [name, counts.get(name)]), zxid, tree });
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[0]).toMatchObject({
      zxid: "0x3ea",
      counts: expect.arrayContaining([["zk_digest_mismatches_count", "0"]]),
    });
  });
});
