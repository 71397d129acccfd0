import { ZooKeeperFileError } from "../file-error.ts";
import { notWritable } from "../jute/jute-writer.ts";
import { asBuffer } from "../record-cutter.ts";
import { formatZxid, isNextZxid } from "../zxid.ts";
import { decodeTxn } from "./decode-txn.ts";
import { encodeTxn } from "./encode-txn.ts";
import { DEFAULT_MAX_RECORD_BYTES } from "./log-checker.ts";
import { frameOf, LOG_HEADER } from "./log-frame.ts";
import type { Txn } from "./txn.ts";

const CHUNK_BYTES: number = 64 * 1024;

/**
 * Writes a log: its header, and a record for each txn. Without the zeros that servers allocate ahead, which they do not
 * need: they never append to a log that is there. The file must be named `log.` and the first zxid in lower-case hex.
 *
 * A txn may also be given as the entry of a `LogRecord`, which is written as it is.
 *
 * @throws ZooKeeperFileError `NOT_WRITABLE`, with what was given before already written, for a txn that servers fail
 *   on (see {@link encodeTxn}); for a `check` outside of a multi; for one that does not follow the txn before it, one
 *   by one within an epoch (servers from 3.9.4 on refuse gaps); for one of more than 64 MiB; and whatever `txns` throws
 */
export async function* writeLog(
  txns: Iterable<Txn | Uint8Array> | AsyncIterable<Txn | Uint8Array>,
): AsyncGenerator<Buffer, void, void> {
  let bytes: Buffer[] = [LOG_HEADER];
  let length = LOG_HEADER.byteLength;
  let previous: bigint | null = null;
  for await (const given of txns) {
    const isEntry = given instanceof Uint8Array;
    const txn = isEntry ? decodeEntry(given) : given;
    const { type, zxid } = txn;
    if (type === "check") throw notWritable('a "check" outside of a multi, which servers cannot read');
    if (previous !== null && !isNextZxid(previous, zxid)) {
      throw notWritable(`the txn ${formatZxid(zxid)} does not follow ${formatZxid(previous)}`);
    }
    previous = zxid;
    const entry = isEntry ? asBuffer(given) : encodeTxn(txn);
    if (entry.byteLength > DEFAULT_MAX_RECORD_BYTES) {
      throw notWritable(`the txn ${formatZxid(zxid)} has ${entry.byteLength} bytes`);
    }
    bytes.push(frameOf(entry));
    length += entry.byteLength;
    if (length >= CHUNK_BYTES) {
      yield Buffer.concat(bytes);
      bytes = [];
      length = 0;
    }
  }
  yield Buffer.concat(bytes);
}

function decodeEntry(entry: Uint8Array): Txn {
  try {
    return decodeTxn(entry);
  } catch (error) {
    if (error instanceof ZooKeeperFileError) throw notWritable(error.message);
    throw error;
  }
}
