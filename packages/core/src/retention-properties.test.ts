import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backupId, keys, timeOfBackupId } from "./backup-id.ts";
import { oneChunk } from "./bytes.ts";
import { BackypError } from "./errors.ts";
import { type Manifest, serializeManifest } from "./manifest.ts";
import { isInForce, type Pin } from "./pins.ts";
import { neededIn, planRetention, type RetentionBackup } from "./retention.ts";
import type { RetentionRules } from "./retention-rules.ts";
import { openSeries } from "./series.ts";
import type { Sink } from "./sink.ts";
import { type Fault, memorySink, scriptedSource, withFaults } from "./testing/index.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const { signal } = new AbortController();

/** `lost`: its manifest is there, but not its archive. */
type Health = "good" | "damaged" | "unreadable" | "lost";

interface Taken {
  readonly id: string;
  readonly health: Health;
  /** Position after which it begins; null for a full one. */
  readonly after: string | null;
  readonly upTo: string;
}

interface History {
  readonly taken: readonly Taken[];
  readonly pins: readonly Pin[];
  readonly rules: RetentionRules;
  readonly now: Date;
}

/** Times around leap days, changes of the clock and ends of years, and any others. */
const someNow = fc
  .oneof(
    fc.constantFrom("2027-01-01T00:00:00Z", "2028-02-29T23:59:59Z", "2028-03-01T00:00:00Z", "2028-03-26T01:00:00Z"),
    fc.constantFrom("2029-10-28T00:30:00Z", "2029-10-28T01:30:00Z", "2030-12-31T23:59:59Z"),
    fc.integer({ min: Date.parse("2027-01-01T00:00Z"), max: Date.parse("2035-01-01T00:00Z") }),
  )
  .map((time) => new Date(time));

/** How long before now a backup began; a few are ahead of it, since somebody set a clock. */
const someAge = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 40 }).map((days) => days * DAY_MS) },
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 100 * HOUR_MS }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 1500 }).map((days) => days * DAY_MS) },
  { weight: 1, arbitrary: fc.integer({ min: -3 * DAY_MS, max: 0 }) },
);

const someHealth = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Health>("good") },
  { weight: 2, arbitrary: fc.constantFrom<Health>("damaged", "unreadable", "lost") },
);

const count = fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined });
const someRules: fc.Arbitrary<RetentionRules> = fc
  .record({
    keepLast: count,
    within: fc.option(fc.constantFrom("1h", "36h", "14d", "2w", "1m", "1y6m"), { nil: undefined }),
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
    timeZone: fc.constantFrom(undefined, "UTC", "Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"),
  })
  .filter(({ timeZone: _, ...rules }) => Object.values(rules).some((rule) => rule !== undefined));

const histories: fc.Arbitrary<History> = fc
  .record({
    now: someNow,
    rules: someRules,
    runs: fc.array(fc.record({ ageMs: someAge, health: someHealth, isFull: fc.boolean(), growth: fc.nat(3) }), {
      maxLength: 14,
    }),
    pinned: fc.array(fc.record({ index: fc.nat(20), forMs: fc.constantFrom(null, -DAY_MS, 0, DAY_MS) }), {
      maxLength: 3,
    }),
  })
  .map(({ now, rules, runs, pinned }) => {
    const byId = new Map(runs.map((run) => [backupId("zk", new Date(now.getTime() - run.ageMs)), run]));
    let position = 0xfd;
    const taken = [...byId]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, { health, isFull, growth }]): Taken => {
        const after = isFull ? null : `0x${position.toString(16)}`;
        position += growth;
        return { id, health, after, upTo: `0x${position.toString(16)}` };
      });
    const pins = pinned.map(({ index, forMs }): Pin => {
      const until = forMs === null ? null : new Date(now.getTime() + forMs).toISOString();
      const id = taken[index]?.id ?? "zk-20200101T000000000Z";
      return { formatVersion: 1, id, pinnedAt: now.toISOString(), until, reason: null };
    });
    return { now, rules, taken, pins: [...new Map(pins.map((pin) => [pin.id, pin])).values()] };
  });

function toBackup({ id, health, after, upTo }: Taken): RetentionBackup {
  if (health === "unreadable") return { id, error: new BackypError("ERR_MANIFEST_INVALID", "damaged") };
  const kind = after === null ? "full" : "incremental";
  return { id, manifest: { kind, range: { after, upTo }, verified: health === "good" } };
}

function keptOf({ taken, pins, rules, now }: History): Set<string> {
  const plan = planRetention({ backups: taken.map(toBackup), pins, rules, now });
  assert.deepEqual(
    plan.map(({ id }) => id),
    taken.map(({ id }) => id),
  );
  for (const { reasons } of plan) assert.notEqual(reasons.length, 0);
  return new Set(plan.flatMap(({ id, keep }) => (keep ? [id] : [])));
}

/** What is kept whatever the rules are, and each thing that a kept one needs. */
function expectPromises(history: History, kept: ReadonlySet<string>): void {
  const { taken, pins, now } = history;
  const isPast = ({ id }: Taken): boolean => (timeOfBackupId(id) ?? 0) <= now.getTime();
  const lastVerified = taken.findLast((backup) => backup.health === "good" && isPast(backup));
  const always = [
    ...(lastVerified === undefined ? [] : [lastVerified]),
    ...taken.filter((backup) => backup.health === "unreadable" || !isPast(backup)),
    ...taken.filter(({ id }) => pins.some((pin) => pin.id === id && isInForce(pin, now))),
  ];
  for (const { id } of always) assert.ok(kept.has(id), `${id} is always kept`);
  const neededTo = neededIn(taken.map(toBackup));
  for (const id of kept) for (const needed of neededTo(id)) assert.ok(kept.has(needed), `${id} needs ${needed}`);
}

it("plans for any history keep what is promised, and the same once the rest is gone", () => {
  fc.assert(
    fc.property(histories, fc.nat(), fc.infiniteStream(fc.boolean()), (history, pick, isLeft) => {
      const kept = keptOf(history);
      expectPromises(history, kept);
      // One rule by itself keeps no more than all of them together.
      const { timeZone, ...all } = history.rules;
      const given = Object.entries(all).filter(([, value]) => value !== undefined);
      const alone = Object.fromEntries(given.slice(pick % given.length, (pick % given.length) + 1));
      for (const id of keptOf({ ...history, rules: { ...alone, timeZone } })) assert.ok(kept.has(id), id);
      // Also where only some of the others are gone, as after a crash.
      for (const stays of [() => false, () => isLeft.next().value]) {
        const left = history.taken.filter(({ id }) => kept.has(id) || stays());
        assert.deepEqual(keptOf({ ...history, taken: left }), kept);
      }
    }),
    { numRuns: 8_000 },
  );
}, 120_000);

describe("a prune of any history", () => {
  /** As a series of full backups, since others are not written yet. */
  async function stored({ taken, pins }: History): Promise<Sink> {
    const sink = memorySink();
    const put = (key: string, text: string) => sink.put(key, oneChunk(Buffer.from(text)), { signal });
    for (const { id, health, upTo } of taken) {
      const key = keys.archive("zk", id, ["tar"]);
      const manifest: Manifest = {
        formatVersion: 1,
        ...{ id, prefix: "zk", kind: "full", source: "scripted", range: { after: null, upTo }, times: null },
        startedAt: new Date(timeOfBackupId(id) ?? 0).toISOString(),
        finishedAt: new Date(timeOfBackupId(id) ?? 0).toISOString(),
        archive: { key, size: 7, sha256: "0".repeat(64), format: "tar", codecs: [] },
        ...{ entries: [], facts: {}, contents: {}, proof: null, problems: [], verified: health !== "damaged" },
        tool: { name: "test", version: "1" },
      };
      if (health !== "lost") await put(key, "archive");
      await put(keys.manifest("zk", id), health === "unreadable" ? "{" : serializeManifest(manifest));
    }
    for (const pin of pins) await put(keys.pin("zk", pin.id), JSON.stringify(pin));
    return sink;
  }

  async function keysIn(sink: Sink): Promise<string[]> {
    return (await Array.fromAsync(sink.list("", { signal }))).map(({ key }) => key);
  }

  const failure = new BackypError("ERR_SINK_UNAVAILABLE", "injected");
  const someFaults = fc.oneof(
    // The process dies at a delete, which may have been done or not.
    fc
      .tuple(fc.nat(12), fc.boolean())
      .map(([at, isDone]): Fault[] => [
        ...Array<Fault>(at).fill(null),
        isDone ? { error: failure, stored: true } : failure,
        ...Array<Fault>(100).fill(failure),
      ]),
    // Some deletes fail, or their answers are lost.
    fc.array(fc.constantFrom<Fault>(null, failure, { error: failure, stored: true }), { maxLength: 20 }),
  );

  it("ends as planned, also after failures and crashes between the deletes and a second try", async () => {
    await fc.assert(
      fc.asyncProperty(histories, someFaults, async (history, faults) => {
        const full = { ...history, taken: history.taken.map((backup) => ({ ...backup, after: null })) };
        const { taken, pins, rules, now } = full;
        const kept = keptOf(full);
        const store = await stored(full);
        const open = (sink: Sink) => openSeries({ prefix: "zk", source: scriptedSource({}), sink, clock: () => now });

        const first = await open(withFaults(store, { delete: faults })).prune({ rules });
        const between = new Set(await keysIn(store));
        for (const { id, health } of taken) {
          const isThere = between.has(keys.manifest("zk", id));
          if (kept.has(id)) expect(isThere, `${id} is there`).toBe(true);
          if (isThere && health !== "lost") expect(between).toContain(keys.archive("zk", id, ["tar"]));
        }
        for (const id of first.deleted) expect(between).not.toContain(keys.manifest("zk", id));

        const second = await open(store).prune({ rules });
        expect(second.failures).toEqual([]);
        const hasGood = taken.some(({ health }) => health === "good");
        // What lost its manifest stays for a day, and for as long as there is nothing good.
        const mayStay = (id: string): boolean => !hasGood || (timeOfBackupId(id) ?? 0) >= now.getTime() - DAY_MS;
        const after = await keysIn(store);
        expect(after.filter((key) => key.startsWith("zk/manifests/"))).toEqual(
          [...kept].map((id) => keys.manifest("zk", id)),
        );
        const archived = taken.filter(({ health }) => health !== "lost").map(({ id }) => id);
        for (const id of archived) {
          const isThere = after.includes(keys.archive("zk", id, ["tar"]));
          if (kept.has(id)) expect(isThere, `the archive of ${id}`).toBe(true);
          else if (isThere) expect(mayStay(id), `the archive of ${id} may stay`).toBe(true);
        }
        for (const { id } of pins) {
          const isThere = after.includes(keys.pin("zk", id));
          if (kept.has(id)) expect(isThere, `the pin of ${id}`).toBe(true);
          else if (isThere) expect(hasGood).toBe(false);
        }
        const third = await open(store).prune({ rules });
        expect(third).toMatchObject({ deleted: [], swept: [], failures: [] });
      }),
      { numRuns: 2_000 },
    );
  }, 120_000);
});
