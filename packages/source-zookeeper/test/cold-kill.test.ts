import { rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { monitMissing, requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, describe, expect, it } from "vitest";
import { KILL_CASES, type KillCase, suffer } from "./cold-kill-cases.ts";
import { HELPER_KILL_CASES, type HelperKillCase, sufferWithHelper } from "./cold-kill-helper-cases.ts";
import { Nodes } from "./cold-kill-nodes.ts";
import { BACK_WITHIN_MS, isThere, Ordeal } from "./cold-kill-ordeal.ts";
import type { Moment } from "./cold-kill-plan.ts";

/** Some of each kind: all are in the campaign. */
const SOME: Readonly<Record<KillCase["what"], readonly Moment[]>> = {
  "the run is killed": ["linked-ahead", "amid-stopping", "stopped", "starting", "stored"],
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
const timeout = 240_000;

// Most of it is waiting.
describe.skipIf(!hasParts).concurrent("a cold run", () => {
  const nodes = new Nodes();
  afterAll(() => nodes.end());

  it.for(KILL_CASES.filter(({ what, at }) => SOME[what].includes(at)))(
    "leaves a node that serves when $what ($at), and the next run is as ever",
    { timeout },
    (killCase) => nodes.use((node) => suffer(killCase, new Ordeal(node))),
  );

  it.for(HELPER_KILL_CASES.filter(({ what, at }) => SOME_WITH_HELPER[what] === at))(
    "with a root helper leaves a node that serves when $what ($at)",
    { timeout },
    (killCase) => nodes.use((node) => sufferWithHelper(killCase, new Ordeal(node, { withHelper: true }))),
  );

  it.for([
    ["before its guard has died too", ["guard", "SIGKILL"]],
    ["and its guard lives", ["SIGKILL"]],
  ] as const)("that was killed, %s, leaves the node stopped where an operator wants that", { timeout }, ([, blows]) =>
    nodes.use(async (node) => {
      const ordeal = new Ordeal(node);
      const { stayStoppedFile } = ordeal;
      await writeFile(stayStoppedFile, "");
      await ordeal.start("backup", { at: "linked", blows }).ended;
      const recovered = await ordeal.run("recover");
      expect(recovered.facts).toEqual({
        did: "stays-stopped",
        why: expect.stringContaining(stayStoppedFile),
        owed: true,
      });
      const { code, facts } = await ordeal.run("backup");
      expect({ code, facts }).toMatchObject({ code: "stored", facts: { downtime: null, stop: { wasStopped: true } } });
      expect(await node.serves()).toBe(false);
      expect(await isThere(ordeal.journal), "it is started when the operator lets it").toBe(true);
      await rm(stayStoppedFile);
      expect((await ordeal.run("recover")).facts).toEqual({ did: "started" });
      await node.untilBack(BACK_WITHIN_MS);
      await ordeal.nextRunClearsUp();
    }),
  );

  it("backs a node up as it is that an operator has stopped after it was recovered", { timeout }, () =>
    nodes.use(async (node) => {
      const ordeal = new Ordeal(node);
      await ordeal.start("backup", { at: "linked", blows: ["SIGKILL"] }).ended;
      await node.untilBack(BACK_WITHIN_MS);
      expect((await ordeal.run("recover")).facts).toEqual({ did: "was-running" });
      await node.operatorStops();
      const { code, facts } = await ordeal.run("backup");
      expect({ code, facts }).toMatchObject({ code: "stored", facts: { downtime: null, stop: { wasStopped: true } } });
      // The guard of the run that was killed asks for a start every ten seconds as long as one is owed.
      await sleep(11_000);
      expect(await node.serves()).toBe(false);
      await node.operatorStarts();
      await ordeal.nextRunClearsUp();
    }),
  );
});
