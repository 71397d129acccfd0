import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { BACK_WITHIN_MS, type ColdRun, isThere, type Ordeal } from "./cold-kill-ordeal.ts";
import { type Blow, MOMENTS, type Moment } from "./cold-kill-plan.ts";
import { listProcesses } from "./cold-kill-processes.ts";

const BLOWS = {
  "the run is killed": ["SIGKILL"],
  "the guard is killed": ["guard"],
  "the run and the guard are killed": ["guard", "SIGKILL"],
  "a SIGTERM comes": ["SIGTERM"],
  "two SIGINT come": ["SIGINT twice"],
  "the run stands still for longer than the guard waits": ["SIGSTOP"],
  "the power fails": ["machine", "SIGKILL"],
} as const satisfies Record<string, readonly Blow[]>;

export interface KillCase {
  readonly what: keyof typeof BLOWS;
  readonly at: Moment;
}

const from = (first: Moment, end: Moment): Moment[] => MOMENTS.slice(MOMENTS.indexOf(first), MOMENTS.indexOf(end));
const isBefore = (one: Moment, other: Moment): boolean => MOMENTS.indexOf(one) < MOMENTS.indexOf(other);

/** While there is a journal, and with it a guard. */
const OWED = from("journaled", "archiving");
/** While the node is down, and nobody has asked for its start. */
const DOWN = from("stopped", "serving");
/** A server that is alone has no lock. */
const ALL = MOMENTS.filter((moment) => moment !== "locked");

/** What can happen to a run, at every moment of it. */
export const KILL_CASES: readonly KillCase[] = (
  [
    ["the run is killed", ALL],
    ["the guard is killed", OWED],
    ["the run and the guard are killed", OWED],
    ["a SIGTERM comes", ALL],
    ["two SIGINT come", OWED],
    ["the run stands still for longer than the guard waits", OWED],
    ["the power fails", ALL],
  ] as const
).flatMap(([what, moments]) => moments.map((at) => ({ what, at })));

/** Has it happen to a run, and fails unless the node comes back, and the next run succeeds and clears up. */
export async function suffer({ what, at }: KillCase, ordeal: Ordeal): Promise<void> {
  const { node } = ordeal;
  const pid = await node.pid();
  await node.setSlowStop(at === "amid-stopping");
  const run = ordeal.start("backup", { at, blows: BLOWS[what] });
  if (what === "the run stands still for longer than the guard waits") await outlast(run, at, ordeal);
  const { code, signal, end, text } = await run.ended;
  assert.ok(run.moments.includes(at), `it did not come that far: ${text}`);
  await node.setSlowStop(false);

  switch (what) {
    case "the run is killed":
      assert.equal(signal, "SIGKILL", text);
      await node.untilBack(BACK_WITHIN_MS);
      if (isBefore(at, "journaled")) assert.equal(await node.pid(), pid);
      break;
    case "the guard is killed":
      assert.equal(end?.code, "stored", text);
      break;
    case "the run and the guard are killed":
      assert.equal(signal, "SIGKILL", text);
      assert.ok(await isThere(ordeal.journal));
      // So that it is the next run that brings it back.
      if (DOWN.includes(at)) assert.equal(await node.serves(), false);
      break;
    case "a SIGTERM comes":
      // It may come too late.
      if (at === "stored" && code === 0) assert.equal(end?.code, "stored", text);
      else assert.equal(code, 130, text);
      await node.untilBack(BACK_WITHIN_MS);
      break;
    case "two SIGINT come":
      assert.equal(code, 130, text);
      await node.untilBack(BACK_WITHIN_MS);
      break;
    case "the run stands still for longer than the guard waits":
      if (at === "journaled") {
        assert.equal(end?.code, "ERR_STOP_REFUSED", text);
        assert.equal(await node.pid(), pid, "it was not stopped without a guard");
      } else if (isBefore(at, "linked")) assert.equal(end?.code, "ERR_NODE_CONTROL", text);
      else assert.equal(end?.code, "stored", text);
      break;
    case "the power fails":
      assert.equal(signal, "SIGKILL", text);
      assert.deepEqual(
        listProcesses().filter(({ commandLine }) => commandLine.includes(`${node.folder}/`)),
        [],
      );
      await node.monit.kill();
      await node.monit.restart();
      assert.equal((await ordeal.run("recover")).code, "recovered");
      break;
  }
  if (what !== "the run and the guard are killed") await node.untilBack(BACK_WITHIN_MS);
  await ordeal.nextRunClearsUp();
}

/** Lets the run go on once its guard has started the node. */
async function outlast(run: ColdRun, at: Moment, { node, journal }: Ordeal): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!run.moments.includes(at) || !(await isThere(`${journal}.rescued`))) {
    assert.ok(performance.now() < deadline && run.child.exitCode === null, `no guard came: ${run.moments}`);
    await sleep(100);
  }
  await node.untilBack(BACK_WITHIN_MS);
  run.child.kill("SIGCONT");
}
