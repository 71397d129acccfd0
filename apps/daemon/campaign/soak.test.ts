import { requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { describe, expect, it } from "vitest";
import { soak } from "../test/soak.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("a daemon that backs up every second, 600 times", () => {
  it("holds in the end what it held at the beginning", async () => {
    const { samples, failed, pruned } = await soak(Number(process.env.SOAK_BACKUPS ?? 600));
    console.log(JSON.stringify({ samples, failed, pruned }));
    expect(failed).toBe(0);
    const early = samples.slice(1, 4);
    const late = samples.slice(-3);
    const most = (some: typeof samples, what: "rssMb" | "files"): number => Math.max(...some.map((each) => each[what]));
    expect(most(late, "files")).toBeLessThanOrEqual(most(early, "files") + 6);
    // The garbage collector has its moods.
    expect(most(late, "rssMb")).toBeLessThan(most(early, "rssMb") * 1.3 + 20);
  });
});
