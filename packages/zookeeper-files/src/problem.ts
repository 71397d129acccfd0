/**
 * How bad a finding is.
 *
 * - `fatal`: a server refuses to start from the files as they are;
 * - `data-loss`: a server starts, says nothing, and something is missing;
 * - `info`: worth knowing, nothing is lost.
 */
export type Severity = "fatal" | "data-loss" | "info";

/** A finding about one file. */
export interface FileProblem {
  readonly severity: Severity;
  /** Stable upper-case word, such as `LOG_TORN_TAIL`. The README lists them all. */
  readonly code: string;
  /** Bytes from the start of the uncompressed file, or null where no place can be named. */
  readonly offset: number | null;
  readonly message: string;
}

/** A finding about one file of a set, or about the set. */
export interface Problem extends FileProblem {
  /** Name of the file, or null where the finding is about the set. */
  readonly file: string | null;
}
