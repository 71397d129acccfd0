import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { collect, oneChunk } from "./bytes.ts";
import { BackypError, type ErrorCode, isBackypError } from "./errors.ts";
import { gzip } from "./gzip.ts";
import type { Manifest } from "./manifest.ts";
import { openSeries, type Series } from "./series.ts";
import type { Sink } from "./sink.ts";
import type { Rehearsal, Source } from "./source.ts";
import { memorySink, type ScriptedSource, scriptedSource, sourceContract, withFaults } from "./testing/index.ts";

const { signal } = new AbortController();
const FILES = { "version-2/snapshot.1": "first".repeat(1000), "version-2/log.1": Buffer.alloc(3_000_000, "log") };

function coded(code: ErrorCode): (error: unknown) => boolean {
  return (error) => isBackypError(error, code);
}

async function keysIn(sink: Sink): Promise<string[]> {
  const found = [];
  for await (const { key } of sink.list("", { signal })) found.push(key);
  return found;
}

/** Replaces a stored object by what `change` makes of it. */
async function rewrite(sink: Sink, key: string, change: (bytes: Buffer) => Uint8Array): Promise<void> {
  const bytes = await collect(sink.get(key, { signal }), 1e8);
  await sink.put(key, of(change(bytes)), { signal });
}

async function* of(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function recorded(series: Series): string[] {
  const names = [
    ...["start", "complete", "skipped", "failed"].map((what) => `backup:${what}`),
    ...["start", "complete", "failed"].flatMap((what) => [`verify:${what}`, `restore:${what}`]),
  ] as const;
  const seen: string[] = [];
  for (const name of names) series.events.on(name as "backup:start", () => seen.push(name));
  return seen;
}

describe("the source contract", () => {
  const cases = sourceContract(async () => ({
    source: scriptedSource(FILES),
    async checkRestored(directory) {
      for (const [path, content] of Object.entries(FILES)) {
        expect((await readFile(join(directory, path))).equals(Buffer.from(content as string))).toBe(true);
      }
    },
  }));
  for (const { name, run } of cases) it(name, run);
});

describe("a series", () => {
  let sink: Sink;
  let source: ScriptedSource;
  let series: Series;
  let folder: string;
  let events: string[];

  beforeEach(async () => {
    sink = memorySink();
    source = scriptedSource(FILES);
    series = openSeries({ prefix: "zk", source, sink });
    events = recorded(series);
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-series-"));
  });
  afterEach(async () => {
    expect(source.openCaptures(), "a capture was not closed").toBe(0);
    await chmod(folder, 0o700);
    await rm(folder, { recursive: true });
  });

  const backup = async (): Promise<Manifest> => {
    const manifest = await series.backup();
    if (manifest === null) throw new Error("nothing was backed up");
    return manifest;
  };

  describe("backup", () => {
    it("stores an archive that tar opens, and a manifest that describes it", async () => {
      const clock = () => new Date("2026-11-22T10:15:00.123Z");
      series = openSeries({ prefix: "zk", source, sink, clock, tool: { name: "test", version: "1" } });
      const manifest = await backup();
      expect(manifest).toMatchObject({
        formatVersion: 1,
        id: "zk-20261122T101500123Z",
        kind: "full",
        source: "scripted",
        facts: { files: 2 },
        verified: true,
        archive: { key: "zk/archives/zk-20261122T101500123Z.tar.gz", format: "tar", codecs: ["gzip"] },
        tool: { name: "test", version: "1" },
      });
      expect(await keysIn(sink)).toEqual([manifest.archive.key, "zk/manifests/zk-20261122T101500123Z.json"]);
      const archive = await collect(sink.get(manifest.archive.key, { signal }), 1e8);
      expect(archive.byteLength).toBe(manifest.archive.size);
      execFileSync("tar", ["xzf", "-", "-C", folder], { input: archive });
      expect(await readFile(join(folder, "version-2/snapshot.1"), "utf8")).toBe(FILES["version-2/snapshot.1"]);
      const sha256 = execFileSync("sha256sum", [join(folder, "version-2/log.1")])
        .toString()
        .slice(0, 64);
      expect(manifest.entries[1]).toEqual({ path: "version-2/log.1", size: 3_000_000, sha256 });
      expect(await series.catalog.load(manifest.id, { signal })).toEqual(manifest);
    });

    it("tells its listeners, and does not mind when one of them fails", async () => {
      const progress: number[] = [];
      series.events.on("backup:progress", ({ bytes }) => progress.push(bytes));
      series.events.on("backup:start", () => {
        throw new Error("a bad listener");
      });
      await backup();
      expect(events).toEqual(["backup:start", "backup:complete"]);
      expect(progress.length).toBeGreaterThan(0);
    });

    it("lets no listener harm it or the others, be it asynchronous", async () => {
      const seen: string[] = [];
      const off = () => seen.push("off");
      series.events.on("backup:start", async () => {
        throw new Error("a bad asynchronous listener");
      });
      series.events.once("backup:start", () => seen.push("once"));
      series.events.on("backup:start", () => seen.push("on"));
      series.events.on("backup:start", off);
      series.events.off("backup:start", off);
      await backup();
      await backup();
      expect(seen).toEqual(["once", "on", "on"]);
    });

    it("tells the source of this run's failures, and of no other's", async () => {
      const told: string[][] = [];
      const capture: ScriptedSource["capture"] = (request, context) => {
        told.push(request.earlierFailures.map(({ message }) => message));
        return source.capture(request, context);
      };
      series = openSeries({ prefix: "zk", source: { ...source, capture }, sink });
      source.failures.push(
        new BackypError("ERR_SOURCE_CHANGED", "first"),
        new BackypError("ERR_SOURCE_CHANGED", "second"),
      );
      await backup();
      await backup();
      expect(told).toEqual([[], ["first"], ["first", "second"], []]);
    });

    it("captures again when the source changed, under a new id", async () => {
      source.failures.push(
        new BackypError("ERR_SOURCE_CHANGED", "it rolled"),
        new BackypError("ERR_SOURCE_CHANGED", "again"),
      );
      await backup();
      expect(events).toEqual(["backup:start", "backup:start", "backup:start", "backup:complete"]);
      expect(await keysIn(sink)).toHaveLength(2);
    });

    it("gives up on a source that never holds still", async () => {
      for (let n = 0; n < 100; n++) source.failures.push(new BackypError("ERR_SOURCE_CHANGED", "it rolled"));
      await expect(series.backup()).rejects.toSatisfy(coded("ERR_SOURCE_CHANGED"));
      expect(await keysIn(sink)).toEqual([]);
    });

    it("takes the next id when one is taken", async () => {
      const clock = () => new Date("2026-11-22T10:15:00.123Z");
      series = openSeries({ prefix: "zk", source, sink, clock });
      const first = await backup();
      const second = await backup();
      expect([first.id, second.id]).toEqual(["zk-20261122T101500123Z", "zk-20261122T101500124Z"]);
      await series.verify(first.id);
      await series.verify(second.id);
    });

    it("runs two at once without harm", async () => {
      const manifests = await Promise.all([backup(), backup(), backup()]);
      expect(new Set(manifests.map(({ id }) => id)).size).toBe(3);
      for (const { id } of manifests) await series.verify(id);
    });

    it("leaves nothing when the source fails", async () => {
      source.failures.push(new Error("the disk died"));
      await expect(series.backup()).rejects.toThrow("the disk died");
      expect(events).toEqual(["backup:start", "backup:failed"]);
      expect(await keysIn(sink)).toEqual([]);
    });

    it("never stores what its verifier refuses", async () => {
      source.files.set("version-2/log.2", Buffer.from("poison"));
      await expect(series.backup()).rejects.toSatisfy(coded("ERR_SOURCE_DAMAGED"));
      source.files.clear();
      await expect(series.backup()).rejects.toSatisfy(coded("ERR_SOURCE_DAMAGED"));
      expect(await keysIn(sink)).toEqual([]);
    });

    it.each([
      ["the archive cannot be stored", { put: [new Error("no")] }],
      ["the archive breaks off", { put: [{ error: new Error("no"), afterBytes: 100 }] }],
      ["the manifest cannot be stored", { put: [null, new Error("no")] }],
      [
        "the manifest was stored but nobody said so",
        { put: [null, { error: new Error("no"), stored: true as const }] },
      ],
    ])("leaves nothing when %s", async (_, faults) => {
      series = openSeries({ prefix: "zk", source, sink: withFaults(sink, faults) });
      await expect(series.backup()).rejects.toThrow("no");
      expect(await keysIn(sink)).toEqual([]);
    });

    it("leaves nothing when what the source says is no manifest", async () => {
      const verifier = () => {
        const real = source.verifier();
        const times = { from: new Date("+099999-01-01"), upTo: new Date() };
        return { ...real, finish: () => ({ ...real.finish(), times }) };
      };
      const capture: ScriptedSource["capture"] = async (request, context) => {
        const real = await source.capture(request, context);
        return { ...real, verifier: verifier() };
      };
      series = openSeries({ prefix: "zk", source: { ...source, capture }, sink });
      await expect(series.backup()).rejects.toSatisfy(coded("ERR_MANIFEST_INVALID"));
      expect(await keysIn(sink)).toEqual([]);
    });

    it("leaves no archive when another run of the same moment, compressed otherwise, was first", async () => {
      const clock = () => new Date("2026-11-22T10:15:00.123Z");
      const plain = openSeries({ prefix: "zk", source, sink, clock, codecs: [] });
      const first = await plain.backup();
      series = openSeries({ prefix: "zk", source, sink, clock });
      const second = await backup();
      expect(await keysIn(sink)).toEqual([
        first?.archive.key,
        second.archive.key,
        `zk/manifests/${first?.id}.json`,
        `zk/manifests/${second.id}.json`,
      ]);
    });

    it("takes a manifest for stored when the store has it, though it said that it was there already", async () => {
      const taken = new BackypError("ERR_OBJECT_EXISTS", "taken");
      series = openSeries({
        prefix: "zk",
        source,
        sink: withFaults(sink, { put: [null, { error: taken, stored: true }] }),
      });
      const manifest = await backup();
      expect(await keysIn(sink)).toHaveLength(2);
      await series.verify(manifest.id);
    });

    it("never leaves a manifest without its archive, even when clearing up fails", async () => {
      const no = new Error("no");
      series = openSeries({
        prefix: "zk",
        source,
        sink: withFaults(sink, { put: [null, { error: no, stored: true }], delete: [no] }),
      });
      await expect(series.backup()).rejects.toThrow("no");
      for await (const item of series.catalog.list({ signal })) await series.verify(item.id);
    });

    it("stops at once when aborted, with nothing left", async () => {
      const abort = new AbortController();
      series.events.on("backup:progress", () => abort.abort());
      await expect(series.backup({ signal: abort.signal })).rejects.toSatisfy(coded("ERR_ABORTED"));
      await expect(series.backup({ signal: AbortSignal.abort() })).rejects.toSatisfy(coded("ERR_ABORTED"));
      expect(await keysIn(sink)).toEqual([]);
    });

    it("stops when aborted while the source is stuck", async () => {
      const stuck = {
        ...source,
        async capture() {
          const capture = await source.capture({ kind: "full", earlierFailures: [] }, { signal, logger: console });
          return {
            ...capture,
            entries: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }),
          };
        },
      };
      series = openSeries({ prefix: "zk", source: stuck, sink });
      await expect(series.backup({ signal: AbortSignal.timeout(100) })).rejects.toSatisfy(coded("ERR_ABORTED"));
    });

    it("is not undone by a source that cannot close", async () => {
      const capture: ScriptedSource["capture"] = async (request, context) => {
        const opened = await source.capture(request, context);
        const close = async (): Promise<void> => {
          await opened.close();
          throw new Error("it is stuck");
        };
        return { ...opened, close };
      };
      const warnings: string[] = [];
      const logger = { debug() {}, info() {}, warn: (_: object, message: string) => warnings.push(message) };
      series = openSeries({ prefix: "zk", source: { ...source, capture }, sink, logger });
      const { id } = await backup();
      expect((await series.verify(id)).manifest.verified).toBe(true);
      expect(warnings).toEqual([expect.stringMatching(/could not give back/)]);
      source.files.set("version-2/log.2", Buffer.from("poison"));
      await expect(series.backup()).rejects.toSatisfy(coded("ERR_SOURCE_DAMAGED"));
    });

    it("reports as skipped what the source says is not to be done now", async () => {
      const capture = async () => ({ skipped: "nothing-new", message: "it is as it was" });
      series = openSeries({ prefix: "zk", source: { ...source, capture }, sink });
      const seen: object[] = [];
      series.events.on("backup:skipped", (event) => seen.push(event));
      events = recorded(series);
      expect(await series.backup()).toBeNull();
      expect(events).toEqual(["backup:start", "backup:skipped"]);
      expect(seen).toEqual([{ prefix: "zk", reason: "nothing-new", message: "it is as it was" }]);
    });

    it("passes on what the source reports, under the id of the capture that is under way", async () => {
      const capture: Source["capture"] = (request, context) => {
        context.run.report("looked", { failures: request.earlierFailures.length });
        return source.capture(request, context);
      };
      source.failures.push(new BackypError("ERR_SOURCE_CHANGED", "again"));
      series = openSeries({ prefix: "zk", source: { ...source, capture }, sink });
      const steps: object[] = [];
      series.events.on("backup:step", ({ step, facts, backupId }) => steps.push({ step, facts, backupId }));
      const { id } = await backup();
      expect(steps).toEqual([
        { step: "looked", facts: { failures: 0 }, backupId: expect.not.stringMatching(id) },
        { step: "looked", facts: { failures: 1 }, backupId: id },
      ]);
    });

    it("tries the sink before a source is captured that this disturbs", async () => {
      let captures = 0;
      const capture: Source["capture"] = (request, context) => {
        captures += 1;
        return source.capture(request, context);
      };
      const refused = new BackypError("ERR_SINK_DENIED", "write-only");
      const stored: string[] = [];
      const put: Sink["put"] = (key, ...rest) => {
        stored.push(key);
        return sink.put(key, ...rest);
      };
      const told = { ...sink, put };
      series = openSeries({ prefix: "zk", source: { ...source, capture, disturbs: true }, sink: told });
      const { id } = await backup();
      expect(stored).toEqual(["zk/probe", `zk/archives/${id}.tar.gz`, `zk/manifests/${id}.json`]);
      expect(await keysIn(sink)).toEqual([`zk/archives/${id}.tar.gz`, `zk/manifests/${id}.json`]);

      captures = 0;
      const full = withFaults(sink, { put: [new BackypError("ERR_SINK_FULL", "no space left")] });
      series = openSeries({ prefix: "zk", source: { ...source, capture, disturbs: true }, sink: full });
      await expect(series.backup()).rejects.toSatisfy(coded("ERR_SINK_FULL"));
      expect(captures).toBe(0);

      const writeOnly = withFaults(sink, { delete: [refused] });
      series = openSeries({ prefix: "zk", source: { ...source, capture, disturbs: true }, sink: writeOnly });
      await backup();
    });

    it.each([
      ["succeeds", null, null],
      ["fails", "poison", "ERR_SOURCE_DAMAGED"],
    ])("gives back at its end what its captures shared, when it %s", async (_, content, code) => {
      const done: string[] = [];
      const runs = new Set<object>();
      const capture: Source["capture"] = async (request, context) => {
        if (!runs.has(context.run)) {
          for (const name of ["first", "second"]) {
            context.run.atEnd(async () => {
              done.push(`${name}, ${source.openCaptures()} open`);
              throw new Error("it is stuck");
            });
          }
        }
        runs.add(context.run);
        return source.capture(request, context);
      };
      source.failures.push(new BackypError("ERR_SOURCE_CHANGED", "again"));
      if (content !== null) source.files.set("version-2/log.2", Buffer.from(content));
      series = openSeries({ prefix: "zk", source: { ...source, capture }, sink });
      const result = series.backup();
      if (code === null) await result;
      else await expect(result).rejects.toSatisfy(coded(code as ErrorCode));
      expect(done).toEqual(["second, 0 open", "first, 0 open"]);
      expect(runs.size).toBe(1);
    });

    it.each(["", "a/b", "../x", ".hidden", "ü", "x".repeat(200)])("refuses the prefix %j", (prefix) => {
      expect(() => openSeries({ prefix, source, sink })).toThrow(/prefix/);
    });
  });

  describe("damage", () => {
    beforeEach(() => {
      source.files.set("version-2/log.2", Buffer.from("rotten"));
    });

    const keep = async (): Promise<Manifest> => {
      const manifest = await series.backup({ allowDamaged: true });
      if (manifest === null) throw new Error("nothing was backed up");
      return manifest;
    };

    it("is refused, and the reason given, unless it is allowed", async () => {
      await expect(series.backup()).rejects.toSatisfy(
        (error) => coded("ERR_SOURCE_DAMAGED")(error) && /version-2\/log\.2: it is rotten/.test(String(error)),
      );
      expect(events).toEqual(["backup:start", "backup:failed"]);
      expect(await keysIn(sink)).toEqual([]);
    });

    it("is kept for what it is when it is allowed", async () => {
      const manifest = await keep();
      expect(manifest).toMatchObject({
        verified: false,
        problems: [{ severity: "data-loss", code: "ROTTEN", file: "version-2/log.2", message: "it is rotten" }],
      });
      expect(events).toEqual(["backup:start", "backup:start", "backup:complete"]);
      expect(await keysIn(sink)).toHaveLength(2);
      const items = await Array.fromAsync(series.catalog.list({ signal }));
      expect(items).toMatchObject([{ manifest: { verified: false } }]);
    });

    it("is asked for only after a capture without it was refused", async () => {
      const asked: [boolean | undefined, string[]][] = [];
      const capture: ScriptedSource["capture"] = (request, context) => {
        asked.push([request.allowDamaged, request.earlierFailures.map(({ code }) => code)]);
        return source.capture(request, context);
      };
      series = openSeries({ prefix: "zk", source: { ...source, capture }, sink });
      await keep();
      source.files.delete("version-2/log.2");
      expect(await keep()).toMatchObject({ verified: true, problems: [] });
      expect(asked).toEqual([
        [false, []],
        [true, ["ERR_SOURCE_DAMAGED"]],
        [false, []],
      ]);
    });

    it("may have another name, if the source says that there is something to keep", async () => {
      const elsewhere = new BackypError("ERR_SOURCE_UNAVAILABLE", "half of it is gone", {
        details: { mayBeKept: true },
      });
      source.failures.push(elsewhere);
      expect(await keep()).toMatchObject({ verified: false });
      source.failures.push(new BackypError("ERR_SOURCE_UNAVAILABLE", "it is not there"));
      await expect(series.backup({ allowDamaged: true })).rejects.toSatisfy(coded("ERR_SOURCE_UNAVAILABLE"));
    });

    it("that is not found again does not pass for none", async () => {
      source.files.delete("version-2/log.2");
      source.failures.push(new BackypError("ERR_SOURCE_DAMAGED", "log.2 is no log"));
      const manifest = await keep();
      expect(manifest).toMatchObject({
        verified: false,
        problems: [{ severity: "data-loss", code: "CAPTURE_REFUSED", message: "log.2 is no log" }],
      });
      await expect(series.verify(manifest.id)).rejects.toSatisfy(coded("ERR_BACKUP_DAMAGED"));
    });

    it("that leaves nothing to keep is refused all the same", async () => {
      source.files.set("version-2/log.3", Buffer.from("poison"));
      await expect(series.backup({ allowDamaged: true })).rejects.toSatisfy(coded("ERR_SOURCE_DAMAGED"));
      expect(events).toEqual(["backup:start", "backup:start", "backup:failed"]);
      expect(await keysIn(sink)).toEqual([]);
    });

    it("is named by verify, once every byte is found to be what was stored", async () => {
      const manifest = await keep();
      await expect(series.verify(manifest.id)).rejects.toSatisfy(
        (error) => coded("ERR_BACKUP_DAMAGED")(error) && /byte for byte.*it is rotten/.test(String(error)),
      );
      await rewrite(sink, manifest.archive.key, (bytes) => bytes.subarray(1));
      await expect(series.verify(manifest.id)).rejects.not.toSatisfy(coded("ERR_BACKUP_DAMAGED"));
    });

    it("is restored only when it is allowed again", async () => {
      const { id } = await keep();
      const main = join(folder, "restored");
      await expect(series.restore(id, { main })).rejects.toSatisfy(coded("ERR_BACKUP_DAMAGED"));
      expect(await readdir(folder)).toEqual([]);
      await series.restore(id, { main }, { allowDamaged: true });
      expect(await readFile(join(main, "version-2/log.2"), "utf8")).toBe("rotten");
    });

    it("cannot be declared good by an edit of the manifest", async () => {
      const manifest = await keep();
      const edit = (changes: Partial<Manifest>) =>
        rewrite(sink, `zk/manifests/${manifest.id}.json`, () =>
          Buffer.from(JSON.stringify({ ...manifest, ...changes })),
        );
      await edit({ verified: true });
      await expect(series.verify(manifest.id)).rejects.toSatisfy(coded("ERR_MANIFEST_INVALID"));
      await edit({ verified: true, problems: [] });
      await expect(series.verify(manifest.id)).rejects.toSatisfy(coded("ERR_SOURCE_DAMAGED"));
      await expect(series.restore(manifest.id, { main: join(folder, "new") })).rejects.toSatisfy(
        coded("ERR_SOURCE_DAMAGED"),
      );
    });
  });

  describe("deep verification", () => {
    const seen: { files: string[]; folder: string }[] = [];
    const withRehearsal = (run: Rehearsal["run"]): Series =>
      openSeries({ prefix: "zk", source: { ...source, rehearse: async () => ({ run }) }, sink });
    const look: Rehearsal["run"] = async ({ main }) => {
      seen.push({ files: (await readdir(join(main, "version-2"))).sort(), folder: main });
      return { rings: 3 };
    };
    beforeEach(() => {
      seen.length = 0;
    });
    const expectGone = async (): Promise<void> => {
      for (const { folder } of seen) await expect(readdir(folder)).rejects.toThrow("ENOENT");
    };

    it("hands the source what was restored, and then what the source saw to the caller", async () => {
      const { id } = await backup();
      series = withRehearsal(look);
      events = recorded(series);
      series.events.on("verify:rehearsal", () => events.push("verify:rehearsal"));
      expect((await series.verify(id, { deep: true })).rehearsal).toEqual({ rings: 3 });
      expect(seen).toMatchObject([{ files: ["log.1", "snapshot.1"] }]);
      expect(events).toEqual(["verify:start", "verify:rehearsal", "verify:complete"]);
      expect((await series.verify(id)).rehearsal).toBeNull();
      expect(seen).toHaveLength(1);
      await expectGone();
    });

    it("fails with the rehearsal, and leaves nothing behind", async () => {
      const { id } = await backup();
      series = withRehearsal(async (folders, ...rest) => {
        await look(folders, ...rest);
        throw new BackypError("ERR_REHEARSAL_FAILED", "it does not ring");
      });
      events = recorded(series);
      await expect(series.verify(id, { deep: true })).rejects.toSatisfy(coded("ERR_REHEARSAL_FAILED"));
      expect(events).toEqual(["verify:start", "verify:failed"]);
      await expectGone();
    });

    it("leaves nothing behind when it is aborted", async () => {
      const { id } = await backup();
      const abort = new AbortController();
      series = withRehearsal(async (folders, manifest, { signal: given, ...context }) => {
        await look(folders, manifest, { signal: given, ...context });
        abort.abort();
        given.throwIfAborted();
        return {};
      });
      await expect(series.verify(id, { deep: true, signal: abort.signal })).rejects.toThrow();
      expect(seen).toHaveLength(1);
      await expectGone();
    });

    it("finds damage before it tries anything out", async () => {
      const manifest = await backup();
      await rewrite(sink, manifest.archive.key, (bytes) => bytes.subarray(0, -1));
      series = withRehearsal(look);
      await expect(series.verify(manifest.id, { deep: true })).rejects.toBeInstanceOf(BackypError);
      expect(seen).toEqual([]);
    });

    it("says that a source has none, or lacks something for it, before it reads anything", async () => {
      const { id } = await backup();
      await expect(series.verify(id, { deep: true })).rejects.toSatisfy(coded("ERR_REHEARSAL_UNAVAILABLE"));
      const missing = new BackypError("ERR_REHEARSAL_UNAVAILABLE", "install it");
      const unread = withFaults(sink, { get: [new Error("the sink was read")] });
      const rehearse = async () => Promise.reject(missing);
      series = openSeries({ prefix: "zk", source: { ...source, rehearse }, sink: unread });
      await expect(series.verify(id, { deep: true })).rejects.toBe(missing);
    });

    it("does not try a damaged backup out", async () => {
      source.files.set("version-2/log.2", Buffer.from("rotten"));
      series = withRehearsal(look);
      const manifest = await series.backup({ allowDamaged: true });
      await expect(series.verify(manifest?.id ?? "", { deep: true })).rejects.toSatisfy(coded("ERR_BACKUP_DAMAGED"));
      expect(seen).toEqual([]);
    });
  });

  describe("catalog", () => {
    it("lists oldest first, and finds the latest", async () => {
      const ids = [await backup(), await backup(), await backup()].map(({ id }) => id);
      expect(await series.catalog.ids({ signal })).toEqual(ids);
      expect((await series.catalog.load("latest", { signal })).id).toBe(ids[2]);
    });

    it("shows other backups though one manifest is damaged or of a newer release", async () => {
      const [first, second, third] = [await backup(), await backup(), await backup()];
      await rewrite(sink, `zk/manifests/${first.id}.json`, (text) => text.subarray(0, 100));
      const newer = JSON.stringify({ ...second, formatVersion: 2 });
      await rewrite(sink, `zk/manifests/${second.id}.json`, () => Buffer.from(newer));
      const items = await Array.fromAsync(series.catalog.list({ signal }));
      expect(items.map((item) => ("error" in item ? item.error.code : item.id))).toEqual([
        "ERR_MANIFEST_INVALID",
        "ERR_MANIFEST_UNSUPPORTED",
        third.id,
      ]);
      await expect(series.verify(second.id)).rejects.toThrow(/format version 2/);
      await expect(series.restore(second.id, { main: folder })).rejects.toSatisfy(coded("ERR_MANIFEST_UNSUPPORTED"));
    });

    it("refuses a manifest under another backup's name", async () => {
      const [first, second] = [await backup(), await backup()];
      await rewrite(sink, `zk/manifests/${first.id}.json`, () => Buffer.from(JSON.stringify(second)));
      await expect(series.catalog.load(first.id, { signal })).rejects.toThrow(/renamed or copied/);
    });

    it.each(["latest", "zk-20000101T000000000Z", "../../etc/passwd", ""])(
      "knows no backup %j in an empty store",
      async (id) => {
        await expect(series.catalog.load(id, { signal })).rejects.toSatisfy(coded("ERR_BACKUP_NOT_FOUND"));
      },
    );

    it.each([
      ["notes that somebody keeps there", "zk/manifests/zz-notes.json", "{}"],
      ["a folder that somebody keeps there", "zk/manifests/zz/old.json", "{}"],
      ["a backup of another series", "zk/manifests/zz-20991122T101500123Z.json", "{}"],
    ])("is not misled by %s", async (_, key, text) => {
      const { id } = await backup();
      await sink.put(key, oneChunk(Buffer.from(text)), { signal });
      expect((await series.catalog.load("latest")).id).toBe(id);
      expect(await series.catalog.ids()).toEqual([id]);
    });

    it.each([
      ["nested without end", "[".repeat(50_000) + "]".repeat(50_000)],
      ["of 65 MiB", " ".repeat(65 * 1024 * 1024)],
    ])("names a manifest that is %s, and lists the others", async (_, text) => {
      const [bad, good] = [await backup(), await backup()];
      const nested = JSON.stringify({ ...bad, contents: 0 }).replace('"contents":0', `"contents":{"a":${text || 0}}`);
      await rewrite(sink, `zk/manifests/${bad.id}.json`, () => Buffer.from(nested));
      const items = await Array.fromAsync(series.catalog.list());
      expect(items.map((item) => ("error" in item ? item.error.code : item.id))).toEqual([
        "ERR_MANIFEST_INVALID",
        good.id,
      ]);
    });

    it("refuses a manifest that names another backup's archive, or a file twice", async () => {
      const { id, archive, entries, ...rest } = await backup();
      const write = (manifest: object) =>
        rewrite(sink, `zk/manifests/${id}.json`, () => Buffer.from(JSON.stringify(manifest)));
      for (const key of ["other/archives/x.tar.gz", "zk/archives/zk-20200101T000000000Z.tar.gz", "../../etc/passwd"]) {
        await write({ id, ...rest, entries, archive: { ...archive, key } });
        await expect(series.verify(id)).rejects.toThrow(/is not the archive of/);
      }
      await write({ id, ...rest, archive, entries: [...entries, ...entries] });
      await expect(series.verify(id)).rejects.toThrow(/names a file twice/);
    });

    it("ignores fields it does not know", async () => {
      const manifest = await backup();
      const text = JSON.stringify({ ...manifest, future: { field: 1 } });
      await rewrite(sink, `zk/manifests/${manifest.id}.json`, () => Buffer.from(text));
      expect(await series.catalog.load(manifest.id, { signal })).toMatchObject({ id: manifest.id });
    });
  });

  describe("verify", () => {
    it("passes a good backup and tells", async () => {
      const { id } = await backup();
      expect((await series.verify("latest")).manifest.id).toBe(id);
      expect(events.slice(-2)).toEqual(["verify:start", "verify:complete"]);
    });

    it.each<[string, (bytes: Buffer) => Uint8Array]>([
      ["is cut short", (bytes) => bytes.subarray(0, bytes.byteLength - 1)],
      ["is cut in half", (bytes) => bytes.subarray(0, bytes.byteLength >> 1)],
      ["is empty", () => Buffer.alloc(0)],
      ["has a byte too many", (bytes) => Buffer.concat([bytes, Buffer.from("x")])],
      ["is something else", () => Buffer.from("hello")],
      ["has a flipped bit", (bytes) => bytes.map((byte, index) => (index === bytes.byteLength >> 1 ? byte ^ 1 : byte))],
      ["has another gzip header", (bytes) => bytes.map((byte, index) => (index === 9 ? 3 : byte))],
    ])("finds an archive that %s", async (_, change) => {
      const manifest = await backup();
      await rewrite(sink, manifest.archive.key, change);
      await expect(series.verify(manifest.id)).rejects.toSatisfy(
        (error) => isBackypError(error, "ERR_ARCHIVE_CORRUPT") || isBackypError(error, "ERR_CHECKSUM_MISMATCH"),
      );
      expect(events.at(-1)).toBe("verify:failed");
      await expect(series.restore(manifest.id, { main: join(folder, "new") })).rejects.toBeInstanceOf(BackypError);
      expect(await readdir(folder)).toEqual([]);
    });

    it("finds a missing archive", async () => {
      const manifest = await backup();
      await sink.delete(manifest.archive.key, { signal });
      await expect(series.verify(manifest.id)).rejects.toThrow(/is missing/);
    });

    it("finds another backup's archive in its place, also when the manifest was made to match", async () => {
      const first = await backup();
      source.files.set("version-2/log.1", Buffer.from("changed"));
      const second = await backup();
      const others = await collect(sink.get(second.archive.key, { signal }), 1e8);
      await rewrite(sink, first.archive.key, () => others);
      await expect(series.verify(first.id)).rejects.toSatisfy(coded("ERR_CHECKSUM_MISMATCH"));
      const stolen = { ...first, archive: { ...second.archive, key: first.archive.key } };
      await rewrite(sink, `zk/manifests/${first.id}.json`, () => Buffer.from(JSON.stringify(stolen)));
      await expect(series.verify(first.id)).rejects.toSatisfy(coded("ERR_CHECKSUM_MISMATCH"));
      const better = { ...stolen, entries: second.entries };
      await rewrite(sink, `zk/manifests/${first.id}.json`, () => Buffer.from(JSON.stringify(better)));
      await expect(series.verify(first.id)).rejects.toThrow(/not what its manifest records/);
    });

    it("reads what other codecs wrote, and says which one is missing", async () => {
      const plain = openSeries({ prefix: "zk", source, sink, codecs: [] });
      const manifest = await plain.backup();
      expect(manifest?.archive.key).toMatch(/\.tar$/);
      await series.verify(manifest?.id ?? "");
      const rot13 = { ...gzip(), id: "rot13" };
      const odd = await openSeries({ prefix: "zk", source, sink, codecs: [rot13] }).backup();
      await expect(series.verify(odd?.id ?? "")).rejects.toThrow(/needs the codec "rot13"/);
    });

    it("minds what both releases recorded, not what one of them did not", async () => {
      const manifest = await backup();
      const write = (contents: object) =>
        rewrite(sink, `zk/manifests/${manifest.id}.json`, () => Buffer.from(JSON.stringify({ ...manifest, contents })));
      const { digest, files } = manifest.contents;
      await write({ files, newer: 1 });
      await series.verify(manifest.id);
      await series.restore(manifest.id, { main: join(folder, "newer") });
      await write({ files: 7, digest: digest ?? null });
      await expect(series.verify(manifest.id)).rejects.toSatisfy(coded("ERR_CHECKSUM_MISMATCH"));
    });

    it("refuses the backups of another kind of source", async () => {
      const { id } = await backup();
      const other = openSeries({ prefix: "zk", source: { ...source, name: "other" }, sink });
      await expect(other.verify(id)).rejects.toSatisfy(coded("ERR_CONFIG_INVALID"));
    });
  });

  describe("restore", () => {
    it("brings every file back, into a directory that it makes", async () => {
      const { id } = await backup();
      const target = join(folder, "a/b/c");
      await series.restore(id, { main: target });
      expect(await readFile(join(target, "version-2/snapshot.1"), "utf8")).toBe(FILES["version-2/snapshot.1"]);
      expect(await readdir(target)).toEqual(["version-2"]);
      expect(events.slice(-2)).toEqual(["restore:start", "restore:complete"]);
    });

    it("splits over two directories", async () => {
      source.files.set("other/x", Buffer.from("x"));
      const { id } = await backup();
      await series.restore(id, { main: join(folder, "main"), other: join(folder, "other") });
      expect(await readdir(join(folder, "main"))).toEqual(["version-2"]);
      expect(await readFile(join(folder, "other/other/x"), "utf8")).toBe("x");
    });

    it("keeps what may stay, and refuses anything else untouched", async () => {
      const { id } = await backup();
      await writeFile(join(folder, "kept"), "1");
      await series.restore(id, { main: folder });
      expect(await readdir(folder)).toEqual(["kept", "version-2"]);
      await expect(series.restore(id, { main: folder })).rejects.toSatisfy(coded("ERR_TARGET_NOT_EMPTY"));
      expect(await readdir(folder)).toEqual(["kept", "version-2"]);
    });

    it("refuses targets that are no use, before it makes anything", async () => {
      const { id } = await backup();
      await writeFile(join(folder, "file"), "");
      await symlink(".", join(folder, "self"));
      const cases: [{ main: string; [role: string]: string }, ErrorCode][] = [
        [{ main: join(folder, "file") }, "ERR_TARGET_UNAVAILABLE"],
        [{ main: join(folder, "file/below") }, "ERR_TARGET_UNAVAILABLE"],
        [{ main: join(folder, "x"), odd: join(folder, "y") }, "ERR_CONFIG_INVALID"],
        [{ main: join(folder, "x"), other: join(folder, "x") }, "ERR_CONFIG_INVALID"],
        [{ main: join(folder, "x"), other: folder }, "ERR_TARGET_NOT_EMPTY"],
      ];
      for (const [targets, code] of cases) await expect(series.restore(id, targets)).rejects.toSatisfy(coded(code));
      expect((await readdir(folder)).sort()).toEqual(["file", "self"]);
    });

    it("leaves an existing empty directory empty when it fails, and takes a new one away", async () => {
      const manifest = await backup();
      await rewrite(sink, manifest.archive.key, (bytes) => bytes.subarray(0, bytes.byteLength >> 1));
      await mkdir(join(folder, "existing"));
      await expect(series.restore(manifest.id, { main: join(folder, "existing") })).rejects.toThrow();
      await expect(series.restore(manifest.id, { main: join(folder, "new/er") })).rejects.toThrow();
      expect(await readdir(folder)).toEqual(["existing"]);
      expect(await readdir(join(folder, "existing"))).toEqual([]);
    });

    it("leaves nothing when aborted", async () => {
      const { id } = await backup();
      const abort = new AbortController();
      series.events.on("restore:progress", () => abort.abort());
      const target = join(folder, "new");
      await expect(series.restore(id, { main: target }, { signal: abort.signal })).rejects.toSatisfy(
        coded("ERR_ABORTED"),
      );
      expect(await readdir(folder)).toEqual([]);
    });

    it("takes a target that lies in another one, there already or not", async () => {
      source.files.set("other/x", Buffer.from("x"));
      const { id } = await backup();
      await mkdir(join(folder, "log"));
      await series.restore(id, { main: folder, other: join(folder, "log") });
      expect((await readdir(folder)).sort()).toEqual(["log", "version-2"]);
      await series.restore(id, { main: join(folder, "log/a"), other: join(folder, "log/a/deeper") });
      expect((await readdir(join(folder, "log/a"))).sort()).toEqual(["deeper", "version-2"]);
    });

    it("sees through symbolic links that two targets are one", async () => {
      const { id } = await backup();
      await symlink(folder, join(folder, "self"));
      const targets = { main: join(folder, "x/y"), other: join(folder, "self/x/y") };
      await expect(series.restore(id, targets)).rejects.toSatisfy(coded("ERR_CONFIG_INVALID"));
    });

    it("takes half a path away again when the rest cannot be made", async () => {
      const { id } = await backup();
      const target = join(folder, "new", "x".repeat(300));
      await expect(series.restore(id, { main: target })).rejects.toSatisfy(coded("ERR_TARGET_UNAVAILABLE"));
      expect(await readdir(folder)).toEqual([]);
    });

    it.each<[string, ScriptedSource["restore"]]>([
      [
        "no file",
        async (steps) => {
          for await (const _ of steps);
        },
      ],
      [
        "only the first file",
        async (steps) => {
          for await (const { entries } of steps) {
            for await (const { body } of entries) {
              for await (const _ of body);
              break;
            }
          }
        },
      ],
    ])("fails where the source reads %s: then not all is checked", async (_, restore) => {
      const { id } = await backup();
      series = openSeries({ prefix: "zk", source: { ...source, restore }, sink });
      await expect(series.restore(id, { main: join(folder, "new") })).rejects.toThrow(/did not read.*to its end/);
      expect(await readdir(folder)).toEqual([]);
    });

    it("restores beside the folder of an interrupted restore", async () => {
      const { id } = await backup();
      await mkdir(join(folder, ".zk-backyp-restore-dead/version-2"), { recursive: true });
      await series.restore(id, { main: folder });
      expect((await readdir(folder)).sort()).toEqual([".zk-backyp-restore-dead", "version-2"]);
    });

    it("knows no backup that is not there", async () => {
      await expect(series.restore("latest", { main: folder })).rejects.toSatisfy(coded("ERR_BACKUP_NOT_FOUND"));
    });
  });

  describe("replace", () => {
    /** A source that moves what is there to `old`, and says in `calls` what it was asked for. */
    const replacing = (calls: string[], fail: (call: string) => void = () => {}): Source => {
      const called = async (call: string): Promise<void> => {
        calls.push(call);
        fail(call);
      };
      return {
        ...source,
        async replace({ main }) {
          await called("replace");
          return {
            async prepare(manifest, newest) {
              await called(`prepare ${manifest.id === newest?.id ? "the newest" : newest?.id}`);
            },
            async complete(staged) {
              await called("complete");
              await rename(join(main, "version-2"), join(main, "old"));
              await rename(join(staged.main, "version-2"), join(main, "version-2"));
              return { kept: "old" };
            },
            close: () => called("close"),
          };
        },
      };
    };
    let main: string;
    beforeEach(async () => {
      main = join(folder, "data");
      await mkdir(join(main, "version-2"), { recursive: true });
      await writeFile(join(main, "version-2/snapshot.1"), "old");
    });
    const expectOld = async (): Promise<void> => {
      expect(await readdir(main)).toEqual(["version-2"]);
      expect(await readFile(join(main, "version-2/snapshot.1"), "utf8")).toBe("old");
    };

    it("checks all before the source puts it into place", async () => {
      const { id } = await backup();
      const calls: string[] = [];
      series = openSeries({ prefix: "zk", source: replacing(calls), sink });
      events = recorded(series);
      const dead = join(main, ".zk-backyp-replace-dead");
      await mkdir(dead);
      const { manifest, replaced } = await series.replace(id, { main });
      expect([manifest.id, replaced]).toEqual([id, { kept: "old" }]);
      expect(calls).toEqual(["replace", "prepare the newest", "complete", "close"]);
      expect(events).toEqual(["restore:start", "restore:complete"]);
      expect((await readdir(main)).sort()).toEqual(["old", "version-2"]);
      expect(await readFile(join(main, "version-2/snapshot.1"), "utf8")).toBe(FILES["version-2/snapshot.1"]);
    });

    it("leaves what is there where the backup is no good, or is damaged and that is not allowed", async () => {
      const manifest = await backup();
      source.files.set("z", Buffer.from("rotten"));
      const damaged = await series.backup({ allowDamaged: true });
      await rewrite(sink, manifest.archive.key, (bytes) => bytes.subarray(0, bytes.byteLength >> 1));
      const calls: string[] = [];
      series = openSeries({ prefix: "zk", source: replacing(calls), sink });
      await expect(series.replace(manifest.id, { main })).rejects.toThrow();
      expect(calls).toEqual(["replace", `prepare ${damaged?.id}`, "close"]);
      await expect(series.replace(damaged?.id ?? "", { main })).rejects.toSatisfy(coded("ERR_BACKUP_DAMAGED"));
      await expect(series.replace("zk-20200101T000000000Z", { main })).rejects.toSatisfy(coded("ERR_BACKUP_NOT_FOUND"));
      await expectOld();
      await series.replace(damaged?.id ?? "", { main }, { allowDamaged: true });
      expect((await readdir(main)).sort()).toEqual(["old", "version-2"]);
    });

    it.each(["replace", "prepare the newest", "complete"])(
      "leaves nothing where the source fails in %s",
      async (at) => {
        const { id } = await backup();
        const calls: string[] = [];
        const fail = (call: string): void => {
          if (call === at) throw new BackypError("ERR_TARGET_IN_USE", "it is in use");
        };
        series = openSeries({ prefix: "zk", source: replacing(calls, fail), sink });
        await expect(series.replace(id, { main })).rejects.toSatisfy(coded("ERR_TARGET_IN_USE"));
        expect(calls.at(-1)).toBe(at === "replace" ? "replace" : "close");
        await expectOld();
      },
    );

    it("leaves nothing when aborted", async () => {
      const { id } = await backup();
      const calls: string[] = [];
      series = openSeries({ prefix: "zk", source: replacing(calls), sink });
      const abort = new AbortController();
      series.events.on("restore:progress", () => abort.abort());
      await expect(series.replace(id, { main }, { signal: abort.signal })).rejects.toSatisfy(coded("ERR_ABORTED"));
      expect(calls).toEqual(["replace", "prepare the newest", "close"]);
      await expectOld();
    });

    it("has the source undo what an earlier one has left even if the store knows nothing", async () => {
      const calls: string[] = [];
      series = openSeries({ prefix: "zk", source: replacing(calls), sink });
      await expect(series.replace("latest", { main })).rejects.toSatisfy(coded("ERR_BACKUP_NOT_FOUND"));
      expect(calls).toEqual(["replace", "close"]);
    });

    it("goes on without a newest backup that cannot be read", async () => {
      const { id } = await backup();
      const newest = await backup();
      await rewrite(sink, `zk/manifests/${newest.id}.json`, () => Buffer.from("{"));
      const calls: string[] = [];
      series = openSeries({ prefix: "zk", source: replacing(calls), sink });
      await series.replace(id, { main });
      expect(calls).toEqual(["replace", "prepare undefined", "complete", "close"]);
    });

    it("is refused by a source that cannot, and for targets that are no use", async () => {
      const { id } = await backup();
      await expect(series.replace(id, { main })).rejects.toThrow(/scripted cannot replace data/);
      const calls: string[] = [];
      series = openSeries({ prefix: "zk", source: replacing(calls), sink });
      for (const targets of [
        { main, odd: folder },
        { main, other: main },
      ]) {
        await expect(series.replace(id, targets)).rejects.toSatisfy(coded("ERR_CONFIG_INVALID"));
      }
      expect(calls).toEqual([]);
      await expectOld();
    });
  });
});
