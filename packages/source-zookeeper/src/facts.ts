import { dirname } from "node:path";
import { isBackypError, type JsonObject, type RunContext, systemErrorCode } from "@zk-backyp/core";
import { formatZxid } from "@zk-backyp/zookeeper-files";
import type { Rejection } from "./choose-files.ts";
import { type ConfigFile, information } from "./config-files.ts";
import type { Location } from "./locate.ts";
import type { ZooKeeperSourceOptions } from "./options.ts";
import { askStatus, isNotServing, type ServerStatus } from "./server-status.ts";

/**
 * The server's own word, if it can be had. One that is down, or has no quorum, is gone on without. Else a server that was
 * named must answer: what does not speak as it should is no proof that a server is down. One that is only known need not.
 */
export async function statusOf(
  { server }: Location,
  options: ZooKeeperSourceOptions,
  { signal, logger }: RunContext,
): Promise<ServerStatus | null> {
  if (server === null) return null;
  try {
    const status = await askStatus(server, { tls: options.tls }, signal);
    if ((status.digestMismatches ?? 0) > 0) {
      logger.warn(
        { server, digestMismatches: status.digestMismatches },
        `the server's data has differed from its leader's ${status.digestMismatches} times (zk_digest_mismatches_count): back up another member, and replace this one's data`,
      );
    }
    return status;
  } catch (error) {
    if (!isBackypError(error, "ERR_SOURCE_UNAVAILABLE")) throw error;
    const isDown = isNotServing(error) || systemErrorCode(error.cause) === "ECONNREFUSED";
    if (options.server !== undefined && !isDown) throw error;
    logger.warn({ server }, `${error.message}; going on with the files alone`);
    return null;
  }
}

/** What is known of a server when it is captured. */
export function factsOf(
  location: Location,
  status: ServerStatus | null,
  config: readonly ConfigFile[],
  passedOver: readonly Pick<Rejection, "file" | "reason">[],
): JsonObject {
  return {
    server:
      status === null
        ? null
        : {
            version: status.version,
            role: status.role,
            zxid: formatZxid(status.zxid),
            nodeCount: status.nodeCount,
            digestMismatches: status.digestMismatches,
          },
    myid: information(config, "myid"),
    epochs: { current: information(config, "currentEpoch"), accepted: information(config, "acceptedEpoch") },
    dataDir: location.dataDir,
    dataLogDir: location.logs === null ? null : dirname(location.logs),
    passedOver: passedOver.map(({ file, reason }) => ({ file, reason })),
  };
}
