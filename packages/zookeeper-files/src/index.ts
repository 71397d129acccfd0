export { type Acl, type AclEntry, OPEN_ACL, OPEN_ACL_ID } from "./acl.ts";
export { ADLER32_START, adler32 } from "./adler32.ts";
export { type ApplyRules, applyRulesOf } from "./apply-txn.ts";
export {
  type CheckDirectoryOptions,
  checkDirectory,
  type DirectoryReport,
  type ReportedLog,
  type ReportedSnapshot,
  type ReportedTree,
  type ReportedVerdict,
} from "./check-directory.ts";
export { type CutLogOptions, cutLog } from "./cut-log.ts";
export type { DamagedSnapshotReading, SnapshotReader, StrayNode } from "./damaged-snapshot.ts";
export { decodeTxn } from "./decode-txn.ts";
export type { DigestResult, SnapshotDigestVerdict } from "./digest-proof.ts";
export { type DataFile, type DataFiles, findDataFiles, type ServerFile } from "./directory.ts";
export { encodeTxn } from "./encode-txn.ts";
export type { EpochFiles } from "./epoch-files.ts";
export { type FileErrorCode, ZooKeeperFileError } from "./file-error.ts";
export { type Compression, type FileName, logsFor, parseFileName } from "./file-names.ts";
export { type LoadedTree, type LoadTreeOptions, loadTree } from "./load-tree.ts";
export {
  createLogChecker,
  DEFAULT_MAX_RECORD_BYTES,
  type LogChecker,
  type LogCheckOptions,
  type LogRecord,
} from "./log-checker.ts";
export type { LogFeatures, LogSummary, ZxidRun } from "./log-summary.ts";
export type { FileProblem, Problem, Severity } from "./problem.ts";
export { type LoggedTxn, type ReadLogOptions, readLog } from "./read-log.ts";
export {
  type ReadSnapshotOptions,
  readSnapshot,
  type SnapshotAcl,
  type SnapshotItem,
  type SnapshotSession,
  type SnapshotZnode,
} from "./read-snapshot.ts";
export {
  type CheckedLog,
  type CheckedSnapshot,
  isReached,
  type PlanOptions,
  planRecovery,
  type Recoverable,
  type RecoveryPlan,
} from "./recovery.ts";
export { createReplay, type Replay, type ReplayOptions, type ReplayResult } from "./replay.ts";
export { releaseRange, SERVER_RELEASES, type ServerRelease, serverRelease } from "./server-release.ts";
export {
  checkSet,
  DEFAULT_JUTE_MAX_BUFFER,
  type FileSet,
  type ReplayedState,
  type ServerSettings,
  type ServerVerdict,
} from "./server-verdict.ts";
export {
  checkSnapshot,
  createSnapshotChecker,
  type SnapshotChecker,
  type SnapshotCheckOptions,
} from "./snapshot-checker.ts";
export { SnapshotNode } from "./snapshot-node.ts";
export { DEFAULT_MAX_FIELD_BYTES, type SnapshotHooks } from "./snapshot-parser.ts";
export { lastTraceIn, type SnapshotDigest, type SnapshotSummary } from "./snapshot-summary.ts";
export { type ChangedField, diffTrees, type TreeChange } from "./tree-diff.ts";
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
} from "./txn.ts";
export { writeLog } from "./write-log.ts";
export { type NodeContent, type SnapshotContent, writeSnapshot } from "./write-snapshot.ts";
export { CONTAINER_OWNER, kindOf, ttlMsOf, ttlOwner, type ZnodeKind, type ZnodeStat } from "./znode-stat.ts";
export type { Znode, ZnodeTree } from "./znode-tree.ts";
export { counterOf, epochOf, formatZxid, isNextZxid } from "./zxid.ts";
