import { collect } from "./bytes.ts";
import { isBackypError } from "./errors.ts";
import type { Sink } from "./sink.ts";

/** Whether a sink has an object, for the price of its first byte. */
export async function hasObject(sink: Sink, key: string, signal: AbortSignal): Promise<boolean> {
  try {
    await collect(sink.get(key, { signal, range: { start: 0, end: 1 } }), 1);
    return true;
  } catch (error) {
    if (isBackypError(error, "ERR_OBJECT_NOT_FOUND")) return false;
    throw error;
  }
}
