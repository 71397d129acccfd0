import { constants } from "node:fs";
import { access, lchown, lstat, readdir, realpath, rename, statfs, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import {
  BackypError,
  type JsonObject,
  type Logger,
  type Manifest,
  type Replacement,
  type ReplaceTargets,
  type RestoreFolders,
  type RunContext,
  syncFolders,
  systemErrorCode,
} from "@zk-backyp/core";
import { parseFileName } from "@zk-backyp/zookeeper-files";
import { parseServerAddress } from "../ensemble/server-address.ts";
import { addressFrom } from "../locate.ts";
import type { ZooKeeperSourceOptions } from "../options.ts";
import { DAMAGED_FOLDER, DATA_FOLDER } from "../verifier.ts";
import { readZooCfg } from "../zoo-cfg.ts";
import { epochLog, epochLogName, gapLog, gapLogName } from "./epoch-log.ts";
import { KEPT_PREFIX, type MemberFolder, memberFolders, unavailable } from "./member-folders.ts";
import {
  type BackupHistory,
  epochOfBackup,
  epochOffset,
  highest,
  memberHistory,
  RECORD_FILE,
  raisedEpoch,
  requireEpoch,
} from "./raised-epoch.ts";
import { requireStopped, type StoppedOptions } from "./running-server.ts";
import { type Swap, swapSteps, undoSwap } from "./swap.ts";
import { lockFolders } from "./target-lock.ts";

/** What a server writes at its start besides a snapshot: a log, which is allocated with holes, and small files. */
const MARGIN_BYTES = 64 * 1024 * 1024;

/**
 * Gets ready to replace the data of a member of an ensemble, or of a standalone server, that is stopped. `myid` and all
 * else beside `version-2` stays as it is.
 *
 * @throws BackypError as {@link Source.replace}
 */
export async function openReplacement(
  options: ZooKeeperSourceOptions,
  targets: ReplaceTargets,
  { logger }: RunContext,
): Promise<Replacement> {
  const folders = await memberFolders(targets);
  const stopped = await stoppedOptions(options, targets, folders, logger);
  const release = await lockFolders(folders);
  try {
    await requireStopped(folders, stopped);
    for (const { directory, version2 } of folders) await requireWritable([directory, version2]);
    const undone = await undoSwap(folders);
    if (undone)
      logger.warn({ targets }, "an earlier restore had ended half way: the data from before it is back in place");
    await warnOfMissingLogs(folders, logger);
  } catch (error) {
    release();
    throw error;
  }
  let about: (BackupHistory & { readonly manifest: Manifest }) | null = null;
  return {
    async prepare(manifest, newest) {
      const epochs = [manifest, newest].map((backup) => (backup === null ? null : epochOfBackup(backup)));
      about = { manifest, epoch: highest(epochs), offset: epochOffset(manifest) };
      await requireRoom(manifest, folders);
    },
    async complete(staged) {
      if (about === null) throw new Error("complete before prepare");
      // It took a while to get here.
      await requireStopped(folders, stopped);
      const history = await memberHistory(folders, logger);
      const epoch = raisedEpoch(history, about);
      for (const folder of folders) requireEpoch(epoch, folder);
      const at = new Date();
      // What a member has accepted it must not forget: two leaders could come to have the same epoch. What only its
      // last restore wrote, and no leader has seen, would keep it from members that are given this backup.
      const isOwn = history.isUntouched && history.epoch === history.restored;
      const accepted = isOwn ? epoch : highest([epoch, history.epoch]);
      await addEpoch({ current: epoch, accepted, manifest: about.manifest, at }, staged);
      await putDamagedInside(staged);
      for (const folder of folders) await giveToOwner(staged[folder.role] ?? "", folder);
      const earlier = await keptIn(folders);
      const kept = await swap({ folders, staged, at });
      return { epoch: Number(epoch), kept: await withSizes(kept), keptEarlier: await withSizes(earlier) };
    },
    async close() {
      release();
    },
  };
}

/** What the source's own options say of the server, where they are about these directories. */
async function stoppedOptions(
  options: ZooKeeperSourceOptions,
  targets: ReplaceTargets,
  folders: readonly MemberFolder[],
  logger: Logger,
): Promise<StoppedOptions> {
  const stateDir = options.cold?.stateDir ?? join(targets.main, ".zk-backyp");
  const zooCfg = options.zooCfg === undefined ? null : await readZooCfg(options.zooCfg).catch((error: Error) => error);
  if (zooCfg instanceof Error) {
    logger.warn({ err: zooCfg }, `${zooCfg.message}; so it is not asked whether the server answers`);
    return { server: null, stateDir };
  }
  const dataDir = options.dataDir ?? zooCfg?.settings.get("dataDir");
  const [main, log] = ["main", "log"].map((role) => folders.find((folder) => folder.role === role)?.real);
  const configured = dataDir === undefined ? undefined : await realPathOf(dataDir);
  if (configured !== main) return { server: null, stateDir };
  const dataLogDir = options.dataLogDir ?? zooCfg?.settings.get("dataLogDir");
  const configuredLog = dataLogDir === undefined ? undefined : await realPathOf(dataLogDir);
  if ((configuredLog ?? main) !== (log ?? main)) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `by its configuration the server that has ${targets.main} ` +
        (dataLogDir === undefined ? "keeps its logs there too" : `keeps its logs in ${dataLogDir}`) +
        "; give the same directories",
    );
  }
  const server =
    options.server === undefined ? await addressFrom(zooCfg, dataDir, options) : parseServerAddress(options.server);
  return { server, stateDir };
}

async function realPathOf(path: string): Promise<string> {
  const itself = resolve(path).replace(/\/version-2$/, "");
  return realpath(itself).catch(() => itself);
}

async function requireWritable(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK).catch((cause: unknown) => {
      if (systemErrorCode(cause) === "ENOENT") return;
      throw unavailable(path, "no permission to write there; run as the user that owns it, or as root", cause);
    });
  }
}

/** A server with a log directory of its own would refuse to start, or find its old logs beside a new snapshot. */
async function warnOfMissingLogs(folders: readonly MemberFolder[], logger: Logger): Promise<void> {
  const [{ directory, version2 } = { directory: "", version2: "" }, second] = folders;
  if (second !== undefined) return;
  const kinds = (await readdir(version2).catch(() => [])).map((name) => parseFileName(name)?.kind);
  if (!kinds.includes("snapshot") || kinds.includes("log")) return;
  logger.warn(
    { directory },
    `there are snapshots in ${directory} and no logs: if the server has a dataLogDir, restore again and name it`,
  );
}

async function requireRoom({ entries }: Manifest, folders: readonly MemberFolder[]): Promise<void> {
  const [logFolder] = folders;
  const main = folders.find(({ role }) => role === "main");
  const needed = new Map<number, number>();
  const add = (folder: MemberFolder | undefined, bytes: number): void => {
    if (folder !== undefined) needed.set(folder.device, (needed.get(folder.device) ?? 0) + bytes);
  };
  for (const { path, size } of entries) {
    const kind = path.startsWith(DATA_FOLDER) ? parseFileName(path.slice(DATA_FOLDER.length))?.kind : undefined;
    // A server that starts, or leads from then on, writes the snapshot once more.
    if (kind === "snapshot") add(main, 2 * size);
    else if (kind === "log") add(logFolder, size);
    else if (path.startsWith(DAMAGED_FOLDER)) add(main, size);
  }
  for (const folder of folders) add(folder, MARGIN_BYTES);
  for (const { directory, device } of folders) {
    const { bavail, bsize } = await statfs(directory);
    const bytes = needed.get(device) ?? 0;
    if (bavail * bsize >= bytes) continue;
    const [free, wanted] = [bavail * bsize, bytes].map((count) => `${Math.ceil(count / 1e6)} MB`);
    throw unavailable(
      directory,
      `the backup, and the server's next snapshot, may take ${wanted}, and ${free} are free; the old data is kept, so make room ` +
        `(folders ${KEPT_PREFIX}* are what earlier restores have kept)`,
    );
  }
}

interface RaisedEpochs {
  readonly current: bigint;
  readonly accepted: bigint;
  /** Of the backup, whose files are what it says. */
  readonly manifest: Manifest;
  readonly at: Date;
}

/** With both epoch files, since a server that has only one of them may not start. */
async function addEpoch({ current, accepted, manifest, at }: RaisedEpochs, staged: RestoreFolders): Promise<void> {
  const { id, range } = manifest;
  const [main = "", log = ""] = [staged.main, staged.log ?? staged.main].map((folder) => join(folder, DATA_FOLDER));
  const write = async (path: string, content: string | Readable): Promise<void> =>
    writeFile(path, content, { flag: "wx", mode: 0o640, flush: true });
  await write(join(main, RECORD_FILE), `${JSON.stringify({ id, epoch: Number(current), at: at.toISOString() })}\n`);
  await write(join(main, "acceptedEpoch"), String(accepted));
  await write(join(main, "currentEpoch"), String(current));
  // A server may have begun such a log itself.
  await write(join(log, gapLogName(BigInt(range.upTo))), gapLog()).catch((error: unknown) => {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  });
  await write(join(log, epochLogName(current)), epochLog(current, at));
  await syncFolders(new Set([main, log]));
}

/** What may hold more than a server loads goes with the data, when that is replaced in turn. */
async function putDamagedInside({ main }: RestoreFolders): Promise<void> {
  const name = basename(DAMAGED_FOLDER);
  await rename(join(main, name), join(main, DATA_FOLDER, name)).catch((error: unknown) => {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  });
}

/** Root restores, but it is ZooKeeper's user that has to read it. */
async function giveToOwner(path: string, folder: MemberFolder): Promise<void> {
  if (process.getuid?.() !== 0) return;
  const { uid, gid } = folder.owner;
  await lchown(path, uid, gid);
  if (!(await lstat(path)).isDirectory()) return;
  for (const name of await readdir(path)) await giveToOwner(join(path, name), folder);
}

/** On any failure the old data is in place again. */
async function swap({ folders, staged, at }: Swap): Promise<string[]> {
  const steps = swapSteps({ folders, staged, at });
  const { directory = "" } = folders[0] ?? {};
  try {
    let step = await steps.next();
    while (step.done !== true) step = await steps.next();
    return step.value;
  } catch (cause) {
    const why = (cause as Error).message;
    await undoSwap(folders).catch((error: Error) => {
      throw unavailable(
        directory,
        `${why}; and the old data is not back in place yet: ${error.message}. No server starts on it like this: run the same restore again`,
        cause,
      );
    });
    throw unavailable(directory, `${why}; the old data is in place`, cause);
  }
}

async function keptIn(folders: readonly MemberFolder[]): Promise<string[]> {
  const found = folders.map(async ({ directory }) => {
    const names = await readdir(directory);
    return names.filter((name) => name.startsWith(KEPT_PREFIX)).map((name) => join(directory, name));
  });
  return (await Promise.all(found)).flat().sort();
}

async function withSizes(paths: readonly string[]): Promise<JsonObject[]> {
  return Promise.all(paths.map(async (path) => ({ path, bytes: await sizeOf(path) })));
}

/** On the disk: logs, which are padded with holes, count as what they take. */
async function sizeOf(path: string): Promise<number> {
  const stats = await lstat(path);
  if (!stats.isDirectory()) return stats.blocks * 512;
  let bytes = 0;
  for (const name of await readdir(path)) bytes += await sizeOf(join(path, name));
  return bytes;
}
