import { createReadStream } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  fetchRelease,
  RELEASE_LINES,
  type Release,
  type ReleaseLine,
  requireReleases,
  startEnsemble,
  type ZooKeeperServer,
} from "@zk-backyp/testbed";
import { checkSnapshot, loadTree, parseFileName, type ReplayResult, type Znode } from "@zk-backyp/zookeeper-files";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LIVELY, readAll, startLively, startLoad, untilSnapshots, writeHistory } from "./load.ts";
import { MixedWriter } from "./mixed-writer.ts";
import { comparable, differences } from "./recorded.ts";
import type { ClientNode } from "./wire-client.ts";

const DIGESTS: readonly ReleaseLine[] = ["3.6", "3.7", "3.8", "3.9"];

describe.skipIf(!(await requireReleases()))("a replay of a real server's files", () => {
  let folder: string;
  let servers: ZooKeeperServer[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "zk-backyp-digest-"));
    servers = [];
  });
  afterEach(async () => {
    for (const server of servers) await server.kill();
    await rm(folder, { recursive: true });
  });

  it.each(RELEASE_LINES)("of %s leads to its tree and digests, from each of its snapshots", async (line) => {
    const release = await fetchRelease(line);
    const server = await startLively(release, join(folder, "live"));
    servers.push(server);
    await writeHistory(server, release);
    const load = await startLoad(server, release);
    await untilSnapshots(server, 3);
    await load.stop();
    const rest = await readAtRest(server);
    await server.kill();
    const snapshots = await wholeSnapshots(server);
    expect(snapshots.length).toBeGreaterThan(3);
    let digests = 0;
    for (const snapshot of snapshots) {
      const { txnDigests } = await expectReplayed(server, release, rest, snapshot);
      digests += txnDigests.compared;
    }
    // Every transaction is replayed from every snapshot before it.
    if (DIGESTS.includes(line)) expect(digests).toBeGreaterThan(5_000);
    else expect(digests).toBe(0);
  });

  it.each(RELEASE_LINES)("of a %s ensemble leads to each member's tree and digests", async (line) => {
    const release = await fetchRelease(line);
    servers = await startEnsemble({ release, directory: join(folder, "live"), size: 3, separateLogs: true, ...LIVELY });
    const [first, , last] = servers;
    if (first === undefined || last === undefined) throw new Error("no ensemble");
    const mixed = await MixedWriter.open(first.clientPort, line, "/history");
    await mixed.rounds(8);
    await mixed.close();
    // Most often the leader: its last, unconfirmed transactions go when it comes back.
    await last.kill();
    while (!/^Mode: /m.test(await first.fourLetterWord("srvr"))) await sleep(50);
    const load = await startLoad(first, release);
    await last.start();
    await untilSnapshots(last, 2);
    await load.stop();
    const rests: Array<readonly [ZooKeeperServer, AtRest]> = [];
    for (const server of servers) rests.push([server, await readAtRest(server)]);
    for (const server of servers) await server.kill();
    for (const [server, rest] of rests) {
      const names = await wholeSnapshots(server);
      // A member that was away may be sent a snapshot for what it missed. Its logs then have a gap before that. To read
      // the other members may have made this one write another, of a later moment.
      const newest = names.findLast((name) => (parseFileName(name)?.zxid ?? 0n) <= rest.zxid);
      if (newest === undefined) throw new Error("no snapshot");
      await expectReplayed(server, release, rest, newest);
    }
  });
});

/** Fails unless the files of a stopped server lead from one of its snapshots to what it had. */
async function expectReplayed(
  server: ZooKeeperServer,
  { line }: Release,
  { tree, zxid, nodeCount }: AtRest,
  snapshot: string,
): Promise<ReplayResult> {
  const loaded = await loadTree([join(server.snapshotDirectory, snapshot), server.logDirectory], {
    atZxid: zxid,
    keepData: () => true,
  });
  const { result } = loaded;
  expect(result.problems.filter(({ severity }) => severity !== "info")).toEqual([]);
  expect(loaded.zxid).toBe(zxid);
  expect(loaded.tree.nodes + 1).toBe(nodeCount);
  expect(result.txnDigests.matched).toBe(result.txnDigests.compared);
  if (DIGESTS.includes(line)) expect(result.matchedAt).not.toBeNull();
  const replayed = new Map([...loaded.tree.walk("/")].map((node) => [node.path, asSeen(node)]));
  expect([...replayed.keys()].sort()).toEqual([...tree.keys()].sort());
  // Each member of an ensemble writes its own configuration into it, in memory.
  replayed.delete("/zookeeper/config");
  expect(differences(comparable(tree, line), comparable(replayed, line))).toEqual([]);
  return result;
}

/** Names of the snapshots that were written to their end, oldest first: a kill may have come before that. */
async function wholeSnapshots({ snapshotDirectory }: ZooKeeperServer): Promise<string[]> {
  const whole: string[] = [];
  for (const name of await readdir(snapshotDirectory)) {
    if (parseFileName(name)?.kind !== "snapshot") continue;
    const body = createReadStream(join(snapshotDirectory, name));
    const summary = await checkSnapshot(body, { compression: "none" }).catch(() => null);
    if (summary !== null) whole.push(name);
  }
  const zxid = (name: string): bigint => parseFileName(name)?.zxid ?? 0n;
  return whole.sort((a, b) => (zxid(a) < zxid(b) ? -1 : 1));
}

interface AtRest {
  readonly tree: Map<string, ClientNode>;
  readonly zxid: bigint;
  readonly nodeCount: number;
}

async function askPosition(server: ZooKeeperServer): Promise<{ zxid: bigint; nodeCount: number }> {
  const answer = await server.fourLetterWord("srvr");
  const [, zxid = "", nodeCount] = /^Zxid: (0x[0-9a-f]+)$.*^Node count: (\d+)$/ms.exec(answer) ?? [];
  return { zxid: BigInt(zxid), nodeCount: Number(nodeCount) };
}

/** What is on a server at one moment: read while nothing but the reader's own session came and went. */
async function readAtRest(server: ZooKeeperServer): Promise<AtRest> {
  for (let tries = 0; tries < 50; tries += 1) {
    const before = await askPosition(server);
    const tree = await readAll(server);
    const after = await askPosition(server);
    if (after.zxid === before.zxid + 2n) return { tree, ...after };
    await sleep(200);
  }
  throw new Error("the server does not come to rest");
}

/** How a client would see a replayed znode. */
function asSeen({ kind, stat, childCount, acl, data }: Znode): Partial<ClientNode> {
  return {
    data: data ?? null,
    acl: acl ?? [],
    ...stat,
    cversion: 2 * stat.cversion - childCount,
    ephemeralOwner: kind === "ephemeral" ? stat.ephemeralOwner : 0n,
  };
}
