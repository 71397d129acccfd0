import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connectZooKeeper, startZooKeeper } from "@zk-backyp/testbed";
import type { DaemonStatus } from "../src/daemon/daemon-view.ts";
import { type RunningDaemon, startDaemonProcess } from "./running-daemon.ts";

/** What a daemon holds at a moment. */
interface Sample {
  readonly backups: number;
  readonly rssMb: number;
  readonly files: number;
}

export interface SoakReport {
  readonly samples: readonly Sample[];
  readonly failed: number;
  readonly pruned: number;
}

/**
 * Has a daemon back a server up that is written to, every second, `backups` times; prune each time; and be looked at by a
 * status page and a scraper meanwhile. Samples what it holds after every tenth of the way.
 */
export async function soak(backups: number): Promise<SoakReport> {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-soak-"));
  const server = await startZooKeeper({ directory: join(folder, "server") });
  const over = new AbortController();
  let daemon: RunningDaemon | undefined;
  try {
    await mkdir(join(folder, "backups"));
    const config = join(folder, "zk-backyp.config.json");
    const zk = {
      source: { use: "zookeeper", dataDir: server.dataDir, server: server.connectString },
      sink: { use: "fs", path: "backups" },
      schedule: { cron: "* * * * * *" },
      retention: { keepLast: 10 },
    };
    await writeFile(config, JSON.stringify({ http: { port: 0 }, stateDir: "state", series: { zk } }));
    daemon = startDaemonProcess(config);
    const url = await daemon.url();
    const work = [write(server.connectString, over.signal), watch(url, over.signal)];
    const samples: Sample[] = [];
    for (let tenth = 1; tenth <= 10; tenth++) {
      await untilBackups(daemon, (backups * tenth) / 10);
      samples.push(await sample(daemon));
    }
    over.abort();
    await Promise.all(work);
    const ends = daemon.lines().filter(({ event }) => event === "run.end");
    return {
      samples,
      failed: ends.filter(({ outcome }) => outcome !== "ok").length,
      pruned: daemon.lines().filter(({ event }) => event === "prune.deleted").length,
    };
  } finally {
    over.abort();
    await daemon?.stop();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

const backupsOf = (daemon: RunningDaemon): number =>
  daemon.lines().filter(({ event, kind, outcome }) => event === "run.end" && kind === "backup" && outcome === "ok")
    .length;

async function untilBackups(daemon: RunningDaemon, count: number): Promise<void> {
  const began = backupsOf(daemon);
  for (const deadline = Date.now() + 60_000 + (count - began) * 10_000; backupsOf(daemon) < count; await sleep(200)) {
    if (Date.now() > deadline) throw new Error(`only ${backupsOf(daemon)} of ${count} backups`);
  }
}

async function sample(daemon: RunningDaemon): Promise<Sample> {
  const status = await readFile(`/proc/${daemon.pid}/status`, "utf8");
  const rssKb = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]);
  const files = (await readdir(`/proc/${daemon.pid}/fd`)).length;
  return { backups: backupsOf(daemon), rssMb: Math.round(rssKb / 1024), files };
}

async function write(connectString: string, signal: AbortSignal): Promise<void> {
  const client = await connectZooKeeper(connectString);
  for (let number = 0; !signal.aborted; number++) {
    await client.create(`/soak-${number}`, Buffer.alloc(500, number % 256));
    await sleep(20, undefined, { signal }).catch(() => {});
  }
  await client.close();
}

/** What a page and a scraper do: a stream of events that is left and opened again, and a look at everything. */
async function watch(url: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const left = AbortSignal.any([signal, AbortSignal.timeout(2_000)]);
    const stream = fetch(new URL("/api/v1/events", url), { signal: left }).then((response) => response.text());
    await Promise.all([
      stream.catch(() => {}),
      fetch(new URL("/metrics", url)).then((response) => response.text()),
      fetch(new URL("/api/v1/series/zk/backups", url)).then((response) => response.text()),
      fetch(new URL("/api/v1/status", url)).then(async (response) => (await response.json()) as DaemonStatus),
    ]);
  }
}
