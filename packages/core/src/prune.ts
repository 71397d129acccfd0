import { isDeepStrictEqual } from "node:util";
import { keys, prefixOfBackupId, timeOfBackupId } from "./backup-id.ts";
import type { SummaryItem } from "./catalog.ts";
import { type CatalogSummary, summarize } from "./catalog-summary.ts";
import { abortError, BackypError, isBackypError, withCode } from "./errors.ts";
import { isInForce, listPins, type PinItem, readPin } from "./pins.ts";
import { neededIn, planRetention, type RetentionBackup, type RetentionDecision } from "./retention.ts";
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
  readonly backups: readonly SummaryItem[];
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
  const inventory = await takeSureInventory(series, now, signal);
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

  const summaries = summariesIn(backups);
  const neededTo = neededIn(judged);
  const pinned = new Set(pins.map(({ id }) => id));
  const stillNeeded = new Set<string>();
  // What needs others is newer than they are and goes first: no crash leaves it behind without them.
  for (const { id, keep } of decisions.toReversed()) {
    const summary = summaries.get(id);
    if (keep || summary === undefined) continue;
    const { archive } = summary;
    let isGone = false;
    if (!stillNeeded.has(id)) {
      const manifestKey = keys.manifest(prefix, id);
      await attempt(manifestKey, async () => {
        await refuseChanged(series, summary, signal);
        const pin = await readPin(series, id, signal);
        // Pinned since the plan was made.
        if (pin !== null && isInForce(pin, now)) return;
        await sink.delete(manifestKey, { signal });
        isGone = true;
      });
    }
    if (!isGone && !dryRun) {
      for (const needed of neededTo(id)) stillNeeded.add(needed);
      continue;
    }
    deleted.push(id);
    series.emit("prune:deleted", { prefix, backupId: id, bytes: archive.size });
    if (await remove(archive.key)) freedBytes += archive.size;
    if (pinned.has(id)) await remove(keys.pin(prefix, id));
  }

  deleted.reverse();

  const orphans = orphansIn(series, inventory, new Date(now.getTime() - GRACE_MS));
  // Looked at anew: a manifest may have come meanwhile.
  const present = new Set(orphans.length === 0 ? [] : await series.catalog.ids({ signal }));
  for (const { id, key, bytes, isBeside } of orphans) {
    if (present.has(id) && !isBeside) continue;
    const own = isBeside ? summaries.get(id) : undefined;
    const isGone = await attempt(key, async () => {
      if (own !== undefined) await refuseChanged(series, own, signal);
      await sink.delete(key, { signal });
    });
    if (!isGone) continue;
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

/**
 * What there is, by a listing that may remember manifests: of what must not be deleted wrongly by that, the last verified
 * backup, it is made sure here that it is as remembered; of what is deleted, right before it is.
 */
async function takeSureInventory(series: SeriesContext, now: Date, signal: AbortSignal): Promise<Inventory> {
  const { catalog } = series;
  const inventory = await takeInventory(series, catalog.summaries({ signal }), signal);
  const { backups, judged } = inventory;
  const last = judged.findLast(
    (item) => "manifest" in item && item.manifest.verified && (timeOfBackupId(item.id) ?? Infinity) <= now.getTime(),
  );
  const summaries = summariesIn(backups);
  for (const id of last === undefined ? [] : [last.id, ...neededIn(judged)(last.id)]) {
    const summary = summaries.get(id);
    if (summary === undefined || (await compare(series, summary, signal)) === "same") continue;
    return takeInventory(series, summariesOfAll(series, signal), signal);
  }
  return inventory;
}

/** Reads every manifest. */
async function* summariesOfAll({ catalog }: SeriesContext, signal: AbortSignal): AsyncGenerator<SummaryItem> {
  for await (const item of catalog.list({ signal })) yield "error" in item ? item : summarize(item.manifest);
}

function summariesIn(backups: readonly SummaryItem[]): ReadonlyMap<string, CatalogSummary> {
  return new Map(backups.flatMap((item) => ("error" in item ? [] : [[item.id, item] as const])));
}

/** Whether a manifest is what it was when it was listed. */
async function compare(
  { catalog }: SeriesContext,
  summary: CatalogSummary,
  signal: AbortSignal,
): Promise<"same" | "differs" | "gone"> {
  try {
    const manifest = await catalog.load(summary.id, { signal });
    return isDeepStrictEqual(summarize(manifest), summary) ? "same" : "differs";
  } catch (error) {
    if (isBackypError(error, "ERR_BACKUP_NOT_FOUND")) return "gone";
    if (isBackypError(error, "ERR_MANIFEST_INVALID") || isBackypError(error, "ERR_MANIFEST_UNSUPPORTED")) {
      return "differs";
    }
    throw error;
  }
}

/** Fails where a manifest is another one by now. Where it is gone, it speaks for nothing any more. */
async function refuseChanged(series: SeriesContext, summary: CatalogSummary, signal: AbortSignal): Promise<void> {
  if ((await compare(series, summary, signal)) !== "differs") return;
  const key = keys.manifest(series.prefix, summary.id);
  throw new BackypError(
    "ERR_MANIFEST_INVALID",
    `the manifest ${key} is not what it was when it was listed; the next prune decides anew`,
    { details: { manifest: key } },
  );
}

async function takeInventory(
  series: SeriesContext,
  summaries: AsyncIterable<SummaryItem>,
  signal: AbortSignal,
): Promise<Inventory> {
  const { sink, prefix } = series;
  const problems: { id: string; message: string }[] = [];
  // In this order: there is a backup to every pin when it is made, and an archive to every manifest.
  const pins = await listPins(series, signal);
  for (const pin of pins) if ("error" in pin) problems.push({ id: pin.id, message: pin.error.message });
  const backups = await Array.fromAsync(summaries);
  const archives = new Map<string, ObjectInfo>();
  for await (const info of sink.list(keys.archives(prefix), { signal })) archives.set(info.key, info);
  const judged = backups.map((item): RetentionBackup => {
    const { id } = item;
    if ("error" in item) {
      problems.push({ id, message: item.error.message });
      return item;
    }
    const { archive } = item;
    const size = archives.get(archive.key)?.size;
    if (size === archive.size) return { id, manifest: item };
    const found = size === undefined ? "is not there" : `has ${size} bytes, not ${archive.size}`;
    problems.push({ id, message: `the archive ${archive.key} ${found}: the backup ${id} is lost; it does not count` });
    return { id, manifest: { ...item, verified: false } };
  });
  return { pins, backups, judged, archives, problems };
}

/**
 * What is left of runs that died: archives that no manifest names, which nobody has touched since `olderThan`, and pins
 * without a backup. Where there is no good backup it all stays: it may be the last there is. So does an archive beside a
 * backup of its id whose own archive is not known to be there (`isBeside`: it is, and this is another run's).
 */
function orphansIn(
  { prefix }: SeriesContext,
  { pins, backups, judged, archives }: Inventory,
  olderThan: Date,
): readonly { readonly id: string; readonly key: string; readonly bytes: number; readonly isBeside: boolean }[] {
  if (!judged.some((backup) => "manifest" in backup && backup.manifest.verified)) return [];
  const ids = new Set(backups.map(({ id }) => id));
  const named = summariesIn(backups);
  const idLength = prefix.length + 1 + DATESTRING_LENGTH;
  const folder = keys.archives(prefix);
  const lostArchives = [...archives.values()].flatMap(({ key, size, modifiedAt }) => {
    const id = key.slice(folder.length, folder.length + idLength);
    const startedAt = timeOfBackupId(id);
    const isArchive = prefixOfBackupId(id) === prefix && key.startsWith(`${folder}${id}.`);
    if (!isArchive || startedAt === null) return [];
    const own = named.get(id)?.archive;
    const isBeside = own !== undefined && own.key !== key && archives.get(own.key)?.size === own.size;
    if (ids.has(id) && !isBeside) return [];
    const isOld = startedAt < olderThan.getTime() && modifiedAt < olderThan;
    return isOld ? [{ id, key, bytes: size, isBeside }] : [];
  });
  const lostPins = pins
    .filter(({ id }) => !ids.has(id))
    .map(({ id }) => ({ id, key: keys.pin(prefix, id), bytes: 0, isBeside: false }));
  return [...lostArchives, ...lostPins];
}
