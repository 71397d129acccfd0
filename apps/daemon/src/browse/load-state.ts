import { statSync } from "node:fs";
import { BackypError, type Bytes, type Series } from "@zk-backyp/core";
import {
  applyRulesOf,
  checkSnapshot,
  createLogChecker,
  createReplay,
  type FileName,
  findDataFiles,
  formatZxid,
  isNextZxid,
  type LogRecord,
  lastTraceIn,
  loadTree,
  type Replay,
  type ReplayOptions,
  type ZnodeTree,
  ZooKeeperFileError,
} from "@zk-backyp/zookeeper-files";
import type { CommandContext } from "../command-context.ts";
import { damageIn, damageOf, dataFileName } from "./backup-files.ts";
import type { Place } from "./place.ts";
import { describePoint, type Point, showTime } from "./point.ts";
import { type WhereFlags, withSeries } from "./with-series.ts";

/** What is to be known of the znodes beside their stats. */
export type Wanted = Pick<ReplayOptions, "keepData" | "contentHash">;

/** The znodes of a place at its point. */
export interface LoadedState {
  readonly tree: ZnodeTree;
  /** The last txn that the state holds. */
  readonly zxid: bigint;
  /** When that was; null if only the snapshot's name tells the zxid. */
  readonly timeMs: number | null;
  /** What is damaged or missing, so that this may not be all there was. Each is one sentence. */
  readonly damage: readonly string[];
}

/**
 * Loads the znodes of a place, as far as they are known to be good; what keeps them from being all there was is told as
 * a warning.
 *
 * @throws ZooKeeperFileError `POINT_NOT_COVERED`, and what opening the place throws
 * @throws BackypError `ERR_SOURCE_DAMAGED` when no state is known to be whole
 */
export async function loadState(
  place: Place,
  flags: WhereFlags,
  wanted: Wanted,
  context: CommandContext,
): Promise<LoadedState> {
  const state =
    place.kind === "files"
      ? await loadFiles(place.paths, place.at, wanted, context)
      : await withSeries(place, flags, context, (series) =>
          loadBackup(series, place.id, place.at, wanted, context.signal),
        );
  for (const message of state.damage) context.logger.warn({}, message);
  return state;
}

async function loadFiles(
  paths: readonly string[],
  at: Point | null,
  wanted: Wanted,
  { signal, logger }: CommandContext,
): Promise<LoadedState> {
  const point = at === null ? {} : "zxid" in at ? { atZxid: at.zxid } : { atTimeMs: at.toMs, atTimeFromMs: at.fromMs };
  const { tree, zxid, timeMs, from, result } = await loadTree(paths, { ...wanted, ...point, signal });
  // A damaged snapshot that another one makes up for is no damage to what is shown, and worth a word all the same.
  for (const { severity, code, file, message } of result.problems) {
    if (severity !== "info" || !code.startsWith("SNAPSHOT_") || file === from?.path) continue;
    logger.warn({}, `${file}: ${message}`);
  }
  const isDirectory = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  if (paths.some(isDirectory) && (await findDataFiles(paths)).logs.length === 0) {
    const message = `there is no log in ${paths.join(", ")}, so this is the state of the snapshot`;
    logger.warn({}, `${message}: if the server has a dataLogDir, name that too (dataDir,dataLogDir)`);
  }
  return { tree, zxid, timeMs, damage: damageIn(result.problems) };
}

/** The files of a backup, in one pass. */
async function loadBackup(
  series: Series,
  id: string,
  at: Point | null,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<LoadedState> {
  const { manifest, entries } = await series.read(id, { signal });
  const pass = new StatePass(at, wanted, Date.parse(manifest.startedAt));
  // Without a snapshot the logs stand for all there ever was, as 3.4 leaves it at first.
  if (!manifest.entries.some(({ path }) => dataFileName(path)?.kind === "snapshot")) pass.startEmpty();
  for await (const { path, body } of entries) {
    const name = dataFileName(path);
    if (name?.kind === "snapshot") await pass.takeSnapshot(path, name, body);
    else if (name?.kind === "log") await pass.takeLog(path, body);
    else for await (const _ of body);
  }
  const state = pass.conclude(`the backup ${manifest.id}`);
  return { ...state, damage: [...damageOf(manifest), ...state.damage] };
}

/** A replay of files in archive order that ends where they are no longer known to be good. */
class StatePass {
  readonly #at: Point | null;
  /** Until when the files are known to hold everything. */
  readonly #knownUntilMs: number;
  readonly #replay: Replay;
  readonly #damage: string[] = [];
  /** The first point that can be shown: before it the snapshot is a mixture. */
  #from = 0n;
  #start = 0n;
  #startTimeMs: number | null = null;
  #last = 0n;
  #lastTimeMs: number | null = null;
  #isBroken = false;
  #isWithoutSnapshot = false;

  constructor(at: Point | null, wanted: Wanted, knownUntilMs: number) {
    this.#at = at;
    this.#knownUntilMs = knownUntilMs;
    const upTo = at === null ? {} : { upTo: "zxid" in at ? at : { timeMs: at.toMs } };
    this.#replay = createReplay({ ...wanted, ...upTo });
  }

  /** What no release after 3.4 starts from. */
  startEmpty(): void {
    this.#isWithoutSnapshot = true;
    this.#replay.rules = "3.4";
    this.#replay.startEmpty();
  }

  async takeSnapshot(path: string, { zxid, compression }: FileName, body: Bytes): Promise<void> {
    const summary = await checkSnapshot(body, { compression, ...this.#replay.snapshotHooks });
    // The logs come later in the archive: what they would tell is not known yet.
    this.#replay.rules = applyRulesOf(summary, this.#replay.tree, []);
    this.#replay.snapshotEnd(zxid, summary, path);
    this.#start = zxid;
    this.#last = zxid;
    this.#from = lastTraceIn(zxid, summary);
  }

  async takeLog(path: string, body: Bytes): Promise<void> {
    this.#replay.beginLog(path);
    const checker = createLogChecker({ onRecord: (record) => this.#take(path, record) });
    for await (const chunk of body) checker.push(chunk);
    for (const { severity, message } of checker.end().problems) {
      if (severity !== "info") this.#damage.push(`${path}: ${message}`);
    }
  }

  #take(path: string, record: LogRecord): void {
    const { zxid, timeMs } = record;
    if (zxid <= this.#start) {
      this.#startTimeMs = timeMs;
      return;
    }
    if (!this.#isBroken && !isNextZxid(this.#last, zxid)) {
      this.#isBroken = true;
      this.#damage.push(
        `${path}: ${formatZxid(zxid)} does not follow ${formatZxid(this.#last)}: what is shown ends before it`,
      );
    }
    if (this.#isBroken) return;
    this.#last = zxid;
    this.#lastTimeMs = timeMs;
    this.#replay.onRecord(record);
  }

  conclude(what: string): LoadedState {
    const { zxid, timeMs, problems } = this.#replay.finish();
    if (this.#isWithoutSnapshot && this.#lastTimeMs === null) {
      const why = [...this.#damage, "there is no snapshot, and the logs do not begin with the first txn"];
      throw new BackypError(
        "ERR_SOURCE_DAMAGED",
        `${what} holds no state that is known to be whole: ${why.join("; ")}`,
      );
    }
    const at = this.#at;
    if (at !== null && !this.#covers(at)) throw notCovered(at, what, this.#range());
    const mixture = problems.find(({ code }) => code === "SNAPSHOT_NOT_COVERED");
    if (mixture !== undefined) throw new BackypError("ERR_SOURCE_DAMAGED", `${what}: ${mixture.message}`);
    return {
      tree: this.#replay.tree,
      zxid,
      timeMs: timeMs ?? this.#startTimeMs,
      damage: [...this.#damage, ...damageIn(problems)],
    };
  }

  #covers(at: Point): boolean {
    if ("zxid" in at) return at.zxid >= this.#from && at.zxid <= this.#last;
    if (this.#replay.finish().zxid < this.#from) return false;
    const until = this.#isBroken ? this.#lastTimeMs : Math.max(this.#knownUntilMs, this.#lastTimeMs ?? 0);
    // The state before the first txn of all was always there; that of a snapshot only from its last txn on.
    const isAfterStart = this.#start === 0n || (this.#startTimeMs !== null && at.toMs >= this.#startTimeMs);
    return isAfterStart && until !== null && at.fromMs <= until;
  }

  #range(): string {
    const time = (timeMs: number | null): string => (timeMs === null ? "" : ` (${showTime(timeMs)} UTC)`);
    const from = `${formatZxid(this.#from)}${this.#from === this.#start ? time(this.#startTimeMs) : ""}`;
    return `${from} to ${formatZxid(this.#last)}${time(this.#lastTimeMs ?? this.#startTimeMs)}`;
  }
}

function notCovered(at: Point, what: string, range: string): ZooKeeperFileError {
  const message = `${describePoint(at)} is not in ${what}, which covers ${range}`;
  return new ZooKeeperFileError("POINT_NOT_COVERED", null, message);
}
