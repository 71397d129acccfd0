import type { Acl } from "../acl.ts";

/** What every txn has. */
export interface TxnHeader {
  readonly zxid: bigint;
  /** The leader's clock, in milliseconds since 1970. */
  readonly timeMs: number;
  readonly sessionId: bigint;
  /** The session's own number for its request. */
  readonly cxid: number;
}

/** The tree digest that 3.6 and later write behind each txn: of the tree after it. */
export interface TxnDigest {
  /** 2 in every release so far. */
  readonly version: number;
  readonly value: bigint;
}

/** Makes a znode. Sequential names are final. */
export interface CreateOp {
  readonly type: "create" | "create2";
  readonly path: string;
  readonly data: Buffer | null;
  readonly acl: Acl | null;
  readonly ephemeral: boolean;
  /** The parent's cversion after it; -1: one more than it was. Null in the form of 3.3 and older, which has no such field. */
  readonly parentCversion: number | null;
}

/** Makes a container: a znode that servers delete when its last child is gone. */
export interface CreateContainerOp {
  readonly type: "createContainer";
  readonly path: string;
  readonly data: Buffer | null;
  readonly acl: Acl | null;
  readonly parentCversion: number;
}

/** Makes a znode that servers delete when it has no child and was not changed for `ttlMs`. */
export interface CreateTtlOp {
  readonly type: "createTtl";
  readonly path: string;
  readonly data: Buffer | null;
  readonly acl: Acl | null;
  readonly parentCversion: number;
  readonly ttlMs: bigint;
}

/** `deleteContainer` is the server's own: an empty container, or a TTL znode whose time is over. */
export interface DeleteOp {
  readonly type: "delete" | "deleteContainer";
  readonly path: string;
}

/** `version` is the new one. `reconfig` sets `/zookeeper/config`. */
export interface SetDataOp {
  readonly type: "setData" | "reconfig";
  readonly path: string;
  readonly data: Buffer | null;
  readonly version: number;
}

/** `version` is the new aversion. */
export interface SetAclOp {
  readonly type: "setAcl";
  readonly path: string;
  readonly acl: Acl | null;
  readonly version: number;
}

/** Changes nothing. `version` is one more than the node had. Outside of a multi, servers cannot read it back. */
export interface CheckOp {
  readonly type: "check";
  readonly path: string;
  readonly version: number;
}

/** A request that failed with `errorCode` (negative, as in KeeperException), or a part of a multi that did. */
export interface ErrorOp {
  readonly type: "error";
  readonly errorCode: number;
}

/** One part of a multi. */
export type MultiOp = CreateOp | CreateContainerOp | CreateTtlOp | DeleteOp | SetDataOp | SetAclOp | CheckOp | ErrorOp;

/** Several changes in one txn. If any part is an error, none of them takes effect. */
export interface MultiTxn {
  readonly type: "multi";
  readonly ops: readonly MultiOp[];
}

export interface CreateSessionTxn {
  readonly type: "createSession";
  readonly timeoutMs: number;
}

/** Ends a session and deletes its ephemerals. */
export interface CloseSessionTxn {
  readonly type: "closeSession";
  /** 3.6 and later list what is deleted; null in the form of older releases, which do not. */
  readonly paths: readonly string[] | null;
}

export type TxnBody = MultiOp | MultiTxn | CreateSessionTxn | CloseSessionTxn;

export type TxnType = TxnBody["type"];

/** One txn of a log. */
export type Txn = TxnHeader & { readonly digest: TxnDigest | null } & TxnBody;
