import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  connectZooKeeper,
  requirePart,
  startZooKeeper,
  unpackFixture,
  writeSampleData,
  zooKeeperMissing,
} from "../src/index.ts";

describe.skipIf(!requirePart(zooKeeperMissing()))("sample data", () => {
  let directory: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "zk-backyp-testbed-"));
  });

  afterEach(async () => {
    await rm(directory, { recursive: true, force: true });
  });

  it("fills a server with some hundred znodes", async () => {
    const server = await startZooKeeper({ directory });
    try {
      const client = await connectZooKeeper(server.connectString);
      const count = await writeSampleData(client);
      const tree = await client.readTree();
      expect(tree.size - 1).toBe(count);
      expect(count).toBeGreaterThan(300);
      expect(tree.get("/app/config/grüße")?.data?.toString()).toBe("Grüße, 你好");
      await client.close();
    } finally {
      await server.stop();
    }
  });

  it("is not the only data there is: a server serves an unpacked fixture", async () => {
    const { dataDir, dataLogDir } = await unpackFixture("zookeeper-3.8.0-rich", directory);
    const server = await startZooKeeper({ directory: join(directory, "server"), dataDir, dataLogDir });
    try {
      const client = await connectZooKeeper(server.connectString);
      expect((await client.readTree("/app/cfg")).size).toBeGreaterThan(400);
      await client.close();
    } finally {
      await server.stop();
    }
  });
});
