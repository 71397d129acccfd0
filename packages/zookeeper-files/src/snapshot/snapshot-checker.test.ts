import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { type FileErrorCode, ZooKeeperFileError } from "../file-error.ts";
import type { Compression } from "../file-names.ts";
import { chunksOf, flipped } from "../testing/chunks.ts";
import { int } from "../testing/jute.ts";
import { type MadeNode, makeSnapshot, zlibAdler32 } from "../testing/made-snapshot.ts";
import { realFiles } from "../testing/real-files.ts";
import { checkSnapshot, createSnapshotChecker, type SnapshotCheckOptions } from "./snapshot-checker.ts";
import type { SnapshotSummary } from "./snapshot-summary.ts";

/** An encoder of another author. */
const snappyjs = createRequire(import.meta.url)("snappyjs") as { compress(plain: Uint8Array): Uint8Array };

const files = realFiles();

async function check(
  bytes: Uint8Array,
  options: SnapshotCheckOptions & { chunk?: number } = {},
): Promise<SnapshotSummary> {
  return checkSnapshot(chunksOf(bytes, options.chunk ?? 1024 * 1024), options);
}

async function refusal(
  bytes: Uint8Array,
  options: SnapshotCheckOptions & { chunk?: number } = {},
): Promise<ZooKeeperFileError> {
  const result = await check(bytes, options).catch((error: unknown) => error);
  if (result instanceof ZooKeeperFileError) return result;
  throw new Error(`not refused: ${String(result)}`);
}

async function refusalCode(
  bytes: Uint8Array,
  options: SnapshotCheckOptions & { chunk?: number } = {},
): Promise<FileErrorCode> {
  return (await refusal(bytes, options)).code;
}

const TREE: MadeNode[] = [
  { path: "" },
  { path: "/a", data: Buffer.from("hello"), czxid: 1n, mzxid: 9n, pzxid: 3n },
  { path: "/a/b", data: Buffer.alloc(0), aclId: 7n },
  { path: "/a/b/c", aclId: 8n, owner: 0x1000_0000_0000_0001n },
  { path: "/a/bb", owner: -0x8000_0000_0000_0000n },
  { path: "/z", owner: 0xff00_0000_0000_03e8n, pzxid: -1n },
];
const MADE = { nodes: TREE, sessions: [1n, 2n], aclIds: [7n] };
const DIGEST = { zxid: 0x22n, value: -5n };

describe("a good snapshot", () => {
  test("is summed up", async () => {
    const bytes = makeSnapshot({ ...MADE, digest: DIGEST, lastZxid: 0x24n });
    expect(await check(bytes)).toEqual({
      nodes: 6,
      sessions: 2,
      acls: 1,
      ephemerals: 1,
      containers: 1,
      ttlNodes: 1,
      danglingAcls: 1,
      dataBytes: 5,
      largestFieldBytes: 6,
      digest: { zxid: 0x22n, version: 2, value: -5n },
      lastZxid: 0x24n,
      highestZxid: 9n,
      bytes: bytes.byteLength,
    });
  });

  test("may have each of the four kinds of ending", async () => {
    const endings = [{}, { digest: DIGEST }, { digest: DIGEST, lastZxid: 5n }, { lastZxid: 5n }];
    const sizes: number[] = [];
    for (const ending of endings) {
      const bytes = makeSnapshot({ ...MADE, ...ending });
      sizes.push(bytes.byteLength);
      const summary = await check(bytes);
      expect(summary.digest?.value).toBe(ending.digest?.value);
      expect(summary.lastZxid).toBe(ending.lastZxid ?? null);
    }
    expect(sizes.map((size) => size - (sizes[0] ?? 0))).toEqual([0, 33, 54, 21]);
  });

  test("gives the same summary however its bytes are cut", async () => {
    const made = makeSnapshot({ ...MADE, digest: DIGEST, lastZxid: 0x24n });
    const real = files.read("zookeeper-3.8.0-rich", "version-2", "snapshot.3e4");
    for (const bytes of [made, real]) {
      const expected = await check(bytes);
      for (const chunk of [1, 2, 3, 7, 61, 4096]) expect(await check(bytes, { chunk })).toEqual(expected);
      // Two chunks, cut at every place.
      for (let cut = 0; cut < Math.min(bytes.byteLength, 3000); cut++) {
        const checker = createSnapshotChecker();
        await checker.push(bytes.subarray(0, cut));
        await checker.push(bytes.subarray(cut));
        expect(await checker.end()).toEqual(expected);
      }
    }
  });

  test("takes an empty ACL and an ACL id of -1", async () => {
    const bytes = makeSnapshot({ aclIds: [1n, 2n], nodes: [{ path: "", aclId: -1n }] });
    // The number of entries of the first ACL, turned from 2 to 0 with the entries taken out.
    const entries = bytes.indexOf("digest") - 8;
    const end = bytes.indexOf("anyone") + 6;
    const body = Buffer.concat([bytes.subarray(0, entries - 4), int(0), bytes.subarray(end, -13)]);
    const sealed = Buffer.concat([body, int(0), int(0), int(1), Buffer.from("/")]);
    sealed.writeUInt32BE(zlibAdler32(body), body.byteLength + 4);
    expect(await check(sealed)).toMatchObject({ acls: 2, nodes: 1, danglingAcls: 0 });
  });

  test("keeps zxids of high epochs exact", async () => {
    const zxid = 0x7fff_ffff_ffff_fffen;
    const bytes = makeSnapshot({
      nodes: [{ path: "", czxid: 0x7fff_ffff_0000_0001n, mzxid: zxid, pzxid: 0xffff_ffffn }],
    });
    expect((await check(bytes)).highestZxid).toBe(zxid);
  });

  test("ignores negative zxids in stats", async () => {
    const bytes = makeSnapshot({ nodes: [{ path: "", czxid: -1n, mzxid: -2n, pzxid: -0x1_0000_0000n }] });
    expect((await check(bytes)).highestZxid).toBe(0n);
  });
});

describe("damage", () => {
  test("every cut is refused, but for those right behind a seal that older releases end with", async () => {
    const bytes = makeSnapshot({ ...MADE, digest: DIGEST, lastZxid: 0x24n });
    const legal = [bytes.byteLength - 54, bytes.byteLength - 21];
    for (let size = 0; size < bytes.byteLength; size++) {
      const cut = bytes.subarray(0, size);
      if (legal.includes(size)) expect(await check(cut)).toMatchObject({ nodes: 6, lastZxid: null });
      else expect([size, await refusalCode(cut)]).toEqual([size, expect.stringMatching(/TRUNCATED|BAD_SEAL/)]);
    }
  });

  test("every cut of a real file is refused, but for the one behind its first seal", async () => {
    const bytes = files.read("zookeeper-3.8.0", "data", "version-2", "snapshot.0");
    const accepted: number[] = [];
    for (let size = 0; size < bytes.byteLength; size++) {
      const result = await check(bytes.subarray(0, size)).catch((error: ZooKeeperFileError) => error.code);
      if (typeof result === "object") accepted.push(size);
      // 21 bytes of the digest look like the lastZxid section that 3.9 writes without a digest.
      else expect(result).toBe(size === 424 + 21 ? "SNAPSHOT_BAD_SEAL" : "SNAPSHOT_TRUNCATED");
    }
    expect(accepted).toEqual([424]);
  });

  test("every changed byte is noticed", async () => {
    const real = files.read("zookeeper-3.8.0", "data", "version-2", "snapshot.0");
    const made = makeSnapshot({ ...MADE, digest: DIGEST, lastZxid: 0x24n });
    for (const bytes of [real, made]) {
      for (let at = 0; at < bytes.byteLength; at++) {
        for (const mask of [0x01, 0x80, 0xff])
          expect(await refusalCode(flipped(bytes, at, mask))).toMatch(/^SNAPSHOT_/);
      }
    }
  });

  test("a wrong seal is named with its place, each of the three", async () => {
    const bytes = makeSnapshot({ ...MADE, digest: DIGEST, lastZxid: 0x24n });
    for (const fromEnd of [67, 34, 13]) {
      const seal = bytes.byteLength - fromEnd;
      for (let at = seal; at < seal + 13; at++) {
        expect(await refusal(flipped(bytes, at, 0x10))).toMatchObject({ code: "SNAPSHOT_BAD_SEAL", offset: seal });
      }
    }
  });

  test("bytes behind the end", async () => {
    const endings = [{}, { digest: DIGEST }, { digest: DIGEST, lastZxid: 5n }, { lastZxid: 5n }];
    for (const ending of endings) {
      const bytes = makeSnapshot({ ...MADE, ...ending });
      for (const extra of [1, 12, 13, 55, 68, 5000]) {
        const longer = Buffer.concat([bytes, Buffer.alloc(extra)]);
        expect(await refusalCode(longer)).toMatch(/TRAILING_BYTES|TRUNCATED|BAD_SEAL/);
        expect(await refusalCode(longer, { chunk: 1 })).toMatch(/TRAILING_BYTES|TRUNCATED|BAD_SEAL/);
      }
    }
    const full = makeSnapshot({ ...MADE, digest: DIGEST, lastZxid: 5n });
    const error = await refusal(Buffer.concat([full, Buffer.alloc(1)]));
    expect(error).toMatchObject({ code: "SNAPSHOT_TRAILING_BYTES", offset: full.byteLength });
  });

  test("another kind of file", async () => {
    expect(await refusal(Buffer.alloc(100))).toMatchObject({ code: "SNAPSHOT_BAD_MAGIC", offset: 0 });
    expect(await refusalCode(Buffer.from("ZKLG".padEnd(100)))).toBe("SNAPSHOT_BAD_MAGIC");
    expect(await refusalCode(Buffer.alloc(0))).toBe("SNAPSHOT_TRUNCATED");
  });
});

describe("a made-up snapshot with good checksums", () => {
  test.each([
    ["a missing parent", [{ path: "" }, { path: "/a/b" }]],
    ["a parent that comes later", [{ path: "" }, { path: "/a/b" }, { path: "/a" }]],
    ["a parent that was left already", [{ path: "" }, { path: "/a" }, { path: "/b" }, { path: "/a/c" }]],
    ["a parent that only begins like a node", [{ path: "" }, { path: "/ab" }, { path: "/a/c" }]],
    ["a parent that only goes on like a node", [{ path: "" }, { path: "/a" }, { path: "/ab/c" }]],
    ["a parent that differs in one byte", [{ path: "" }, { path: "/abc" }, { path: "/abc/d" }, { path: "/abx/e" }]],
  ])("%s", async (_, nodes) => {
    expect(await refusalCode(makeSnapshot({ nodes }))).toBe("SNAPSHOT_ORPHAN_NODE");
  });

  test.each([
    ["no node at all", []],
    ["a first node that is not the root", [{ path: "/a" }]],
    ["a second root", [{ path: "" }, { path: "/a" }, { path: "" }]],
    ["a path without a slash", [{ path: "" }, { path: "a" }]],
  ])("%s", async (_, nodes) => {
    expect(await refusalCode(makeSnapshot({ nodes }))).toBe("SNAPSHOT_BAD_PATH");
  });

  test("long paths, deep and wide", async () => {
    const nodes = [{ path: "" }];
    for (let path = "/x"; path.length < 6000; path += `/${"y".repeat(path.length % 90)}z`) nodes.push({ path });
    nodes.push({ path: `/x/${"w".repeat(5000)}` }, { path: `/x/${"w".repeat(5000)}/v` }, { path: "/last" });
    expect(await check(makeSnapshot({ nodes }), { chunk: 333 })).toMatchObject({ nodes: nodes.length });
  });

  test("a digest of a version that nobody writes", async () => {
    const bytes = makeSnapshot({ ...MADE, digest: { zxid: 1n, version: 1, value: 0n } });
    expect(await refusalCode(bytes)).toBe("SNAPSHOT_BAD_DIGEST");
  });
});

describe("lengths that cannot be", () => {
  const bytes = makeSnapshot(MADE);
  const sessions = 16;
  const acls = sessions + 4 + 2 * 12;
  const aclEntries = acls + 4 + 8;
  const scheme = aclEntries + 4 + 4;
  const aclName = scheme + 4 + "digest".length;
  const rootPath = bytes.indexOf("anyone") + 6;
  const places = { sessions, acls, aclEntries, scheme, aclName, rootPath, rootData: rootPath + 4 };

  test.each(Object.entries(places))("%s", async (_, at) => {
    for (const length of [-2, -0x8000_0000, 0x7fff_ffff, 0x0400_0001]) {
      const copy = Buffer.from(bytes);
      copy.writeInt32BE(length, at);
      const before = process.memoryUsage().arrayBuffers;
      const error = await refusal(copy, { chunk: 10 });
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
      // Counts are taken at their word until the entries that should follow make no sense.
      const isCount = at === sessions || at === acls || at === aclEntries;
      if (length < 0 || !isCount) expect(error).toMatchObject({ code: "SNAPSHOT_BAD_LENGTH", offset: at });
      else expect(error.code).toMatch(/SNAPSHOT_(TRUNCATED|BAD_LENGTH)/);
    }
  });

  test("a path or a list that is null", async () => {
    for (const at of [sessions, acls, aclEntries, rootPath]) {
      const copy = Buffer.from(bytes);
      copy.writeInt32BE(-1, at);
      expect(await refusal(copy)).toMatchObject({ code: "SNAPSHOT_BAD_LENGTH", offset: at });
    }
  });

  test("a length within the limit takes no memory before the bytes are there", async () => {
    const copy = Buffer.from(bytes);
    copy.writeInt32BE(60 * 1024 * 1024, places.rootData);
    const before = process.memoryUsage().arrayBuffers;
    expect(await refusalCode(copy)).toBe("SNAPSHOT_TRUNCATED");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1024 * 1024);
  });

  test("the limit can be set", async () => {
    const nodes = [{ path: "", data: Buffer.alloc(1000) }];
    expect(await check(makeSnapshot({ nodes }), { maxFieldBytes: 1000 })).toMatchObject({ largestFieldBytes: 1000 });
    expect(await refusalCode(makeSnapshot({ nodes }), { maxFieldBytes: 999 })).toBe("SNAPSHOT_BAD_LENGTH");
  });
});

/** The stream format of snappy-java, made with the blocks of snappyjs. */
function snappy(plain: Uint8Array, blockBytes = 32 * 1024): Buffer {
  const parts: Uint8Array[] = [SNAPPY_HEADER];
  for (let at = 0; at < plain.byteLength; at += blockBytes) {
    const block = snappyjs.compress(Uint8Array.from(plain.subarray(at, at + blockBytes)));
    parts.push(int(block.byteLength), block);
  }
  return Buffer.concat(parts);
}
const SNAPPY_HEADER = Buffer.from("82534e41505059000000000100000001", "hex");

describe.each<[Compression, string, (plain: Buffer) => Buffer]>([
  ["gz", "zookeeper-3.8.0-gz", (plain) => gzipSync(plain)],
  ["snappy", "zookeeper-3.8.0-snappy", (plain) => snappy(plain, 200)],
])("compressed with %s", (compression, archive, compress) => {
  const real = files.read(archive, "data", "version-2", `snapshot.22.${compression}`);
  const plain = makeSnapshot({ ...MADE, digest: DIGEST });
  const made = compress(plain);

  test("a real file", async () => {
    const summary = await check(real, { compression });
    expect(summary).toMatchObject({ nodes: 21, digest: { zxid: 0x22n, version: 2, value: 33579441090n } });
    for (const chunk of compression === "gz" ? [1, 7, 100] : [7, 61, 4096]) {
      expect(await check(real, { compression, chunk })).toEqual(summary);
    }
  });

  test("one of another writer", async () => {
    for (const chunk of [1, 2, 3, 1000]) expect(await check(made, { compression, chunk })).toEqual(await check(plain));
  });

  test("every cut is refused", async () => {
    const step = Math.ceil(real.byteLength / 400);
    for (let size = 0; size < real.byteLength; size += step) {
      expect(await refusalCode(real.subarray(0, size), { compression })).toMatch(/^SNAPSHOT_/);
    }
    for (let size = 0; size < made.byteLength; size++) {
      expect(await refusalCode(made.subarray(0, size), { compression })).toBe("SNAPSHOT_TRUNCATED");
    }
  });

  test("no changed byte changes what is found", async () => {
    const expected = await check(plain);
    for (let at = 0; at < made.byteLength; at++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        // Some bytes of the wrapping say nothing, such as gzip's time and snappy's version.
        const result = await check(flipped(made, at, mask), { compression }).catch((error: unknown) => error);
        if (result instanceof ZooKeeperFileError) expect(result.code).toMatch(/^SNAPSHOT_/);
        else expect(result).toEqual(expected);
      }
    }
  });

  test("something behind the end is refused", async () => {
    for (const extra of [Buffer.alloc(1), Buffer.alloc(600), Buffer.from("garbage")]) {
      for (const chunk of [1, made.byteLength, 1024 * 1024]) {
        const code = await refusalCode(Buffer.concat([made, extra]), { compression, chunk });
        expect(code).toMatch(/TRAILING_BYTES|BAD_COMPRESSION|TRUNCATED/);
      }
    }
  });

  test("streams that follow each other are one", async () => {
    const half = 150;
    const two = Buffer.concat([compress(plain.subarray(0, half)), compress(plain.subarray(half))]);
    for (const chunk of [1, 50, 1000]) expect(await check(two, { compression, chunk })).toEqual(await check(plain));
    expect(await refusalCode(Buffer.concat([made, made]), { compression })).toBe("SNAPSHOT_TRAILING_BYTES");
  });

  test("a plain file under this name", async () => {
    expect(await refusalCode(plain, { compression })).toBe("SNAPSHOT_BAD_COMPRESSION");
    expect(await refusalCode(Buffer.alloc(0), { compression })).toBe("SNAPSHOT_TRUNCATED");
  });

  test("damage inside is found, and nothing is left behind when the reader stops", async () => {
    const code = await refusalCode(compress(flipped(plain, 200, 1)), { compression });
    expect(code).toMatch(/^SNAPSHOT_/);
    const checker = createSnapshotChecker({ compression });
    await checker.push(made.subarray(0, 40));
    checker.close();
    checker.close();
  });
});

test("an error is given again by everything that follows", async () => {
  const checker = createSnapshotChecker({ compression: "gz" });
  const bytes = gzipSync(Buffer.alloc(100));
  await expect(checker.push(bytes)).rejects.toMatchObject({ code: "SNAPSHOT_BAD_MAGIC" });
  await expect(checker.push(bytes)).rejects.toMatchObject({ code: "SNAPSHOT_BAD_MAGIC" });
  await expect(checker.end()).rejects.toMatchObject({ code: "SNAPSHOT_BAD_MAGIC" });
});

test("a small file that unpacks to very much is stopped by what is in it, without holding it", async () => {
  const bomb = gzipSync(Buffer.alloc(256 * 1024 * 1024), { level: 1 });
  expect(bomb.byteLength).toBeLessThan(2 * 1024 * 1024);
  const before = process.memoryUsage().arrayBuffers;
  expect(await refusalCode(bomb, { compression: "gz" })).toBe("SNAPSHOT_BAD_MAGIC");
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
});

describe("snappy blocks that lie", () => {
  const refuse = (...block: number[]): Promise<FileErrorCode> =>
    refusalCode(Buffer.concat([SNAPPY_HEADER, int(block.length), Buffer.from(block)]), { compression: "snappy" });

  test.each([
    ["a length that never ends", [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ["a length over the limit", [0x81, 0x80, 0x40, 0x00]],
    ["fewer bytes than declared", [5, 0x00, 0x41]],
    ["more bytes than declared", [1, 0x04, 0x41, 0x41]],
    ["a copy from before the beginning", [9, 0x00, 0x41, 0x01 | (4 << 2), 0x02]],
    ["a copy from nowhere", [5, 0x00, 0x41, 0x01, 0x00]],
    ["a copy without its offset", [9, 0x00, 0x41, 0x02]],
    ["a copy beyond the end", [2, 0x00, 0x41, 0x01 | (7 << 2), 0x01]],
    ["a literal beyond the block", [9, 0x20, 0x41]],
    ["a literal of a length that is cut", [9, 0xfc, 0x01]],
    ["a literal of 4 GiB", [9, 0xfc, 0xf0, 0xff, 0xff, 0xff, 0x41, 0x41, 0x41, 0x41]],
    // Snappyjs takes the length for -5 and goes back to the tag, again and again.
    ["a literal whose length could be negative", [9, 0x00, 0x41, 0xfc, 0xfa, 0xff, 0xff, 0xff, 0x41]],
  ])("%s", async (_, block) => {
    expect(await refuse(...block)).toBe("SNAPSHOT_BAD_COMPRESSION");
  });

  test("block lengths that cannot be", async () => {
    for (const length of [0, -1, 0x7fff_ffff]) {
      const bytes = Buffer.concat([SNAPPY_HEADER, int(length), Buffer.alloc(20)]);
      expect(await refusalCode(bytes, { compression: "snappy" })).toBe("SNAPSHOT_BAD_COMPRESSION");
    }
  });

  test("copies of all three kinds, overlapping ones too, and literals of all sizes", async () => {
    const data = Buffer.alloc(200_000);
    for (let i = 0; i < data.byteLength; i++) data[i] = i < 90_000 ? (i * i * 31) >>> 5 : i % 7;
    const plain = makeSnapshot({ nodes: [{ path: "", data }] });
    for (const block of [100, 4096, 32 * 1024, 1024 * 1024]) {
      expect(await check(snappy(plain, block), { compression: "snappy" })).toEqual(await check(plain));
    }
  });
});
