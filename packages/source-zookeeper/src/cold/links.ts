import type { BigIntStats } from "node:fs";
import { link, lstat, realpath, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "@zk-backyp/core";
import { type ListedFile, listDataFiles } from "../data-files.ts";
import { unreadable } from "../locate.ts";
import { cannotLink, cannotRemove } from "./links-errors.ts";

/** A name in a {@link LinkedFolder}. */
export interface Held extends ListedFile {
  /** Of the server's file, when it was looked at last. */
  readonly stats: BigIntStats;
  /** Null for a hard link. For a copy, the state of the server's file that it is a copy of. */
  readonly copyOf: string | null;
}

/**
 * A folder with a hard link to each data file of another folder.
 *
 * Nothing is synced to the disk: the links are for one run, and after a power failure there is no such run.
 */
export class LinkedFolder {
  readonly path: string;
  readonly #source: string;
  readonly #held = new Map<string, Held>();

  /** `path` is an empty folder, and nobody else's. */
  constructor(path: string, source: string) {
    this.path = path;
    this.#source = source;
  }

  /** In the order of their zxids. */
  get held(): Held[] {
    return [...this.#held.values()].toSorted((a, b) => (a.zxid < b.zxid ? -1 : a.zxid > b.zxid ? 1 : 0));
  }

  pathOf({ file }: Pick<Held, "file">): string {
    return join(this.path, file);
  }

  /**
   * Links what is new or was replaced, and leaves out what is not there any more, so that the folder holds the files that
   * the other one holds now. A copy stays as long as the server's file is what was copied. Reads no file.
   *
   * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
   */
  async follow(): Promise<void> {
    const listed = [...(await listDataFiles(this.#source, "snapshot")), ...(await listDataFiles(this.#source, "log"))];
    const names = new Set(listed.map(({ file }) => file));
    const gone = [...this.#held.keys()].filter((name) => !names.has(name));
    // To its end, also where one fails: whoever cleans up after that shall not do so beside those that still run.
    const done = await Promise.allSettled([
      ...listed.map((file) => this.#followFile(file)),
      ...gone.map((name) => this.leaveOut(name)),
    ]);
    for (const result of done) if (result.status === "rejected") throw result.reason;
  }

  async #followFile(listed: ListedFile): Promise<void> {
    const stats = await this.#look(listed.file);
    const held = this.#held.get(listed.file);
    if (stats === null) {
      await this.leaveOut(listed.file);
    } else if (held !== undefined && isHeld(held, stats)) {
      this.#held.set(listed.file, { ...held, stats });
    } else {
      await this.leaveOut(listed.file);
      const linked = await this.#link(listed.file);
      if (linked !== null) this.#held.set(listed.file, { ...listed, stats: linked, copyOf: null });
    }
  }

  /** What is linked, which may be another file than a moment before. Null if there is none any more. */
  async #link(name: string): Promise<BigIntStats | null> {
    const from = join(this.#source, name);
    const to = join(this.path, name);
    try {
      await link(from, to);
      const linked = await lstat(to, { bigint: true });
      if (!linked.isSymbolicLink()) return linked;
      // The link is one to a symbolic link, not to the file.
      await unlink(to);
      await link(await realpath(from), to);
      return await lstat(to, { bigint: true });
    } catch (cause) {
      if (systemErrorCode(cause) === "ENOENT" && (await this.#look(name)) === null) return null;
      throw await cannotLink(cause, from, to);
    }
  }

  /** The link has been replaced by a copy of a file that was in this state. */
  setCopied({ file }: Held, copyOf: string): void {
    const held = this.#held.get(file);
    if (held !== undefined) this.#held.set(file, { ...held, copyOf });
  }

  /** Forgets a name, and removes its link. */
  async leaveOut(name: string): Promise<void> {
    if (!this.#held.delete(name)) return;
    const path = join(this.path, name);
    await unlink(path).catch((cause: unknown) => {
      if (systemErrorCode(cause) !== "ENOENT") throw cannotRemove(cause, path);
    });
  }

  /** What has become of a name that is held as a link, in the server's folder. */
  async nameOf(held: Held): Promise<"kept" | "replaced" | "gone"> {
    const now = await this.#look(held.file);
    if (now === null) return "gone";
    return isSameFile(held.stats, now) ? "kept" : "replaced";
  }

  async #look(name: string): Promise<BigIntStats | null> {
    const path = join(this.#source, name);
    try {
      return await stat(path, { bigint: true });
    } catch (cause) {
      if (systemErrorCode(cause) === "ENOENT") return null;
      throw await unreadable(path, cause);
    }
  }
}

function isHeld({ stats, copyOf }: Held, now: BigIntStats): boolean {
  return copyOf === null ? isSameFile(stats, now) : copyOf === stateOf(now);
}

function isSameFile(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.dev === b.dev;
}

/** Changes when a file is written to, or is another one. */
export function stateOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join(" ");
}
