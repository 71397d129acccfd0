import type { Stats } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { ZooKeeperFileError } from "./file-error.ts";
import { type FileName, parseFileName } from "./file-names.ts";
import type { Problem } from "./problem.ts";
import { type EpochFiles, epochOfNothing, epochWithoutDataMessage } from "./server/epoch-files.ts";

/** The directory inside a data directory that holds the files; also the version of their format. */
const VERSION_DIRECTORY = "version-2";

/** What an ensemble's member keeps about its epochs, in the directory of its snapshots. */
const EPOCH_FILES: ReadonlySet<string> = new Set([
  "currentEpoch",
  "acceptedEpoch",
  "currentEpoch.tmp",
  "acceptedEpoch.tmp",
  "updatingEpoch",
]);

/** A snapshot or a log on disk. */
export interface DataFile extends FileName {
  readonly path: string;
  /** Apparent size in bytes; logs are mostly sparse. */
  readonly size: number;
  /** When it was last written, in milliseconds since 1970. */
  readonly mtimeMs: number;
}

/** A small file that belongs to one server. */
export interface ServerFile {
  readonly path: string;
  /** What it says, without surrounding white space. */
  readonly text: string;
}

/** What was found. Of the files of one server each is null where there is none. */
export interface DataFiles {
  /** Oldest zxid first. */
  readonly snapshots: readonly DataFile[];
  /** Oldest zxid first. */
  readonly logs: readonly DataFile[];
  /** The epoch that the server is in: a decimal number. */
  readonly currentEpoch: ServerFile | null;
  /** The newest epoch that the server has agreed to: a decimal number. */
  readonly acceptedEpoch: ServerFile | null;
  /** The server's number in its ensemble. */
  readonly myid: ServerFile | null;
  /** What the files of the epochs say, byte for byte. */
  readonly epochs: EpochFiles;
  /** Paths of empty files `initialize`, which tell 3.6 and later that having no data is as it should be. */
  readonly initialize: readonly string[];
  /** Names that are not as they should be; `file` is the path. All `info`. */
  readonly problems: readonly Problem[];
}

/**
 * Finds the snapshots and logs in data directories (`dataDir` and `dataLogDir` hold them in `version-2`), in
 * directories that hold them directly, and among single files. A directory that is reached in two ways counts once.
 *
 * @throws ZooKeeperFileError `PATH_NOT_FOUND`, `PATH_DENIED`, `PATH_NOT_USABLE`, `NOT_A_DATA_FILE`, `NO_DATA_FILES`
 */
export async function findDataFiles(paths: readonly string[]): Promise<DataFiles> {
  const snapshots: DataFile[] = [];
  const logs: DataFile[] = [];
  const problems: Problem[] = [];
  const serverFiles = new Map<string, ServerFile & { readonly raw: string }>();
  const initialize: string[] = [];
  const seen = new Set<string>();

  async function addFile(path: string, name: FileName, { size, mtimeMs }: Stats): Promise<void> {
    const real = await attempt(path, realpath(path));
    if (seen.has(real)) return;
    seen.add(real);
    (name.kind === "snapshot" ? snapshots : logs).push({ ...name, path, size, mtimeMs });
    const problem = oddName(path, name);
    if (problem !== null) problems.push(problem);
  }

  async function addDirectory(directory: string): Promise<void> {
    const real = await attempt(directory, realpath(directory));
    if (seen.has(real)) return;
    seen.add(real);
    for (const entry of await attempt(directory, readdir(directory))) {
      const path = join(directory, entry);
      const name = parseFileName(entry);
      const isUnread = name === null && /^(snapshot|log)\./.test(entry);
      const isServerFile = EPOCH_FILES.has(entry);
      if (name === null && !isUnread && !isServerFile) continue;
      const stats = await statIfThere(path);
      // Not there any more: a server's purge runs when it likes.
      if (stats?.isFile() !== true) continue;
      if (name !== null) await addFile(path, name, stats);
      else if (isServerFile) await addServerFile(path);
      else problems.push(unreadName(path));
    }
  }

  async function addServerFile(path: string): Promise<void> {
    const raw = await attempt(path, readFile(path, "utf8"));
    const name = basename(path);
    if (!serverFiles.has(name)) serverFiles.set(name, { path, text: raw.trim(), raw });
  }

  for (const path of paths) {
    const stats = await attempt(path, stat(path));
    if (stats.isFile()) {
      const name = parseFileName(basename(path));
      if (name === null) throw notADataFile(path);
      await addFile(path, name, stats);
    } else if (stats.isDirectory()) {
      const inner = join(path, VERSION_DIRECTORY);
      const isOuter = (await statIfThere(inner))?.isDirectory() === true;
      await addDirectory(isOuter ? inner : path);
      // The server's number lies beside version-2, not in it.
      const myid = isOuter || basename(path) !== VERSION_DIRECTORY ? join(path, "myid") : join(path, "..", "myid");
      if ((await statIfThere(myid))?.isFile() === true) await addServerFile(myid);
      const marker = join(myid, "..", "initialize");
      if ((await statIfThere(marker))?.isFile() === true && !initialize.includes(marker)) initialize.push(marker);
    } else {
      const message = `${path} is neither a directory nor a regular file`;
      throw new ZooKeeperFileError("PATH_NOT_USABLE", null, message);
    }
  }
  const serverFile = (name: string): ServerFile | null => {
    const file = serverFiles.get(name);
    return file === undefined ? null : { path: file.path, text: file.text };
  };
  const rawOf = (name: string): string | null => serverFiles.get(name)?.raw ?? null;
  const epochs: EpochFiles = {
    currentEpoch: rawOf("currentEpoch"),
    acceptedEpoch: rawOf("acceptedEpoch"),
    currentEpochTmp: rawOf("currentEpoch.tmp"),
    updatingEpoch: serverFiles.has("updatingEpoch"),
  };
  if (snapshots.length === 0 && logs.length === 0) {
    const epoch = epochOfNothing(epochs);
    const message =
      `no snapshot.* and no log.* in ${paths.join(", ")} (or in version-2 there). ` +
      "Name the directories that dataDir and dataLogDir in zoo.cfg stand for" +
      (epoch === null ? "" : `. Mind that ${epochWithoutDataMessage(epoch)}`);
    throw new ZooKeeperFileError("NO_DATA_FILES", null, message);
  }
  return {
    snapshots: snapshots.sort(byZxid),
    logs: logs.sort(byZxid),
    currentEpoch: serverFile("currentEpoch"),
    acceptedEpoch: serverFile("acceptedEpoch"),
    myid: serverFile("myid"),
    epochs,
    initialize,
    problems,
  };
}

/** A purge takes a moment; a directory that loses files all the time is not one to read. */
const MAX_LISTINGS = 5;

/**
 * Runs `work` with what {@link findDataFiles} finds, and from the start again with a new list when a file on it is gone:
 * a running server's purge removes old files when it likes. One of `paths` that is gone stays an error.
 */
export async function withDataFiles<Result>(
  paths: readonly string[],
  work: (files: DataFiles) => Promise<Result>,
): Promise<Result> {
  for (let listings = 1; ; listings += 1) {
    try {
      return await work(await findDataFiles(paths));
    } catch (error) {
      const isGone = error instanceof ZooKeeperFileError && error.code === "PATH_NOT_FOUND";
      if (!isGone || listings === MAX_LISTINGS) throw error;
    }
  }
}

function byZxid(a: DataFile, b: DataFile): number {
  if (a.zxid !== b.zxid) return a.zxid < b.zxid ? -1 : 1;
  return a.path < b.path ? -1 : a.path > b.path ? 1 : 0;
}

/** The names that servers write have two parts, and three if they are compressed. */
function oddName(path: string, name: FileName): Problem | null {
  const parts = basename(path).split(".").length;
  if (parts === (name.compression === "none" ? 2 : 3)) return null;
  const message =
    "no server writes this name, and 3.4 and 3.5 do not read it; but 3.6 and later read the file like any other, by the " +
    "zxid in its name: move it elsewhere";
  return { severity: "info", code: "ODD_FILE_NAME", file: path, offset: null, message };
}

function unreadName(path: string): Problem {
  const message = "no server reads a file of this name, but their purge deletes it: move it elsewhere";
  return { severity: "info", code: "UNREAD_FILE_NAME", file: path, offset: null, message };
}

function notADataFile(path: string): ZooKeeperFileError {
  const message =
    `${path} is not named like a ZooKeeper data file: snapshot.<zxid>, perhaps with .gz or .snappy, or log.<zxid>, ` +
    "where <zxid> is a hexadecimal number";
  return new ZooKeeperFileError("NOT_A_DATA_FILE", null, message);
}

async function statIfThere(path: string): Promise<Stats | null> {
  try {
    return await stat(path);
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return null;
    throw pathError(path, error);
  }
}

async function attempt<T>(path: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw pathError(path, error);
  }
}

/** A failed system call as an error that says what to do. */
export function pathError(path: string, cause: unknown): ZooKeeperFileError {
  switch (codeOf(cause)) {
    case "ENOENT":
    case "ENOTDIR":
      return new ZooKeeperFileError("PATH_NOT_FOUND", null, `there is nothing at ${path}`, { cause });
    case "EACCES":
    case "EPERM": {
      const message = `no permission to read ${path}: run as the user that ZooKeeper runs as, or as root`;
      return new ZooKeeperFileError("PATH_DENIED", null, message, { cause });
    }
    default: {
      const reason = cause instanceof Error ? cause.message : String(cause);
      return new ZooKeeperFileError("PATH_NOT_USABLE", null, `${path} cannot be read: ${reason}`, { cause });
    }
  }
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown } | null)?.code;
}
