import { BackypError } from "@zk-backyp/core";
import { formatZxid } from "@zk-backyp/zookeeper-files";
import { formatTime } from "../formats.ts";

/** A moment in a server's history: right after the txn `zxid`, or a time of its clock. */
export type Point = { readonly zxid: bigint } | TimeSpan;

/**
 * A time as it was written: a whole second, minute or day, or a millisecond. What begins there begins with its first
 * millisecond, and what ends there ends with its last one. In milliseconds since 1970.
 */
interface TimeSpan {
  readonly fromMs: number;
  readonly toMs: number;
}

const ZXID = /^0x[0-9a-f]{1,16}$/i;
const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)\s*(Z|[+-]\d\d:\d\d)?)?$/i;
const [SECOND_MS, MINUTE_MS, DAY_MS] = [1000, 60_000, 86_400_000];

/** `0x3e4`, or null for what is no zxid. */
export function parseZxid(text: string): bigint | null {
  return ZXID.test(text) ? BigInt.asIntN(64, BigInt(text)) : null;
}

/** A date, or a date and a time; UTC unless it says otherwise. Null for what is no time. */
export function parseTime(text: string): TimeSpan | null {
  const [, day, time, zone = "Z"] = TIME.exec(text) ?? [];
  const fromMs = day === undefined ? Number.NaN : Date.parse(`${day}T${time ?? "00:00"}${zone.toUpperCase()}`);
  // A day that is not in the calendar would silently be the next one.
  if (Number.isNaN(fromMs) || !new Date(Date.parse(`${day}T00:00Z`)).toISOString().startsWith(`${day}`)) return null;
  return { fromMs, toMs: fromMs + lengthMs(time) - 1 };
}

/** How long what is written lasts: `10:46` is a minute. */
function lengthMs(time: string | undefined): number {
  if (time === undefined) return DAY_MS;
  if (time.includes(".")) return 1;
  return time.length > "10:46".length ? SECOND_MS : MINUTE_MS;
}

export function parsePoint(text: string): Point | null {
  const zxid = parseZxid(text);
  return zxid === null ? parseTime(text) : { zxid };
}

/**
 * The point that a flag names.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function requirePoint(text: string, flag: string, parse: (text: string) => Point | null = parsePoint): Point {
  const point = parse(text);
  if (point !== null) return point;
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `${flag} ${JSON.stringify(text)}: write a zxid as 0x3e4, and a time as 2026-11-22 or 2026-11-22T20:58:22Z (UTC)`,
  );
}

/** For people: `0x3e4`, or `2026-11-22 20:58:22 UTC`. */
export function describePoint(point: Point): string {
  return "zxid" in point ? formatZxid(point.zxid) : `${showTime(point.fromMs)} UTC`;
}

/** A server's time for people, in UTC. A server's clock can be anything, also what is no date. */
export function showTime(timeMs: number): string {
  const iso = isoTime(timeMs);
  return iso === null ? `${timeMs} ms` : formatTime(iso);
}

/** A server's time for programs: ISO 8601 in UTC with milliseconds, or null for what no date can be. */
export function isoTime(timeMs: number): string | null {
  return Math.abs(timeMs) <= 8.64e15 ? new Date(timeMs).toISOString() : null;
}
