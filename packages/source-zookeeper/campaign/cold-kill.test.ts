import { access } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { monitMissing, requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, describe, expect, it } from "vitest";
import { KILL_CASES, suffer } from "../test/cold-kill-cases.ts";
import { HELPER_KILL_CASES, sufferWithHelper } from "../test/cold-kill-helper-cases.ts";
import { Nodes } from "../test/cold-kill-nodes.ts";
import { BACK_WITHIN_MS } from "../test/cold-kill-ordeal.ts";

const hasParts = requirePart(zooKeeperMissing()) && requirePart(monitMissing());

describe.skipIf(!hasParts).concurrent("a cold run", () => {
  const nodes = new Nodes();
  afterAll(() => nodes.end());

  it.for(KILL_CASES)("leaves a node that serves when $what ($at), and the next run is as ever", (killCase) =>
    nodes.use((ordeal) => suffer(killCase, ordeal)),
  );

  it.for(HELPER_KILL_CASES)("with a root helper leaves a node that serves when $what ($at)", (killCase) =>
    nodes.use((ordeal) => sufferWithHelper(killCase, ordeal), { withHelper: true }),
  );

  it("backs a node up as it is that an operator has stopped once the guard was done", () =>
    nodes.use(async (ordeal) => {
      const { node, journal } = ordeal;
      await ordeal.start("backup", { at: "linked", blows: ["SIGKILL"] }).ended;
      await node.untilBack(BACK_WITHIN_MS);
      const isDone = (): Promise<boolean> =>
        access(`${journal}.started`)
          .then(() => true)
          .catch(() => false);
      while (!(await isDone())) await sleep(500);
      await node.operatorStops();
      const { code, facts } = await ordeal.run("backup");
      expect({ code, facts }).toMatchObject({ code: "stored", facts: { downtime: null, stop: { wasStopped: true } } });
      expect(await node.serves()).toBe(false);
      await node.operatorStarts();
      await ordeal.nextRunClearsUp();
    }));
});
