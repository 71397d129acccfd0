import { BackypError, defineSource, type JsonObject, type Source, type SourcePlugin } from "@zk-backyp/core";
import { captureFiles } from "./capture.ts";
import { captureDamaged } from "./capture-damaged.ts";
import { liveServer } from "./captured-server.ts";
import { type ColdCaptures, coldCaptures, owesStart } from "./cold/capture-cold.ts";
import type { NodeControl } from "./node-control/node-control.ts";
import { openNodeControl } from "./node-control/open-node-control.ts";
import { parseOptions, type ZooKeeperSourceOptions } from "./options.ts";
import { prepareRehearsal } from "./rehearsal.ts";
import { resolvePaths } from "./resolve-paths.ts";
import { restoreFiles } from "./restore.ts";
import { createVerifier } from "./verifier.ts";

export { BOSH_STOPPED_FILE, type ColdOptions } from "./cold/cold-options.ts";
export { COLD_STEPS, type ColdStep } from "./cold/cold-stop.ts";
export type { Downtime } from "./cold/downtime.ts";
export type { TlsFiles } from "./ensemble/tls-files.ts";
export type { NodeControl, NodeState, NodeStatus } from "./node-control/node-control.ts";
export { type NodeControlOptions, nodeControlSchema, openNodeControl } from "./node-control/open-node-control.ts";
export type { ZooKeeperSourceOptions } from "./options.ts";
export { type RootHelper, type RootHelperOptions, startRootHelper } from "./root-helper/root-helper.ts";

/**
 * A ZooKeeper server's data as a source of backups. The server keeps running, unless `mode` is `cold`.
 *
 * Restores know the roles `main` (the `dataDir` to be) and `log` (the `dataLogDir`, where it is to be another).
 * Without options it can verify and restore, but not capture.
 *
 * @param folder what relative paths in the options count from. Default: the working directory
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function createZooKeeperSource(options: ZooKeeperSourceOptions = {}, folder: string = process.cwd()): Source {
  const checked = resolvePaths(parseOptions(options), folder);
  let opened: { readonly control: NodeControl; readonly captures: ColdCaptures } | null = null;
  /** What stops the node may not be installed where backups are only read. */
  const cold = (): ColdCaptures => {
    if (checked.cold === undefined) throw new BackypError("ERR_CONFIG_INVALID", "there is no cold.control");
    if (opened === null) {
      const { control: given } = checked.cold;
      const control = "use" in given ? openNodeControl(given, folder) : given;
      opened = { control, captures: coldCaptures(checked, control) };
    }
    return opened.captures;
  };
  return {
    name: "zookeeper",
    restoreRoles: ["log"],
    restoreKeeps: ["myid", "lost+found", ".zk-backyp"],
    disturbs: checked.mode === "cold",
    async capture(request, context) {
      if (checked.mode === "cold") return cold().capture(request, context);
      // A cold run that died may have left the node down.
      if (await owesStart(checked, context.signal)) await cold().recover(context);
      const server = await liveServer(checked, context);
      return request.allowDamaged === true
        ? captureDamaged(server, request, context)
        : captureFiles(server, request, context);
    },
    verifier: createVerifier,
    restore: restoreFiles,
    rehearse: prepareRehearsal,
    async recover(context): Promise<JsonObject> {
      // Whatever the mode is now: another run may have been cold.
      if (checked.cold === undefined) return { did: "nothing" };
      return { ...(await cold().recover(context)) };
    },
    async close() {
      await opened?.control.close();
    },
  };
}

const zookeeper: SourcePlugin<ZooKeeperSourceOptions> = defineSource({
  name: "zookeeper",
  parseOptions,
  create: async (options, { folder }) => createZooKeeperSource(options, folder),
});

export default zookeeper;
