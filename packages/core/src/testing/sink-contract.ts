import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Bytes } from "../bytes.ts";
import { type ErrorCode, isBackypError } from "../errors.ts";
import type { ObjectInfo, Sink } from "../sink.ts";
import type { ContractCase } from "./contract-case.ts";

/** What {@link sinkContract} may be told about the store under test. */
export interface SinkContractOptions {
  /**
   * Size in bytes of the large object; choose more than the sink's own parts or buffers, so that it needs several.
   * Default: 20 MiB.
   */
  readonly largeObjectBytes?: number;
  /**
   * How many objects the case about a long list makes. Choose more than the store returns in one answer (S3: 1000).
   * Default: 0, which leaves the case out.
   */
  readonly listedObjects?: number;
  /** Longest time in milliseconds from an abort to the rejection. Default: 1000. */
  readonly abortWithinMs?: number;
  /** Longest time in milliseconds for a whole case; it then fails instead of hanging. Default: 120,000. */
  readonly caseTimeoutMs?: number;
  readonly features?: {
    /** Whether `ifAbsent` lets one of several simultaneous puts win. Default: true. */
    readonly atomicIfAbsent?: boolean;
  };
  /**
   * Names whatever the store holds besides the visible objects, such as temporary files or unfinished uploads. When
   * given, every case that makes a `put` fail also checks that nothing of the kind is left.
   */
  readonly leftovers?: (sink: Sink) => Promise<readonly string[]>;
}

type Check = (sink: Sink, signal: AbortSignal) => Promise<void>;

/**
 * The guarantees of a {@link Sink}, as cases for any test runner or for a check of a live store. Each case asks for a
 * sink of its own that lists nothing, deletes what it stored and closes the sink.
 *
 * @param createEmptySink makes a sink over a store (or a prefix or folder of one) that exists and is empty
 */
export function sinkContract(createEmptySink: () => Promise<Sink>, options: SinkContractOptions = {}): ContractCase[] {
  const {
    largeObjectBytes = 20 * 1024 * 1024,
    listedObjects = 0,
    abortWithinMs = 1000,
    caseTimeoutMs = 120_000,
    features: { atomicIfAbsent = true } = {},
    leftovers = async () => [],
  } = options;

  const nothingLeft = async (sink: Sink): Promise<void> => {
    assert.deepEqual(await leftovers(sink), [], "the store must not keep anything of a put that failed");
  };
  const nothingStored = async (sink: Sink, key: string, signal: AbortSignal): Promise<void> => {
    await expectMissing(sink, key, signal);
    assert.deepEqual(await listKeys(sink, "", signal), [], "an object that was not stored must not be listed");
    await nothingLeft(sink);
  };

  const checks: [name: string, check: Check][] = [
    [
      "what was put is what get returns",
      async (sink, signal) => {
        // An empty chunk in the middle is legal, and must not be taken for the end.
        const chunks = [Buffer.from("one "), Buffer.alloc(0), Buffer.from("two "), Buffer.from([0, 255, 10, 13])];
        await sink.put("dir/round-trip_1.2+3", bodyOf(chunks).body, { signal });
        assert.deepEqual(await readAll(sink, "dir/round-trip_1.2+3", signal), Buffer.concat(chunks));
        // Several chunks long, and looked at only when all are there: finds a sink that reuses its read buffer.
        const middle = await collectAll(pattern(3_000_000));
        await sink.put("middle", bodyOf([middle]).body, { signal });
        assert.ok(middle.equals(await readAll(sink, "middle", signal)), "the bytes read must be the bytes written");
      },
    ],
    [
      "an empty object is an object",
      async (sink, signal) => {
        const info = await sink.put("empty", bodyOf([]).body, { signal });
        assert.equal(info.size, 0);
        assert.deepEqual(await readAll(sink, "empty", signal), Buffer.alloc(0));
        assert.deepEqual(await listKeys(sink, "", signal), ["empty"]);
      },
    ],
    [
      "a large object comes back bit for bit",
      async (sink, signal) => {
        const written = createHash("sha256");
        const info = await sink.put("large", pattern(largeObjectBytes, written), { signal });
        assert.equal(info.size, largeObjectBytes, "put must return the size of what it stored");
        const read = createHash("sha256");
        let size = 0;
        for await (const chunk of sink.get("large", { signal })) {
          read.update(chunk);
          size += chunk.byteLength;
        }
        assert.equal(size, largeObjectBytes);
        assert.equal(read.digest("hex"), written.digest("hex"), "the bytes read must be the bytes written");
      },
    ],
    [
      "get of a missing object fails with ERR_OBJECT_NOT_FOUND on the first pull",
      async (sink, signal) => {
        await putText(sink, "there", "x", signal);
        await expectMissing(sink, "not-there", signal);
        await expectMissing(sink, "there/not", signal);
        await expectMissing(sink, "the", signal);
        await expectCode("ERR_OBJECT_NOT_FOUND", () =>
          collectAll(sink.get("not-there", { signal, range: { start: 1, end: 2 } })),
        );
      },
    ],
    [
      "get returns the bytes of a range",
      async (sink, signal) => {
        await putText(sink, "digits", "0123456789", signal);
        const read = async (range: { start: number; end?: number }): Promise<string> =>
          (await collectAll(sink.get("digits", { signal, range }))).toString();
        assert.equal(await read({ start: 0 }), "0123456789");
        assert.equal(await read({ start: 7 }), "789", "a range without an end goes to the end of the object");
        assert.equal(await read({ start: 2, end: 5 }), "234", "the end of a range does not belong to it");
        assert.equal(await read({ start: 9, end: 10 }), "9");
      },
    ],
    [
      "a range is cut off at the end of the object",
      async (sink, signal) => {
        await putText(sink, "digits", "0123456789", signal);
        await sink.put("empty", bodyOf([]).body, { signal });
        const read = async (key: string, range: { start: number; end?: number }): Promise<string> =>
          (await collectAll(sink.get(key, { signal, range }))).toString();
        assert.equal(await read("digits", { start: 8, end: 100 }), "89");
        assert.equal(await read("digits", { start: 10 }), "");
        assert.equal(await read("digits", { start: 50, end: 60 }), "");
        assert.equal(await read("digits", { start: 4, end: 4 }), "");
        assert.equal(await read("empty", { start: 0 }), "");
      },
    ],
    [
      "put returns and list shows key, size and time",
      async (sink, signal) => {
        const info = await putText(sink, "dir/five", "12345", signal);
        const listed = await listAll(sink, "dir/", signal);
        assert.equal(listed.length, 1);
        for (const each of [info, ...listed]) {
          assert.equal(each.key, "dir/five");
          assert.equal(each.size, 5);
          // A store's clock may be off, but not in another unit and not at the epoch.
          const offMs = Math.abs(each.modifiedAt.getTime() - Date.now());
          assert.ok(offMs < 24 * 3600 * 1000, `modifiedAt is ${each.modifiedAt.toISOString()}, which is not now`);
        }
      },
    ],
    [
      "put replaces an object",
      async (sink, signal) => {
        await putText(sink, "key", "old and long", signal);
        await putText(sink, "key", "new", signal);
        assert.equal((await readAll(sink, "key", signal)).toString(), "new");
        assert.deepEqual(
          (await listAll(sink, "", signal)).map(({ key, size }) => ({ key, size })),
          [{ key: "key", size: 3 }],
        );
      },
    ],
    [
      "a body that throws stores nothing, and put rejects with the body's own error",
      async (sink, signal) => {
        const failure = new Error("the source failed");
        for (const bytes of [0, 1000, largeObjectBytes]) {
          const put = sink.put("key", failing(bytes, failure), { signal });
          assert.equal(await rejection(put), failure, `after ${bytes} bytes`);
          await nothingStored(sink, "key", signal);
        }
      },
    ],
    [
      "a failed overwrite keeps the old object",
      async (sink, signal) => {
        await putText(sink, "key", "old", signal);
        for (const bytes of [1000, largeObjectBytes]) {
          await rejection(sink.put("key", failing(bytes, new Error("the source failed")), { signal }));
          assert.equal((await readAll(sink, "key", signal)).toString(), "old", `after ${bytes} bytes`);
        }
        await nothingLeft(sink);
      },
    ],
    [
      "an aborted overwrite keeps the old object",
      async (sink, signal) => {
        await putText(sink, "key", "old", signal);
        const controller = new AbortController();
        const { body } = stuckAfter(1000, () => controller.abort());
        await expectCode("ERR_ABORTED", () =>
          within(abortWithinMs, sink.put("key", body, { signal: controller.signal })),
        );
        assert.equal((await readAll(sink, "key", signal)).toString(), "old");
        await nothingLeft(sink);
      },
    ],
    [
      "put with a signal that is aborted already stores nothing",
      async (sink, signal) => {
        const body = bodyOf([Buffer.from("x")]);
        await expectCode("ERR_ABORTED", () =>
          within(abortWithinMs, sink.put("key", body.body, { signal: AbortSignal.abort() })),
        );
        assertClosed(body);
        await nothingStored(sink, "key", signal);
      },
    ],
    [
      "an abort between two chunks stores nothing",
      async (sink, signal) => {
        for (const bytes of [1000, largeObjectBytes]) {
          const controller = new AbortController();
          let ended = false;
          async function* body(): AsyncGenerator<Uint8Array, void, void> {
            try {
              yield* pattern(bytes);
              controller.abort();
              // Would go on for ever: only the abort can end it.
              while (!ended) {
                yield Buffer.alloc(1000);
                await delay(1);
              }
            } finally {
              ended = true;
            }
          }
          const put = sink.put("key", body(), { signal: controller.signal });
          put.catch(() => {});
          await aborted(controller.signal);
          try {
            await expectCode("ERR_ABORTED", () => within(abortWithinMs, put));
            assert.ok(ended, "the body must be closed");
          } finally {
            ended = true;
          }
          await nothingStored(sink, "key", signal);
        }
      },
    ],
    [
      "an abort while the body is stuck in next() stores nothing",
      async (sink, signal) => {
        for (const bytes of [0, 1000, largeObjectBytes]) {
          const controller = new AbortController();
          const stuck = stuckAfter(bytes, () => setTimeout(() => controller.abort(), 50));
          const put = sink.put("key", stuck.body, { signal: controller.signal });
          put.catch(() => {});
          await aborted(controller.signal);
          await expectCode("ERR_ABORTED", () => within(abortWithinMs, put));
          assertClosed(stuck);
          await nothingStored(sink, "key", signal);
        }
      },
    ],
    [
      "the body is closed when a put fails or is refused",
      async (sink, signal) => {
        const controller = new AbortController();
        const cancelled = endless(() => controller.abort());
        await expectCode("ERR_ABORTED", () =>
          within(abortWithinMs, sink.put("key", cancelled.body, { signal: controller.signal })),
        );
        assertClosed(cancelled);
        await putText(sink, "taken", "old", signal);
        const refused = bodyOf([Buffer.from("a"), Buffer.from("b")]);
        await sink.put("taken", refused.body, { signal, ifAbsent: true }).catch(() => {});
        assertClosed(refused);
      },
    ],
    [
      "put with ifAbsent stores under a free key",
      async (sink, signal) => {
        await sink.put("key", bodyOf([Buffer.from("first")]).body, { signal, ifAbsent: true });
        assert.equal((await readAll(sink, "key", signal)).toString(), "first");
        await sink.put("large", pattern(largeObjectBytes), { signal, ifAbsent: true });
        assert.deepEqual(await listKeys(sink, "", signal), ["key", "large"]);
        await nothingLeft(sink);
      },
    ],
    [
      "put with ifAbsent refuses a taken key and keeps what is there",
      async (sink, signal) => {
        await putText(sink, "key", "first", signal);
        for (const body of [bodyOf([Buffer.from("second")]).body, pattern(largeObjectBytes)]) {
          await expectCode("ERR_OBJECT_EXISTS", () => sink.put("key", body, { signal, ifAbsent: true }));
          assert.equal((await readAll(sink, "key", signal)).toString(), "first");
          await nothingLeft(sink);
        }
      },
    ],
    [
      "list is in order of the keys",
      async (sink, signal) => {
        // Chosen so that the order of folders, of natural numbers and of words all differ from the order of keys.
        const keys = ["p/2", "p/10", "p/1", "a/x", "a.b/x", "a+b", "a-b/c", "a_b", "B", "a/y/z", "a/y.z", "ab"];
        for (const key of keys) await putText(sink, key, key, signal);
        assert.deepEqual(await listKeys(sink, "", signal), [...keys].sort());
      },
    ],
    [
      "the prefix of list is plain text",
      async (sink, signal) => {
        for (const key of ["p/1", "p/10", "p/2", "pq/1", "q"]) await putText(sink, key, key, signal);
        assert.deepEqual(await listKeys(sink, "p/1", signal), ["p/1", "p/10"]);
        assert.deepEqual(await listKeys(sink, "p/", signal), ["p/1", "p/10", "p/2"]);
        assert.deepEqual(await listKeys(sink, "p", signal), ["p/1", "p/10", "p/2", "pq/1"]);
        assert.deepEqual(await listKeys(sink, "p/10", signal), ["p/10"]);
        assert.deepEqual(await listKeys(sink, "p/3", signal), []);
        assert.deepEqual(await listKeys(sink, "nothing/like/it", signal), []);
      },
    ],
    [
      "list leaves out at most what it is told to: keys up to the one it is to begin after",
      async (sink, signal) => {
        const keys = ["p/1", "p/1.a", "p/10", "p/2", "p/d/x", "p/d/y", "q"];
        for (const key of keys) await putText(sink, key, key, signal);
        for (const after of ["o", "p/1", "p/1.", "p/2", "p/c", "p/d", "p/d/x", "p/e", "q"]) {
          const shown: string[] = [];
          for await (const { key } of sink.list("p/", { signal, after })) shown.push(key);
          const all = keys.filter((key) => key.startsWith("p/"));
          assert.deepEqual(shown, all.slice(all.length - shown.length), "what is left out is the beginning");
          const asked = all.filter((key) => key > after);
          assert.ok(
            shown.length >= asked.length,
            `after ${after}, ${asked.join(" ")} are to be listed, not ${shown.join(" ")}`,
          );
        }
      },
    ],
    [
      "an empty store lists nothing",
      async (sink, signal) => {
        assert.deepEqual(await listAll(sink, "", signal), []);
        assert.deepEqual(await listAll(sink, "p/", signal), []);
      },
    ],
    [
      "sweep, if there is one, leaves objects alone, and puts that are under way",
      async (sink, signal) => {
        if (sink.sweep === undefined) return;
        await sink.put("p/1", bodyOf([Buffer.from("one")]).body, { signal });
        const swept: unknown[] = [];
        async function* sweepingHalfway(): AsyncGenerator<Uint8Array, void, void> {
          yield* pattern(largeObjectBytes);
          swept.push(await sink.sweep?.("p/", { signal, olderThan: new Date(Date.now() - 3_600_000) }));
          yield Buffer.from("end");
        }
        await sink.put("p/2", sweepingHalfway(), { signal });
        assert.deepEqual(swept, [0], "there was nothing to remove");
        await sink.sweep("p/", { signal, olderThan: new Date(Date.now() + 3_600_000) });
        assert.deepEqual(await listKeys(sink, "", signal), ["p/1", "p/2"]);
        assert.deepEqual(await readAll(sink, "p/1", signal), Buffer.from("one"));
      },
    ],
    [
      "list stops when it is aborted",
      async (sink, signal) => {
        await putText(sink, "a", "a", signal);
        await expectCode("ERR_ABORTED", () => within(abortWithinMs, listAll(sink, "", AbortSignal.abort())));
      },
    ],
    [
      "delete removes an object, and succeeds when there is none",
      async (sink, signal) => {
        await putText(sink, "dir/a", "a", signal);
        await putText(sink, "dir/b", "b", signal);
        await sink.delete("dir/a", { signal });
        await expectMissing(sink, "dir/a", signal);
        assert.deepEqual(await listKeys(sink, "", signal), ["dir/b"]);
        await sink.delete("dir/a", { signal });
        await sink.delete("never/was", { signal });
        await sink.delete("dir", { signal });
        assert.deepEqual(await listKeys(sink, "", signal), ["dir/b"]);
      },
    ],
    [
      "two puts at once do not mix",
      async (sink, signal) => {
        const texts = ["left", "right"].map((word) => Array.from({ length: 200 }, (_, index) => `${word} ${index};`));
        const slowly = async function* (lines: string[]): AsyncGenerator<Uint8Array, void, void> {
          for (const line of lines) {
            await delay(0);
            yield Buffer.from(line);
          }
        };
        await Promise.all(texts.map((lines, index) => sink.put(`to/${index}`, slowly(lines), { signal })));
        for (const [index, lines] of texts.entries()) {
          assert.equal((await readAll(sink, `to/${index}`, signal)).toString(), lines.join(""));
        }
        await Promise.all(texts.map((lines) => sink.put("same", slowly(lines), { signal })));
        const winner = (await readAll(sink, "same", signal)).toString();
        assert.ok(
          texts.some((lines) => lines.join("") === winner),
          "one of two simultaneous objects must win whole",
        );
      },
    ],
    [
      "a get that is left early gives back what it held",
      async (sink, signal) => {
        await sink.put("large", pattern(largeObjectBytes), { signal });
        // More often than any pool of connections is large: a leaked one would be missed.
        for (let round = 0; round < 64; round += 1) {
          for await (const chunk of sink.get("large", { signal })) {
            assert.ok(chunk.byteLength > 0);
            break;
          }
        }
        await within(10_000, putText(sink, "after", "still works", signal));
        assert.equal((await readAll(sink, "after", signal)).toString(), "still works");
      },
    ],
    [
      "get stops when it is aborted",
      async (sink, signal) => {
        await sink.put("large", pattern(largeObjectBytes), { signal });
        await expectCode("ERR_ABORTED", () =>
          within(abortWithinMs, collectAll(sink.get("large", { signal: AbortSignal.abort() }))),
        );
        const controller = new AbortController();
        const readUntilAborted = async (): Promise<void> => {
          for await (const _chunk of sink.get("large", { signal: controller.signal })) controller.abort();
        };
        await expectCode("ERR_ABORTED", () => within(10_000, readUntilAborted()));
      },
    ],
    [
      "keys that could leave the store are refused",
      async (sink, signal) => {
        for (const key of ["../x", "/x", "a//b", "", "nul\0", "a/../b", "a/.", "a/", "a b"]) {
          const put = (): Promise<unknown> => sink.put(key, bodyOf([Buffer.from("x")]).body, { signal });
          await expectCode("ERR_CONFIG_INVALID", put, `put of ${JSON.stringify(key)}`);
          const get = (): Promise<unknown> => collectAll(sink.get(key, { signal }));
          await expectCode("ERR_CONFIG_INVALID", get, `get of ${JSON.stringify(key)}`);
          const remove = (): Promise<unknown> => sink.delete(key, { signal });
          await expectCode("ERR_CONFIG_INVALID", remove, `delete of ${JSON.stringify(key)}`);
        }
        assert.deepEqual(await listKeys(sink, "", signal), []);
      },
    ],
  ];

  if (atomicIfAbsent) {
    checks.push([
      "of several simultaneous puts with ifAbsent exactly one wins",
      async (sink, signal) => {
        for (const bytes of [10, largeObjectBytes]) {
          const count = bytes < 1000 ? 8 : 3;
          const key = `race-of-${count}`;
          const puts = Array.from({ length: count }, (_, index) => {
            const marked = async function* (): AsyncGenerator<Uint8Array, void, void> {
              yield Buffer.from(`put ${index}.`);
              yield* pattern(bytes);
            };
            return sink.put(key, marked(), { signal, ifAbsent: true });
          });
          const outcomes = await Promise.allSettled(puts);
          for (const outcome of outcomes) {
            if (outcome.status === "rejected") assertCode("ERR_OBJECT_EXISTS", outcome.reason);
          }
          const winner = outcomes.findIndex((outcome) => outcome.status === "fulfilled");
          assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1, "exactly one must win");
          const stored = await readAll(sink, key, signal);
          assert.equal(stored.byteLength, bytes + 6);
          assert.equal(stored.toString("latin1", 0, 6), `put ${winner}.`, "what is stored must be what the winner put");
          await nothingLeft(sink);
        }
      },
    ]);
  }

  if (listedObjects > 0) {
    checks.push([
      `list shows all of ${listedObjects} objects`,
      async (sink, signal) => {
        const keys = Array.from({ length: listedObjects }, (_, index) => `many/${index}`);
        for (let start = 0; start < keys.length; start += 16) {
          await Promise.all(keys.slice(start, start + 16).map((key) => putText(sink, key, "", signal)));
        }
        assert.deepEqual(await listKeys(sink, "many/", signal), [...keys].sort());
      },
    ]);
  }

  return checks.map(([name, check]) => ({
    name,
    async run(): Promise<void> {
      const sink = await createEmptySink();
      const signal = AbortSignal.timeout(caseTimeoutMs);
      let passed = false;
      try {
        await within(caseTimeoutMs, check(sink, signal));
        passed = true;
      } finally {
        // After a failed check the store may well refuse this too: the check's own error is the one to see.
        const cleaning = removeAll(sink, signal).then(() => sink.close());
        if (passed) await cleaning;
        else await within(5000, cleaning).catch(() => {});
      }
    },
  }));
}

interface WatchedBody {
  readonly body: Bytes;
  /** Whether the body was opened and neither read to its end nor closed. */
  isOpen(): boolean;
}

function watched(source: Bytes): WatchedBody {
  let open = 0;
  const body: Bytes = {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]();
      open += 1;
      let closed = false;
      const close = (): void => {
        if (!closed) open -= 1;
        closed = true;
      };
      return {
        async next() {
          try {
            const result = await iterator.next();
            if (result.done === true) close();
            return result;
          } catch (error) {
            close();
            throw error;
          }
        },
        async return() {
          close();
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
  return { body, isOpen: () => open > 0 };
}

function assertClosed(body: WatchedBody): void {
  assert.equal(body.isOpen(), false, "a body that was opened must be read to its end or closed");
}

function bodyOf(chunks: readonly Uint8Array[]): WatchedBody {
  return watched(
    (async function* () {
      yield* chunks;
    })(),
  );
}

/** Bytes that depend on where they are, so that lost, doubled and swapped pieces show; in chunks of an odd size. */
async function* pattern(bytes: number, hash?: ReturnType<typeof createHash>): AsyncGenerator<Uint8Array, void, void> {
  const chunkWords = 87_653;
  for (let offset = 0; offset < bytes; offset += chunkWords * 4) {
    const words = new Uint32Array(chunkWords);
    for (let index = 0; index < chunkWords; index += 1) words[index] = Math.imul(offset / 4 + index, 0x9e3779b1);
    const chunk = new Uint8Array(words.buffer, 0, Math.min(chunkWords * 4, bytes - offset));
    hash?.update(chunk);
    yield chunk;
  }
}

async function* failing(bytes: number, error: Error): AsyncGenerator<Uint8Array, void, void> {
  yield* pattern(bytes);
  throw error;
}

/** A body whose next() never settles once the bytes are read. */
function stuckAfter(bytes: number, onStuck: () => void): WatchedBody {
  const start = pattern(bytes);
  return watched({
    [Symbol.asyncIterator]: () => ({
      async next() {
        const result = await start.next();
        if (result.done !== true) return result;
        onStuck();
        return new Promise(() => {});
      },
      async return() {
        return { done: true, value: undefined };
      },
    }),
  });
}

/** A body that goes on until it is closed, and calls back after its first chunk. */
function endless(onFirst: () => void): WatchedBody {
  return watched(
    (async function* () {
      yield Buffer.alloc(1000);
      onFirst();
      while (true) {
        await delay(1);
        yield Buffer.alloc(1000);
      }
    })(),
  );
}

async function putText(sink: Sink, key: string, text: string, signal: AbortSignal): Promise<ObjectInfo> {
  return sink.put(key, bodyOf([Buffer.from(text)]).body, { signal });
}

async function collectAll(body: Bytes): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function readAll(sink: Sink, key: string, signal: AbortSignal): Promise<Buffer> {
  return collectAll(sink.get(key, { signal }));
}

async function listAll(sink: Sink, prefix: string, signal: AbortSignal): Promise<ObjectInfo[]> {
  const infos: ObjectInfo[] = [];
  for await (const info of sink.list(prefix, { signal })) infos.push(info);
  return infos;
}

async function listKeys(sink: Sink, prefix: string, signal: AbortSignal): Promise<string[]> {
  return (await listAll(sink, prefix, signal)).map(({ key }) => key);
}

async function removeAll(sink: Sink, signal: AbortSignal): Promise<void> {
  for (const key of await listKeys(sink, "", signal)) await sink.delete(key, { signal });
}

async function expectMissing(sink: Sink, key: string, signal: AbortSignal): Promise<void> {
  // The call itself must not throw: nothing happens before the first pull.
  const body = sink.get(key, { signal });
  await expectCode("ERR_OBJECT_NOT_FOUND", () => collectAll(body), `get of ${key}`);
}

async function expectCode(code: ErrorCode, call: () => Promise<unknown>, what?: string): Promise<void> {
  // Inside an async function, so that a synchronous throw counts as a rejection.
  assertCode(code, await rejection((async () => call())(), what));
}

function assertCode(code: ErrorCode, error: unknown): void {
  assert.ok(isBackypError(error, code), `expected ${code}, got: ${String(error)}`);
}

async function rejection(promise: Promise<unknown>, what = "the call"): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: `${what} succeeded; it must reject` });
}

/** Fails when `promise` takes longer than `limitMs`. */
async function within<T>(limitMs: number, promise: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const timeout = delay(limitMs, undefined, { signal: timer.signal }).then(() => {
    throw new assert.AssertionError({ message: `not done within ${limitMs} ms` });
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    timer.abort();
    timeout.catch(() => {});
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}
