import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  connectZooKeeper,
  createRecordedWriter,
  type RecordedWriter,
  type Release,
  startZooKeeper,
  type ZooKeeperOptions,
  type ZooKeeperServer,
} from "@zk-backyp/testbed";
import { connectOwner, MixedWriter } from "./mixed-writer.ts";
import type { ClientNode } from "./wire-client.ts";

/** Snapshots every few hundred transactions, and containers and TTL znodes that go soon. */
export const LIVELY: Pick<ZooKeeperOptions, "javaOptions"> = {
  javaOptions: ["-Dzookeeper.snapCount=400", "-Dznode.container.checkIntervalMs=200"],
};

/** Starts a server of a release that writes snapshots often. */
export function startLively(release: Release, directory: string): Promise<ZooKeeperServer> {
  return startZooKeeper({ release, directory, dataLogDir: join(directory, "log"), ...LIVELY });
}

/**
 * Gives a server a past: everything a release can write below `/history`, a session that expires, a restart, and below
 * `/crash` what is left of writing that a `kill -9` broke off.
 */
export async function writeHistory(server: ZooKeeperServer, { line }: Release): Promise<void> {
  const mixed = await MixedWriter.open(server.clientPort, line, "/history");
  await mixed.rounds(21);
  await expireSession(server);
  await mixed.close();
  await server.stop();
  await server.start();

  const crashed = createRecordedWriter({ connectString: server.connectString, root: "/crash", znodes: 300 });
  await crashed.start();
  while (crashed.writes < 600) await sleep(10);
  await server.kill();
  await crashed.stop();
  await server.start();
}

async function expireSession(server: ZooKeeperServer): Promise<void> {
  const lost = await connectZooKeeper(server.connectString, { sessionTimeoutMs: 2_000 });
  await lost.create("/of-lost-session", null, { ephemeral: true });
  lost.abandon();
  const client = await connectOwner(server.clientPort);
  while ((await client.readTree("/of-lost-session")).size > 0) await sleep(100);
  await client.close();
}

/** Everything on a server, as a client sees it. */
export async function readAll(server: ZooKeeperServer): Promise<Map<string, ClientNode>> {
  const client = await connectOwner(server.clientPort);
  const tree = await client.readTree();
  await client.close();
  return tree;
}

/** Two writers at work, and what was there before them. */
export interface Load {
  readonly past: ReadonlyMap<string, ClientNode>;
  readonly mixed: MixedWriter;
  readonly steady: RecordedWriter;
  /** Ends the writing. The ephemeral znodes of one of the two stay. */
  stop(): Promise<void>;
}

/** Notes what is on a server, and begins to write below `/mixed` and `/steady`. */
export async function startLoad(server: ZooKeeperServer, { line }: Release): Promise<Load> {
  const past = await readAll(server);
  const mixed = await MixedWriter.open(server.clientPort, line, "/mixed");
  const steady = createRecordedWriter({ connectString: server.connectString, root: "/steady", rate: 300, znodes: 500 });
  await steady.start();
  mixed.start();
  return {
    past,
    mixed,
    steady,
    async stop() {
      await mixed.stop();
      await steady.stop();
      mixed.abandon();
    },
  };
}

/** Resolves when the server has begun `count` more snapshots. */
export async function untilSnapshots(server: ZooKeeperServer, count: number): Promise<void> {
  const snapshots = async (): Promise<number> =>
    (await readdir(server.snapshotDirectory)).filter((name) => name.startsWith("snapshot.")).length;
  const before = await snapshots();
  while ((await snapshots()) < before + count) await sleep(50);
}
