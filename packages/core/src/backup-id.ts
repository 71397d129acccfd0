import { BackypError } from "./errors.ts";

/** `<prefix>-<datestring>`; the datestring is `YYYYMMDDTHHMMSSmmmZ` in UTC, so that ids sort by start time. */
export function backupId(prefix: string, startedAt: Date): string {
  return `${prefix}-${startedAt.toISOString().replace(/[-:.]/g, "")}`;
}

/** The prefix of a backup id, or null if `id` does not end in a datestring. */
export function prefixOfBackupId(id: string): string | null {
  return /^(.+)-\d{8}T\d{9}Z$/.exec(id)?.[1] ?? null;
}

/** The time that a backup id holds, in milliseconds since 1970, or null if `id` holds none. */
export function timeOfBackupId(id: string): number | null {
  const [, ...parts] = /-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/.exec(id) ?? [];
  const [year, month, day, hour, minute, second, ms] = parts;
  const time = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
  return Number.isNaN(time) ? null : time;
}

/**
 * Refuses a prefix that would not make good keys and file names.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function requirePrefix(prefix: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(prefix)) return prefix;
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `${JSON.stringify(prefix)} is no prefix: use 1 to 128 letters, digits, ".", "_", "-", beginning with a letter or digit`,
    { details: { prefix } },
  );
}

/** Where the objects of a backup lie in a sink. */
export const keys = {
  archive: (prefix: string, id: string, extensions: readonly string[]): string =>
    `${prefix}/archives/${id}.${extensions.join(".")}`,
  manifest: (prefix: string, id: string): string => `${prefix}/manifests/${id}.json`,
  pin: (prefix: string, id: string): string => `${prefix}/pins/${id}.json`,
  archives: (prefix: string): string => `${prefix}/archives/`,
  manifests: (prefix: string): string => `${prefix}/manifests/`,
  pins: (prefix: string): string => `${prefix}/pins/`,
  probe: (prefix: string): string => `${prefix}/probe`,
} as const;
