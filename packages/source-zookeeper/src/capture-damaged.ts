import {
  abortError,
  BackypError,
  type Capture,
  type CaptureRequest,
  type Entry,
  type Problem,
  type RunContext,
  type Verdict,
} from "@zk-backyp/core";
import {
  type ByteRange,
  type CheckedLog,
  checkSnapshot,
  formatZxid,
  isReached,
  logsFor,
  ZooKeeperFileError,
} from "@zk-backyp/zookeeper-files";
import type { CapturedServer } from "./captured-server.ts";
import { configEntries } from "./config-files.ts";
import { type ListedFile, listDataFiles, type OpenDataFile, openDataFile } from "./data-files.ts";
import { followLogs } from "./follow-logs.ts";
import { isUnbegun, walkLog } from "./held-logs.ts";
import type { Location } from "./locate.ts";
import { readFileStart } from "./read-file.ts";
import type { ServerStatus } from "./server-status.ts";
import { createVerifier, DAMAGED_FOLDER, DATA_FOLDER } from "./verifier.ts";
import { sizeWithout, withoutRanges } from "./without-ranges.ts";

/** A file that goes into the archive, up to where. */
interface KeptFile {
  readonly path: string;
  readonly file: OpenDataFile;
  /** Bytes of the file that are looked at, from its start. */
  readonly bytes: number;
  /** Parts of these that stay out of the archive. */
  readonly leftOut: readonly ByteRange[];
}

/**
 * Keeps what there is of a server's data after {@link captureFiles} refused it.
 *
 * `version-2` gets the newest state that a server would still load and that is of one piece: the newest snapshot that is
 * intact by itself, and the logs from it on up to the first damage or gap. `damaged` gets every file that may hold more,
 * byte by byte: newer snapshots that are not intact, logs with something behind the place where the good part ends, and
 * fuller copies of a log. The verifier sees all of it and says what is wrong.
 *
 * @throws BackypError `ERR_SOURCE_DAMAGED` when nothing in there is ZooKeeper's
 */
export async function captureDamaged(
  { location, config, ...server }: CapturedServer,
  { earlierFailures }: CaptureRequest,
  { signal }: RunContext,
): Promise<Capture> {
  const status = await server.status();
  const opened: OpenDataFile[] = [];
  const close = async (): Promise<void> => {
    for (const { handle } of opened.splice(0)) await handle.close();
  };
  try {
    const { kept, passedOver, start, logs } = await chooseWhatIsLeft(location, opened, signal);
    const verifier = createVerifier();
    if (kept.length === 0) {
      // Behind it there may be captures that had to begin anew because a file changed.
      const refusal = earlierFailures.findLast(({ code }) => code !== "ERR_SOURCE_CHANGED");
      throw refusal ?? new BackypError("ERR_SOURCE_DAMAGED", `${location.dataDir} holds nothing to keep`);
    }
    return {
      facts: server.facts(status, passedOver),
      estimatedBytes: kept.reduce((sum, { bytes, leftOut }) => sum + sizeWithout(leftOut, bytes), 0),
      verifier: {
        watch: verifier.watch,
        finish(): Verdict {
          const verdict = verifier.finish();
          const isBehind = status !== null && !isReached(status.zxid, start, logs);
          return isBehind ? { ...verdict, problems: [...verdict.problems, behindServer(status, verdict)] } : verdict;
        },
      },
      async *entries(): AsyncGenerator<Entry, void, void> {
        for (const { path, file, bytes, leftOut } of kept) {
          const body = withoutRanges(readFileStart(file.handle, bytes, file.path, signal), leftOut);
          yield { path, size: sizeWithout(leftOut, bytes), mtime: file.stats.mtime, body };
        }
        yield* configEntries(config);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function behindServer({ zxid }: ServerStatus, { range }: Verdict): Problem {
  const message =
    `the server had applied ${formatZxid(zxid)} when the capture began, but its files end with ${range.upTo}: ` +
    "a log is missing, or lies elsewhere";
  return { severity: "data-loss", code: "LOGS_BEHIND_SERVER", file: null, offset: null, message };
}

async function chooseWhatIsLeft(
  location: Location,
  opened: OpenDataFile[],
  signal: AbortSignal,
): Promise<{
  kept: KeptFile[];
  passedOver: { file: string; reason: string }[];
  start: bigint;
  logs: readonly CheckedLog[];
}> {
  const open = async (folder: string | null, listed: ListedFile): Promise<OpenDataFile | null> => {
    if (signal.aborted) throw abortError(signal);
    const file = await openDataFile(folder ?? "", listed);
    if (file !== null) opened.push(file);
    return file;
  };

  let intact: OpenDataFile | null = null;
  const passedOver: { file: string; reason: string }[] = [];
  const whole: OpenDataFile[] = [];
  for (const listed of newestFirst(await listDataFiles(location.snapshots, "snapshot"))) {
    const file = await open(location.snapshots, listed);
    if (file === null) continue;
    const reason = await whyDamaged(file, signal);
    if (reason === null) {
      intact = file;
      break;
    }
    passedOver.push({ file: file.file, reason });
    if (await beginsLikeItsKind(file)) whole.push(file);
  }

  const walked: (CheckedLog & { readonly log: OpenDataFile })[] = [];
  for (const listed of logsFor(intact?.zxid ?? 0n, await listDataFiles(location.logs, "log"))) {
    const log = await open(location.logs, listed);
    if (log === null) continue;
    const summary = await walkLog(log, log.stats.size, signal);
    if (!isUnbegun(summary)) walked.push({ log, file: log.file, zxid: log.zxid, summary });
  }
  const first = walked.find(({ summary }) => summary.firstZxid !== null)?.summary.firstZxid ?? 1n;
  const start = intact?.zxid ?? first - 1n;
  const followed = followLogs(start, walked);
  const good: KeptFile[] = [];
  for (const { log, file, summary } of walked) {
    const bytes = followed.bytes.get(file) ?? 0;
    if (bytes > 0) good.push({ path: DATA_FOLDER + log.plainName, file: log, bytes, leftOut: summary.repeats });
    const holdsMore = bytes < summary.bytes || summary.end === "damaged";
    if (holdsMore && (summary.bytes > 0 || (await beginsLikeItsKind(log)))) whole.push(log);
  }
  const asItIs = (folder: string, name: string, file: OpenDataFile): KeptFile => ({
    path: folder + name,
    file,
    bytes: file.stats.size,
    leftOut: [],
  });
  const kept = intact === null ? [] : [asItIs(DATA_FOLDER, intact.plainName, intact)];
  kept.push(...good, ...whole.map((file) => asItIs(DAMAGED_FOLDER, file.file, file)));
  return { kept, passedOver, start, logs: walked };
}

/** By zxid; of one zxid the plain names before odd ones, and of these what was listed last. */
function newestFirst(listed: readonly ListedFile[]): ListedFile[] {
  const oddness = ({ file, plainName }: ListedFile): number => Number(file !== plainName);
  return listed.toReversed().sort((a, b) => {
    if (a.zxid !== b.zxid) return a.zxid > b.zxid ? -1 : 1;
    return oddness(a) - oddness(b);
  });
}

async function whyDamaged(file: OpenDataFile, signal: AbortSignal): Promise<string | null> {
  try {
    const body = readFileStart(file.handle, file.stats.size, file.path, signal);
    await checkSnapshot(body, { compression: file.compression });
    return null;
  } catch (error) {
    if (error instanceof ZooKeeperFileError) return error.message;
    throw error;
  }
}

const BEGINNINGS: Readonly<Record<string, Buffer>> = {
  log: Buffer.from("ZKLG"),
  none: Buffer.from("ZKSN"),
  gz: Buffer.from([0x1f, 0x8b]),
  snappy: Buffer.from([0x82, 0x53, 0x4e, 0x41]),
};

/** What does not even begin like a file of its name holds nothing that is worth keeping. */
async function beginsLikeItsKind({ kind, compression, handle }: OpenDataFile): Promise<boolean> {
  const beginning = BEGINNINGS[kind === "log" ? "log" : compression] ?? Buffer.alloc(0);
  const bytes = Buffer.alloc(beginning.byteLength);
  await handle.read(bytes, 0, bytes.byteLength, 0);
  return bytes.equals(beginning);
}
