import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { expect, it } from "vitest";
import { runHotRounds } from "../test/hot-rounds.ts";

const ROUNDS = Number(process.env.HOT_ROUNDS ?? 50);

it.skipIf(!requirePart(zooKeeperMissing()))(`a hot backup restores ${ROUNDS} times out of ${ROUNDS}`, async () => {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-campaign-"));
  try {
    const report = await runHotRounds(folder, ROUNDS);
    console.log(JSON.stringify(report));
    expect(report.rounds).toBe(ROUNDS);
  } finally {
    await rm(folder, { recursive: true });
  }
});
