import { access, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failoverRounds, LONGEST_GAP_MS } from "./failover-rounds.ts";
import { HOLDING_SINK } from "./holding-sink.ts";
import { type Place, SESSION_TIMEOUT_MS, startThreeDaemons, type ThreeDaemons } from "./three-daemons.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("three daemons beside three members", () => {
  let folder: string;
  let three: ThreeDaemons | undefined;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-fence-"));
  });
  afterEach(async () => {
    await three?.close();
    three = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  async function until<Value>(what: string, find: () => Promise<Value | undefined>): Promise<Value> {
    for (const deadline = Date.now() + 45_000; Date.now() < deadline; await sleep(100)) {
      const found = await find();
      if (found !== undefined) return found;
    }
    const logs = three?.places.map(({ daemon }) => daemon.lines().slice(-12));
    throw new Error(`${what} did not come:\n${JSON.stringify(logs, null, 1)}`);
  }

  const ids = async (): Promise<string[]> =>
    (await readdir(join(folder, "backups", "zk", "manifests")).catch(() => [])).filter((name) =>
      name.endsWith(".json"),
    );

  // The first is past the last question whether it is elected: only the store can refuse it.
  it.each([
    ["manifests/", "taken"],
    ["archives/", "lost"],
  ])("do not let one that slept while it stored %s publish beside its successor", async (held, outcome) => {
    const hold = join(folder, "hold");
    await writeFile(join(folder, "holding-sink.mjs"), HOLDING_SINK);
    await writeFile(hold, held);
    three = await startThreeDaemons(folder, {
      // One slot for the whole test.
      cron: "0 0 1 1 *",
      sink: { use: "./holding-sink.mjs", path: join(folder, "backups"), hold },
    });
    const { places } = three;
    const pid = await until("the run that is held", () => readFile(`${hold}.held`, "utf8").catch(() => undefined));
    const stale = places.find(({ daemon }) => daemon.pid === Number(pid)) as Place;
    stale.daemon.kill("SIGSTOP");
    await rm(hold);
    await sleep(SESSION_TIMEOUT_MS);
    const [stored] = await until("the successor's backup", async () => {
      const there = await ids();
      return there.length > 0 ? there : undefined;
    });
    const text = await readFile(join(folder, "backups", "zk", "manifests", String(stored)), "utf8");
    stale.daemon.kill("SIGCONT");
    const end = await stale.daemon.line("run.end");
    expect(end).toMatchObject({ outcome });
    expect(await ids()).toEqual([stored]);
    expect(await readFile(join(folder, "backups", "zk", "manifests", String(stored)), "utf8")).toBe(text);
    const archives = await readdir(join(folder, "backups", "zk", "archives"));
    expect(archives.map((name) => `zk/archives/${name}`)).toEqual([JSON.parse(text).archive.key]);
    await expect(access(join(folder, "backups", JSON.parse(text).archive.key))).resolves.toBeUndefined();
  });

  it("never store two backups of a slot, and never leave one out for longer than it takes to notice", async () => {
    const report = await failoverRounds(6, 42);
    expect(report).toMatchObject({ replaced: [], besideSlots: [], verified: { code: 0 } });
    expect(report.longestGapMs).toBeLessThan(LONGEST_GAP_MS + 10_000);
    expect(report.outcomes.ok).toBeGreaterThan(6);
  });
});
