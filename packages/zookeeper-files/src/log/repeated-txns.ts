import type { ByteRange } from "./log-summary.ts";

/** How many txns back one is known again. A server logs no more than some hundred thousand before it takes a snapshot. */
const REMEMBERED = 1 << 17;
/** A log with more repetitions than this is made up, and is not to fill the memory. */
const MAX_REPEATS = 1_000;

/**
 * Knows the txns again that a log holds a second time.
 *
 * A member that joins its ensemble is sent what it lacks and logs it. If the leader drops it before that is complete, it
 * joins again, and logs the same txns again, from the first (seen with 3.8.0). Servers apply both, which converges as it
 * does behind a fuzzy snapshot, if the last row goes as far as those before it.
 */
export class RepeatedTxns {
  /** Of each txn the halves of its zxid and its checksum; the oldest are overwritten once there are {@link REMEMBERED}. */
  #past: Uint32Array = new Uint32Array(3 * 256);
  readonly #ranges: { offset: number; length: number }[] = [];
  /** Of all that were remembered. */
  #count = 0;
  /** In a row that repeats: which one was known again last. */
  #at: number | null = null;

  /** Whether the row that repeats has not come to the last txn yet: servers would end with an older state. */
  get isUnfinished(): boolean {
    return this.#at !== null && this.#at !== this.#count - 1;
  }

  get ranges(): readonly ByteRange[] {
    return this.#ranges;
  }

  /** A txn that is none of the past, by the halves of its zxid and its checksum. */
  remember(high: number, low: number, checksum: number): void {
    if (3 * this.#count === this.#past.length && this.#count < REMEMBERED) {
      const grown = new Uint32Array(2 * this.#past.length);
      grown.set(this.#past);
      this.#past = grown;
    }
    const at = 3 * (this.#count % REMEMBERED);
    this.#past[at] = high;
    this.#past[at + 1] = low;
    this.#past[at + 2] = checksum;
    this.#count += 1;
    this.#at = null;
  }

  /** Whether this record was there before: the next one of a row that repeats, or one that a new row begins with. */
  isKnown(high: number, low: number, checksum: number, offset: number, length: number): boolean {
    const range = this.#ranges.at(-1);
    if (this.#at !== null && range !== undefined && this.#is(this.#at + 1, high, low, checksum)) {
      this.#at += 1;
      range.length += length;
      return true;
    }
    if (!this.#goesBack(high, low) || this.#ranges.length === MAX_REPEATS) return false;
    for (let index = this.#count - 1; index >= 0 && index >= this.#count - REMEMBERED; index--) {
      if (!this.#is(index, high, low, checksum)) continue;
      this.#at = index;
      this.#ranges.push({ offset, length });
      return true;
    }
    return false;
  }

  #goesBack(high: number, low: number): boolean {
    if (this.#count === 0) return false;
    const last = 3 * ((this.#count - 1) % REMEMBERED);
    const lastHigh = this.#past[last] ?? 0;
    return high < lastHigh || (high === lastHigh && low <= (this.#past[last + 1] ?? 0));
  }

  #is(index: number, high: number, low: number, checksum: number): boolean {
    if (index >= this.#count) return false;
    const at = 3 * (index % REMEMBERED);
    return this.#past[at] === high && this.#past[at + 1] === low && this.#past[at + 2] === checksum;
  }
}
