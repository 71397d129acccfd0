import { keys, prefixOfBackupId, requirePrefix } from "./backup-id.ts";
import { collect } from "./bytes.ts";
import { BackypError, isBackypError } from "./errors.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import type { Sink } from "./sink.ts";

/** A manifest lists its files, of which a ZooKeeper backup has tens; this is far beyond any that is real. */
const MAX_MANIFEST_BYTES = 8 * 1024 * 1024;
const MANIFESTS_IN_FLIGHT = 8;

/** One backup in a listing. A manifest that cannot be read does not hide the others: it is listed with its error. */
export type CatalogItem =
  | { readonly id: string; readonly manifest: Manifest }
  | { readonly id: string; readonly error: BackypError };

/** The backups of one series in one sink, read from their manifests. Keeps nothing: each call asks the sink. */
export interface Catalog {
  /** Ids, oldest first. */
  ids(options?: { readonly signal?: AbortSignal }): Promise<readonly string[]>;
  /** Every backup, oldest first. */
  list(options?: { readonly signal?: AbortSignal }): AsyncIterable<CatalogItem>;
  /**
   * The manifest of `id`, or of the newest backup for `"latest"`.
   *
   * @throws BackypError `ERR_BACKUP_NOT_FOUND`, `ERR_MANIFEST_INVALID`, `ERR_MANIFEST_UNSUPPORTED`
   */
  load(id: string, options?: { readonly signal?: AbortSignal }): Promise<Manifest>;
  /**
   * `id`, or the id of the newest backup for `"latest"`, also where its manifest cannot be read.
   *
   * @throws BackypError `ERR_BACKUP_NOT_FOUND`
   */
  resolve(id: string, options?: { readonly signal?: AbortSignal }): Promise<string>;
}

/** Opens the catalog of the series `prefix` in `sink`. The sink stays the caller's to close. */
export function openCatalog({ sink, prefix }: { readonly sink: Sink; readonly prefix: string }): Catalog {
  requirePrefix(prefix);

  const never = (): AbortSignal => new AbortController().signal;

  const ids: Catalog["ids"] = async ({ signal = never() } = {}) => {
    const found: string[] = [];
    const folder = keys.manifests(prefix);
    for await (const { key } of sink.list(folder, { signal })) {
      const id = key.slice(folder.length, -".json".length);
      // Whatever else somebody keeps there is no backup.
      if (key.endsWith(".json") && prefixOfBackupId(id) === prefix) found.push(id);
    }
    return found;
  };

  const read = async (id: string, signal: AbortSignal): Promise<Manifest> => {
    const key = keys.manifest(prefix, id);
    const manifest = parseManifest(await readText(key, signal), key);
    if (manifest.id === id && manifest.prefix === prefix) return manifest;
    throw new BackypError(
      "ERR_MANIFEST_INVALID",
      `the manifest ${key} says it is ${manifest.id} of ${manifest.prefix}: it was renamed or copied here`,
      { details: { manifest: key } },
    );
  };

  const readText = async (key: string, signal: AbortSignal): Promise<string> => {
    try {
      return (await collect(sink.get(key, { signal }), MAX_MANIFEST_BYTES)).toString("utf8");
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new BackypError("ERR_MANIFEST_INVALID", `the manifest ${key} is damaged: it has ${error.message}`, {
        cause: error,
        details: { manifest: key },
      });
    }
  };

  const notFound = (id: string): BackypError =>
    new BackypError(
      "ERR_BACKUP_NOT_FOUND",
      id === "latest"
        ? `there is no backup with the prefix ${prefix} in ${sink.location}`
        : `there is no backup ${id} with the prefix ${prefix} in ${sink.location}; "list" shows those that are there`,
      { details: { id, prefix, sink: sink.location } },
    );

  return {
    ids,

    async *list({ signal = never() } = {}) {
      const waiting: Promise<CatalogItem | null>[] = [];
      const readItem = async (id: string): Promise<CatalogItem | null> => {
        try {
          return { id, manifest: await read(id, signal) };
        } catch (error) {
          // Deleted between the listing and the reading: no longer a backup.
          if (isBackypError(error, "ERR_OBJECT_NOT_FOUND")) return null;
          if (isBackypError(error, "ERR_MANIFEST_INVALID") || isBackypError(error, "ERR_MANIFEST_UNSUPPORTED")) {
            return { id, error };
          }
          throw error;
        }
      };
      for (const id of await ids({ signal })) {
        const item = readItem(id);
        item.catch(() => {});
        waiting.push(item);
        if (waiting.length >= MANIFESTS_IN_FLIGHT) {
          const next = await waiting.shift();
          if (next) yield next;
        }
      }
      for (const item of waiting) {
        const next = await item;
        if (next) yield next;
      }
    },

    async load(id, { signal = never() } = {}) {
      const wanted = id === "latest" ? (await ids({ signal })).toReversed() : [id];
      for (const candidate of wanted) {
        if (prefixOfBackupId(candidate) !== prefix) break;
        try {
          return await read(candidate, signal);
        } catch (error) {
          // Of the latest ones: deleted between the listing and the reading.
          if (!isBackypError(error, "ERR_OBJECT_NOT_FOUND")) throw error;
        }
      }
      throw notFound(id);
    },

    async resolve(id, options) {
      const all = await ids(options);
      const found = id === "latest" ? all.at(-1) : all.find((there) => there === id);
      if (found === undefined) throw notFound(id);
      return found;
    },
  };
}
