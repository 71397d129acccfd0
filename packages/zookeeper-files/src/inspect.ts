import { open, stat } from "node:fs/promises";
import { sep } from "node:path";
import { type DataFile, type DataFiles, findDataFiles, pathError } from "./directory.ts";
import { ZooKeeperFileError } from "./file-error.ts";
import type { Compression } from "./file-names.ts";
import { createLogChecker } from "./log-checker.ts";
import type { LogSummary } from "./log-summary.ts";
import type { Problem } from "./problem.ts";
import { type CheckedLog, type CheckedSnapshot, planRecovery } from "./recovery.ts";
import { checkSnapshot } from "./snapshot-checker.ts";
import { formatZxid } from "./zxid.ts";

const CHUNK_BYTES: number = 1024 * 1024;

/** What is in the files, in values that JSON holds. Zxids are written `0x22`: lower-case hexadecimal, no padding. */
export interface InspectReport {
  /** Oldest first. */
  readonly snapshots: readonly InspectedSnapshot[];
  /** Oldest first. */
  readonly logs: readonly InspectedLog[];
  /** See {@link planRecovery}. */
  readonly recoverable: {
    readonly zxid: string;
    readonly from: string | null;
    readonly logs: readonly string[];
  } | null;
  readonly problems: readonly Problem[];
}

export interface InspectedSnapshot {
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

export interface InspectedLog {
  /** The file's name; with folders before it where two of the files have the same name. */
  readonly file: string;
  readonly firstZxid: string | null;
  readonly lastZxid: string | null;
  readonly records: number;
  /** Up to the end of the last good record. */
  readonly bytes: number;
  readonly end: LogSummary["end"];
}

/**
 * Reads data directories or single files of ZooKeeper, checks every byte, and says what they would restore to. Needs
 * no server, writes nothing, and keeps no more than one record in memory.
 *
 * @throws ZooKeeperFileError `PATH_NOT_FOUND`, `PATH_DENIED`, `PATH_NOT_USABLE`, `NOT_A_DATA_FILE`, `NO_DATA_FILES`;
 *   what is wrong inside the files is in the report. And the reason of `signal` once that is aborted
 */
export async function inspect(
  paths: readonly string[],
  options: { readonly signal?: AbortSignal } = {},
): Promise<InspectReport> {
  const { signal } = options;
  signal?.throwIfAborted();
  const files = await findDataFiles(paths);
  const names = shortNames(files);
  const nameOf = (path: string): string => names.get(path) ?? path;

  const snapshots: CheckedSnapshot[] = [];
  const inspectedSnapshots: InspectedSnapshot[] = [];
  for (const file of files.snapshots) {
    const checked = await inspectSnapshot(file, nameOf(file.path), signal);
    snapshots.push(checked);
    inspectedSnapshots.push(reportSnapshot(checked, file.compression));
  }
  const logs: CheckedLog[] = [];
  for (const file of files.logs) logs.push(await inspectLog(file, nameOf(file.path), signal));

  const { recoverable, problems } = planRecovery(snapshots, logs, { partial: await areAllFiles(paths) });
  const problemsOfNames = files.problems.map((problem) => {
    return { ...problem, file: problem.file === null ? null : nameOf(problem.file) };
  });
  return {
    snapshots: inspectedSnapshots,
    logs: logs.map(reportLog),
    recoverable: recoverable === null ? null : { ...recoverable, zxid: formatZxid(recoverable.zxid) },
    problems: [...problems, ...problemsOfNames],
  };
}

async function inspectSnapshot(
  file: DataFile,
  name: string,
  signal: AbortSignal | undefined,
): Promise<CheckedSnapshot> {
  const { zxid, mtimeMs, compression } = file;
  try {
    const summary = await checkSnapshot(readChunks(file.path, signal), { compression });
    return { file: name, zxid, mtimeMs, summary, error: null };
  } catch (error) {
    if (error instanceof ZooKeeperFileError && error.code.startsWith("SNAPSHOT_")) {
      return { file: name, zxid, mtimeMs, summary: null, error };
    }
    throw error;
  }
}

async function inspectLog(file: DataFile, name: string, signal: AbortSignal | undefined): Promise<CheckedLog> {
  const checker = createLogChecker();
  for await (const chunk of readChunks(file.path, signal)) checker.push(chunk);
  return { file: name, zxid: file.zxid, summary: checker.end() };
}

function reportSnapshot({ file, zxid, summary }: CheckedSnapshot, compression: Compression): InspectedSnapshot {
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

function reportLog({ file, summary }: CheckedLog): InspectedLog {
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

/** The bytes of a file. Every chunk is in the same memory: it is good until the next one is asked for. */
async function* readChunks(path: string, signal: AbortSignal | undefined): AsyncGenerator<Buffer, void, void> {
  const handle = await open(path, "r").catch((error: unknown) => {
    throw pathError(path, error);
  });
  try {
    const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
    while (true) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES).catch((error: unknown) => {
        throw pathError(path, error);
      });
      if (bytesRead === 0) return;
      yield buffer.subarray(0, bytesRead);
    }
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
