import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  connectZooKeeper,
  createRecordedWriter,
  type RecordedWriter,
  requirePart,
  startZooKeeper,
  type ZooKeeperServer,
  zooKeeperMissing,
} from "../src/index.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("a recorded writer", () => {
  let directory: string;
  let server: ZooKeeperServer;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "zk-backyp-testbed-"));
    server = await startZooKeeper({ directory });
  });

  afterEach(async () => {
    await server.kill();
    await rm(directory, { recursive: true, force: true });
  });

  async function expectServed(writer: RecordedWriter, zxid: bigint): Promise<void> {
    const client = await connectZooKeeper(server.connectString);
    const served = await client.readTree(writer.root);
    await client.close();
    const recorded = writer.treeAt(zxid);
    expect([...served.keys()].toSorted()).toEqual([...recorded.keys()].toSorted());
    for (const [path, znode] of served) {
      expect(znode.data, path).toEqual(recorded.get(path));
      expect(znode.mzxid, path).toBe(writer.mzxidAt(path, zxid));
    }
  }

  it("knows what the tree holds, at 500 writes per second", async () => {
    const writer = createRecordedWriter({ connectString: server.connectString, znodes: 500 });
    await writer.start();
    await sleep(4_000);
    const { writes } = writer;
    await writer.stop();
    expect(writes).toBeGreaterThan(1_600);
    expect(writes).toBeLessThan(2_200);
    expect(writer.refused).toBeGreaterThan(10);
    expect([...writer.treeAt(writer.lastZxid).keys()].some((path) => path.startsWith("/load/ephemeral/"))).toBe(false);
    // Nobody else has written: each write took the next zxid, the refused ones too.
    const zxids = writer.zxids();
    expect(BigInt(zxids.length - 1)).toBe(writer.lastZxid - (zxids[0] ?? 0n));
    await expectServed(writer, writer.lastZxid);
    expect(() => writer.treeAt(writer.lastZxid + 1n)).toThrow(RangeError);
  });

  it("keeps a record that holds when the server is killed", async () => {
    const writer = createRecordedWriter({ connectString: server.connectString, rate: 300 });
    await writer.start();
    await sleep(1_000);
    await server.kill();
    await expect.poll(() => writer.interrupted).toMatchObject({ code: "CONNECTION_LOSS" });
    await writer.stop();
    await server.start();
    const client = await connectZooKeeper(server.connectString);
    const served = await client.readTree(writer.root);
    await client.close();
    // Everything answered is there; of what was not answered, some may be.
    for (const [path, data] of writer.treeAt(writer.lastZxid)) {
      const znode = served.get(path);
      if (znode !== undefined && znode.mzxid <= writer.lastZxid) expect(znode.data, path).toEqual(data);
    }
    for (const [path, znode] of served) {
      if (znode.mzxid <= writer.lastZxid) expect(znode.mzxid, path).toBe(writer.mzxidAt(path, writer.lastZxid));
    }
  });
});
