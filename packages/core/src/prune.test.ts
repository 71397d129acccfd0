import { beforeEach, describe, expect, it } from "vitest";
import { keys } from "./backup-id.ts";
import { oneChunk } from "./bytes.ts";
import { BackypError, isBackypError } from "./errors.ts";
import type { Manifest } from "./manifest.ts";
import { openSeries, type Series } from "./series.ts";
import type { Sink } from "./sink.ts";
import { type Faults, memorySink, scriptedSource, withFaults } from "./testing/index.ts";

const { signal } = new AbortController();
const DAY_MS = 24 * 3_600_000;
/** Later than what is stored now was modified, by more than the time of grace. */
const FIRST = Date.parse("2096-02-27T01:00:00Z");
const denied = new BackypError("ERR_SINK_DENIED", "no permission to delete");

describe("a prune", () => {
  let sink: Sink;
  let now: Date;
  let taken: Manifest[];

  const open = (faults: Faults = {}, store: Sink = sink): Series =>
    openSeries({
      prefix: "zk",
      source: scriptedSource({ "version-2/log.1": "good" }),
      sink: withFaults(store, faults),
      clock: () => now,
    });
  const keysIn = async (prefix = ""): Promise<string[]> =>
    (await Array.fromAsync(sink.list(prefix, { signal }))).map(({ key }) => key);
  const put = (key: string, text: string): Promise<unknown> => sink.put(key, oneChunk(Buffer.from(text)), { signal });
  const idsLeft = async (): Promise<readonly string[]> => open().catalog.ids({ signal });
  const ids = (...indexes: number[]): string[] => indexes.map((index) => taken[index]?.id ?? "");

  beforeEach(async () => {
    sink = memorySink();
    taken = [];
    for (let day = 0; day < 5; day += 1) {
      now = new Date(FIRST + day * DAY_MS);
      const manifest = await open().backup();
      if (manifest !== null) taken.push(manifest);
    }
    now = new Date(FIRST + 4.5 * DAY_MS);
  });

  it("deletes what no rule keeps, and nothing else", async () => {
    await put("zk/archives/readme.txt", "somebody's");
    await put("zk-2/archives/zk-2-20260101T000000000Z.tar.gz", "another series'");
    const seen: unknown[] = [];
    const series = open();
    for (const name of ["prune:start", "prune:deleted", "prune:complete"] as const) {
      series.events.on(name, (event: object) => seen.push([name, "backupId" in event ? event.backupId : null]));
    }
    const result = await series.prune({ rules: { keepLast: 2 } });
    expect(result).toMatchObject({
      dryRun: false,
      deleted: ids(0, 1, 2),
      swept: [],
      unfinishedUploads: null,
      freedBytes: taken.slice(0, 3).reduce((sum, { archive }) => sum + archive.size, 0),
      problems: [],
      failures: [],
    });
    expect(result.decisions.map(({ keep }) => keep)).toEqual([false, false, false, true, true]);
    expect(await keysIn()).toEqual([
      "zk-2/archives/zk-2-20260101T000000000Z.tar.gz",
      "zk/archives/readme.txt",
      ...taken.slice(3).map(({ archive }) => archive.key),
      ...ids(3, 4).map((id) => keys.manifest("zk", id)),
    ]);
    expect(seen).toEqual([
      ["prune:start", null],
      ...ids(2, 1, 0).map((id) => ["prune:deleted", id]),
      ["prune:complete", null],
    ]);
    expect((await series.prune({ rules: { keepLast: 2 } })).deleted).toEqual([]);
  });

  it("changes nothing in a dry run, and says what it would do", async () => {
    await put("zk/archives/zk-20260101T000000000Z.tar.gz", "an orphan");
    const before = await keysIn();
    const result = await open({ delete: Array(9).fill(denied) }).prune({ rules: { keepLast: 4 }, dryRun: true });
    expect(result).toMatchObject({
      dryRun: true,
      deleted: ids(0),
      swept: ["zk/archives/zk-20260101T000000000Z.tar.gz"],
      failures: [],
    });
    expect(await keysIn()).toEqual(before);
  });

  it.each([{}, { daily: 0 }, { kepLast: 3 }, undefined])("refuses the rules %j and deletes nothing", async (rules) => {
    const before = await keysIn();
    await expect(open().prune({ rules: rules as object })).rejects.toSatisfy((error) =>
      isBackypError(error, "ERR_CONFIG_INVALID"),
    );
    expect(await keysIn()).toEqual(before);
  });

  it("reports what it cannot delete, goes on, and has the next one try again", async () => {
    const problems: string[] = [];
    // Newest first: the manifest of the third, the archive of the second.
    const series = open({ delete: [denied, null, denied] });
    series.events.on("prune:problem", ({ key }) => problems.push(key));
    const result = await series.prune({ rules: { keepLast: 2 } });
    const failed = [keys.manifest("zk", ids(2)[0] ?? ""), taken[1]?.archive.key];
    expect(result.failures.map(({ key, error }) => [key, error])).toEqual(failed.map((key) => [key, denied]));
    expect(problems).toEqual(failed);
    expect(result.deleted).toEqual(ids(0, 1));
    expect(await idsLeft()).toEqual(ids(2, 3, 4));
    expect(await keysIn("zk/archives/")).toContain(taken[1]?.archive.key);

    const again = await open().prune({ rules: { keepLast: 2 } });
    expect(again).toMatchObject({ deleted: ids(2), swept: [taken[1]?.archive.key], failures: [] });
    expect(await keysIn()).toHaveLength(4);
  });

  it("fails as a whole where it cannot look", async () => {
    const unavailable = new BackypError("ERR_SINK_UNAVAILABLE", "no answer");
    const series = open({ list: [unavailable] });
    const seen: unknown[] = [];
    series.events.on("prune:failed", ({ error }) => seen.push(error));
    await expect(series.prune({ rules: { keepLast: 1 } })).rejects.toBe(unavailable);
    expect(seen).toEqual([unavailable]);
    expect(await idsLeft()).toEqual(ids(0, 1, 2, 3, 4));
  });

  it("ends between two deletes when it is aborted, and leaves an orphan at most", async () => {
    const abort = new AbortController();
    const series = open();
    series.events.on("prune:deleted", () => abort.abort());
    await expect(series.prune({ rules: { keepLast: 1 }, signal: abort.signal })).rejects.toSatisfy((error) =>
      isBackypError(error, "ERR_ABORTED"),
    );
    expect(await idsLeft()).toEqual(ids(0, 1, 2, 4));
    expect((await open().prune({ rules: { keepLast: 1 } })).swept).toEqual([taken[3]?.archive.key]);
    expect(await keysIn()).toHaveLength(2);
  });

  it("leaves an archive without a manifest alone for a day: its backup may be under way", async () => {
    const key = "zk/archives/zk-20960303T123000000Z.tar.gz";
    await put(key, "on its way");
    now = new Date("2096-03-04T12:00:00Z");
    expect((await open().prune({ rules: { keepLast: 9 } })).swept).toEqual([]);
    now = new Date("2096-03-04T12:31:00Z");
    expect((await open().prune({ rules: { keepLast: 9 } })).swept).toEqual([key]);
  });

  it("leaves one alone that was stored within the day, however long ago it was begun", async () => {
    const key = "zk/archives/zk-20260101T000000000Z.tar.gz";
    await put(key, "stored just now");
    // By the clock of the store, which is the system's here.
    now = new Date();
    await expect(open().prune({ rules: { keepLast: 9 } })).resolves.toMatchObject({ swept: [], deleted: [] });
    expect(await keysIn()).toContain(key);
  });

  it("sweeps what another run of the slot has left beside a backup, also under its id", async () => {
    const { id, archive } = taken[2] ?? {};
    const beside = `zk/archives/${id}.0123abcd.tar.gz`;
    await put(beside, "of a run that died");
    expect(await open().prune({ rules: { keepLast: 9 } })).toMatchObject({ swept: [beside], deleted: [] });
    expect(await keysIn("zk/archives/")).toContain(archive?.key);
    await open().verify(id ?? "");
  });

  it("sweeps it together with the backup, and not before its day is over", async () => {
    const beside = `zk/archives/${ids(2)[0]}.0123abcd.tar.gz`;
    await put(beside, "of a run that died");
    now = new Date(FIRST + 2.5 * DAY_MS);
    expect((await open().prune({ rules: { keepLast: 9 } })).swept).toEqual([]);
    now = new Date(FIRST + 9 * DAY_MS);
    expect(await open().prune({ rules: { keepLast: 1 } })).toMatchObject({ deleted: ids(0, 1, 2, 3), swept: [beside] });
    expect(await keysIn()).toHaveLength(2);
  });

  it.each([
    ["its archive is gone", async () => sink.delete(taken[2]?.archive.key ?? "", { signal })],
    ["its archive was cut", async () => put(taken[2]?.archive.key ?? "", "cut")],
    ["its manifest cannot be read", async () => put(keys.manifest("zk", ids(2)[0] ?? ""), "{")],
  ])("leaves another archive beside a backup alone where %s", async (_, harm) => {
    await put(`zk/archives/${ids(2)[0]}.0123abcd.tar.gz`, "of another run");
    await harm();
    expect((await open().prune({ rules: { keepLast: 9 } })).swept).toEqual([]);
  });

  it("leaves archives alone where there is no good backup: they may be all there is", async () => {
    for (const { id } of taken) await sink.delete(keys.manifest("zk", id), { signal });
    now = new Date(FIRST + 100 * DAY_MS);
    expect(await open().prune({ rules: { keepLast: 1 } })).toMatchObject({ deleted: [], swept: [] });
    expect(await keysIn("zk/archives/")).toHaveLength(5);
    await open().backup();
    expect((await open().prune({ rules: { keepLast: 1 } })).swept).toHaveLength(5);
  });

  it("does not count a backup whose archive is gone, or is shorter than it was", async () => {
    await sink.delete(taken[4]?.archive.key ?? "", { signal });
    await put(taken[3]?.archive.key ?? "", "cut off");
    const result = await open().prune({ rules: { keepLast: 1 } });
    expect(await idsLeft()).toEqual(ids(2, 4));
    expect(result.decisions[2]).toEqual({ id: ids(2)[0], keep: true, reasons: ["the last verified one"] });
    expect(result.problems.map(({ id, message }) => [id, message])).toEqual([
      [ids(3)[0], expect.stringMatching(/has 7 bytes, not \d+: .* is lost/)],
      [ids(4)[0], expect.stringMatching(/is not there: .* is lost/)],
    ]);
  });

  it("keeps a backup whose manifest cannot be read, with its archive, and says so", async () => {
    await put(keys.manifest("zk", ids(1)[0] ?? ""), "{");
    const result = await open().prune({ rules: { keepLast: 1 } });
    expect(result.problems).toEqual([{ id: ids(1)[0], message: expect.stringContaining("is damaged") }]);
    expect(await idsLeft()).toEqual(ids(0, 1, 4));
    expect(await keysIn("zk/archives/")).toEqual([0, 1, 4].map((index) => taken[index]?.archive.key));
  });

  it("keeps what is pinned, removes pins with their backups, and pins that have none", async () => {
    const [first = "", second = "", third = ""] = ids(0, 1, 2);
    await open().pin(first, { reason: "audit" });
    await open().pin(second, { until: new Date(now.getTime() + 1000) });
    await open().pin(third, { until: new Date(now.getTime() + DAY_MS) });
    await put(keys.pin("zk", "zk-20260101T000000000Z"), "{}");
    now = new Date(now.getTime() + 2000);
    const result = await open().prune({ rules: { keepLast: 1 } });
    expect(result.deleted).toEqual(ids(1, 3));
    expect(result.swept).toEqual([keys.pin("zk", "zk-20260101T000000000Z")]);
    expect(await idsLeft()).toEqual(ids(0, 2, 4));
    expect(await keysIn("zk/pins/")).toEqual([keys.pin("zk", first), keys.pin("zk", third)]);
  });

  it("keeps what is pinned after it made its plan", async () => {
    const series = open();
    let pinning: Promise<unknown> = Promise.resolve();
    const slow: Sink = {
      ...sink,
      async delete(key, options) {
        await pinning;
        await sink.delete(key, options);
      },
    };
    const pruned = open({}, slow);
    pruned.events.once("prune:deleted", () => {
      pinning = series.pin(ids(0)[0] ?? "");
    });
    const result = await pruned.prune({ rules: { keepLast: 1 } });
    expect(result.deleted).toEqual(ids(1, 2, 3));
    expect(await idsLeft()).toEqual(ids(0, 4));
  });

  it("may run beside another one, and beside backups", async () => {
    const series = open();
    const runs = await Promise.all([
      series.prune({ rules: { keepLast: 2 } }),
      series.backup(),
      open().prune({ rules: { keepLast: 2 } }),
      series.backup(),
    ]);
    const added = [runs[1], runs[3]].map((manifest) => manifest?.id);
    for (const result of [runs[0], runs[2]]) expect(result.failures).toEqual([]);
    const left = await idsLeft();
    expect(left).toEqual(expect.arrayContaining(added));
    expect(left).not.toContain(ids(0)[0]);
    for (const id of left) await series.verify(id);
    expect(await keysIn()).toHaveLength(2 * left.length);
  });

  it("has the sink sweep what is older than a day, and reports it where that fails", async () => {
    const asked: unknown[] = [];
    const sweeping: Sink = {
      ...sink,
      async sweep(prefix, { olderThan }) {
        asked.push([prefix, olderThan]);
        if (asked.length === 2) throw denied;
        return 3;
      },
    };
    const rules = { keepLast: 9 };
    expect((await open({}, sweeping).prune({ rules })).unfinishedUploads).toBe(3);
    expect(asked).toEqual([["zk/", new Date(now.getTime() - DAY_MS)]]);
    expect(await open({}, sweeping).prune({ rules })).toMatchObject({
      unfinishedUploads: null,
      failures: [{ key: "zk/", error: denied }],
    });
    expect((await open({}, sweeping).prune({ rules, dryRun: true })).unfinishedUploads).toBeNull();
    expect(asked).toHaveLength(2);
  });
});
