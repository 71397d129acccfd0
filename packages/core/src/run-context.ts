import type { JsonObject } from "./json.ts";

/** Structurally a pino logger: fields first, then the message. Core never creates one. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** What every long call is given: how to be told to stop, and where to say things. */
export interface RunContext {
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/** One run of a backup, which may capture its source several times. The same object for all captures of the run. */
export interface BackupRun {
  /**
   * Tells whoever watches the run what the source is doing (event `backup:step`).
   *
   * @param step a stable lower-case word or two, such as `stopped`
   * @param facts what is known at this moment; never a secret
   */
  report(step: string, facts: JsonObject): void;
  /**
   * Has `release` called when the run ends, however it ends, after its last capture was closed; what was registered
   * last comes first. For what the captures of one run share. A failure in it is logged and changes nothing.
   */
  atEnd(release: () => Promise<void>): void;
}

/** What a capture is given. */
export interface CaptureContext extends RunContext {
  readonly run: BackupRun;
}

/** Says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {} };
