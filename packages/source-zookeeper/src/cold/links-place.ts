import { lstat, mkdir, readdir, readFile, realpath, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { systemErrorCode } from "@zk-backyp/core";
import { unreadable } from "../locate.ts";
import {
  identityOf,
  isAlive,
  isSameProcess,
  type ProcessIdentity,
  parseIdentity,
} from "../stop-promise/process-identity.ts";
import { cannotMake, cannotRemove, unavailable } from "./links-errors.ts";

/** A folder that holds the links of runs. */
export interface LinksPlace {
  readonly path: string;
  /** Whether it is one that was not named by anybody, so that it is made and removed here. */
  readonly isOurs: boolean;
}

const OWNER_FILE = "owner.json";
/** A run makes its folder and says at once in it whose it is. One that is older than this and says nothing is a ruin. */
const NAMELESS_MS = 60_000;
/** What a run in another container has for its upload: whether it lives cannot be seen. */
const UNSEEN_MS = 24 * 3_600_000;

// Those of this process that are in use: that their owner is alive does not say it.
const inUse = new Set<string>();

/**
 * Where links to the files of a `version-2` folder go: `.zk-backyp` beside it, where no server looks. Beside what it
 * leads to, if it is a symbolic link to another file system.
 */
export async function placeFor(version2: string, linkDir: string | undefined): Promise<LinksPlace> {
  if (linkDir !== undefined) return { path: linkDir, isOurs: false };
  try {
    const [itself, above] = await Promise.all([stat(version2), stat(dirname(version2))]);
    const beside = itself.dev === above.dev ? version2 : await realpath(version2);
    return { path: join(dirname(beside), ".zk-backyp"), isOurs: true };
  } catch (cause) {
    throw await unreadable(version2, cause);
  }
}

/** The folder of one run, which only this user can enter. */
export class LinksHome {
  readonly path: string;
  readonly #place: LinksPlace;

  private constructor(path: string, place: LinksPlace) {
    this.path = path;
    this.#place = place;
  }

  /** @throws BackypError `ERR_SOURCE_UNAVAILABLE` */
  static async make(place: LinksPlace, run: string): Promise<LinksHome> {
    const home = new LinksHome(join(place.path, `links-${run}`), place);
    await makePlace(place);
    await makeFolder(home.path).catch(async (error: unknown) => {
      await removeIfEmpty(place);
      throw error;
    });
    inUse.add(home.path);
    const file = join(home.path, OWNER_FILE);
    try {
      await writeFile(file, `${JSON.stringify(await identityOf(process.pid))}\n`, { flag: "wx", mode: 0o600 });
    } catch (cause) {
      await home.remove().catch(() => {});
      throw await cannotMake(cause, file);
    }
    return home;
  }

  async makeFolder(name: string): Promise<string> {
    const path = join(this.path, name);
    await makeFolder(path);
    return path;
  }

  async remove(): Promise<void> {
    inUse.delete(this.path);
    await removeHome(this.path, this.#place);
  }
}

async function makePlace({ path, isOurs }: LinksPlace): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700, recursive: !isOurs });
  } catch (cause) {
    if (systemErrorCode(cause) !== "EEXIST") throw await cannotMake(cause, path);
  }
  // Beside the data, somebody with fewer rights than this process could have us write elsewhere.
  if (isOurs && !(await isFolder(path))) {
    throw unavailable(`${path} is not a folder; remove it, or set linkDir`, undefined, { path });
  }
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch(async (cause: unknown) => {
    throw await cannotMake(cause, path);
  });
}

/** Not one that a symbolic link leads to. */
async function isFolder(path: string): Promise<boolean> {
  return lstat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

async function removeHome(home: string, place: LinksPlace): Promise<void> {
  try {
    await rm(home, { recursive: true, force: true });
  } catch (cause) {
    throw cannotRemove(cause, home);
  }
  await removeIfEmpty(place);
}

async function removeIfEmpty({ path, isOurs }: LinksPlace): Promise<void> {
  if (isOurs) await rmdir(path).catch(() => {});
}

/** Removes the folders of runs that are over without having done so themselves. Returns their paths. */
export async function removeRuins(place: LinksPlace): Promise<string[]> {
  if (place.isOurs && !(await isFolder(place.path))) return [];
  const removed: string[] = [];
  for (const name of await namesIn(place.path)) {
    const path = join(place.path, name);
    if (!name.startsWith("links-") || !(await isFolder(path)) || (await hasOwner(path))) continue;
    await removeHome(path, place);
    removed.push(path);
  }
  return removed;
}

async function namesIn(path: string): Promise<string[]> {
  return readdir(path).catch(async (cause: unknown) => {
    if (systemErrorCode(cause) === "ENOENT") return [];
    throw await unreadable(path, cause);
  });
}

async function hasOwner(home: string): Promise<boolean> {
  const owner = await ownerOf(home);
  const made = await stat(home).catch(() => null);
  const isYoungerThan = (ms: number): boolean => made !== null && Math.abs(Date.now() - made.ctimeMs) < ms;
  if (owner === null) return isYoungerThan(NAMELESS_MS);
  if (isSameProcess(owner, await identityOf(process.pid))) return inUse.has(home);
  return isAlive(owner, isYoungerThan(UNSEEN_MS));
}

async function ownerOf(home: string): Promise<ProcessIdentity | null> {
  try {
    return parseIdentity(JSON.parse(await readFile(join(home, OWNER_FILE), "utf8")));
  } catch {
    return null;
  }
}
