import { open, stat } from "node:fs/promises";
import { basename, dirname, sep } from "node:path";
import { type DataFile, type DataFiles, pathError, withDataFiles } from "../directory.ts";
import { readChunks } from "../file-chunks.ts";
import { ZooKeeperFileError } from "../file-error.ts";
import type { Compression } from "../file-names.ts";
import { createLogChecker } from "../log/log-checker.ts";
import type { LogSummary } from "../log/log-summary.ts";
import type { Problem } from "../problem.ts";
import {
  type DamagedSnapshotReading,
  looksLikeSnapshot,
  readDamagedSnapshot,
  SNAPSHOT_READERS,
  type SnapshotReader,
  UNSEEN,
} from "../snapshot/damaged-snapshot.ts";
import { checkSnapshot } from "../snapshot/snapshot-checker.ts";
import { loadTree } from "../tree/load-tree.ts";
import type { ReplayResult } from "../tree/replay.ts";
import { formatZxid } from "../zxid.ts";
import { type CheckedLog, type CheckedSnapshot, planRecovery, type Recoverable } from "./recovery.ts";
import { SERVER_RELEASES, type ServerRelease } from "./server-release.ts";
import {
  checkSet,
  DEFAULT_JUTE_MAX_BUFFER,
  maxFieldBytesOf,
  misplacedMessage,
  type ReplayedState,
  type ServerSettings,
  type ServerVerdict,
} from "./server-verdict.ts";

/** What is in the files, in values that JSON holds. Zxids are written `0x22`: lower-case hexadecimal, no padding. */
export interface DirectoryReport {
  /** Oldest first. */
  readonly snapshots: readonly ReportedSnapshot[];
  /** Oldest first. */
  readonly logs: readonly ReportedLog[];
  /** See {@link planRecovery}. */
  readonly recoverable: {
    readonly zxid: string;
    readonly from: string | null;
    readonly logs: readonly string[];
  } | null;
  /** What is in that state, rebuilt from the files; null where nothing is recoverable. */
  readonly tree: ReportedTree | null;
  /**
   * What servers of each kind of release do at their start, oldest first. See {@link checkSet}. Empty where single files
   * were named, which need not be all that a server has.
   */
  readonly releases: readonly ReportedVerdict[];
  readonly problems: readonly Problem[];
}

export interface ReportedTree {
  readonly zxid: string;
  readonly nodes: number;
  readonly sessions: number;
  readonly ephemerals: number;
  readonly containers: number;
  readonly ttlNodes: number;
  readonly dataBytes: number;
  /** Of the tree, as a signed decimal number. */
  readonly digest: string;
  /** Whether the digest in the snapshot is that of the tree: see {@link ReplayResult}. */
  readonly snapshotDigest: ReplayResult["snapshotDigest"];
  /** How many txns carry a digest that could be compared, and how many of these are that of the tree. */
  readonly txnDigests: ReplayResult["txnDigests"];
}

export interface ReportedVerdict extends Omit<ServerVerdict, "zxid"> {
  readonly zxid: string | null;
}

export interface ReportedSnapshot {
  /** The file's name; with folders before it where two of the files have the same name. */
  readonly file: string;
  readonly zxid: string;
  /** Complete and intact. The counts are null where it is not. */
  readonly valid: boolean;
  readonly nodes: number | null;
  readonly sessions: number | null;
  readonly acls: number | null;
  readonly compression: Compression;
  /** Null also where the file carries none. `value` is a signed decimal number. */
  readonly digest: { readonly zxid: string; readonly version: number; readonly value: string } | null;
}

export interface ReportedLog {
  /** The file's name; with folders before it where two of the files have the same name. */
  readonly file: string;
  readonly firstZxid: string | null;
  readonly lastZxid: string | null;
  readonly records: number;
  /** Up to the end of the last good record. */
  readonly bytes: number;
  readonly end: LogSummary["end"];
}

export interface CheckDirectoryOptions extends ServerSettings {
  /** The kinds of releases to judge for. Default: all of {@link SERVER_RELEASES}. */
  readonly releases?: readonly ServerRelease[];
  readonly signal?: AbortSignal;
}

/**
 * Reads data directories or single files of ZooKeeper, checks every byte, and says what they restore to, what servers of
 * each release would do with them, and everything that is wrong with them. Needs no server and writes nothing. The state
 * that the files restore to is rebuilt in memory: some 140 bytes per znode, and their names.
 *
 * With several directories the files must be those of one server. Where a running server's purge removes a file before it
 * was read, all begins again, a few times.
 *
 * @throws ZooKeeperFileError `PATH_NOT_FOUND`, `PATH_DENIED`, `PATH_NOT_USABLE`, `NOT_A_DATA_FILE`, `NO_DATA_FILES`;
 *   what is wrong inside the files is in the report. And the reason of `signal` once that is aborted
 */
export async function checkDirectory(
  paths: readonly string[],
  options: CheckDirectoryOptions = {},
): Promise<DirectoryReport> {
  options.signal?.throwIfAborted();
  return await withDataFiles(paths, async (files) => checkFiles(files, await areAllFiles(paths), options));
}

async function checkFiles(
  files: DataFiles,
  partial: boolean,
  options: CheckDirectoryOptions,
): Promise<DirectoryReport> {
  const { signal, releases = SERVER_RELEASES } = options;
  const names = shortNames(files);
  const nameOf = (path: string): string => names.get(path) ?? path;
  const pathOf = (name: string): string => [...names].find(([, short]) => short === name)?.[0] ?? name;

  const snapshots: CheckedSnapshot[] = [];
  const reportedSnapshots: ReportedSnapshot[] = [];
  for (const file of files.snapshots) {
    const checked = await readSnapshot(file, nameOf(file.path), options);
    snapshots.push(checked);
    reportedSnapshots.push(reportSnapshot(checked, file.compression));
  }
  const logs: CheckedLog[] = [];
  for (const file of files.logs) logs.push(await readLog(file, nameOf(file.path), signal));

  const { recoverable, problems: planned } = planRecovery(snapshots, logs, { partial });
  const problems: Problem[] = [...planned];
  let tree: ReportedTree | null = null;
  let replayed: ReplayedState | undefined;
  if (recoverable !== null) {
    const replay = await replayFiles(recoverable, pathOf, nameOf, signal);
    tree = replay.tree;
    replayed = replay.state;
    problems.push(...replay.problems);
  }
  const misplaced = partial ? [] : misplacedFiles(files);
  const set = { snapshots, logs, epochs: files.epochs, misplaced: misplaced.map(nameOf), replayed };
  const verdicts = partial ? [] : releases.map((release) => checkSet(set, { ...options, release }));
  problems.push(...problemsOfSet(files, verdicts, misplaced), ...problemsOfSettings(snapshots, logs, tree, options));
  return {
    snapshots: reportedSnapshots,
    logs: logs.map(reportLog),
    recoverable: recoverable === null ? null : { ...recoverable, zxid: formatZxid(recoverable.zxid) },
    tree,
    releases: verdicts.map(({ zxid, ...verdict }) => ({ ...verdict, zxid: zxid === null ? null : formatZxid(zxid) })),
    problems: problems.map((problem) => ({ ...problem, file: problem.file === null ? null : nameOf(problem.file) })),
  };
}

/** The state that the files restore to. They were checked before: what fails now has changed meanwhile. */
async function replayFiles(
  { zxid: atZxid, from, logs }: Recoverable,
  pathOf: (name: string) => string,
  nameOf: (path: string) => string,
  signal: AbortSignal | undefined,
): Promise<{ tree: ReportedTree; state: ReplayedState; problems: Problem[] }> {
  const paths = [from, ...logs].filter((name) => name !== null).map(pathOf);
  const { tree, result } = await loadTree(paths, { atZxid, ...(signal === undefined ? {} : { signal }) });
  const { nodes, sessions, ephemerals, containers, ttlNodes, dataBytes, snapshotDigest, txnDigests } = result;
  const zxid = formatZxid(result.zxid);
  const digest = String(result.digest);
  const problems = result.problems.map((problem) => ({ ...problem, file: problem.file && nameOf(problem.file) }));
  const danglingAclUsed = problems.find(({ code }) => code === "DANGLING_ACL_USED") ?? null;
  return {
    tree: { zxid, nodes, sessions, ephemerals, containers, ttlNodes, dataBytes, digest, snapshotDigest, txnDigests },
    state: {
      containers,
      ttlNodes,
      isDeletedAsStray: (owner, path) => {
        const node = tree.get(path);
        return node !== null && node.stat.ephemeralOwner !== owner && !tree.sessions.has(owner);
      },
      danglingAclUsed: danglingAclUsed && { problem: danglingAclUsed, releases: result.refusedBy },
      mismatch: problems.find(({ code }) => code === "DIGEST_MISMATCH") ?? null,
    },
    problems: problems.filter(({ code }) => code.startsWith("DIGEST_") || code === "DANGLING_ACL_USED"),
  };
}

/**
 * With `dataDir` and `dataLogDir` two directories: the files that lie in the wrong one. Which is which shows by what the
 * other one holds, and if that says nothing either, by their order.
 */
function misplacedFiles({ snapshots, logs, problems }: DataFiles): string[] {
  const directories = new Map<string, { snapshots: string[]; logs: string[] }>();
  const unread = problems.flatMap(({ code, file }) => (code === "UNREAD_FILE_NAME" && file !== null ? [file] : []));
  for (const path of [...snapshots.map((file) => file.path), ...logs.map((file) => file.path), ...unread]) {
    const directory = directories.get(dirname(path)) ?? { snapshots: [], logs: [] };
    directories.set(dirname(path), directory);
    (path.startsWith("snapshot.", dirname(path).length + 1) ? directory.snapshots : directory.logs).push(path);
  }
  const all = [...directories.values()];
  if (all.length < 2) return [];
  const isLogDirectory = (directory: { snapshots: string[]; logs: string[] }): boolean =>
    all.some((other) => other !== directory && other.logs.length === 0) ||
    (directory !== all[0] && !all.some((other) => other !== directory && other.snapshots.length === 0));
  return all
    .filter((directory) => directory.snapshots.length > 0 && directory.logs.length > 0)
    .flatMap((directory) => (isLogDirectory(directory) ? directory.snapshots : directory.logs));
}

/** What servers do that is wrong with any of them, and what they leave alone but people should not. `file` is a path. */
function problemsOfSet(files: DataFiles, verdicts: readonly ServerVerdict[], misplaced: readonly string[]): Problem[] {
  const problems: Problem[] = [...files.problems];
  for (const file of misplaced) {
    problems.push({ severity: "fatal", code: "FILE_MISPLACED", file, offset: null, message: misplacedMessage() });
  }
  const isKnown = ({ code, file }: Problem): boolean =>
    problems.some((other) => other.code === code && other.file === file);
  for (const { reasons } of verdicts) {
    for (const reason of reasons) if (SEEN_BY_SERVERS.has(reason.code) && !isKnown(reason)) problems.push(reason);
  }
  const { currentEpochTmp, updatingEpoch } = files.epochs;
  if (currentEpochTmp !== null || updatingEpoch) {
    const message = "an interrupted write of a new epoch left it: needed only if currentEpoch is older than the data";
    const file = currentEpochTmp === null ? "updatingEpoch" : "currentEpoch.tmp";
    problems.push({ severity: "info", code: "EPOCH_REWRITE_LEFT", file, offset: null, message });
  }
  for (const path of files.initialize) {
    const message =
      "it tells 3.6 and later that this server may begin with nothing, and the next start deletes it: beside data it is of no " +
      "use, and harmful if the data is lost before. Remove it";
    problems.push({ severity: "info", code: "INITIALIZE_BESIDE_DATA", file: basename(path), offset: null, message });
  }
  return [...problems, ...rivals(files.snapshots)];
}

/** What is wrong in the eyes of servers alone, and for those that can read these files at all. */
const SEEN_BY_SERVERS: ReadonlySet<string> = new Set([
  "SNAPSHOT_STOPS_SERVER",
  "SNAPSHOT_LEAVES_STRAYS",
  "EPOCH_OLDER_THAN_DATA",
  "EPOCHS_CONFLICT",
  "EPOCH_UNREADABLE",
]);

function rivals(snapshots: readonly DataFile[]): Problem[] {
  return snapshots
    .filter((snapshot, index) => snapshots.findIndex(({ zxid }) => zxid === snapshot.zxid) < index)
    .map(({ path, zxid }) => {
      const message =
        `there is another snapshot of ${formatZxid(zxid)}: which one a server tries first depends on the order in which the ` +
        "file system lists them. Keep the newer one";
      return { severity: "info", code: "SNAPSHOT_DUPLICATE", file: path, offset: null, message };
    });
}

/** What servers fail on or delete unless they are set up for it. Where the settings are not given, that is only a hint. */
function problemsOfSettings(
  snapshots: readonly CheckedSnapshot[],
  logs: readonly CheckedLog[],
  tree: ReportedTree | null,
  { extendedTypesEnabled, juteMaxBuffer }: ServerSettings,
): Problem[] {
  const problems: Problem[] = [];
  const ttlNodes = tree?.ttlNodes ?? 0;
  if (ttlNodes > 0 && extendedTypesEnabled !== true) {
    const message =
      `${ttlNodes} nodes have a time to live: a server without zookeeper.extendedTypesEnabled=true deletes them at the end ` +
      "of its start";
    const severity = extendedTypesEnabled === false ? "data-loss" : "info";
    problems.push({ severity, code: "TTL_NODES_VANISH", file: null, offset: null, message });
  }
  const largest = Math.max(
    0,
    ...snapshots.map(({ summary }) => summary?.largestFieldBytes ?? 0),
    ...logs.map(({ summary }) => summary.largestEntryBytes),
  );
  if (largest > maxFieldBytesOf("3.9.4", juteMaxBuffer)) {
    const message =
      `the largest record has ${largest} bytes: servers read it only with jute.maxbuffer=${Math.ceil(largest / 2)} or more ` +
      `(${juteMaxBuffer === undefined ? `the default is ${DEFAULT_JUTE_MAX_BUFFER}` : `it is ${juteMaxBuffer}`})`;
    const severity = juteMaxBuffer === undefined ? "info" : "fatal";
    problems.push({ severity, code: "LARGER_BUFFER_NEEDED", file: null, offset: null, message });
  }
  return problems;
}

async function readSnapshot(file: DataFile, name: string, options: CheckDirectoryOptions): Promise<CheckedSnapshot> {
  const { zxid, mtimeMs, compression } = file;
  const { signal } = options;
  try {
    const summary = await checkSnapshot(readChunks(file.path, signal), { compression });
    return { file: name, zxid, mtimeMs, summary, error: null };
  } catch (error) {
    if (error instanceof ZooKeeperFileError && error.code.startsWith("SNAPSHOT_")) {
      return { file: name, zxid, mtimeMs, summary: null, error, readings: await readAsServers(file, options) };
    }
    throw error;
  }
}

/** Once for each way in which releases read snapshots. Only done for damaged ones. */
async function readAsServers(
  { path, compression }: DataFile,
  { signal, digestEnabled = true, extendedTypesEnabled = false, juteMaxBuffer }: CheckDirectoryOptions,
): Promise<ReadonlyMap<SnapshotReader, DamagedSnapshotReading>> {
  const { size, head, tail } = await readEnds(path);
  const isSeen = looksLikeSnapshot(compression, size, head, tail);
  const readings = new Map<SnapshotReader, DamagedSnapshotReading>();
  for (const reader of SNAPSHOT_READERS) {
    const maxFieldBytes = maxFieldBytesOf(reader === "3.4" ? "3.4" : "3.9.4", juteMaxBuffer);
    const settings = { maxFieldBytes, digestEnabled, extendedTypesEnabled };
    readings.set(
      reader,
      isSeen ? await readDamagedSnapshot(() => readChunks(path, signal), compression, reader, settings) : UNSEEN,
    );
  }
  return readings;
}

async function readLog(file: DataFile, name: string, signal: AbortSignal | undefined): Promise<CheckedLog> {
  const checker = createLogChecker();
  for await (const chunk of readChunks(file.path, signal)) checker.push(chunk);
  return { file: name, zxid: file.zxid, summary: checker.end() };
}

function reportSnapshot({ file, zxid, summary }: CheckedSnapshot, compression: Compression): ReportedSnapshot {
  const digest = summary?.digest ?? null;
  return {
    file,
    zxid: formatZxid(zxid),
    valid: summary !== null,
    nodes: summary?.nodes ?? null,
    sessions: summary?.sessions ?? null,
    acls: summary?.acls ?? null,
    compression,
    digest: digest && { zxid: formatZxid(digest.zxid), version: digest.version, value: String(digest.value) },
  };
}

function reportLog({ file, summary }: CheckedLog): ReportedLog {
  const { firstZxid, lastZxid, records, bytes, end } = summary;
  return {
    file,
    firstZxid: firstZxid === null ? null : formatZxid(firstZxid),
    lastZxid: lastZxid === null ? null : formatZxid(lastZxid),
    records,
    bytes,
    end,
  };
}

/** The first 8 and the last 5 bytes, or what there is of them. */
async function readEnds(path: string): Promise<{ size: number; head: Buffer; tail: Buffer }> {
  const handle = await open(path, "r").catch((error: unknown) => {
    throw pathError(path, error);
  });
  try {
    const { size } = await handle.stat();
    const head = Buffer.alloc(8);
    const tail = Buffer.alloc(5);
    await handle.read(head, 0, head.byteLength, 0);
    await handle.read(tail, 0, tail.byteLength, Math.max(0, size - tail.byteLength));
    return { size, head, tail };
  } catch (error) {
    throw pathError(path, error);
  } finally {
    await handle.close();
  }
}

/** A name for each path: as few of its last parts as tell it from the others. */
function shortNames({ snapshots, logs, problems }: DataFiles): Map<string, string> {
  const paths = [...snapshots, ...logs].map((file) => file.path);
  for (const { file } of problems) if (file !== null && !paths.includes(file)) paths.push(file);
  const names = new Map<string, string>();
  for (const path of paths) {
    const parts = path.split(sep);
    let count = 1;
    const suffix = (): string => parts.slice(-count).join("/");
    while (count < parts.length && paths.some((other) => other !== path && other.endsWith(`${sep}${suffix()}`)))
      count++;
    names.set(path, suffix());
  }
  return names;
}

async function areAllFiles(paths: readonly string[]): Promise<boolean> {
  const stats = await Promise.all(paths.map((path) => stat(path)));
  return stats.every((entry) => entry.isFile());
}
