import assert from "node:assert/strict";
import fc from "fast-check";
import { expect, it } from "vitest";
import { timeOfBackupId } from "./backup-id.ts";
import { BackypError, isBackypError } from "./errors.ts";
import { intervalSchedule } from "./interval-schedule.ts";
import { type Clock, type Scheduler, startScheduler } from "./scheduler.ts";
import { openSeries } from "./series.ts";
import type { Sink } from "./sink.ts";
import { memorySink, type SimulatedClock, scriptedSource, simulatedClock } from "./testing/index.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const SLOT_MS = 20 * MINUTE_MS;
const { signal: always } = new AbortController();

/** What one daemon does, over and over. All in ms. */
interface Habits {
  /** How wrong its clock is. */
  readonly skewMs: number;
  /** How old its view of the sink is. */
  readonly staleMs: readonly number[];
  /** How long it is stopped before it captures, stores an archive, is asked whether it may publish, stores a manifest. */
  readonly pauseMs: readonly number[];
  /** What becomes of its runs when it comes to publishing. */
  readonly mayPublish: readonly boolean[];
}

const pauses = fc.oneof({ weight: 3, arbitrary: fc.nat(3_000) }, { weight: 1, arbitrary: fc.nat(3 * SLOT_MS) });
const habits: fc.Arbitrary<Habits> = fc.record({
  skewMs: fc.oneof(fc.constant(0), fc.integer({ min: -5_000, max: 5_000 })),
  staleMs: fc.array(fc.constantFrom(0, 0, SLOT_MS, 3 * SLOT_MS), { minLength: 1, maxLength: 5 }),
  pauseMs: fc.array(pauses, { minLength: 1, maxLength: 7 }),
  mayPublish: fc.array(fc.constantFrom(true, true, true, false), { minLength: 1, maxLength: 4 }),
});

function over<Item>(items: readonly Item[]): () => Item {
  let index = 0;
  return () => {
    const item = items[index % items.length] as Item;
    index += 1;
    return item;
  };
}

interface Store {
  readonly sink: Sink;
  /** Of each manifest's key, how often one was stored. */
  readonly manifests: Map<string, number>;
  /** How many runs were told that another one has the slot. */
  lost: number;
  /** Ids of what runs were told that they have stored. */
  readonly published: string[];
  /** The sink as one sees it that rests before its puts; where it `decides` not, after it has looked. */
  seenBy(rest: () => Promise<void>): Sink;
}

/** @param decides whether it finds out in one step that a key is taken, or looks, and stores later */
function openStore(decides: boolean): Store {
  const sink = memorySink();
  const manifests = new Map<string, number>();
  const seenBy: Store["seenBy"] = (rest) => ({
    ...sink,
    async put(key, body, options) {
      if (!decides && options.ifAbsent === true) {
        for await (const info of sink.list(key, options)) {
          if (info.key === key) throw new BackypError("ERR_OBJECT_EXISTS", "taken");
        }
      }
      await rest();
      const info = await sink.put(key, body, { ...options, ifAbsent: decides && options.ifAbsent === true });
      if (key.includes("/manifests/")) manifests.set(key, (manifests.get(key) ?? 0) + 1);
      return info;
    },
  });
  return { sink, manifests, lost: 0, published: [], seenBy };
}

/** One daemon. It sleeps by the common clock, also where it is stopped in the middle of something. */
function daemon(clock: SimulatedClock, store: Store, name: string, habit: Habits): Scheduler {
  const [stale, pause, mayPublish] = [over(habit.staleMs), over(habit.pauseMs), over(habit.mayPublish)];
  const rest = (): Promise<void> => clock.sleep(pause(), always);
  const ownClock: Clock = {
    now: () => new Date(clock.now().getTime() + habit.skewMs),
    sleep: (ms, signal) => clock.sleep(ms, signal),
  };
  const source = scriptedSource({ "version-2/log.1": `what ${name} has`.repeat(100) });
  const series = openSeries({ prefix: "zk", source, sink: store.seenBy(rest), codecs: [], clock: ownClock.now });
  return startScheduler({
    schedule: intervalSchedule(SLOT_MS),
    firstRun: "now",
    clock: ownClock,
    async newest(now) {
      const seen = now.getTime() - stale();
      const times = (await series.catalog.ids()).map((id) => timeOfBackupId(id) ?? Number.NaN);
      const newest = times.findLast((time) => time <= seen);
      return newest === undefined ? null : new Date(newest);
    },
    async run({ slot }, signal) {
      await rest();
      try {
        const manifest = await series.backup({
          slot,
          signal,
          async mayPublish() {
            await rest();
            if (!mayPublish()) throw new BackypError("ERR_NOT_ELECTED", "another one is");
          },
        });
        assert.equal(timeOfBackupId(manifest?.id ?? ""), slot.getTime());
        store.published.push(manifest?.id ?? "");
        return "done";
      } catch (error) {
        if (isBackypError(error, "ERR_SLOT_TAKEN")) {
          store.lost += 1;
          return "done";
        }
        if (isBackypError(error, "ERR_NOT_ELECTED")) return "later";
        throw error;
      }
    },
    onProblem: (error) => assert.fail(error),
  });
}

/** Has several daemons back up into one store for some hours. */
async function live(all: readonly Habits[], decides: boolean): Promise<Store> {
  const store = openStore(decides);
  // Each of them is always asleep somewhere, or about to be.
  let alive = all.length;
  const clock = simulatedClock(new Date("2026-11-22T12:00:10Z"), async () => {
    while (clock.sleepers() < alive) await new Promise((resolve) => setImmediate(resolve));
  });
  const daemons = all.map((habit, index) => daemon(clock, store, `node ${index}`, habit));
  await clock.pass(4 * HOUR_MS);
  // Whatever is under way comes to its end.
  const closed = Promise.all(
    daemons.map(async (one) => {
      await one.close();
      alive -= 1;
    }),
  );
  for (let left = 200; left > 0 && alive > 0; left -= 1) {
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.race([clock.pass(SLOT_MS), closed]);
  }
  await closed;
  return store;
}

it.each([
  ["decides races", true],
  ["does its best", false],
])(
  "several daemons with old views, pauses and wrong clocks never store two backups for a slot in a store that %s",
  async (_, decides) => {
    let backups = 0;
    let races = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(habits, { minLength: 2, maxLength: 3 }), async (all) => {
        const { sink, manifests, published, lost } = await live(all, decides);
        const series = openSeries({ prefix: "zk", source: scriptedSource({}), sink });
        const ids = await series.catalog.ids();
        assert.deepEqual(new Set(published), new Set(ids));
        if (decides) {
          assert.equal(new Set(published).size, published.length, "two runs were told that theirs is the backup");
          for (const [key, times] of manifests) assert.equal(times, 1, `${key} was stored again`);
        }
        const archives = await Array.fromAsync(sink.list("zk/archives/", { signal: always }), ({ key }) => key);
        const named: string[] = [];
        for (const id of ids) named.push((await series.verify(id)).manifest.archive.key);
        // A run that lost or was not elected takes its archive away, and nobody else's.
        for (const key of named) assert.ok(archives.includes(key));
        if (decides) assert.deepEqual(archives, named.toSorted());
        backups += ids.length;
        races += lost;
      }),
      { numRuns: 40, interruptAfterTimeLimit: 60_000 },
    );
    expect(backups).toBeGreaterThan(40 * 5);
    expect(races).toBeGreaterThan(40 * 3);
  },
  120_000,
);
