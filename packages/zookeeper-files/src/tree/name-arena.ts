import { decodeText } from "../jute/jute-text.ts";

/** Names are kept in units of 8 bytes, so that 32 bits address 32 GiB. */
const UNIT_BITS = 3;
const UNITS_PER_BLOCK_BITS = 17;
const BLOCK_BYTES: number = 1 << (UNITS_PER_BLOCK_BITS + UNIT_BITS);
/** No reference: the last unit of the last block is not used. */
const NO_PLACE = -1;
/** A longer name has a block of its own. */
const MAX_SHARED_BYTES: number = 64 * 1024;

/**
 * Keeps short texts as bytes in large blocks, for some 4 bytes more than they have. The place of one that is freed is
 * used for the next one of about the same length.
 */
export class NameArena {
  readonly #blocks: Buffer[] = [];
  /** Index of the block that is being filled; -1 before the first. */
  #current = -1;
  #used: number = BLOCK_BYTES;
  /** By units: where a freed place is. Its first 4 bytes say where the next one is. */
  readonly #freePlaces: number[] = [];
  readonly #freeBlocks: number[] = [];

  /** Keeps a copy and returns what it is found by. */
  store(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    if (length > MAX_SHARED_BYTES) return this.#storeAlone(bytes, start, end);
    const units = unitsOf(length);
    let ref: number;
    const free = this.#freePlaces[units] ?? NO_PLACE;
    if (free !== NO_PLACE) {
      ref = free;
      this.#freePlaces[units] = this.#blockOf(ref).readInt32LE(placeOf(ref));
    } else {
      if (this.#used + (units << UNIT_BITS) > BLOCK_BYTES) {
        this.#current = this.#addBlock(Buffer.allocUnsafeSlow(BLOCK_BYTES));
        this.#used = 0;
      }
      ref = (this.#current << UNITS_PER_BLOCK_BITS) | (this.#used >>> UNIT_BITS);
      this.#used += units << UNIT_BITS;
    }
    const block = this.#blockOf(ref);
    const place = placeOf(ref);
    for (let i = 0; i < length; i++) block[place + i] = bytes[start + i] as number;
    return ref;
  }

  /** Forgets what was stored with this length. */
  free(ref: number, length: number): void {
    if (length > MAX_SHARED_BYTES) {
      const index = ref >>> UNITS_PER_BLOCK_BITS;
      this.#blocks[index] = NOTHING;
      this.#freeBlocks.push(index);
      return;
    }
    const units = unitsOf(length);
    this.#blockOf(ref).writeInt32LE(this.#freePlaces[units] ?? NO_PLACE, placeOf(ref));
    this.#freePlaces[units] = ref;
  }

  /** Whether `bytes` hold this text at `start`. */
  equals(ref: number, length: number, bytes: Uint8Array, start: number): boolean {
    const block = this.#blockOf(ref);
    const place = placeOf(ref);
    for (let i = 0; i < length; i++) if (block[place + i] !== bytes[start + i]) return false;
    return true;
  }

  read(ref: number, length: number): string {
    const place = placeOf(ref);
    return decodeText(this.#blockOf(ref), place, place + length);
  }

  copy(ref: number, length: number, target: Buffer, at: number): void {
    const place = placeOf(ref);
    this.#blockOf(ref).copy(target, at, place, place + length);
  }

  #storeAlone(bytes: Uint8Array, start: number, end: number): number {
    const block = Buffer.allocUnsafeSlow(end - start);
    block.set(bytes.subarray(start, end));
    return this.#addBlock(block) << UNITS_PER_BLOCK_BITS;
  }

  #addBlock(block: Buffer): number {
    const index = this.#freeBlocks.pop() ?? this.#blocks.length;
    this.#blocks[index] = block;
    return index;
  }

  #blockOf(ref: number): Buffer {
    return this.#blocks[ref >>> UNITS_PER_BLOCK_BITS] as Buffer;
  }
}

const NOTHING: Buffer = Buffer.alloc(0);

function placeOf(ref: number): number {
  return (ref & ((1 << UNITS_PER_BLOCK_BITS) - 1)) << UNIT_BITS;
}

function unitsOf(length: number): number {
  return length === 0 ? 1 : (length + 7) >>> UNIT_BITS;
}
