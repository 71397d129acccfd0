import type { JsonObject, RunContext } from "@zk-backyp/core";
import type { Rejection } from "./choose-files.ts";
import { type ConfigFile, readConfigFiles } from "./config-files.ts";
import { factsOf, statusOf } from "./facts.ts";
import { type Location, locate } from "./locate.ts";
import type { ZooKeeperSourceOptions } from "./options.ts";
import type { ServerStatus } from "./server-status.ts";

/** A server whose files are to be captured: where they are read from, and what is known of it. */
export interface CapturedServer {
  readonly location: Location;
  readonly config: readonly ConfigFile[];
  /** The server's own word, if it can be had. */
  status(): Promise<ServerStatus | null>;
  /** What the manifest says of it. */
  facts(status: ServerStatus | null, passedOver: readonly Pick<Rejection, "file" | "reason">[]): JsonObject;
}

/**
 * The server as it is at this moment, running or not.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_SOURCE_UNAVAILABLE`
 */
export async function liveServer(options: ZooKeeperSourceOptions, context: RunContext): Promise<CapturedServer> {
  const location = await locate(options, context.signal);
  const config = await readConfigFiles(location, context.logger);
  return {
    location,
    config,
    status: () => statusOf(location, options, context),
    facts: (status, passedOver) => ({ mode: "hot", ...factsOf(location, status, config, passedOver) }),
  };
}
