/** A zxid the way ZooKeeper prints it: `0x22`; lower case, no padding, unsigned. */
export function formatZxid(zxid: bigint): string {
  return `0x${BigInt.asUintN(64, zxid).toString(16)}`;
}

/** The upper 32 bits: which leader's reign the txn belongs to. Standalone servers stay in epoch 0. */
export function epochOf(zxid: bigint): bigint {
  return BigInt.asUintN(64, zxid) >> 32n;
}

/** The lower 32 bits. The first txn of an epoch has counter 1; no txn has counter 0. */
export function counterOf(zxid: bigint): bigint {
  return BigInt.asUintN(32, zxid);
}

/** Whether the txn `next` may directly follow `previous`: the next of its epoch, or the first of a later epoch. */
export function isNextZxid(previous: bigint, next: bigint): boolean {
  if (next === previous + 1n) return epochOf(next) === epochOf(previous);
  return counterOf(next) === 1n && epochOf(next) > epochOf(previous);
}
