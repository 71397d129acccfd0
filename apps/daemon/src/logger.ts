import type { Logger } from "@zk-backyp/core";
import { printable } from "./printable.ts";

/** Says things on stderr, a line each, above a progress bar if one is drawn. Of the log it says only warnings. */
export interface CliLogger extends Logger {
  say(line: string): void;
  /** Called before a line is written, to make room for it. */
  beforeLine: () => void;
}

export function createLogger(): CliLogger {
  const logger: CliLogger = {
    beforeLine() {},
    debug() {},
    info() {},
    warn: (_fields, message) => logger.say(`warning: ${message}`),
    say(line) {
      logger.beforeLine();
      process.stderr.write(`${printable(line)}\n`);
    },
  };
  return logger;
}
