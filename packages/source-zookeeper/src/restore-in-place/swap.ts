import { chmod, lchown, lstat, mkdir, open, readdir, rename, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { BackypError, type RestoreFolders, syncFolders, systemErrorCode } from "@zk-backyp/core";
import { z } from "zod";
import { KEPT_PREFIX, type MemberFolder, unavailable } from "./member-folders.ts";

/**
 * The file that keeps every server from starting while old and new data change places. To a server it is the last log to
 * be read, and no log: 3.4 to 3.9 end with an error when they meet one. It says what is going on, to people and to the next run.
 */
export const LOCK_FILE = "log.7fffffffffffffff";

const EXPLANATION = `zk-backyp replaces the data here, or was ended while it did so. No ZooKeeper server starts while this file is there.
Run the same "zk-backyp restore --replace" again: before anything else it puts the old data back.
`;

/** A lock file names each new file, in some 60 bytes. What is longer is none of ours. */
const LONGEST_LOCK_BYTES = 16 * 1024 * 1024;

/** What is written to a lock file, for the next run. */
interface SwapRecord {
  /** The directories, without symbolic links. */
  readonly directories: readonly string[];
  /** Name of the folder for the old data, the same in each directory. */
  readonly kept: string;
  /** For each role: whether `version-2` was made, and the new files with their inodes, by which alone they are removed. */
  readonly folders: Readonly<Record<string, { readonly made: boolean; readonly files: readonly NewFile[] }>>;
}

type NewFile = readonly [name: string, inode: string];

const fileName = z.string().regex(/^(?!\.\.?$)[^/\0]+$/);

const recordSchema: z.ZodType<SwapRecord> = z.object({
  directories: z.array(z.string()),
  kept: z.string().regex(/^version-2\.replaced-\w+$/),
  folders: z.record(z.string(), z.object({ made: z.boolean(), files: z.array(z.tuple([fileName, z.string()])) })),
});

/** What a swap moves. */
export interface Swap {
  /** The one with the logs first: its lock file is there from first to last. */
  readonly folders: readonly MemberFolder[];
  /** By role; each with a `version-2`, on its target's file system. */
  readonly staged: RestoreFolders;
  /** When, for the names of the folders with the old data. */
  readonly at: Date;
}

/**
 * Moves the old files of each `version-2` into a folder beside it, and the new ones in. Yields after each step, for tests
 * that go no further. Whoever does not come to the end calls {@link undoSwap}, in this process or in another one: until
 * then no server starts on what there is.
 *
 * @returns the folders with the old data; where there was none, none
 */
export async function* swapSteps({ folders, staged, at }: Swap): AsyncGenerator<string, string[], void> {
  const kept = `${KEPT_PREFIX}${at.toISOString().replace(/[-:.]/g, "")}`;
  const record: SwapRecord = {
    directories: folders.map(({ real }) => real),
    kept,
    folders: Object.fromEntries(
      await Promise.all(
        folders.map(async ({ role, version2 }) => {
          const made = (await inodeOf(version2)) === null;
          return [role, { made, files: await newFiles(stagedIn(staged, role)) }];
        }),
      ),
    ),
  };
  for (const folder of folders) {
    const lock = join(staged[folder.role] ?? "", LOCK_FILE);
    await writeFile(lock, `${EXPLANATION}${JSON.stringify(record)}\n`, { mode: 0o640, flush: true });
    if (process.getuid?.() === 0) await lchown(lock, folder.owner.uid, folder.owner.gid);
    if (record.folders[folder.role]?.made === true) {
      // An empty version-2 would be no less of a start for a server than none.
      const made = join(staged[folder.role] ?? "", "locked");
      await makeFolder(made, folder);
      await rename(lock, join(made, LOCK_FILE));
      await rename(made, folder.version2);
    } else {
      await rename(lock, join(folder.version2, LOCK_FILE));
    }
    await syncFolders([folder.version2, folder.directory]);
    yield `locked ${folder.role}`;
  }
  const keptFolders: string[] = [];
  for (const folder of folders) {
    const names = await namesIn(folder.version2);
    if (names.length === 0) continue;
    const path = join(folder.directory, kept);
    keptFolders.push(path);
    await makeFolder(path, folder);
    await syncFolders([folder.directory]);
    yield `made ${kept}`;
    for (const name of names) {
      await rename(join(folder.version2, name), join(path, name));
      yield `kept ${name}`;
    }
    await syncFolders([path, folder.version2]);
  }
  for (const { role, version2 } of folders) {
    const from = stagedIn(staged, role);
    for (const name of await namesIn(from)) {
      await rename(join(from, name), join(version2, name));
      yield `placed ${name}`;
    }
    await syncFolders([version2]);
  }
  for (const { role, version2 } of folders.toReversed()) {
    await rm(join(version2, LOCK_FILE));
    yield `unlocked ${role}`;
    // With the last lock all is done; if its removal should not be durable, no server starts, and the next run tells.
    await syncFolders([version2]).catch(() => {});
  }
  return keptFolders;
}

/**
 * Puts the old data back where a swap did not come to its end, and removes the new. Can be ended at any point, too.
 *
 * @returns whether there was anything to undo
 * @throws BackypError `ERR_CONFIG_INVALID` where the swap was one of other directories
 * @throws BackypError `ERR_TARGET_UNAVAILABLE`
 */
export async function undoSwap(folders: readonly MemberFolder[]): Promise<boolean> {
  let record: SwapRecord | null = null;
  for (const folder of folders) record ??= await readLock(folder);
  if (record === null) return false;
  const { directories, kept } = record;
  const isSame = directories.length === folders.length && folders.every(({ real }) => directories.includes(real));
  if (!isSame) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `a restore that replaced the data in ${directories.join(" and ")} did not end; name the same directories again`,
      { details: { directories } },
    );
  }
  for (const { role, directory, version2 } of folders) {
    for (const [name, inode] of record.folders[role]?.files ?? []) {
      const path = join(version2, name);
      if ((await inodeOf(path)) === inode) await rm(path, { recursive: true });
    }
    const from = join(directory, kept);
    const keptIs = await lstat(from).catch(unlessMissing);
    if (keptIs?.isDirectory() === false)
      throw unavailable(directory, `${from}, where its data was moved, is no folder`);
    for (const name of await namesIn(from)) {
      const to = join(version2, name);
      if ((await inodeOf(to)) !== null) {
        throw unavailable(
          directory,
          `${join(from, name)} is to be put back, but ${to} is there; take one of them away`,
        );
      }
      await rename(join(from, name), to);
    }
    await syncFolders([version2]);
    await rmdir(from).catch(unlessMissing);
    await syncFolders([directory]);
  }
  for (const { role, version2 } of folders.toReversed()) {
    await rm(join(version2, LOCK_FILE), { force: true });
    if (record.folders[role]?.made === true) await rmdir(version2).catch(unlessMissing);
    else await syncFolders([version2]);
  }
  return true;
}

async function readLock({ version2, directory }: MemberFolder): Promise<SwapRecord | null> {
  const path = join(version2, LOCK_FILE);
  const text = await readStart(path, LONGEST_LOCK_BYTES);
  if (text === null) return null;
  try {
    if (!text.startsWith(EXPLANATION)) throw new SyntaxError("it does not begin as it should");
    return parseRecord(text.slice(EXPLANATION.length));
  } catch (cause) {
    throw unavailable(
      directory,
      `${path} is there, which keeps servers from starting while data is replaced, but it cannot be understood: ` +
        `${(cause as Error).message}. Old data, if any was moved, is in ${join(directory, KEPT_PREFIX)}*; move it back, and remove that file`,
      cause,
    );
  }
}

/** What it names is moved and removed, perhaps by root: nothing outside of the folders. */
function parseRecord(text: string): SwapRecord {
  const record = recordSchema.safeParse(JSON.parse(text));
  if (!record.success) throw new SyntaxError(z.prettifyError(record.error).replaceAll("\n", " "));
  return record.data;
}

/** At most so much of a file; null if there is none. */
async function readStart(path: string, bytes: number): Promise<string | null> {
  const file = await open(path, "r").catch((error: unknown) => {
    if (systemErrorCode(error) === "ENOENT" || systemErrorCode(error) === "ENOTDIR") return null;
    throw error;
  });
  if (file === null) return null;
  try {
    let text = "";
    for await (const chunk of file.createReadStream({ end: bytes - 1, autoClose: false })) text += chunk;
    return text;
  } finally {
    await file.close();
  }
}

async function newFiles(folder: string): Promise<NewFile[]> {
  return Promise.all((await namesIn(folder)).map(async (name) => [name, (await inodeOf(join(folder, name))) ?? ""]));
}

function stagedIn(staged: RestoreFolders, role: string): string {
  return join(staged[role] ?? "", "version-2");
}

async function inodeOf(path: string): Promise<string | null> {
  return lstat(path, { bigint: true }).then(({ ino }) => String(ino), unlessMissing);
}

/** Without the lock file; nothing, where there is no such folder. */
async function namesIn(folder: string): Promise<string[]> {
  const names = (await readdir(folder).catch(unlessMissing)) ?? [];
  return names.filter((name) => name !== LOCK_FILE).sort();
}

async function makeFolder(path: string, { owner, mode }: MemberFolder): Promise<void> {
  await mkdir(path, { mode });
  // Without what the umask takes away: going back, it is to be as it was.
  await chmod(path, mode);
  if (process.getuid?.() === 0) await lchown(path, owner.uid, owner.gid);
}

function unlessMissing(error: unknown): null {
  if (systemErrorCode(error) === "ENOENT") return null;
  throw error;
}
