import { timeOfBackupId } from "./backup-id.ts";
import { describePin, isInForce, type PinItem } from "./pins.ts";
import type { PositionRange } from "./position.ts";
import { before, parseDuration } from "./retention-duration.ts";
import { calendarOf, PERIODS } from "./retention-periods.ts";
import { parseRetentionRules, type RetentionRules } from "./retention-rules.ts";

/** What counts of a backup: what a catalog lists will do. */
export type RetentionBackup =
  | {
      readonly id: string;
      readonly manifest: { readonly kind: string; readonly range: PositionRange; readonly verified: boolean };
    }
  | { readonly id: string; readonly error: Error };

/** What becomes of one backup, and every reason for it, in words. */
export interface RetentionDecision {
  readonly id: string;
  readonly keep: boolean;
  readonly reasons: readonly string[];
}

interface Dated {
  readonly id: string;
  readonly time: number;
  readonly verified: boolean;
}

/**
 * Decides which backups of a series to keep. Changes nothing, and decides the same again once the others are gone.
 *
 * Beside what the rules and the pins say, these are kept: the last verified one; what a kept one needs to be restored;
 * one whose manifest cannot be read; and one from the future, which counts for no rule either, since a clock was wrong.
 * In a period that has a verified one, one that is not verified is not its newest.
 *
 * @returns a decision for each backup, oldest first
 * @throws BackypError `ERR_CONFIG_INVALID` for wrong rules, or none
 */
export function planRetention(options: {
  readonly backups: readonly RetentionBackup[];
  readonly pins: readonly PinItem[];
  readonly rules: RetentionRules;
  readonly now: Date;
}): readonly RetentionDecision[] {
  const { pins, now } = options;
  const rules = parseRetentionRules(options.rules);
  const backups = sorted(options.backups);
  const reasons = new Map(backups.map(({ id }) => [id, [] as string[]]));
  const keep = (id: string, reason: string): void => void reasons.get(id)?.push(reason);

  for (const pin of pins) if (isInForce(pin, now)) keep(pin.id, describePin(pin));
  const newestFirst: Dated[] = [];
  const unreadable = new Set<string | undefined>();
  for (const backup of backups.toReversed()) {
    const time = timeOfBackupId(backup.id);
    if ("error" in backup) {
      keep(backup.id, "its manifest cannot be read");
      unreadable.add(backup.id);
    } else if (time === null) keep(backup.id, "its id holds no date");
    else if (time > now.getTime()) keep(backup.id, "it is from the future: a clock was or is wrong");
    else newestFirst.push({ id: backup.id, time, verified: backup.manifest.verified });
  }
  applyRules(rules, newestFirst, keep);
  const lastVerified = newestFirst.find(({ verified }) => verified);
  if (lastVerified !== undefined) keep(lastVerified.id, "the last verified one");

  // From the newest on: what is needed is older.
  const neededBy = new Map<string, string>();
  const neededTo = neededIn(backups);
  for (const backup of backups.toReversed()) {
    const { id } = backup;
    if (reasons.get(id)?.length === 0 && !neededBy.has(id)) continue;
    // What one needs that cannot be read, a newer one of them that needs this one needs as well.
    if ("error" in backup && unreadable.has(neededBy.get(id))) continue;
    for (const needed of neededTo(id)) if (!neededBy.has(needed)) neededBy.set(needed, id);
  }
  for (const [id, by] of neededBy) keep(id, `needed by ${by}`);

  return backups.map(({ id }) => {
    const found = reasons.get(id) ?? [];
    return found.length > 0 ? { id, keep: true, reasons: found } : { id, keep: false, reasons: ["no rule keeps it"] };
  });
}

/**
 * Tells of each backup which older ones it is restored with: none for a full one; for any other all back to the good full
 * one where its chain begins. Of one whose manifest cannot be read nothing is known: it may be the end of the newest chain.
 */
export function neededIn(backups: readonly RetentionBackup[]): (id: string) => readonly string[] {
  const all = sorted(backups);
  const indexes = new Map(all.map(({ id }, index) => [id, index]));
  return (id) => {
    const index = indexes.get(id) ?? 0;
    const top = all[index];
    if (top === undefined || ("manifest" in top && top.manifest.kind === "full")) return [];
    const needed: string[] = [];
    // Where the history begins that the chain holds so far; null where that is not known.
    let begin = "manifest" in top ? top.manifest.range.after : null;
    for (let older = index - 1; older >= 0; older -= 1) {
      const backup = all[older];
      if (backup === undefined) break;
      needed.push(backup.id);
      if ("error" in backup || !backup.manifest.verified) continue;
      const { kind, range } = backup.manifest;
      if (begin !== null && !reaches(range.upTo, begin)) continue;
      if (kind === "full") break;
      begin = range.after;
    }
    return needed;
  };
}

function applyRules(
  rules: RetentionRules,
  newestFirst: readonly Dated[],
  keep: (id: string, reason: string) => void,
): void {
  const { keepLast = 0, within, timeZone = "UTC" } = rules;
  for (const { id } of newestFirst.slice(0, keepLast))
    keep(id, keepLast === 1 ? "the last" : `of the last ${keepLast}`);

  const duration = within === undefined ? null : parseDuration(within);
  const newest = newestFirst[0];
  if (duration !== null && newest !== undefined) {
    // Counted from the newest one, as restic does: where no more backups are made, none gets lost by and by.
    const since = before(new Date(newest.time), duration).getTime();
    for (const { id, time } of newestFirst) if (time >= since) keep(id, `within ${within}`);
  }

  if (PERIODS.every((period) => rules[period] === undefined)) return;
  const calendar = calendarOf(timeZone);
  const dated = newestFirst.map((backup) => ({ ...backup, names: calendar(backup.time) }));
  for (const period of PERIODS) {
    const best = new Map<string, Dated>();
    for (const backup of dated) {
      const there = best.get(backup.names[period]);
      if (there === undefined || (backup.verified && !there.verified)) best.set(backup.names[period], backup);
    }
    for (const [name, { id }] of [...best].slice(0, rules[period] ?? 0)) keep(id, `${period} ${name}`);
  }
}

/** By id: ids of a series sort by time. */
function sorted(backups: readonly RetentionBackup[]): readonly RetentionBackup[] {
  return backups.toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/** Whether a position is at or after another one. */
function reaches(position: string, other: string): boolean {
  return position.length === other.length ? position >= other : position.length > other.length;
}
