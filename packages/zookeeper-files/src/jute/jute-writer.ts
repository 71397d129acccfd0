import { ZooKeeperFileError } from "../file-error.ts";
import { encodeText } from "./jute-text.ts";

/** What the readers of this library accept unless told otherwise. */
const MAX_FIELD_BYTES: number = 64 * 1024 * 1024;

/** Writes Jute, ZooKeeper's serialization. Numbers that do not fit are refused with `NOT_WRITABLE`. */
export class JuteWriter {
  #bytes: Buffer = Buffer.allocUnsafe(1024);
  #length = 0;

  /** Bytes written since the last {@link take}. */
  get length(): number {
    return this.#length;
  }

  /** What was written, which the writer then forgets. */
  take(): Buffer {
    const bytes = this.#bytes.subarray(0, this.#length);
    this.#bytes = Buffer.allocUnsafe(Math.min(this.#bytes.byteLength, 64 * 1024));
    this.#length = 0;
    return bytes;
  }

  int(value: number, what: string): void {
    if (value !== (value | 0)) throw notWritable(`${what} is ${value}, which is no signed 32-bit number`);
    const at = this.#grow(4);
    this.#bytes.writeInt32BE(value, at);
  }

  long(value: bigint, what: string): void {
    if (value !== BigInt.asIntN(64, value)) throw notWritable(`${what} is ${value}, which is no signed 64-bit number`);
    const at = this.#grow(8);
    this.#bytes.writeBigInt64BE(value, at);
  }

  time(timeMs: number, what: string): void {
    if (!Number.isSafeInteger(timeMs)) throw notWritable(`${what} is ${timeMs}, which is no whole number up to 2^53`);
    this.long(BigInt(timeMs), what);
  }

  boolean(value: boolean): void {
    const at = this.#grow(1);
    this.#bytes[at] = value ? 1 : 0;
  }

  /** `what` is written, for errors. */
  buffer(value: Uint8Array | null, what: string): void {
    if (value === null) {
      this.int(-1, what);
      return;
    }
    if (value.byteLength > MAX_FIELD_BYTES) {
      throw notWritable(`${what} has ${value.byteLength} bytes (the limit is ${MAX_FIELD_BYTES})`);
    }
    this.int(value.byteLength, what);
    const at = this.#grow(value.byteLength);
    this.#bytes.set(value, at);
  }

  text(value: string, what: string): void {
    this.buffer(encodeText(value), what);
  }

  list<T>(elements: readonly T[] | null, writeElement: (element: T) => void): void {
    this.int(elements === null ? -1 : elements.length, "the length of a list");
    for (const element of elements ?? []) writeElement(element);
  }

  /** Makes room, maybe in another buffer, and returns where it begins. */
  #grow(count: number): number {
    const start = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.byteLength) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, 2 * this.#bytes.byteLength));
      this.#bytes.copy(larger, 0, 0, start);
      this.#bytes = larger;
    }
    return start;
  }
}

/** Something was to be written that no server reads. */
export function notWritable(what: string): ZooKeeperFileError {
  return new ZooKeeperFileError("NOT_WRITABLE", null, `this cannot be written: ${what}`);
}
