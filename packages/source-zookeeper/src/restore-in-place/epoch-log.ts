import { Readable } from "node:stream";
import { type Txn, writeLog } from "@zk-backyp/zookeeper-files";

/**
 * A server keeps the newest 500 transactions in memory (`zookeeper.commitLogCount`), and by them it decides what another
 * member lacks. With more than those in the new epoch, none of the restored ones is among them.
 */
const TRANSACTIONS = 1000;

/** Name of the log that begins an epoch. */
export function epochLogName(epoch: bigint): string {
  return `log.${firstZxid(epoch).toString(16)}`;
}

/**
 * Name of a log without transactions, between the backup's and the new epoch's. A member whose data ends where an epoch
 * begins, since it led and nothing was written, is sent all that a leader's logs have from the log on that its zxid
 * belongs to by the logs' names, in the belief that nothing before is different: where the tree is large, the backup's last
 * one and the new epoch's. A log that begins later than its name has the leader find nothing, and send the whole tree.
 *
 * @param upTo the last zxid that is restored
 */
export function gapLogName(upTo: bigint): string {
  return `log.${(upTo + 1n).toString(16)}`;
}

/** What is in that one: nothing. */
export function gapLog(): Readable {
  return Readable.from(writeLog([]));
}

/**
 * A log that changes nothing, and with which the data ends in another epoch: transactions of failed requests, as every
 * log has them. Behind the restored logs it does two things.
 *
 * - Data ends above every zxid that clients have seen. A server refuses a client that has seen more than itself; here a
 *   standalone server, which has no epochs, does not either.
 * - A member whose data is of the history before the restore shares no zxid with the last transactions of a restored
 *   leader, so that it is sent the whole tree. Without it the leader may tell it to cut off what it has too much, or
 *   to go on from where it is: with other data than the others then, and nobody is told.
 */
export function epochLog(epoch: bigint, at: Date): Readable {
  return Readable.from(writeLog(transactions(epoch, at)));
}

function* transactions(epoch: bigint, at: Date): Generator<Txn, void, void> {
  for (let counter = 0n; counter < TRANSACTIONS; counter += 1n) {
    const header = { zxid: firstZxid(epoch) + counter, timeMs: at.getTime(), sessionId: 0n, cxid: 0 };
    // -101: NoNode.
    yield { ...header, type: "error", errorCode: -101, digest: null };
  }
}

function firstZxid(epoch: bigint): bigint {
  return (epoch << 32n) + 1n;
}
