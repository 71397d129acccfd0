import assert from "node:assert/strict";
import { BACK_WITHIN_MS, type Ordeal } from "./cold-kill-ordeal.ts";
import type { Blow, Moment } from "./cold-kill-plan.ts";

const BLOWS = {
  "the run is killed": ["SIGKILL"],
  "the helper is killed": ["helper"],
  "the helper and its guard are killed": ["guard", "helper"],
  "the run and the helper are killed": ["helper", "SIGKILL"],
  "the run, the helper and its guard are killed": ["guard", "helper", "SIGKILL"],
} as const satisfies Record<string, readonly Blow[]>;

export interface HelperKillCase {
  readonly what: keyof typeof BLOWS;
  readonly at: Moment;
}

const MOMENTS: readonly Moment[] = ["stopping", "amid-stopping", "stopped", "linked", "starting"];

/** What can happen to a run whose node is stopped and started by a root helper. */
export const HELPER_KILL_CASES: readonly HelperKillCase[] = (Object.keys(BLOWS) as HelperKillCase["what"][]).flatMap(
  (what) => MOMENTS.map((at) => ({ what, at })),
);

/** Has it happen to a run, and fails unless the node comes back, and the next run succeeds and clears up. */
export async function sufferWithHelper({ what, at }: HelperKillCase, ordeal: Ordeal): Promise<void> {
  const { node } = ordeal;
  const blows: readonly Blow[] = BLOWS[what];
  await ordeal.startHelper();
  await node.setSlowStop(at === "amid-stopping");
  const run = ordeal.start("backup", { at, blows });
  if (blows.includes("helper")) {
    await ordeal.helperEnds({ isTold: false });
    // With its guard alive nothing else is needed. Without, a supervisor starts the helper again.
    if (!blows.includes("guard")) await node.untilBack(BACK_WITHIN_MS);
    await ordeal.startHelper();
  }
  const { signal, end, text } = await run.ended;
  assert.ok(run.moments.includes(at), `it did not come that far: ${text}`);
  await node.setSlowStop(false);
  await node.untilBack(BACK_WITHIN_MS);
  if (blows.includes("SIGKILL")) assert.equal(signal, "SIGKILL", text);
  else if (at === "stopping" || at === "amid-stopping") assert.equal(end?.code, "ERR_NODE_CONTROL", text);
  // The node may be started by others before everything is linked, or soon enough after that.
  else if (at !== "stopped" || end?.code !== "ERR_NODE_CONTROL") assert.equal(end?.code, "stored", text);
  await ordeal.nextRunClearsUp();
  await ordeal.helperEnds({ isTold: true });
}
