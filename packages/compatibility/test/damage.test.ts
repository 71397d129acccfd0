import { requirePart, zooKeeperClassPath, zooKeeperMissing } from "@zk-backyp/testbed";
import { expect, it } from "vitest";
import { compilerMissing } from "../damage/oracle.ts";
import { runDamage } from "../damage/run-damage.ts";

it.skipIf(!requirePart(compilerMissing()) || !requirePart(zooKeeperMissing()))(
  "the installed server does with damaged files what checkDirectory says",
  { timeout: 300_000 },
  async () => {
    const { cases, disagreements } = await runDamage(zooKeeperClassPath(), { every: 60, part: 6 });
    expect(disagreements).toEqual([]);
    expect(cases).toBeGreaterThan(200);
  },
);
