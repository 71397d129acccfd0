import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { isBackypError, type Sink } from "@zk-backyp/core";
import { cephRgwMissing, requirePart } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createS3Sink } from "../src/index.ts";
import { type FaultyProxy, startFaultyProxy } from "./faulty-proxy.ts";
import { type Store, startStore } from "./store.ts";

const MIB = 1024 * 1024;
const { signal } = new AbortController();

async function* pattern(bytes: number): AsyncGenerator<Uint8Array, void, void> {
  for (let offset = 0; offset < bytes; offset += MIB) {
    const chunk = Buffer.alloc(Math.min(MIB, bytes - offset));
    for (let index = 0; index + 4 <= chunk.byteLength; index += 4) chunk.writeUInt32LE(offset + index, index);
    yield chunk;
  }
}

async function digest(body: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of body) hash.update(chunk);
  return hash.digest("hex");
}

async function failure(promise: Promise<unknown>): Promise<{ code: string; message: string; seconds: number }> {
  const start = performance.now();
  try {
    await promise;
  } catch (error) {
    const code = isBackypError(error) ? error.code : "no BackypError";
    return { code, message: String(error), seconds: (performance.now() - start) / 1000 };
  }
  throw new Error("the call did not fail");
}

describe.skipIf(!requirePart(cephRgwMissing()))("sink-s3 on Ceph RGW", () => {
  let store: Store;
  let proxy: FaultyProxy;
  let sink: Sink;
  beforeAll(async () => {
    store = await startStore();
    proxy = await startFaultyProxy(store.rgw.port);
    sink = await createS3Sink({ ...store.options, endpoint: proxy.endpoint, requestTimeoutMs: 2000 });
  });
  afterEach(() => proxy.faults(() => undefined));
  afterAll(async () => {
    await sink?.close();
    await proxy?.stop();
    await store?.stop();
  });

  describe("a download whose connection is cut", () => {
    it("goes on where it stopped", async () => {
      await sink.put("download", pattern(20 * MIB), { signal });
      const written = await digest(pattern(20 * MIB));
      // Four connections that break after 3 MiB each, then one that holds.
      proxy.faults((connection) => (connection < 4 ? { cutAfterReceived: 3 * MIB } : undefined));
      expect(await digest(sink.get("download", { signal }))).toBe(written);
      expect(proxy.connections).toBe(5);
    });

    it("goes on inside its range", async () => {
      proxy.faults((connection) => (connection < 2 ? { cutAfterReceived: MIB } : undefined));
      const range = { start: 5 * MIB, end: 9 * MIB };
      const parts: Uint8Array[] = [];
      for await (const chunk of sink.get("download", { signal, range })) parts.push(chunk);
      const whole: Uint8Array[] = [];
      for await (const chunk of pattern(20 * MIB)) whole.push(chunk);
      expect(Buffer.concat(parts).equals(Buffer.concat(whole).subarray(range.start, range.end))).toBe(true);
    });

    it("fails in the end when nothing comes any more", async () => {
      proxy.faults((connection) => ({ cutAfterReceived: connection === 0 ? 3 * MIB : 100 }));
      const { code, message } = await failure(digest(sink.get("download", { signal })));
      expect(code).toBe("ERR_SINK_UNAVAILABLE");
      expect(message).toContain("cannot read download from s3://backups");
    });

    it("does not go on with another object", async () => {
      await sink.put("changing", pattern(12 * MIB), { signal });
      const direct = await createS3Sink(store.options);
      proxy.faults((connection) => (connection === 0 ? { cutAfterReceived: 6 * MIB } : undefined));
      const read = async (): Promise<void> => {
        for await (const _chunk of sink.get("changing", { signal })) {
          await direct.put("changing", pattern(13 * MIB), { signal });
        }
      };
      const { code, message } = await failure(read());
      expect(code).toBe("ERR_SINK_UNAVAILABLE");
      expect(message).toContain("was replaced, deleted or cut off while it was read");
      await direct.close();
    });
  });

  describe("an upload", () => {
    it("gets over connections that are cut in the middle of a part", async () => {
      proxy.faults((connection) => (connection % 3 === 1 && connection < 8 ? { cutAfterSent: 2 * MIB } : undefined));
      const info = await sink.put("upload", pattern(30 * MIB), { signal });
      expect(info.size).toBe(30 * MIB);
      proxy.faults(() => undefined);
      expect(await digest(sink.get("upload", { signal }))).toBe(await digest(pattern(30 * MIB)));
      expect(await store.unfinishedUploads()).toEqual([]);
    });

    it("gets over a store that fails for a while", async () => {
      for (const status of [500, 503]) {
        proxy.faults((connection) => (connection < 2 ? { status } : undefined));
        await sink.put("healed", pattern(1000), { signal });
      }
      proxy.faults((connection) => (connection < 2 ? { status: 503 } : undefined));
      expect(await digest(sink.get("healed", { signal }))).toBe(await digest(pattern(1000)));
    });

    it("leaves nothing behind when a part cannot be sent", async () => {
      // The parts break off again and again; the small requests of cleaning up get through.
      proxy.faults(() => ({ cutAfterSent: 4 * MIB }));
      const { code } = await failure(sink.put("broken", pattern(30 * MIB), { signal }));
      expect(code).toBe("ERR_SINK_UNAVAILABLE");
      expect(await store.unfinishedUploads()).toEqual([]);
      proxy.faults(() => undefined);
      expect((await failure(digest(sink.get("broken", { signal })))).code).toBe("ERR_OBJECT_NOT_FOUND");
    });

    it("says what to do when the unfinished upload cannot be removed", async () => {
      const warnings: string[] = [];
      const logger = { debug() {}, info() {}, warn: (_: object, message: string) => void warnings.push(message) };
      const lonely = await createS3Sink({ ...store.options, endpoint: proxy.endpoint, maxAttempts: 1 }, { logger });
      async function* body(): AsyncGenerator<Uint8Array, void, void> {
        yield* pattern(20 * MIB);
        while ((await store.unfinishedUploads()).length === 0) await delay(10);
        proxy.faults(() => ({ cutAfterSent: 1 }));
        yield* pattern(20 * MIB);
      }
      const { code, message } = await failure(lonely.put("left", body(), { signal }));
      expect(code).toBe("ERR_SINK_UNAVAILABLE");
      expect(message).toMatch(/moreover, the unfinished upload of left stays in s3:.*give the bucket a rule/);
      expect(warnings).toHaveLength(1);
      expect(await store.unfinishedUploads()).toEqual(["left"]);
      await store.minio.removeIncompleteUpload(store.bucket, "left");
      await lonely.close();
    });

    it("is refused by the store when a byte changes on the way", async () => {
      proxy.faults(() => ({ flipSentAt: 100_000 }));
      for (const bytes of [MIB, 20 * MIB]) {
        const { code, message } = await failure(sink.put("changed", pattern(bytes), { signal }));
        expect(code).toBe("ERR_SINK_UNAVAILABLE");
        expect(message).toContain("the bytes were changed on their way");
      }
      expect(await store.unfinishedUploads()).toEqual([]);
    });

    it("is known to have been stored although the answer was lost", async () => {
      // The answer to the put itself is cut off; the try that follows finds the key taken, by ourselves.
      let answered = 0;
      proxy.faults(() => {
        answered += 1;
        return answered === 2 ? { cutAfterReceived: 1 } : undefined;
      });
      const fresh = await createS3Sink({ ...store.options, endpoint: proxy.endpoint });
      // One connection per request: HEAD, PUT, PUT again, HEAD.
      await fresh.put("lost-answer", closingConnections(proxy, pattern(1000)), { signal, ifAbsent: true });
      await fresh.close();
      expect(await digest(sink.get("lost-answer", { signal }))).toBe(await digest(pattern(1000)));
    });
  });

  describe("a store that cannot be used", () => {
    const elsewhere = async (options: object, call: (sink: Sink) => Promise<unknown>) => {
      const other = await createS3Sink({ ...store.options, ...options });
      try {
        return await failure(call(other));
      } finally {
        await other.close();
      }
    };
    const put = (other: Sink): Promise<unknown> => other.put("key", pattern(10), { signal });
    const get = (other: Sink): Promise<unknown> => digest(other.get("key", { signal }));
    const list = async (other: Sink): Promise<unknown> => other.list("", { signal })[Symbol.asyncIterator]().next();

    it("has no such bucket", async () => {
      for (const call of [put, get, list]) {
        const { code, message } = await elsewhere({ bucket: "no-such-bucket" }, call);
        expect(code).toBe("ERR_SINK_NOT_FOUND");
        expect(message).toContain("the bucket no-such-bucket does not exist");
      }
    });

    it("refuses wrong keys, and the error does not repeat them", async () => {
      for (const options of [{ secretAccessKey: "hunter2" }, { accessKeyId: "nobody", secretAccessKey: "hunter2" }]) {
        for (const call of [put, get, list]) {
          const { code, message } = await elsewhere(options, call);
          expect(code).toBe("ERR_SINK_DENIED");
          expect(message).not.toContain("hunter2");
        }
      }
    });

    it("refuses a user without rights", async () => {
      const stranger = await store.rgw.createUser("stranger");
      for (const call of [put, get, list]) expect((await elsewhere(stranger, call)).code).toBe("ERR_SINK_DENIED");
    });

    it("is full", async () => {
      const small = await store.rgw.createUser("small", { maxBytes: MIB });
      await store.minioOf(small).makeBucket("small-one");
      const options = { ...small, bucket: "small-one" };
      const { code } = await elsewhere(options, (other) => other.put("key", pattern(40 * MIB), { signal }));
      expect(code).toBe("ERR_SINK_FULL");
    });

    it("is not there, which is known soon", async () => {
      const refused = await elsewhere({ endpoint: "http://127.0.0.1:1" }, put);
      expect(refused).toMatchObject({ code: "ERR_SINK_UNAVAILABLE" });
      expect(refused.message).toContain("no answer from http://127.0.0.1:1");
      expect(refused.seconds).toBeLessThan(5);
      const unknown = await elsewhere({ endpoint: "http://no-such-host.invalid" }, list);
      expect(unknown.code).toBe("ERR_SINK_UNAVAILABLE");
      expect(unknown.seconds).toBeLessThan(30);
    });

    it("never answers", async () => {
      proxy.faults(() => ({ silent: true }));
      const options = { endpoint: proxy.endpoint, requestTimeoutMs: 500 };
      for (const call of [put, get, list]) {
        const { code, seconds } = await elsewhere(options, call);
        expect(code).toBe("ERR_SINK_UNAVAILABLE");
        expect(seconds).toBeLessThan(10);
      }
    });
  });
});

/** The same bytes; drops the connections that are open when they end, so that the next request makes a new one. */
async function* closingConnections(
  proxy: FaultyProxy,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  yield* body;
  proxy.drop();
}
