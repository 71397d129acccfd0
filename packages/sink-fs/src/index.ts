import { resolve } from "node:path";
import { defineSink, type JsonObject, parseWith, type SinkPlugin } from "@zk-backyp/core";
import { z } from "zod";
import { createFsSink } from "./fs-sink.ts";
import { type FsSinkOptions, fsSinkOptions, optionsFromUrl } from "./options.ts";

export { createFsSink } from "./fs-sink.ts";
export type { FsSinkOptions } from "./options.ts";

/** The plugin `fs`: `use: fs` in a configuration file, `file:` on the command line. */
const plugin: SinkPlugin<FsSinkOptions> = defineSink({
  name: "fs",
  parseOptions: (raw) => parseWith(fsSinkOptions, raw, "sink fs"),
  optionsJsonSchema: () => z.toJSONSchema(fsSinkOptions, { io: "input" }) as JsonObject,
  create: async ({ path }, { folder }) => createFsSink({ path: resolve(folder, path) }),
  optionsFromUrl,
});

export default plugin;
