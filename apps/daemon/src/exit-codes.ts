import { type ErrorCode, isBackypError } from "@zk-backyp/core";
import { type FileErrorCode, ZooKeeperFileError } from "@zk-backyp/zookeeper-files";

/** What the process says by its exit code. Documented, and only ever added to. */
export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  damage: 3,
  notFound: 4,
  busy: 5,
  /** Only of `diff --exit-code`. */
  different: 6,
  /** A server that was stopped for a backup is down: a person has to look at once. */
  nodeDown: 7,
  aborted: 130,
} as const;

const byErrorCode: Partial<Record<ErrorCode, number>> = {
  ERR_ABORTED: ExitCode.aborted,
  ERR_BUSY: ExitCode.busy,
  ERR_CONFIG_INVALID: ExitCode.usage,
  ERR_NODE_DOWN: ExitCode.nodeDown,
  ERR_PLUGIN_NOT_FOUND: ExitCode.usage,
  ERR_PLUGIN_INVALID: ExitCode.usage,
  ERR_TARGET_IN_USE: ExitCode.busy,
  ERR_TARGET_NOT_EMPTY: ExitCode.usage,
  ERR_BACKUP_NOT_FOUND: ExitCode.notFound,
  ERR_SOURCE_DAMAGED: ExitCode.damage,
  ERR_BACKUP_DAMAGED: ExitCode.damage,
  ERR_REHEARSAL_FAILED: ExitCode.damage,
  ERR_ARCHIVE_CORRUPT: ExitCode.damage,
  ERR_CHECKSUM_MISMATCH: ExitCode.damage,
  ERR_MANIFEST_INVALID: ExitCode.damage,
};

const byFileErrorCode: Partial<Record<FileErrorCode, number>> = {
  ZNODE_NOT_FOUND: ExitCode.notFound,
  NOT_RECOVERABLE: ExitCode.damage,
};

/** The exit code that an error ends the process with: 1 for what has none of its own. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof ZooKeeperFileError) {
    // What was read is no good snapshot.
    if (error.code.startsWith("SNAPSHOT_")) return ExitCode.damage;
    return byFileErrorCode[error.code] ?? ExitCode.failed;
  }
  return (isBackypError(error) ? byErrorCode[error.code] : undefined) ?? ExitCode.failed;
}
