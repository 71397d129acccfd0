import { realpath } from "node:fs/promises";
import { join } from "node:path";
import { abortError, BackypError } from "@zk-backyp/core";
import type { Location } from "../locate.ts";
import { takenBack } from "../taken-back.ts";
import { replaceByCopy } from "./freeze-copy.ts";
import { rewrittenAtStart } from "./freeze-rewritten.ts";
import { type Held, LinkedFolder } from "./links.ts";
import { LinksHome, type LinksPlace, placeFor, removeRuins } from "./links-place.ts";

/** A server's data files as they were while it was stopped, whatever it does with its own names later. */
export interface Frozen {
  /** Stands for {@link Location.snapshots}. */
  readonly snapshots: string | null;
  /** Stands for {@link Location.logs}: the same path as `snapshots` where the server has one directory. */
  readonly logs: string | null;
  /** Links and copies. */
  readonly files: number;
  /** On the disk: logs, which are padded with holes, count as what they take. */
  readonly bytes: number;
  /** Snapshots that a start would have written once more in place. */
  readonly copied: readonly CopiedSnapshot[];
}

interface CopiedSnapshot {
  readonly file: string;
  readonly bytes: number;
  /** The server was down for the copying too: it wrote this snapshot between `warm` and its stop. */
  readonly whileStopped: boolean;
}

export interface FreezeOptions {
  /** Names the run: a UUID. */
  readonly run: string;
  /** Where the links go instead of beside the data: on the same mount. Made if it is not there. */
  readonly linkDir?: string;
  readonly signal: AbortSignal;
}

/** Holds a server's data files by hard links, for one run. Its methods are called one after the other. */
export interface Freeze {
  /**
   * While the server runs: links everything, so that what cannot be linked is found before anything is stopped; and
   * copies the newest snapshot if the server would write it once more in place when it starts.
   *
   * @throws BackypError `ERR_SOURCE_UNAVAILABLE`, `ERR_ABORTED`
   */
  warm(): Promise<void>;
  /**
   * While it is stopped: makes the links those to the files that there are now. That takes a few system calls for each
   * file, whatever its size, unless a snapshot has to be copied that was written since `warm`.
   *
   * @throws BackypError `ERR_SOURCE_UNAVAILABLE`, `ERR_ABORTED`
   * @throws BackypError `ERR_SOURCE_CHANGED` when a file is written to, so that the server is not stopped
   */
  complete(): Promise<Frozen>;
  /**
   * Once it serves again: leaves out the logs that it took back when it joined its ensemble again, because their
   * transactions were never agreed on. Returns their names. (What it cut off from a log that it kept is gone from the
   * link too.)
   */
  dropTakenBack(): Promise<readonly string[]>;
  /** Removes the links, also after a failure; more than once is fine. */
  drop(): Promise<void>;
}

/**
 * Makes the folders for the links: `.zk-backyp/links-<run>` beside each `version-2` folder, or one in `linkDir`. Nothing
 * is left of them if that fails.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function openFreeze(location: Location, options: FreezeOptions): Promise<Freeze> {
  const homes = new Map<string, LinksHome>();
  const folderFor = async (version2: string | null, name: string): Promise<LinkedFolder | null> => {
    if (version2 === null) return null;
    const place = await placeFor(version2, options.linkDir);
    const home = homes.get(place.path) ?? (await LinksHome.make(place, options.run));
    homes.set(place.path, home);
    return new LinkedFolder(await home.makeFolder(name), version2);
  };
  try {
    const snapshots = await folderFor(location.snapshots, "data");
    const logs = (await isOneFolder(location)) ? snapshots : await folderFor(location.logs, "log");
    return new LinkFreeze(snapshots, logs, [...homes.values()], options.signal);
  } catch (error) {
    for (const home of homes.values()) await home.remove();
    throw error;
  }
}

/**
 * Removes what runs have left that ended before they could: their links keep the space of purged files from being freed.
 * Returns the paths of their folders. Those of a process that is alive stay.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function dropLeftovers(location: Location, linkDir?: string): Promise<readonly string[]> {
  const places = new Map<string, LinksPlace>();
  for (const version2 of [location.snapshots, location.logs]) {
    if (version2 === null) continue;
    const place = await placeFor(version2, linkDir);
    places.set(place.path, place);
  }
  const removed: string[] = [];
  for (const place of places.values()) removed.push(...(await removeRuins(place)));
  return removed;
}

/** Two names of one folder are one, too. */
async function isOneFolder({ snapshots, logs }: Location): Promise<boolean> {
  if (snapshots === null || logs === null || snapshots === logs) return snapshots === logs;
  const [one, other] = await Promise.all([snapshots, logs].map((path) => realpath(path).catch(() => path)));
  return one === other;
}

class LinkFreeze implements Freeze {
  readonly #snapshots: LinkedFolder | null;
  readonly #logs: LinkedFolder | null;
  readonly #homes: readonly LinksHome[];
  readonly #signal: AbortSignal;
  readonly #copiedWhileStopped = new Set<string>();

  constructor(
    snapshots: LinkedFolder | null,
    logs: LinkedFolder | null,
    homes: readonly LinksHome[],
    signal: AbortSignal,
  ) {
    this.#snapshots = snapshots;
    this.#logs = logs;
    this.#homes = homes;
    this.#signal = signal;
  }

  async warm(): Promise<void> {
    await this.#follow();
    for (const { snapshot, folder } of await this.#toBeCopied()) {
      // If the server was writing it, it is copied again when it is stopped.
      folder.setCopied(snapshot, (await this.#copy(snapshot, folder)) ?? "unfinished");
    }
  }

  async complete(): Promise<Frozen> {
    await this.#follow();
    for (const { snapshot, folder } of await this.#toBeCopied()) {
      const state = await this.#copy(snapshot, folder);
      if (state === null) {
        throw new BackypError(
          "ERR_SOURCE_CHANGED",
          `${snapshot.file} was written to while the server was to be stopped: does something else run on its data?`,
        );
      }
      folder.setCopied(snapshot, state);
      this.#copiedWhileStopped.add(snapshot.file);
    }
    const held = [...this.#folders()].flatMap((folder) => folder.held);
    return {
      snapshots: this.#snapshots?.path ?? null,
      logs: this.#logs?.path ?? null,
      files: held.length,
      bytes: Number(held.reduce((sum, { stats }) => sum + stats.blocks * 512n, 0n)),
      copied: held
        .filter(({ copyOf }) => copyOf !== null)
        .map(({ file, stats }) => ({
          file,
          bytes: Number(stats.size),
          whileStopped: this.#copiedWhileStopped.has(file),
        })),
    };
  }

  async dropTakenBack(): Promise<readonly string[]> {
    const folder = this.#logs;
    if (folder === null) return [];
    const logs = folder.held.filter(({ kind }) => kind === "log");
    const files = (await Array.fromAsync(takenBack(logs, (log) => folder.nameOf(log)))).map(({ file }) => file);
    for (const file of files) await folder.leaveOut(file);
    return files;
  }

  async drop(): Promise<void> {
    let failure: unknown;
    for (const home of this.#homes) {
      await home.remove().catch((error: unknown) => {
        failure ??= error;
      });
    }
    if (failure !== undefined) throw failure;
  }

  #folders(): Set<LinkedFolder> {
    return new Set([this.#snapshots, this.#logs].filter((folder) => folder !== null));
  }

  async #follow(): Promise<void> {
    for (const folder of this.#folders()) {
      if (this.#signal.aborted) throw abortError(this.#signal);
      await folder.follow();
    }
  }

  async #toBeCopied(): Promise<{ snapshot: Held; folder: LinkedFolder }[]> {
    const folder = this.#snapshots;
    if (folder === null) return [];
    const logs = this.#logs;
    const rewritten = await rewrittenAtStart(
      folder.held.filter(({ kind }) => kind === "snapshot"),
      (logs?.held ?? []).flatMap((file) =>
        logs === null || file.kind !== "log" ? [] : [{ ...file, path: logs.pathOf(file) }],
      ),
      this.#signal,
    );
    return rewritten.filter(({ copyOf }) => copyOf === null).map((snapshot) => ({ snapshot, folder }));
  }

  /** Through the link: what is purged meanwhile can be copied all the same. */
  #copy(snapshot: Held, folder: LinkedFolder): Promise<string | null> {
    return replaceByCopy(folder.pathOf(snapshot), join(folder.path, "..", "copying"), this.#signal);
  }
}
