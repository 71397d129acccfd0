export { type Acl, type AclEntry, OPEN_ACL, OPEN_ACL_ID } from "./acl.ts";
export { ADLER32_START, adler32 } from "./adler32.ts";
export { type DataFile, type DataFiles, findDataFiles, type ServerFile } from "./directory.ts";
export { type FileErrorCode, ZooKeeperFileError } from "./file-error.ts";
export { type Compression, type FileName, logsFor, parseFileName } from "./file-names.ts";
export { JuteReader, type Refuse } from "./jute/jute-reader.ts";
export { JuteWriter } from "./jute/jute-writer.ts";
export { type CutLogOptions, cutLog } from "./log/cut-log.ts";
export { decodeTxn } from "./log/decode-txn.ts";
export { encodeTxn } from "./log/encode-txn.ts";
export {
  createLogChecker,
  DEFAULT_MAX_RECORD_BYTES,
  type LogChecker,
  type LogCheckOptions,
  type LogRecord,
} from "./log/log-checker.ts";
export type { ByteRange, LogFeatures, LogSummary, ZxidRun } from "./log/log-summary.ts";
export { type LoggedTxn, type ReadLogOptions, readLog } from "./log/read-log.ts";
export type {
  CheckOp,
  CloseSessionTxn,
  CreateContainerOp,
  CreateOp,
  CreateSessionTxn,
  CreateTtlOp,
  DeleteOp,
  ErrorOp,
  MultiOp,
  MultiTxn,
  SetAclOp,
  SetDataOp,
  Txn,
  TxnBody,
  TxnDigest,
  TxnHeader,
  TxnType,
} from "./log/txn.ts";
export { writeLog } from "./log/write-log.ts";
export type { FileProblem, Problem, Severity } from "./problem.ts";
export {
  type CheckDirectoryOptions,
  checkDirectory,
  type DirectoryReport,
  type ReportedLog,
  type ReportedSnapshot,
  type ReportedTree,
  type ReportedVerdict,
} from "./server/check-directory.ts";
export type { EpochFiles } from "./server/epoch-files.ts";
export {
  type CheckedLog,
  type CheckedSnapshot,
  followFrom,
  isReached,
  type PlanOptions,
  planRecovery,
  type Recoverable,
  type RecoveryPlan,
} from "./server/recovery.ts";
export { releaseRange, SERVER_RELEASES, type ServerRelease, serverRelease } from "./server/server-release.ts";
export {
  checkSet,
  DEFAULT_JUTE_MAX_BUFFER,
  type FileSet,
  type ReplayedState,
  type ServerSettings,
  type ServerVerdict,
} from "./server/server-verdict.ts";
export type { DamagedSnapshotReading, SnapshotReader, StrayNode } from "./snapshot/damaged-snapshot.ts";
export {
  type ReadSnapshotOptions,
  readSnapshot,
  type SnapshotAcl,
  type SnapshotItem,
  type SnapshotSession,
  type SnapshotZnode,
} from "./snapshot/read-snapshot.ts";
export {
  checkSnapshot,
  createSnapshotChecker,
  type SnapshotChecker,
  type SnapshotCheckOptions,
} from "./snapshot/snapshot-checker.ts";
export { SnapshotNode } from "./snapshot/snapshot-node.ts";
export { DEFAULT_MAX_FIELD_BYTES, type SnapshotHooks } from "./snapshot/snapshot-parser.ts";
export { lastTraceIn, type SnapshotDigest, type SnapshotSummary } from "./snapshot/snapshot-summary.ts";
export { type NodeContent, type SnapshotContent, writeSnapshot } from "./snapshot/write-snapshot.ts";
export { type ApplyRules, applyRulesOf } from "./tree/apply-txn.ts";
export type { DigestResult, SnapshotDigestVerdict } from "./tree/digest-proof.ts";
export { type LoadedTree, type LoadTreeOptions, loadTree } from "./tree/load-tree.ts";
export { createReplay, type Replay, type ReplayOptions, type ReplayResult } from "./tree/replay.ts";
export { type ChangedField, diffTrees, type TreeChange } from "./tree/tree-diff.ts";
export type { Znode, ZnodeTree } from "./tree/znode-tree.ts";
export { CONTAINER_OWNER, kindOf, ttlMsOf, ttlOwner, type ZnodeKind, type ZnodeStat } from "./znode-stat.ts";
export { counterOf, epochOf, formatZxid, isNextZxid } from "./zxid.ts";
