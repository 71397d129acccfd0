import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Compression } from "../file-names.ts";
import { chunksOf, flipped } from "../testing/chunks.ts";
import { field, int, list, long } from "../testing/jute.ts";
import { type MadeNode, makeSnapshot, zlibAdler32 } from "../testing/made-snapshot.ts";
import {
  type DamagedSnapshotReading,
  looksLikeSnapshot,
  readDamagedSnapshot,
  SNAPSHOT_READERS,
  type SnapshotReaderSettings,
} from "./damaged-snapshot.ts";

const SETTINGS: SnapshotReaderSettings = { maxFieldBytes: 2_000_000, digestEnabled: true, extendedTypesEnabled: false };

async function readings(
  bytes: Uint8Array,
  { compression = "none", ...settings }: Partial<SnapshotReaderSettings> & { compression?: Compression } = {},
): Promise<DamagedSnapshotReading[]> {
  return await Promise.all(
    SNAPSHOT_READERS.map((reader) =>
      readDamagedSnapshot(() => chunksOf(bytes, 7), compression, reader, { ...SETTINGS, ...settings }),
    ),
  );
}

/** What 3.4, 3.5, 3.6 and 3.9 do. */
async function outcomes(bytes: Uint8Array, settings?: Parameters<typeof readings>[1]): Promise<string> {
  return (await readings(bytes, settings)).map(({ outcome }) => outcome).join(" ");
}

const ALL = (outcome: string): string => SNAPSHOT_READERS.map(() => outcome).join(" ");
const digest = { zxid: 5n, value: 7n };

describe("what a server does not look at", () => {
  test.each([
    ["nothing is wrong", makeSnapshot({ digest }), "loads loads loads loads"],
    [
      "bytes behind the end",
      Buffer.concat([makeSnapshot({ digest, lastZxid: 5n }), Buffer.from("more")]),
      ALL("loads"),
    ],
    ["the seal of the digest", flipped(makeSnapshot({ digest }), -6, 1), "loads loads passed-over passed-over"],
    [
      "the seal of the last zxid",
      flipped(makeSnapshot({ digest, lastZxid: 5n }), -6, 1),
      "loads loads loads passed-over",
    ],
    ["a digest that is cut", makeSnapshot({ digest }).subarray(0, -20), "loads loads loads loads"],
    ["a digest without its seal", makeSnapshot({ digest }).subarray(0, -13), "loads loads passed-over passed-over"],
    ["the text behind the first seal", flipped(makeSnapshot({}), -1, 1), "loads loads loads loads"],
  ])("%s", async (_, bytes, expected) => {
    expect(await outcomes(bytes)).toBe(expected);
  });

  test("a digest, where they are switched off", async () => {
    const whole = makeSnapshot({ digest, lastZxid: 5n });
    expect(await outcomes(whole, { digestEnabled: false })).toBe("loads loads loads passed-over");
    expect(await outcomes(makeSnapshot({ lastZxid: 5n }), { digestEnabled: false })).toBe(ALL("loads"));
  });
});

test("no server loads what is damaged before the first seal", async () => {
  const bytes = makeSnapshot({ nodes: [{ path: "" }, { path: "/a", data: Buffer.from("x") }], sessions: [3n], digest });
  const endOfSeal = bytes.byteLength - 13 - 20 - 5;
  for (let at = 0; at < endOfSeal; at++) {
    for (const { outcome } of await readings(flipped(bytes, at, 0x40)))
      expect([at, outcome]).not.toEqual([at, "loads"]);
    expect([at, await outcomes(bytes.subarray(0, at))]).toEqual([at, ALL("passed-over")]);
  }
});

describe("what servers do not survive", () => {
  const before = Buffer.concat([Buffer.from("ZKSN"), int(2), long(-1n), list()]);
  const rest = Buffer.alloc(200);
  test.each([
    ["an ACL that is null", Buffer.concat([before, int(1), long(1n), int(-1), rest]), ALL("stops")],
    ["a null in an ACL", Buffer.concat([before, int(1), long(1n), int(1), int(31), int(-1), rest]), ALL("stops")],
    [
      "a null in an ACL that is not the last",
      Buffer.concat([before, int(2), long(1n), int(1), int(31), int(-1), int(0)]),
      "stops stops passed-over passed-over",
    ],
    ["a path that is null", Buffer.concat([before, list(), int(-1), rest]), ALL("stops")],
    [
      "a path that is null, and nothing after it",
      Buffer.concat([before, list(), int(-1)]),
      "stops passed-over passed-over passed-over",
    ],
  ])("%s", async (_, bytes, expected) => {
    expect(await outcomes(bytes)).toBe(expected);
  });

  test("an old version of the digest, which is a text that is no number", async () => {
    const withText = (text: string | null): Buffer => {
      const plain = makeSnapshot({});
      const section = Buffer.concat([plain, long(5n), int(1), field(text)]);
      return Buffer.concat([section, long(BigInt(zlibAdler32(section))), field("/")]);
    };
    for (const text of ["", "xyz", "ffffffffffffffffff"]) {
      expect(await outcomes(withText(text))).toBe("loads loads stops stops");
    }
    for (const text of ["7f", "-1", null]) expect(await outcomes(withText(text))).toBe(ALL("loads"));
    const [, , reading] = await readings(withText("xyz"));
    expect(reading?.reason).toMatch(/version of the digest at byte \d+/);
  });

  test("an extended type that does not exist, where those are switched on", async () => {
    const bytes = makeSnapshot({ nodes: [{ path: "" }, { path: "/a", owner: 0xff00_0100_0000_0000n }] });
    expect(await outcomes(bytes)).toBe(ALL("loads"));
    expect(await outcomes(bytes, { extendedTypesEnabled: true })).toBe("loads stops stops stops");
  });
});

test("nodes of sessions that it does not list are remembered from a file that is passed over", async () => {
  const nodes: MadeNode[] = [
    { path: "" },
    { path: "/listed", owner: 3n },
    { path: "/stray", owner: 4n },
    { path: "/container", owner: 0x8000_0000_0000_0000n },
    { path: "/ttl", owner: 0xff00_0000_0000_0064n },
  ];
  const bytes = flipped(makeSnapshot({ nodes, sessions: [3n] }), -6, 1);
  const paths = async (settings: Partial<SnapshotReaderSettings>): Promise<string[][]> =>
    (await readings(bytes, settings)).map(({ strays }) => strays.map(({ path }) => path));
  expect(await paths({})).toEqual([
    ["/stray", "/container", "/ttl"],
    ["/stray", "/ttl"],
    ["/stray", "/ttl"],
    ["/stray", "/ttl"],
  ]);
  expect((await paths({ extendedTypesEnabled: true })).at(-1)).toEqual(["/stray"]);
});

describe("compressed", () => {
  const bytes = makeSnapshot({
    nodes: [{ path: "" }, { path: "/stray", data: Buffer.alloc(900, "x"), owner: 4n }],
    digest,
  });

  test("and cut where the digest begins, it passes for an older one", async () => {
    expect(await outcomes(gzipSync(bytes.subarray(0, -33)), { compression: "gz" })).toBe(ALL("loads"));
  });

  test("and damaged at its end, it is remembered as far as it goes", async () => {
    const packed = gzipSync(bytes.subarray(0, -46 + 5));
    for (const { outcome, strays } of await readings(flipped(packed, -6, 1), { compression: "gz" })) {
      expect([outcome, strays.length]).toEqual(["passed-over", 1]);
    }
  });

  test("a header that is none", async () => {
    expect(await outcomes(bytes, { compression: "gz" })).toBe(ALL("passed-over"));
    expect(await outcomes(bytes, { compression: "snappy" })).toBe(ALL("passed-over"));
  });
});

test("the quick look", () => {
  const end = Buffer.from([0, 0, 0, 1, 0x2f]);
  const head = Buffer.from("ZKSN\0\0\0\x02");
  expect(looksLikeSnapshot("none", 10, head, end)).toBe(true);
  expect(looksLikeSnapshot("none", 9, head, end)).toBe(false);
  expect(looksLikeSnapshot("none", 100, head, flipped(end, 4, 1))).toBe(false);
  expect(looksLikeSnapshot("gz", 2, Buffer.from([0x1f, 0x8b, 0, 0, 0, 0, 0, 0]), end)).toBe(true);
  expect(looksLikeSnapshot("gz", 100, head, end)).toBe(false);
  expect(looksLikeSnapshot("snappy", 8, Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]), end)).toBe(true);
  expect(looksLikeSnapshot("snappy", 100, head, end)).toBe(false);
});
