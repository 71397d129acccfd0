import { randomBytes } from "node:crypto";
import { abortError, type CheckItem, type ErrorCode, type ObjectInfo, type Sink, withCode } from "@zk-backyp/core";
import { sinkContract } from "@zk-backyp/core/testing";
import { probeArea } from "./probe-area.ts";
import { failed, ok, warning } from "./reported-item.ts";

/**
 * What of the contract of sinks a store can get wrong: it may differ from one to the next, and by how it is configured.
 * What only the plugin decides is left to its tests.
 */
export const STORE_CASES: readonly string[] = [
  "what was put is what get returns",
  "an empty object is an object",
  "get of a missing object fails with ERR_OBJECT_NOT_FOUND on the first pull",
  "get returns the bytes of a range",
  "a range is cut off at the end of the object",
  "put returns and list shows key, size and time",
  "put replaces an object",
  "a body that throws stores nothing, and put rejects with the body's own error",
  "a failed overwrite keeps the old object",
  "an abort between two chunks stores nothing",
  "put with ifAbsent stores under a free key",
  "put with ifAbsent refuses a taken key and keeps what is there",
  "the prefix of list is plain text",
  "delete removes an object, and succeeds when there is none",
  "of several simultaneous puts with ifAbsent exactly one wins",
];

/** Also with an object that a store takes in several parts. */
export const LARGE_CASES: readonly string[] = [
  "a large object comes back bit for bit",
  "a body that throws stores nothing, and put rejects with the body's own error",
];

const SMALL_BYTES = 64 * 1024;
/** More than a part of the S3 sink has, unless it is told otherwise. */
const LARGE_BYTES = 9 * 1024 * 1024;
const ABORT_WITHIN_MS = 15_000;
/** What the names of all probes begin with. */
const PROBE = "check-";
const DAY_MS = 86_400_000;
const SKEW_WARNING_MS = 10_000;
const SKEW_FAILED_MS = 300_000;

const remedies: Partial<Record<ErrorCode, string>> = {
  ERR_SINK_UNAVAILABLE: "see that the store can be reached from here: its address, names, firewalls, certificates",
  ERR_SINK_NOT_FOUND: "create the bucket or the directory, or correct its name",
  ERR_SINK_FULL: "make room",
  ERR_CONFIG_INVALID: "correct the sink's options",
};

export interface SinkCheckOptions {
  readonly prefix: string;
  /** Whether the configuration has backups deleted. */
  readonly deletes: boolean;
  readonly signal: AbortSignal;
}

/**
 * Tries a sink for real: whether objects of the series can be stored, read, listed and deleted with its credentials, and
 * whether the store keeps what sinks guarantee. What it stores has random names behind the prefix, and is deleted again.
 */
export async function* checkSink(sink: Sink, options: SinkCheckOptions): AsyncGenerator<CheckItem, void, void> {
  const { prefix, signal } = options;
  const start = `${prefix}/${PROBE}${randomBytes(6).toString("hex")}.`;
  const area = probeArea(sink, start);
  const before = Date.now();
  const stored = await attempt("store objects", signal, () => area.put("probe", bytes("probe"), { signal }));
  if ("failure" in stored) return yield stored.failure;
  yield ok("sink: store", `an object can be stored in ${sink.location}`);
  yield clockItem(stored.result, before, Date.now());

  const read = await attempt("read objects", signal, () => collectText(area.get("probe", { signal })));
  yield "failure" in read
    ? read.failure
    : read.result === "probe"
      ? ok("sink: read", "it comes back as it was stored")
      : failed("sink: read", "it comes back as something else", "do not use this store: it changes what is stored");
  const listed = await attempt("list objects", signal, () => keysOf(area, signal));
  yield "failure" in listed
    ? listed.failure
    : listed.result.join() === "probe"
      ? ok("sink: list", "it is listed")
      : failed(
          "sink: list",
          "it is stored, but not listed",
          "do not use this store: what it stores is not listed at once",
        );
  const deleted = await attempt("delete objects", signal, () => area.delete("probe", { signal }));
  if ("failure" in deleted) {
    // What cannot be deleted is not stored in numbers.
    return yield deletionDenied(deleted.failure, `${start}probe`, options);
  }
  yield ok("sink: delete", "it can be deleted");
  // Looks for unfinished uploads of keys that nobody has: what the credentials lack for it is logged.
  const olderThan = new Date(Date.now() - DAY_MS);
  if (options.deletes) await attempt("sweep", signal, async () => sink.sweep?.(start, { signal, olderThan }));
  await attempt("clean", signal, () => removeProbes(sink, `${prefix}/${PROBE}`, olderThan, signal));
  if ("failure" in read || "failure" in listed) return;
  yield* checkContract(area, signal);
  const left = await attempt("list objects", signal, () => keysOf(area, signal));
  if ("result" in left && left.result.length > 0) {
    yield warning("sink: cleaning", `${left.result.length} objects are left as ${start}*`, "delete them by hand");
  }
}

function deletionDenied({ message }: CheckItem, key: string, { deletes }: SinkCheckOptions): CheckItem {
  const left = `${message}. The probe stays as ${key}`;
  return deletes
    ? failed(
        "sink: delete",
        left,
        "give the credentials the right to delete, which retention needs, or leave retention out",
      )
    : warning("sink: delete", left, "nothing, if that is meant: without retention nothing has to be deleted");
}

/** The contract's cases, each with objects of its own. */
async function* checkContract(area: Sink, signal: AbortSignal): AsyncGenerator<CheckItem, void, void> {
  const cases = [
    ...chosen(area, STORE_CASES, SMALL_BYTES),
    ...chosen(area, LARGE_CASES, LARGE_BYTES).map(({ name, run }) => ({ name: `${name} (9 MiB)`, run })),
  ];
  let broken = 0;
  for (const { name, run } of cases) {
    if (signal.aborted) throw abortError(signal);
    try {
      await run();
    } catch (error) {
      broken += 1;
      // Of a comparison the rest is what a test runner would show.
      const [why = ""] = (error as Error).message.split("\n");
      const message = `not kept: ${name}: ${why}`;
      yield failed("sink: contract", message, "do not rely on this store for backups before this is mended");
    }
  }
  if (broken === 0) yield ok("sink: contract", `it keeps all of the ${cases.length} guarantees that were tried`);
}

function chosen(area: Sink, names: readonly string[], largeObjectBytes: number): ReturnType<typeof sinkContract> {
  const all = sinkContract(async () => area, { largeObjectBytes, abortWithinMs: ABORT_WITHIN_MS });
  return all.filter(({ name }) => names.includes(name));
}

/** The store's clock, as it dates what it stores, against this one's. */
function clockItem({ modifiedAt }: ObjectInfo, beforeMs: number, afterMs: number): CheckItem {
  const storedAt = modifiedAt.getTime();
  // Some stores cut fractions of a second off.
  const skewMs = storedAt < beforeMs - 1000 ? storedAt - beforeMs : storedAt > afterMs ? storedAt - afterMs : 0;
  const name = "sink: clock";
  const direction = skewMs > 0 ? "ahead of" : "behind";
  const message = `the store's clock is ${(Math.abs(skewMs) / 1000).toFixed(0)} s ${direction} this node's`;
  if (Math.abs(skewMs) < SKEW_WARNING_MS) return ok(name, "the store's clock and this node's agree");
  const remedy = "synchronise this node's clock (NTP): schedules go by it";
  return Math.abs(skewMs) < SKEW_FAILED_MS ? warning(name, message, remedy) : failed(name, message, remedy);
}

async function attempt<Result>(
  what: string,
  signal: AbortSignal,
  call: () => Promise<Result>,
): Promise<{ readonly result: Result } | { readonly failure: CheckItem }> {
  try {
    return { result: await call() };
  } catch (error) {
    if (signal.aborted) throw abortError(signal);
    const { code, message } = withCode(error);
    const remedy = remedies[code] ?? `give the credentials, or this user, the right to ${what} there`;
    return { failure: failed(`sink: ${what.split(" ")[0]}`, message, remedy) };
  }
}

/** Removes what checks that died have left. */
async function removeProbes(sink: Sink, start: string, olderThan: Date, signal: AbortSignal): Promise<void> {
  const old: string[] = [];
  for await (const { key, modifiedAt } of sink.list(start, { signal })) if (modifiedAt < olderThan) old.push(key);
  for (const key of old) await sink.delete(key, { signal });
}

async function* bytes(text: string): AsyncGenerator<Uint8Array, void, void> {
  yield Buffer.from(text);
}

async function collectText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function keysOf(area: Sink, signal: AbortSignal): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of area.list("", { signal })) found.push(key);
  return found;
}
