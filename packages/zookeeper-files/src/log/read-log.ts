import { slicesOf } from "../chunk-slices.ts";
import { decodeTxn } from "./decode-txn.ts";
import { createLogChecker, type LogCheckOptions } from "./log-checker.ts";
import type { LogSummary } from "./log-summary.ts";
import type { Txn } from "./txn.ts";

/** A txn, and where it stands in its log. */
export type LoggedTxn = Txn & {
  /** Bytes from the start of the file to its record. */
  readonly offset: number;
  /** Of its record, with checksum and end mark, in bytes. The next one begins at `offset + length`. */
  readonly length: number;
};

export interface ReadLogOptions extends Pick<LogCheckOptions, "maxRecordBytes"> {
  /** Told once, after the last txn, what there was in the file: `for await` drops what a generator returns. */
  readonly onSummary?: (summary: LogSummary) => void;
}

const SLICE_BYTES: number = 64 * 1024;

/**
 * Reads the txns of one log, in file order: all good records up to its end, or up to the first that is not good.
 *
 * ```js
 * for await (const txn of readLog(createReadStream("version-2/log.1"))) console.log(txn.zxid, txn.type);
 * ```
 *
 * Damage is not thrown. It is in the summary, which the generator returns and `onSummary` is given. The txns own their
 * memory. At most 64 KiB of the file and its largest record are in memory as txns, and `body` is read no faster than
 * they are taken.
 *
 * @throws whatever `body` throws
 */
export async function* readLog(
  body: AsyncIterable<Uint8Array>,
  options: ReadLogOptions = {},
): AsyncGenerator<LoggedTxn, LogSummary, void> {
  const { onSummary, ...limits } = options;
  let txns: LoggedTxn[] = [];
  const checker = createLogChecker({
    ...limits,
    onRecord: ({ offset, length, entry }) => txns.push({ ...decodeTxn(Buffer.from(entry)), offset, length }),
  });
  for await (const chunk of body) {
    for (const slice of slicesOf(chunk, SLICE_BYTES)) {
      checker.push(slice);
      yield* txns;
      txns = [];
    }
  }
  const summary = checker.end();
  onSummary?.(summary);
  return summary;
}
