import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { backupId, keys } from "./backup-id.ts";
import { oneChunk } from "./bytes.ts";
import { BackypError, isBackypError } from "./errors.ts";
import { type Manifest, serializeManifest } from "./manifest.ts";
import { openSeries, type Series } from "./series.ts";
import type { Sink } from "./sink.ts";
import { memorySink, scriptedSource } from "./testing/index.ts";

const { signal } = new AbortController();
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Later than what is stored now was modified, by more than the time of grace. */
const NOW = new Date("2096-03-09T12:00:00Z");
/** Keeps the damaged ones of yesterday and the day before; the last good one is kept for being that. */
const rules = { keepLast: 2 };
const failure = new BackypError("ERR_SINK_UNAVAILABLE", "injected");

type Operation = "list" | "get" | "put" | "delete";
/** Whether a call fails, and whether it is done all the same. */
type Outcome = "done" | "failed" | "done, but it is told as failed";

/** `sink`, with what `decide` says of each call. */
function deciding(sink: Sink, decide: (operation: Operation) => Outcome): Sink {
  const around = async <Result>(operation: Operation, work: () => Promise<Result>): Promise<Result> => {
    const outcome = decide(operation);
    if (outcome === "failed") throw failure;
    const result = await work();
    if (outcome !== "done") throw failure;
    return result;
  };
  return {
    ...sink,
    put: (key, body, options) => around("put", () => sink.put(key, body, options)),
    delete: (key, options) => around("delete", () => sink.delete(key, options)),
    async *get(key, options) {
      yield* await around("get", () => Array.fromAsync(sink.get(key, options)));
    },
    async *list(prefix, options) {
      yield* await around("list", () => Array.fromAsync(sink.list(prefix, options)));
    },
  };
}

const idOf = (daysAgo: number): string => backupId("zk", new Date(NOW.getTime() - daysAgo * DAY_MS));
const archiveOf = (id: string): string => keys.archive("zk", id, ["tar"]);

/** Backups, of which some are damaged; pins; and what dead runs have left. */
async function history(): Promise<Sink> {
  const sink = memorySink();
  const put = (key: string, text: string) => sink.put(key, oneChunk(Buffer.from(text)), { signal });
  for (const daysAgo of [1, 2, 3, 4, 5, 6, 9, 10, 11]) {
    const id = idOf(daysAgo);
    const time = new Date(NOW.getTime() - daysAgo * DAY_MS).toISOString();
    const manifest: Manifest = {
      formatVersion: 1,
      ...{ id, prefix: "zk", kind: "full", source: "scripted", range: { after: null, upTo: "0x1" }, times: null },
      ...{ startedAt: time, finishedAt: time },
      archive: { key: archiveOf(id), size: 7, sha256: "0".repeat(64), format: "tar", codecs: [] },
      ...{ entries: [], facts: {}, contents: {}, proof: null, problems: [], verified: ![1, 2, 9].includes(daysAgo) },
      tool: { name: "test", version: "1" },
    };
    await put(archiveOf(id), "archive");
    await put(keys.manifest("zk", id), serializeManifest(manifest));
  }
  const pin = (daysAgo: number, until: string | null) =>
    put(
      keys.pin("zk", idOf(daysAgo)),
      JSON.stringify({ formatVersion: 1, id: idOf(daysAgo), pinnedAt: NOW.toISOString(), until, reason: null }),
    );
  await pin(5, null);
  await pin(6, "2096-03-09T11:00:00.000Z");
  await pin(20, null);
  await put(archiveOf(idOf(30)), "orphan!");
  return sink;
}

const keysIn = async (sink: Sink): Promise<string[]> =>
  (await Array.fromAsync(sink.list("", { signal }))).map(({ key }) => key);

describe("a prune", () => {
  const open = (sink: Sink): Series => openSeries({ prefix: "zk", source: scriptedSource({}), sink, clock: () => NOW });
  /** What has to be left of the history, and nothing else may be. */
  let wanted: readonly string[];
  let operations: number;

  beforeEach(async () => {
    const store = await history();
    operations = 0;
    const sink = deciding(store, () => {
      operations += 1;
      return "done";
    });
    const { deleted, swept, failures } = await open(sink).prune({ rules });
    expect(failures).toEqual([]);
    expect(deleted).toEqual([11, 10, 9, 6, 4].map(idOf));
    expect(swept).toEqual([archiveOf(idOf(30)), keys.pin("zk", idOf(20))]);
    wanted = await keysIn(store);
    expect(wanted).toEqual([
      ...[5, 3, 2, 1].map((daysAgo) => archiveOf(idOf(daysAgo))),
      ...[5, 3, 2, 1].map((daysAgo) => keys.manifest("zk", idOf(daysAgo))),
      keys.pin("zk", idOf(5)),
    ]);
  });

  /** Nothing that is needed may be gone, whatever went wrong; and a second prune, by the same process or another, ends it. */
  async function expectRecovery(store: Sink, second: Series): Promise<void> {
    const left = await keysIn(store);
    expect(left).toEqual(expect.arrayContaining([...wanted]));
    for (const key of left.filter((one) => one.startsWith("zk/manifests/"))) {
      expect(left, key).toContain(archiveOf(key.slice("zk/manifests/".length, -".json".length)));
    }
    expect((await second.prune({ rules })).failures).toEqual([]);
    expect(await keysIn(store)).toEqual(wanted);
    expect(await second.prune({ rules })).toMatchObject({ deleted: [], swept: [], failures: [], problems: [] });
  }

  it.each<[string, Outcome]>([
    ["before it was done", "failed"],
    ["after it was done", "done, but it is told as failed"],
  ])("can end at any call to the sink, %s, and the next one ends what it began", async (_, lastOutcome) => {
    expect(operations).toBeGreaterThan(30);
    for (const isSameProcess of [false, true]) {
      for (let last = 1; last <= operations; last += 1) {
        const store = await history();
        let calls = 0;
        let isOver = false;
        const sink = deciding(store, () => {
          if (isOver) return "done";
          calls += 1;
          if (calls < last) return "done";
          return calls === last ? lastOutcome : "failed";
        });
        const series = open(sink);
        await series.prune({ rules }).catch((error: unknown) => {
          if (!isBackypError(error, "ERR_SINK_UNAVAILABLE")) throw error;
        });
        expect(calls).toBeGreaterThanOrEqual(last);
        isOver = true;
        await expectRecovery(store, isSameProcess ? series : open(store));
      }
    }
  });

  it("loses nothing to a store that fails now and then, and ends as planned once it does not", async () => {
    const outcome = fc.oneof(
      { weight: 6, arbitrary: fc.constant<Outcome>("done") },
      { weight: 1, arbitrary: fc.constantFrom<Outcome>("failed", "done, but it is told as failed") },
    );
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(outcome), fc.integer({ min: 1, max: 4 }), async (outcomes, prunes) => {
        const store = await history();
        let isOver = false;
        // A listing or reading that fails ends the prune as a whole: rarer here, so that it comes to the deletes.
        const sink = deciding(store, (operation) =>
          isOver || (operation !== "delete" && outcomes.next().value === "done") ? "done" : outcomes.next().value,
        );
        const series = open(sink);
        for (let round = 0; round < prunes; round += 1) {
          await series.prune({ rules }).catch((error: unknown) => {
            if (!isBackypError(error, "ERR_SINK_UNAVAILABLE")) throw error;
          });
        }
        isOver = true;
        await expectRecovery(store, series);
      }),
      { numRuns: 500 },
    );
  }, 60_000);
});
