import { keys, prefixOfBackupId, timeOfBackupId } from "./backup-id.ts";
import type { CatalogItem } from "./catalog.ts";
import { abortError, type BackypError, withCode } from "./errors.ts";
import { isInForce, listPins, type PinItem, readPin } from "./pins.ts";
import { neededTo, planRetention, type RetentionBackup, type RetentionDecision } from "./retention.ts";
import { parseRetentionRules, type RetentionRules } from "./retention-rules.ts";
import type { SeriesContext } from "./series.ts";
import type { ObjectInfo } from "./sink.ts";

/** How long in ms what has no manifest is left alone: its backup may be under way. */
const GRACE_MS = 24 * 3_600_000;
/** Length of `YYYYMMDDTHHMMSSmmmZ`. */
const DATESTRING_LENGTH = 19;

/** What a prune has done, or would do (`dryRun`). */
export interface PruneResult {
  readonly dryRun: boolean;
  /** What was decided of each backup, oldest first. */
  readonly decisions: readonly RetentionDecision[];
  /** Ids of the backups that were deleted, oldest first. */
  readonly deleted: readonly string[];
  /** Keys of the archives without a manifest, and of the pins without a backup, that were removed. */
  readonly swept: readonly string[];
  /** How many unfinished uploads were removed; null where the sink does not do that, and with `dryRun`. */
  readonly unfinishedUploads: number | null;
  /** Bytes of the archives that were deleted. */
  readonly freedBytes: number;
  /** What was found beside the way: manifests and pins that cannot be read, archives that are not there. */
  readonly problems: readonly { readonly id: string; readonly message: string }[];
  /** What could not be deleted. The next prune tries again. */
  readonly failures: readonly { readonly key: string; readonly error: BackypError }[];
}

/** What a series has in its sink. */
interface Inventory {
  readonly pins: readonly PinItem[];
  readonly backups: readonly CatalogItem[];
  /** The same, but one whose archive is not what was stored is not verified any more. */
  readonly judged: readonly RetentionBackup[];
  readonly archives: ReadonlyMap<string, ObjectInfo>;
  readonly problems: PruneResult["problems"];
}

/** Deletes what no rule keeps, and what runs that died have left. */
export async function runPrune(
  series: SeriesContext,
  { rules: raw, dryRun }: { readonly rules: RetentionRules; readonly dryRun: boolean },
  signal: AbortSignal,
): Promise<PruneResult> {
  const { prefix } = series;
  const rules = parseRetentionRules(raw);
  series.emit("prune:start", { prefix, dryRun });
  try {
    const result = await prune(series, rules, dryRun, signal);
    series.emit("prune:complete", { prefix, result });
    return result;
  } catch (cause) {
    series.emit("prune:failed", { prefix, error: withCode(cause) });
    throw cause;
  }
}

async function prune(
  series: SeriesContext,
  rules: RetentionRules,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<PruneResult> {
  const { sink, prefix } = series;
  const now = series.clock();
  const inventory = await takeInventory(series, signal);
  const { pins, backups, judged, problems } = inventory;
  const decisions = planRetention({ backups: judged, pins, rules, now });
  const deleted: string[] = [];
  const swept: string[] = [];
  const failures: { key: string; error: BackypError }[] = [];
  let freedBytes = 0;

  const attempt = async (key: string, work: () => Promise<unknown>): Promise<boolean> => {
    if (signal.aborted) throw abortError(signal);
    try {
      if (!dryRun) await work();
      return true;
    } catch (cause) {
      if (signal.aborted) throw abortError(signal);
      const error = withCode(cause);
      failures.push({ key, error });
      series.emit("prune:problem", { prefix, key, error });
      return false;
    }
  };
  const remove = (key: string): Promise<boolean> => attempt(key, () => sink.delete(key, { signal }));

  const manifests = new Map(backups.flatMap((item) => ("manifest" in item ? [[item.id, item.manifest] as const] : [])));
  const pinned = new Set(pins.map(({ id }) => id));
  const stillNeeded = new Set<string>();
  // What needs others is newer than they are and goes first: no crash leaves it behind without them.
  for (const { id, keep } of decisions.toReversed()) {
    const archive = manifests.get(id)?.archive;
    if (keep || archive === undefined) continue;
    let isGone = false;
    if (!stillNeeded.has(id)) {
      const manifestKey = keys.manifest(prefix, id);
      await attempt(manifestKey, async () => {
        const pin = await readPin(series, id, signal);
        // Pinned since the plan was made.
        if (pin !== null && isInForce(pin, now)) return;
        await sink.delete(manifestKey, { signal });
        isGone = true;
      });
    }
    if (!isGone && !dryRun) {
      for (const needed of neededTo(judged, id)) stillNeeded.add(needed);
      continue;
    }
    deleted.unshift(id);
    series.emit("prune:deleted", { prefix, backupId: id, bytes: archive.size });
    if (await remove(archive.key)) freedBytes += archive.size;
    if (pinned.has(id)) await remove(keys.pin(prefix, id));
  }

  const orphans = orphansIn(series, inventory, new Date(now.getTime() - GRACE_MS));
  // Looked at anew: a manifest may have come meanwhile.
  const present = new Set(orphans.length === 0 ? [] : await series.catalog.ids({ signal }));
  for (const { id, key, bytes } of orphans) {
    if (present.has(id) || !(await remove(key))) continue;
    swept.push(key);
    freedBytes += bytes;
    series.emit("prune:swept", { prefix, key });
  }

  let unfinishedUploads: number | null = null;
  await attempt(`${prefix}/`, async () => {
    const olderThan = new Date(now.getTime() - GRACE_MS);
    unfinishedUploads = (await sink.sweep?.(`${prefix}/`, { olderThan, signal })) ?? null;
  });
  return { dryRun, decisions, deleted, swept, unfinishedUploads, freedBytes, problems, failures };
}

async function takeInventory(series: SeriesContext, signal: AbortSignal): Promise<Inventory> {
  const { sink, prefix, catalog } = series;
  const problems: { id: string; message: string }[] = [];
  // In this order: there is a backup to every pin when it is made, and an archive to every manifest.
  const pins = await listPins(series, signal);
  for (const pin of pins) if ("error" in pin) problems.push({ id: pin.id, message: pin.error.message });
  const backups = await Array.fromAsync(catalog.list({ signal }));
  const archives = new Map<string, ObjectInfo>();
  for await (const info of sink.list(keys.archives(prefix), { signal })) archives.set(info.key, info);
  const judged = backups.map((item): RetentionBackup => {
    const { id } = item;
    if ("error" in item) {
      problems.push({ id, message: item.error.message });
      return item;
    }
    const { archive } = item.manifest;
    const size = archives.get(archive.key)?.size;
    if (size === archive.size) return item;
    const found = size === undefined ? "is not there" : `has ${size} bytes, not ${archive.size}`;
    problems.push({ id, message: `the archive ${archive.key} ${found}: the backup ${id} is lost; it does not count` });
    return { id, manifest: { ...item.manifest, verified: false } };
  });
  return { pins, backups, judged, archives, problems };
}

/**
 * What is left of runs that died: archives without a manifest, which nobody has touched since `olderThan`, and pins
 * without a backup. Where there is no good backup it all stays: it may be the last there is.
 */
function orphansIn(
  { prefix }: SeriesContext,
  { pins, backups, judged, archives }: Inventory,
  olderThan: Date,
): readonly { readonly id: string; readonly key: string; readonly bytes: number }[] {
  if (!judged.some((backup) => "manifest" in backup && backup.manifest.verified)) return [];
  const ids = new Set(backups.map(({ id }) => id));
  const idLength = prefix.length + 1 + DATESTRING_LENGTH;
  const folder = keys.archives(prefix);
  const lostArchives = [...archives.values()].flatMap(({ key, size, modifiedAt }) => {
    const id = key.slice(folder.length, folder.length + idLength);
    const startedAt = timeOfBackupId(id);
    const isArchive = prefixOfBackupId(id) === prefix && key.startsWith(`${folder}${id}.`);
    if (!isArchive || startedAt === null || ids.has(id)) return [];
    const isOld = startedAt < olderThan.getTime() && modifiedAt < olderThan;
    return isOld ? [{ id, key, bytes: size }] : [];
  });
  const lostPins = pins.filter(({ id }) => !ids.has(id)).map(({ id }) => ({ id, key: keys.pin(prefix, id), bytes: 0 }));
  return [...lostArchives, ...lostPins];
}
