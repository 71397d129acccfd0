import { adler32 } from "../adler32.ts";

/** What every log begins with: magic, version 2, and a dbid that is always 0. */
export const LOG_HEADER: Buffer = Buffer.from("5a4b4c47000000020000000000000000", "hex");

/** The record of an entry: checksum, length, the entry, and "B". */
export function frameOf(entry: Uint8Array): Buffer {
  const record = Buffer.allocUnsafe(13 + entry.byteLength);
  record.writeBigInt64BE(BigInt(adler32(entry)));
  record.writeInt32BE(entry.byteLength, 8);
  record.set(entry, 12);
  record[12 + entry.byteLength] = 0x42;
  return record;
}
