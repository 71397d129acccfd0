import type { Logger } from "@zk-backyp/core";
import { printable } from "./printable.ts";

/** Says warnings on stderr, a line each, above a progress bar if one is drawn. */
export interface CliLogger extends Logger {
  /** Called before a line is written, to make room for it. */
  beforeLine: () => void;
}

export function createLogger(): CliLogger {
  const logger: CliLogger = {
    beforeLine() {},
    debug() {},
    info() {},
    warn(_fields, message) {
      logger.beforeLine();
      process.stderr.write(`warning: ${printable(message)}\n`);
    },
  };
  return logger;
}
