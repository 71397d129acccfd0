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

/** Says nothing. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {} };
