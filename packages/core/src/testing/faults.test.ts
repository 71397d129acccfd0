import { describe, expect, it } from "vitest";
import { type Bytes, collect } from "../bytes.ts";
import type { Sink } from "../sink.ts";
import { withFaults } from "./faults.ts";
import { memorySink } from "./memory-sink.ts";
import { sinkContract } from "./sink-contract.ts";

const signal = new AbortController().signal;
const failure = new Error("injected");

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function* body(text: string): Bytes & AsyncGenerator<Uint8Array> {
  for (const character of text) yield Buffer.from(character);
}

async function read(sink: Sink, key: string): Promise<string> {
  return (await collect(sink.get(key, { signal }), 1000)).toString();
}

describe("withFaults without faults", () => {
  for (const { name, run } of sinkContract(async () => withFaults(memorySink(), {}), { largeObjectBytes: 200_000 })) {
    it(name, run);
  }
});

describe("withFaults", () => {
  it("fails the calls it was told to, in their order", async () => {
    const sink = withFaults(memorySink(), { put: [null, failure], list: [failure], get: [failure], delete: [failure] });
    await sink.put("a", body("a"), { signal });
    await expect(sink.put("b", body("b"), { signal })).rejects.toBe(failure);
    await sink.put("c", body("c"), { signal });
    await expect(read(sink, "a")).rejects.toBe(failure);
    await expect(sink.delete("a", { signal })).rejects.toBe(failure);
    await expect(all(sink.list("", { signal }))).rejects.toBe(failure);
    expect((await all(sink.list("", { signal }))).map(({ key }) => key)).toEqual(["a", "c"]);
  });

  it("breaks a put or a get in its middle", async () => {
    const inner = memorySink();
    const sink = withFaults(inner, {
      put: [{ error: failure, afterBytes: 3 }],
      get: [{ error: failure, afterBytes: 3 }],
    });
    await expect(sink.put("a", body("abcdef"), { signal })).rejects.toBe(failure);
    expect(await all(inner.list("", { signal }))).toEqual([]);
    await sink.put("a", body("abcdef"), { signal });
    await expect(read(sink, "a")).rejects.toBe(failure);
  });

  it("does a thing and reports it as failed", async () => {
    const sink = withFaults(memorySink(), {
      put: [{ error: failure, stored: true }],
      delete: [{ error: failure, stored: true }],
    });
    await expect(sink.put("a", body("abc"), { signal })).rejects.toBe(failure);
    expect(await read(sink, "a")).toBe("abc");
    await expect(sink.delete("a", { signal })).rejects.toBe(failure);
    expect(await all(sink.list("", { signal }))).toEqual([]);
  });

  it("delivers changed and cut objects, and leaves the stored one alone", async () => {
    const sink = withFaults(memorySink(), { get: [{ flipByteAt: 1 }, { cutAt: 2 }] });
    await sink.put("a", body("abc"), { signal });
    const flipped = await collect(sink.get("a", { signal }), 1000);
    expect([...flipped]).toEqual([0x61, 0x62 ^ 0xff, 0x63]);
    expect(await read(sink, "a")).toBe("ab");
    expect(await read(sink, "a")).toBe("abc");
  });
});
