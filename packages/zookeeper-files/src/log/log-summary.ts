import type { FileProblem } from "../problem.ts";

/**
 * Txns of a log whose zxids follow each other one by one, within one epoch. A new run begins with each epoch, and
 * wherever zxids are left out, repeated, or go back.
 */
export interface ZxidRun {
  readonly first: bigint;
  readonly last: bigint;
  /** Bytes from the start of the file to the record of `first`. */
  readonly offset: number;
}

/** A part of a file, in bytes from its start. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** What in a log tells which release wrote it, and a few counts. */
export interface LogFeatures {
  /** Txns that carry a tree digest: 3.6 or later. */
  readonly txnDigests: number;
  /** Txns of types that 3.4 does not know. */
  readonly since35Types: number;
  /** Session closings that list the nodes to delete: 3.6 or later. */
  readonly closeSessionBodies: number;
  readonly multis: number;
  /** Failed requests; they take a zxid, too. */
  readonly errors: number;
}

/** What a transaction log holds, up to its end or to the first thing in it that is not good. */
export interface LogSummary {
  /** Null when there is no record. */
  readonly firstZxid: bigint | null;
  readonly lastZxid: bigint | null;
  /** In file order. One run where the log is as it should be and of one epoch; empty without records. */
  readonly runs: readonly ZxidRun[];
  /** The server's clock at the first and the last txn, in milliseconds since 1970. */
  readonly firstTimeMs: number | null;
  readonly lastTimeMs: number | null;
  /** Whole, good records, without those of `repeats`. */
  readonly records: number;
  /**
   * Where txns stand once more that the log holds before, record for record, as a member writes them that has to join its
   * ensemble twice. They are in no run, and readers are not given them. Without them the log is as it should be.
   */
  readonly repeats: readonly ByteRange[];
  /** Header and whole, good records, in bytes: where the file can be cut without loss. 0 when the header is bad. */
  readonly bytes: number;
  /** All bytes that were pushed. */
  readonly fileBytes: number;
  /**
   * How the records end.
   *
   * - `eof`: with the file;
   * - `padding`: in the zeros that servers allocate ahead;
   * - `torn`: in one unfinished record, with nothing but zeros behind it. Normal for the last log of a server that
   *   runs or was killed;
   * - `damaged`: in any other way. `problems` says how.
   */
  readonly end: "eof" | "padding" | "torn" | "damaged";
  /** What follows the last good record, or the bad one if there is one. */
  readonly afterEnd: "nothing" | "zeros" | "bytes";
  /** What is wrong with this file, taken by itself. Whether anything is lost with it, see `planRecovery`. */
  readonly problems: readonly FileProblem[];
  /** Of the good records, without checksum, length and end mark. A server with a lower limit refuses to start. */
  readonly largestEntryBytes: number;
  /** What the record at which the reading stopped says that its entry has; null where there is none, or no length. */
  readonly brokenEntryBytes: number | null;
  /** The first good txn of a type that 3.4 does not know. */
  readonly firstTypeOf35: { readonly type: number; readonly offset: number } | null;
  readonly features: LogFeatures;
}
