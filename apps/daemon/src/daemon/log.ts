import { Writable } from "node:stream";
import { isBackypError, type Logger } from "@zk-backyp/core";
import { pino, type SerializedError, stdSerializers, stdTimeFunctions } from "pino";
import pretty from "pino-pretty";
import { withoutSecrets } from "../secrets.ts";
import { cut } from "./remedies.ts";

/** How much is said. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** A pino logger as the daemon uses it. A line is one event, named in `event`. */
export interface DaemonLogger extends Logger {
  error(fields: object, message: string): void;
  /** One whose lines all have these fields. */
  child(fields: object): DaemonLogger;
  level: string;
}

/**
 * The daemon's log: JSON lines, or on a terminal lines for people. Every secret of the configuration is taken out of what
 * is written, wherever it may have come from.
 *
 * @param write takes whole lines
 */
export function createDaemonLogger(level: LogLevel, write: (text: string) => void, isTerminal: boolean): DaemonLogger {
  const shown = isTerminal ? forPeople(write) : { write };
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    { write: (line: string) => void shown.write(withoutSecrets(line)) },
  );
}

function forPeople(write: (text: string) => void): { write(line: string): unknown } {
  const destination = new Writable({
    decodeStrings: false,
    write(text: string, _encoding, done) {
      write(text);
      done();
    },
  });
  const ignore = "pid,event,version";
  return pretty({ colorize: true, translateTime: "SYS:yyyy-mm-dd HH:MM:ss", ignore, destination });
}

/** Of an error that was foreseen, its words say what there is to know; of another one, where it came from helps too. */
function describeError(error: unknown): object {
  if (!isBackypError(error)) return stdSerializers.err(error as Error) as SerializedError;
  const { code, message, details, cause } = error;
  const why = cause instanceof Error ? { cause: cut(cause.message) } : {};
  return { code, message: cut(message), details, ...why };
}
