import { slicesOf } from "../chunk-slices.ts";
import { ZooKeeperFileError } from "../file-error.ts";
import { formatZxid } from "../zxid.ts";
import { createLogChecker } from "./log-checker.ts";
import { frameOf, LOG_HEADER } from "./log-frame.ts";

export interface CutLogOptions {
  /** The last txn to keep. If the log leaves it out, at the change of an epoch, the last one before it. */
  readonly upTo: bigint;
}

const SLICE_BYTES: number = 64 * 1024;

/**
 * Cuts a log: yields the bytes of its header and of all records up to a txn, which are a whole log of their own. What
 * comes behind that txn is not looked at, good or not. Of a log that begins after it the header remains.
 *
 * The bytes are good only if the generator ends without an error.
 *
 * @throws ZooKeeperFileError `LOG_NOT_REACHED` when the log ends before the txn, be it in a torn record;
 *   `LOG_DAMAGED` when it is damaged before the txn, or zxids go back or repeat there; and whatever `body` throws
 */
export async function* cutLog(
  body: AsyncIterable<Uint8Array>,
  options: CutLogOptions,
): AsyncGenerator<Buffer, void, void> {
  const { upTo } = options;
  let bytes: Buffer[] = [LOG_HEADER];
  let last: bigint | null = null;
  let isReached = false;
  const checker = createLogChecker({
    onRecord: ({ offset, zxid, entry }) => {
      if (isReached) return;
      if (last !== null && zxid <= last) {
        const message = `the txn ${formatZxid(zxid)} at byte ${offset} follows ${formatZxid(last)}: the log is damaged`;
        throw new ZooKeeperFileError("LOG_DAMAGED", offset, message);
      }
      last = zxid;
      isReached = zxid >= upTo;
      if (zxid <= upTo) bytes.push(frameOf(entry));
    },
  });
  for await (const chunk of body) {
    for (const slice of slicesOf(chunk, SLICE_BYTES)) {
      checker.push(slice);
      if (last !== null && bytes.length > 0) {
        yield Buffer.concat(bytes);
        bytes = [];
      }
      if (isReached) return;
    }
  }
  const summary = checker.end();
  const end = summary.lastZxid === null ? "holds no txn" : `ends with ${formatZxid(summary.lastZxid)}`;
  const [problem] = summary.problems;
  const isDamaged = summary.end === "damaged";
  throw new ZooKeeperFileError(
    isDamaged ? "LOG_DAMAGED" : "LOG_NOT_REACHED",
    problem?.offset ?? null,
    `the log cannot be cut at ${formatZxid(upTo)}: it ${end}${problem === undefined ? "" : `, and ${problem.message}`}`,
  );
}
