import type { RunContext } from "./run-context.ts";

/**
 * Something that was tried before it is needed, and how it went. `warning`: backups work, but somebody should know.
 */
export interface CheckItem {
  /** What was tried, in a word or two: `server`. */
  readonly name: string;
  readonly status: "ok" | "warning" | "failed";
  /** What was found. */
  readonly message: string;
  /** What to do about it, or null. */
  readonly remedy: string | null;
  /** Of the item that has looked at what a backup would hold: roughly how many bytes. */
  readonly estimatedBytes?: number;
}

/** What a sink's check is given. */
export interface SinkCheckContext extends RunContext {
  /** Roughly how large the next archive may become, where that is known. */
  readonly archiveBytes: number | null;
}
