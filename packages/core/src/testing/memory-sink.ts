import { abortable } from "../bytes.ts";
import { abortError, BackypError } from "../errors.ts";
import { type ObjectInfo, requireKey, type Sink } from "../sink.ts";

/** Size in bytes of the chunks that {@link memorySink} reads out: small, so that tests see more than one. */
const READ_CHUNK_BYTES = 64 * 1024;

/**
 * A sink that keeps its objects in memory, for tests. It is the shortest sink that passes the sink contract, so it
 * also serves as the model to write another one from.
 */
export function memorySink(): Sink {
  const objects = new Map<string, { readonly bytes: Buffer; readonly info: ObjectInfo }>();

  function refuseTaken(key: string): void {
    if (!objects.has(key)) return;
    throw new BackypError("ERR_OBJECT_EXISTS", `${key} exists already in memory:; choose another key`, {
      details: { key },
    });
  }

  return {
    location: "memory:",

    async put(key, body, { signal, ifAbsent = false }) {
      requireKey(key);
      if (ifAbsent) refuseTaken(key);
      const chunks: Buffer[] = [];
      for await (const chunk of abortable(body, signal)) chunks.push(Buffer.from(chunk));
      if (signal.aborted) throw abortError(signal);
      // Asked again: another put may have taken the key while this one was reading.
      if (ifAbsent) refuseTaken(key);
      const bytes = Buffer.concat(chunks);
      const info = { key, size: bytes.byteLength, modifiedAt: new Date() };
      objects.set(key, { bytes, info });
      return info;
    },

    async *get(key, { signal, range = { start: 0 } }) {
      requireKey(key);
      if (signal.aborted) throw abortError(signal);
      const bytes = objects.get(key)?.bytes;
      if (bytes === undefined) {
        throw new BackypError("ERR_OBJECT_NOT_FOUND", `there is no object ${key} in memory:`, { details: { key } });
      }
      const end = Math.min(range.end ?? bytes.byteLength, bytes.byteLength);
      for (let offset = range.start; offset < end; offset += READ_CHUNK_BYTES) {
        if (signal.aborted) throw abortError(signal);
        // A copy: the chunk is the consumer's, who may write to it.
        yield Buffer.from(bytes.subarray(offset, Math.min(offset + READ_CHUNK_BYTES, end)));
      }
    },

    async *list(prefix, { signal, after = "" }) {
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
      for (const key of keys) {
        if (signal.aborted) throw abortError(signal);
        const object = objects.get(key);
        if (object !== undefined) yield object.info;
      }
    },

    async delete(key) {
      requireKey(key);
      objects.delete(key);
    },

    async close() {},
  };
}
