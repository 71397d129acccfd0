import { randomUUID } from "node:crypto";
import type { Dirent } from "node:fs";
import { constants, type FileHandle, link, lstat, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  abortable,
  abortError,
  BackypError,
  type Bytes,
  CHUNK_BYTES,
  type GetOptions,
  isKey,
  type ListOptions,
  type ObjectInfo,
  rechunk,
  requireKey,
  type Sink,
  systemErrorCode,
} from "@zk-backyp/core";
import { checkRoom } from "./check-room.ts";
import { fsError } from "./fs-errors.ts";
import { makeDirectories } from "./make-directories.ts";
import type { FsSinkOptions } from "./options.ts";

/** Where objects are written to before they get their name. No key can name it: `~` belongs to no key. */
const TEMPORARY = ".tmp~";
/** Age in ms from which a temporary file counts as left over by a run that died. */
const LEFTOVER_AGE_MS = 24 * 3600 * 1000;
/** How often in ms a put marks its temporary file as in use, however slow its body is. */
const KEEP_ALIVE_MS = 3600 * 1000;
/** Files that a listing asks the file system about at once: one by one, 100,000 of them take seven times as long. */
const STATS_AT_ONCE = 32;
const DIRECTORY_MODE = 0o750;
const FILE_MODE = 0o640;

/**
 * A sink that keeps every object as the file `<path>/<key>`. It opens nothing and creates nothing before the first
 * call.
 */
export function createFsSink(options: FsSinkOptions): Sink {
  const root = resolve(options.path);
  const location = pathToFileURL(root).href.replace("file://", "file:");

  return {
    location,

    async put(key, body, { signal, ifAbsent = false }) {
      const path = join(root, requireKey(key));
      if (signal.aborted) throw abortError(signal);
      if (ifAbsent) await refuseTaken(key, path);
      const directory = join(root, TEMPORARY);
      const made = await attempt("create", directory, () => makeDirectories(directory, DIRECTORY_MODE));
      await removeLeftovers(directory, Date.now() - LEFTOVER_AGE_MS);

      const temporary = join(directory, randomUUID());
      try {
        const info = await writeFile(temporary, body, signal);
        // The last moment at which nothing of the object shows: from here on it is stored.
        if (signal.aborted) throw abortError(signal);
        await attempt("create", dirname(path), () => makeDirectories(dirname(path), DIRECTORY_MODE));
        if (ifAbsent) await publishNew(temporary, key, path);
        else await attempt("write", path, () => rename(temporary, path));
        await syncDirectories(dirname(path), made === undefined ? root : dirname(made));
        return { key, ...info };
      } finally {
        // Gone already after a rename. If it cannot be removed now, a later put does it.
        await rm(temporary, { force: true }).catch(() => {});
      }
    },

    get(key, getOptions) {
      return abortable(readFile(key, getOptions), getOptions.signal);
    },

    async *list(prefix, listOptions) {
      if (listOptions.signal.aborted) throw abortError(listOptions.signal);
      await requireRoot();
      yield* listDirectory("", prefix, listOptions);
    },

    async delete(key) {
      const path = join(root, requireKey(key));
      try {
        await rm(path);
      } catch (error) {
        const systemCode = systemErrorCode(error) ?? "";
        // A directory is no object: to the caller there is nothing of that name.
        if (["ENOENT", "ENOTDIR", "EISDIR", "ERR_FS_EISDIR"].includes(systemCode)) return;
        throw fsError("delete", path, error);
      }
    },

    // Whose key a temporary file was for is not known. One that is in use is touched every hour.
    async sweep(_prefix, { olderThan }) {
      return removeLeftovers(join(root, TEMPORARY), olderThan.getTime());
    },

    async *check({ archiveBytes }) {
      yield await checkRoom(root, archiveBytes);
    },

    async close() {},
  };

  async function* readFile(key: string, { range = { start: 0 } }: GetOptions): AsyncGenerator<Uint8Array, void, void> {
    const path = join(root, requireKey(key));
    const { file, size } = await openObject(key, path);
    try {
      let position = range.start;
      // An object is never written to again: its size is what there is to read, and no larger buffer is needed.
      const end = Math.min(range.end ?? size, size);
      while (position < end) {
        const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - position));
        const { bytesRead } = await attempt("read", path, () => file.read(buffer, 0, buffer.byteLength, position));
        if (bytesRead === 0) return;
        position += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  async function openObject(key: string, path: string): Promise<{ file: FileHandle; size: number }> {
    let file: FileHandle;
    try {
      // list does not follow links either: what it does not show cannot be read.
      file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (!["ENOENT", "ENOTDIR", "ELOOP"].includes(systemErrorCode(error) ?? "")) throw fsError("open", path, error);
      await requireRoot();
      throw objectNotFound(key);
    }
    const stats = await file.stat();
    if (stats.isFile()) return { file, size: stats.size };
    await file.close();
    throw objectNotFound(key);
  }

  function objectNotFound(key: string): BackypError {
    return new BackypError("ERR_OBJECT_NOT_FOUND", `there is no object ${key} in ${location}`, { details: { key } });
  }

  async function requireRoot(): Promise<void> {
    try {
      if ((await stat(root)).isDirectory()) return;
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw fsError("open", root, error);
      throw new BackypError(
        "ERR_SINK_NOT_FOUND",
        `the directory ${root} does not exist; correct the path, mount the file system, or make a first backup into it`,
        { cause: error, details: { path: root } },
      );
    }
    throw new BackypError("ERR_SINK_NOT_FOUND", `${root} is not a directory; name the directory of the backups`, {
      details: { path: root },
    });
  }

  async function refuseTaken(key: string, path: string): Promise<void> {
    try {
      await lstat(path);
    } catch {
      // Not there, or not to be seen: writing it will tell.
      return;
    }
    throw objectExists(key);
  }

  function objectExists(key: string, cause?: unknown): BackypError {
    return new BackypError("ERR_OBJECT_EXISTS", `${key} exists already in ${location}; it was left as it is`, {
      cause,
      details: { key },
    });
  }

  // Unlike rename, link refuses a name that is taken, in one step.
  async function publishNew(temporary: string, key: string, path: string): Promise<void> {
    try {
      await link(temporary, path);
    } catch (error) {
      const systemCode = systemErrorCode(error) ?? "";
      if (systemCode === "EEXIST") throw objectExists(key, error);
      // File systems without hard links (FAT, some network ones): look first, which another writer may outrun.
      if (!["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(systemCode)) throw fsError("write", path, error);
      await refuseTaken(key, path);
      await attempt("write", path, () => rename(temporary, path));
    }
  }

  // A directory at a time, so that memory depends on the widest one and not on the number of objects.
  async function* listDirectory(
    folder: string,
    prefix: string,
    { signal, after = "" }: ListOptions,
  ): AsyncGenerator<ObjectInfo, void, void> {
    const nodes = (await readEntries(folder))
      .filter((entry) => (entry.isFile() || entry.isDirectory()) && isKey(entry.name))
      // With its slash a folder takes the place its keys have: "a.b" comes before "a/x", and "a/x" before "a0".
      .map((entry) => `${folder}${entry.name}${entry.isDirectory() ? "/" : ""}`)
      .filter((node) => node.startsWith(prefix) || (node.endsWith("/") && prefix.startsWith(node)))
      .filter((node) => node > after || (node.endsWith("/") && after.startsWith(node)))
      .sort();
    for (let from = 0; from < nodes.length; from += STATS_AT_ONCE) {
      const some = nodes.slice(from, from + STATS_AT_ONCE);
      const infos = await Promise.all(some.map((node) => (node.endsWith("/") ? null : statObject(node))));
      for (const [index, node] of some.entries()) {
        if (signal.aborted) throw abortError(signal);
        const info = infos[index];
        if (node.endsWith("/")) yield* listDirectory(node, prefix, { signal, after });
        else if (info) yield info;
      }
    }
  }

  async function readEntries(folder: string): Promise<Dirent[]> {
    const path = join(root, folder);
    try {
      return await readdir(path, { withFileTypes: true });
    } catch (error) {
      const systemCode = systemErrorCode(error);
      if (systemCode === "ENOENT") return [];
      // The root of an ext file system has this one, for root's eyes only.
      if (folder === "lost+found/" && systemCode === "EACCES") return [];
      throw fsError("list", path, error);
    }
  }

  /** Null when it was deleted since its directory was read. */
  async function statObject(key: string): Promise<ObjectInfo | null> {
    const path = join(root, key);
    try {
      const { size, mtime } = await lstat(path);
      return { key, size, modifiedAt: mtime };
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT") return null;
      throw fsError("list", path, error);
    }
  }
}

/** Writes `body` to a new file and returns when it is on the disk. */
async function writeFile(path: string, body: Bytes, signal: AbortSignal): Promise<{ size: number; modifiedAt: Date }> {
  const file = await attempt("create", path, () => open(path, "wx", FILE_MODE));
  const keepAlive = setInterval(() => {
    const now = new Date();
    file.utimes(now, now).catch(() => {});
  }, KEEP_ALIVE_MS).unref();
  try {
    let size = 0;
    for await (const chunk of rechunk(abortable(body, signal), CHUNK_BYTES)) {
      for (let offset = 0; offset < chunk.byteLength; ) {
        const rest = chunk.subarray(offset);
        offset += (await attempt("write", path, () => file.write(rest))).bytesWritten;
      }
      size += chunk.byteLength;
    }
    await attempt("write", path, () => file.sync());
    const { mtime } = await attempt("write", path, () => file.stat());
    // Some network file systems say only now that the disk is full.
    await attempt("write", path, () => file.close());
    return { size, modifiedAt: mtime };
  } catch (error) {
    await file.close().catch(() => {});
    throw error;
  } finally {
    clearInterval(keepAlive);
  }
}

/**
 * Makes the names in `directory` and in the directories above it durable, up to and including `top`. Without it a
 * power failure could take away a name that was already reported as stored.
 */
async function syncDirectories(directory: string, top: string): Promise<void> {
  for (let current = directory; ; current = dirname(current)) {
    await syncDirectory(current);
    if (current === top || current === dirname(current)) return;
  }
}

async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (error) {
    // Some network file systems cannot sync a directory, and one above the root may not be readable to this user.
    if (["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EACCES", "EPERM"].includes(systemErrorCode(error) ?? "")) return;
    throw fsError("sync", path, error);
  }
}

// Never keeps a put from running: whatever cannot be removed is left to the next one.
async function removeLeftovers(directory: string, olderThanMs: number): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  let removed = 0;
  for (const name of names) {
    const path = join(directory, name);
    const isOld = await lstat(path).then(
      ({ mtimeMs }) => mtimeMs < olderThanMs,
      () => false,
    );
    if (!isOld) continue;
    removed += await rm(path, { force: true }).then(
      () => 1,
      () => 0,
    );
  }
  return removed;
}

async function attempt<T>(action: string, path: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw fsError(action, path, error);
  }
}
