import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, realpath, rename, rm } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { archiveFailure } from "./archive-stream.ts";
import { BackypError, isBackypError, systemErrorCode } from "./errors.ts";
import type { Manifest } from "./manifest.ts";
import type { SeriesContext } from "./series.ts";
import type { RestoreFolders, RestoreStep } from "./source.ts";
import { checkedEntries } from "./verify.ts";

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
  signal: AbortSignal,
): Promise<Manifest> {
  const manifest = await series.catalog.load(id, { signal });
  series.emit("restore:start", { prefix: series.prefix, backupId: manifest.id });
  const stages: Stage[] = [];
  try {
    for (const target of await planTargets(series, targets)) stages.push(await makeStage(target));
    await fillStages(series, manifest, stages, signal);
    await moveIntoPlace(stages);
  } catch (cause) {
    for (const stage of stages.toReversed()) await removeStage(stage, true);
    throw series.failed("restore:failed", manifest.id, archiveFailure(cause, manifest, series.sink));
  }
  for (const stage of stages) await removeStage(stage, false);
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
  for (const [role, path] of Object.entries(targets)) {
    if (role !== "main" && !source.restoreRoles.includes(role)) {
      throw new BackypError(
        "ERR_CONFIG_INVALID",
        `the source ${source.name} knows no restore target ${JSON.stringify(role)}`,
      );
    }
    const target = resolve(path);
    const real = await realpath(target).catch(() => target);
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
      if (name.startsWith(STAGING_PREFIX)) {
        logger.warn(
          { path: join(target, name) },
          "a folder of an interrupted restore lies here; remove it when none is running",
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

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).sort();
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw unavailable(directory, error);
  }
}

async function makeStage({ role, target }: { role: string; target: string }): Promise<Stage> {
  const staging = join(target, `${STAGING_PREFIX}${randomUUID()}`);
  try {
    const made = await mkdir(target, { recursive: true, mode: 0o750 });
    await mkdir(staging, { mode: 0o750 });
    return { role, target, staging, made };
  } catch (error) {
    throw unavailable(target, error);
  }
}

async function fillStages(
  series: SeriesContext,
  manifest: Manifest,
  stages: readonly Stage[],
  signal: AbortSignal,
): Promise<void> {
  const { source, logger } = series;
  let consumed = false;
  async function* steps(): AsyncGenerator<RestoreStep, void, void> {
    const entries = checkedEntries(series, manifest, signal, (progress) => series.emit("restore:progress", progress));
    yield { kind: manifest.kind, range: manifest.range, entries };
    consumed = true;
  }
  const folders = Object.fromEntries(stages.map((stage) => [stage.role, stage.staging])) as { main: string };
  await source.restore(steps(), folders satisfies RestoreFolders, { signal, logger });
  if (!consumed) throw new Error(`the source ${source.name} did not read the backup to its end`);
}

/** Renames what the stages hold into their targets: `main` last, since that is where a server looks first. */
async function moveIntoPlace(stages: readonly Stage[]): Promise<void> {
  const moved: { from: string; to: string }[] = [];
  const order = stages.toSorted((a, b) => Number(a.role === "main") - Number(b.role === "main"));
  try {
    for (const { staging, target } of order) {
      for (const name of (await readdir(staging)).sort()) {
        const move = { from: join(staging, name), to: join(target, name) };
        await rename(move.from, move.to);
        moved.push(move);
      }
      await syncDirectory(target);
    }
  } catch (error) {
    for (const { from, to } of moved.toReversed()) await rename(to, from);
    throw isBackypError(error) ? error : unavailable(stages[0]?.target ?? "", error);
  }
}

async function removeStage({ staging, target, made }: Stage, failed: boolean): Promise<void> {
  await rm(staging, { recursive: true, force: true });
  if (failed && made !== undefined) await removeEmptyDirectories(target, made);
  else await syncDirectory(target).catch(() => {});
}

/** Takes `directory` and its parents up to `outermost` away, as long as they are empty. */
async function removeEmptyDirectories(directory: string, outermost: string): Promise<void> {
  for (let path = directory; path.length >= outermost.length; path = dirname(path)) {
    const names = await readdir(path).catch(() => ["?"]);
    if (names.length > 0) return;
    await rm(path, { recursive: true });
  }
}

async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
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
