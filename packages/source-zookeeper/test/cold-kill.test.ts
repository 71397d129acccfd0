import { rm } from "node:fs/promises";
import { monitMissing, requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, describe, expect, it } from "vitest";
import { KILL_CASES, type KillCase, suffer } from "./cold-kill-cases.ts";
import { HELPER_KILL_CASES, type HelperKillCase, sufferWithHelper } from "./cold-kill-helper-cases.ts";
import { Nodes } from "./cold-kill-nodes.ts";
import { BACK_WITHIN_MS, isThere } from "./cold-kill-ordeal.ts";
import type { Moment } from "./cold-kill-plan.ts";

/** Some of each kind: all are in the campaign. */
const SOME: Readonly<Record<KillCase["what"], readonly Moment[]>> = {
  "the run is killed": ["amid-stopping", "linked", "stored"],
  "the guard is killed": ["linked"],
  "the run and the guard are killed": ["amid-stopping", "linked"],
  "a SIGTERM comes": ["stopped"],
  "two SIGINT come": ["linked"],
  "the run stands still for longer than the guard waits": ["stopped"],
  "the power fails": ["amid-stopping", "linked", "archiving"],
};
const SOME_WITH_HELPER: Readonly<Partial<Record<HelperKillCase["what"], Moment>>> = {
  "the run is killed": "linked",
  "the helper is killed": "stopped",
  "the run, the helper and its guard are killed": "linked",
};

const hasParts = requirePart(zooKeeperMissing()) && requirePart(monitMissing());
/** A cold backup of a node that was down before. */
const AS_IT_IS = { code: "stored", facts: { downtime: null, stop: { wasStopped: true } } };
const timeout = 240_000;

// Most of it is waiting.
describe.skipIf(!hasParts).concurrent("a cold run", () => {
  const nodes = new Nodes();
  afterAll(() => nodes.end());

  it.for(HELPER_KILL_CASES.filter(({ what, at }) => SOME_WITH_HELPER[what] === at))(
    "with a root helper leaves a node that serves when $what ($at)",
    { timeout },
    (killCase) => nodes.use((ordeal) => sufferWithHelper(killCase, ordeal), { withHelper: true }),
  );

  it("backs a node up as it is that an operator has stopped after it was recovered", { timeout }, () =>
    nodes.use(async (ordeal) => {
      const { node } = ordeal;
      await ordeal.start("backup", { at: "linked", blows: ["SIGKILL"] }).ended;
      await node.untilBack(BACK_WITHIN_MS);
      // The guard may be asking for a start once more.
      expect((await ordeal.run("recover")).facts).toEqual({ did: expect.stringMatching(/^(was-running|started)$/) });
      await node.operatorStops();
      expect(await ordeal.run("backup")).toMatchObject(AS_IT_IS);
      // The guard of the run that was killed looks every ten seconds whether a start is owed.
      await ordeal.untilNoProcessIsLeft();
      expect(await node.serves()).toBe(false);
      await node.operatorStarts();
      await ordeal.nextRunClearsUp();
    }),
  );

  it.for([
    ["with its guard", ["stay stopped", "guard", "SIGKILL"]],
    ["without its guard", ["stay stopped", "SIGKILL"]],
  ] as const)("that was killed %s leaves the node stopped where an operator wants that", { timeout }, ([, blows]) =>
    nodes.use(async (ordeal) => {
      const { node, stayStoppedFile } = ordeal;
      await ordeal.start("backup", { at: "linked", blows }).ended;
      const why = expect.stringContaining(stayStoppedFile);
      expect((await ordeal.run("recover")).facts).toEqual({ did: "stays-stopped", why, owed: true });
      expect(await ordeal.run("backup")).toMatchObject(AS_IT_IS);
      expect(await node.serves()).toBe(false);
      expect(await isThere(ordeal.journal), "it is started once the operator lets it").toBe(true);
      await rm(stayStoppedFile);
      expect((await ordeal.run("recover")).facts).toEqual({ did: "started" });
      await node.untilBack(BACK_WITHIN_MS);
      await ordeal.nextRunClearsUp();
    }),
  );

  it.for(KILL_CASES.filter(({ what, at }) => SOME[what].includes(at)))(
    "leaves a node that serves when $what ($at), and the next run is as ever",
    { timeout },
    (killCase) => nodes.use((ordeal) => suffer(killCase, ordeal)),
  );
});
