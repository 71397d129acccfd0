import type { CliLogger } from "./logger.ts";

/** What every command is given. */
export interface CommandContext {
  readonly signal: AbortSignal;
  readonly logger: CliLogger;
  /** Whether stdout is to be one JSON document. */
  readonly json: boolean;
  /** Writes text and a newline to stdout. */
  print(text: string): void;
  /**
   * Writes to stdout, and resolves when it takes more: for what is long. Bytes go out as they are.
   *
   * @throws ReaderGone when nobody reads it any more, which is no failure; the signal's reason once that is aborted
   */
  write(chunk: string | Uint8Array): Promise<void>;
}

/** Writes a value to stdout as the command's one JSON document. */
export function printJson(context: CommandContext, value: unknown): void {
  context.print(JSON.stringify(value, null, 2));
}
