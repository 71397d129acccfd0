/**
 * Reads the record at `start` of `bytes`, of which `end` is the end so far. Returns
 *
 * - how many bytes the record has (above 0), when it was read;
 * - minus the bytes it needs at the least, counted from `start`, when it is not all there (more than are there, and
 *   never more than the record has);
 * - {@link STOP} when what begins at `start` is no record and the rest of the stream is not to be cut.
 *
 * The bytes are only lent for the call.
 */
export type ReadRecord = (bytes: Buffer, start: number, end: number) => number;

/** See {@link ReadRecord}. */
export const STOP = 0;

/**
 * Cuts a stream that arrives in chunks of any size into records. Records that lie within one chunk are read where
 * they are. Of a record that is spread over several chunks only the part seen so far is kept, and the memory for it
 * grows with the bytes that really arrived, never with a length that the file claims.
 */
export class RecordCutter {
  /** Bytes from the start of the stream to the record that is read now or next. */
  offset = 0;
  readonly #read: ReadRecord;
  #carry: Buffer = Buffer.alloc(0);
  #carried = 0;
  #needed = 0;

  constructor(read: ReadRecord) {
    this.#read = read;
  }

  /** The part of an incomplete record that was taken from earlier chunks. Valid until the next push. */
  pending(): Buffer {
    return this.#carry.subarray(0, this.#carried);
  }

  /** Returns how many bytes of `chunk` were taken: all of them, unless the reader said stop. */
  push(chunk: Buffer): number {
    const end = chunk.byteLength;
    let at = 0;
    while (this.#carried > 0) {
      at += this.#append(chunk, at);
      if (this.#carried < this.#needed) return end;
      const result = this.#read(this.#carry, 0, this.#carried);
      if (result === STOP) return at;
      if (result < 0) {
        this.#needed = -result;
      } else {
        this.offset += result;
        this.#carried = 0;
      }
    }
    while (at < end) {
      const result = this.#read(chunk, at, end);
      if (result === STOP) return at;
      if (result < 0) {
        this.#needed = -result;
        this.#append(chunk, at);
        return end;
      }
      this.offset += result;
      at += result;
    }
    return end;
  }

  /** Takes what the record still needs, or what there is of it. */
  #append(chunk: Buffer, start: number): number {
    const bytes = Math.min(this.#needed - this.#carried, chunk.byteLength - start);
    const length = this.#carried + bytes;
    if (length > this.#carry.byteLength) {
      const larger = Buffer.allocUnsafe(Math.min(this.#needed, Math.max(2 * length, 256)));
      this.#carry.copy(larger, 0, 0, this.#carried);
      this.#carry = larger;
    }
    chunk.copy(this.#carry, this.#carried, start, start + bytes);
    this.#carried = length;
    return bytes;
  }
}

/** The same bytes as a Buffer, without a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
