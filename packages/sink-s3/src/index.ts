import { resolve } from "node:path";
import { defineSink, type JsonObject, parseWith, type SinkPlugin } from "@zk-backyp/core";
import { z } from "zod";
import { optionsFromUrl, type S3SinkOptions, s3SinkOptions } from "./options.ts";
import { createS3Sink } from "./s3-sink.ts";

export type { S3SinkOptions, ServerSideEncryption } from "./options.ts";
export { createS3Sink } from "./s3-sink.ts";

/** The plugin `s3`: `use: s3` in a configuration file, `s3://bucket/prefix` on the command line. */
const plugin: SinkPlugin<S3SinkOptions> = defineSink({
  name: "s3",
  parseOptions: (raw) => parseWith(s3SinkOptions, raw, "sink s3"),
  optionsJsonSchema: () => z.toJSONSchema(s3SinkOptions, { io: "input" }) as JsonObject,
  create: ({ caFile, ...options }, context) =>
    createS3Sink(caFile === undefined ? options : { ...options, caFile: resolve(context.folder, caFile) }, context),
  optionsFromUrl,
});

export default plugin;
