import { beforeEach, describe, expect, it } from "vitest";
import { collect } from "./bytes.ts";
import { isBackypError } from "./errors.ts";
import type { Manifest } from "./manifest.ts";
import { openSeries, type Series } from "./series.ts";
import type { Sink } from "./sink.ts";
import { memorySink, scriptedSource } from "./testing/index.ts";

const { signal } = new AbortController();
const FILES = { "version-2/snapshot.1": "first".repeat(1000), "version-2/log.1": "log".repeat(100_000) };

let sink: Sink;
let series: Series;
let manifest: Manifest;
beforeEach(async () => {
  sink = memorySink();
  series = openSeries({ prefix: "zk", source: scriptedSource(FILES), sink });
  manifest = (await series.backup()) as Manifest;
});

async function readAll(id: string, limit: number = Number.POSITIVE_INFINITY): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const { entries } = await series.read(id);
  for await (const { path, body } of entries) {
    found[path] = (await collect(body, 1e8)).toString();
    if (Object.keys(found).length >= limit) break;
  }
  return found;
}

async function rewrite(change: (bytes: Buffer) => Uint8Array): Promise<void> {
  const { key } = manifest.archive;
  const bytes = change(await collect(sink.get(key, { signal }), 1e8));
  await sink.delete(key, { signal });
  await sink.put(
    key,
    (async function* () {
      yield bytes;
    })(),
    { signal },
  );
}

async function codeOf(run: Promise<unknown>): Promise<string | null> {
  const error = await run.then(
    () => null,
    (caught: unknown) => caught,
  );
  return isBackypError(error) ? error.code : error === null ? null : String(error);
}

describe("reading a backup", () => {
  it("gives its manifest and its files, by id or as the latest one", async () => {
    for (const id of [manifest.id, "latest"]) {
      expect((await series.read(id)).manifest).toEqual(manifest);
      expect(await readAll(id)).toEqual(FILES);
    }
  });

  it("may stop before the end", async () => {
    expect(Object.keys(await readAll("latest", 1))).toEqual(["version-2/snapshot.1"]);
  });

  it.each([
    ["a flipped bit", (bytes: Buffer) => bytes.fill(bytes[200] === 1 ? 2 : 1, 200, 201)],
    ["a missing end", (bytes: Buffer) => bytes.subarray(0, bytes.byteLength - 30)],
  ])("fails on %s", async (_, change) => {
    await rewrite(change);
    expect(await codeOf(readAll("latest"))).toMatch(/^ERR_(ARCHIVE_CORRUPT|CHECKSUM_MISMATCH)$/);
  });

  it("fails on the archive of another backup under this one's name", async () => {
    const other = openSeries({ prefix: "zk", source: scriptedSource({ ...FILES, "version-2/log.1": "other" }), sink });
    const { archive } = (await other.backup()) as Manifest;
    const bytes = await collect(sink.get(archive.key, { signal }), 1e8);
    await rewrite(() => bytes);
    expect(await codeOf(readAll(manifest.id))).toBe("ERR_CHECKSUM_MISMATCH");
  });

  it("says that the archive is missing, or that there is no such backup", async () => {
    await sink.delete(manifest.archive.key, { signal });
    expect(await codeOf(readAll("latest"))).toBe("ERR_ARCHIVE_CORRUPT");
    expect(await codeOf(series.read("zk-20200101T000000000Z"))).toBe("ERR_BACKUP_NOT_FOUND");
  });

  it("ends when it is aborted", async () => {
    expect(await codeOf(series.read("latest", { signal: AbortSignal.abort() }))).toBe("ERR_ABORTED");
    const abort = new AbortController();
    const { entries } = await series.read("latest", { signal: abort.signal });
    abort.abort();
    expect(await codeOf(Array.fromAsync(entries))).toBe("ERR_ABORTED");
  });
});
