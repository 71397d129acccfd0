import { describe, expect, it } from "vitest";
import { cronSchedule } from "./cron-schedule.ts";
import { BackypError, isBackypError } from "./errors.ts";
import { intervalSchedule } from "./interval-schedule.ts";
import {
  type PlannedRun,
  planRun,
  type Scheduler,
  type SchedulerOptions,
  type Situation,
  startScheduler,
} from "./scheduler.ts";
import { simulatedClock } from "./testing/index.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** All that is done between two sleeps here, with much to spare. */
async function microtasks(): Promise<void> {
  for (let turn = 0; turn < 16; turn += 1) await null;
}

type Outcome = "done" | "failed" | "later" | "skipped" | Error;

describe("the plan", () => {
  const at = (text: string): number => Date.parse(`2026-11-${text}Z`);
  const daily = cronSchedule("30 2 * * *");
  const everyDay = intervalSchedule(DAY_MS);
  const NEVER = Number.NEGATIVE_INFINITY;
  const situation = (more: Partial<Situation>): Situation => ({
    now: at("22T12:00"),
    newest: null,
    over: [],
    notBefore: NEVER,
    delayMs: 0,
    retry: null,
    ...more,
  });
  const dated = (day: string): number => Date.parse(`2026-${day}Z`);

  it.each([
    ["of the last slot where there is no backup at all", daily, {}, "11-22T02:30", "11-22T02:30", "first", 1],
    [
      "of the next one where the first has to wait",
      daily,
      { notBefore: at("22T12:00") },
      "11-23T02:30",
      "11-23T02:30",
      "first",
      1,
    ],
    [
      "of the next one where the first has to wait, and the wait began at the last",
      daily,
      { notBefore: at("22T02:30"), now: at("22T02:30") },
      "11-23T02:30",
      "11-23T02:30",
      "first",
      1,
    ],
    [
      "of one at this moment, though the first has to wait",
      daily,
      { notBefore: at("22T01:00"), now: at("22T02:30") },
      "11-22T02:30",
      "11-22T02:30",
      "first",
      1,
    ],
    [
      "of the next one where the last has its backup",
      daily,
      { newest: at("22T02:30") },
      "11-23T02:30",
      "11-23T02:30",
      "schedule",
      1,
    ],
    [
      "of the next one where there is a later backup",
      daily,
      { newest: at("22T11:00") },
      "11-23T02:30",
      "11-23T02:30",
      "schedule",
      1,
    ],
    ["of the last one that was missed", daily, { newest: at("12T02:30") }, "11-22T02:30", "11-22T02:30", "catch-up", 1],
    [
      "of one that is due now",
      daily,
      { newest: at("21T02:30"), now: at("22T02:30:30") },
      "11-22T02:30",
      "11-22T02:30",
      "schedule",
      1,
    ],
    [
      "of one that is late by more than a look",
      daily,
      { newest: at("21T02:30"), now: at("22T02:30:31") },
      "11-22T02:30",
      "11-22T02:30",
      "catch-up",
      1,
    ],
    [
      "of the last one where the newest backup is of the future",
      daily,
      { newest: at("22T12:01") },
      "11-22T02:30",
      "11-22T02:30",
      "first",
      1,
    ],
    [
      "of the next one where the last is over",
      daily,
      { newest: at("12T02:30"), over: [at("22T02:30")] },
      "11-23T02:30",
      "11-23T02:30",
      "schedule",
      1,
    ],
    [
      "of the last one where only an earlier and a future one are over",
      daily,
      { newest: at("12T02:30"), over: [at("21T02:30"), at("25T02:30")] },
      "11-22T02:30",
      "11-22T02:30",
      "catch-up",
      1,
    ],
    [
      "of the next one where one was over before the clock was set back",
      daily,
      { newest: at("12T02:30"), over: [at("22T02:30"), at("25T02:30")] },
      "11-23T02:30",
      "11-23T02:30",
      "schedule",
      1,
    ],
    [
      "of a failed one, when its time has come",
      daily,
      { newest: at("21T02:30"), retry: { slot: at("22T02:30"), attempt: 3, at: at("22T12:03") } },
      "11-22T02:30",
      "11-22T12:03",
      "retry",
      3,
    ],
    [
      "of none that failed where a later one is due",
      daily,
      { newest: at("20T02:30"), retry: { slot: at("21T02:30"), attempt: 9, at: at("22T12:03") } },
      "11-22T02:30",
      "11-22T02:30",
      "catch-up",
      1,
    ],
    [
      "of none that failed where there is a backup now",
      daily,
      { newest: at("22T02:31"), retry: { slot: at("22T02:30"), attempt: 9, at: at("22T12:03") } },
      "11-23T02:30",
      "11-23T02:30",
      "schedule",
      1,
    ],
    [
      "of the next one where that comes before the next attempt",
      daily,
      { newest: at("21T02:30"), now: at("23T02:00"), retry: { slot: at("22T02:30"), attempt: 9, at: at("23T03:00") } },
      "11-23T02:30",
      "11-23T02:30",
      "schedule",
      1,
    ],
    [
      "later than the slot, by the jitter",
      daily,
      { newest: at("21T02:30"), now: at("22T02:31"), delayMs: 5 * MINUTE_MS },
      "11-22T02:30",
      "11-22T02:35",
      "schedule",
      1,
    ],
    [
      "half way to the next slot at the latest",
      daily,
      { newest: at("22T02:30"), delayMs: 5 * DAY_MS },
      "11-23T02:30",
      "11-23T14:30",
      "schedule",
      1,
    ],
    [
      "an interval after the newest backup",
      everyDay,
      { newest: at("22T11:00") },
      "11-23T11:00",
      "11-23T11:00",
      "schedule",
      1,
    ],
    [
      "an interval after the newest backup, that many times",
      everyDay,
      { newest: at("12T13:00") },
      "11-21T13:00",
      "11-21T13:00",
      "catch-up",
      1,
    ],
  ] as const)("is %s", (_, schedule, more, slot, due, trigger, attempt) => {
    expect(planRun(schedule, situation(more))).toEqual({
      slot: new Date(dated(slot)),
      at: new Date(dated(due)),
      trigger,
      attempt,
    });
  });
});

describe("a scheduler", () => {
  /** One daemon with a store, of which the newest backup is all that it keeps. */
  function daemon(start: string, options: Partial<SchedulerOptions> = {}) {
    const clock = simulatedClock(new Date(start), microtasks);
    const backups: Date[] = [];
    const runs: string[] = [];
    const plans: (PlannedRun | null)[] = [];
    const problems: BackypError[] = [];
    const state = { outcomes: [] as Outcome[], mayRun: true, asks: 0, sinkIsDown: false, durationMs: 0 };
    const scheduler: Scheduler = startScheduler({
      schedule: cronSchedule("0 */6 * * *"),
      firstRun: "now",
      clock,
      async newest(now) {
        state.asks += 1;
        if (state.sinkIsDown) throw new BackypError("ERR_SINK_UNAVAILABLE", "no answer");
        return (
          backups
            .filter((time) => time <= now)
            .sort((a, b) => a.getTime() - b.getTime())
            .at(-1) ?? null
        );
      },
      mayRun: () => state.mayRun,
      async run({ slot, trigger, attempt }, signal) {
        const began = clock.now().toISOString().slice(5, 19);
        runs.push(`${began} ${slot.toISOString().slice(5, 16)} ${trigger} ${attempt}`);
        if (state.durationMs > 0) await clock.sleep(state.durationMs, signal);
        const outcome = state.outcomes.shift() ?? "done";
        if (outcome instanceof Error) throw outcome;
        if (outcome === "done") backups.push(slot);
        return outcome === "skipped" ? "done" : outcome;
      },
      onPlan: (planned) => plans.push(planned),
      onProblem: (problem) => problems.push(problem),
      ...options,
    });
    return { clock, backups, runs, plans, problems, state, scheduler };
  }

  it("runs the first backup at once and each later one in its slot", async () => {
    const { clock, runs, scheduler } = daemon("2026-11-22T13:00:00Z");
    await clock.pass(DAY_MS);
    expect(runs).toEqual([
      "11-22T13:00:00 11-22T12:00 first 1",
      "11-22T18:00:00 11-22T18:00 schedule 1",
      "11-23T00:00:00 11-23T00:00 schedule 1",
      "11-23T06:00:00 11-23T06:00 schedule 1",
      "11-23T12:00:00 11-23T12:00 schedule 1",
    ]);
    await scheduler.close();
  });

  it("waits with the first backup for the next slot where it is told to", async () => {
    const { clock, runs, scheduler } = daemon("2026-11-22T13:00:00Z", { firstRun: "scheduled" });
    await clock.pass(6 * HOUR_MS);
    expect(runs).toEqual(["11-22T18:00:00 11-22T18:00 first 1"]);
    await scheduler.close();
  });

  it("that waits with the first backup does not wait for a time that a wrong clock showed", async () => {
    const { clock, runs, scheduler } = daemon("2036-11-22T13:00:00Z", { firstRun: "scheduled" });
    await clock.pass(MINUTE_MS);
    clock.set(new Date("2026-11-22T13:00:00Z"));
    await clock.pass(6 * HOUR_MS);
    expect(runs).toEqual(["11-22T18:00:00 11-22T18:00 first 1"]);
    await scheduler.close();
  });

  it("makes up for one missed slot, and not for the others", async () => {
    const { clock, runs, backups, scheduler } = daemon("2026-11-22T13:00:00Z");
    backups.push(new Date("2026-11-10T00:00:00Z"));
    await clock.pass(6 * HOUR_MS);
    expect(runs).toEqual(["11-22T13:00:00 11-22T12:00 catch-up 1", "11-22T18:00:00 11-22T18:00 schedule 1"]);
    await scheduler.close();
  });

  it("notices within 30 s that the machine slept or the clock was set forward", async () => {
    const { clock, runs, scheduler } = daemon("2026-11-22T13:00:00Z");
    await clock.pass(MINUTE_MS);
    runs.length = 0;
    clock.set(new Date("2026-11-24T03:00:00Z"));
    await clock.pass(30 * SECOND_MS);
    expect(runs).toEqual(["11-24T03:00:30 11-24T00:00 catch-up 1"]);
    await scheduler.close();
  });

  it("repeats nothing when the clock is set back, and goes on as the new time says", async () => {
    const { clock, runs, scheduler } = daemon("2026-11-22T12:00:00Z");
    await clock.pass(DAY_MS);
    clock.set(new Date("2026-11-22T16:59:00Z"));
    runs.length = 0;
    await clock.pass(DAY_MS);
    // Up to here all slots have their backup.
    expect(runs).toEqual(["11-23T12:00:00 11-23T12:00 schedule 1"].slice(1));
    await clock.pass(2 * HOUR_MS);
    expect(runs).toEqual(["11-23T18:00:00 11-23T18:00 schedule 1"]);
    await scheduler.close();
  });

  it("does not let a backup with the date of a wrong clock count before that date", async () => {
    const { clock, runs, backups, scheduler } = daemon("2026-11-22T12:00:00Z", {
      schedule: intervalSchedule(6 * HOUR_MS),
    });
    backups.push(new Date("2030-01-01T00:00:00Z"));
    await clock.pass(6 * HOUR_MS);
    expect(runs).toEqual(["11-22T12:00:00 11-22T12:00 first 1", "11-22T18:00:00 11-22T18:00 schedule 1"]);
    await scheduler.close();
  });

  it("tries a failed run again after 1, 2, 4, ... minutes and at last every hour", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T00:00:00Z", { schedule: cronSchedule("@daily") });
    state.outcomes = Array(9).fill("failed");
    await clock.pass(5 * HOUR_MS);
    expect(runs.map((run) => run.slice(6, 14))).toEqual([
      "00:00:00",
      "00:01:00",
      "00:03:00",
      "00:07:00",
      "00:15:00",
      "00:31:00",
      "01:03:00",
      "02:03:00",
      "03:03:00",
      "04:03:00",
    ]);
    expect(runs.at(-1)).toBe("11-22T04:03:00 11-22T00:00 retry 10");
    await scheduler.close();
  });

  it("tries it no more once there is any newer backup", async () => {
    const { clock, runs, backups, state, scheduler } = daemon("2026-11-22T00:00:00Z");
    state.outcomes = ["failed", "failed", "failed"];
    await clock.pass(90 * SECOND_MS);
    backups.push(clock.now());
    await clock.pass(HOUR_MS);
    expect(runs).toHaveLength(2);
    await scheduler.close();
  });

  it("turns to a later slot as soon as that is due, and begins to count anew", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T05:00:00Z");
    state.outcomes = Array(7).fill("failed");
    await clock.pass(62 * MINUTE_MS);
    // After 1, 2, 4, 8, 16 and 32 minutes: the next would be at 06:03.
    expect(runs.slice(-3)).toEqual([
      "11-22T05:31:00 11-22T00:00 retry 6",
      "11-22T06:00:00 11-22T06:00 first 1",
      "11-22T06:01:00 11-22T06:00 retry 2",
    ]);
    await scheduler.close();
  });

  it("does not wait for long with the next attempt because the clock was set back", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T17:50:00Z");
    state.outcomes = ["failed"];
    await clock.pass(0);
    clock.set(new Date("2026-11-22T12:01:00Z"));
    await clock.pass(90 * SECOND_MS);
    expect(runs).toEqual(["11-22T17:50:00 11-22T12:00 first 1", "11-22T12:02:30 11-22T12:00 retry 2"]);
    await scheduler.close();
  });

  it("counts a rejected run as failed, and reports it", async () => {
    const { clock, runs, state, problems, scheduler } = daemon("2026-11-22T12:00:00Z");
    state.outcomes = [new TypeError("a bug")];
    await clock.pass(MINUTE_MS);
    expect(runs).toHaveLength(2);
    expect(problems.map(({ code, message }) => [code, message])).toEqual([["ERR_INTERNAL", "a bug"]]);
    await scheduler.close();
  });

  it("takes a slot for over that gave no backup", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T12:00:00Z");
    state.outcomes = ["skipped", "skipped"];
    await clock.pass(6 * HOUR_MS);
    // Set back by a minute, to before the second and after the first.
    clock.set(new Date("2026-11-22T17:59:00Z"));
    await clock.pass(HOUR_MS);
    scheduler.wake();
    await clock.pass(HOUR_MS);
    expect(runs).toEqual(["11-22T12:00:00 11-22T12:00 first 1", "11-22T18:00:00 11-22T18:00 first 1"]);
    await scheduler.close();
  });

  it("lets the slots that pass during a run become one", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T12:00:00Z");
    state.durationMs = 15 * HOUR_MS;
    await clock.pass(16 * HOUR_MS);
    expect(runs).toEqual(["11-22T12:00:00 11-22T12:00 first 1", "11-23T03:00:00 11-23T00:00 catch-up 1"]);
    await scheduler.close();
  });

  it("does not ask the sink while it may not run, and runs as soon as it is woken up", async () => {
    const { clock, runs, plans, state, scheduler } = daemon("2026-11-22T12:00:00Z");
    state.mayRun = false;
    await clock.pass(20 * MINUTE_MS);
    expect([state.asks, plans, runs, scheduler.planned]).toEqual([0, [], [], null]);
    state.mayRun = true;
    scheduler.wake();
    await clock.pass(0);
    expect(runs).toEqual(["11-22T12:20:00 11-22T12:00 first 1"]);
    state.mayRun = false;
    await clock.pass(MINUTE_MS);
    expect(plans.at(-1)).toBeNull();
    const { asks } = state;
    await clock.pass(DAY_MS);
    expect(state.asks).toBe(asks);
    state.mayRun = true;
    await clock.pass(30 * SECOND_MS);
    expect(runs.at(-1)).toBe("11-23T12:21:30 11-23T12:00 catch-up 1");
    await scheduler.close();
  });

  it("comes back to a run that was put off when it is woken up, and in 30 s at the latest", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T12:00:00Z");
    state.outcomes = ["later", "later"];
    await clock.pass(10 * SECOND_MS);
    expect(runs).toHaveLength(1);
    scheduler.wake();
    await clock.pass(0);
    expect(runs).toHaveLength(2);
    await clock.pass(30 * SECOND_MS);
    expect(runs).toEqual([0, 10, 40].map((s) => `11-22T12:00:${String(s).padStart(2, "0")} 11-22T12:00 first 1`));
    await scheduler.close();
  });

  it("asks the sink before each attempt, and not at each look", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T12:00:00Z");
    await clock.pass(DAY_MS - SECOND_MS);
    expect(runs).toHaveLength(4);
    // Before each run, and for the plan after it.
    expect(state.asks).toBe(8);
    await scheduler.close();
  });

  it("asks the sink again when it is woken up, for a run that was not its own", async () => {
    const { clock, backups, scheduler } = daemon("2026-11-22T12:00:00Z", { schedule: intervalSchedule(6 * HOUR_MS) });
    await clock.pass(HOUR_MS);
    backups.push(clock.now());
    scheduler.wake();
    await clock.pass(0);
    expect(scheduler.planned?.slot).toEqual(new Date("2026-11-22T19:00:00Z"));
    await scheduler.close();
  });

  it("reports that the sink cannot be asked, asks again ever more rarely, and then runs", async () => {
    const { clock, runs, problems, state, scheduler } = daemon("2026-11-22T12:00:00Z");
    state.sinkIsDown = true;
    const asked: string[] = [];
    for (let minute = 0; minute < 20; minute += 1) {
      const before = state.asks;
      await clock.pass(minute === 0 ? 0 : MINUTE_MS);
      if (state.asks > before) asked.push(clock.now().toISOString().slice(14, 16));
    }
    expect(asked).toEqual(["00", "01", "03", "07", "12", "17"]);
    expect(problems.map(({ code }) => code)).toEqual(asked.map(() => "ERR_SINK_UNAVAILABLE"));
    expect(runs).toEqual([]);
    state.sinkIsDown = false;
    await clock.pass(5 * MINUTE_MS);
    expect(runs).toEqual(["11-22T12:22:00 11-22T12:00 first 1"]);
    await scheduler.close();
  });

  it("asks a sink that was down at once when it is woken up, and soon when the clock was set back", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T12:00:00Z");
    state.sinkIsDown = true;
    await clock.pass(HOUR_MS);
    let { asks } = state;
    scheduler.wake();
    await clock.pass(0);
    expect(state.asks).toBe(asks + 1);
    asks = state.asks;
    clock.set(new Date("2026-11-20T12:00:00Z"));
    state.sinkIsDown = false;
    await clock.pass(5.5 * MINUTE_MS);
    expect(runs).toEqual([expect.stringMatching(/^11-20T12:0\d:\d\d 11-20T12:00 first 1$/)]);
    await scheduler.close();
  });

  it("says what it plans, once for each change", async () => {
    const { clock, plans, state, scheduler } = daemon("2026-11-22T13:00:00Z");
    state.outcomes = ["failed"];
    await clock.pass(HOUR_MS);
    const said = plans.map(
      (plan) =>
        plan &&
        `${plan.slot.toISOString().slice(11, 16)} ${plan.at.toISOString().slice(11, 16)} ${plan.trigger} ${plan.attempt}`,
    );
    expect(said).toEqual(["12:00 12:00 first 1", "12:00 13:01 retry 2", "18:00 18:00 schedule 1"]);
    expect(scheduler.planned).toEqual(plans.at(-1));
    await scheduler.close();
  });

  it("delays runs by a part of the jitter that is always the same for one seed", async () => {
    const begins = async (seed: string): Promise<string[]> => {
      const { clock, runs, backups, scheduler } = daemon("2026-11-22T13:00:00Z", { jitterMs: HOUR_MS, seed });
      backups.push(new Date("2026-11-22T12:00:00Z"));
      await clock.pass(12 * HOUR_MS);
      await scheduler.close();
      return runs.map((run) => run.slice(6, 14));
    };
    const all = await Promise.all(["a", "b", "c", "a"].map(begins));
    expect(all[3]).toEqual(all[0]);
    expect(new Set(all.map(([first]) => first)).size).toBe(3);
    for (const [first = "", second = ""] of all) {
      expect(first >= "18:00:00" && first <= "19:00:00").toBe(true);
      expect(second.slice(2)).toBe(first.slice(2));
    }
  });

  it("misses no slot however large the jitter", async () => {
    const { clock, runs, scheduler } = daemon("2026-11-22T12:00:00Z", { jitterMs: 100 * DAY_MS, seed: "zk" });
    await clock.pass(DAY_MS);
    expect(runs).toHaveLength(4);
    await scheduler.close();
  });

  it("goes on when a listener or a question throws", async () => {
    const broken = (): never => {
      throw new Error("a bad listener");
    };
    for (const options of [{ onPlan: broken }, { onProblem: broken, onPlan: broken }]) {
      const { clock, runs, scheduler } = daemon("2026-11-22T12:00:00Z", options);
      await clock.pass(DAY_MS);
      expect(runs).toHaveLength(5);
      await scheduler.close();
    }
    let asks = 0;
    const mayRun = (): boolean => {
      asks += 1;
      if (asks === 1) throw new Error("not yet");
      return true;
    };
    const { clock, runs, problems, scheduler } = daemon("2026-11-22T12:00:00Z", { mayRun });
    await clock.pass(MINUTE_MS);
    expect([runs.length, problems.map(({ message }) => message)]).toEqual([1, ["not yet"]]);
    await scheduler.close();
  });

  it("closes while it waits, and does nothing more", async () => {
    const { clock, runs, state, scheduler } = daemon("2026-11-22T12:00:00Z");
    await clock.pass(MINUTE_MS);
    await scheduler.close();
    await scheduler.close();
    scheduler.wake();
    const { asks } = state;
    await clock.pass(DAY_MS);
    expect([runs.length, state.asks, clock.sleepers()]).toEqual([1, asks, 0]);
  });

  it("closes before it has done anything", async () => {
    const { clock, runs, scheduler } = daemon("2026-11-22T12:00:00Z");
    await scheduler.close();
    await clock.pass(DAY_MS);
    expect(runs).toEqual([]);
  });

  it("aborts the run that is under way when it is closed, waits for it, and reports nothing", async () => {
    let ended = false;
    const run: SchedulerOptions["run"] = async (_, signal) => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      await new Promise((resolve) => setImmediate(resolve));
      ended = true;
      throw new BackypError("ERR_ABORTED", "aborted");
    };
    const { clock, problems, scheduler } = daemon("2026-11-22T12:00:00Z", { run });
    await clock.pass(0);
    await scheduler.close();
    expect([ended, problems]).toEqual([true, []]);
  });

  it("aborts the question to the sink when it is closed", async () => {
    const newest: SchedulerOptions["newest"] = (_, signal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    const { clock, runs, problems, scheduler } = daemon("2026-11-22T12:00:00Z", { newest });
    await clock.pass(MINUTE_MS);
    await scheduler.close();
    expect([runs, problems]).toEqual([[], []]);
  });

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "60"])("refuses the jitter %s", (jitterMs) => {
    const options = { schedule: intervalSchedule(HOUR_MS), firstRun: "now", jitterMs } as SchedulerOptions;
    expect(() => startScheduler(options)).toThrow(
      expect.toSatisfy((error: Error) => isBackypError(error, "ERR_CONFIG_INVALID")),
    );
  });

  it("runs by the system's clock where it is given none", async () => {
    let resolve: (planned: PlannedRun) => void = () => {};
    const promise = new Promise<PlannedRun>((done) => {
      resolve = done;
    });
    const scheduler = startScheduler({
      schedule: intervalSchedule(HOUR_MS),
      firstRun: "now",
      newest: async () => null,
      run: async (planned) => {
        resolve(planned);
        return "done";
      },
    });
    const { slot, trigger } = await promise;
    expect(trigger).toBe("first");
    expect(slot.getTime() % HOUR_MS).toBe(0);
    expect(Math.abs(Date.now() - slot.getTime())).toBeLessThan(2 * HOUR_MS);
    await scheduler.close();
  });
});
