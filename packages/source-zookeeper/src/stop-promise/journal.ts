import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { link, lstat, mkdir, open, readdir, rm, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { BackypError, isBackypError, syncFolders, systemErrorCode } from "@zk-backyp/core";
import { identityOf, isAlive, isSameProcess, type ProcessIdentity, parseIdentity } from "./process-identity.ts";

/** Says that a run may have stopped the node, so that somebody has to see to it that it runs again. */
export interface StopJournal {
  readonly formatVersion: 1;
  /** Names the run: a UUID. */
  readonly run: string;
  readonly owner: ProcessIdentity;
  /** What was stopped, for people: the control's name. */
  readonly node: string;
  /** When it was written: ISO 8601, UTC. */
  readonly at: string;
  /** When the node has to run again: ISO 8601, UTC. */
  readonly backBy: string;
}

/** A journal that is there and cannot be understood. The node may have been stopped all the same. */
export interface UnreadableJournal {
  readonly run: null;
  readonly reason: string;
}

/** The journal of one node: a file in a folder of ours. While it is there, a start of the node is owed. */
export interface JournalFile {
  readonly path: string;
  /**
   * Writes the journal; it is on the disk when this resolves. Nothing may be stopped before. It is a lock too: of two
   * processes only one succeeds, and one that was left behind has to be recovered first.
   *
   * @throws BackypError `ERR_BUSY` while there is a journal already
   * @throws BackypError `ERR_STOP_REFUSED` when it cannot be written
   */
  begin(about: { readonly node: string; readonly backInMs: number }): Promise<StopJournal>;
  /** Null: nothing is owed. */
  read(): Promise<StopJournal | UnreadableJournal | null>;
  /** Whether a process that lives is at it: another one, or a run of this one that has not ended. */
  isOwned(journal: StopJournal | UnreadableJournal): Promise<boolean>;
  /**
   * The debt is paid: removes the journal of this run, and no other. Null: one that cannot be read.
   *
   * @throws BackypError `ERR_STOP_REFUSED` when it cannot be removed
   */
  end(run: string | null): Promise<void>;
  /** This process stops caring for the run. The journal stays, for the recovery. */
  leave(run: string): void;
  /** What the guard of this run has done. */
  rescue(run: string | null): Promise<Rescue>;
}

/** `begun`: the guard is starting the node, or died over it. `done`: its starts were accepted, past the deadline. */
type Rescue = "none" | "begun" | "done";

// A journal has some 300 bytes. What is longer is none of ours.
const LONGEST_BYTES = 16_384;

/** The guard leaves these beside the journal, holding the run: one before it starts the node, one when it is done. */
const RESCUED = ".rescued";
const STARTED = ".started";

// The runs of this process that have not ended, by the journal's path and run: an owner's identity alone does not tell
// whether one run of it was given up while another is at work.
const underWay = new Set<string>();

/**
 * @param stateDir a folder for this alone, on a disk that survives a reboot. It is made with mode 0700 if it is missing;
 * the folder above it is not
 */
export function journalIn(stateDir: string): JournalFile {
  const path = join(stateDir, "stop.json");
  return {
    path,
    async begin({ node, backInMs }) {
      const owner = await identityOf(process.pid);
      const now = Date.now();
      const journal: StopJournal = {
        formatVersion: 1,
        run: randomUUID(),
        owner,
        node,
        at: new Date(now).toISOString(),
        backBy: new Date(now + backInMs).toISOString(),
      };
      try {
        await makeFolder(stateDir);
        await removeLeftovers(path);
        if (!(await createWhole(path, journal))) throw await busy(path);
      } catch (cause) {
        if (isBackypError(cause)) throw cause;
        throw refused(`cannot write the journal ${path}`, path, cause);
      }
      underWay.add(`${path}\0${journal.run}`);
      try {
        await removeMarks(path);
        await syncFolders([stateDir]);
      } catch (cause) {
        await unlink(path).catch(() => {});
        underWay.delete(`${path}\0${journal.run}`);
        throw refused(`cannot write the journal ${path}`, path, cause);
      }
      return journal;
    },
    read: () => readJournal(path),
    async isOwned(journal) {
      if (journal.run === null) return false;
      if (isSameProcess(journal.owner, await identityOf(process.pid))) return underWay.has(`${path}\0${journal.run}`);
      // One in another container is given the time that it has asked for. Then its guard, if it lives, has acted too.
      return isAlive(journal.owner, Date.now() < Date.parse(journal.backBy));
    },
    async end(run) {
      try {
        const found = await readJournal(path);
        if (found !== null && found.run === run) {
          await unlink(path);
          await syncFolders([stateDir]);
          // The journal first: marks without a journal mean nothing.
          await removeMarks(path);
        }
      } catch (cause) {
        if (systemErrorCode(cause) !== "ENOENT") {
          throw refused(`cannot remove the journal ${path}, although the node runs`, path, cause);
        }
      }
      underWay.delete(`${path}\0${run}`);
    },
    leave(run) {
      underWay.delete(`${path}\0${run}`);
    },
    async rescue(run) {
      if (await holds(path + STARTED, run)) return "done";
      return (await holds(path + RESCUED, run)) ? "begun" : "none";
    },
  };
}

function refused(what: string, path: string, cause: unknown): BackypError {
  const code = systemErrorCode(cause);
  const full = code === "ENOSPC" || code === "EDQUOT";
  const remedy = full ? "no space left; free some" : `${(cause as Error).message}; make its folder writable`;
  return new BackypError("ERR_STOP_REFUSED", `${what}: ${remedy}, or name another stateDir`, {
    cause,
    details: { path },
  });
}

async function busy(path: string): Promise<BackypError> {
  const found = await readJournal(path);
  if (found === null) return new BackypError("ERR_BUSY", `${path} was there a moment ago; try again`);
  if (found.run === null) {
    return new BackypError("ERR_BUSY", `the journal ${path} has to be recovered first: ${found.reason}`, {
      details: { path },
    });
  }
  const { pid } = found.owner;
  const state = (await isAlive(found.owner)) ? "is at work" : "is gone; what it left has to be recovered first";
  return new BackypError(
    "ERR_BUSY",
    `${found.node} was taken by process ${pid} at ${found.at}, which ${state} (${path})`,
    {
      details: { path, pid, run: found.run, at: found.at },
    },
  );
}

/** Only the last folder: what is above it may be missing because a disk is not mounted. */
async function makeFolder(stateDir: string): Promise<void> {
  try {
    await mkdir(stateDir, { mode: 0o700 });
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return;
    throw error;
  }
  // Without this a crash of the machine could lose the folder, and the journal in it.
  await syncFolders([dirname(stateDir)]);
}

/**
 * Whole from the first moment on: written under another name, which is then linked. link(2) replaces nothing: false
 * when the name is taken.
 */
async function createWhole(path: string, content: StopJournal): Promise<boolean> {
  const written = `${path}.${process.pid}.${content.run}.tmp`;
  try {
    const file = await open(written, "wx", 0o600);
    try {
      await file.writeFile(`${JSON.stringify(content)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await link(written, path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") return false;
    throw error;
  } finally {
    await rm(written, { force: true });
  }
}

/** What processes that died while they wrote a journal have left. */
async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder)) {
    const pid = /^stop\.json\.(\d+)\.[0-9a-f-]{36}\.tmp$/.exec(name)?.[1];
    if (pid === undefined) continue;
    // A reused pid only means that the file is removed by a later run.
    if (await isAlive({ pid: Number(pid), startTicks: null, bootId: null, pidNamespace: null })) continue;
    await rm(join(folder, name), { force: true });
  }
}

async function removeMarks(path: string): Promise<void> {
  for (const mark of [RESCUED, STARTED]) await rm(path + mark, { force: true });
}

async function readJournal(path: string): Promise<StopJournal | UnreadableJournal | null> {
  try {
    const text = await readShort(path);
    return text === null ? null : (understood(text) ?? { run: null, reason: "it is damaged" });
  } catch (error) {
    const code = systemErrorCode(error);
    // Another user's, who may be at work: not for us to recover.
    if (code === "EACCES" || code === "EPERM") {
      throw new BackypError(
        "ERR_STOP_REFUSED",
        `may not look for the journal ${path}: run as the user who has run backups here, or, if no such file is there, ` +
          `give ${dirname(path)} to this one (chown -R)`,
        { cause: error, details: { path } },
      );
    }
    return { run: null, reason: (error as Error).message };
  }
}

/** The content of a small regular file; null when there is none. */
async function readShort(path: string): Promise<string | null> {
  try {
    // Not blocked by a pipe of that name.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const bytes = Buffer.alloc(LONGEST_BYTES);
      const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, 0);
      return bytes.toString("utf8", 0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    // A link that leads nowhere is something that is there.
    if (systemErrorCode(error) === "ENOENT" && (await lstat(path).catch(() => null)) === null) return null;
    if (systemErrorCode(error) === "ENOTDIR") return null;
    throw error;
  }
}

function understood(text: string): StopJournal | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  // A later format is understood as far as recovery needs it.
  const { run, owner, node, at, backBy } = (value ?? {}) as Partial<Record<keyof StopJournal, unknown>>;
  const identity = parseIdentity(owner);
  if (typeof run !== "string" || typeof node !== "string" || typeof at !== "string") return null;
  if (typeof backBy !== "string" || identity === null) return null;
  return { formatVersion: 1, run, owner: identity, node, at, backBy };
}

async function holds(path: string, run: string | null): Promise<boolean> {
  const text = await readShort(path).catch(() => null);
  return text !== null && run !== null && text.startsWith(run);
}
