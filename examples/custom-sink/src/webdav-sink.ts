import { abortable, BackypError, type Bytes, type ObjectInfo, requireKey, type Sink } from "@zk-backyp/core";
import { createClient, type FileStat } from "webdav";
import type { WebdavSinkOptions } from "./options.ts";
import { createUpload, TEMPORARY } from "./upload.ts";
import { statusOf, webdavError } from "./webdav-errors.ts";

/** A sink that keeps every object as a file of its key below a WebDAV collection, which must exist. */
export function createWebdavSink({ url, username, password }: WebdavSinkOptions): Sink {
  const location = url.replace(/\/+$/, "");
  const client = createClient(url, username === undefined ? {} : { username, password: password ?? "" });
  const upload = createUpload(client, location);
  async function* list(folder: string, prefix: string, signal: AbortSignal): AsyncGenerator<ObjectInfo, void, void> {
    const nodes = (await client.getDirectoryContents(`/${folder}`, { signal }))
      // With its slash a collection takes the place its keys have: "a.b" comes before "a/x", and "a/x" before "a0".
      .map((stat) => ({ ...stat, node: `${folder}${stat.basename}${stat.type === "directory" ? "/" : ""}` }))
      .filter(({ node }) => node !== `${TEMPORARY}/`)
      .filter(({ node }) => node.startsWith(prefix) || (node.endsWith("/") && prefix.startsWith(node)))
      .sort((a, b) => (a.node < b.node ? -1 : 1));
    for (const { node, size, lastmod } of nodes) {
      if (node.endsWith("/")) yield* list(node, prefix, signal);
      else yield { key: node, size, modifiedAt: new Date(lastmod) };
    }
  }

  return {
    location,

    put: async (key, body, options) => upload(requireKey(key), body, options),

    async *get(key, { signal, range }) {
      requireKey(key);
      const { start, end = Number.POSITIVE_INFINITY } = range ?? { start: 0 };
      const last = Number.isFinite(end) ? Math.max(start, end - 1) : "";
      const part: Record<string, string> = range === undefined ? {} : { Range: `bytes=${start}-${last}` };
      try {
        const headers = { "Accept-Encoding": "identity", ...part };
        const response = await client.customRequest(key, { method: "GET", headers, signal });
        // A server may answer with other bytes than it was asked for, or with all of them: count from where it begins.
        let offset = Number(/^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1] ?? 0);
        const { body } = response as unknown as { readonly body: Bytes };
        for await (const chunk of abortable(body, signal)) {
          const wanted = chunk.subarray(Math.max(0, start - offset), Math.max(0, end - offset));
          offset += chunk.byteLength;
          if (wanted.byteLength > 0) yield wanted;
          if (offset >= end) return;
        }
      } catch (error) {
        // "Range not satisfiable": the object ends before it.
        if (statusOf(error) === 416) return;
        if ([404, 405].includes(statusOf(error) ?? 0)) {
          throw new BackypError("ERR_OBJECT_NOT_FOUND", `there is no object ${key} in ${location}`, { cause: error });
        }
        throw webdavError(`read ${key}`, location, error, signal);
      }
    },

    async *list(prefix, { signal }) {
      try {
        yield* list("", prefix, signal);
      } catch (error) {
        throw webdavError("list", location, error, signal);
      }
    },

    async delete(key, { signal }) {
      requireKey(key);
      try {
        // A collection is no object, and DELETE would take everything in it.
        const { type } = (await client.stat(key, { signal })) as FileStat;
        if (type === "file") await client.deleteFile(key, { signal });
      } catch (error) {
        if (statusOf(error) !== 404) throw webdavError(`delete ${key}`, location, error, signal);
      }
    },

    async close() {},
  };
}
