import { beforeEach, describe, expect, it } from "vitest";
import { backupId, keys } from "./backup-id.ts";
import { oneChunk } from "./bytes.ts";
import { type Catalog, openCatalog, type SummaryItem } from "./catalog.ts";
import { isBackypError } from "./errors.ts";
import { type Manifest, serializeManifest } from "./manifest.ts";
import type { ListOptions, Sink } from "./sink.ts";
import { memorySink } from "./testing/index.ts";

const { signal } = new AbortController();
const HOUR_MS = 3_600_000;
const NOW = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
const coded = (code: string) => (error: unknown) => isBackypError(error, code as "ERR_INTERNAL");

/** A manifest of a backup that was taken so many hours ago. */
function manifestOf(hoursAgo: number, change: Partial<Manifest> = {}): Manifest {
  const startedAt = new Date(NOW - hoursAgo * HOUR_MS);
  const id = backupId("zk", startedAt);
  return {
    formatVersion: 1,
    ...{ id, prefix: "zk", kind: "full", source: "scripted", range: { after: null, upTo: "0x10" } },
    times: { from: "2026-01-01T00:00:00.000Z", upTo: "2026-01-02T00:00:00.000Z" },
    startedAt: startedAt.toISOString(),
    finishedAt: startedAt.toISOString(),
    archive: { key: `zk/archives/${id}.tar`, size: 7, sha256: "0".repeat(64), format: "tar", codecs: [] },
    entries: [
      { path: "version-2/log.1", size: 40, sha256: "0".repeat(64) },
      { path: "version-2/log.2", size: 2, sha256: "0".repeat(64) },
    ],
    facts: { downtime: { servingMs: 1480 } },
    ...{ contents: {}, proof: null, problems: [], verified: true, tool: { name: "test", version: "1" } },
    ...change,
  };
}

describe("a catalog", () => {
  let store: Sink;
  /** What manifests are listed with. Others were stored a day ago. */
  let times: Map<string, Date>;
  let lists: (string | undefined)[];
  let gets: string[];
  let hasAfter: boolean;
  let catalog: Catalog;

  const put = async (manifest: Manifest, text = serializeManifest(manifest)): Promise<string> => {
    await store.put(keys.manifest("zk", manifest.id), oneChunk(Buffer.from(text)), { signal });
    return manifest.id;
  };
  const remove = (id: string): Promise<void> => store.delete(keys.manifest("zk", id), { signal });
  /** What a listing shows, and which manifests it reads for that with one LIST. */
  const look = async (): Promise<{ items: readonly SummaryItem[]; read: readonly string[] }> => {
    lists = [];
    gets = [];
    const items = await Array.fromAsync(catalog.summaries());
    expect(lists).toHaveLength(1);
    return { items, read: gets };
  };
  const idsOf = (items: readonly SummaryItem[]): string[] => items.map(({ id }) => id);

  const counted = (inner: Sink): Sink => ({
    ...inner,
    async *get(key, options) {
      gets.push(key.slice("zk/manifests/".length, -".json".length));
      yield* inner.get(key, options);
    },
    async *list(prefix, options) {
      lists.push(options.after);
      const passedOn: ListOptions = hasAfter ? options : { signal: options.signal };
      for await (const info of inner.list(prefix, passedOn)) {
        yield { ...info, modifiedAt: times.get(info.key) ?? new Date(NOW - 24 * HOUR_MS) };
      }
    },
  });

  beforeEach(() => {
    store = memorySink();
    times = new Map();
    lists = [];
    gets = [];
    hasAfter = true;
    catalog = openCatalog({ sink: counted(store), prefix: "zk" });
  });

  it("summarizes each backup, oldest first", async () => {
    const damaged = { verified: false, times: null, facts: { downtime: null } };
    const [newer, older] = [await put(manifestOf(1, damaged)), await put(manifestOf(2))];
    const { items } = await look();
    const { startedAt, finishedAt } = manifestOf(2);
    expect(items).toEqual([
      {
        ...{ id: older, kind: "full", startedAt, finishedAt, range: { after: null, upTo: "0x10" } },
        times: { from: "2026-01-01T00:00:00.000Z", upTo: "2026-01-02T00:00:00.000Z" },
        archive: { key: `zk/archives/${older}.tar`, size: 7 },
        ...{ plainBytes: 42, downtimeMs: 1480, verified: true },
      },
      expect.objectContaining({ id: newer, verified: false, times: null, downtimeMs: null }),
    ]);
    expect(items.every((item) => Object.isFrozen(item))).toBe(true);
  });

  it("reads only the manifests that are new, and forgets those that are gone", async () => {
    const [a, b, c] = [await put(manifestOf(3)), await put(manifestOf(2)), await put(manifestOf(1))];
    const first = await look();
    expect(first.read).toEqual([a, b, c]);
    const second = await look();
    expect(second).toEqual({ items: first.items, read: [] });

    const d = await put(manifestOf(0));
    await remove(b);
    const third = await look();
    expect(idsOf(third.items)).toEqual([a, c, d]);
    expect(third.read).toEqual([d]);

    // With the size and the time that it had.
    await put(manifestOf(2));
    expect((await look()).read).toEqual([b]);
  });

  it.each<[string, Partial<Manifest>, boolean]>([
    ["of another size", { verified: false, tool: { name: "test", version: "10" } }, false],
    ["of another time", { archive: { ...manifestOf(2).archive, size: 8 } }, true],
  ])("reads a manifest anew that is %s", async (_, change, isTouched) => {
    await put(manifestOf(3));
    const id = await put(manifestOf(2));
    await look();
    await put({ ...manifestOf(2), ...change });
    if (isTouched) times.set(keys.manifest("zk", id), new Date(NOW - 23 * HOUR_MS));
    const { items, read } = await look();
    expect(read).toEqual([id]);
    const { archive } = change;
    expect(items[1]).toMatchObject(archive === undefined ? { verified: false } : { archive: { size: archive.size } });
    expect((await look()).read).toEqual([]);
  });

  it("lists what cannot be read with its error, and reads it anew each time, until it can", async () => {
    const [good, bad] = [await put(manifestOf(2)), await put(manifestOf(1), "{")];
    for (const read of [[good, bad], [bad], [bad]]) {
      const found = await look();
      expect(found.items).toMatchObject([{ id: good }, { id: bad, error: { code: "ERR_MANIFEST_INVALID" } }]);
      expect(found.read).toEqual(read);
    }
    await put(manifestOf(1));
    expect((await look()).items).toMatchObject([{ id: good }, { id: bad, verified: true }]);
    expect((await look()).read).toEqual([]);
  });

  it("does not keep what was stored a moment ago: by its time it could not be told from what replaces it", async () => {
    const id = await put(manifestOf(0));
    const key = keys.manifest("zk", id);
    for (const ageMs of [0, 50_000, -HOUR_MS, Number.NaN]) {
      times.set(key, new Date(Date.now() - ageMs));
      expect((await look()).read, String(ageMs)).toEqual([id]);
      expect((await look()).read, String(ageMs)).toEqual([id]);
    }
    times.set(key, new Date(Date.now() - 120_000));
    await look();
    expect((await look()).read).toEqual([]);
  });

  it("does not keep what was read with another length than it was listed with", async () => {
    const id = await put(manifestOf(1));
    const old = { ...store };
    store.get = (key, options) =>
      (async function* () {
        yield* old.get(key, options);
        yield Buffer.from("\n");
      })();
    catalog = openCatalog({ sink: counted(store), prefix: "zk" });
    await look();
    expect((await look()).read).toEqual([id]);
  });

  it("keeps what was read although the listing was not taken to its end, or failed", async () => {
    const ids = [await put(manifestOf(3)), await put(manifestOf(2)), await put(manifestOf(1))];
    await look();
    for await (const { id } of catalog.summaries()) {
      expect(id).toBe(ids[0]);
      break;
    }
    const failure = new Error("no answer");
    const { list } = store;
    store.list = async function* () {
      yield* [];
      throw failure;
    };
    await expect(Array.fromAsync(openCatalog({ sink: counted(store), prefix: "zk" }).summaries())).rejects.toBe(
      failure,
    );
    store.list = list;
    expect(await look()).toMatchObject({ items: ids.map((id) => ({ id })), read: [] });
  });

  it("may be asked several times at once", async () => {
    const ids = [await put(manifestOf(3)), await put(manifestOf(2)), await put(manifestOf(1))];
    const found = await Promise.all([1, 2, 3].map(() => Array.fromAsync(catalog.summaries())));
    for (const items of found) expect(idsOf(items)).toEqual(ids);
    expect((await look()).read).toEqual([]);
  });

  it("reads only the newest where only they are asked for", async () => {
    const ids: string[] = [];
    for (let hours = 6; hours > 0; hours -= 1) ids.push(await put(manifestOf(hours)));
    expect(idsOf(await Array.fromAsync(catalog.summaries({ newest: 2 })))).toEqual(ids.slice(-2));
    expect({ gets, lists }).toEqual({
      gets: ids.slice(-2),
      lists: [expect.stringMatching(/^zk\/manifests\/zk-.*json$/)],
    });
    expect((await look()).read).toEqual(ids.slice(0, -2));
    expect(idsOf(await Array.fromAsync(catalog.summaries({ newest: 99 })))).toEqual(ids);
    // The others were not forgotten meanwhile.
    expect((await look()).read).toEqual([]);
  });

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])("knows no newest %d", async (newest) => {
    await put(manifestOf(1));
    await expect(Array.fromAsync(catalog.summaries({ newest }))).rejects.toSatisfy(coded("ERR_CONFIG_INVALID"));
  });

  describe.each([true, false])("where the sink takes what not to list: %s", (takesAfter) => {
    beforeEach(() => {
      hasAfter = takesAfter;
    });

    it("finds the newest among those of the last days with one LIST and one GET", async () => {
      await put(manifestOf(24 * 30));
      const [second, newest] = [await put(manifestOf(2)), await put(manifestOf(1))];
      expect(await catalog.load("latest")).toEqual(manifestOf(1));
      expect({ lists: lists.length, gets }).toEqual({ lists: 1, gets: [newest] });
      expect(await catalog.resolve("latest")).toBe(newest);
      expect(lists).toHaveLength(2);
      expect(idsOf(await Array.fromAsync(catalog.summaries({ newest: 2 })))).toEqual([second, newest]);
    });

    it("finds the newest also where it is old, or of the future", async () => {
      const old = await put(manifestOf(24 * 30));
      expect([(await catalog.load("latest")).id, await catalog.resolve("latest")]).toEqual([old, old]);
      const ids = [old, await put(manifestOf(1)), await put(manifestOf(-24 * 400))];
      expect(idsOf(await Array.fromAsync(catalog.summaries({ newest: 3 })))).toEqual(ids);
      expect(await catalog.resolve("latest")).toBe(ids[2]);
    });

    it.each([
      ["of the last days", 2],
      ["an old one", 24 * 30],
    ])("takes %s where the newest was deleted after it was listed", async (_, hours) => {
      const left = await put(manifestOf(hours));
      const newest = await put(manifestOf(1));
      const { list } = store;
      store.list = async function* (prefix, options) {
        yield* await Array.fromAsync(list(prefix, options));
        await remove(newest);
      };
      catalog = openCatalog({ sink: counted(store), prefix: "zk" });
      expect((await catalog.load("latest")).id).toBe(left);
    });
  });

  it("loads what is there now, whatever was read before, and lists it anew", async () => {
    const id = await put(manifestOf(1));
    await look();
    // Of the same size and time.
    const changed = manifestOf(1, { tool: { name: "test", version: "2" }, range: { after: null, upTo: "0x11" } });
    await put(changed);
    expect(await catalog.load(id)).toEqual(changed);
    const { items, read } = await look();
    expect({ items, read }).toMatchObject({ items: [{ range: { upTo: "0x11" } }], read: [id] });
  });

  it("knows whether a backup is there by one GET of one byte, and no LIST", async () => {
    const [good, bad] = [await put(manifestOf(2)), await put(manifestOf(1), "")];
    lists = [];
    for (const id of [good, bad]) expect(await catalog.resolve(id)).toBe(id);
    for (const id of [manifestOf(3).id, "other-20260101T000000000Z", "../zk-20260101T000000000Z", "", "zk"]) {
      await expect(catalog.resolve(id)).rejects.toSatisfy(coded("ERR_BACKUP_NOT_FOUND"));
    }
    expect({ lists, gets }).toEqual({ lists: [], gets: [good, bad, manifestOf(3).id] });
  });

  it("reads at most 32 at once, and lists them in their order whichever comes first", async () => {
    const ids: string[] = [];
    for (let hours = 100; hours > 0; hours -= 1) ids.push(await put(manifestOf(hours)));
    let underWay = 0;
    let most = 0;
    const slow: Sink = {
      ...store,
      async *get(key, options) {
        underWay += 1;
        most = Math.max(most, underWay);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 4));
        yield* store.get(key, options);
        underWay -= 1;
      },
    };
    const found = await Array.fromAsync(openCatalog({ sink: slow, prefix: "zk" }).summaries());
    expect(idsOf(found)).toEqual(ids);
    expect(most).toBe(32);
  });
});
