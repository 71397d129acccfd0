// @ts-check

/** How far the daemon's clock is ahead of this browser's, so that ages are right on a machine whose clock is not. */
let aheadMs = 0;

/** @param {number} ms */
export function setClockDifference(ms) {
  // An HTTP date has whole seconds: less than some of them means nothing.
  aheadMs = Math.abs(ms) < 3_000 ? 0 : ms;
}

/** @returns {number} what time it is for the daemon */
export function nowMs() {
  return Date.now() + aheadMs;
}

/**
 * `86.1 kB`, `1.20 GB`: powers of 1000, three digits, as the command prints them.
 *
 * @param {number} bytes
 */
export function formatBytes(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

/**
 * How long something took: `0.4 s`, `2 min 5 s`, `1 h 20 min`.
 *
 * @param {number} ms
 */
export function formatDuration(ms) {
  const tenths = Math.round(ms / 100);
  if (tenths < 600) return `${(tenths / 10).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * How old something is, in one unit, rounded down so that it is never said to be older than it is: `40 s`, `26 h`, `3 d`.
 *
 * @param {number} ms
 */
export function formatAge(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 72 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}

/**
 * `12 h ago`, `in 40 s`, `now`.
 *
 * @param {string} iso
 */
export function formatRelative(iso) {
  const ms = Date.parse(iso) - nowMs();
  if (Math.abs(ms) < 1_000) return "now";
  return ms < 0 ? `${formatAge(-ms)} ago` : `in ${formatAge(ms)}`;
}

/** @param {Intl.DateTimeFormatOptions} options */
function format(options) {
  // The words are English as those of the page are, and the hours those that the log has.
  return new Intl.DateTimeFormat("en-GB", options);
}

/** @type {Intl.DateTimeFormatOptions} */
const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
/** @type {Intl.DateTimeFormatOptions} */
const day = { weekday: "short", day: "numeric", month: "short" };
const dayAndClock = format({ ...day, ...clock });
const yearAndClock = format({ day: "numeric", month: "short", year: "numeric", ...clock });
const utcClock = format({ ...clock, timeZone: "UTC" });
const utcDayAndClock = format({ ...day, ...clock, timeZone: "UTC" });
const exact = format({ dateStyle: "full", timeStyle: "long" });

/**
 * In this browser's time zone: `Mon 23 Nov, 02:00`, and with the year where it is another one.
 *
 * @param {string} iso
 */
export function formatLocal(iso) {
  const at = new Date(iso);
  const isThisYear = at.getFullYear() === new Date(nowMs()).getFullYear();
  return (isThisYear ? dayAndClock : yearAndClock).format(at);
}

/**
 * `01:00 UTC`, with the day where it is another one, or null where the local time is UTC.
 *
 * @param {string} iso
 */
export function formatUtc(iso) {
  const at = new Date(iso);
  if (at.getTimezoneOffset() === 0) return null;
  return `${(at.getDate() === at.getUTCDate() ? utcClock : utcDayAndClock).format(at)} UTC`;
}

/**
 * Both zones to the second.
 *
 * @param {string} iso
 */
export function formatExact(iso) {
  return `${exact.format(new Date(iso))} · ${iso}`;
}

/**
 * `1 backup`, `30 backups`, `12,000 backups`.
 *
 * @param {number} count
 * @param {string} word
 */
export function formatCount(count, word) {
  return `${count.toLocaleString("en-GB")} ${word}${count === 1 ? "" : "s"}`;
}
