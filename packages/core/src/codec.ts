import type { Bytes } from "./bytes.ts";

/**
 * A byte transform that can be undone, such as compression or encryption. Codecs are applied in the order they are
 * configured in and undone in reverse. The whole stream is theirs: a codec may read ahead and work on several blocks
 * at once, as long as what it holds is bounded.
 */
export interface Codec {
  /** Written to manifests: `gzip`. */
  readonly id: string;
  /** Ending that is added to an archive's name, without a dot: `gz`. */
  readonly extension: string;
  encode(body: Bytes, options: { readonly signal: AbortSignal }): Bytes;
  /** @throws BackypError `ERR_ARCHIVE_CORRUPT` when the bytes cannot be decoded or end too early */
  decode(body: Bytes, options: { readonly signal: AbortSignal }): Bytes;
}
