import { resolve } from "node:path";
import { defineSource, type Source, type SourcePlugin } from "@zk-backyp/core";
import { captureHot } from "./capture.ts";
import { captureDamaged } from "./capture-damaged.ts";
import { parseOptions, type ZooKeeperSourceOptions } from "./options.ts";
import { prepareRehearsal } from "./rehearsal.ts";
import { restoreFiles } from "./restore.ts";
import { createVerifier } from "./verifier.ts";

export type { ZooKeeperSourceOptions } from "./options.ts";

/**
 * A ZooKeeper server's data as a source of backups. The server keeps running.
 *
 * Restores know the roles `main` (the `dataDir` to be) and `log` (the `dataLogDir`, where it is to be another).
 * Without options it can verify and restore, but not capture.
 */
export function createZooKeeperSource(options: ZooKeeperSourceOptions = {}): Source {
  const checked = parseOptions(options);
  return {
    name: "zookeeper",
    restoreRoles: ["log"],
    restoreKeeps: ["myid", "lost+found"],
    capture: (request, context) =>
      request.allowDamaged === true ? captureDamaged(checked, request, context) : captureHot(checked, request, context),
    verifier: createVerifier,
    restore: restoreFiles,
    rehearse: prepareRehearsal,
    async close() {},
  };
}

const zookeeper: SourcePlugin<ZooKeeperSourceOptions> = defineSource({
  name: "zookeeper",
  parseOptions,
  create: async ({ dataDir, dataLogDir, zooCfg, ...options }, { folder }) => {
    const paths = Object.entries({ dataDir, dataLogDir, zooCfg }).flatMap(([name, path]) =>
      path === undefined ? [] : [[name, resolve(folder, path)]],
    );
    return createZooKeeperSource({ ...options, ...Object.fromEntries(paths) });
  },
});

export default zookeeper;
