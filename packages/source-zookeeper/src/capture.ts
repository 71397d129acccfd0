import { setTimeout as sleep } from "node:timers/promises";
import {
  abortError,
  BackypError,
  type Bytes,
  type Capture,
  type CaptureRequest,
  damageIn,
  type Entry,
  isBackypError,
  isSerious,
  type JsonObject,
  type Problem,
  type RunContext,
  type Verdict,
} from "@zk-backyp/core";
import {
  type ByteRange,
  type CheckedLog,
  formatZxid,
  isReached,
  type LogSummary,
  planRecovery,
} from "@zk-backyp/zookeeper-files";
import type { CapturedServer } from "./captured-server.ts";
import { type ChosenFiles, chooseFiles, needLaterTxn, rejectSnapshot } from "./choose-files.ts";
import { configEntries } from "./config-files.ts";
import { type OpenDataFile, stateOf } from "./data-files.ts";
import { HeldLogs, type WalkedLog } from "./held-logs.ts";
import { readFileStart } from "./read-file.ts";
import type { ServerStatus } from "./server-status.ts";
import { createVerifier, DATA_FOLDER, type ZooKeeperVerifier } from "./verifier.ts";
import { sizeWithout, withoutRanges } from "./without-ranges.ts";

/** How long the files may stand still before what is missing in them counts as lost, not as on its way. */
const SETTLE_MS = 2_000;
/** The longest wait for logs to cover the snapshot while they go on changing. */
const MAX_WAIT_MS = 30_000;
const POLL_MS = 50;
/** What is wrong with a snapshot for which an older one, with more of the logs, may do instead. */
const OF_THE_SNAPSHOT: ReadonlySet<string> = new Set(["DIGEST_MISMATCH", "DANGLING_ACL_USED"]);

/**
 * Begins the backup of a server from its files, whether it runs meanwhile or not.
 *
 * Chosen is the newest snapshot. It is checked as it is archived; if that finds damage the run is told to capture
 * again, and the next capture takes the one before it. The logs come after the snapshot: from the one a server would
 * begin with, each up to its last whole record, until they cover all that the snapshot shows and all that the server
 * had applied when the capture began.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`, `ERR_SOURCE_DAMAGED`
 */
export async function captureFiles(
  server: CapturedServer,
  request: CaptureRequest,
  context: RunContext,
): Promise<Capture> {
  const { signal } = context;
  if (signal.aborted) throw abortError(signal);
  const chosen = await chooseFiles(server.location, request, signal);
  try {
    // Asked after the snapshot was complete, so that it covers what the snapshot shows, also where no digest tells.
    const status = await server.status();
    return new FilesCapture({ server, status, chosen, context });
  } catch (error) {
    for (const file of [chosen.snapshot, ...chosen.logs]) await file?.handle.close();
    throw error;
  }
}

interface FilesCaptureParts {
  readonly server: CapturedServer;
  readonly status: ServerStatus | null;
  readonly chosen: ChosenFiles;
  readonly context: RunContext;
}

class FilesCapture implements Capture {
  readonly #parts: FilesCaptureParts;
  readonly #logs: HeldLogs;
  readonly #verifier: ZooKeeperVerifier = createVerifier();
  readonly #notes: Problem[] = [];
  readonly estimatedBytes: number;

  constructor(parts: FilesCaptureParts) {
    this.#parts = parts;
    const { snapshot, logs } = parts.chosen;
    this.#logs = new HeldLogs(parts.server.location.logs, snapshot, logs, parts.context.signal);
    // Logs are allocated ahead; what is really on the disk is nearer to what will be read.
    const allocated = logs.map(({ stats }) => Math.min(stats.size, stats.blocks * 512));
    this.estimatedBytes = (snapshot?.stats.size ?? 0) + allocated.reduce((sum, bytes) => sum + bytes, 0);
  }

  get facts(): JsonObject {
    const { server, status, chosen } = this.#parts;
    return server.facts(status, chosen.rejections);
  }

  get verifier(): ZooKeeperVerifier {
    const { snapshot } = this.#parts.chosen;
    return {
      ...this.#verifier,
      finish: () => this.#verdict(),
      watch: (entry) => {
        const watched = this.#verifier.watch(entry);
        const isSnapshot = snapshot !== null && entry.path === DATA_FOLDER + snapshot.file;
        return isSnapshot ? { ...watched, body: rejectingDamage(watched.body, snapshot) } : watched;
      },
    };
  }

  #verdict(): Verdict {
    const verdict = this.#verifier.finish();
    const serious = verdict.problems.filter(isSerious);
    const { snapshot } = this.#parts.chosen;
    // The bytes are whole, but not those of the server's tree, or none that every server loads.
    if (serious.length > 0 && snapshot !== null && serious.every(({ code }) => OF_THE_SNAPSHOT.has(code))) {
      const isMismatch = serious.some(({ code }) => code === "DIGEST_MISMATCH");
      // Servers note a digest a moment after the transaction: only the next one tells whether the tree is merely ahead.
      const isUnproven = isMismatch && !this.#parts.chosen.needsLaterTxn;
      if (isUnproven && verdict.range.upTo === formatZxid(this.#digestZxid)) throw needLaterTxn(snapshot);
      const hint =
        ". A server that has dropped znodes at its start, such as those with a time to live, looks like this until its " +
        "next transaction";
      throw rejectSnapshot(snapshot, serious.map(({ message }) => message).join("; ") + (isMismatch ? hint : ""));
    }
    if (serious.length > 0) throw this.#refusal(serious);
    const passedOver = this.#parts.chosen.rejections.map(({ file, reason }): Problem => {
      const message = `this snapshot was passed over for an older one, from which the logs lead as far: ${reason}`;
      return { severity: "info", code: "SNAPSHOT_PASSED_OVER", file, offset: null, message };
    });
    const problems = [...passedOver, ...this.#notes, ...verdict.problems];
    for (const { code, file, message } of problems) {
      // What a person should know before the day of the restore. The rest is in the manifest.
      const isNews = code === "NO_LOGS" || code === "LOGS_ONLY" || code === "SNAPSHOT_PASSED_OVER";
      if (isNews) this.#parts.context.logger.warn({ code }, file === null ? message : `${file}: ${message}`);
    }
    return { ...verdict, problems };
  }

  async *entries(): AsyncGenerator<Entry, void, void> {
    const { snapshot } = this.#parts.chosen;
    if (snapshot !== null) yield this.#entry(snapshot, snapshot.stats.size, []);
    const logs = await this.#coveringLogs();
    for (const { log, summary } of logs) {
      if (summary.repeats.length > 0) this.#noteRepeats(log, summary);
      yield this.#entry(log, summary.bytes, summary.repeats);
    }
    await this.#logs.requireOneHistory();
    yield* configEntries(this.#parts.server.config);
  }

  async close(): Promise<void> {
    await Promise.all([this.#parts.chosen.snapshot?.handle.close(), this.#logs.close()]);
  }

  #entry({ plainName, path, handle, stats }: OpenDataFile, bytes: number, leftOut: readonly ByteRange[]): Entry {
    const whole = readFileStart(handle, bytes, path, this.#parts.context.signal);
    const body = leftOut.length === 0 ? whole : withoutRanges(whole, leftOut);
    return { path: DATA_FOLDER + plainName, size: sizeWithout(leftOut, bytes), mtime: stats.mtime, body };
  }

  /** Left out, they make a log that servers and we read alike, and whose digests match. */
  #noteRepeats({ plainName }: OpenDataFile, { repeats, problems }: LogSummary): void {
    const leftOut = repeats.reduce((sum, { length }) => sum + length, 0);
    const reason = problems.find(({ code }) => code === "LOG_REPEATED");
    const message = `left out ${leftOut} bytes of it: ${reason?.message ?? "txns are there twice"}`;
    this.#notes.push({
      severity: "info",
      code: "LOG_REPEATED",
      file: plainName,
      offset: repeats[0]?.offset ?? null,
      message,
    });
  }

  /**
   * The logs from the snapshot on, once they hold all they must. Until then it waits: a server may apply a
   * transaction before its own log has it, and closes a log a moment after it has begun the next. Logs that were begun
   * later are taken in only if they are needed.
   */
  async #coveringLogs(): Promise<WalkedLog[]> {
    const { signal } = this.#parts.context;
    const began = performance.now();
    let changedAt = began;
    let lastState = "";
    while (true) {
      const walked = await this.#logs.walk();
      const missing = this.#whatIsMissing(walked);
      const isEnough = this.#isPastDigest(walked) || performance.now() - began > SETTLE_MS;
      if (missing === null && isEnough) {
        await this.#logs.requireOneHistory();
        await this.#requireNoFullerCopy(walked);
        return walked;
      }
      if (await this.#logs.extend()) continue;
      const now = performance.now();
      const state = walked.map((log) => log.state).join();
      if (state !== lastState) changedAt = now;
      lastState = state;
      if (now - changedAt > SETTLE_MS || now - began > MAX_WAIT_MS) {
        this.#logs.forget();
        const stillMissing = this.#whatIsMissing(await this.#logs.walk());
        if (stillMissing !== null) throw stillMissing;
      }
      await sleep(POLL_MS, undefined, { signal }).catch(() => {
        throw abortError(signal);
      });
    }
  }

  /** Which transaction the digest of the snapshot belongs to. */
  get #digestZxid(): bigint {
    return this.#verifier.snapshots[0]?.summary?.digest?.zxid ?? 0n;
  }

  /** Whether the logs go on behind it, where they have to. */
  #isPastDigest(walked: readonly WalkedLog[]): boolean {
    const last = walked.at(-1)?.summary.lastZxid ?? 0n;
    return !this.#parts.chosen.needsLaterTxn || last > this.#digestZxid;
  }

  /** What keeps these logs from being archived, as the error to end with if it stays that way. Null when all is there. */
  #whatIsMissing(walked: readonly WalkedLog[]): BackypError | null {
    const { server, status, chosen } = this.#parts;
    const { location } = server;
    const logs = walked.map(({ log, summary }): CheckedLog => {
      // The unfinished record at its end, whatever a server would say to it, is not archived.
      const problems = summary.end === "torn" ? [] : summary.problems;
      return { file: log.plainName, zxid: log.zxid, summary: { ...summary, problems } };
    });
    const { recoverable, problems } = planRecovery(this.#verifier.snapshots, logs);
    if (recoverable === null || problems.some(isSerious)) return this.#refusal(problems);
    const end = recoverable.zxid;
    const isLost = (zxid: bigint): boolean => !isReached(zxid, chosen.snapshot?.zxid ?? 0n, logs);
    // An older snapshot serves in the place of a newer one only if the logs lead from it to there.
    const lost = chosen.rejections.find(({ zxid }) => isLost(zxid));
    if (lost !== undefined) {
      const message = `it cannot be used (${lost.reason}), and without it the other files reach only ${formatZxid(end)}`;
      return this.#refusal([{ severity: "data-loss", code: "SNAPSHOT_LOST", file: lost.file, offset: null, message }]);
    }
    const applied = status?.zxid ?? 0n;
    if (!isLost(applied)) return null;
    return new BackypError(
      "ERR_SOURCE_UNAVAILABLE",
      `the server has applied ${formatZxid(applied)}, but the files in ${location.logs ?? location.dataDir} end with ${formatZxid(end)}: is this that server's dataLogDir?`,
      { details: { path: location.logs ?? location.dataDir, mayBeKept: true } },
    );
  }

  async #requireNoFullerCopy(walked: readonly WalkedLog[]): Promise<void> {
    const file = await this.#logs.fullerCopy(walked);
    if (file === null) return;
    const message =
      "it holds more than the log of the same zxid beside it, and a server may read either: move one away";
    throw this.#refusal([{ severity: "data-loss", code: "LOG_DUPLICATE", file, offset: null, message }]);
  }

  #refusal(problems: readonly Problem[]): BackypError {
    return damageIn(
      `the files in ${this.#parts.server.location.dataDir}`,
      problems,
      ". A server that still runs holds everything in memory: do not restart it; back up another member, or make this one write a new snapshot",
    );
  }
}

/** Turns damage that is found in the snapshot into a capture that begins anew without it. */
async function* rejectingDamage(body: Bytes, snapshot: OpenDataFile): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* body;
  } catch (error) {
    throw isBackypError(error, "ERR_SOURCE_DAMAGED") ? rejectSnapshot(snapshot, error.message) : error;
  }
  // A server that restarts without new transactions writes the file again, in place.
  if (stateOf(await snapshot.handle.stat()) !== stateOf(snapshot.stats)) {
    throw new BackypError("ERR_SOURCE_CHANGED", `${snapshot.path} was written to while it was read`, {
      details: { path: snapshot.path },
    });
  }
}
