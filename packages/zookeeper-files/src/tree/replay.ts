import type { LogRecord } from "../log/log-checker.ts";
import type { Problem } from "../problem.ts";
import { asBuffer } from "../record-cutter.ts";
import type { ServerRelease } from "../server/server-release.ts";
import type { SnapshotHooks } from "../snapshot/snapshot-parser.ts";
import { lastTraceIn, type SnapshotSummary } from "../snapshot/snapshot-summary.ts";
import { formatZxid, isNextZxid } from "../zxid.ts";
import { type ApplyRules, TxnApplier } from "./apply-txn.ts";
import { DanglingAcls } from "./dangling-acls.ts";
import { DigestProof, type DigestResult } from "./digest-proof.ts";
import { ZnodeTable } from "./znode-table.ts";
import { TableTree, type ZnodeTree } from "./znode-tree.ts";

export interface ReplayOptions {
  /** For which paths (the root is `/`) the data is kept. Default: none; the tree then has only its length. */
  readonly keepData?: (path: string) => boolean;
  /** Keep a SHA-256 of every node's data. Default false. */
  readonly contentHash?: boolean;
  /**
   * Where to stop: after the txn `zxid`, or before the first txn that the server dated after `timeMs`. What comes
   * later is passed over. Default: at the end.
   */
  readonly upTo?: { readonly zxid: bigint } | { readonly timeMs: number };
  /** Default `3.6`, which leads to what the server that wrote the files had in memory. */
  readonly rules?: ApplyRules;
}

/** What a replay came to. */
export interface ReplayResult extends DigestResult {
  /** The last txn that the state holds. */
  readonly zxid: bigint;
  /** When it was, by the server's clock, in milliseconds since 1970; null if no txn was replayed. */
  readonly timeMs: number | null;
  /** The root included. */
  readonly nodes: number;
  readonly ephemerals: number;
  readonly containers: number;
  readonly ttlNodes: number;
  readonly sessions: number;
  readonly dataBytes: number;
  /** Of the tree: see {@link ZnodeTree.digest}. */
  readonly digest: bigint;
  /** Txns that were applied. Those that the snapshot had already seen in full are not. */
  readonly txns: number;
  /** Those that end with an exception while they replay this, however good the files are: see `DANGLING_ACL_USED`. */
  readonly refusedBy: readonly ServerRelease[];
  /**
   * `DANGLING_ACL_USED`, `DIGEST_MISMATCH`, `DIGEST_UNPROVEN`, `REPLAY_GAP`, `REPLAY_OUT_OF_ORDER`,
   * `SNAPSHOT_NOT_COVERED`.
   */
  readonly problems: readonly Problem[];
}

/**
 * Rebuilds the state of a server from a snapshot and the logs after it, as their bytes pass by, and proves it with the
 * digests in them. In this order: a snapshot whose checker has {@link Replay.snapshotHooks}, `snapshotEnd`, the logs
 * from old to new, `finish`.
 */
export interface Replay {
  /** As far as the replay has come. */
  readonly tree: ZnodeTree;
  /** For the options of `createSnapshotChecker` and `checkSnapshot`. One snapshot only: the next one takes a new replay. */
  readonly snapshotHooks: SnapshotHooks;
  /** By which txns are applied. May be changed once the snapshot has shown of which release it is. */
  rules: ApplyRules;
  /**
   * The snapshot was read and is good. `zxid` is the one in its name, `summary` what its checker returned, and `file`
   * what to call it in problems.
   */
  snapshotEnd(zxid: bigint, summary: SnapshotSummary, file?: string): void;
  /** In place of a snapshot: the few nodes that a server has that has never had any txn. */
  startEmpty(): void;
  /** What to call the log, in problems, that the next records are from. */
  beginLog(file: string): void;
  /** For the options of `createLogChecker`. Records that the snapshot has seen in full are passed over. */
  readonly onRecord: (record: LogRecord) => void;
  /** Whether the point was passed that the replay is to go up to. What is pushed now changes nothing. */
  readonly isDone: boolean;
  /** There are no more logs. */
  finish(): ReplayResult;
}

/**
 * Starts a replay. Takes some 140 bytes per znode and their names, whatever the data; see the README.
 */
export function createReplay(options: ReplayOptions = {}): Replay {
  return new TreeReplay(options);
}

class TreeReplay implements Replay {
  readonly tree: ZnodeTree;
  readonly snapshotHooks: SnapshotHooks;
  readonly onRecord: (record: LogRecord) => void;
  isDone = false;
  readonly #table: ZnodeTable;
  readonly #applier: TxnApplier;
  readonly #proof: DigestProof;
  readonly #upToZxid: bigint | null;
  readonly #upToTimeMs: number | null;
  readonly #problems: Problem[] = [];
  #snapshotFile: string | null = null;
  #file: string | null = null;
  /** Null before there is anything to apply txns to. */
  #start: bigint | null = null;
  /** The last txn that left a trace in the snapshot. */
  #trace = 0n;
  #zxid = 0n;
  #timeMs: number | null = null;
  #txns = 0;
  #isBroken = false;

  constructor({ keepData, contentHash = false, upTo, rules = "3.6" }: ReplayOptions) {
    const table = new ZnodeTable({ keepData, contentHash });
    this.#table = table;
    this.#upToZxid = upTo !== undefined && "zxid" in upTo ? upTo.zxid : null;
    this.#upToTimeMs = upTo !== undefined && "timeMs" in upTo ? upTo.timeMs : null;
    this.#applier = new TxnApplier(table, rules);
    this.#proof = new DigestProof(table);
    this.tree = new TableTree(table);
    this.snapshotHooks = {
      onSession: (sessionId, timeoutMs) => table.sessions.set(sessionId, timeoutMs),
      onAcl: (aclId, acl) => table.acls.addOfSnapshot(aclId, acl),
      onNode: (node) => table.addOfSnapshot(node),
    };
    this.onRecord = (record) => this.#replay(record);
  }

  get rules(): ApplyRules {
    return this.#applier.rules;
  }

  set rules(rules: ApplyRules) {
    this.#applier.rules = rules;
  }

  snapshotEnd(zxid: bigint, summary: SnapshotSummary, file: string | null = null): void {
    const aclIds = this.#table.endOfSnapshot();
    if (aclIds !== null) this.#applier.danglingAcls = new DanglingAcls(this.#table, aclIds);
    this.#start = zxid;
    this.#zxid = zxid;
    this.#snapshotFile = file;
    this.#trace = lastTraceIn(zxid, summary);
    this.#proof.afterSnapshot(zxid, summary, file);
  }

  startEmpty(): void {
    this.#table.addFirstNodes(this.rules === "3.4" ? FIRST_NODES : [...FIRST_NODES, "/zookeeper/config"]);
    this.#start = 0n;
  }

  beginLog(file: string): void {
    this.#file = file;
  }

  finish(): ReplayResult {
    const { nodes, ephemerals, containers, ttlNodes, sessions, dataBytes, digest } = this.#table;
    const problems = [...this.#problems];
    if (this.#trace > this.#zxid) problems.push(notCovered(this.#snapshotFile, this.#trace, this.#zxid));
    const proof = this.#proof.conclude(problems);
    const { danglingAcls } = this.#applier;
    danglingAcls?.end();
    const refusedBy = danglingAcls?.refusedBy ?? [];
    const refusal = danglingAcls?.problem ?? null;
    if (refusal !== null) problems.push(refusal);
    const counts = { nodes, ephemerals, containers, ttlNodes, sessions: sessions.size, dataBytes, txns: this.#txns };
    return { ...proof, ...counts, zxid: this.#zxid, timeMs: this.#timeMs, digest: digest.value, refusedBy, problems };
  }

  #replay(record: LogRecord): void {
    if (this.#start === null) throw new Error("the first record of a log came before snapshotEnd() or startEmpty()");
    const { zxid, timeMs } = record;
    if (this.isDone || zxid <= this.#start) return;
    if (
      (this.#upToZxid !== null && zxid > this.#upToZxid) ||
      (this.#upToTimeMs !== null && timeMs > this.#upToTimeMs)
    ) {
      this.isDone = true;
      return;
    }
    if (!this.#isBroken && !isNextZxid(this.#zxid, zxid)) this.#reportBreak(record);
    const entry = asBuffer(record.entry);
    this.#applier.danglingAcls?.beginTxn({ zxid, file: this.#file, offset: record.offset });
    const bodyEnd = this.#applier.apply(entry);
    if (bodyEnd < 0) throw new Error(`the entry at byte ${record.offset} is none that a log's checker passes on`);
    this.#txns += 1;
    if (zxid > this.#zxid) this.#zxid = zxid;
    this.#timeMs = timeMs;
    this.#proof.afterTxn(record, entry, bodyEnd, this.#file);
  }

  /** Servers go on behind it, most of them without a word; and so does this. */
  #reportBreak({ zxid, offset }: LogRecord): void {
    this.#isBroken = true;
    const last = formatZxid(this.#zxid);
    const problem =
      zxid > this.#zxid
        ? { code: "REPLAY_GAP", message: `txns are missing between ${last} and ${formatZxid(zxid)}` }
        : { code: "REPLAY_OUT_OF_ORDER", message: `${formatZxid(zxid)} comes after ${last}: not one history` };
    this.#problems.push({ severity: "data-loss", file: this.#file, offset, ...problem });
  }
}

const FIRST_NODES: readonly string[] = ["/zookeeper", "/zookeeper/quota"];

function notCovered(file: string | null, trace: bigint, zxid: bigint): Problem {
  const message =
    `the snapshot was written while txns up to ${formatZxid(trace)} were applied, but the replay ends at ` +
    `${formatZxid(zxid)}: the tree is a mixture of states`;
  return { severity: "data-loss", code: "SNAPSHOT_NOT_COVERED", file, offset: null, message };
}
