import { defineSink, parseWith, type SinkPlugin } from "@zk-backyp/core";
import { optionsFromUrl, type WebdavSinkOptions, webdavSinkOptions } from "./options.ts";
import { createWebdavSink } from "./webdav-sink.ts";

export type { WebdavSinkOptions } from "./options.ts";
export { createWebdavSink } from "./webdav-sink.ts";

/** The plugin `webdav`: `use: webdav` in a configuration file, `webdav://host/collection` on the command line. */
const plugin: SinkPlugin<WebdavSinkOptions> = defineSink({
  name: "webdav",
  parseOptions: (raw) => parseWith(webdavSinkOptions, raw, "sink webdav"),
  create: async (options) => createWebdavSink(options),
  optionsFromUrl,
});

export default plugin;
