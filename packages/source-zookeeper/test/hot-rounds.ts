import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openSeries } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { createRecordedWriter, purge, startZooKeeper } from "@zk-backyp/testbed";
import { createZooKeeperSource } from "../src/index.ts";
import { assertTreeIsRecorded, startRestored } from "./restored-server.ts";

/** What the rounds came to, for the report. */
export interface RoundsReport {
  readonly rounds: number;
  readonly writes: number;
  readonly writesPerSecond: number;
  /** Client sessions that wrote, one after the other: one more whenever a connection was lost. */
  readonly writers: number;
  /** Backups that had to begin again because the files changed under them. */
  readonly recaptures: number;
  /** Backups that began with another snapshot than the newest one. */
  readonly passedOver: number;
  readonly purges: number;
}

/**
 * Backs a real server up, `rounds` times, while a client writes some 500 znodes a second, snapshots roll every few
 * hundred transactions and old files are purged all the time; each backup is restored into a real server, whose tree
 * must be what the writer recorded for the manifest's last zxid.
 */
export async function runHotRounds(directory: string, rounds: number): Promise<RoundsReport> {
  const live = await startZooKeeper({
    directory: join(directory, "live"),
    dataLogDir: join(directory, "live", "log"),
    javaOptions: ["-Dzookeeper.snapCount=300"],
    config: { "autopurge.purgeInterval": "1", "autopurge.snapRetainCount": "3" },
  });
  let writers = 0;
  const startWriter = async () => {
    writers += 1;
    const started = createRecordedWriter({
      connectString: live.connectString,
      rate: 500,
      root: `/load-${writers}`,
      seed: writers,
    });
    await started.start();
    return started;
  };
  let writer = await startWriter();
  const beganAt = performance.now();

  // The server's own autopurge runs once an hour; this is the same, all the time.
  let purges = 0;
  const stopPurging = new AbortController();
  const purging = (async () => {
    while (!stopPurging.signal.aborted) {
      await purge(live, 3);
      purges += 1;
      await sleep(1_000);
    }
  })();

  let writes = 0;
  let recaptures = 0;
  let passedOver = 0;
  try {
    const source = createZooKeeperSource({
      dataDir: live.dataDir,
      dataLogDir: live.dataLogDir,
      server: live.connectString,
    });
    const sink = createFsSink({ path: join(directory, "backups") });
    const series = openSeries({ prefix: "hot", source, sink });
    series.events.on("backup:start", ({ attempt }) => {
      if (attempt > 1) recaptures += 1;
    });
    for (let round = 1; round <= rounds; round++) {
      if (writer.interrupted !== undefined) {
        // What the client had sent and got no answer for cannot be compared with anything: it begins elsewhere.
        console.warn(`round ${round}: the writer lost its connection: ${writer.interrupted.message}`);
        writes += writer.writes;
        await writer.stop().catch(() => {});
        writer = await startWriter();
      }
      const before = writer.lastZxid;
      const manifest = await series.backup();
      assert.ok(manifest !== null);
      if ((manifest.facts.passedOver as unknown[]).length > 0) passedOver += 1;
      const upTo = BigInt(manifest.range.upTo);
      assert.ok(upTo >= before, `round ${round}: the backup ends at ${upTo}, before what was written when it began`);
      await series.verify(manifest.id);

      const restored = await startRestored(series, manifest, join(directory, "restored"), {
        separateLogs: round % 2 === 0,
      });
      assert.equal(restored.zxid, manifest.range.upTo, `round ${round}`);
      // Its answer may still be on the way to the writer.
      while (writer.lastZxid < upTo && writer.interrupted === undefined) await sleep(5);
      if (writer.interrupted !== undefined) round -= 1;
      else assertTreeIsRecorded(restored, writer, upTo);
    }
  } finally {
    stopPurging.abort();
    await purging;
    writes += writer.writes;
    await writer.stop();
    await live.stop();
  }
  const seconds = (performance.now() - beganAt) / 1000;
  return {
    rounds,
    writes,
    writesPerSecond: Math.round(writes / seconds),
    writers,
    recaptures,
    passedOver,
    purges,
  };
}
