import { z } from "zod";
import { keys, prefixOfBackupId } from "./backup-id.ts";
import { collect, oneChunk } from "./bytes.ts";
import { BackypError, isBackypError } from "./errors.ts";
import { parseWith } from "./plugin.ts";
import type { SeriesContext } from "./series.ts";

const MAX_PIN_BYTES = 64 * 1024;
const MAX_REASON_LENGTH = 1000;

/** Keeps a backup from being pruned, whatever the rules say. Stored beside the backup, as JSON. */
export interface Pin {
  readonly formatVersion: 1;
  /** The backup's. */
  readonly id: string;
  readonly pinnedAt: string;
  /** ISO 8601, UTC. Null: until it is taken away. */
  readonly until: string | null;
  /** Somebody's words, or null. */
  readonly reason: string | null;
}

/** A pin as it is listed. One that cannot be read holds, too: nobody knows for how long it was meant. */
export type PinItem = Pin | { readonly id: string; readonly error: BackypError };

const schema: z.ZodType<Pin> = z.object({
  formatVersion: z.literal(1),
  id: z.string(),
  pinnedAt: z.iso.datetime(),
  until: z.iso.datetime().nullable(),
  reason: z.string().nullable(),
});

type Place = Pick<SeriesContext, "sink" | "prefix">;

/** Whether a pin holds at `now`. */
export function isInForce(pin: PinItem, now: Date): boolean {
  return "error" in pin || pin.until === null || Date.parse(pin.until) >= now.getTime();
}

/** A pin in words. */
export function describePin(pin: PinItem): string {
  if ("error" in pin) return "pinned, but the pin cannot be read";
  const { until, reason } = pin;
  return `pinned${until === null ? "" : ` until ${until}`}${reason === null ? "" : ` (${reason})`}`;
}

/** All pins of a series, also those that have expired. */
export async function listPins({ sink, prefix }: Place, signal: AbortSignal): Promise<readonly PinItem[]> {
  const folder = keys.pins(prefix);
  const pins: PinItem[] = [];
  for await (const { key } of sink.list(folder, { signal })) {
    const id = key.slice(folder.length, -".json".length);
    if (!key.endsWith(".json") || prefixOfBackupId(id) !== prefix) continue;
    const pin = await readPin({ sink, prefix }, id, signal);
    if (pin !== null) pins.push(pin);
  }
  return pins;
}

/** The pin of a backup, or null. */
export async function readPin({ sink, prefix }: Place, id: string, signal: AbortSignal): Promise<PinItem | null> {
  const key = keys.pin(prefix, id);
  try {
    const text = (await collect(sink.get(key, { signal }), MAX_PIN_BYTES)).toString("utf8");
    const pin = parseWith(schema, JSON.parse(text), key);
    if (pin.id === id) return pin;
    throw new SyntaxError(`it is the pin of ${pin.id}`);
  } catch (cause) {
    if (isBackypError(cause, "ERR_OBJECT_NOT_FOUND")) return null;
    const isContent =
      cause instanceof SyntaxError || cause instanceof RangeError || isBackypError(cause, "ERR_CONFIG_INVALID");
    if (!isContent) throw cause;
    const message = `the pin ${key} cannot be read, and so it holds: ${cause.message}; pin or unpin the backup anew`;
    return { id, error: new BackypError("ERR_MANIFEST_INVALID", message, { cause, details: { pin: key } }) };
  }
}

/** Pins a backup (an id, or `"latest"`), anew where it is pinned. */
export async function storePin(
  { sink, prefix, catalog, clock }: SeriesContext,
  wanted: string,
  { until, reason }: { readonly until: Date | undefined; readonly reason: string | undefined },
  signal: AbortSignal,
): Promise<Pin> {
  const now = clock();
  if (until !== undefined && !(until.getTime() > now.getTime() && until.getUTCFullYear() <= 9999)) {
    throw new BackypError("ERR_CONFIG_INVALID", "a pin needs an end in the future, before the year 10000, or none");
  }
  if (reason !== undefined && reason.length > MAX_REASON_LENGTH) {
    throw new BackypError("ERR_CONFIG_INVALID", `a pin's reason has at most ${MAX_REASON_LENGTH} characters`);
  }
  const id = await catalog.resolve(wanted, { signal });
  const pin: Pin = {
    formatVersion: 1,
    id,
    pinnedAt: now.toISOString(),
    until: until?.toISOString() ?? null,
    reason: reason ?? null,
  };
  const key = keys.pin(prefix, id);
  await sink.put(key, oneChunk(Buffer.from(`${JSON.stringify(pin, null, 2)}\n`)), { signal });
  // A prune that was under way may have come first.
  try {
    await catalog.resolve(id, { signal });
  } catch (error) {
    if (isBackypError(error, "ERR_BACKUP_NOT_FOUND")) await sink.delete(key, { signal });
    throw error;
  }
  return pin;
}

/** Takes the pin of a backup (an id, or `"latest"`) away. Resolves to whether there was one. */
export async function removePin(
  { sink, prefix, catalog }: SeriesContext,
  wanted: string,
  signal: AbortSignal,
): Promise<boolean> {
  const id = prefixOfBackupId(wanted) === prefix ? wanted : await catalog.resolve(wanted, { signal });
  if ((await readPin({ sink, prefix }, id, signal)) === null) {
    // A misspelt id must not look like a backup that is not pinned.
    await catalog.resolve(id, { signal });
    return false;
  }
  await sink.delete(keys.pin(prefix, id), { signal });
  return true;
}
