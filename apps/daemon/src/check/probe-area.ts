import type { ObjectInfo, Sink } from "@zk-backyp/core";

/** Stands for `/` in keys: folders of a directory's own would stay behind when the objects in them are gone. */
const SLASH = "+_+";

/** A part of a sink as a sink of its own, flat in one folder of it. Closing it closes nothing. */
export function probeArea(sink: Sink, start: string): Sink {
  const outside = (key: string): string => start + key.replaceAll("/", SLASH);
  const inside = (info: ObjectInfo): ObjectInfo => ({
    ...info,
    key: info.key.slice(start.length).replaceAll(SLASH, "/"),
  });
  return {
    location: sink.location,
    put: async (key, body, options) => inside(await sink.put(outside(key), body, options)),
    get: (key, options) => sink.get(outside(key), options),
    async *list(prefix, { signal }) {
      for await (const info of sink.list(outside(prefix), { signal })) yield inside(info);
    },
    delete: (key, options) => sink.delete(outside(key), options),
    async close() {},
  };
}
