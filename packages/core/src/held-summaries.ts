import type { CatalogSummary } from "./catalog-summary.ts";
import type { ObjectInfo } from "./sink.ts";

/** Characters of summaries, as JSON, that are held at most: some 300,000 of the usual size. */
const MAX_HELD_CHARS = 128 * 1024 * 1024;
/**
 * How old in ms a manifest has to be to be held. Some stores know times by the second only: one that was replaced within
 * the same second looks like the one that was there. The rest is for clocks that differ.
 */
const SETTLED_AFTER_MS = 60_000;

interface Held {
  /** Of the manifest: what the sink's listing showed of it. */
  readonly size: number;
  readonly modifiedAtMs: number;
  readonly summary: CatalogSummary;
  /** Of the summary, as JSON. */
  readonly chars: number;
  /** The last listing that showed it. */
  listing: number;
}

/**
 * Summaries of manifests that were read already. Each counts only for as long as the sink lists the manifest with the same
 * size and time.
 */
export class HeldSummaries {
  readonly #held = new Map<string, Held>();
  #chars = 0;
  #listings = 0;

  /** Begins a listing of all, and gives it a number. */
  begin(): number {
    this.#listings += 1;
    return this.#listings;
  }

  /** What is known of a manifest that the sink lists like this. */
  get(id: string, { size, modifiedAt }: ObjectInfo, listing: number): CatalogSummary | undefined {
    const held = this.#held.get(id);
    if (held === undefined || held.size !== size || held.modifiedAtMs !== modifiedAt.getTime()) return undefined;
    // Another listing may have begun later and been faster.
    held.listing = Math.max(held.listing, listing);
    return held.summary;
  }

  /** Holds a summary of what was read, as far as there is room, from a manifest that the sink lists like this. */
  put(
    summary: CatalogSummary,
    { size, modifiedAt }: ObjectInfo,
    { listing, readAt, bytes }: { readonly listing: number; readonly readAt: number; readonly bytes: number },
  ): void {
    this.forget(summary.id);
    const modifiedAtMs = modifiedAt.getTime();
    // Of another length it is not the one that was listed.
    if (bytes !== size || !(readAt - modifiedAtMs > SETTLED_AFTER_MS)) return;
    const chars = JSON.stringify(summary).length;
    if (this.#chars + chars > MAX_HELD_CHARS) return;
    this.#held.set(summary.id, { size, modifiedAtMs, summary, chars, listing });
    this.#chars += chars;
  }

  forget(id: string): void {
    this.#chars -= this.#held.get(id)?.chars ?? 0;
    this.#held.delete(id);
  }

  /** Ends a listing that showed all there is: what neither it nor a later one has shown is gone. */
  end(listing: number): void {
    for (const [id, held] of this.#held) if (held.listing < listing) this.forget(id);
  }
}
