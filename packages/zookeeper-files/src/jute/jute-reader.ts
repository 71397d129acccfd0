import { decodeText } from "./jute-text.ts";

/** Says what is wrong at byte `at` of the bytes that are read. */
export type Refuse = (what: string, at: number) => Error;

/** Reads Jute, ZooKeeper's serialization, from bytes that are all there. */
export class JuteReader {
  readonly #bytes: Buffer;
  readonly #end: number;
  readonly #refuse: Refuse;
  /** Where the next read begins. */
  at: number;

  constructor(bytes: Buffer, start: number, end: number, refuse: Refuse) {
    this.#bytes = bytes;
    this.#end = end;
    this.#refuse = refuse;
    this.at = start;
  }

  /** Bytes that were not read yet. */
  get left(): number {
    return this.#end - this.at;
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  long(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  boolean(): boolean {
    return this.#bytes[this.#take(1)] !== 0;
  }

  /** Shares the memory of the bytes that are read. */
  buffer(): Buffer | null {
    const length = this.#length();
    if (length === -1) return null;
    const start = this.#take(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** Servers fail on null wherever the fields that are read here are null. */
  text(): string {
    const length = this.#length();
    if (length === -1) throw this.#refuse("a text is null", this.at - 4);
    const start = this.#take(length);
    return decodeText(this.#bytes, start, start + length);
  }

  /** Null for a count of -1; servers take other negative counts for 0. */
  list<T>(readElement: () => T): T[] | null {
    const count = this.int();
    if (count === -1) return null;
    const elements: T[] = [];
    // The count is not trusted with memory: every element takes bytes.
    for (let i = 0; i < count; i++) elements.push(readElement());
    return elements;
  }

  #length(): number {
    const length = this.int();
    if (length < -1) throw this.#refuse(`a length is ${length}`, this.at - 4);
    return length;
  }

  #take(count: number): number {
    const start = this.at;
    if (count > this.left) throw this.#refuse(`${count} bytes are needed and ${this.left} are left`, start);
    this.at += count;
    return start;
  }
}
