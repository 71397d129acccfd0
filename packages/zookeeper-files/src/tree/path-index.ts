import { randomInt } from "node:crypto";

const NO_SLOT = 0;
/** No entry is further from where it belongs. Among good paths some in ten thousand would be. */
const MAX_DISTANCE = 128;
/** No more entries have the same checksum. Among good paths hardly ever two have. */
const MAX_EQUAL = 8;

/**
 * Finds the nodes whose path has a given CRC-32: a hash table of 8 bytes per entry, at most two thirds full.
 *
 * The checksums of made-up paths can be anything. So their place depends on a random number, and entries that would
 * make the search long are refused: these the caller has to keep in another way.
 */
export class PathIndex {
  /** Checksum and slot of each entry. */
  #table: Int32Array = new Int32Array(2 * 1024);
  #shift = 32 - 10;
  #count = 0;
  readonly #multiplier: number = 2 * randomInt(2 ** 30, 2 ** 31) + 1;
  #at = 0;
  #end = 0;
  #crc = 0;

  /** Makes room for so many entries. */
  reserve(count: number): void {
    let bits = 32 - this.#shift;
    while (3 * count > 2 * 2 ** bits) bits += 1;
    if (bits > 32 - this.#shift) this.#resize(bits);
  }

  /** The first slot that was entered with this checksum, or 0. */
  first(crc: number): number {
    this.#crc = crc;
    this.#at = this.#home(crc);
    this.#end = this.#at + MAX_DISTANCE;
    return this.next();
  }

  /** The next one after the last that was returned. Only with nothing entered or removed in between. */
  next(): number {
    const table = this.#table;
    const mask = table.length / 2 - 1;
    while (this.#at < this.#end) {
      const at = (this.#at & mask) * 2;
      const slot = table[at + 1] as number;
      if (slot === NO_SLOT) return NO_SLOT;
      this.#at += 1;
      if (table[at] === this.#crc) return slot;
    }
    return NO_SLOT;
  }

  /** False if it is not to be entered here. */
  enter(crc: number, slot: number): boolean {
    if (3 * this.#count >= this.#table.length) this.#resize(33 - this.#shift);
    const table = this.#table;
    const mask = table.length / 2 - 1;
    let equal = 0;
    for (let place = this.#home(crc), left = MAX_DISTANCE; left > 0 && equal < MAX_EQUAL; place++, left--) {
      const at = (place & mask) * 2;
      if (table[at + 1] === NO_SLOT) {
        table[at] = crc;
        table[at + 1] = slot;
        this.#count += 1;
        return true;
      }
      if (table[at] === crc) equal += 1;
    }
    return false;
  }

  /** Puts `slot` in the place of `before`. False if that is not here. */
  replace(crc: number, before: number, slot: number): boolean {
    const at = this.#find(crc, before);
    if (at >= 0) this.#table[2 * at + 1] = slot;
    return at >= 0;
  }

  /** False if it is not here. */
  remove(crc: number, slot: number): boolean {
    let hole = this.#find(crc, slot);
    if (hole === -1) return false;
    const table = this.#table;
    const mask = table.length / 2 - 1;
    // What comes behind moves up, as far as it is not where it belongs already.
    for (let at = (hole + 1) & mask; table[2 * at + 1] !== NO_SLOT; at = (at + 1) & mask) {
      const distance = (at - this.#home(table[2 * at] as number)) & mask;
      if (distance < ((at - hole) & mask)) continue;
      table[2 * hole] = table[2 * at] as number;
      table[2 * hole + 1] = table[2 * at + 1] as number;
      hole = at;
    }
    table[2 * hole + 1] = NO_SLOT;
    this.#count -= 1;
    return true;
  }

  #find(crc: number, slot: number): number {
    for (let found = this.first(crc); found !== NO_SLOT; found = this.next()) {
      if (found === slot) return (this.#at - 1) & (this.#table.length / 2 - 1);
    }
    return -1;
  }

  #home(crc: number): number {
    return Math.imul(crc, this.#multiplier) >>> this.#shift;
  }

  #resize(bits: number): void {
    const old = this.#table;
    const table = new Int32Array(2 * 2 ** bits);
    const mask = 2 ** bits - 1;
    this.#table = table;
    this.#shift = 32 - bits;
    for (let from = 0; from < old.length; from += 2) {
      const slot = old[from + 1] as number;
      if (slot === NO_SLOT) continue;
      const crc = old[from] as number;
      let place = this.#home(crc);
      while (table[2 * place + 1] !== NO_SLOT) place = (place + 1) & mask;
      table[2 * place] = crc;
      table[2 * place + 1] = slot;
    }
  }
}
