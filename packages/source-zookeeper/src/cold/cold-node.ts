import { join } from "node:path";
import { BackypError } from "@zk-backyp/core";
import { formatServerAddress, type ServerAddress } from "../ensemble/server-address.ts";
import type { Location } from "../locate.ts";
import type { NodeControl } from "../node-control/node-control.ts";
import type { ZooKeeperSourceOptions } from "../options.ts";
import { askServing } from "../server-status.ts";
import { type JournalFile, journalIn } from "../stop-promise/journal.ts";
import { whyKeepStopped } from "../stop-promise/why-keep-stopped.ts";
import type { AwaitedNode } from "./await-node.ts";
import { COLD_DEFAULTS, type ColdDefaults, type ColdOptions } from "./cold-options.ts";

/** One node as a cold backup sees it. */
export interface ColdNode extends AwaitedNode {
  /** `the node 127.0.0.1:2181 (monit's service zookeeper)`. */
  readonly name: string;
  readonly location: Location;
  readonly server: ServerAddress;
  readonly tls: ZooKeeperSourceOptions["tls"];
  readonly options: ColdOptions & ColdDefaults;
  readonly stateDir: string;
  readonly journal: JournalFile;
}

export function stateDirOf({ stateDir }: ColdOptions, { dataDir }: Location): string {
  return stateDir ?? join(dataDir, ".zk-backyp");
}

/**
 * Puts together what is known of the node that is to be stopped.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` when nothing says at which port it answers
 */
export function coldNode(
  { cold, tls }: Pick<ZooKeeperSourceOptions, "cold" | "tls">,
  location: Location,
  control: NodeControl,
): ColdNode {
  const { server } = location;
  if (cold === undefined || server === null) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `mode "cold" asks the server before it stops it and after it started it: say where, by ${
        cold === undefined ? "cold.control" : "server (host:port) or zooCfg"
      }`,
    );
  }
  const options = { ...COLD_DEFAULTS, ...cold };
  const stateDir = stateDirOf(cold, location);
  return {
    name: `the node ${formatServerAddress(server)} (${control.name})`,
    location,
    server,
    tls,
    options,
    control,
    stateDir,
    journal: journalIn(stateDir),
    port: server,
    ask: (timeoutMs, signal) => askServing(server, { tls, timeoutMs }, signal),
    whyKeepStopped: (signal) => whyKeepStopped({ control, stayStoppedFile: options.stayStoppedFile }, signal),
  };
}
