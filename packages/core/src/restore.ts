import { randomUUID } from "node:crypto";
import { mkdir, readdir, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { archiveFailure } from "./archive-stream.ts";
import { keptDamaged } from "./damage.ts";
import { abortError, BackypError, isBackypError, systemErrorCode } from "./errors.ts";
import type { Progress } from "./events.ts";
import type { JsonObject } from "./json.ts";
import type { Manifest } from "./manifest.ts";
import { syncFolders } from "./restore-files.ts";
import type { SeriesContext } from "./series.ts";
import type { ReplaceTargets, RestoreFolders } from "./source.ts";
import { restoreChecked } from "./verify.ts";

/** Directories to restore into: `main`, and any other role that the source documents (ZooKeeper: `log`). */
export interface RestoreTargets {
  readonly main: string;
  readonly [role: string]: string;
}

/** What a replacement did. */
export interface ReplacedBackup {
  readonly manifest: Manifest;
  /** What the source tells of it. */
  readonly replaced: JsonObject;
}

/** Begins the name of the folder in which a restore collects its files before they are moved into place. */
const STAGING_PREFIX = ".zk-backyp-restore-";
/** The same for a restore that replaces what is there: of those there is one at a time, so that what is left is dead. */
const REPLACING_PREFIX = ".zk-backyp-replace-";

/** One target directory and the hidden folder in it where the files wait until all of them are good. */
interface Stage {
  readonly role: string;
  readonly target: string;
  readonly staging: string;
  /** The outermost directory that had to be made for it, if any: what a failure takes away again. */
  readonly made: string | undefined;
}

/**
 * Restores a backup: every byte is checked on its way into a hidden folder inside the target (so that the move into
 * place is a rename, on a mount point too), and only when all is good does anything appear under its real name.
 */
export async function runRestore(
  series: SeriesContext,
  id: string,
  targets: RestoreTargets,
  allowDamaged: boolean,
  signal: AbortSignal,
): Promise<Manifest> {
  const manifest = await series.catalog.load(id, { signal });
  series.emit("restore:start", { prefix: series.prefix, backupId: manifest.id });
  const stages: Stage[] = [];
  try {
    requireGood(manifest, allowDamaged);
    const plan = await planTargets(series, targets);
    for (const { target } of plan) await requireEmpty(series, target, plan);
    for (const { role, target } of plan) await makeStage(role, target, STAGING_PREFIX, stages);
    await fillStages(series, manifest, stages, signal);
    await moveIntoPlace(stages);
  } catch (cause) {
    for (const stage of stages.toReversed()) await removeStage(series, stage, true);
    throw series.failed("restore:failed", manifest.id, archiveFailure(cause, manifest, series.sink));
  }
  for (const stage of stages) await removeStage(series, stage, false);
  series.emit("restore:complete", { manifest });
  return manifest;
}

/**
 * Restores a backup in the place of data that is there. What that means is the source's to say; here everything is checked
 * and collected inside the targets, as for a restore into empty ones, before it is asked to put it into place.
 */
export async function runReplace(
  series: SeriesContext,
  id: string,
  targets: RestoreTargets,
  allowDamaged: boolean,
  signal: AbortSignal,
): Promise<ReplacedBackup> {
  const { source, logger } = series;
  const plan = await planTargets(series, targets);
  if (source.replace === undefined) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `the source ${source.name} cannot replace data that is there; restore into empty directories`,
    );
  }
  const paths = Object.fromEntries(plan.map(({ role, target }) => [role, target])) as ReplaceTargets;
  // First of all, since it puts back what a replacement has left half done: that needs no store.
  const replacement = await source.replace(paths, { signal, logger });
  try {
    for (const { target } of plan) await removeDeadStages(series, target);
    const manifest = await series.catalog.load(id, { signal });
    series.emit("restore:start", { prefix: series.prefix, backupId: manifest.id });
    const stages: Stage[] = [];
    let replaced: JsonObject;
    try {
      requireGood(manifest, allowDamaged);
      await replacement.prepare(manifest, await newestOf(series, signal));
      for (const { role, target } of plan) await makeStage(role, target, REPLACING_PREFIX, stages);
      await fillStages(series, manifest, stages, signal);
      if (signal.aborted) throw abortError(signal);
      replaced = await replacement.complete(foldersOf(stages));
    } catch (cause) {
      for (const stage of stages.toReversed()) await removeStage(series, stage, true);
      throw series.failed("restore:failed", manifest.id, archiveFailure(cause, manifest, series.sink));
    }
    for (const stage of stages) await removeStage(series, stage, false);
    series.emit("restore:complete", { manifest });
    return { manifest, replaced };
  } finally {
    await replacement.close();
  }
}

function requireGood(manifest: Manifest, allowDamaged: boolean): void {
  if (manifest.verified || allowDamaged) return;
  throw keptDamaged(manifest, "; restore another one, or allow damage to restore what there is of it");
}

/** What the newest backup knows helps, but a restore does not fail for want of it. */
async function newestOf({ catalog, logger }: SeriesContext, signal: AbortSignal): Promise<Manifest | null> {
  try {
    return await catalog.load("latest", { signal });
  } catch (error) {
    if (!isBackypError(error, "ERR_MANIFEST_INVALID") && !isBackypError(error, "ERR_MANIFEST_UNSUPPORTED")) throw error;
    logger.warn({ err: error }, `the newest backup is left out of account: ${error.message}`);
    return null;
  }
}

async function removeDeadStages(series: SeriesContext, target: string): Promise<void> {
  for (const name of await namesIn(target)) {
    if (!name.startsWith(REPLACING_PREFIX)) continue;
    await removeStage(series, { role: "", target, staging: join(target, name), made: undefined }, false);
  }
}

/** Checks which targets there are before anything is made. */
async function planTargets(
  { source }: SeriesContext,
  targets: RestoreTargets,
): Promise<{ role: string; target: string }[]> {
  const plan: { role: string; target: string }[] = [];
  const seen = new Set<string>();
  for (const [role, path] of Object.entries(targets)) {
    if (role !== "main" && !source.restoreRoles.includes(role)) {
      throw new BackypError(
        "ERR_CONFIG_INVALID",
        `the source ${source.name} knows no restore target ${JSON.stringify(role)}`,
      );
    }
    const target = resolve(path);
    const real = await realPathOf(target);
    if (seen.has(real)) {
      throw new BackypError(
        "ERR_CONFIG_INVALID",
        `${target} is given as the target of two kinds of files; name it once and both go there`,
        { details: { target } },
      );
    }
    seen.add(real);
    plan.push({ role, target });
  }
  return plan;
}

async function requireEmpty(
  { source, logger }: SeriesContext,
  target: string,
  plan: readonly { readonly target: string }[],
): Promise<void> {
  for (const name of await namesIn(target)) {
    if (source.restoreKeeps.includes(name)) continue;
    // Another target may lie below this one, or be it: it is looked at by itself.
    const isAnother = plan.some(
      (other) => other.target !== target && `${other.target}/`.startsWith(`${join(target, name)}/`),
    );
    if (isAnother) continue;
    if (name.startsWith(STAGING_PREFIX)) {
      const leftover = join(target, name);
      logger.warn({ path: leftover }, `${leftover} is left of an interrupted restore; remove it when none is running`);
      continue;
    }
    throw new BackypError(
      "ERR_TARGET_NOT_EMPTY",
      `${target} is not empty (there is ${JSON.stringify(name)}): restore into a new directory, or move what is there away first`,
      { details: { target, found: name } },
    );
  }
}

/** The path without symbolic links, as far as it exists. */
async function realPathOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return dirname(path) === path ? path : join(await realPathOf(dirname(path)), basename(path));
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw unavailable(directory, error);
  }
}

async function makeStage(role: string, target: string, prefix: string, stages: Stage[]): Promise<void> {
  const staging = join(target, `${prefix}${randomUUID()}`);
  const made = await outermostMissing(target);
  // Known before it is made: if only a part of the path can be made, that part goes again.
  stages.push({ role, target, staging, made });
  try {
    await mkdir(target, { recursive: true, mode: 0o750 });
    await mkdir(staging, { mode: 0o750 });
  } catch (error) {
    throw unavailable(target, error);
  }
}

/** The outermost directory that `mkdir` would have to make for `path`; undefined if it is there. */
async function outermostMissing(path: string): Promise<string | undefined> {
  if (await isThere(path)) return undefined;
  return (await outermostMissing(dirname(path))) ?? path;
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function fillStages(
  series: SeriesContext,
  manifest: Manifest,
  stages: readonly Stage[],
  signal: AbortSignal,
): Promise<void> {
  const report = (progress: Progress): void => series.emit("restore:progress", progress);
  await restoreChecked(series, manifest, foldersOf(stages), signal, report);
}

function foldersOf(stages: readonly Stage[]): RestoreFolders {
  return Object.fromEntries(stages.map(({ role, staging }) => [role, staging])) as { main: string };
}

/** Renames what the stages hold into their targets: `main` last, since that is where a server looks first. */
async function moveIntoPlace(stages: readonly Stage[]): Promise<void> {
  const moved: { from: string; to: string }[] = [];
  const order = stages.toSorted((a, b) => Number(a.role === "main") - Number(b.role === "main"));
  for (const { staging, target, made } of order) {
    try {
      for (const name of (await readdir(staging)).sort()) {
        const move = { from: join(staging, name), to: join(target, name) };
        await rename(move.from, move.to);
        moved.push(move);
      }
      await syncFolders(made === undefined ? [target] : [target, dirname(made)]);
    } catch (error) {
      await moveBack(moved, target, error);
    }
  }
}

/** After a failure: all that is in place already goes back, and what cannot is named. */
async function moveBack(moved: { from: string; to: string }[], target: string, failure: unknown): Promise<never> {
  const stuck: string[] = [];
  for (const { from, to } of moved.toReversed()) await rename(to, from).catch(() => stuck.push(to));
  const error = unavailable(target, failure);
  if (stuck.length === 0) throw error;
  throw new BackypError(
    error.code,
    `${error.message}. What was in place already could not be taken away again; remove ${stuck.join(" and ")}`,
    { cause: failure, details: { target, stuck } },
  );
}

/** Takes a stage away. What fails here changes nothing about how the restore went. */
async function removeStage(
  { logger }: SeriesContext,
  { staging, target, made }: Stage,
  failed: boolean,
): Promise<void> {
  try {
    if (await isThere(staging)) await rm(staging, { recursive: true });
    if (failed && made !== undefined) await removeEmptyDirectories(target, made);
  } catch (error) {
    logger.warn({ err: error, path: staging }, `${staging} was left behind; remove it`);
  }
}

/** Takes `directory` and its parents up to `outermost` away, as long as they are empty. */
async function removeEmptyDirectories(directory: string, outermost: string): Promise<void> {
  for (let path = directory; path.length >= outermost.length; path = dirname(path)) {
    try {
      await rmdir(path);
    } catch (error) {
      // Not all of it may have been made, or could have been.
      if (!["ENOENT", "ENAMETOOLONG"].includes(systemErrorCode(error) ?? "")) return;
    }
  }
}

function unavailable(path: string, cause: unknown): BackypError {
  const code = systemErrorCode(cause);
  const why =
    code === "EACCES" || code === "EPERM" || code === "EROFS"
      ? "no permission to write there; run as the user that owns it"
      : code === "ENOTDIR" || code === "EEXIST"
        ? "it is not a directory"
        : code === "ENOSPC" || code === "EDQUOT"
          ? "no space left on it"
          : (cause as Error).message;
  return new BackypError("ERR_TARGET_UNAVAILABLE", `cannot restore into ${path}: ${why}`, {
    cause,
    details: { target: path },
  });
}
