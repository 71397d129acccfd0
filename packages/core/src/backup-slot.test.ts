import { beforeEach, describe, expect, it } from "vitest";
import { collect, oneChunk } from "./bytes.ts";
import { BackypError, type ErrorCode, isBackypError } from "./errors.ts";
import type { Manifest } from "./manifest.ts";
import { openSeries, type Series } from "./series.ts";
import type { Sink } from "./sink.ts";
import { memorySink, type ScriptedSource, scriptedSource, withFaults } from "./testing/index.ts";

const { signal } = new AbortController();
const slot = new Date("2026-11-22T02:30:00Z");
const ID = "zk-20261122T023000000Z";
const MANIFEST = `zk/manifests/${ID}.json`;
const ARCHIVE = /^zk\/archives\/zk-20261122T023000000Z\.[0-9a-f]{8}\.tar\.gz$/;

function coded(code: ErrorCode): (error: unknown) => boolean {
  return (error) => isBackypError(error, code);
}

/** Does its best about `ifAbsent`, as a store without conditional writes: it looks when a put begins. */
function bestEffort(sink: Sink): Sink {
  return {
    ...sink,
    async put(key, body, options) {
      if (options.ifAbsent === true && (await has(sink, key))) throw new BackypError("ERR_OBJECT_EXISTS", "taken");
      return sink.put(key, body, { signal: options.signal });
    },
  };
}

async function has(sink: Sink, key: string): Promise<boolean> {
  for await (const info of sink.list(key, { signal })) if (info.key === key) return true;
  return false;
}

function stored(sink: Sink, prefix = ""): Promise<string[]> {
  return Array.fromAsync(sink.list(prefix, { signal }), ({ key }) => key);
}

describe("a backup for a slot", () => {
  let sink: Sink;
  let source: ScriptedSource;
  let captures: number;

  const counted = (): ScriptedSource => ({
    ...source,
    capture: (request, context) => {
      captures += 1;
      return source.capture(request, context);
    },
  });
  const open = (store: Sink = sink): Series => openSeries({ prefix: "zk", source: counted(), sink: store });
  const backup = async (series: Series = open()): Promise<Manifest> => {
    const manifest = await series.backup({ slot });
    if (manifest === null) throw new Error("nothing was backed up");
    return manifest;
  };

  beforeEach(() => {
    sink = memorySink();
    source = scriptedSource({ "version-2/log.1": "good".repeat(30_000) });
    captures = 0;
  });

  it("has the slot's id, its own archive name, and the time at which it really began", async () => {
    const before = Date.now();
    const series = open();
    const manifest = await backup(series);
    expect(manifest.id).toBe(ID);
    expect(manifest.archive.key).toMatch(ARCHIVE);
    expect(Date.parse(manifest.startedAt)).toBeGreaterThanOrEqual(before);
    expect(await stored(sink)).toEqual([manifest.archive.key, MANIFEST]);
    expect((await series.verify("latest")).manifest).toEqual(manifest);
  });

  it("is refused before anything is captured where the slot has its backup", async () => {
    const first = await backup();
    const failures: unknown[] = [];
    const series = open();
    series.events.on("backup:failed", ({ backupId, error }) => failures.push([backupId, error.code]));
    await expect(series.backup({ slot })).rejects.toSatisfy(coded("ERR_SLOT_TAKEN"));
    expect(captures).toBe(1);
    expect(failures).toEqual([[ID, "ERR_SLOT_TAKEN"]]);
    expect(await stored(sink)).toEqual([first.archive.key, MANIFEST]);
  });

  it("is refused for a slot whose manifest is damaged: something is there", async () => {
    await sink.put(MANIFEST, oneChunk(Buffer.from("{")), { signal });
    await expect(open().backup({ slot })).rejects.toSatisfy(coded("ERR_SLOT_TAKEN"));
    expect(captures).toBe(0);
  });

  it("is not attempted where the sink cannot say whether the slot is taken", async () => {
    const unavailable = new BackypError("ERR_SINK_UNAVAILABLE", "no answer");
    await expect(open(withFaults(sink, { get: [unavailable] })).backup({ slot })).rejects.toBe(unavailable);
    expect(captures).toBe(0);
  });

  it("is made where the sink has yet to be created by it", async () => {
    const missing = new BackypError("ERR_SINK_NOT_FOUND", "there is no such directory; make a first backup into it");
    expect((await backup(open(withFaults(sink, { get: [missing] })))).id).toBe(ID);
  });

  it("is one of several at once, and nothing of the others stays", async () => {
    const runs = await Promise.allSettled([1, 2, 3, 4].map(() => backup()));
    const lost = runs.filter(({ status }) => status === "rejected");
    for (const run of lost) expect(run).toMatchObject({ reason: { code: "ERR_SLOT_TAKEN" } });
    expect(lost).toHaveLength(3);
    const { manifest } = await open().verify(ID);
    expect(await stored(sink)).toEqual([manifest.archive.key, MANIFEST]);
  });

  it("restores also where a store that cannot decide races let two runs of the slot through", async () => {
    const careless: Sink = { ...sink, put: (key, body, options) => sink.put(key, body, { signal: options.signal }) };
    const other = openSeries({
      prefix: "zk",
      source: scriptedSource({ "version-2/log.1": "another" }),
      sink: careless,
    });
    // The archive of the first, all of the other, the manifest of the first.
    const mayPublish = async (): Promise<void> => void (await other.backup({ slot }));
    const manifest = await open(careless).backup({ slot, mayPublish });
    expect((await open().verify(ID)).manifest).toEqual(manifest);
    expect(await stored(sink, "zk/manifests/")).toEqual([MANIFEST]);
  });

  it.each([
    ["decides races", (store: Sink) => store],
    ["does its best", bestEffort],
  ])("loses to a faster one in a store that %s, and leaves that one's archive alone", async (_, like) => {
    let winner: Manifest | undefined;
    const mayPublish = async (): Promise<void> => {
      winner = await backup(open(like(sink)));
    };
    const series = open(like(sink));
    const attempts: number[] = [];
    series.events.on("backup:start", ({ attempt }) => attempts.push(attempt));
    await expect(series.backup({ slot, mayPublish })).rejects.toSatisfy(coded("ERR_SLOT_TAKEN"));
    expect(attempts).toEqual([1]);
    expect(await stored(sink)).toEqual([winner?.archive.key, MANIFEST]);
    await open().verify(ID);
  });

  it("is made although the archive of a run that died lies there", async () => {
    const left = `zk/archives/${ID}.0123abcd.tar.gz`;
    await sink.put(left, oneChunk(Buffer.from("half")), { signal });
    const { archive } = await backup();
    expect((await stored(sink)).sort()).toEqual([left, archive.key, MANIFEST].sort());
    await open().verify(ID);
  });

  it("takes another archive name when its first one is taken", async () => {
    const taken = new BackypError("ERR_OBJECT_EXISTS", "taken");
    const tried: string[] = [];
    const refusing: Sink = {
      ...sink,
      put(key, ...rest) {
        tried.push(key);
        return tried.length === 1 ? Promise.reject(taken) : sink.put(key, ...rest);
      },
    };
    expect((await backup(open(refusing))).id).toBe(ID);
    expect(new Set(tried).size).toBe(3);
  });

  it("keeps its id when the source changed and is captured again", async () => {
    source.failures.push(new BackypError("ERR_SOURCE_CHANGED", "it rolled"));
    const series = open();
    const ids: string[] = [];
    series.events.on("backup:start", ({ backupId }) => ids.push(backupId));
    expect((await backup(series)).id).toBe(ID);
    expect(ids).toEqual([ID, ID]);
  });

  it("is not captured again once another run has the slot", async () => {
    source.failures.push(new BackypError("ERR_SOURCE_CHANGED", "it rolled"));
    const series = open();
    series.events.once("backup:start", async () => {
      await sink.put(MANIFEST, oneChunk(Buffer.from("another's")), { signal });
    });
    await expect(series.backup({ slot })).rejects.toSatisfy(coded("ERR_SLOT_TAKEN"));
    expect(captures).toBeLessThanOrEqual(1);
  });

  it("is taken for stored when the store has it, though it said that it was there already", async () => {
    const taken = new BackypError("ERR_OBJECT_EXISTS", "taken");
    const { id } = await backup(open(withFaults(sink, { put: [null, { error: taken, stored: true }] })));
    await open().verify(id);
  });

  it("gives a run without a slot the next id when it begins at that very moment", async () => {
    await backup();
    const manual = openSeries({ prefix: "zk", source, sink, clock: () => slot });
    expect((await manual.backup())?.id).toBe("zk-20261122T023000001Z");
  });

  it.each([new Date(Number.NaN), new Date("+010000-01-01T00:00:00Z"), new Date(-1e15)])(
    "is refused for the slot %s",
    async (wrong) => {
      await expect(open().backup({ slot: wrong })).rejects.toSatisfy(coded("ERR_CONFIG_INVALID"));
      expect(captures).toBe(0);
    },
  );
});

describe("mayPublish", () => {
  const source = scriptedSource({ "version-2/log.1": "good" });
  let sink: Sink;
  beforeEach(() => {
    sink = memorySink();
  });

  it("is called once the archive is stored and before the manifest is", async () => {
    const seen: string[][] = [];
    const mayPublish = async (): Promise<void> => {
      seen.push((await stored(sink)).map((key) => key.replace(/\/zk-.*/, "")));
    };
    await openSeries({ prefix: "zk", source, sink }).backup({ slot, mayPublish });
    await openSeries({ prefix: "zk", source, sink }).backup({ mayPublish });
    expect(seen[0]).toEqual(["zk/archives"]);
    expect(seen).toHaveLength(2);
  });

  it.each(["ERR_NOT_ELECTED", "ERR_OBJECT_EXISTS", "ERR_SOURCE_CHANGED", "ERR_SOURCE_DAMAGED"] as const)(
    "prevents the backup by %s, which is thrown as it is, and nothing is left",
    async (code) => {
      const refusal = new BackypError(code, "no");
      let calls = 0;
      const mayPublish = async (): Promise<void> => {
        calls += 1;
        throw refusal;
      };
      for (const options of [{ slot }, {}]) {
        const series = openSeries({ prefix: "zk", source, sink });
        await expect(series.backup({ ...options, allowDamaged: true, mayPublish })).rejects.toBe(refusal);
      }
      expect(calls).toBe(2);
      expect(await stored(sink)).toEqual([]);
    },
  );

  it("is given the signal, and an abort meanwhile prevents the backup", async () => {
    const abort = new AbortController();
    const mayPublish = async (given: AbortSignal): Promise<void> => {
      abort.abort();
      expect(given.aborted).toBe(true);
    };
    const series = openSeries({ prefix: "zk", source, sink });
    await expect(series.backup({ slot, mayPublish, signal: abort.signal })).rejects.toSatisfy(coded("ERR_ABORTED"));
    expect(await stored(sink)).toEqual([]);
  });

  it("is not asked where there is nothing to publish", async () => {
    let calls = 0;
    const mayPublish = async (): Promise<void> => {
      calls += 1;
    };
    const idle = { ...source, capture: async () => ({ skipped: "nothing-new", message: "as it was" }) };
    expect(await openSeries({ prefix: "zk", source: idle, sink }).backup({ slot, mayPublish })).toBeNull();
    const poisoned = scriptedSource({ a: "poison" });
    await expect(openSeries({ prefix: "zk", source: poisoned, sink }).backup({ slot, mayPublish })).rejects.toThrow();
    expect(calls).toBe(0);
  });
});

it("reads no more of a manifest than it needs to know that the slot is taken", async () => {
  const sink = memorySink();
  await sink.put(MANIFEST, oneChunk(Buffer.alloc(1_000_000)), { signal });
  let bytes = 0;
  const counting: Sink = {
    ...sink,
    async *get(key, options) {
      for await (const chunk of sink.get(key, options)) {
        bytes += chunk.byteLength;
        yield chunk;
      }
    },
  };
  const series = openSeries({ prefix: "zk", source: scriptedSource({ a: "b" }), sink: counting });
  await expect(series.backup({ slot })).rejects.toSatisfy(coded("ERR_SLOT_TAKEN"));
  expect(bytes).toBe(1);
  expect(await collect(sink.get(MANIFEST, { signal }), 1e7)).toHaveLength(1_000_000);
});
