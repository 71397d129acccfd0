import { adler32 } from "../adler32.ts";
import { isTxnType, TXN_HEADER_BYTES } from "./txn-layout.ts";

/** Only records up to this size are found again; few are larger, and one is enough. */
const MAX_RECORD_BYTES: number = 64 * 1024;
/** Adler-32, length, the entry, and a "B". */
const FRAME_BYTES = 13;
/** At most this much is summed up in search of records, so that a made-up file cannot keep us busy. */
const SEARCH_BUDGET_BYTES: number = 64 * 1024 * 1024;
const ZEROS: Buffer = Buffer.alloc(64 * 1024);

/**
 * Looks at what comes after the last good record of a log: is it all zeros, and is there a whole record in it? Servers
 * never read on there. A record means that a hole or a broken record hides txns that were written.
 */
export class LogRemains {
  /** Bytes seen, without those of the claim. */
  bytes = 0;
  /** Whether any of these was not zero. */
  hasNonZero = false;
  /** Where in the file a whole record was found. */
  recordAt: number | null = null;
  readonly #start: number;
  #claimed: number;
  #window: Buffer = Buffer.alloc(0);
  #windowOffset: number;
  #budget = SEARCH_BUDGET_BYTES;

  /**
   * The remains begin at byte `start` of the file. The first `claimed` of them belong to a broken record: they do not
   * count as something that follows, but are searched.
   */
  constructor(start: number, claimed: number) {
    this.#start = start;
    this.#windowOffset = start;
    this.#claimed = claimed;
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.byteLength; at += ZEROS.byteLength)
      this.#pushBlock(chunk.subarray(at, at + ZEROS.byteLength));
  }

  #pushBlock(block: Buffer): void {
    const own = Math.min(this.#claimed, block.byteLength);
    this.#claimed -= own;
    this.bytes += block.byteLength - own;
    const isZero = isAllZero(block);
    if (!isZero && !isAllZero(block.subarray(own))) this.hasNonZero = true;
    if (this.recordAt !== null || this.#budget <= 0) return;
    if (isZero && this.#window.byteLength < FRAME_BYTES && isAllZero(this.#window)) {
      // The common case: padding. The last of the zeros may be the first bytes of a record.
      const seen = this.#window.byteLength + block.byteLength;
      this.#window = ZEROS.subarray(0, Math.min(seen, FRAME_BYTES - 2));
      this.#windowOffset += seen - this.#window.byteLength;
      return;
    }
    this.#window = this.#window.byteLength === 0 ? Buffer.from(block) : Buffer.concat([this.#window, block]);
    this.#search(false);
  }

  /** There is no more: records that would need more bytes than there are, are none. */
  end(): void {
    this.#search(true);
  }

  #search(isEnd: boolean): void {
    const window = this.#window;
    const end = window.byteLength;
    let at = 0;
    while (end - at >= FRAME_BYTES + TXN_HEADER_BYTES && this.recordAt === null && this.#budget > 0) {
      const length = window.readInt32BE(at + 8);
      if (length === 0) {
        // On to where the next byte that is not zero is the last one of the length.
        let next = at + 12;
        while (next < end && window[next] === 0) next += 1;
        at = next - 11;
        continue;
      }
      const isPlausible =
        length >= TXN_HEADER_BYTES &&
        length <= MAX_RECORD_BYTES &&
        window.readInt32BE(at) === 0 &&
        at + this.#windowOffset > this.#start;
      if (isPlausible) {
        if (end - at < FRAME_BYTES + length) {
          if (!isEnd) break;
        } else if (window[at + 12 + length] === 0x42) {
          this.#budget -= length;
          const entry = at + 12;
          const isRecord = adler32(window, undefined, entry, entry + length) === window.readUInt32BE(at + 4);
          if (isRecord && isTxnType(window.readInt32BE(entry + 28))) this.recordAt = this.#windowOffset + at;
        }
      }
      at += 1;
    }
    this.#window = window.subarray(at);
    this.#windowOffset += at;
  }
}

function isAllZero(bytes: Buffer): boolean {
  for (let at = 0; at < bytes.byteLength; at += ZEROS.byteLength) {
    const length = Math.min(ZEROS.byteLength, bytes.byteLength - at);
    if (bytes.compare(ZEROS, 0, length, at, at + length) !== 0) return false;
  }
  return true;
}
