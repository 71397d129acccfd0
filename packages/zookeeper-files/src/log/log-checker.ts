import { adler32 } from "../adler32.ts";
import type { FileProblem, Severity } from "../problem.ts";
import { asBuffer, RecordCutter, STOP } from "../record-cutter.ts";
import { LogRemains } from "./log-remains.ts";
import type { LogSummary, ZxidRun } from "./log-summary.ts";
import { RepeatedTxns } from "./repeated-txns.ts";
import {
  endOfBody,
  FIRST_TYPE_OF_35,
  isTxnType,
  SHORT,
  TXN_DIGEST_BYTES,
  TXN_HEADER_BYTES,
  TXN_TYPE,
  UNREADABLE,
} from "./txn-layout.ts";

/** Largest record of a log that is read unless another limit is given, in bytes. */
export const DEFAULT_MAX_RECORD_BYTES: number = 64 * 1024 * 1024;

const MAGIC = 0x5a4b4c47; // "ZKLG"
const HEADER_BYTES = 16;
/** Adler-32 as a long, and the length, before the entry. */
const PREFIX_BYTES = 12;
const END_OF_RECORD = 0x42; // "B"
/** A log has as many runs as epochs. One with more than this is made up, and is not to fill the memory. */
const MAX_RUNS = 10_000;

/** One record of a log, whole and with a good checksum. */
export interface LogRecord {
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Of the whole record, with checksum and end mark. The next one begins at `offset + length`. */
  readonly length: number;
  readonly zxid: bigint;
  /** The server's clock, in milliseconds since 1970. */
  readonly timeMs: number;
  readonly sessionId: bigint;
  readonly cxid: number;
  /** As in the file: 1 create, 2 delete, 5 setData, ... -1 for a request that failed. */
  readonly type: number;
  /** Header, body and digest. Lent for the call. */
  readonly entry: Uint8Array;
}

export interface LogCheckOptions {
  /** Called for each good record, in file order. What it throws comes out of `push`. */
  readonly onRecord?: (record: LogRecord) => void;
  /** Largest record to accept, in bytes. Default {@link DEFAULT_MAX_RECORD_BYTES}, 64 MiB. */
  readonly maxRecordBytes?: number;
}

/** Takes the bytes of one transaction log in chunks of any size. */
export interface LogChecker {
  /** Never throws because of what the bytes are: that goes into the summary. The chunk is borrowed for the call. */
  push(chunk: Uint8Array): void;
  /** The file is complete. */
  end(): LogSummary;
}

/** Checks a transaction log while its bytes pass by: every record up to the end, and what there is behind it. */
export function createLogChecker(options: LogCheckOptions = {}): LogChecker {
  return new LogWalk(options);
}

/** Why the walk stopped before the end of the file. */
interface Stop {
  readonly code: string;
  /** What it means when something other than zeros follows. */
  readonly severity: Severity;
  /** What it means when nothing but zeros follows, if that makes a difference. */
  readonly severityAtEnd: Severity;
  /** Without the offset. */
  readonly what: string;
  /** Bytes that the record claims to have. */
  readonly claimed: number;
  /** Whether an interrupted write can have left this, if it is the last thing in the file. */
  readonly canBeTorn: boolean;
}

class LogWalk implements LogChecker {
  readonly #onRecord: ((record: LogRecord) => void) | undefined;
  readonly #maxRecordBytes: number;
  readonly #cutter: RecordCutter = new RecordCutter((bytes, start, end) => this.#read(bytes, start, end));
  readonly #problems: FileProblem[] = [];
  #fileBytes = 0;
  #hasHeader = false;
  #stop: Stop | "padding" | null = null;
  #remains: LogRemains | null = null;

  readonly #runs: ZxidRun[] = [];
  readonly #repeated: RepeatedTxns = new RepeatedTxns();
  #runOffset = 0;
  #runFirstLow = 0;
  #lastHigh = 0;
  #lastLow = 0;
  #records = 0;
  #firstTimeMs: number | null = null;
  #lastTimeMs: number | null = null;

  #largestEntryBytes = 0;
  #brokenEntryBytes: number | null = null;
  #firstTypeOf35: LogSummary["firstTypeOf35"] = null;
  #txnDigests = 0;
  #since35Types = 0;
  #closeSessionBodies = 0;
  #multis = 0;
  #errors = 0;

  constructor(options: LogCheckOptions) {
    this.#onRecord = options.onRecord;
    this.#maxRecordBytes = options.maxRecordBytes ?? DEFAULT_MAX_RECORD_BYTES;
  }

  push(chunk: Uint8Array): void {
    const bytes = asBuffer(chunk);
    this.#fileBytes += bytes.byteLength;
    if (this.#remains !== null) {
      this.#remains.push(bytes);
      return;
    }
    const taken = this.#cutter.push(bytes);
    if (this.#stop === null) return;
    const claimed = this.#stop === "padding" ? PREFIX_BYTES : this.#stop.claimed;
    this.#remains = new LogRemains(this.#cutter.offset, claimed);
    this.#remains.push(this.#cutter.pending());
    this.#remains.push(bytes.subarray(taken));
  }

  end(): LogSummary {
    const { end, afterEnd } = this.#concludeEnd();
    if (this.#records > 0) this.#closeRun();
    this.#reportRepeats();
    const offset = this.#cutter.offset;
    return {
      firstZxid: this.#runs[0]?.first ?? null,
      lastZxid: this.#runs.at(-1)?.last ?? null,
      runs: this.#runs,
      firstTimeMs: this.#firstTimeMs,
      lastTimeMs: this.#lastTimeMs,
      records: this.#records,
      repeats: this.#repeated.ranges,
      bytes: this.#hasHeader ? offset : 0,
      fileBytes: this.#fileBytes,
      end,
      afterEnd,
      problems: this.#problems,
      largestEntryBytes: this.#largestEntryBytes,
      brokenEntryBytes: this.#brokenEntryBytes,
      firstTypeOf35: this.#firstTypeOf35,
      features: {
        txnDigests: this.#txnDigests,
        since35Types: this.#since35Types,
        closeSessionBodies: this.#closeSessionBodies,
        multis: this.#multis,
        errors: this.#errors,
      },
    };
  }

  #concludeEnd(): Pick<LogSummary, "end" | "afterEnd"> {
    const pending = this.#cutter.pending();
    let stop = this.#stop;
    let remains = this.#remains;
    if (remains === null) {
      if (!this.#hasHeader) return this.#concludeShortFile(pending.byteLength);
      if (pending.byteLength === 0) return { end: "eof", afterEnd: "nothing" };
      // The file ends inside a record, or is padded with fewer zeros than a record's prefix has.
      stop = pending.byteLength < PREFIX_BYTES && pending.every((byte) => byte === 0) ? "padding" : TORN_BY_EOF;
      remains = new LogRemains(this.#cutter.offset, stop === "padding" ? 0 : pending.byteLength);
      if (pending.byteLength >= PREFIX_BYTES) this.#brokenEntryBytes = pending.readInt32BE(8);
      remains.push(pending);
    }
    remains.end();
    const afterEnd = remains.hasNonZero ? "bytes" : remains.bytes > 0 ? "zeros" : "nothing";
    const isLast = !remains.hasNonZero && remains.recordAt === null;
    if (stop === "padding" || stop === null) {
      if (isLast) return { end: "padding", afterEnd: "zeros" };
      this.#reportAfterPadding(remains);
      return { end: "damaged", afterEnd };
    }
    this.#reportStop(stop, remains, isLast);
    return { end: isLast && stop.canBeTorn ? "torn" : "damaged", afterEnd };
  }

  #concludeShortFile(bytes: number): Pick<LogSummary, "end" | "afterEnd"> {
    if (bytes === 0) {
      const message =
        "the file is empty. Servers before 3.9.3 do not start with it; later ones delete it if it is the last log. " +
        "It holds nothing: remove it";
      this.#report("fatal", "LOG_EMPTY", 0, message);
    } else {
      const message = `the file ends at byte ${bytes}, inside its header. No server starts with it. It holds nothing: remove it`;
      this.#report("fatal", "LOG_TRUNCATED_HEADER", bytes, message);
    }
    return { end: "torn", afterEnd: "nothing" };
  }

  #reportRepeats(): void {
    const [first] = this.#repeated.ranges;
    if (first === undefined) return;
    if (this.#repeated.isUnfinished) {
      const message =
        `txns are there twice from byte ${first.offset} on, and the second time not up to the last one: ` +
        "servers apply them again and end with an older state";
      this.#report("data-loss", "LOG_REPEATED", first.offset, message);
    } else {
      const message =
        `txns are there twice from byte ${first.offset} on: the server had to join its ensemble twice, and logged what ` +
        "it was sent each time. Servers apply both, to the same end, but may count digests that do not match";
      this.#report("info", "LOG_REPEATED", first.offset, message);
    }
  }

  #reportAfterPadding(remains: LogRemains): void {
    const offset = this.#cutter.offset;
    if (remains.recordAt === null) {
      const message =
        `the records end at byte ${offset} in zeros, but something else follows, though no whole record. ` +
        "Servers read only up to the zeros";
      this.#report("data-loss", "LOG_BYTES_AFTER_PADDING", offset, message);
    } else {
      const message =
        `zeros at byte ${offset} hide records: there is one at byte ${remains.recordAt}. ` +
        "Servers read only up to the zeros and say nothing";
      this.#report("data-loss", "LOG_RECORDS_AFTER_END", offset, message);
    }
  }

  #reportStop(stop: Stop, remains: LogRemains, isLast: boolean): void {
    const offset = this.#cutter.offset;
    const follows =
      remains.recordAt !== null
        ? `at least one whole record follows, at byte ${remains.recordAt}`
        : remains.hasNonZero
          ? "something other than zeros follows"
          : "nothing follows it";
    if (isLast && stop.canBeTorn && stop.severityAtEnd === "info") {
      const message = `the last record, at byte ${offset}, is not complete: the server was writing it, or was killed`;
      this.#report("info", "LOG_TORN_TAIL", offset, message);
      return;
    }
    const severity = isLast ? stop.severityAtEnd : stop.severity;
    const reaction =
      severity === "fatal" ? "no server starts with this file" : "servers read no further and say nothing";
    this.#report(severity, stop.code, offset, `${stop.what} at byte ${offset}; ${follows}; ${reaction}`);
  }

  #report(severity: Severity, code: string, offset: number, message: string): void {
    this.#problems.push({ severity, code, offset, message });
  }

  #read(bytes: Buffer, start: number, end: number): number {
    if (!this.#hasHeader) return this.#readHeader(bytes, start, end);
    if (end - start < PREFIX_BYTES) return -PREFIX_BYTES;
    const length = bytes.readInt32BE(start + 8);
    if (length <= 0 || length > this.#maxRecordBytes) return this.#stopAtLength(bytes, start, length);
    this.#brokenEntryBytes = length;
    const recordBytes = PREFIX_BYTES + length + 1;
    if (end - start < recordBytes) return -recordBytes;
    const entry = start + PREFIX_BYTES;
    const entryEnd = entry + length;
    if (bytes[entryEnd] !== END_OF_RECORD) {
      // Where the write of a record was interrupted there is a zero. Anything else was put there.
      const isTorn = bytes[entryEnd] === 0;
      const what = "a record without its end mark";
      return this.#stopHere(
        recordBytes,
        "data-loss",
        isTorn ? "info" : "data-loss",
        "LOG_BAD_RECORD_END",
        what,
        isTorn,
      );
    }
    if (
      bytes.readInt32BE(start) !== 0 ||
      bytes.readUInt32BE(start + 4) !== adler32(bytes, undefined, entry, entryEnd)
    ) {
      const what = "a record whose checksum does not match";
      return this.#stopHere(recordBytes, "fatal", "fatal", "LOG_BAD_CHECKSUM", what);
    }
    if (length < TXN_HEADER_BYTES) return this.#stopAtShortRecord(recordBytes);
    const type = bytes.readInt32BE(entry + 28);
    if (!isTxnType(type)) {
      return this.#stopHere(
        recordBytes,
        "fatal",
        "fatal",
        "LOG_UNKNOWN_TYPE",
        `a txn of the unknown type ${type}`,
        false,
      );
    }
    if (type === TXN_TYPE.check) {
      // Servers before 3.8.5 and 3.9.3 write it when a client sends this operation outside a multi.
      const what = 'a "check" outside a multi (type 13), which servers write and then cannot read,';
      return this.#stopHere(recordBytes, "fatal", "fatal", "LOG_POISON_RECORD", what, false);
    }
    const bodyEnd = endOfBody(bytes, type, entry + TXN_HEADER_BYTES, entryEnd);
    if (bodyEnd === SHORT) return this.#stopAtShortRecord(recordBytes);
    if (bodyEnd === UNREADABLE) {
      const what = "a txn that servers fail on, or apply only in part,";
      return this.#stopHere(recordBytes, "fatal", "fatal", "LOG_BAD_TXN", what, false);
    }

    const zxidHigh = bytes.readUInt32BE(entry + 12);
    const zxidLow = bytes.readUInt32BE(entry + 16);
    const checksum = bytes.readUInt32BE(start + 4);
    if (this.#repeated.isKnown(zxidHigh, zxidLow, checksum, this.#cutter.offset, recordBytes)) {
      this.#brokenEntryBytes = null;
      return recordBytes;
    }
    if (this.#repeated.isUnfinished) {
      const what = "a txn behind some that are there twice, and do not go on to the last one before them,";
      return this.#stopHere(recordBytes, "data-loss", "data-loss", "LOG_OUT_OF_ORDER", what, false);
    }
    this.#repeated.remember(zxidHigh, zxidLow, checksum);
    if (this.#records === 0 || zxidHigh !== this.#lastHigh || zxidLow !== this.#lastLow + 1) {
      if (this.#runs.length + 1 >= MAX_RUNS) {
        const what = `the ${MAX_RUNS}th txn out of sequence`;
        return this.#stopHere(recordBytes, "data-loss", "data-loss", "LOG_OUT_OF_ORDER", what, false);
      }
      if (this.#records > 0) this.#closeRun();
      this.#runOffset = this.#cutter.offset;
      this.#runFirstLow = zxidLow;
    }
    this.#lastHigh = zxidHigh;
    this.#lastLow = zxidLow;
    const timeMs = bytes.readInt32BE(entry + 20) * 0x1_0000_0000 + bytes.readUInt32BE(entry + 24);
    this.#firstTimeMs ??= timeMs;
    this.#lastTimeMs = timeMs;
    this.#records += 1;
    this.#brokenEntryBytes = null;
    if (length > this.#largestEntryBytes) this.#largestEntryBytes = length;
    this.#countFeatures(type, bodyEnd > entry + TXN_HEADER_BYTES, entryEnd - bodyEnd >= TXN_DIGEST_BYTES);
    this.#onRecord?.({
      offset: this.#cutter.offset,
      length: recordBytes,
      zxid: bytes.readBigInt64BE(entry + 12),
      timeMs,
      sessionId: bytes.readBigInt64BE(entry),
      cxid: bytes.readInt32BE(entry + 8),
      type,
      entry: bytes.subarray(entry, entryEnd),
    });
    return recordBytes;
  }

  #readHeader(bytes: Buffer, start: number, end: number): number {
    if (end - start < HEADER_BYTES) return -HEADER_BYTES;
    if (bytes.readInt32BE(start) !== MAGIC) {
      return this.#stopHere(HEADER_BYTES, "fatal", "fatal", "LOG_BAD_MAGIC", 'something other than "ZKLG"', false);
    }
    this.#hasHeader = true;
    return HEADER_BYTES;
  }

  #countFeatures(type: number, hasBody: boolean, hasDigest: boolean): void {
    if (hasDigest) this.#txnDigests += 1;
    if (type >= FIRST_TYPE_OF_35) {
      this.#since35Types += 1;
      this.#firstTypeOf35 ??= { type, offset: this.#cutter.offset };
    }
    if (type === TXN_TYPE.multi) this.#multis += 1;
    if (type === TXN_TYPE.error) this.#errors += 1;
    if (type === TXN_TYPE.closeSession && hasBody) this.#closeSessionBodies += 1;
  }

  #closeRun(): void {
    const high = BigInt.asIntN(64, BigInt(this.#lastHigh) << 32n);
    const first = high | BigInt(this.#runFirstLow);
    this.#runs.push({ first, last: high | BigInt(this.#lastLow), offset: this.#runOffset });
  }

  #stopAtLength(bytes: Buffer, start: number, length: number): number {
    if (length === 0) {
      // Servers do not look at the checksum here. A checksum without a length is a write that was interrupted.
      if (bytes.readInt32BE(start) !== 0 || bytes.readInt32BE(start + 4) !== 0) {
        return this.#stopHere(PREFIX_BYTES, "data-loss", "info", "LOG_BAD_RECORD_END", "a record without its length");
      }
      this.#stop = "padding";
      return STOP;
    }
    const limit = length > 0 ? ` (the limit is ${this.#maxRecordBytes})` : "";
    const what = `a record of ${length} bytes${limit}`;
    return this.#stopHere(PREFIX_BYTES, "fatal", "fatal", "LOG_BAD_LENGTH", what, false);
  }

  #stopAtShortRecord(recordBytes: number): number {
    const what = "a record that is too short for its type";
    return this.#stopHere(recordBytes, "data-loss", "data-loss", "LOG_SHORT_RECORD", what, false);
  }

  #stopHere(
    claimed: number,
    severity: Severity,
    severityAtEnd: Severity,
    code: string,
    what: string,
    canBeTorn: boolean = true,
  ): typeof STOP {
    this.#stop = { code, severity, severityAtEnd, what, claimed, canBeTorn };
    return STOP;
  }
}

const TORN_BY_EOF: Stop = {
  code: "LOG_BAD_RECORD_END",
  severity: "data-loss",
  severityAtEnd: "info",
  what: "a record that goes on beyond the end of the file,",
  claimed: 0,
  canBeTorn: true,
};
