import { field, int, long } from "./jute.ts";
import { zlibAdler32 } from "./made-snapshot.ts";

/** A log's header. */
export const LOG_HEADER: Buffer = Buffer.concat([Buffer.from("ZKLG"), int(2), long(0n)]);

export interface MadeTxn {
  readonly zxid: bigint;
  /** Default: setData. */
  readonly type?: number;
  readonly body?: Uint8Array;
  readonly timeMs?: bigint;
  readonly digest?: bigint;
}

/** One record with a good checksum. */
export function makeRecord({ zxid, type = 5, body = SET_DATA, timeMs = 1000n + zxid, digest }: MadeTxn): Buffer {
  const header = [long(0x100_0000_0000_0001n), int(1), long(zxid), long(timeMs), int(type)];
  return frame(Buffer.concat([...header, body, ...(digest === undefined ? [] : [int(2), long(digest)])]));
}

/** An entry with its checksum, length and end mark. */
export function frame(entry: Uint8Array): Buffer {
  return Buffer.concat([long(BigInt(zlibAdler32(entry))), int(entry.byteLength), entry, Buffer.from("B")]);
}

export function makeLog(...txns: MadeTxn[]): Buffer {
  return Buffer.concat([LOG_HEADER, ...txns.map(makeRecord)]);
}

/** Body of a setData. */
const SET_DATA: Buffer = Buffer.concat([field("/a"), field("hello"), int(1)]);
