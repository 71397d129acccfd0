import { requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { describe, expect, it } from "vitest";
import { soak } from "./soak.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("a daemon that backs up every second", () => {
  it("has no more files open in the end than at the beginning", async () => {
    const { samples, failed, pruned } = await soak(30);
    const [first, last] = [samples[1], samples.at(-1)];
    expect(failed).toBe(0);
    expect(pruned).toBeGreaterThan(10);
    // A stream or a scrape may be open just now.
    expect(last?.files).toBeLessThanOrEqual((first?.files ?? 0) + 6);
  });
});
