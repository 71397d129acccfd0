import type { Bytes } from "./bytes.ts";
import { BackypError } from "./errors.ts";

/** One file, in both directions: captured from a source, or read back from an archive. */
export interface Entry {
  /** Relative POSIX path, unique within a backup: no leading `/`, no empty, `.` or `..` part, no control character. */
  readonly path: string;
  /** Exact length of `body` in bytes. Any other length fails the run. */
  readonly size: number;
  readonly mtime: Date;
  /** Read it to its end, or close it, before asking for the next entry. */
  readonly body: Bytes;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL_CHARACTER = /[\0-\x1f\x7f]/;

/** Whether `path` is one an {@link Entry} may have. */
export function isEntryPath(path: string): boolean {
  return !CONTROL_CHARACTER.test(path) && path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/**
 * Refuses a path that could leave the folder it is restored into.
 *
 * @throws BackypError `ERR_ARCHIVE_CORRUPT`
 */
export function requireEntryPath(path: string): string {
  if (isEntryPath(path)) return path;
  throw new BackypError(
    "ERR_ARCHIVE_CORRUPT",
    `the entry path ${JSON.stringify(path)} is not a plain relative path; the archive was not written by this tool`,
    { details: { path } },
  );
}
