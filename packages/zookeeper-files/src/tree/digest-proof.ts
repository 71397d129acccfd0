import type { LogRecord } from "../log/log-checker.ts";
import { TXN_DIGEST_BYTES } from "../log/txn-layout.ts";
import type { Problem } from "../problem.ts";
import type { SnapshotSummary } from "../snapshot/snapshot-summary.ts";
import { counterOf, formatZxid } from "../zxid.ts";
import type { ZnodeTable } from "./znode-table.ts";

/** The version of the digests that 3.6 to 3.9 write, and the only one that is understood here. */
const DIGEST_VERSION = 2;

/**
 * After so many digests that do not match, a snapshot without a digest of its own cannot still have been in the
 * writing.
 */
const MAX_UNPROVEN = 10_000;

/** What became of the digest that a snapshot carries (3.6 and later). */
export type SnapshotDigestVerdict =
  /** The tree had this digest right after the txn that the snapshot names. */
  | "matched"
  /** It had another one, and no later digest proves the tree right. */
  | "mismatch"
  /**
   * It had another one, but every later digest in the logs matches. Either the server dropped nodes at its start, after
   * it had taken the digest; or the snapshot has caught the beginning of the next txn: servers note the digest of a txn
   * a moment after they have applied it (seen with 3.7.2, 3.8.7 and 3.9.6).
   */
  | "stale"
  /** The snapshot carries none (3.4, 3.5, or switched off), or one that says nothing: no txn had been applied yet. */
  | "absent"
  /** The replay ended before the txn that it belongs to. */
  | "unreached";

export interface DigestResult {
  readonly snapshotDigest: SnapshotDigestVerdict;
  /** The first txn after which a digest matched; null if none did. From here on the tree is proven. */
  readonly matchedAt: bigint | null;
  /** Digests of txns. Those that come before the snapshot's own are not compared: there the tree is a mixture. */
  readonly txnDigests: { readonly compared: number; readonly matched: number };
  /** In which charset the server digests paths: `ascii` puts a "?" for every other character. */
  readonly charset: "utf8" | "ascii";
}

interface Mismatch {
  readonly zxid: bigint;
  readonly expected: bigint;
  readonly actual: bigint;
  readonly file: string | null;
  /** Of the record that carries the digest; null if it is the snapshot's. */
  readonly offset: number | null;
}

/**
 * Compares the digest of a tree with those that the server left in its files, wherever the tree must be whole.
 *
 * A snapshot is written while txns are applied, and says in its digest which txn was the last one when it was done. So
 * the tree is a mixture until that txn was replayed; from there on every digest has to match. Without a usable digest
 * it is not known when the mixture ends. Then the comparison begins behind the last txn that left a trace in the
 * snapshot, and the first match proves the tree; from there on, again, every digest has to match.
 */
export class DigestProof {
  readonly #tree: ZnodeTable;
  /** The snapshot's digest, until its txn has come. */
  #awaited: { readonly zxid: bigint; readonly value: bigint } | null = null;
  /** No digest of a txn up to here is compared. */
  #mixedUpTo = 0n;
  /** Whether the tree has to be right from `#mixedUpTo` on, even without a match. */
  #isCertain = true;
  #verdict: SnapshotDigestVerdict = "absent";
  #snapshotMismatch: Mismatch | null = null;
  #matchedAt: bigint | null = null;
  #firstMismatch: Mismatch | null = null;
  #mismatchAfterMatch: Mismatch | null = null;
  #compared = 0;
  #matched = 0;
  #charset: "utf8" | "ascii" = "utf8";

  constructor(tree: ZnodeTable) {
    this.#tree = tree;
  }

  /** The tree is that of the snapshot taken at `zxid`. */
  afterSnapshot(zxid: bigint, summary: SnapshotSummary, file: string | null): void {
    const { digest, highestZxid, lastZxid } = summary;
    if (digest !== null && digest.version === DIGEST_VERSION && counterOf(digest.zxid) !== 0n && digest.zxid >= zxid) {
      this.#verdict = "unreached";
      this.#mixedUpTo = digest.zxid - 1n;
      this.#awaited = digest;
      if (digest.zxid === zxid) this.#meet(zxid, file, null);
      return;
    }
    // A digest of txn 0, or of one before the snapshot, means that nothing was applied while it was written.
    const isStill = digest !== null && highestZxid <= zxid;
    this.#mixedUpTo = [highestZxid, lastZxid ?? 0n].reduce((a, b) => (a > b ? a : b), zxid);
    this.#isCertain = isStill || lastZxid !== null;
  }

  /** The tree is what it was after this txn, whose digest may be at `digestAt` of its entry. */
  afterTxn(record: LogRecord, entry: Buffer, digestAt: number, file: string | null): void {
    const { zxid } = record;
    const awaited = this.#awaited;
    if (awaited !== null) {
      if (zxid < awaited.zxid) return;
      // A txn that was left out is a gap, which is reported elsewhere.
      if (zxid === awaited.zxid) this.#meet(zxid, file, record.offset);
      else this.#awaited = null;
    }
    if (zxid <= this.#mixedUpTo || entry.byteLength - digestAt < TXN_DIGEST_BYTES) return;
    if (entry.readInt32BE(digestAt) !== DIGEST_VERSION) return;
    this.#compared += 1;
    const { digest, asciiDigest } = this.#tree;
    const isUtf8 = digest.equals(entry, digestAt + 4);
    if (isUtf8 || asciiDigest.equals(entry, digestAt + 4)) {
      this.#match(zxid, isUtf8);
      this.#matched += 1;
    } else if (this.#firstMismatch === null || (this.#matchedAt !== null && this.#mismatchAfterMatch === null)) {
      const expected = entry.readBigInt64BE(digestAt + 4);
      const mismatch = { zxid, expected, actual: digest.value, file, offset: record.offset };
      this.#firstMismatch ??= mismatch;
      if (this.#matchedAt !== null) this.#mismatchAfterMatch = mismatch;
    }
  }

  /** Returns what was found, and adds to `problems` what is wrong. */
  conclude(problems: Problem[]): DigestResult {
    const snapshotMismatch = this.#snapshotMismatch;
    if (this.#mismatchAfterMatch !== null) {
      problems.push(mismatchProblem(snapshotMismatch ?? this.#mismatchAfterMatch));
    } else if (snapshotMismatch !== null && this.#matched > 0) {
      this.#verdict = "stale";
    } else if (snapshotMismatch !== null) {
      problems.push(mismatchProblem(snapshotMismatch));
    } else if (this.#firstMismatch !== null && this.#matched === 0) {
      const isProof = this.#isCertain || this.#compared >= MAX_UNPROVEN;
      problems.push(isProof ? mismatchProblem(this.#firstMismatch) : unproven(this.#firstMismatch, this.#compared));
    }
    return {
      snapshotDigest: this.#verdict,
      matchedAt: this.#matchedAt,
      txnDigests: { compared: this.#compared, matched: this.#matched },
      charset: this.#charset,
    };
  }

  #meet(zxid: bigint, file: string | null, offset: number | null): void {
    const { digest, asciiDigest } = this.#tree;
    const expected = this.#awaited?.value ?? 0n;
    this.#awaited = null;
    const isUtf8 = digest.value === expected;
    if (isUtf8 || asciiDigest.value === expected) {
      this.#verdict = "matched";
      this.#match(zxid, isUtf8);
    } else {
      this.#verdict = "mismatch";
      // The txn's own digest is the same one. It is the next that tells whether the tree is only ahead of it.
      this.#mixedUpTo = zxid;
      this.#snapshotMismatch = { zxid, expected, actual: digest.value, file, offset };
    }
  }

  #match(zxid: bigint, isUtf8: boolean): void {
    this.#matchedAt ??= zxid;
    if (!this.#tree.digest.isSameAs(this.#tree.asciiDigest)) this.#charset = isUtf8 ? "utf8" : "ascii";
  }
}

function mismatchProblem({ zxid, expected, actual, file, offset }: Mismatch): Problem {
  const message =
    `after ${formatZxid(zxid)} the server's tree had the digest ${expected}, but what the files hold has ${actual}: ` +
    "something is missing or changed. Take an older snapshot, or the files of another server";
  return { severity: "data-loss", code: "DIGEST_MISMATCH", file, offset, message };
}

function unproven({ zxid, file, offset }: Mismatch, compared: number): Problem {
  const message =
    `the snapshot carries no digest that says when it was whole, and none of the ${compared} digests of txns from ` +
    `${formatZxid(zxid)} on matches yet. It may have been in the writing until the end of the logs`;
  return { severity: "info", code: "DIGEST_UNPROVEN", file, offset, message };
}
