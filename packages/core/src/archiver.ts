import type { Bytes } from "./bytes.ts";
import type { Entry } from "./entry.ts";

/** Entries to one byte stream and back. */
export interface Archiver {
  /** Written to manifests: `tar`. */
  readonly id: string;
  /** Ending of an archive's name, without a dot: `tar`. */
  readonly extension: string;
  /** @throws BackypError `ERR_SOURCE_CHANGED` when a body is not as long as its entry says */
  pack(entries: AsyncIterable<Entry>, options: { readonly signal: AbortSignal }): Bytes;
  /** @throws BackypError `ERR_ARCHIVE_CORRUPT` when the archive is cut short or is not one */
  unpack(archive: Bytes, options: { readonly signal: AbortSignal }): AsyncIterable<Entry>;
}
