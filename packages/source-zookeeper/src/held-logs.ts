import { abortError, BackypError } from "@zk-backyp/core";
import { createLogChecker, type LogSummary } from "@zk-backyp/zookeeper-files";
import { listDataFiles, nameOf, type OpenDataFile, openDataFile, stateOf } from "./data-files.ts";
import { readFileStart } from "./read-file.ts";
import { takenBack } from "./taken-back.ts";

/** A log and what it holds at this moment. */
export interface WalkedLog {
  readonly log: OpenDataFile;
  readonly summary: LogSummary;
  /** Changes when the file does. */
  readonly state: string;
}

/** File times are coarse: a file that was written to this long ago will show it when it is written to again. */
const SETTLED_MS = 2_000;
/** A log's header: shorter files, which a crash may leave, keep servers from starting. */
const LOG_HEADER_BYTES = 16;

/**
 * The logs of one capture, held open from its beginning, while the server goes on: it appends to the newest, begins
 * new ones, purges old ones (always the oldest first), and, as a follower that went astray, may cut its newest ones.
 */
export class HeldLogs {
  readonly #folder: string | null;
  readonly #snapshot: OpenDataFile | null;
  readonly #logs: OpenDataFile[] = [];
  /** Files of the same zxid as one of the logs, under odd names: somebody's copies. */
  readonly #copies: OpenDataFile[] = [];
  readonly #signal: AbortSignal;
  readonly #walked = new Map<string, LogSummary>();
  #closed = false;

  constructor(
    folder: string | null,
    snapshot: OpenDataFile | null,
    logs: readonly OpenDataFile[],
    signal: AbortSignal,
  ) {
    this.#folder = folder;
    this.#snapshot = snapshot;
    for (const log of logs) this.#add(log);
    this.#signal = signal;
  }

  /** Every log that has a record, in order, walked to its end. */
  async walk(): Promise<WalkedLog[]> {
    const walked: WalkedLog[] = [];
    for (const log of this.#logs) {
      const stats = await log.handle.stat();
      const state = `${log.file} ${stateOf(stats)}`;
      const summary = this.#walked.get(state) ?? (await walkLog(log, stats.size, this.#signal));
      if (Date.now() - stats.mtimeMs > SETTLED_MS) this.#walked.set(state, summary);
      if (!isUnbegun(summary)) walked.push({ log, summary, state });
    }
    return walked;
  }

  /** Makes the next walk read every log again. */
  forget(): void {
    this.#walked.clear();
  }

  /**
   * Takes the logs in that were begun since. Returns whether there were any.
   *
   * @throws BackypError `ERR_SOURCE_CHANGED` when some may have been purged before they could be taken in
   */
  async extend(): Promise<boolean> {
    await this.requireOneHistory();
    const before = this.#logs.length;
    const newest = this.#logs.at(-1);
    for (const listed of await listDataFiles(this.#folder, "log")) {
      if (newest !== undefined && listed.zxid <= newest.zxid) continue;
      const log = await openDataFile(this.#folder ?? "", listed);
      // Purged again this very moment: whatever follows it does not follow what is held.
      if (log === null) break;
      if (this.#closed) {
        await log.handle.close();
        throw abortError(this.#signal);
      }
      this.#add(log);
    }
    // As long as the newest one that was held is there, so is all that was begun after it.
    const anchor = newest ?? this.#snapshot;
    if (anchor === null || (await nameOf(anchor)) === "kept") return this.#logs.length > before;
    throw changed(`${anchor.path} was purged during the capture, and newer logs may have been too`, anchor);
  }

  /**
   * Refuses logs that a server took back ({@link takenBack}).
   *
   * @throws BackypError `ERR_SOURCE_CHANGED`
   */
  async requireOneHistory(): Promise<void> {
    for await (const log of takenBack(this.#logs, nameOf)) {
      throw changed(`${log.path} was taken back by the server during the capture`, log);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    // All of them, also where one fails.
    await Promise.all([...this.#logs, ...this.#copies].map(({ handle }) => handle.close()));
  }

  /**
   * The name of a copy that holds more than the log itself, or null. A server reads one of the two, and which one
   * depends on the order in which the file system lists them.
   */
  async fullerCopy(walked: readonly WalkedLog[]): Promise<string | null> {
    for (const copy of this.#copies) {
      const { lastZxid } = await walkLog(copy, copy.stats.size, this.#signal);
      const itself = walked.find(({ log }) => log.zxid === copy.zxid)?.summary.lastZxid ?? -1n;
      if (lastZxid !== null && lastZxid > itself) return copy.file;
    }
    return null;
  }

  /** Of several files of one zxid the one with the plain name is the log. */
  #add(file: OpenDataFile): void {
    const at = this.#logs.findIndex(({ zxid }) => zxid === file.zxid);
    const other = this.#logs[at];
    if (other === undefined) {
      this.#logs.push(file);
    } else if (file.file === file.plainName) {
      this.#logs[at] = file;
      this.#copies.push(other);
    } else {
      this.#copies.push(file);
    }
  }
}

/** What the first `size` bytes of a log hold. */
export async function walkLog(log: OpenDataFile, size: number, signal: AbortSignal): Promise<LogSummary> {
  const checker = createLogChecker();
  for await (const chunk of readFileStart(log.handle, size, log.path, signal)) checker.push(chunk);
  return checker.end();
}

function changed(message: string, { path }: OpenDataFile): BackypError {
  return new BackypError("ERR_SOURCE_CHANGED", message, { details: { path } });
}

/** A log that was created but has no transaction yet. It is nothing that a restore would need. */
export function isUnbegun(summary: LogSummary): boolean {
  return summary.records === 0 && (summary.end !== "damaged" || summary.fileBytes < LOG_HEADER_BYTES);
}
