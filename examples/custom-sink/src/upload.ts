import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { abortable, abortError, type Bytes, type ObjectInfo, type PutOptions, type Sink } from "@zk-backyp/core";
import type { FileStat, WebDAVClient } from "webdav";
import { statusOf, webdavError } from "./webdav-errors.ts";

/** Where objects are uploaded to before they get their name. No key can name it: `~` belongs to no key. */
export const TEMPORARY = ".tmp~";
/** The last steps of a put have their own time limit: they must not be left half done when the run is aborted. */
const FINISH_TIMEOUT_MS = 60_000;

/** What `put` does: upload under a temporary name, look at what arrived, then MOVE it to its key in one step. */
export function createUpload(client: WebDAVClient, location: string): Sink["put"] {
  const made = new Set<string>();

  /** Makes the collections above `path`. */
  async function makeParents(path: string, signal: AbortSignal): Promise<void> {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    if (parent === "" || made.has(parent)) return;
    await makeParents(parent, signal);
    await client.createDirectory(parent, { signal }).catch((error) => {
      // "Method not allowed" is how MKCOL says that the collection is there already.
      if (statusOf(error) !== 405) throw error;
    });
    made.add(parent);
  }

  async function upload(key: string, body: Bytes, { signal, ifAbsent = false }: PutOptions): Promise<ObjectInfo> {
    if (signal.aborted) throw abortError(signal);
    const temporary = `${TEMPORARY}/${randomUUID()}`;
    const finish = { signal: AbortSignal.timeout(FINISH_TIMEOUT_MS) };
    const stop = new AbortController();
    const { bytes, seen } = endingEarly(abortable(body, AbortSignal.any([signal, stop.signal])));
    try {
      if (ifAbsent && (await client.exists(key, { signal }))) throw Object.assign(new Error(), { status: 412 });
      await makeParents(temporary, signal);
      await makeParents(key, signal);
      const stream = Readable.from(bytes, { objectMode: false });
      await client.putFileContents(temporary, stream, { signal: later(signal, stop.signal) });
      if (seen.failure !== undefined) throw seen.failure;
      const { size, lastmod } = (await client.stat(temporary, { signal })) as FileStat;
      if (size !== seen.size) throw new Error(`the server kept ${size} of ${seen.size} bytes`);
      if (signal.aborted) throw abortError(signal);
      await client.moveFile(temporary, key, { ...finish, overwrite: !ifAbsent });
      return { key, size, modifiedAt: new Date(lastmod) };
    } catch (error) {
      const failure = error === seen.failure ? error : webdavError(`store ${key}`, location, error, signal);
      // In this order: a body that is stuck can only be closed once it is told to stop.
      stop.abort();
      await bytes.return();
      await client.deleteFile(temporary, finish).catch(() => {});
      made.clear();
      throw failure;
    } finally {
      stop.abort();
    }
  }

  return upload;
}

/**
 * The bytes of `source`, counted. When it fails they end, and the failure is noted: an upload that ends leaves a file
 * that can be deleted, one whose connection is cut may leave a file that appears only after the attempt to delete it.
 */
function endingEarly(source: Bytes) {
  const seen: { size: number; failure?: unknown } = { size: 0 };
  async function* pass(): AsyncGenerator<Uint8Array, void, void> {
    try {
      for await (const chunk of source) {
        seen.size += chunk.byteLength;
        if (chunk.byteLength > 0) yield chunk;
      }
    } catch (error) {
      seen.failure = error;
    }
  }
  return { bytes: pass(), seen };
}

/** Aborts a moment after `signal`, for a server that does not answer to the end of an upload; until `over` it watches. */
function later(signal: AbortSignal, over: AbortSignal): AbortSignal {
  const late = new AbortController();
  signal.addEventListener("abort", () => setTimeout(() => late.abort(), 500).unref(), { once: true, signal: over });
  return late.signal;
}
