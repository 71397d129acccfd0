import { backupId, keys, prefixOfBackupId, requirePrefix } from "./backup-id.ts";
import { collect } from "./bytes.ts";
import { type CatalogSummary, summarize } from "./catalog-summary.ts";
import { BackypError, isBackypError } from "./errors.ts";
import { hasObject } from "./has-object.ts";
import { HeldSummaries } from "./held-summaries.ts";
import { inOrder } from "./in-order.ts";
import { type Manifest, parseManifest } from "./manifest.ts";
import type { ObjectInfo, Sink } from "./sink.ts";

/** A manifest lists its files, of which a ZooKeeper backup has tens; this is far beyond any that is real. */
const MAX_MANIFEST_BYTES = 8 * 1024 * 1024;
/** What is read at once. More make a store with a long answer time no faster than its client is. */
const READS_AT_ONCE = 32;
const BYTES_AT_ONCE = 32 * 1024 * 1024;
/** How old in ms the newest backup is, mostly: where there is one, a sink need not list the older ones. */
const RECENT_MS = 7 * 24 * 3_600_000;

/** One backup in a listing. A manifest that cannot be read does not hide the others: it is listed with its error. */
export type CatalogItem =
  | { readonly id: string; readonly manifest: Manifest }
  | { readonly id: string; readonly error: BackypError };

/** The same, with a part of the manifest only. */
export type SummaryItem = CatalogSummary | { readonly id: string; readonly error: BackypError };

/**
 * The backups of one series in one sink, read from their manifests. Each call asks the sink, which alone says what is
 * there.
 */
export interface Catalog {
  /** Ids, oldest first. */
  ids(options?: { readonly signal?: AbortSignal }): Promise<readonly string[]>;
  /** Every backup, oldest first. Reads every manifest. */
  list(options?: { readonly signal?: AbortSignal }): AsyncIterable<CatalogItem>;
  /**
   * Every backup, or the `newest` so many, oldest first.
   *
   * Reads the manifests that are new, or of another size or time than when this catalog last read them; of the others it
   * has kept the summary. What cannot be read is read again each time.
   *
   * @throws BackypError `ERR_CONFIG_INVALID` if `newest` is no whole number from 1
   */
  summaries(options?: { readonly signal?: AbortSignal; readonly newest?: number }): AsyncIterable<SummaryItem>;
  /**
   * The manifest of `id`, or of the newest backup for `"latest"`, as it is in the sink now.
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

/** A manifest as the sink lists it. */
interface Listed {
  readonly id: string;
  readonly info: ObjectInfo;
}

/** Opens the catalog of the series `prefix` in `sink`. The sink stays the caller's to close. */
export function openCatalog({ sink, prefix }: { readonly sink: Sink; readonly prefix: string }): Catalog {
  requirePrefix(prefix);
  const summariesHeld = new HeldSummaries();

  const never = (): AbortSignal => new AbortController().signal;

  async function* listed(signal: AbortSignal, after?: string): AsyncGenerator<Listed, void, void> {
    const folder = keys.manifests(prefix);
    for await (const info of sink.list(folder, { signal, ...(after === undefined ? {} : { after }) })) {
      const { key } = info;
      const id = key.slice(folder.length, -".json".length);
      // Whatever else somebody keeps there is no backup.
      if (key.endsWith(".json") && prefixOfBackupId(id) === prefix) yield { id, info };
    }
  }

  async function* newestFirst(signal: AbortSignal): AsyncGenerator<Listed, void, void> {
    const since = keys.manifest(prefix, backupId(prefix, new Date(Date.now() - RECENT_MS)));
    const recent = await Array.fromAsync(listed(signal, since));
    yield* recent.toReversed();
    const [oldest] = recent;
    const all = await Array.fromAsync(listed(signal));
    yield* all.filter(({ id }) => oldest === undefined || id < oldest.id).toReversed();
  }

  /** The newest so many, oldest first. */
  async function* newestOf(count: number, signal: AbortSignal): AsyncGenerator<Listed, void, void> {
    const found: Listed[] = [];
    for await (const one of newestFirst(signal)) if (found.push(one) === count) break;
    yield* found.reverse();
  }

  const read = async (id: string, signal: AbortSignal): Promise<{ manifest: Manifest; bytes: number }> => {
    const key = keys.manifest(prefix, id);
    const content = await readContent(key, signal);
    const manifest = parseManifest(content.toString("utf8"), key);
    if (manifest.id === id && manifest.prefix === prefix) return { manifest, bytes: content.byteLength };
    throw new BackypError(
      "ERR_MANIFEST_INVALID",
      `the manifest ${key} says it is ${manifest.id} of ${manifest.prefix}: it was renamed or copied here`,
      { details: { manifest: key } },
    );
  };

  const readContent = async (key: string, signal: AbortSignal): Promise<Buffer> => {
    try {
      return await collect(sink.get(key, { signal }), MAX_MANIFEST_BYTES);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new BackypError("ERR_MANIFEST_INVALID", `the manifest ${key} is damaged: it has ${error.message}`, {
        cause: error,
        details: { manifest: key },
      });
    }
  };

  /** Does `work` for several at once. Yields in their order what it gives, or why a manifest cannot be read. */
  async function* forEach<Result>(
    manifests: AsyncIterable<Listed>,
    work: (one: Listed) => Promise<Result>,
  ): AsyncGenerator<Result | { readonly id: string; readonly error: BackypError }, void, void> {
    const results = inOrder(manifests, {
      atOnce: READS_AT_ONCE,
      maxWeight: BYTES_AT_ONCE,
      weightOf: ({ info }) => Math.min(info.size, MAX_MANIFEST_BYTES),
      async work(one) {
        try {
          return await work(one);
        } catch (error) {
          // Deleted between the listing and the reading: no longer a backup.
          if (isBackypError(error, "ERR_OBJECT_NOT_FOUND")) return null;
          if (isBackypError(error, "ERR_MANIFEST_INVALID") || isBackypError(error, "ERR_MANIFEST_UNSUPPORTED")) {
            return { id: one.id, error };
          }
          throw error;
        }
      },
    });
    for await (const result of results) if (result !== null) yield result;
  }

  const notFound = (id: string): BackypError =>
    new BackypError(
      "ERR_BACKUP_NOT_FOUND",
      id === "latest"
        ? `there is no backup with the prefix ${prefix} in ${sink.location}`
        : `there is no backup ${id} with the prefix ${prefix} in ${sink.location}; "list" shows those that are there`,
      { details: { id, prefix, sink: sink.location } },
    );

  return {
    async ids({ signal = never() } = {}) {
      const found: string[] = [];
      for await (const { id } of listed(signal)) found.push(id);
      return found;
    },

    list: ({ signal = never() } = {}) =>
      forEach(listed(signal), async ({ id }): Promise<CatalogItem> => {
        return { id, manifest: (await read(id, signal)).manifest };
      }),

    async *summaries({ signal = never(), newest } = {}) {
      if (newest !== undefined && !(Number.isSafeInteger(newest) && newest > 0)) {
        throw new BackypError("ERR_CONFIG_INVALID", `there are no newest ${newest} backups: use a whole number from 1`);
      }
      const listing = summariesHeld.begin();
      const manifests = newest === undefined ? listed(signal) : newestOf(newest, signal);
      yield* forEach(manifests, async ({ id, info }): Promise<SummaryItem> => {
        const held = summariesHeld.get(id, info, listing);
        if (held !== undefined) return held;
        const readAt = Date.now();
        const { manifest, bytes } = await read(id, signal);
        const summary = summarize(manifest);
        summariesHeld.put(summary, info, { listing, readAt, bytes });
        return summary;
      });
      if (newest === undefined) summariesHeld.end(listing);
    },

    async load(id, { signal = never() } = {}) {
      const wanted = id === "latest" ? newestFirst(signal) : [{ id }];
      for await (const { id: candidate } of wanted) {
        if (prefixOfBackupId(candidate) !== prefix) break;
        // Who asks for the whole wants it as it is now; and so does the next listing.
        summariesHeld.forget(candidate);
        try {
          return (await read(candidate, signal)).manifest;
        } catch (error) {
          // Of the latest ones: deleted between the listing and the reading.
          if (!isBackypError(error, "ERR_OBJECT_NOT_FOUND")) throw error;
        }
      }
      throw notFound(id);
    },

    async resolve(id, { signal = never() } = {}) {
      if (id === "latest") {
        for await (const newest of newestFirst(signal)) return newest.id;
      } else if (prefixOfBackupId(id) === prefix && (await hasObject(sink, keys.manifest(prefix, id), signal))) {
        return id;
      }
      throw notFound(id);
    },
  };
}
