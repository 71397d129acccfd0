import { z } from "zod";
import { parseWith } from "./plugin.ts";
import { parseDuration } from "./retention-duration.ts";
import { PERIODS } from "./retention-periods.ts";

/**
 * Which backups to keep, in restic's words: one is kept if any of the rules keeps it. The number of a calendar rule
 * counts periods that have a backup, so that a pause costs none.
 */
export interface RetentionRules {
  /** The newest n. */
  readonly keepLast?: number | undefined;
  /** All that are at most that much older than the newest one: `36h`, `14d`, `2w`, `6m` (months), `1y6m`. */
  readonly within?: string | undefined;
  /** The newest one of each of the last n hours. */
  readonly hourly?: number | undefined;
  readonly daily?: number | undefined;
  /** Weeks begin on Monday (ISO 8601). */
  readonly weekly?: number | undefined;
  readonly monthly?: number | undefined;
  readonly yearly?: number | undefined;
  /** Where hours, days, weeks, months and years begin: an IANA name such as `Europe/Berlin`. Default: UTC. */
  readonly timeZone?: string | undefined;
}

const count = z.int().min(1).optional();

/** Checks {@link RetentionRules}. */
export const retentionRulesSchema: z.ZodType<RetentionRules> = z
  .strictObject({
    keepLast: count,
    within: z
      .string()
      .refine((text) => parseDuration(text) !== null, "is no duration: write 36h, 14d, 2w, 6m (months) or 1y6m")
      .optional(),
    hourly: count,
    daily: count,
    weekly: count,
    monthly: count,
    yearly: count,
    timeZone: z.string().refine(isTimeZone, "is no time zone: write a name such as Europe/Berlin").optional(),
  })
  .refine(
    (rules) =>
      rules.within !== undefined || ["keepLast" as const, ...PERIODS].some((rule) => rules[rule] !== undefined),
    `no rule would keep a backup: give at least one of keepLast, within, ${PERIODS.join(", ")}`,
  );

/**
 * Checks rules, and that there is one: without any, all backups would go.
 *
 * @param what what to call them in an error
 * @throws BackypError `ERR_CONFIG_INVALID`, naming every wrong field
 */
export function parseRetentionRules(raw: unknown, what = "retention"): RetentionRules {
  return parseWith(retentionRulesSchema, raw, what);
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
