import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { describe, expect, it } from "vitest";
import { SnapshotNode } from "../snapshot/snapshot-node.ts";
import type { MadeNode } from "../testing/made-snapshot.ts";
import { MADE_SUMMARY } from "../testing/made-summary.ts";
import { body, replayed } from "../testing/replayed.ts";
import { createReplay } from "./replay.ts";

const sha256 = (data: string): string => createHash("sha256").update(data).digest("hex");
const load = (nodes: readonly MadeNode[], options = {}) => replayed({ nodes, zxid: 5n }, [], options);

/** Texts that end in four bytes of which zlib makes the same CRC-32. */
function colliding(prefix: string, count: number): Buffer[] {
  const table = Array.from({ length: 256 }, (_, byte) => {
    let c = byte;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
    return c >>> 0;
  });
  const byTopByte = new Map(table.map((entry, byte) => [entry >>> 24, byte]));
  const texts: Buffer[] = [];
  for (let n = 0; texts.length < count; n++) {
    const text = Buffer.from(`${prefix}${n}....`);
    // Backwards from the checksum that is wanted: which table entries the last four steps take, and so which bytes.
    const entries: number[] = [];
    for (let c = ~0x12345678 >>> 0, step = 0; step < 4; step++) {
      const byte = byTopByte.get(c >>> 24) as number;
      entries.unshift(byte);
      c = ((c ^ (table[byte] as number)) << 8) >>> 0;
    }
    let c = ~crc32(text.subarray(0, -4)) >>> 0;
    for (const [step, entry] of entries.entries()) {
      text[text.length - 4 + step] = (c ^ entry) & 0xff;
      c = ((c >>> 8) ^ (table[entry] as number)) >>> 0;
    }
    if (!text.subarray(prefix.length).includes(0x2f)) texts.push(text);
  }
  return texts;
}

describe("a tree", () => {
  const NODES = [
    { path: "" },
    { path: "/b", data: Buffer.from("one") },
    { path: "/b/z" },
    { path: "/b/a", data: Buffer.alloc(0), owner: 7n },
    { path: "/b/a/x" },
    { path: "/a", aclId: 3n },
    { path: "/b-c" },
  ];

  it("finds nodes by path, and the root by / and by nothing", async () => {
    const { tree } = await load(NODES);
    expect(tree.get("/")).toEqual(tree.get(""));
    expect(tree.get("/")).toMatchObject({ path: "/", name: "", childCount: 3, kind: "persistent" });
    expect(tree.get("/b/a")).toMatchObject({
      path: "/b/a",
      name: "a",
      childCount: 1,
      kind: "ephemeral",
      dataLength: 0,
    });
    expect(tree.get("/a")?.acl).toBeNull();
  });

  it.each(["b", "/b/", "//b", "/b/q", "/b/a/x/y", "/c", "/b/a/"])("finds nothing at %s", async (path) => {
    const { tree } = await load(NODES);
    expect(tree.get(path)).toBeNull();
    expect([...tree.children(path), ...tree.walk(path)]).toEqual([]);
  });

  it("lists children by name", async () => {
    const { tree } = await load(NODES);
    expect([...tree.children("/")].map(({ path }) => path)).toEqual(["/a", "/b", "/b-c"]);
    expect([...tree.children("/b")].map(({ name }) => name)).toEqual(["a", "z"]);
    expect([...tree.children("/a")]).toEqual([]);
  });

  it("is walked parents first, by name", async () => {
    const { tree } = await load(NODES);
    const paths = ["/", "/a", "/b", "/b/a", "/b/a/x", "/b/z", "/b-c"];
    expect([...tree.walk("/")].map(({ path }) => path)).toEqual(paths);
    expect([...tree.walk("/b/a")].map(({ path }) => path)).toEqual(["/b/a", "/b/a/x"]);
  });

  it("has the digest of its nodes, as zlib sums it up", async () => {
    const { digest } = await load([{ path: "" }, { path: "/a", data: Buffer.from("xyz"), czxid: 3n, pzxid: 9n }]);
    const stat = (czxid: bigint, pzxid: bigint): Buffer => {
      const bytes = Buffer.alloc(60);
      for (const [n, value] of [czxid, 0n, pzxid, 1n, 2n].entries()) bytes.writeBigInt64BE(value, 8 * n);
      return bytes;
    };
    const root = crc32(stat(0n, 0n));
    expect(digest).toBe(BigInt(root) + BigInt(crc32(Buffer.concat([Buffer.from("/axyz"), stat(3n, 9n)]))));
  });

  it("is that of a server that never had a txn", () => {
    const replay = createReplay();
    replay.startEmpty();
    // The root and /zookeeper, as research on real servers found it; the rest does not count.
    expect(replay.finish()).toMatchObject({ nodes: 4, digest: 1371985504n, zxid: 0n, problems: [] });
  });

  it("is empty before anything was read", () => {
    const { tree } = createReplay();
    expect([tree.nodes, tree.get("/"), [...tree.walk("/")]]).toEqual([0, null, []]);
  });

  it("keeps data and its SHA-256 only where that was asked for", async () => {
    const nodes = [{ path: "" }, { path: "/a", data: Buffer.from("one") }, { path: "/b" }];
    const txns = [
      { zxid: 6n, body: body.setData("/a", "two", 1) },
      { zxid: 7n, type: 2, body: body.delete("/b") },
      { zxid: 8n, type: 1, body: body.create("/b", 1, { data: "three" }) },
    ];
    const keepData = (path: string): boolean => path === "/b" || path === "/";
    const { tree } = await replayed({ nodes, zxid: 5n }, txns, { keepData, contentHash: true });
    expect(tree.get("/")).toMatchObject({ data: null, contentHash: sha256("") });
    expect(tree.get("/b")).toMatchObject({ data: Buffer.from("three"), contentHash: sha256("three") });
    expect(tree.get("/a")).toMatchObject({ dataLength: 3, contentHash: sha256("two") });
    expect(tree.get("/a")).not.toHaveProperty("data");
  });
});

describe("made-up snapshots", () => {
  it("with a node twice have the later one, as servers do", async () => {
    const nodes = [
      { path: "" },
      { path: "/a", data: Buffer.from("first"), owner: 7n },
      { path: "/a/x" },
      { path: "/a", data: Buffer.from("second") },
      { path: "/a/y" },
    ];
    const { tree, nodes: count, ephemerals, dataBytes, digest } = await load(nodes);
    expect([count, ephemerals, dataBytes]).toEqual([4, 0, 6]);
    expect(tree.get("/a")).toMatchObject({ dataLength: 6, childCount: 1, kind: "persistent" });
    expect([...tree.children("/")].map(({ path }) => path)).toEqual(["/a"]);
    expect([...tree.ephemeralsOf(7n)]).toEqual([]);
    // What hung below the first is still there, though nobody's child.
    expect(tree.get("/a/x")).not.toBeNull();
    expect(digest).toBe((await load([...nodes.slice(0, 1), ...nodes.slice(3), { path: "/a/x" }])).digest);
  });

  it("with a very deep path are walked to its end", async () => {
    const nodes = Array.from({ length: 2_000 }, (_, depth) => ({ path: "/d".repeat(depth) }));
    const { tree } = await load(nodes);
    expect([...tree.walk("/")]).toHaveLength(2_000);
    expect(tree.get("/d".repeat(1_999))?.childCount).toBe(0);
    const txn = { zxid: 6n, type: 2, body: body.delete("/d") };
    expect((await replayed({ nodes, zxid: 5n }, [txn])).nodes).toBe(1);
  });

  it("with very long names are found by them", async () => {
    const names = [70_000, 70_001, 1_000_000].map((length) => "n".repeat(length));
    const nodes = [{ path: "" }, ...names.map((name) => ({ path: `/${name}` }))];
    const { tree } = await load(nodes);
    for (const name of names) expect(tree.get(`/${name}`)?.name).toHaveLength(name.length);
    expect(tree.get(`/${"n".repeat(70_002)}`)).toBeNull();
  });

  it("with names that are all alike to a CRC-32 are found by them, and are gone when they are deleted", async () => {
    const names = colliding("/", 3_000);
    expect(new Set(names.map((name) => crc32(name))).size).toBe(1);
    const { table, add } = rawTable();
    for (const name of names) add(name);
    table.snapshotEnd();
    expect(table.count()).toBe(3_001);
    expect(names.every((name) => table.has(name))).toBe(true);
    for (const name of names.slice(0, 2_000)) table.remove(name);
    expect(names.filter((name) => table.has(name))).toEqual(names.slice(2_000));
    expect(table.count()).toBe(1_001);
  });
});

describe("nodes that come and go", () => {
  it("take no more memory than those that are there at a time", async () => {
    const made = (n: number) => ({
      type: 1,
      body: body.create(`/e-${String(n).padStart(10, "0")}`, -1, { ephemeral: true }),
    });
    const gone = (n: number) => ({ type: 2, body: body.delete(`/e-${String(n).padStart(10, "0")}`) });
    const { table, apply } = rawTable();
    table.snapshotEnd();
    const churn = (from: number, to: number): void => {
      for (let n = from; n < to; n++) {
        apply(made(n));
        if (n >= 100) apply(gone(n - 100));
      }
    };
    churn(0, 10_000);
    const before = process.memoryUsage().arrayBuffers;
    churn(10_000, 60_000);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024);
    expect(table.count()).toBe(101);
  });
});

/** A replay that is fed by hand: paths are bytes, and need not be text. */
function rawTable() {
  const replay = createReplay();
  let zxid = 5n;
  const node = new SnapshotNode();
  const add = (path: Buffer): void => {
    node.bytes = Buffer.concat([path, Buffer.alloc(8, 0xff), Buffer.alloc(60)]);
    node.pathStart = 0;
    node.pathEnd = path.byteLength;
    node.dataStart = path.byteLength;
    node.dataEnd = path.byteLength;
    node.statStart = path.byteLength + 8;
    replay.snapshotHooks.onNode?.(node);
  };
  const apply = ({ type, body: bytes }: { readonly type: number; readonly body: Buffer }): void => {
    zxid += 1n;
    const header = Buffer.alloc(32);
    header.writeBigInt64BE(zxid, 12);
    header.writeInt32BE(type, 28);
    header.writeInt32BE(1, 4);
    const entry = Buffer.concat([header, bytes]);
    replay.onRecord({ offset: 0, length: 0, zxid, timeMs: 0, sessionId: 1n, cxid: 0, type, entry });
  };
  add(Buffer.alloc(0));
  const text = (path: Buffer): Buffer => Buffer.concat([Buffer.from([0, 0, 0, path.byteLength]), path]);
  const digestWith = (path: Buffer): boolean => {
    // A setACL changes the digest if, and only if, the node is there.
    const before = replay.tree.digest;
    apply({ type: 7, body: Buffer.concat([text(path), Buffer.from([0, 0, 0, 0, 0, 0, 0, 1])]) });
    const isThere = replay.tree.digest !== before;
    apply({ type: 7, body: Buffer.concat([text(path), Buffer.from([0, 0, 0, 0, 0, 0, 0, 0])]) });
    return isThere;
  };
  const table = {
    snapshotEnd: () => replay.snapshotEnd(5n, MADE_SUMMARY),
    count: () => replay.tree.nodes,
    has: digestWith,
    remove: (path: Buffer) => apply({ type: 2, body: text(path) }),
  };
  return { table, add, apply };
}
