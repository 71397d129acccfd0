import type { Bytes } from "./bytes.ts";
import type { CheckItem, SinkCheckContext } from "./check.ts";
import { BackypError } from "./errors.ts";

export interface ObjectInfo {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  readonly modifiedAt: Date;
}

export interface PutOptions {
  readonly signal: AbortSignal;
  /**
   * Fail with `ERR_OBJECT_EXISTS` when the key is taken, and leave what is there. A sink whose store cannot decide
   * that in one step does its best and says so in its README.
   */
  readonly ifAbsent?: boolean;
}

export interface GetOptions {
  readonly signal: AbortSignal;
  /**
   * Only these bytes: from `start` up to but not including `end` (the object's end where left out), as `subarray` takes
   * them: an `end` behind the object's is cut off, a `start` behind it gives no bytes.
   */
  readonly range?: { readonly start: number; readonly end?: number };
}

export interface ListOptions {
  readonly signal: AbortSignal;
  /** Keys up to and with this one are not asked for. It saves work: a sink may show them all the same. */
  readonly after?: string;
}

export interface SweepOptions {
  readonly signal: AbortSignal;
  /** A put may be under way: what is younger stays. */
  readonly olderThan: Date;
}

/**
 * A place that keeps objects under keys. What every sink guarantees, and the test kit checks:
 *
 * - an object is visible whole or not at all, to `get` and to `list` alike;
 * - it is durable, readable and listed once `put` resolves;
 * - a `put` that rejects leaves the key as it was, and leaves nothing behind;
 * - memory stays bounded, however large the object.
 *
 * Keys match `[A-Za-z0-9._+-]+` in parts joined by `/`; no part is `.` or `..`.
 */
export interface Sink {
  /** Where this is, for people: `file:/backups`, `s3://bucket/prefix`. Holds no secret. */
  readonly location: string;
  /**
   * Resolves when the object is durable. Rejects when `body` throws or `signal` aborts; `body` is closed either way.
   *
   * @throws BackypError `ERR_SINK_UNAVAILABLE`, `ERR_SINK_NOT_FOUND`, `ERR_SINK_DENIED`, `ERR_SINK_FULL`, `ERR_OBJECT_EXISTS`
   */
  put(key: string, body: Bytes, options: PutOptions): Promise<ObjectInfo>;
  /** @throws BackypError `ERR_OBJECT_NOT_FOUND` on the first pull */
  get(key: string, options: GetOptions): Bytes;
  /** Ascending by key (by UTF-16 code unit). `prefix` is plain text, not a folder. An empty store lists nothing. */
  list(prefix: string, options: ListOptions): AsyncIterable<ObjectInfo>;
  /** Succeeds also when the key does not exist. */
  delete(key: string, options: { readonly signal: AbortSignal }): Promise<void>;
  /**
   * Removes what puts that died have left and `list` does not show, such as unfinished uploads, as far as it was last
   * written to before `olderThan`. What of it belongs to keys that do not begin with `prefix` is left alone where the
   * sink can tell. For sinks whose store does not do that by itself.
   *
   * @returns how many it removed
   */
  sweep?(prefix: string, options: SweepOptions): Promise<number>;
  /**
   * Looks at what no object tells, such as the room that is left. That objects can be stored, read and deleted is tried by
   * the caller. What is wrong is an item, and no error.
   */
  check?(context: SinkCheckContext): AsyncIterable<CheckItem>;
  close(): Promise<void>;
}

/** Whether `text` is a key that a sink has to take. */
export function isKey(text: string): boolean {
  return (
    /^[A-Za-z0-9._+-]+(\/[A-Za-z0-9._+-]+)*$/.test(text) &&
    text.split("/").every((part) => part !== "." && part !== "..")
  );
}

/**
 * Refuses a key that a sink does not have to take.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function requireKey(key: string): string {
  if (isKey(key)) return key;
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `${JSON.stringify(key)} is no object key: use letters, digits, ".", "_", "+", "-", in parts joined by "/"`,
    { details: { key } },
  );
}
