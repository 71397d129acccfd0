import { execFileSync } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Parser } from "tar";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { collect } from "./bytes.ts";
import type { Entry } from "./entry.ts";
import { isBackypError } from "./errors.ts";
import { tar } from "./tar.ts";

const { signal } = new AbortController();
const mtime = new Date("2026-03-01T12:00:00Z");

function entry(path: string, content: Uint8Array, size: number = content.byteLength): Entry {
  return { path, size, mtime, body: of(content) };
}

async function* of(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

async function* entries(...list: Entry[]): AsyncGenerator<Entry> {
  yield* list;
}

async function pack(...list: Entry[]): Promise<Buffer> {
  return collect(tar.pack(entries(...list), { signal }), 1e8);
}

async function unpack(
  archive: Uint8Array,
  chunkBytes = 1000,
): Promise<{ path: string; content: string; mtime: Date }[]> {
  const cut = (async function* () {
    for (let offset = 0; offset < archive.byteLength; offset += chunkBytes) {
      yield archive.subarray(offset, offset + chunkBytes);
    }
  })();
  const found = [];
  for await (const { path, body, mtime: time } of tar.unpack(cut, { signal })) {
    found.push({ path, content: (await collect(body, 1e8)).toString("latin1"), mtime: time });
  }
  return found;
}

const longPath = `version-2/${"deep/".repeat(60)}snapshot.1`;
const files = [
  entry("version-2/snapshot.22", Buffer.from("first")),
  entry("version-2/empty", Buffer.alloc(0)),
  entry("version-2/block", Buffer.alloc(512, "b")),
  entry(longPath, Buffer.alloc(1_100_000, "long")),
  entry("config/zoo-ünïcødé-名前=1.cfg", Buffer.from("unicode")),
];
const again = () => files.map((file) => ({ ...file, body: of(bodies.get(file.path) ?? Buffer.alloc(0)) }));
const bodies = new Map<string, Buffer>([
  ["version-2/snapshot.22", Buffer.from("first")],
  ["version-2/block", Buffer.alloc(512, "b")],
  [longPath, Buffer.alloc(1_100_000, "long")],
  ["config/zoo-ünïcødé-名前=1.cfg", Buffer.from("unicode")],
]);

describe("tar", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-tar-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it.each([1, 511, 512, 513, 100_000_000])(
    "gives back what it packed, read in chunks of %i bytes",
    async (chunkBytes) => {
      const small = again().filter(({ size }) => size < 1e6);
      const archive = await pack(...small);
      const found = await unpack(archive, chunkBytes);
      expect(found.map(({ path, content }) => [path, content])).toEqual(
        small.map(({ path }) => [path, (bodies.get(path) ?? Buffer.alloc(0)).toString("latin1")]),
      );
      expect(found[0]?.mtime).toEqual(mtime);
    },
  );

  it("is read by GNU tar and by node-tar, long and unicode names too", async () => {
    const archive = join(folder, "a.tar");
    await writeFile(archive, await pack(...again()));
    const names = execFileSync("tar", ["tf", archive, "--quoting-style=literal"], { env: { LC_ALL: "C.UTF-8" } });
    const paths = files.map(({ path }) => path);
    expect(names.toString().trim().split("\n")).toEqual(paths);
    const seen: string[] = [];
    await new Promise((resolve, reject) => {
      const parser = new Parser({
        strict: true,
        onReadEntry: (read) => read.on("end", () => seen.push(read.path)).resume(),
      });
      parser.on("end", resolve).on("error", reject);
      createReadStream(archive).pipe(parser as unknown as NodeJS.WritableStream);
    });
    expect(seen).toEqual(paths);
  });

  it("reads what GNU tar writes of plain files, and refuses links and folders", async () => {
    await mkdir(join(folder, "d"));
    await writeFile(join(folder, "d/plain"), "hello");
    const gnu = (...args: string[]) => execFileSync("tar", ["cf", "-", "-C", folder, ...args]);
    expect(await unpack(gnu("--format=pax", "d/plain"))).toMatchObject([{ path: "d/plain", content: "hello" }]);
    expect(await unpack(gnu("--format=ustar", "d/plain"))).toMatchObject([{ path: "d/plain", content: "hello" }]);
    await expect(unpack(gnu("d"))).rejects.toSatisfy((error) => isBackypError(error, "ERR_ARCHIVE_CORRUPT"));
  });

  it("carries a file over 8 GiB: header and GNU tar's reading of it", async () => {
    const size = 9 * 2 ** 30;
    const generator = tar.pack(entries(entry("version-2/huge", Buffer.alloc(0), size)), { signal });
    const first = await generator[Symbol.asyncIterator]().next();
    const listing = execFileSync("sh", ["-c", "tar tvf - 2>/dev/null || true"], { input: first.value as Uint8Array });
    expect(listing.toString()).toContain(String(size));
    const read = tar.unpack(of(first.value as Uint8Array), { signal })[Symbol.asyncIterator]();
    expect((await read.next()).value).toMatchObject({ path: "version-2/huge", size });
  });

  it("refuses an archive that is cut short, at every length", async () => {
    const archive = await pack(entry("a", Buffer.from("hello")), entry("b", Buffer.alloc(600, "x")));
    for (let length = 0; length < archive.byteLength; length++) {
      await expect(unpack(archive.subarray(0, length)), `cut at ${length}`).rejects.toSatisfy((error) =>
        isBackypError(error, "ERR_ARCHIVE_CORRUPT"),
      );
    }
    expect(await unpack(archive)).toHaveLength(2);
    expect(await unpack(Buffer.concat([archive, Buffer.alloc(8192)]))).toHaveLength(2);
  });

  it("refuses damaged headers and bytes after the end", async () => {
    const archive = await pack(entry("a", Buffer.from("hello")));
    for (let offset = 0; offset < 512; offset++) {
      // What ends the checksum's own digits carries no meaning.
      if (offset === 154 || offset === 155) continue;
      const damaged = Buffer.from(archive);
      damaged[offset] = (damaged[offset] ?? 0) ^ 1;
      await expect(unpack(damaged), `flip at ${offset}`).rejects.toSatisfy((error) =>
        isBackypError(error, "ERR_ARCHIVE_CORRUPT"),
      );
    }
    await expect(unpack(Buffer.concat([archive, Buffer.from("more")]))).rejects.toThrow(/after the end/);
  });

  it.each(["../up", "/absolute", "a/../b", "", "a//b", "./a", "new\nline"])(
    "refuses the path %j, both ways",
    async (path) => {
      await expect(pack(entry(path, Buffer.from("x")))).rejects.toThrow(/path/);
      const name = `${path}\0`.padEnd(100, "\0");
      const archive = await pack(entry("placeholder", Buffer.from("x")));
      archive.write(name, 0, "latin1");
      archive.fill(" ", 148, 156);
      const sum = archive.subarray(0, 512).reduce((total, byte) => total + byte, 0);
      archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
      await expect(unpack(archive)).rejects.toSatisfy((error) => isBackypError(error, "ERR_ARCHIVE_CORRUPT"));
    },
  );

  it.each([
    ["longer", 4],
    ["shorter", 6],
  ])("refuses a file that is %s than it said", async (_, size) => {
    await expect(pack(entry("a", Buffer.from("hello"), size))).rejects.toSatisfy((error) =>
      isBackypError(error, "ERR_SOURCE_CHANGED"),
    );
  });

  it("skips what its consumer leaves unread", async () => {
    const archive = await pack(entry("a", Buffer.alloc(5000, "a")), entry("b", Buffer.from("b")));
    const paths = [];
    for await (const { path, body } of tar.unpack(of(archive), { signal })) {
      paths.push(path);
      for await (const _ of body) break;
    }
    expect(paths).toEqual(["a", "b"]);
  });

  it("closes the file it reads when its consumer stops", async () => {
    let closed = 0;
    const body = (async function* () {
      try {
        while (true) yield Buffer.alloc(1000);
      } finally {
        closed += 1;
      }
    })();
    for await (const chunk of tar.pack(entries({ ...entry("a", Buffer.alloc(0), 1e9), body }), { signal })) {
      if (chunk.byteLength === 1000) break;
    }
    expect(closed).toBe(1);
  });
});
