import assert from "node:assert/strict";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Manifest, Series } from "@zk-backyp/core";
import {
  connectZooKeeper,
  type RecordedWriter,
  startZooKeeper,
  type Znode,
  type ZooKeeperOptions,
} from "@zk-backyp/testbed";

/** What a real server holds that was started from a restored backup. */
export interface RestoredServer {
  /** As `srvr` reports it, before anybody has connected. */
  readonly zxid: string;
  readonly nodeCount: number;
  readonly tree: ReadonlyMap<string, Znode>;
}

/** Restores a backup below `directory`, starts a real server on it, reads everything it has, and clears up. */
export async function startRestored(
  series: Series,
  manifest: Manifest,
  directory: string,
  options: { readonly separateLogs?: boolean } & Partial<ZooKeeperOptions> = {},
): Promise<RestoredServer> {
  const { separateLogs = false, ...serverOptions } = options;
  await mkdir(directory, { recursive: true });
  const main = join(directory, "data");
  const log = join(directory, "log");
  await series.restore(manifest.id, separateLogs ? { main, log } : { main });
  const server = await startZooKeeper({
    ...serverOptions,
    directory: join(directory, "server"),
    dataDir: main,
    ...(separateLogs ? { dataLogDir: log } : {}),
  });
  try {
    const srvr = await server.fourLetterWord("srvr");
    const client = await connectZooKeeper(server.connectString);
    const tree = await client.readTree();
    await client.close();
    return {
      zxid: /^Zxid: (\S+)/m.exec(srvr)?.[1] ?? "",
      nodeCount: Number(/^Node count: (\d+)/m.exec(srvr)?.[1]),
      tree,
    };
  } finally {
    await server.kill();
    await rm(directory, { recursive: true });
  }
}

/** Rejects unless the server holds, below the writer's root, exactly what the writer's record says for that zxid. */
export function assertTreeIsRecorded(restored: RestoredServer, writer: RecordedWriter, zxid: bigint): void {
  const expected = writer.treeAt(zxid);
  const found = [...restored.tree].filter(([path]) => path === writer.root || path.startsWith(`${writer.root}/`));
  assert.deepEqual(found.map(([path]) => path).sort(), [...expected.keys()].sort(), "other znodes than recorded");
  for (const [index, [path, { data, mzxid }]] of found.entries()) {
    const want = expected.get(path) ?? null;
    assert.ok(
      want === null ? data === null || data.byteLength === 0 : data?.equals(want),
      `${path} holds ${data} instead of ${want}`,
    );
    // The record is searched from its end for each: one in forty is enough, or the writer falls behind.
    if (path !== writer.root && index % 40 === 0) {
      assert.equal(mzxid, writer.mzxidAt(path, zxid), `${path} was not last changed when recorded`);
    }
  }
}
