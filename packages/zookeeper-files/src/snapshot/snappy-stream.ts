import { ZooKeeperFileError } from "../file-error.ts";
import { RecordCutter } from "../record-cutter.ts";
import { decodeSnappyBlock, snappyPlainLength } from "./snappy-block.ts";

/** First bytes of a stream of the snappy-java library. */
const MAGIC: Buffer = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
/** Magic, version, lowest compatible version. */
const HEADER_BYTES = 16;
/** ZooKeeper's blocks hold 32 KiB; other writers of this format go up to 1 MiB. */
const MAX_PLAIN_BYTES: number = 1024 * 1024;
/** The most that a snappy encoder may make of that. */
const MAX_BLOCK_BYTES: number = 32 + MAX_PLAIN_BYTES + Math.ceil(MAX_PLAIN_BYTES / 6);

/**
 * Unpacks the stream format of the snappy-java library (not snappy's own "framing format"): a header, then blocks,
 * each with its length before it. The header may occur again between blocks, where streams were concatenated.
 */
export class SnappyStream {
  readonly #onPlain: (plain: Buffer) => void;
  readonly #cutter: RecordCutter = new RecordCutter((bytes, start, end) => this.#read(bytes, start, end));
  #started = false;
  readonly #plain: Buffer = Buffer.allocUnsafe(MAX_PLAIN_BYTES);

  /** What `onPlain` is given is lent for the call. */
  constructor(onPlain: (plain: Buffer) => void) {
    this.#onPlain = onPlain;
  }

  push(chunk: Buffer): void {
    this.#cutter.push(chunk);
  }

  end(): void {
    const left = this.#cutter.pending().byteLength;
    if (this.#started && left === 0) return;
    const end = this.#cutter.offset + left;
    throw new ZooKeeperFileError("SNAPSHOT_TRUNCATED", null, `the compressed file ends inside a block, at byte ${end}`);
  }

  #read(bytes: Buffer, start: number, end: number): number {
    if (end - start < 4) return -4;
    const isHeader = bytes.readInt32BE(start) === MAGIC.readInt32BE(0);
    if (!this.#started || isHeader) {
      if (!isHeader) throw this.#bad("does not begin as snappy-java's streams do");
      if (end - start < HEADER_BYTES) return -HEADER_BYTES;
      const isKnown = bytes.compare(MAGIC, 0, MAGIC.byteLength, start, start + MAGIC.byteLength) === 0;
      if (!isKnown || bytes.readInt32BE(start + 12) !== 1) throw this.#bad("has a stream header of an unknown kind");
      this.#started = true;
      return HEADER_BYTES;
    }
    const length = bytes.readInt32BE(start);
    if (length <= 0 || length > MAX_BLOCK_BYTES) throw this.#bad(`has a block of ${length} bytes`);
    if (end - start < 4 + length) return -(4 + length);
    const block = bytes.subarray(start + 4, start + 4 + length);
    const plainLength = snappyPlainLength(block);
    if (plainLength === null || plainLength > MAX_PLAIN_BYTES) throw this.#bad("has a block of an unreasonable size");
    const plain = this.#plain.subarray(0, plainLength);
    if (!decodeSnappyBlock(block, plain)) throw this.#bad("has a damaged block");
    this.#onPlain(plain);
    return 4 + length;
  }

  #bad(what: string): ZooKeeperFileError {
    const message = `the snappy-compressed file ${what}, at byte ${this.#cutter.offset} of the compressed file`;
    return new ZooKeeperFileError("SNAPSHOT_BAD_COMPRESSION", null, message);
  }
}
