import type { Bytes } from "@zk-backyp/core";

/** S3 takes no more parts than this for one object. */
export const MAX_PARTS = 10_000;

const GROW_EVERY = 800;
const LARGEST_PART_BYTES: number = 1024 * 1024 * 1024;

/**
 * Size in bytes of part `number` (from 1) of an object whose length nobody knows yet. The size doubles every 800
 * parts, up to 1 GiB: small objects need little memory, and 10,000 parts hold 5 TiB, the most that S3 takes, when the
 * first parts have 8 MiB. A part has to fit in memory, to be hashed before it is sent and to be sent again.
 */
export function partSize(number: number, firstPartBytes: number): number {
  const doublings = Math.floor((number - 1) / GROW_EVERY);
  return Math.min(firstPartBytes * 2 ** doublings, Math.max(firstPartBytes, LARGEST_PART_BYTES));
}

/** One part of an object. */
export interface Part {
  /** From 1. */
  readonly number: number;
  readonly bytes: Buffer;
  /** Whether the object ends here. The only part of a small object is number 1 and the last one. */
  readonly last: boolean;
}

/**
 * Regroups `body` into parts of exactly `sizeOf(number)` bytes; only the last one may be shorter. There is always a
 * first part, also when the body is empty. `allocate` makes the buffer of a part.
 */
export async function* splitIntoParts(
  body: Bytes,
  sizeOf: (number: number) => number,
  allocate: (size: number) => Buffer = Buffer.allocUnsafeSlow,
): AsyncGenerator<Part, void, void> {
  let number = 1;
  let bytes = allocate(sizeOf(number));
  let filled = 0;
  for await (const chunk of body) {
    for (let offset = 0; offset < chunk.byteLength; ) {
      if (filled === bytes.byteLength) {
        yield { number, bytes, last: false };
        number += 1;
        bytes = allocate(sizeOf(number));
        filled = 0;
      }
      const piece = chunk.subarray(offset, offset + bytes.byteLength - filled);
      bytes.set(piece, filled);
      filled += piece.byteLength;
      offset += piece.byteLength;
    }
  }
  yield { number, bytes: bytes.subarray(0, filled), last: true };
}

/** How {@link sendInParts} goes about it. */
export interface SendPlan<Sent> {
  readonly firstPartBytes: number;
  /** How many parts are under way at once. */
  readonly concurrency: number;
  send(part: Part): Promise<Sent>;
  /** Called at the first failure, before anything else. Has to end the body and the parts that are under way. */
  stop(error: unknown): void;
}

/**
 * Sends `body` in parts, several at once, and resolves with what `send` returned, in the order of the parts. All parts
 * together, collected and under way, take no more memory than `concurrency + 1` first parts, or than one part, once a
 * single one is larger than that.
 *
 * Rejects with the first error, once every part that was under way has settled: nothing runs on after it.
 */
export async function sendInParts<Sent>(body: Bytes, plan: SendPlan<Sent>): Promise<Sent[]> {
  const { firstPartBytes, concurrency } = plan;
  const sizeOf = (number: number): number => partSize(number, firstPartBytes);
  const budget = firstPartBytes * (concurrency + 1);
  // Buffers of sent parts are filled again. Left to the garbage collector, many more of them would lie around.
  const free: Buffer[] = [];
  const parts = splitIntoParts(body, sizeOf, (size) => {
    const buffer = free.pop();
    return buffer?.byteLength === size ? buffer : Buffer.allocUnsafeSlow(size);
  });
  const sent: Sent[] = [];
  const underWay = new Map<number, Promise<void>>();
  let heldBytes = 0;
  let failure: { readonly error: unknown } | undefined;
  const fail = (error: unknown): void => {
    if (failure !== undefined) return;
    failure = { error };
    plan.stop(error);
  };
  const sendOne = async (part: Part): Promise<void> => {
    try {
      sent[part.number - 1] = await plan.send(part);
      free.push(part.bytes);
    } catch (error) {
      fail(error);
    } finally {
      heldBytes -= part.bytes.byteLength;
      underWay.delete(part.number);
    }
  };

  try {
    for (let number = 1; failure === undefined; number += 1) {
      while (underWay.size >= concurrency || (underWay.size > 0 && heldBytes + sizeOf(number) > budget)) {
        await Promise.race(underWay.values());
      }
      if (failure !== undefined) break;
      const next = await parts.next();
      if (next.done === true) break;
      heldBytes += next.value.bytes.byteLength;
      underWay.set(number, sendOne(next.value));
    }
  } catch (error) {
    fail(error);
  }
  await Promise.all(underWay.values());
  await parts.return();
  if (failure !== undefined) throw failure.error;
  return sent;
}
