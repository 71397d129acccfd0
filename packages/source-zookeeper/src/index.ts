import {
  abortError,
  BackypError,
  type Candidacy,
  defineSource,
  type JsonObject,
  type Source,
  type SourcePlugin,
} from "@zk-backyp/core";
import { captureFiles } from "./capture.ts";
import { captureDamaged } from "./capture-damaged.ts";
import { liveServer } from "./captured-server.ts";
import { checkServer } from "./check.ts";
import { type ColdCaptures, coldCaptures, owesStart } from "./cold/capture-cold.ts";
import { ZooKeeperCandidacy } from "./election/candidacy.ts";
import { ELECTION_DEFAULTS } from "./election/election-options.ts";
import { electionServers } from "./election/election-servers.ts";
import type { NodeControl } from "./node-control/node-control.ts";
import { openNodeControl } from "./node-control/open-node-control.ts";
import { nodeName } from "./node-name.ts";
import { optionsJsonSchema, parseOptions, type ZooKeeperSourceOptions } from "./options.ts";
import { prepareRehearsal } from "./rehearsal.ts";
import { resolvePaths } from "./resolve-paths.ts";
import { restoreFiles } from "./restore.ts";
import { openReplacement } from "./restore-in-place/replacement.ts";
import { createVerifier } from "./verifier.ts";

export { BOSH_STOPPED_FILE, type ColdOptions } from "./cold/cold-options.ts";
export { COLD_STEPS, type ColdStep } from "./cold/cold-stop.ts";
export type { Downtime } from "./cold/downtime.ts";
export type { ElectionOptions } from "./election/election-options.ts";
export type { TlsFiles } from "./ensemble/tls-files.ts";
export { type FoundServer, findServers, type HostOptions } from "./host/find-servers.ts";
export type { FoundSupervisor } from "./host/supervisor.ts";
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
  const candidacies = new Set<Candidacy>();
  let opened: { readonly control: NodeControl; readonly captures: ColdCaptures } | null = null;
  /** What stops the node may not be installed where backups are only read. */
  const openCold = (): NonNullable<typeof opened> => {
    if (checked.cold === undefined) throw new BackypError("ERR_CONFIG_INVALID", "there is no cold.control");
    if (opened === null) {
      const { control: given } = checked.cold;
      const control = "use" in given ? openNodeControl(given, folder) : given;
      opened = { control, captures: coldCaptures(checked, control) };
    }
    return opened;
  };
  const cold = (): ColdCaptures => openCold().captures;
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
    replace: (targets, context) => openReplacement(checked, targets, context),
    rehearse: prepareRehearsal,
    check: (context) => checkServer(checked, () => openCold().control, context),
    async recover(context): Promise<JsonObject> {
      // Whatever the mode is now: another run may have been cold.
      if (checked.cold === undefined) return { did: "nothing" };
      return { ...(await cold().recover(context)) };
    },
    async elect(name, label, { signal }) {
      if (signal.aborted) throw abortError(signal);
      const { tls, election } = checked;
      const servers = await electionServers(checked);
      const candidacy = new ZooKeeperCandidacy({
        ...ELECTION_DEFAULTS,
        ...election,
        ...servers,
        tls,
        name,
        label,
        signal,
      });
      candidacies.add(candidacy);
      return candidacy;
    },
    nodeName: (context) => nodeName(checked, context),
    async close() {
      await Promise.all([...candidacies].map((candidacy) => candidacy.close()));
      await opened?.control.close();
    },
  };
}

const zookeeper: SourcePlugin<ZooKeeperSourceOptions> = defineSource({
  name: "zookeeper",
  parseOptions,
  optionsJsonSchema,
  create: async (options, { folder }) => createZooKeeperSource(options, folder),
});

export default zookeeper;
