import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  backupId,
  keys,
  type Manifest,
  openCatalog,
  planRetention,
  type Sink,
  serializeManifest,
} from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { measureCli } from "../test/measure-cli.ts";

const COUNT = 100_000;
const FIVE_MINUTES_MS = 300_000;
const PREFIX = "zookeeper-backup";
const NEWEST = Math.floor(Date.now() / FIVE_MINUTES_MS) * FIVE_MINUTES_MS;
const idOf = (index: number): string => backupId(PREFIX, new Date(NEWEST - (COUNT - 1 - index) * FIVE_MINUTES_MS));

/** With the files of a server that has had some leaders: 3 kB. */
function manifestOf(index: number): Manifest {
  const id = idOf(index);
  const time = new Date(NEWEST - (COUNT - 1 - index) * FIVE_MINUTES_MS).toISOString();
  const sha256 = "5e".repeat(32);
  const key = keys.archive(PREFIX, id, ["tar", "gz"]);
  return {
    formatVersion: 1,
    ...{ id, prefix: PREFIX, kind: "full", source: "zookeeper" },
    range: { after: null, upTo: `0x${(0x100000000 + index).toString(16)}` },
    times: { from: time, upTo: time },
    ...{ startedAt: time, finishedAt: time },
    archive: { key, size: 1, sha256, format: "tar", codecs: ["gzip"] },
    entries: Array.from({ length: 12 }, (_, file) => ({ path: `version-2/log.${file}`, size: 67_108_880, sha256 })),
    facts: { mode: "hot", dataDir: "/var/lib/zookeeper", passedOver: ["version-2/.lock"] },
    contents: { snapshot: { file: "snapshot.0", nodes: 1000 }, state: { nodes: 1000, digest: "33579441090" } },
    ...{ proof: null, problems: [], verified: true, tool: { name: "test", version: "1" } },
  };
}

describe(`${COUNT} backups in a directory`, () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "zk-backyp-many-"));
    mkdirSync(join(folder, keys.manifests(PREFIX)), { recursive: true });
    mkdirSync(join(folder, keys.archives(PREFIX)), { recursive: true });
    for (let index = 0; index < COUNT; index += 1) {
      const manifest = manifestOf(index);
      writeFileSync(join(folder, keys.manifest(PREFIX, manifest.id)), serializeManifest(manifest));
      writeFileSync(join(folder, manifest.archive.key), "x");
    }
  });
  afterAll(() => rm(folder, { recursive: true }));

  // The limits leave room for a machine that does other things.
  it.each([
    [["list"], 180, 400, (stdout: string) => expect(stdout.match(/\n/g)).toHaveLength(COUNT + 1)],
    [["list", "--json"], 180, 400, (stdout: string) => expect(JSON.parse(stdout)).toHaveLength(COUNT)],
    [["list", "--latest", "5"], 20, 200, (stdout: string) => expect(stdout.match(/\n/g)).toHaveLength(6)],
    [
      ["prune", "--keep-last", "9", "--daily", "30", "--dry-run", "--json"],
      300,
      800,
      (stdout: string) => expect(JSON.parse(stdout)).toMatchObject({ problems: [], failures: [], dryRun: true }),
    ],
    [["show", "latest"], 20, 200, (stdout: string) => expect(stdout).toContain(idOf(COUNT - 1))],
    [["pin", idOf(7)], 20, 200, (stdout: string) => expect(stdout).toContain(idOf(7))],
  ])("%j takes bounded time and memory", async (args, mostSeconds, mostMB, look) => {
    const { seconds, peakMB, stdout } = await measureCli([...args, "--from", folder]);
    console.log(`${args.join(" ")}: ${seconds} s, ${peakMB} MB`);
    look(stdout);
    expect(seconds).toBeLessThan(mostSeconds);
    expect(peakMB).toBeLessThan(mostMB);
  });

  it("are read once by a process that goes on, and from then on only listed", async () => {
    const counts = { lists: 0, gets: 0 };
    const inner = createFsSink({ path: folder });
    const sink: Sink = {
      ...inner,
      list(prefix, options) {
        counts.lists += 1;
        return inner.list(prefix, options);
      },
      get(key, options) {
        counts.gets += 1;
        return inner.get(key, options);
      },
    };
    const catalog = openCatalog({ sink: shiftedBack(sink), prefix: PREFIX });
    for (const gets of [COUNT, 0]) {
      Object.assign(counts, { lists: 0, gets: 0 });
      const began = performance.now();
      expect(await Array.fromAsync(catalog.summaries())).toHaveLength(COUNT);
      console.log(`a listing with ${gets} GETs: ${Math.round(performance.now() - began)} ms`);
      expect(counts).toEqual({ lists: 1, gets });
    }
  });

  it.each([
    ["rules that keep few", { keepLast: 7, hourly: 48, daily: 30, timeZone: "Europe/Berlin" }, false],
    ["rules that keep all", { within: "10y" }, false],
    ["rules, where no manifest can be read", { keepLast: 7 }, true],
  ])("are planned by %s in a few seconds", (_, rules, isUnreadable) => {
    const backups = Array.from({ length: COUNT }, (__, index) =>
      isUnreadable
        ? { id: idOf(index), error: new Error("damaged") }
        : { id: idOf(index), manifest: manifestOf(index) },
    );
    const began = performance.now();
    expect(planRetention({ backups, pins: [], rules, now: new Date(NEWEST) })).toHaveLength(COUNT);
    expect(performance.now() - began).toBeLessThan(20_000);
  });
});

/** As if all were stored long ago: what was stored within the last minute is not remembered. */
function shiftedBack(sink: Sink): Sink {
  return {
    ...sink,
    async *list(prefix, options) {
      for await (const info of sink.list(prefix, options)) yield { ...info, modifiedAt: new Date(0) };
    },
  };
}
