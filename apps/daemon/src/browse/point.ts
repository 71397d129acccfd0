import { BackypError } from "@zk-backyp/core";
import { formatZxid } from "@zk-backyp/zookeeper-files";
import { formatTime } from "../formats.ts";

/** A moment in a server's history: right after the txn `zxid`, or after the last one up to a time of its clock. */
export type Point = { readonly zxid: bigint } | { readonly timeMs: number };

const ZXID = /^0x[0-9a-f]{1,16}$/i;
const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?)\s*(Z|[+-]\d\d:\d\d)?)?$/i;

/** `0x3e4`, or null for what is no zxid. */
export function parseZxid(text: string): bigint | null {
  return ZXID.test(text) ? BigInt.asIntN(64, BigInt(text)) : null;
}

/** A date, or a date and a time; UTC unless it says otherwise. In milliseconds since 1970, or null for what is no time. */
export function parseTime(text: string): number | null {
  const [, day, time = "00:00", zone = "Z"] = TIME.exec(text) ?? [];
  const timeMs = day === undefined ? Number.NaN : Date.parse(`${day}T${time}${zone.toUpperCase()}`);
  // A day that is not in the calendar would silently be the next one.
  if (Number.isNaN(timeMs) || !new Date(Date.parse(`${day}T00:00Z`)).toISOString().startsWith(`${day}`)) return null;
  return timeMs;
}

export function parsePoint(text: string): Point | null {
  const zxid = parseZxid(text);
  if (zxid !== null) return { zxid };
  const timeMs = parseTime(text);
  return timeMs === null ? null : { timeMs };
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
  return "zxid" in point ? formatZxid(point.zxid) : `${showTime(point.timeMs)} UTC`;
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
