import { createReadStream } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Acl } from "../acl.ts";
import { bytesOf, chunksOf, refusalOf } from "../testing/chunks.ts";
import { makeSnapshot } from "../testing/made-snapshot.ts";
import { realFiles } from "../testing/real-files.ts";
import { readSnapshot } from "./read-snapshot.ts";
import { checkSnapshot } from "./snapshot-checker.ts";
import type { SnapshotSummary } from "./snapshot-summary.ts";
import { type NodeContent, type SnapshotContent, writeSnapshot } from "./write-snapshot.ts";

const files = realFiles();

async function contentOf(bytes: Uint8Array, compression: "none" | "gz" | "snappy" = "none"): Promise<SnapshotContent> {
  const sessions = new Map<bigint, number>();
  const acls = new Map<bigint, Acl>();
  const nodes: NodeContent[] = [];
  const summaries: SnapshotSummary[] = [];
  const onSummary = (summary: SnapshotSummary): unknown => summaries.push(summary);
  for await (const item of readSnapshot(chunksOf(bytes, 65536), { compression, onSummary })) {
    if (item.type === "session") sessions.set(item.id, item.timeoutMs);
    else if (item.type === "acl") acls.set(item.id, item.acl);
    else nodes.push(item);
  }
  const [summary] = summaries as [SnapshotSummary];
  return { sessions, acls, nodes, digest: summary.digest, lastZxid: summary.lastZxid };
}

const STAT = {
  czxid: 1n,
  mzxid: 2n,
  pzxid: 3n,
  ctimeMs: 4,
  mtimeMs: 5,
  version: 6,
  cversion: 7,
  aversion: 8,
  ephemeralOwner: 0n,
};
const node = (path: string): NodeContent => ({ path, data: null, aclId: -1n, stat: STAT });
const of = (...paths: string[]): SnapshotContent => ({
  sessions: new Map(),
  acls: new Map(),
  nodes: paths.map(node),
});

describe("a written snapshot", () => {
  const digest = { zxid: 0x22n, version: 2, value: -5n };
  test.each([{}, { digest }, { digest, lastZxid: 0x24n }, { lastZxid: 0x24n }])("may end with %o", async (ending) => {
    const bytes = makeSnapshot({
      sessions: [1n, -2n],
      aclIds: [7n, 9n],
      nodes: [
        { path: "", data: Buffer.alloc(0) },
        { path: "/ä", data: Buffer.from("x"), aclId: 7n, owner: -2n, czxid: 1n, mzxid: 2n, pzxid: 3n },
        { path: "/ä/b", aclId: 404n },
        { path: "/ä/b/c" },
        { path: "/äb" },
      ],
      ...ending,
    });
    expect((await bytesOf(writeSnapshot(await contentOf(bytes)))).equals(bytes)).toBe(true);
  });

  test.each([
    ["zookeeper-3.5.10", ["data", "version-2", "snapshot.22"]],
    ["zookeeper-3.6.4", ["data", "version-2", "snapshot.22"]],
    ["zookeeper-3.7.2", ["data", "version-2", "snapshot.22"]],
    ["zookeeper-3.8.0", ["data", "version-2", "snapshot.0"]],
    ["zookeeper-3.8.0-rich", ["version-2", "snapshot.225"]],
    ["zookeeper-3.8.0-rich", ["version-2", "snapshot.3e4"]],
  ])("of %s has the bytes that the server wrote", async (archive, path) => {
    const bytes = files.read(archive, ...path);
    expect((await bytesOf(writeSnapshot(await contentOf(bytes)))).equals(bytes)).toBe(true);
  });

  test("of a compressed one has its plain bytes", async () => {
    const gz = files.read("zookeeper-3.8.0-gz", "data", "version-2", "snapshot.22.gz");
    expect((await bytesOf(writeSnapshot(await contentOf(gz, "gz")))).equals(gunzipSync(gz))).toBe(true);
    const path = files.path("zookeeper-3.8.0-snappy", "data", "version-2", "snapshot.22.snappy");
    const summary = await checkSnapshot(createReadStream(path), { compression: "snappy" });
    const snappy = files.read("zookeeper-3.8.0-snappy", "data", "version-2", "snapshot.22.snappy");
    const written = await bytesOf(writeSnapshot(await contentOf(snappy, "snappy")));
    expect(await checkSnapshot(chunksOf(written, 999))).toEqual(summary);
  });

  test("comes in pieces as nodes come", async () => {
    let given = 0;
    async function* nodes(): AsyncGenerator<NodeContent> {
      yield node("");
      for (; given < 1000; given++) yield { ...node(`/${given}`), data: Buffer.alloc(10_000) };
    }
    const pieces: number[] = [];
    for await (const piece of writeSnapshot({ ...of(), nodes: nodes() })) {
      pieces.push(piece.byteLength);
      if (pieces.length === 2) expect(given).toBeLessThan(10);
    }
    expect(Math.max(...pieces)).toBeLessThan(100_000);
  });

  test("has all of many sessions and ACLs", async () => {
    const acl = [{ permissions: 1, scheme: "digest", id: "someone:else" }];
    const content = {
      sessions: new Map(Array.from({ length: 20_000 }, (_, i) => [BigInt(i), i] as const)),
      acls: new Map(Array.from({ length: 20_000 }, (_, i) => [BigInt(i), acl] as const)),
      nodes: [node("")],
    };
    expect(await contentOf(await bytesOf(writeSnapshot(content)))).toMatchObject(content);
  });
});

describe("a snapshot is not written", () => {
  const withNode = (change: object): SnapshotContent => ({ ...of(), nodes: [{ ...node(""), ...change }] });
  const withStat = (change: object): SnapshotContent => withNode({ stat: { ...STAT, ...change } });
  const world = { permissions: 1, scheme: "world", id: "anyone" };
  const long = "x".repeat(64 * 1024 * 1024);
  test.each<[string, SnapshotContent, string]>([
    ["without a root", of(), "there is no root node"],
    ["that does not begin with the root", of("/a"), 'the first node is "/a"'],
    ["with two roots", of("", ""), '"" is no path of a node'],
    ["with the end mark as a node", of("", "/"), '"/" is no path of a node'],
    ["with a relative path", of("", "a"), '"a" is no path of a node'],
    ["with an empty name", of("", "/a", "/a/"), '"/a/" is no path of a node'],
    ["with an orphan", of("", "/a/b"), 'the node "/a/b" does not follow its parent, but ""'],
    ["with an orphan whose parent has but a similar name", of("", "/ab", "/a/b"), 'the node "/a/b" does not follow'],
    ["in another order than depth first", of("", "/a", "/b", "/a/c"), 'the node "/a/c" does not follow its parent'],
    ["with another open ACL", { ...of(""), acls: new Map([[-1n, [world]]]) }, "the ACL id -1"],
    ["with an ACL too long", { ...of(""), acls: new Map([[1n, Array(65_537).fill(world)]]) }, "has 65537 entries"],
    [
      "with a long scheme",
      { ...of(""), acls: new Map([[1n, [{ ...world, scheme: `${long}x` }]]]) },
      "the scheme of an ACL has",
    ],
    ["with long data", withNode({ data: Buffer.alloc(64 * 1024 * 1024 + 1) }), "the data of a node has 67108865 bytes"],
    ["with a long path", of("", `/${long}`), "a path has 67108865 bytes"],
    ["with a digest of an old version", { ...of(""), digest: { zxid: 1n, version: 1, value: 1n } }, "of version 1"],
    ["with a digest of 65 bits", { ...of(""), digest: { zxid: 1n, version: 2, value: 2n ** 63n } }, "the digest is 9"],
    ["with a last zxid of 65 bits", { ...of(""), lastZxid: 2n ** 63n }, "the last zxid is 9"],
    ["with a session of 65 bits", { ...of(""), sessions: new Map([[2n ** 63n, 1]]) }, "a session id is 9"],
    ["with an odd timeout", { ...of(""), sessions: new Map([[1n, 0.5]]) }, "the timeout of a session is 0.5"],
    [
      "with odd permissions",
      { ...of(""), acls: new Map([[1n, [{ ...world, permissions: 2 ** 40 }]]]) },
      "the permissions",
    ],
    ["with a version of 33 bits", withStat({ version: 2 ** 31 }), "a version is 2147483648"],
    ["with a zxid of 65 bits", withStat({ czxid: -(2n ** 64n) }), "a czxid is -18446744073709551616"],
    ["with a time that is no number", withStat({ mtimeMs: Number.NaN }), "an mtime is NaN"],
  ])("%s", async (_, content, message) => {
    const error = await refusalOf(writeSnapshot(content));
    expect(error).toMatchObject({ name: "ZooKeeperFileError", code: "NOT_WRITABLE", offset: null });
    expect((error as Error).message).toContain(message);
  });
});
