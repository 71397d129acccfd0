import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cronSchedule } from "./cron-schedule.ts";
import { BackypError } from "./errors.ts";
import { intervalSchedule } from "./interval-schedule.ts";
import type { Schedule } from "./schedule.ts";
import { type PlannedRun, type Scheduler, startScheduler } from "./scheduler.ts";
import { simulatedClock } from "./testing/index.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** What a look may be late, and a little. */
const LOOK_MS = 31 * SECOND_MS;

/** Middles of weeks in which clocks are changed. */
const WEEKS = [
  ["Europe/Berlin", "2026-03-29T00:00:00Z"],
  ["Europe/Berlin", "2026-10-25T00:00:00Z"],
  ["America/New_York", "2026-03-08T06:00:00Z"],
  ["America/New_York", "2026-11-01T06:00:00Z"],
  ["Australia/Lord_Howe", "2026-04-04T15:00:00Z"],
  ["Australia/Lord_Howe", "2026-10-03T15:00:00Z"],
  ["Asia/Kolkata", "2026-03-29T00:00:00Z"],
  ["UTC", "2026-12-31T23:59:59Z"],
] as const;
const EXPRESSIONS = ["30 2 * * *", "30 1,2 * * *", "*/30 * * * *", "15 2 * * SUN"];

async function microtasks(): Promise<void> {
  for (let turn = 0; turn < 16; turn += 1) await null;
}

describe.each(WEEKS)("eight days in %s around %s", (timeZone, middle) => {
  it.each(EXPRESSIONS)("of the schedule %s have a run at each slot's very second, and no other", async (expression) => {
    const schedule = cronSchedule(expression, timeZone);
    const start = new Date(Date.parse(middle) - 4 * DAY_MS + 1);
    const clock = simulatedClock(start, microtasks);
    const ran: number[] = [];
    let newest = schedule.last(start, null);
    const scheduler = startScheduler({
      schedule,
      firstRun: "now",
      clock,
      newest: async () => newest,
      async run({ slot, at, trigger }) {
        expect([slot, at, trigger]).toEqual([clock.now(), clock.now(), "schedule"]);
        ran.push(slot.getTime());
        newest = slot;
        return "done";
      },
    });
    await clock.pass(8 * DAY_MS);
    await scheduler.close();
    const slots: number[] = [];
    for (let at = schedule.next(start, null); at <= clock.now(); at = schedule.next(at, null)) slots.push(at.getTime());
    expect(ran).toEqual(slots);
  });
});

type Outcome = "done" | "skipped" | "taken" | "failed" | "rejected" | "later";
type Event =
  | { readonly what: "jump"; readonly byMs: number }
  | { readonly what: "restart"; readonly downMs: number }
  | { readonly what: "outage" | "forbidden"; readonly forMs: number }
  | { readonly what: "manual" }
  | { readonly what: "wake" };

const someEvent: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ what: fc.constant("jump" as const), byMs: fc.integer({ min: -3 * HOUR_MS, max: 3 * HOUR_MS }) }),
  fc.record({ what: fc.constant("jump" as const), byMs: fc.integer({ min: -4 * DAY_MS, max: 4 * DAY_MS }) }),
  fc.record({ what: fc.constant("restart" as const), downMs: fc.oneof(fc.nat(MINUTE_MS), fc.nat(2 * DAY_MS)) }),
  fc.record({ what: fc.constantFrom("outage" as const, "forbidden" as const), forMs: fc.nat(10 * HOUR_MS) }),
  fc.constant({ what: "manual" as const }),
  fc.constant({ what: "wake" as const }),
);

const someRun = fc.record({
  outcome: fc.oneof(
    { weight: 6, arbitrary: fc.constant<Outcome>("done") },
    { weight: 4, arbitrary: fc.constantFrom<Outcome>("skipped", "taken", "failed", "rejected", "later") },
  ),
  durationMs: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    { weight: 3, arbitrary: fc.nat(20 * MINUTE_MS) },
    { weight: 1, arbitrary: fc.nat(40 * HOUR_MS) },
  ),
});

const someSchedule: fc.Arbitrary<{ readonly schedule: Schedule; readonly middle: string }> = fc
  .constantFrom(...WEEKS)
  .chain(([timeZone, middle]) =>
    fc
      .oneof(
        fc.constantFrom(...EXPRESSIONS).map((expression) => cronSchedule(expression, timeZone)),
        fc.constantFrom(10 * MINUTE_MS, HOUR_MS, 7 * HOUR_MS, DAY_MS).map(intervalSchedule),
      )
      .map((schedule) => ({ schedule, middle })),
  );

interface Story {
  readonly schedule: Schedule;
  readonly middle: string;
  readonly firstRun: "now" | "scheduled";
  readonly hasBackup: boolean;
  readonly events: readonly { readonly afterMs: number; readonly event: Event }[];
  readonly runs: readonly { readonly outcome: Outcome; readonly durationMs: number }[];
}

const stories: fc.Arbitrary<Story> = fc
  .record({
    place: someSchedule,
    firstRun: fc.constantFrom("now" as const, "scheduled" as const),
    hasBackup: fc.boolean(),
    events: fc.array(fc.record({ afterMs: fc.nat(20 * HOUR_MS), event: someEvent }), { maxLength: 16 }),
    // Over and over.
    runs: fc.array(someRun, { minLength: 1, maxLength: 12 }),
  })
  .map(({ place, ...rest }) => ({ ...place, ...rest }));

/** Lives through a story of eight days or more, and throws where a promise is not kept. Resolves to what it did. */
async function live(story: Story): Promise<{ readonly runs: number; readonly checks: number }> {
  const { schedule } = story;
  const clock = simulatedClock(new Date(Date.parse(story.middle) - 4 * DAY_MS), microtasks);
  const nowMs = (): number => clock.now().getTime();
  const stored = new Set<number>(story.hasBackup ? [nowMs() - 9 * DAY_MS] : []);
  const newestAt = (now: number): number | null => {
    const times = [...stored].filter((time) => time <= now);
    return times.length === 0 ? null : Math.max(...times);
  };
  const lastSlot = (now: number): number => {
    const newest = newestAt(now);
    return schedule.last(new Date(now), newest === null ? null : new Date(newest))?.getTime() ?? Number.NaN;
  };

  let scheduler: Scheduler | null = null;
  let running = 0;
  let runs = 0;
  let asks = 0;
  let checks = 0;
  let outageUntil = -1;
  let forbiddenUntil = -1;
  let jumpedAt = -1;
  let broken: Error | null = null;
  // Of the life of this process.
  let startedAt = 0;
  let beganAt = 0;
  let over = new Set<number>();
  let last: { slot: number; attempt: number; outcome: Outcome; endedAt: number } | null = null;

  function start(): void {
    startedAt = clock.elapsedMs();
    beganAt = nowMs();
    over = new Set();
    last = null;
    scheduler = startScheduler({
      schedule,
      firstRun: story.firstRun,
      clock,
      mayRun: () => clock.elapsedMs() >= forbiddenUntil,
      async newest(now) {
        asks += 1;
        assert.ok(clock.elapsedMs() >= forbiddenUntil, "the sink was asked by one that may not run");
        if (clock.elapsedMs() < outageUntil) throw new BackypError("ERR_SINK_UNAVAILABLE", "no answer");
        const newest = newestAt(now.getTime());
        return newest === null ? null : new Date(newest);
      },
      run: (planned, signal) => act(planned, signal).catch(noteBroken),
    });

    async function act(planned: PlannedRun, signal: AbortSignal): Promise<"done" | "failed" | "later"> {
      const slot = planned.slot.getTime();
      const { outcome, durationMs } = story.runs[runs % story.runs.length] ?? { outcome: "done", durationMs: 0 };
      runs += 1;
      running += 1;
      assert.equal(running, 1, "two runs at once");
      assert.ok(!stored.has(slot), "a slot that has its backup");
      assert.ok(!over.has(slot), "a slot that was over");
      assert.equal(slot, lastSlot(nowMs()), "another one than the last slot");
      assert.ok(clock.elapsedMs() >= Math.max(outageUntil, forbiddenUntil), "a run that could not be known to be due");
      if (last?.slot === slot && last.outcome !== "later") {
        assert.equal(planned.attempt, last.attempt + 1);
        assert.equal(planned.trigger, "retry");
        const backoffMs = Math.min(HOUR_MS, MINUTE_MS * 2 ** (last.attempt - 1));
        if (jumpedAt < last.endedAt) assert.ok(clock.elapsedMs() - last.endedAt >= backoffMs, "a hasty attempt");
      }
      try {
        if (durationMs > 0) await clock.sleep(durationMs, signal);
        if (outcome === "taken") stored.add(slot);
        if (outcome === "done") {
          assert.ok(!stored.has(slot), "two backups of a slot");
          stored.add(slot);
        }
        if (outcome === "done" || outcome === "skipped" || outcome === "taken") over.add(slot);
        last = { slot, attempt: planned.attempt, outcome, endedAt: clock.elapsedMs() };
        if (outcome === "rejected") throw new Error("it failed");
        return outcome === "skipped" || outcome === "taken" ? "done" : outcome;
      } finally {
        running -= 1;
      }
    }
  }

  /** A scheduler takes what a run throws for a failure of that. */
  function noteBroken(error: unknown): never {
    if (error instanceof assert.AssertionError) broken ??= error;
    throw error;
  }

  /** Whether the last slot that a look must have seen has its backup, is over, or is tried again soon. */
  function check(): void {
    const elapsed = clock.elapsedMs();
    const quietAfter = Math.max(startedAt, jumpedAt, forbiddenUntil, outageUntil + 5 * MINUTE_MS, last?.endedAt ?? 0);
    if (scheduler === null || running > 0 || elapsed <= quietAfter + LOOK_MS) return;
    checks += 1;
    const now = nowMs();
    beganAt = Math.min(beganAt, now);
    const slot = lastSlot(now - LOOK_MS);
    if (newestAt(now) === null && story.firstRun === "scheduled" && slot <= beganAt) return;
    const isCovered = [...stored, ...over].some((time) => time >= slot && time <= now);
    const triedAgain = Math.max(last?.endedAt ?? 0, jumpedAt + LOOK_MS) + HOUR_MS + LOOK_MS;
    const isPending =
      last?.slot === slot && (last.outcome === "failed" || last.outcome === "rejected") && elapsed <= triedAgain;
    assert.ok(
      isCovered || isPending,
      `the slot ${new Date(slot).toISOString()} was lost at ${clock.now().toISOString()}`,
    );
  }

  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 7 * MINUTE_MS) {
      await clock.pass(Math.min(left, 7 * MINUTE_MS));
      if (broken !== null) throw broken;
      check();
    }
  }

  start();
  for (const { afterMs, event } of story.events) {
    await pass(afterMs);
    switch (event.what) {
      case "jump":
        clock.set(new Date(nowMs() + event.byMs));
        jumpedAt = clock.elapsedMs();
        break;
      case "restart":
        await (scheduler as Scheduler | null)?.close();
        if (broken !== null) throw broken;
        assert.equal(running, 0, "a run goes on after the end");
        scheduler = null;
        await pass(event.downMs);
        start();
        break;
      case "outage":
        outageUntil = clock.elapsedMs() + event.forMs;
        break;
      case "forbidden":
        forbiddenUntil = clock.elapsedMs() + event.forMs;
        break;
      case "manual":
        // Not between the sink's answer and what comes of it: no scheduler can know of that.
        await microtasks();
        stored.add(nowMs());
        break;
      case "wake":
        (scheduler as Scheduler | null)?.wake();
    }
  }
  await pass(Math.max(DAY_MS, 8 * DAY_MS - clock.elapsedMs()));
  await (scheduler as Scheduler | null)?.close();
  // A few for each thing that happened, and not one for each look.
  const outages = story.events.map(({ event }) => (event.what === "outage" ? event.forMs : 0));
  const most = 3 * (runs + 2 * story.events.length + 2) + outages.reduce((sum, ms) => sum + ms / (4 * MINUTE_MS), 0);
  assert.ok(asks <= most, `the sink was asked ${asks} times, for ${runs} runs`);
  return { runs, checks };
}

it("loses no slot and doubles none, whatever happens to the clock, the process, the sink and the runs", async () => {
  let runs = 0;
  let checks = 0;
  await fc.assert(
    fc.asyncProperty(stories, async (story) => {
      const did = await live(story);
      runs += did.runs;
      checks += did.checks;
    }),
    { numRuns: 30, interruptAfterTimeLimit: 60_000 },
  );
  // Else it would have proved nothing.
  expect(runs).toBeGreaterThan(200);
  expect(checks).toBeGreaterThan(8_000);
}, 120_000);
