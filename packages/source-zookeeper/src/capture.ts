import { readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  abortError,
  BackypError,
  type Bytes,
  type Capture,
  type Entry,
  isBackypError,
  type JsonObject,
  type Problem,
  type RunContext,
  systemErrorCode,
} from "@zk-backyp/core";
import {
  type CheckedLog,
  counterOf,
  createLogChecker,
  formatZxid,
  type LogSummary,
  logsFor,
  planRecovery,
} from "@zk-backyp/zookeeper-files";
import { type ListedFile, listDataFiles, type OpenDataFile, openDataFile, stateOf } from "./data-files.ts";
import { type Location, locate } from "./locate.ts";
import type { ZooKeeperSourceOptions } from "./options.ts";
import { readFileStart } from "./read-file.ts";
import { askStatus, type ServerStatus } from "./server-status.ts";
import { CONFIG_FOLDER, createVerifier, DATA_FOLDER, unrestorable, type ZooKeeperVerifier } from "./verifier.ts";
import { withoutSecrets } from "./zoo-cfg.ts";

/** How long the files may stand still before what is missing in them counts as lost, not as on its way. */
const SETTLE_MS = 2_000;
/** The longest wait for logs to cover the snapshot while they go on changing. */
const MAX_WAIT_MS = 30_000;
const POLL_MS = 50;
/** A purge may delete what was just listed; each time there is something newer to take. */
const MAX_LISTINGS = 10;

/** A snapshot that was not used, and why. */
interface Rejection {
  readonly file: string;
  readonly reason: string;
}

/** Snapshots that proved unusable, by path and state of the file: the next capture passes them over. */
export type PassedOver = Map<string, Rejection>;

/**
 * Begins the backup of a running (or stopped) server from its files, without stopping it.
 *
 * Chosen is the newest snapshot. It is checked as it is archived; if that finds damage the run is told to capture
 * again, and the next capture takes the one before it. The logs come after the snapshot: from the one a server would
 * begin with, each up to its last whole record, until they cover all that the snapshot shows and all that the server
 * had applied when the capture began.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`, `ERR_SOURCE_DAMAGED`
 */
export async function captureHot(
  options: ZooKeeperSourceOptions,
  passedOver: PassedOver,
  context: RunContext,
): Promise<Capture> {
  const { signal } = context;
  if (signal.aborted) throw abortError(signal);
  const location = await locate(options, signal);
  const status = await statusOf(location, options, context);
  const config = await readConfigFiles(location);
  const chosen = await openChosen(location, passedOver, signal);
  return new HotCapture({ location, status, config, chosen, passedOver, signal });
}

/** The server's own word, if it can be had. A server that was named must answer; one that is only known may be down. */
async function statusOf(
  { server }: Location,
  options: ZooKeeperSourceOptions,
  { signal, logger }: RunContext,
): Promise<ServerStatus | null> {
  if (server === null) return null;
  try {
    const status = await askStatus(server, signal);
    if ((status.digestMismatches ?? 0) > 0) {
      logger.warn(
        { server, digestMismatches: status.digestMismatches },
        `the server's data has differed from its leader's ${status.digestMismatches} times (zk_digest_mismatches_count): back up another member, and replace this one's data`,
      );
    }
    return status;
  } catch (error) {
    if (options.server !== undefined || !isBackypError(error, "ERR_SOURCE_UNAVAILABLE")) throw error;
    logger.warn({ server }, `${error.message}; going on with the files alone`);
    return null;
  }
}

/** Small files that are kept as information. */
interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

async function readConfigFiles({ dataDir, snapshots, zooCfg }: Location): Promise<ConfigFile[]> {
  const files: ConfigFile[] = [];
  const add = async (name: string, path: string): Promise<void> => {
    try {
      files.push({ path: `${CONFIG_FOLDER}${name}`, text: withoutSecrets(await readFile(path, "utf8")) });
    } catch (error) {
      // Each of them may be missing, or be taken away this very moment.
      if (systemErrorCode(error) !== "ENOENT") throw error;
    }
  };
  await add("myid", join(dataDir, "myid"));
  for (const name of ["currentEpoch", "acceptedEpoch"]) {
    if (snapshots !== null) await add(name, join(snapshots, name));
  }
  if (zooCfg !== null) {
    files.push({ path: `${CONFIG_FOLDER}${basename(zooCfg.path)}`, text: withoutSecrets(zooCfg.text) });
    const dynamic = zooCfg.settings.get("dynamicConfigFile");
    if (dynamic !== undefined) await add(basename(dynamic), resolve(dirname(zooCfg.path), dynamic));
  }
  return files;
}

/** The snapshot to begin with, if there is one, and every log that goes with it, all held open. */
interface Chosen {
  readonly snapshot: OpenDataFile | null;
  readonly logs: OpenDataFile[];
  /** Newer snapshots that were not chosen. */
  readonly rejections: readonly Rejection[];
}

async function openChosen(location: Location, passedOver: PassedOver, signal: AbortSignal): Promise<Chosen> {
  for (let listing = 1; listing <= MAX_LISTINGS; listing++) {
    if (signal.aborted) throw abortError(signal);
    const chosen = await tryToOpen(location, passedOver);
    if (chosen !== "gone") return chosen;
  }
  throw new BackypError(
    "ERR_SOURCE_UNAVAILABLE",
    `files in ${location.snapshots ?? location.logs} are deleted faster than they can be opened; is a purge running in a loop?`,
  );
}

/** `gone`: something that was listed was not there any more when it was to be opened. */
async function tryToOpen(location: Location, passedOver: PassedOver): Promise<Chosen | "gone"> {
  const opened: OpenDataFile[] = [];
  let chosen: Chosen | "gone" = "gone";
  try {
    chosen = await choose(location, passedOver, opened);
    return chosen;
  } finally {
    const kept = chosen === "gone" ? [] : [chosen.snapshot, ...chosen.logs];
    for (const file of opened) if (!kept.includes(file)) await file.handle.close();
  }
}

/** Chooses, and notes in `opened` whatever it opens on the way. */
async function choose(location: Location, passedOver: PassedOver, opened: OpenDataFile[]): Promise<Chosen | "gone"> {
  const open = async (folder: string | null, listed: ListedFile): Promise<OpenDataFile | null> => {
    const file = await openDataFile(folder ?? "", listed);
    if (file !== null) opened.push(file);
    return file;
  };

  const rejections: Rejection[] = [];
  const snapshots: OpenDataFile[] = [];
  const listed = await listDataFiles(location.snapshots, "snapshot");
  for (const [index, candidate] of listed.toReversed().entries()) {
    // Of those of one zxid all are looked at: the one that was written last is the better one.
    if (snapshots[0] !== undefined && snapshots[0].zxid !== candidate.zxid) break;
    const file = await open(location.snapshots, candidate);
    if (file === null) return "gone";
    const rejection = await whyNot(file, passedOver);
    if (rejection === null) snapshots.push(file);
    else rejections.push(rejection);
    if (index === listed.length - 1 && snapshots.length === 0) throw noneUsable(location, rejections);
  }
  const snapshot = snapshots.toReversed().toSorted((a, b) => b.stats.mtimeMs - a.stats.mtimeMs)[0] ?? null;

  const logs: OpenDataFile[] = [];
  for (const candidate of logsFor(snapshot?.zxid ?? 0n, await listDataFiles(location.logs, "log"))) {
    const log = await open(location.logs, candidate);
    if (log === null) return "gone";
    logs.push(log);
  }
  if (snapshot === null && logs.length === 0) {
    const folders = new Set([location.snapshots, location.logs].filter((folder) => folder !== null));
    throw new BackypError(
      "ERR_SOURCE_UNAVAILABLE",
      `there is neither a snapshot nor a log in ${[...folders].join(" and ")}: has a server ever run on it?`,
      { details: { path: location.dataDir } },
    );
  }
  return { snapshot, logs, rejections };
}

/** Ends every complete uncompressed snapshot: the terminating path "/" behind a seal. */
const SNAPSHOT_END = Buffer.from([0, 0, 0, 1, 0x2f]);

/** Why a snapshot is not to be read, or null. */
async function whyNot(file: OpenDataFile, passedOver: PassedOver): Promise<Rejection | null> {
  const known = passedOver.get(passedOverKey(file));
  if (known !== undefined) return known;
  if (file.compression !== "none") return null;
  const tail = Buffer.alloc(SNAPSHOT_END.byteLength);
  const from = file.stats.size - tail.byteLength;
  if (from >= 0) await file.handle.read(tail, 0, tail.byteLength, from);
  if (tail.equals(SNAPSHOT_END)) return null;
  // Servers write snapshots under their final names.
  return { file: file.file, reason: "it has no end: the server is still writing it, or died while it was" };
}

function passedOverKey({ path, stats }: OpenDataFile): string {
  return `${path} ${stateOf(stats)}`;
}

function noneUsable({ snapshots }: Location, rejections: readonly Rejection[]): BackypError {
  const reasons = rejections.map(({ file, reason }) => `${file}: ${reason}`);
  return new BackypError(
    "ERR_SOURCE_DAMAGED",
    `no snapshot in ${snapshots} can be used (${reasons.join("; ")}). A server that still runs holds the data in memory: back up another member, or make this one write a new snapshot`,
    { details: { path: snapshots, reasons } },
  );
}

interface HotCaptureParts {
  readonly location: Location;
  readonly status: ServerStatus | null;
  readonly config: readonly ConfigFile[];
  readonly chosen: Chosen;
  readonly passedOver: PassedOver;
  readonly signal: AbortSignal;
}

class HotCapture implements Capture {
  readonly #parts: HotCaptureParts;
  readonly #verifier: ZooKeeperVerifier = createVerifier();
  /** What each log was found to hold, by its file's state: only logs that changed are walked again. */
  readonly #walked = new Map<string, LogSummary>();
  readonly estimatedBytes: number;

  constructor(parts: HotCaptureParts) {
    this.#parts = parts;
    const { snapshot, logs } = parts.chosen;
    // Logs are allocated ahead; what is really on the disk is nearer to what will be read.
    const allocated = logs.map(({ stats }) => Math.min(stats.size, stats.blocks * 512));
    this.estimatedBytes = (snapshot?.stats.size ?? 0) + allocated.reduce((sum, bytes) => sum + bytes, 0);
  }

  get facts(): JsonObject {
    const { status, location, chosen, config } = this.#parts;
    const information = (name: string): string | null =>
      config.find(({ path }) => path === `${CONFIG_FOLDER}${name}`)?.text.trim() ?? null;
    return {
      mode: "hot",
      server:
        status === null
          ? null
          : {
              version: status.version,
              role: status.role,
              zxid: formatZxid(status.zxid),
              nodeCount: status.nodeCount,
              digestMismatches: status.digestMismatches,
            },
      myid: information("myid"),
      epochs: { current: information("currentEpoch"), accepted: information("acceptedEpoch") },
      dataDir: location.dataDir,
      dataLogDir: location.logs === null ? null : dirname(location.logs),
      passedOver: chosen.rejections.map(({ file, reason }) => ({ file, reason })),
    };
  }

  get verifier(): ZooKeeperVerifier {
    const { snapshot } = this.#parts.chosen;
    return {
      ...this.#verifier,
      watch: (entry) => {
        const watched = this.#verifier.watch(entry);
        const isSnapshot = snapshot !== null && entry.path === DATA_FOLDER + snapshot.file;
        return isSnapshot ? { ...watched, body: this.#passingOverDamage(watched.body, snapshot) } : watched;
      },
    };
  }

  async *entries(): AsyncGenerator<Entry, void, void> {
    const { snapshot } = this.#parts.chosen;
    if (snapshot !== null) yield this.#entry(snapshot, snapshot.stats.size);
    for (const { log, summary } of await this.#coveringLogs()) yield this.#entry(log, summary.bytes);
    for (const { path, text } of this.#parts.config) {
      const content = Buffer.from(text);
      yield { path, size: content.byteLength, mtime: new Date(), body: once(content) };
    }
  }

  async close(): Promise<void> {
    const { snapshot, logs } = this.#parts.chosen;
    await snapshot?.handle.close();
    for (const { handle } of logs) await handle.close();
  }

  #entry({ file, path, handle, stats }: OpenDataFile, size: number): Entry {
    const { signal } = this.#parts;
    return { path: DATA_FOLDER + file, size, mtime: stats.mtime, body: readFileStart(handle, size, path, signal) };
  }

  /** Turns damage that is found in the snapshot into a capture that begins anew without it. */
  async *#passingOverDamage(body: Bytes, snapshot: OpenDataFile): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* body;
    } catch (error) {
      if (!isBackypError(error, "ERR_SOURCE_DAMAGED")) throw error;
      this.#passOver(snapshot, error.message);
    }
    // A server that restarts without new transactions writes the file again, in place.
    if (stateOf(await snapshot.handle.stat()) !== stateOf(snapshot.stats)) {
      throw new BackypError("ERR_SOURCE_CHANGED", `${snapshot.path} was written to while it was read`, {
        details: { path: snapshot.path },
      });
    }
  }

  #passOver(snapshot: OpenDataFile, reason: string): never {
    this.#parts.passedOver.set(passedOverKey(snapshot), { file: snapshot.file, reason });
    throw new BackypError(
      "ERR_SOURCE_CHANGED",
      `${snapshot.path} cannot be used (${reason}); trying an older snapshot`,
      {
        details: { path: snapshot.path },
      },
    );
  }

  /**
   * The logs from the snapshot on, once they hold all they must. Until then it waits: a server may apply a
   * transaction before its own log has it, and closes a log a moment after it has begun the next.
   */
  async #coveringLogs(): Promise<WalkedLog[]> {
    const { signal } = this.#parts;
    const began = performance.now();
    let changedAt = began;
    let lastState = "";
    while (true) {
      const walked = await this.#walkLogs();
      const problem = this.#whatIsMissing(walked);
      if (problem === null) return walked;
      const now = performance.now();
      const state = walked.map(({ state }) => state).join();
      if (state !== lastState) changedAt = now;
      lastState = state;
      if (now - changedAt > SETTLE_MS || now - began > MAX_WAIT_MS) problem.giveUp();
      await sleep(POLL_MS, undefined, { signal }).catch(() => {
        throw abortError(signal);
      });
    }
  }

  /** Every log from the snapshot on that has a record, in order, walked to its end. Opens those that are new. */
  async #walkLogs(): Promise<WalkedLog[]> {
    const { location, chosen } = this.#parts;
    const newest = chosen.logs.at(-1)?.zxid ?? -1n;
    for (const listed of await listDataFiles(location.logs, "log")) {
      if (listed.zxid <= newest) continue;
      const log = await openDataFile(location.logs ?? "", listed);
      // Gone again: the gap that it leaves is found below.
      if (log !== null) chosen.logs.push(log);
    }
    const walked: WalkedLog[] = [];
    for (const log of chosen.logs) {
      const stats = await log.handle.stat();
      const state = `${log.file} ${stateOf(stats)}`;
      const summary = this.#walked.get(state) ?? (await this.#walk(log, stats.size));
      this.#walked.set(state, summary);
      if (!isUnbegun(summary)) walked.push({ log, summary, state });
    }
    return walked;
  }

  async #walk(log: OpenDataFile, size: number): Promise<LogSummary> {
    const checker = createLogChecker();
    for await (const chunk of readFileStart(log.handle, size, log.path, this.#parts.signal)) checker.push(chunk);
    return checker.end();
  }

  /** What keeps these logs from being archived, and how to say so if it stays that way. Null when all is there. */
  #whatIsMissing(walked: readonly WalkedLog[]): { giveUp(): never } | null {
    const { chosen, status, location } = this.#parts;
    const logs = walked.map(({ log, summary }): CheckedLog => {
      // The unfinished record at its end, whatever a server would say to it, is not archived.
      const problems = summary.end === "torn" ? [] : summary.problems;
      return { file: log.file, zxid: log.zxid, summary: { ...summary, problems } };
    });
    const { recoverable, problems } = planRecovery(this.#verifier.snapshots, logs);
    const serious = problems.filter(({ severity }) => severity !== "info");
    if (recoverable === null || serious.length > 0) {
      return { giveUp: () => this.#giveUp(problems, serious) };
    }
    const applied = status?.zxid ?? 0n;
    // A leader that was just elected reports an epoch's beginning, which no transaction has.
    if (counterOf(applied) === 0n || recoverable.zxid >= applied) return null;
    return {
      giveUp() {
        throw new BackypError(
          "ERR_SOURCE_UNAVAILABLE",
          `the server has applied ${formatZxid(applied)}, but the logs in ${location.logs} end with ${formatZxid(recoverable.zxid)}: is this that server's dataLogDir?`,
          { details: { path: location.logs, log: chosen.logs.at(-1)?.file } },
        );
      },
    };
  }

  #giveUp(problems: readonly Problem[], serious: readonly Problem[]): never {
    const { snapshot } = this.#parts.chosen;
    const uncovered = serious.find(({ code }) => code === "SNAPSHOT_NOT_COVERED");
    // An older snapshot may be whole where this one is not.
    if (snapshot !== null && uncovered !== undefined) this.#passOver(snapshot, uncovered.message);
    throw unrestorable(
      problems,
      `the files in ${this.#parts.location.dataDir}`,
      ". A server that still runs holds everything in memory: do not restart it; back up another member, or make this one write a new snapshot",
    );
  }
}

interface WalkedLog {
  readonly log: OpenDataFile;
  readonly summary: LogSummary;
  readonly state: string;
}

/** A log's header: shorter files, which a crash may leave, keep servers from starting. */
const LOG_HEADER_BYTES = 16;

/** A log that was created but has no transaction yet. It is nothing that a restore would need. */
function isUnbegun(summary: LogSummary): boolean {
  return summary.records === 0 && (summary.end !== "damaged" || summary.fileBytes < LOG_HEADER_BYTES);
}

async function* once(content: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield content;
}
