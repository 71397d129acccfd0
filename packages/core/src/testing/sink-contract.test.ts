import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Bytes } from "../bytes.ts";
import { abortable } from "../bytes.ts";
import { BackypError, isBackypError } from "../errors.ts";
import { requireKey, type Sink } from "../sink.ts";
import { memorySink } from "./memory-sink.ts";
import { type SinkContractOptions, sinkContract } from "./sink-contract.ts";

// Small, so that two dozen broken sinks are soon done; still several chunks.
const options: SinkContractOptions = { largeObjectBytes: 1_000_000, abortWithinMs: 300, caseTimeoutMs: 3000 };

describe("memorySink", () => {
  for (const contractCase of sinkContract(async () => memorySink(), { listedObjects: 1200 })) {
    it(contractCase.name, contractCase.run);
  }
});

/** Names of the cases that `breakSink(memorySink())` fails. */
async function failures(
  breakSink: (sink: Sink) => Partial<Sink>,
  more: SinkContractOptions = {},
): Promise<readonly string[]> {
  const cases = sinkContract(
    async () => {
      const sink = memorySink();
      return { ...sink, ...breakSink(sink) };
    },
    { ...options, ...more },
  );
  const outcomes = await Promise.allSettled(cases.map((contractCase) => contractCase.run()));
  return cases.map(({ name }) => name).filter((_, index) => outcomes[index]?.status === "rejected");
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function* untilError(body: Bytes): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* body;
  } catch (error) {
    // Swallowed, so that what came so far looks like the whole object.
    if (isBackypError(error, "ERR_ABORTED")) throw error;
  }
}

async function* cut(body: Bytes, start: number, end: number): AsyncGenerator<Uint8Array, void, void> {
  let offset = 0;
  for await (const chunk of body) {
    const part = chunk.subarray(Math.max(start - offset, 0), Math.max(end - offset, 0));
    offset += chunk.byteLength;
    if (part.byteLength > 0) yield part;
  }
}

const THROWING = "a body that throws stores nothing, and put rejects with the body's own error";
const FAILED_OVERWRITE = "a failed overwrite keeps the old object";
const ABORTED_OVERWRITE = "an aborted overwrite keeps the old object";
const ABORTED_BEFORE = "put with a signal that is aborted already stores nothing";
const ABORTED_BETWEEN = "an abort between two chunks stores nothing";
const ABORTED_STUCK = "an abort while the body is stuck in next() stores nothing";
const CLOSED = "the body is closed when a put fails or is refused";
const TAKEN = "put with ifAbsent refuses a taken key and keeps what is there";
const RACE = "of several simultaneous puts with ifAbsent exactly one wins";
const LARGE = "a large object comes back bit for bit";
const ROUND_TRIP = "what was put is what get returns";
const EMPTY = "an empty object is an object";
const MISSING = "get of a missing object fails with ERR_OBJECT_NOT_FOUND on the first pull";
const RANGE = "get returns the bytes of a range";
const RANGE_END = "a range is cut off at the end of the object";
const INFO = "put returns and list shows key, size and time";
const REPLACES = "put replaces an object";
const ORDER = "list is in order of the keys";
const PREFIX = "the prefix of list is plain text";
const AFTER = "list leaves out at most what it is told to: keys up to the one it is to begin after";
const LIST_ABORT = "list stops when it is aborted";
const DELETE = "delete removes an object, and succeeds when there is none";
const AT_ONCE = "two puts at once do not mix";
const LEFT_EARLY = "a get that is left early gives back what it held";
const GET_ABORT = "get stops when it is aborted";
const KEYS = "keys that could leave the store are refused";

const broken: [what: string, fails: string[], breakSink: (sink: Sink) => Partial<Sink>][] = [
  [
    "stores what came before the body threw",
    [THROWING, FAILED_OVERWRITE],
    (sink) => ({
      put: async (key, body, putOptions) => {
        let failure: unknown;
        async function* remember(): AsyncGenerator<Uint8Array, void, void> {
          try {
            yield* abortable(body, putOptions.signal);
          } catch (error) {
            if (putOptions.signal.aborted) throw error;
            failure = error;
          }
        }
        const info = await sink.put(key, remember(), putOptions);
        if (failure !== undefined) throw failure;
        return info;
      },
    }),
  ],
  [
    "takes a body that threw for one that ended",
    [THROWING, FAILED_OVERWRITE],
    (sink) => ({
      put: (key, body, putOptions) => sink.put(key, untilError(abortable(body, putOptions.signal)), putOptions),
    }),
  ],
  [
    "hides the body's error behind one of its own",
    [THROWING],
    (sink) => ({
      put: (key, body, putOptions) =>
        sink.put(
          key,
          (async function* () {
            try {
              yield* abortable(body, putOptions.signal);
            } catch (cause) {
              if (putOptions.signal.aborted) throw cause;
              throw new BackypError("ERR_SINK_UNAVAILABLE", "put failed", { cause });
            }
          })(),
          putOptions,
        ),
    }),
  ],
  [
    "looks at the signal only when a chunk arrives",
    [ABORTED_OVERWRITE, ABORTED_STUCK],
    (sink) => ({
      put: (key, body, putOptions) =>
        sink
          .put(
            key,
            (async function* () {
              if (putOptions.signal.aborted) throw putOptions.signal.reason;
              for await (const chunk of body) {
                putOptions.signal.throwIfAborted();
                yield chunk;
              }
            })(),
            { ...putOptions, signal: new AbortController().signal },
          )
          .catch((error: unknown) => {
            throw putOptions.signal.aborted ? new BackypError("ERR_ABORTED", "aborted") : error;
          }),
    }),
  ],
  [
    "looks at the signal only at the start",
    [ABORTED_OVERWRITE, ABORTED_BETWEEN, ABORTED_STUCK, CLOSED],
    (sink) => ({
      put: async (key, body, putOptions) => {
        if (putOptions.signal.aborted) throw new BackypError("ERR_ABORTED", "aborted");
        return sink.put(key, body, { ...putOptions, signal: new AbortController().signal });
      },
    }),
  ],
  [
    "stores the object although the signal was aborted before",
    [ABORTED_BEFORE],
    (sink) => ({
      put: (key, body, putOptions) =>
        sink.put(key, body, putOptions.signal.aborted ? { signal: new AbortController().signal } : putOptions),
    }),
  ],
  [
    "stores what came before an abort",
    [ABORTED_OVERWRITE, ABORTED_BETWEEN, ABORTED_STUCK],
    (sink) => ({
      put: async (key, body, putOptions) => {
        if (putOptions.signal.aborted) throw new BackypError("ERR_ABORTED", "aborted");
        async function* remember(): AsyncGenerator<Uint8Array, void, void> {
          try {
            yield* abortable(body, putOptions.signal);
          } catch (error) {
            if (!putOptions.signal.aborted) throw error;
          }
        }
        const info = await sink.put(key, remember(), { ...putOptions, signal: new AbortController().signal });
        if (putOptions.signal.aborted) throw new BackypError("ERR_ABORTED", "aborted");
        return info;
      },
    }),
  ],
  [
    "removes the old object when an overwrite starts",
    [FAILED_OVERWRITE, ABORTED_OVERWRITE],
    (sink) => ({
      put: async (key, body, putOptions) => {
        if (putOptions.ifAbsent !== true && key !== "same") {
          await sink.delete(key, putOptions).catch(() => {});
        }
        return sink.put(key, body, putOptions);
      },
    }),
  ],
  [
    "does not close the body",
    [ABORTED_BETWEEN, ABORTED_STUCK, CLOSED],
    (sink) => ({
      put: (key, body, putOptions) => {
        const open: Bytes = {
          [Symbol.asyncIterator]: () => {
            const iterator = body[Symbol.asyncIterator]();
            return { next: () => iterator.next() };
          },
        };
        return sink.put(key, open, putOptions);
      },
    }),
  ],
  [
    "does not know ifAbsent",
    [TAKEN, RACE],
    (sink) => ({ put: (key, body, { signal }) => sink.put(key, body, { signal }) }),
  ],
  [
    "looks whether the key is free only before it writes",
    [RACE],
    (sink) => ({
      put: async (key, body, { signal, ifAbsent }) => {
        if (ifAbsent === true) {
          for await (const info of sink.list(key, { signal })) {
            if (info.key === key) throw new BackypError("ERR_OBJECT_EXISTS", `${key} exists`);
          }
        }
        return sink.put(key, body, { signal });
      },
    }),
  ],
  [
    "refuses to replace an object",
    [REPLACES, ABORTED_OVERWRITE, AT_ONCE],
    (sink) => ({ put: (key, body, { signal }) => sink.put(key, body, { signal, ifAbsent: true }) }),
  ],
  [
    "loses the end of a large object",
    [LARGE, RACE],
    (sink) => ({
      put: (key, body, putOptions) =>
        sink.put(key, key === "middle" ? body : cut(abortable(body, putOptions.signal), 0, 900_000), putOptions),
    }),
  ],
  [
    "takes an empty chunk for the end",
    [ROUND_TRIP],
    (sink) => ({
      put: (key, body, putOptions) =>
        sink.put(
          key,
          (async function* () {
            for await (const chunk of abortable(body, putOptions.signal)) {
              if (chunk.byteLength === 0) return;
              yield chunk;
            }
          })(),
          putOptions,
        ),
    }),
  ],
  [
    "does not store empty objects",
    [EMPTY, RANGE_END],
    (sink) => ({
      put: async (key, body, putOptions) => {
        const info = await sink.put(key, body, putOptions);
        if (info.size === 0) await sink.delete(key, putOptions);
        return info;
      },
    }),
  ],
  [
    "reads nothing out of a missing object",
    [MISSING, THROWING, ABORTED_BEFORE, ABORTED_BETWEEN, ABORTED_STUCK, DELETE],
    (sink) => ({
      get: async function* (key, getOptions) {
        try {
          yield* sink.get(key, getOptions);
        } catch (error) {
          if ((error as BackypError).code !== "ERR_OBJECT_NOT_FOUND") throw error;
        }
      },
    }),
  ],
  [
    "throws from get itself, before the first pull",
    [KEYS],
    (sink) => ({
      get: (key, getOptions) => {
        if (key.includes("\0")) throw new TypeError("the key holds a NUL");
        return sink.get(key, getOptions);
      },
    }),
  ],
  ["ignores the range", [RANGE, RANGE_END], (sink) => ({ get: (key, { signal }) => sink.get(key, { signal }) })],
  [
    "counts the end of a range in",
    [RANGE, RANGE_END],
    (sink) => ({
      get: (key, { signal, range }) => {
        if (range?.end === undefined) return sink.get(key, range === undefined ? { signal } : { signal, range });
        return sink.get(key, { signal, range: { start: range.start, end: range.end + 1 } });
      },
    }),
  ],
  [
    "fails on a range past the end",
    [RANGE_END],
    (sink) => ({
      get: async function* (key, getOptions) {
        let size = 0;
        for await (const chunk of sink.get(key, getOptions)) {
          size += chunk.byteLength;
          yield chunk;
        }
        if (size === 0 && getOptions.range !== undefined) throw new RangeError("range not satisfiable");
      },
    }),
  ],
  [
    "reuses its read buffer",
    [ROUND_TRIP, RACE],
    (sink) => ({
      get: async function* (key, getOptions) {
        const buffer = Buffer.alloc(64 * 1024);
        for await (const chunk of sink.get(key, getOptions)) {
          buffer.set(chunk);
          yield buffer.subarray(0, chunk.byteLength);
        }
      },
    }),
  ],
  [
    "reports no size",
    [LARGE, INFO],
    (sink) => ({
      put: async (key, body, putOptions) => ({ ...(await sink.put(key, body, putOptions)), size: 0 }),
    }),
  ],
  [
    "reports times in seconds",
    [INFO],
    (sink) => ({
      list: async function* (prefix, listOptions) {
        for await (const info of sink.list(prefix, listOptions)) {
          yield { ...info, modifiedAt: new Date(info.modifiedAt.getTime() / 1000) };
        }
      },
    }),
  ],
  [
    "lists in the order of words",
    [ORDER],
    (sink) => ({
      list: async function* (prefix, listOptions) {
        const infos = await all(sink.list(prefix, listOptions));
        yield* infos.sort((a, b) => a.key.localeCompare(b.key, "en", { numeric: false }));
      },
    }),
  ],
  [
    "takes the prefix for a folder",
    [PREFIX],
    (sink) => ({
      list: (prefix, listOptions) =>
        sink.list(prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`, listOptions),
    }),
  ],
  [
    "begins a list too late",
    [AFTER],
    (sink) => ({
      list: async function* (prefix, listOptions) {
        const infos = await all(sink.list(prefix, listOptions));
        yield* listOptions.after === undefined ? infos : infos.slice(1);
      },
    }),
  ],
  [
    "leaves out a part in the middle of a list",
    [AFTER],
    (sink) => ({
      list: async function* (prefix, { signal, after = "" }) {
        for await (const info of sink.list(prefix, { signal })) {
          if (after === "" || info.key.startsWith("p/1") || info.key > after) yield info;
        }
      },
    }),
  ],
  [
    "does not stop listing",
    [LIST_ABORT],
    (sink) => ({ list: (prefix) => sink.list(prefix, { signal: new AbortController().signal }) }),
  ],
  [
    "fails to delete what is not there",
    [DELETE],
    (sink) => ({
      delete: async (key, { signal }) => {
        requireKey(key);
        for await (const info of sink.list(key, { signal })) {
          if (info.key === key) return sink.delete(key, { signal });
        }
        throw new BackypError("ERR_OBJECT_NOT_FOUND", `no ${key}`);
      },
    }),
  ],
  [
    "deletes a whole folder",
    [DELETE],
    (sink) => ({
      delete: async (key, { signal }) => {
        await sink.delete(key, { signal });
        for await (const info of sink.list(`${key}/`, { signal })) await sink.delete(info.key, { signal });
      },
    }),
  ],
  [
    "mixes puts that run at once",
    [AT_ONCE],
    (sink) => {
      let last: Uint8Array = Buffer.alloc(0);
      return {
        put: (key, body, putOptions) => {
          if (putOptions.ifAbsent === true) return sink.put(key, body, putOptions);
          async function* shared(): AsyncGenerator<Uint8Array, void, void> {
            for await (const chunk of body) {
              last = chunk;
              await delay(chunk.byteLength < 12 && chunk.byteLength > 6 ? 1 : 0);
              yield last;
            }
          }
          return /^(to|same)/.test(key) ? sink.put(key, shared(), putOptions) : sink.put(key, body, putOptions);
        },
      };
    },
  ],
  [
    "leaks a connection when a get is left early",
    [LEFT_EARLY],
    (sink) => {
      let free = 50;
      return {
        put: (key, body, putOptions) => (free <= 0 ? new Promise(() => {}) : sink.put(key, body, putOptions)),
        get: async function* (key, getOptions) {
          if (free <= 0) await new Promise(() => {});
          free -= 1;
          yield* sink.get(key, getOptions);
          free += 1;
        },
      };
    },
  ],
  [
    "reads on after an abort",
    [GET_ABORT],
    (sink) => ({
      get: (key, { range }) => {
        const signal = new AbortController().signal;
        return sink.get(key, range === undefined ? { signal } : { signal, range });
      },
    }),
  ],
];

describe("sinkContract catches a sink that", { timeout: 20_000 }, () => {
  for (const [what, fails, breakSink] of broken) {
    it.concurrent(what, async () => {
      expect(await failures(breakSink)).toEqual(fails);
    });
  }

  it.concurrent("does not look at its keys", async () => {
    const bare = (): Sink => {
      const sink = memorySink();
      const plain = (key: string): string => `k${Buffer.from(key).toString("hex")}`;
      return {
        ...sink,
        put: async (key, body, putOptions) => ({ ...(await sink.put(plain(key), body, putOptions)), key }),
        get: (key, getOptions) => sink.get(plain(key), getOptions),
        delete: (key, deleteOptions) => sink.delete(plain(key), deleteOptions),
        list: async function* (prefix, listOptions) {
          const infos = await all(sink.list("", { signal: listOptions.signal }));
          const named = infos.map((info) => ({ ...info, key: Buffer.from(info.key.slice(1), "hex").toString() }));
          yield* named.filter(({ key }) => key.startsWith(prefix)).sort((a, b) => (a.key < b.key ? -1 : 1));
        },
      };
    };
    expect(await failures(bare)).toEqual([KEYS]);
  });

  it.concurrent("shows only the first thousand objects", async () => {
    const truncated = (sink: Sink): Partial<Sink> => ({
      list: async function* (prefix, listOptions) {
        let listed = 0;
        for await (const info of sink.list(prefix, listOptions)) {
          if (listed === 1000) return;
          listed += 1;
          yield info;
        }
      },
    });
    expect(await failures(truncated)).toEqual([]);
    expect(await failures(truncated, { listedObjects: 1001 })).toEqual(["list shows all of 1001 objects"]);
  });

  it.concurrent("keeps something of a failed put, where the store can be looked into", async () => {
    let temporaryFiles: string[] = [];
    const littering = (sink: Sink): Partial<Sink> => ({
      put: async (key, body, putOptions) => {
        try {
          return await sink.put(key, body, putOptions);
        } catch (error) {
          temporaryFiles = ["tmp/1"];
          throw error;
        }
      },
    });
    const cases = sinkContract(async () => ({ ...memorySink(), ...littering(memorySink()) }), {
      ...options,
      leftovers: async () => temporaryFiles,
    });
    const throwing = cases.find(({ name }) => name === THROWING);
    await expect(throwing?.run()).rejects.toThrow("must not keep anything of a put that failed");
  });

  it.concurrent("cannot decide a race, only when it does not say so", async () => {
    const racy = broken.find(([what]) => what.startsWith("looks whether the key is free"))?.[2];
    expect(racy).toBeDefined();
    if (racy !== undefined) expect(await failures(racy, { features: { atomicIfAbsent: false } })).toEqual([]);
  });
});

it("fails a case that hangs", async () => {
  const hanging: Partial<Sink> = { put: () => new Promise(() => {}) };
  const [first] = sinkContract(async () => ({ ...memorySink(), ...hanging }), { ...options, caseTimeoutMs: 100 });
  await expect(first?.run()).rejects.toThrow("not done within 100 ms");
});
