/**
 * What went wrong, as a stable word a program can branch on. Codes are only ever added.
 *
 * | code | meaning |
 * | --- | --- |
 * | `ERR_ABORTED` | the caller's signal was aborted |
 * | `ERR_BUSY` | another run of the same series is under way |
 * | `ERR_HELD` | a person, or what works on the thing that is backed up, has asked for no run for now |
 * | `ERR_SLOT_TAKEN` | another run has stored the backup for this slot of the schedule already |
 * | `ERR_NOT_ELECTED` | another node does the job, or this one can no longer prove that it does |
 * | `ERR_CONFIG_INVALID` | an option or a configuration value is wrong |
 * | `ERR_PLUGIN_NOT_FOUND` | no module of that name could be loaded |
 * | `ERR_PLUGIN_INVALID` | the module is no plugin, or one of another API version |
 * | `ERR_SOURCE_UNAVAILABLE` | the source cannot be read: missing, no permission, not reachable |
 * | `ERR_SOURCE_CHANGED` | the source changed during the capture, so that a new capture has to be made |
 * | `ERR_SOURCE_DAMAGED` | the source holds nothing that would restore without loss |
 * | `ERR_NODE_CONTROL` | what starts and stops the thing that is backed up (a supervisor) cannot be asked, or refuses |
 * | `ERR_STOP_REFUSED` | it was not stopped for a backup, since that would do harm now |
 * | `ERR_NODE_DOWN` | it was stopped for a backup and has not come back as it should: a person has to look at once |
 * | `ERR_SINK_UNAVAILABLE` | the store cannot be reached, or failed |
 * | `ERR_SINK_NOT_FOUND` | the store's directory or bucket does not exist |
 * | `ERR_SINK_DENIED` | the store refused the credentials or the operation |
 * | `ERR_SINK_FULL` | no space left in the store |
 * | `ERR_OBJECT_NOT_FOUND` | the store holds no such object |
 * | `ERR_OBJECT_EXISTS` | an object that must be new is there already |
 * | `ERR_BACKUP_NOT_FOUND` | the series has no such backup |
 * | `ERR_BACKUP_DAMAGED` | the backup is what was stored, but was kept although its source was damaged |
 * | `ERR_ARCHIVE_CORRUPT` | an archive cannot be decoded |
 * | `ERR_CHECKSUM_MISMATCH` | stored bytes are not the bytes that were written |
 * | `ERR_MANIFEST_INVALID` | a manifest cannot be parsed |
 * | `ERR_MANIFEST_UNSUPPORTED` | a manifest was written by a newer release |
 * | `ERR_TARGET_NOT_EMPTY` | the restore target holds something already |
 * | `ERR_TARGET_IN_USE` | something uses the data that a restore was to replace |
 * | `ERR_TARGET_UNAVAILABLE` | the restore target cannot be written |
 * | `ERR_REHEARSAL_FAILED` | the thing itself does not start on the restored backup, or holds other data than recorded |
 * | `ERR_REHEARSAL_UNAVAILABLE` | what a deep verification needs is not installed, or could not run |
 * | `ERR_DAEMON_UNAVAILABLE` | the daemon that runs cannot be asked, or is none |
 * | `ERR_INTERNAL` | a failure nobody foresaw; the cause says more |
 */
export type ErrorCode =
  | "ERR_ABORTED"
  | "ERR_BUSY"
  | "ERR_HELD"
  | "ERR_SLOT_TAKEN"
  | "ERR_NOT_ELECTED"
  | "ERR_CONFIG_INVALID"
  | "ERR_PLUGIN_NOT_FOUND"
  | "ERR_PLUGIN_INVALID"
  | "ERR_SOURCE_UNAVAILABLE"
  | "ERR_SOURCE_CHANGED"
  | "ERR_SOURCE_DAMAGED"
  | "ERR_NODE_CONTROL"
  | "ERR_STOP_REFUSED"
  | "ERR_NODE_DOWN"
  | "ERR_SINK_UNAVAILABLE"
  | "ERR_SINK_NOT_FOUND"
  | "ERR_SINK_DENIED"
  | "ERR_SINK_FULL"
  | "ERR_OBJECT_NOT_FOUND"
  | "ERR_OBJECT_EXISTS"
  | "ERR_BACKUP_NOT_FOUND"
  | "ERR_BACKUP_DAMAGED"
  | "ERR_ARCHIVE_CORRUPT"
  | "ERR_CHECKSUM_MISMATCH"
  | "ERR_MANIFEST_INVALID"
  | "ERR_MANIFEST_UNSUPPORTED"
  | "ERR_TARGET_NOT_EMPTY"
  | "ERR_TARGET_IN_USE"
  | "ERR_TARGET_UNAVAILABLE"
  | "ERR_REHEARSAL_FAILED"
  | "ERR_REHEARSAL_UNAVAILABLE"
  | "ERR_DAEMON_UNAVAILABLE"
  | "ERR_INTERNAL";

/** Facts about an error that a program may want: file, key, backup id. Never a secret. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

// Found on the error itself, so that two copies of core recognise each other's errors.
const MARK = "@zk-backyp/core/BackypError";

/**
 * The one error class that core and plugins throw on purpose. The message says what failed, on what, and what to do.
 * Test with {@link isBackypError}, not with `instanceof`: a plugin may carry its own copy of core.
 */
export class BackypError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BackypError";
    this.code = code;
    this.details = options.details ?? {};
    Object.defineProperty(this, MARK, { value: true });
  }
}

/** Whether `error` is a {@link BackypError}, of the given code if one is named; from any copy of core. */
export function isBackypError(error: unknown, code?: ErrorCode): error is BackypError {
  return error instanceof Error && MARK in error && (code === undefined || systemErrorCode(error) === code);
}

/**
 * `cause` where it is a BackypError, else one that says the same with `ERR_INTERNAL`: for who needs a code of bugs and of
 * system errors that nobody translated.
 */
export function withCode(cause: unknown): BackypError {
  if (isBackypError(cause)) return cause;
  return new BackypError("ERR_INTERNAL", cause instanceof Error ? cause.message : String(cause), { cause });
}

/** The error that an aborted signal stands for: its reason where that is a BackypError, else `ERR_ABORTED`. */
export function abortError(signal: AbortSignal): BackypError {
  if (isBackypError(signal.reason)) return signal.reason;
  return new BackypError("ERR_ABORTED", "the run was aborted", { cause: signal.reason });
}

/** Node's error code (`ENOENT`, `EACCES`, ...) of a failed system call, or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}
