/**
 * Why a file or a path was refused. Codes are only ever added.
 *
 * | code | meaning |
 * | --- | --- |
 * | `SNAPSHOT_BAD_MAGIC` | the file does not begin with `ZKSN` |
 * | `SNAPSHOT_TRUNCATED` | the file ends inside something |
 * | `SNAPSHOT_BAD_LENGTH` | a length or a count is negative, or over the limit |
 * | `SNAPSHOT_BAD_PATH` | a node's path is not absolute, or the first node is not the root |
 * | `SNAPSHOT_ORPHAN_NODE` | a node does not follow its parent |
 * | `SNAPSHOT_BAD_SEAL` | a checksum does not match the bytes before it |
 * | `SNAPSHOT_BAD_DIGEST` | the digest section is of a version that no release writes |
 * | `SNAPSHOT_TRAILING_BYTES` | something follows the last seal |
 * | `SNAPSHOT_BAD_COMPRESSION` | the gzip or snappy stream cannot be decoded |
 * | `SNAPSHOT_TOO_MANY_ACLS` | more distinct ACLs than this library keeps track of |
 * | `TXN_MALFORMED` | the entry of a record is not what its type says, or is nothing that a server can apply |
 * | `NOT_WRITABLE` | what was to be written is nothing that a server reads |
 * | `LOG_DAMAGED` | a log cannot be cut at a txn, as it is damaged before it |
 * | `LOG_NOT_REACHED` | a log cannot be cut at a txn, as it ends before it |
 * | `POINT_NOT_COVERED` | the files do not reach the moment that was asked for |
 * | `NOT_RECOVERABLE` | the files hold no state that is known to be whole |
 * | `ZNODE_NOT_FOUND` | there is no znode of that path in the state that was looked at |
 * | `PATH_NOT_FOUND` | there is nothing at the path |
 * | `PATH_DENIED` | no permission to read the path |
 * | `PATH_NOT_USABLE` | the path is neither a directory nor a regular file, or cannot be read |
 * | `NOT_A_DATA_FILE` | the file's name is neither that of a snapshot nor that of a log |
 * | `NO_DATA_FILES` | no snapshot and no log in any of the given places |
 */
export type FileErrorCode =
  | "SNAPSHOT_BAD_MAGIC"
  | "SNAPSHOT_TRUNCATED"
  | "SNAPSHOT_BAD_LENGTH"
  | "SNAPSHOT_BAD_PATH"
  | "SNAPSHOT_ORPHAN_NODE"
  | "SNAPSHOT_BAD_SEAL"
  | "SNAPSHOT_BAD_DIGEST"
  | "SNAPSHOT_TRAILING_BYTES"
  | "SNAPSHOT_BAD_COMPRESSION"
  | "SNAPSHOT_TOO_MANY_ACLS"
  | "TXN_MALFORMED"
  | "NOT_WRITABLE"
  | "LOG_DAMAGED"
  | "LOG_NOT_REACHED"
  | "POINT_NOT_COVERED"
  | "NOT_RECOVERABLE"
  | "ZNODE_NOT_FOUND"
  | "PATH_NOT_FOUND"
  | "PATH_DENIED"
  | "PATH_NOT_USABLE"
  | "NOT_A_DATA_FILE"
  | "NO_DATA_FILES";

/**
 * The one error that this library throws about files. (What is wrong with a transaction log is not thrown but listed
 * in `LogSummary.problems`: the records before the damage are still good.)
 */
export class ZooKeeperFileError extends Error {
  readonly code: FileErrorCode;
  /** Bytes from the start of the uncompressed file, or null where no place can be named. */
  readonly offset: number | null;

  constructor(code: FileErrorCode, offset: number | null, message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ZooKeeperFileError";
    this.code = code;
    this.offset = offset;
  }
}
