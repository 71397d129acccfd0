import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const INTERVAL_MS = 50;

/**
 * Keeps V8's heap small and has buffers that are done with collected soon. A backup leaves hundreds of MB of them behind
 * each second, in a few small objects, so that V8 sees little reason to look, and on a busy host lets 100 MB gather.
 * Measured for a backup into S3: some 140 MB at its peak instead of up to 205; neither setting does it alone.
 * Collecting the youngest objects takes about a millisecond each time.
 */
export function collectBuffersEarly(): void {
  setFlagsFromString("--optimize-for-size");
  setFlagsFromString("--max-semi-space-size=2");
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as (options: { readonly type: "minor" }) => void;
  setInterval(() => collect({ type: "minor" }), INTERVAL_MS).unref();
}
