import { requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { describe, expect, it } from "vitest";
import { failoverRounds, LONGEST_GAP_MS } from "../test/failover-rounds.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("three daemons beside three members, in 200 rounds", () => {
  it("never store two backups of a slot, and never leave one out for longer than it takes to notice", async () => {
    const seed = Number(process.env.FAILOVER_SEED ?? Date.now() % 2 ** 31);
    const report = await failoverRounds(Number(process.env.FAILOVER_ROUNDS ?? 200), seed);
    console.log(`seed ${seed}: ${JSON.stringify(report)}`);
    expect(report).toMatchObject({ replaced: [], besideSlots: [], verified: { code: 0 } });
    // The machine runs three daemons, three servers and this.
    expect(report.longestGapMs).toBeLessThan(LONGEST_GAP_MS + 5_000);
  });
});
