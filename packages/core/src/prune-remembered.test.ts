import { beforeEach, describe, expect, it } from "vitest";
import { keys } from "./backup-id.ts";
import { oneChunk } from "./bytes.ts";
import { type Manifest, serializeManifest } from "./manifest.ts";
import { openSeries, type Series } from "./series.ts";
import type { Sink } from "./sink.ts";
import { memorySink, scriptedSource } from "./testing/index.ts";

const { signal } = new AbortController();
const DAY_MS = 24 * 3_600_000;
const FIRST = Date.parse("2096-02-27T01:00:00Z");

/** A series that goes on for long remembers the manifests that it has read, by their size and time. */
describe("a prune of a series that has listed its backups before", () => {
  let store: Sink;
  let series: Series;
  let now: Date;
  let taken: Manifest[];
  let reads: string[];

  /** Replaces a manifest by something of its size, at the time that it had: by what is listed nothing has changed. */
  const replace = async (index: number, change: (manifest: Manifest) => object | string): Promise<void> => {
    const manifest = taken[index] as Manifest;
    const length = serializeManifest(manifest).length;
    const changed = change(manifest);
    const text = typeof changed === "string" ? changed : JSON.stringify(changed);
    await store.put(keys.manifest("zk", manifest.id), oneChunk(Buffer.from(text.padEnd(length))), { signal });
  };
  const idsLeft = () => series.catalog.ids({ signal });
  const ids = (...indexes: number[]): string[] => indexes.map((index) => taken[index]?.id ?? "");
  const prune = () => series.prune({ rules: { keepLast: 1 } });

  beforeEach(async () => {
    store = memorySink();
    taken = [];
    reads = [];
    const longAgo: Sink = {
      ...store,
      async *list(prefix, options) {
        for await (const info of store.list(prefix, options)) yield { ...info, modifiedAt: new Date(0) };
      },
      async *get(key, options) {
        if (key.startsWith("zk/manifests/")) reads.push(key.slice("zk/manifests/".length, -".json".length));
        yield* store.get(key, options);
      },
    };
    const source = scriptedSource({ "version-2/log.1": "good" });
    series = openSeries({ prefix: "zk", source, sink: longAgo, clock: () => now });
    for (let day = 0; day < 5; day += 1) {
      now = new Date(FIRST + day * DAY_MS);
      const manifest = await series.backup();
      if (manifest !== null) taken.push(manifest);
    }
    for await (const item of series.catalog.summaries()) expect(item).not.toHaveProperty("error");
    reads = [];
  });

  it("reads the manifests that it deletes, and the one that it relies on, and no others", async () => {
    const result = await series.prune({ rules: { keepLast: 3 } });
    expect(result).toMatchObject({ deleted: ids(0, 1), failures: [] });
    expect(reads).toEqual(ids(4, 1, 0));
  });

  it.each<[string, (manifest: Manifest) => object | string]>([
    ["is damaged by now", () => "{"],
    ["says by now that it is not verified", (manifest) => ({ ...manifest, verified: false })],
    ["is of a newer release by now", (manifest) => ({ ...manifest, formatVersion: 2 })],
  ])("keeps another good one where the last one that was verified %s", async (_, change) => {
    await replace(4, change);
    const result = await prune();
    expect(result.deleted).toEqual(ids(0, 1, 2));
    expect(await idsLeft()).toEqual(ids(3, 4));
    expect(result.decisions[3]).toMatchObject({ keep: true });
  });

  it("does not rely on one that was deleted while it was listed", async () => {
    const { list } = store;
    store.list = async function* (prefix, options) {
      yield* await Array.fromAsync(list(prefix, options));
      if (prefix === keys.archives("zk")) await store.delete(keys.manifest("zk", ids(4)[0] ?? ""), { signal });
    };
    const between = openSeries({ prefix: "zk", source: scriptedSource({}), sink: store, clock: () => now });
    expect((await between.prune({ rules: { keepLast: 1 } })).deleted).toEqual(ids(0, 1, 2));
    expect(await idsLeft()).toEqual(ids(3));
  });

  it.each<[string, (manifest: Manifest) => object | string]>([
    ["is damaged by now", () => "{"],
    ["says another thing by now", (manifest) => ({ ...manifest, range: { after: null, upTo: "0x9" } })],
  ])("does not delete one whose manifest %s, and the next prune decides anew", async (_, change) => {
    await replace(1, change);
    const result = await prune();
    const key = keys.manifest("zk", ids(1)[0] ?? "");
    expect(result.failures).toMatchObject([{ key, error: { code: "ERR_MANIFEST_INVALID" } }]);
    expect(result.deleted).toEqual(ids(0, 2, 3));
    expect(await idsLeft()).toEqual(ids(1, 4));
    const isReadable = typeof change(taken[1] as Manifest) === "object";
    const next = await prune();
    expect(next.failures).toEqual([]);
    expect(await idsLeft()).toEqual(isReadable ? ids(4) : ids(1, 4));
  });

  it("takes no archive for another run's before it has read whose it is", async () => {
    // Beside the archive that is remembered there is a second one of the same id, which the manifest names by now.
    const { archive, id } = taken[3] as Manifest;
    const second = archive.key.replace(id, `${id}.1`);
    await store.put(second, oneChunk(Buffer.alloc(archive.size)), { signal });
    await replace(3, (manifest) => ({ ...manifest, archive: { ...archive, key: second } }));
    now = new Date(FIRST + 9 * DAY_MS);
    const result = await series.prune({ rules: { keepLast: 9 } });
    expect(result.swept).toEqual([]);
    expect(result.failures).toMatchObject([{ key: second, error: { code: "ERR_MANIFEST_INVALID" } }]);
    expect((await series.prune({ rules: { keepLast: 9 } })).swept).toEqual([archive.key]);
  });
});
