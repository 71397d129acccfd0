import { fileURLToPath } from "node:url";

const SINK_FS = fileURLToPath(new URL("../../../packages/sink-fs/dist/index.js", import.meta.url));

/**
 * The text of a sink plugin: a directory that waits before it stores what the file `hold` names, for as long as that is
 * there, and says so by `<hold>.held`.
 */
export const HOLDING_SINK: string = `
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import fs from ${JSON.stringify(SINK_FS)};
export default {
  ...fs,
  name: "holding",
  parseOptions: ({ hold, ...options }) => ({ hold, options: fs.parseOptions(options) }),
  async create({ hold, options }, context) {
    const sink = await fs.create(options, context);
    return {
      ...sink,
      async put(key, body, put) {
        if (existsSync(hold) && key.includes(readFileSync(hold, "utf8"))) {
          writeFileSync(hold + ".held", String(process.pid));
          while (existsSync(hold) && !put.signal.aborted) await sleep(50);
        }
        return sink.put(key, body, put);
      },
    };
  },
};
`;
