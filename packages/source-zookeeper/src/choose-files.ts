import { abortError, BackypError, type CaptureRequest } from "@zk-backyp/core";
import { logsFor } from "@zk-backyp/zookeeper-files";
import { type ListedFile, listDataFiles, type OpenDataFile, openDataFile } from "./data-files.ts";
import type { Location } from "./locate.ts";

/** A purge may delete what was just listed; each time there is something newer to take. */
const MAX_LISTINGS = 10;

/** A snapshot that was not used, and why. */
export interface Rejection {
  readonly file: string;
  /** The server had applied this when it began to write the file. */
  readonly zxid: bigint;
  readonly reason: string;
}

/** What a capture begins with, all held open. */
export interface ChosenFiles {
  /** Null where there is none, which is legal for 3.4. */
  readonly snapshot: OpenDataFile | null;
  /** From the one that a server would begin with, oldest first. */
  readonly logs: OpenDataFile[];
  /** Newer snapshots that were not chosen. */
  readonly rejections: readonly Rejection[];
  /** Whether {@link needLaterTxn} was said of the snapshot. */
  readonly needsLaterTxn: boolean;
}

/** The error that makes a run capture again without this snapshot. */
export function rejectSnapshot(snapshot: OpenDataFile, reason: string): BackypError {
  return new BackypError(
    "ERR_SOURCE_CHANGED",
    `${snapshot.path} cannot be used (${reason}); trying an older snapshot`,
    {
      details: { path: snapshot.path, rejectedSnapshot: identityOf(snapshot), reason, isProgress: true },
    },
  );
}

/** The error that makes a run capture this snapshot again, with a transaction after the one that its digest belongs to. */
export function needLaterTxn(snapshot: OpenDataFile): BackypError {
  return new BackypError(
    "ERR_SOURCE_CHANGED",
    `${snapshot.path} may hold a part of a transaction that came after the captured ones; looking for it in the logs`,
    { details: { path: snapshot.path, snapshotAhead: identityOf(snapshot), isProgress: true } },
  );
}

/** The file itself, whatever is written to it meanwhile. */
function identityOf({ path, stats }: OpenDataFile): string {
  return `${path} ${stats.dev}:${stats.ino}`;
}

/**
 * Opens the newest snapshot that this run has not rejected yet, and the logs that go with it.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`, `ERR_SOURCE_DAMAGED`
 */
export async function chooseFiles(
  location: Location,
  { earlierFailures }: CaptureRequest,
  signal: AbortSignal,
): Promise<ChosenFiles> {
  const rejected = new Map(
    earlierFailures.map(({ details }) => [details.rejectedSnapshot, String(details.reason)] as const),
  );
  const ahead = earlierFailures.map(({ details }) => details.snapshotAhead);
  for (let listing = 1; listing <= MAX_LISTINGS; listing++) {
    if (signal.aborted) throw abortError(signal);
    const opened: OpenDataFile[] = [];
    let chosen: ChosenFiles | "gone" = "gone";
    try {
      chosen = await choose(location, rejected, ahead, opened);
    } finally {
      const kept = chosen === "gone" ? [] : [chosen.snapshot, ...chosen.logs];
      for (const file of opened) if (!kept.includes(file)) await file.handle.close();
    }
    if (chosen !== "gone") return chosen;
  }
  throw new BackypError(
    "ERR_SOURCE_UNAVAILABLE",
    `files in ${location.snapshots ?? location.logs} are deleted faster than they can be opened; is a purge running in a loop?`,
  );
}

/** `gone`: something that was listed was not there any more when it was to be opened. Notes in `opened` what it opens. */
async function choose(
  location: Location,
  rejected: ReadonlyMap<unknown, string>,
  ahead: readonly unknown[],
  opened: OpenDataFile[],
): Promise<ChosenFiles | "gone"> {
  const open = async (folder: string | null, listed: ListedFile): Promise<OpenDataFile | null> => {
    const file = await openDataFile(folder ?? "", listed);
    if (file !== null) opened.push(file);
    return file;
  };

  const rejections: Rejection[] = [];
  const usable: OpenDataFile[] = [];
  const all = (await listDataFiles(location.snapshots, "snapshot")).toReversed();
  const listed = all.filter(({ file, plainName }) => file === plainName);
  for (const candidate of listed) {
    // Of those of one zxid all are looked at: the one that was written last is the better one.
    if (usable[0] !== undefined && usable[0].zxid !== candidate.zxid) break;
    const file = await open(location.snapshots, candidate);
    if (file === null) return "gone";
    const reason = rejected.get(identityOf(file)) ?? (await whyUnfinished(file));
    if (reason === null) usable.push(file);
    else rejections.push({ file: file.file, zxid: file.zxid, reason });
  }
  if (listed.length > 0 && usable.length === 0) throw noneUsable(location, rejections);
  if (listed.length === 0 && all[0] !== undefined) throw onlyOddNames(location, all[0]);
  const snapshot = usable.toReversed().toSorted((a, b) => b.stats.mtimeMs - a.stats.mtimeMs)[0] ?? null;

  for (const odd of all.filter(({ file, plainName, zxid }) => file !== plainName && zxid > (snapshot?.zxid ?? 0n))) {
    const file = await open(location.snapshots, odd);
    if (file === null) return "gone";
    // Some servers would load it. It is not taken, but what it stands for must not be lost either.
    if ((await whyUnfinished(file)) !== null) continue;
    rejections.push({
      file: odd.file,
      zxid: odd.zxid,
      reason: "its name is not one that a server gives a finished snapshot",
    });
  }

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
  return { snapshot, logs, rejections, needsLaterTxn: snapshot !== null && ahead.includes(identityOf(snapshot)) };
}

/** Ends every complete uncompressed snapshot: the terminating path "/" behind a seal. */
const SNAPSHOT_END = Buffer.from([0, 0, 0, 1, 0x2f]);

/** Servers write snapshots under their final names. Null for one that may be complete. */
async function whyUnfinished(file: OpenDataFile): Promise<string | null> {
  if (file.compression !== "none") return null;
  const tail = Buffer.alloc(SNAPSHOT_END.byteLength);
  const from = file.stats.size - tail.byteLength;
  if (from >= 0) await file.handle.read(tail, 0, tail.byteLength, from);
  return tail.equals(SNAPSHOT_END) ? null : "it has no end: the server is still writing it, or died while it was";
}

function onlyOddNames({ snapshots }: Location, { file, plainName }: ListedFile): BackypError {
  return new BackypError(
    "ERR_SOURCE_DAMAGED",
    `the only snapshots in ${snapshots} are under odd names, such as ${file}: if that one is whole ("inspect" says so), rename it to ${plainName}`,
    { details: { path: snapshots, file } },
  );
}

function noneUsable({ snapshots }: Location, rejections: readonly Rejection[]): BackypError {
  const reasons = rejections.map(({ file, reason }) => `${file}: ${reason}`);
  return new BackypError(
    "ERR_SOURCE_DAMAGED",
    `no snapshot in ${snapshots} can be used (${reasons.join("; ")}). A server that still runs holds the data in memory: back up another member, or make this one write a new snapshot`,
    { details: { path: snapshots, reasons } },
  );
}
