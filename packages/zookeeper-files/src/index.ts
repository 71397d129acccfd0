export { type Acl, type AclEntry, OPEN_ACL, OPEN_ACL_ID } from "./acl.ts";
export { ADLER32_START, adler32 } from "./adler32.ts";
export { type DataFile, type DataFiles, findDataFiles, type ServerFile } from "./directory.ts";
export { type FileErrorCode, ZooKeeperFileError } from "./file-error.ts";
export { type Compression, type FileName, logsFor, parseFileName } from "./file-names.ts";
export { type InspectedLog, type InspectedSnapshot, type InspectReport, inspect } from "./inspect.ts";
export {
  createLogChecker,
  DEFAULT_MAX_RECORD_BYTES,
  type LogChecker,
  type LogCheckOptions,
  type LogRecord,
} from "./log-checker.ts";
export type { LogFeatures, LogSummary, ZxidRun } from "./log-summary.ts";
export type { FileProblem, Problem, Severity } from "./problem.ts";
export {
  type CheckedLog,
  type CheckedSnapshot,
  isReached,
  type PlanOptions,
  planRecovery,
  type Recoverable,
  type RecoveryPlan,
} from "./recovery.ts";
export {
  checkSnapshot,
  createSnapshotChecker,
  type SnapshotChecker,
  type SnapshotCheckOptions,
} from "./snapshot-checker.ts";
export { SnapshotNode } from "./snapshot-node.ts";
export { DEFAULT_MAX_FIELD_BYTES, type SnapshotHooks } from "./snapshot-parser.ts";
export type { SnapshotDigest, SnapshotSummary } from "./snapshot-summary.ts";
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
export { CONTAINER_OWNER, kindOf, ttlMsOf, ttlOwner, type ZnodeKind, type ZnodeStat } from "./znode-stat.ts";
export { counterOf, epochOf, formatZxid, isNextZxid } from "./zxid.ts";
