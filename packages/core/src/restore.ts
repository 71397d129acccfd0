import { randomUUID } from "node:crypto";
import { mkdir, readdir, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { archiveFailure } from "./archive-stream.ts";
import { keptDamaged } from "./damage.ts";
import { BackypError, systemErrorCode } from "./errors.ts";
import type { Manifest } from "./manifest.ts";
import { syncFolders } from "./restore-files.ts";
import type { SeriesContext } from "./series.ts";
import { restoreChecked } from "./verify.ts";

/** Directories to restore into: `main`, and any other role that the source documents (ZooKeeper: `log`). */
export interface RestoreTargets {
  readonly main: string;
  readonly [role: string]: string;
}

/** Begins the name of the folder in which a restore collects its files before they are moved into place. */
const STAGING_PREFIX = ".zk-backyp-restore-";

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
    if (!manifest.verified && !allowDamaged) {
      throw keptDamaged(manifest, "; restore another one, or allow damage to restore what there is of it");
    }
    for (const target of await planTargets(series, targets)) await makeStage(target, stages);
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

/** Checks all targets before anything is made. */
async function planTargets(
  { source, logger }: SeriesContext,
  targets: RestoreTargets,
): Promise<{ role: string; target: string }[]> {
  const plan: { role: string; target: string }[] = [];
  const seen = new Set<string>();
  const all = Object.values(targets).map((path) => resolve(path));
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
    for (const name of await namesIn(target)) {
      if (source.restoreKeeps.includes(name)) continue;
      // Another target may lie below this one, or be it: it is looked at by itself.
      if (all.some((other) => other !== target && `${other}/`.startsWith(`${join(target, name)}/`))) continue;
      if (name.startsWith(STAGING_PREFIX)) {
        const leftover = join(target, name);
        logger.warn(
          { path: leftover },
          `${leftover} is left of an interrupted restore; remove it when none is running`,
        );
        continue;
      }
      throw new BackypError(
        "ERR_TARGET_NOT_EMPTY",
        `${target} is not empty (there is ${JSON.stringify(name)}): restore into a new directory, or move what is there away first`,
        { details: { target, found: name } },
      );
    }
    plan.push({ role, target });
  }
  return plan;
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

async function makeStage({ role, target }: { role: string; target: string }, stages: Stage[]): Promise<void> {
  const staging = join(target, `${STAGING_PREFIX}${randomUUID()}`);
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
  const folders = Object.fromEntries(stages.map((stage) => [stage.role, stage.staging])) as { main: string };
  await restoreChecked(series, manifest, folders, signal, (progress) => series.emit("restore:progress", progress));
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
