import { createReadStream } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { chunksOf, flipped, refusalOf } from "../testing/chunks.ts";
import { makeSnapshot } from "../testing/made-snapshot.ts";
import { realFiles } from "../testing/real-files.ts";
import { type ReadSnapshotOptions, readSnapshot, type SnapshotItem } from "./read-snapshot.ts";
import { checkSnapshot } from "./snapshot-checker.ts";
import type { SnapshotSummary } from "./snapshot-summary.ts";

const files = realFiles();

async function read(
  body: AsyncIterable<Uint8Array>,
  options: ReadSnapshotOptions = {},
): Promise<{ items: SnapshotItem[]; summary: SnapshotSummary }> {
  const items: SnapshotItem[] = [];
  const snapshot = readSnapshot(body, options);
  for (;;) {
    const { done, value } = await snapshot.next();
    if (done) return { items, summary: value };
    items.push(value);
  }
}

const MADE = makeSnapshot({
  sessions: [0x100n],
  aclIds: [3n],
  nodes: [
    { path: "", data: Buffer.alloc(0) },
    { path: "/ä", data: Buffer.from("hello"), aclId: 3n, czxid: 5n, mzxid: 6n, pzxid: 7n, owner: 0x100n },
  ],
  digest: { zxid: 9n, value: -1n },
});

describe("reading a snapshot", () => {
  test("yields sessions, ACLs and nodes", async () => {
    const stat = { ctimeMs: 1, mtimeMs: 2, version: 0, cversion: 0, aversion: 0 };
    const zeros = { czxid: 0n, mzxid: 0n, pzxid: 0n, ephemeralOwner: 0n };
    const { items, summary } = await read(chunksOf(MADE, 10));
    expect(items).toEqual([
      { type: "session", id: 0x100n, timeoutMs: 30_000 },
      {
        type: "acl",
        id: 3n,
        acl: [
          { permissions: 31, scheme: "digest", id: "a:b" },
          { permissions: 1, scheme: "world", id: "anyone" },
        ],
      },
      { type: "node", path: "", data: Buffer.alloc(0), aclId: -1n, stat: { ...stat, ...zeros } },
      {
        type: "node",
        path: "/ä",
        data: Buffer.from("hello"),
        aclId: 3n,
        stat: { ...stat, czxid: 5n, mzxid: 6n, pzxid: 7n, ephemeralOwner: 0x100n },
      },
    ]);
    expect(summary).toEqual(await checkSnapshot(chunksOf(MADE, 10)));
  });

  test.each([
    ["none", ["zookeeper-3.8.0-rich", "version-2", "snapshot.3e4"], 990],
    ["gz", ["zookeeper-3.8.0-gz", "data", "version-2", "snapshot.22.gz"], 21],
    ["snappy", ["zookeeper-3.8.0-snappy", "data", "version-2", "snapshot.22.snappy"], 21],
  ] as const)(
    "of a server, with the compression %s, is the same however it is cut",
    async (compression, file, nodes) => {
      const [archive, ...path] = file;
      const expected = await read(createReadStream(files.path(archive, ...path)), { compression });
      expect(expected.items.filter(({ type }) => type === "node").length).toBe(nodes);
      expect(expected.summary.nodes).toBe(nodes);
      const bytes = files.read(archive, ...path);
      for (const chunk of [1, 1000, bytes.byteLength]) {
        expect(await read(chunksOf(bytes, chunk), { compression })).toEqual(expected);
      }
    },
  );

  test("tells the summary to those who iterate", async () => {
    const summaries: SnapshotSummary[] = [];
    for await (const _ of readSnapshot(chunksOf(MADE, 99), { onSummary: (summary) => summaries.push(summary) }));
    expect(summaries).toMatchObject([{ nodes: 2, digest: { zxid: 9n } }]);
  });

  test.each<[string, Uint8Array, ReadSnapshotOptions, string]>([
    ["nothing", Buffer.alloc(0), {}, "SNAPSHOT_TRUNCATED"],
    ["a changed byte", flipped(MADE, MADE.indexOf("hello"), 1), {}, "SNAPSHOT_BAD_SEAL"],
    ["a cut file", MADE.subarray(0, 150), {}, "SNAPSHOT_TRUNCATED"],
    ["a cut gzip file", gzipSync(MADE).subarray(0, -9), { compression: "gz" }, "SNAPSHOT_TRUNCATED"],
    ["a field over the limit", MADE, { maxFieldBytes: 4 }, "SNAPSHOT_BAD_LENGTH"],
    ["another compression", MADE, { compression: "snappy" }, "SNAPSHOT_BAD_COMPRESSION"],
  ])("throws at %s", async (_, bytes, options, code) => {
    const told: SnapshotSummary[] = [];
    const onSummary = (summary: SnapshotSummary): unknown => told.push(summary);
    const error = await refusalOf(readSnapshot(chunksOf(bytes, 64), { ...options, onSummary }));
    expect(error).toMatchObject({ name: "ZooKeeperFileError", code });
    expect(told).toEqual([]);
  });

  test("yields the nodes of a gzip file long before it is read to its end", async () => {
    const nodes = Array.from({ length: 100_000 }, (_, i) => ({ path: i === 0 ? "" : `/${i}` }));
    const compressed = gzipSync(makeSnapshot({ nodes }));
    let pulled = 0;
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < compressed.byteLength; at += 4096) {
        pulled += 1;
        yield compressed.subarray(at, at + 4096);
      }
    }
    for await (const item of readSnapshot(body(), { compression: "gz" })) if (item.type === "node") break;
    expect(pulled).toBeLessThan(5);
    expect(compressed.byteLength).toBeGreaterThan(20 * 4096);
  });
});
