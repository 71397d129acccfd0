import { join } from "node:path";
import { type Release, startZooKeeper } from "@zk-backyp/testbed";
import type { Places } from "./oracle.ts";

/** Starts a whole server of a release on the directories. Where it comes up, or null if it ends instead. */
export async function startOnce(release: Release, { snapshots, logs }: Places): Promise<bigint | null> {
  const server = await startZooKeeper({
    release,
    directory: join(snapshots, "../server"),
    dataDir: snapshots,
    dataLogDir: logs,
    javaOptions: ["-Dzookeeper.extendedTypesEnabled=true"],
  }).catch((error: unknown) => {
    if (/\(exit code \d+\)/.test(String(error))) return null;
    throw error;
  });
  if (server === null) return null;
  try {
    const [, zxid = ""] = /Zxid: (0x[0-9a-f]+)/.exec(await server.fourLetterWord("srvr")) ?? [];
    return BigInt(zxid);
  } finally {
    await server.kill();
  }
}
