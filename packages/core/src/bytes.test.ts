import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { abortable, collect, measured, rechunk } from "./bytes.ts";
import { BackypError, isBackypError } from "./errors.ts";

async function* of(...chunks: (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield Buffer.from(chunk as string);
}

describe("abortable", () => {
  const stuck = (onReturn = () => {}): AsyncIterable<Uint8Array> => ({
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<never>(() => {}),
      return: async () => {
        onReturn();
        return { done: true, value: undefined };
      },
    }),
  });

  it("passes bytes and errors through", async () => {
    const { signal } = new AbortController();
    expect((await collect(abortable(of("a", "b"), signal), 9)).toString()).toBe("ab");
    const failure = new Error("no");
    const failing = (async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from("a");
      throw failure;
    })();
    await expect(collect(abortable(failing, signal), 9)).rejects.toBe(failure);
  });

  it("ends at once when aborted, before it begins, between chunks, and while the producer is stuck", async () => {
    const aborted = (error: unknown): boolean => isBackypError(error, "ERR_ABORTED");
    await expect(collect(abortable(of("a"), AbortSignal.abort()), 9)).rejects.toSatisfy(aborted);
    let closed = 0;
    const closing = stuck(() => (closed += 1));
    await expect(collect(abortable(closing, AbortSignal.timeout(20)), 9)).rejects.toSatisfy(aborted);
    expect(closed).toBe(1);
    const abort = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const chunk of abortable(of("a", "b", "c"), abort.signal)) {
        seen.push(chunk.toString());
        abort.abort();
      }
    })();
    await expect(reading).rejects.toSatisfy(aborted);
    expect(seen).toHaveLength(1);
  });

  it("gives the signal's own error", async () => {
    const reason = new BackypError("ERR_BUSY", "somebody else was first");
    await expect(collect(abortable(of("a"), AbortSignal.abort(reason)), 9)).rejects.toBe(reason);
  });

  it("leaves no listener on the signal, whoever ends it", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const counting = new Proxy(signal, {
      get(target, name) {
        if (name === "addEventListener") listeners += 1;
        if (name === "removeEventListener") listeners -= 1;
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    await collect(abortable(of("a"), counting), 9);
    for await (const _ of abortable(of("a", "b"), counting)) break;
    expect(listeners).toBe(0);
  });

  it("does not hold on to the chunks that went by", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage = runInNewContext("gc") as () => void;
    const refs: WeakRef<Uint8Array>[] = [];
    const many = (async function* (): AsyncGenerator<Uint8Array> {
      for (let n = 0; n < 200; n++) {
        const chunk = Buffer.allocUnsafeSlow(1000);
        refs.push(new WeakRef(chunk));
        yield chunk;
      }
    })();
    let alive = 0;
    for await (const _ of abortable(many, new AbortController().signal)) {
      if (refs.length < 200) continue;
      // A WeakRef keeps its target until the end of the job that made or read it.
      await new Promise((resolve) => setTimeout(resolve, 5));
      collectGarbage();
      alive = refs.filter((ref) => ref.deref() !== undefined).length;
    }
    expect(alive).toBeLessThan(10);
  });
});

describe("rechunk", () => {
  it.each([
    [["abcdefg"], ["abc", "def", "g"]],
    [
      ["a", "b", "c", "d"],
      ["abc", "d"],
    ],
    [
      ["abc", "def"],
      ["abc", "def"],
    ],
    [
      ["", "ab", "", "cdef", ""],
      ["abc", "def"],
    ],
    [[], []],
  ])("cuts %j to %j", async (input, output) => {
    const chunks = await Array.fromAsync(rechunk(of(...input), 3), (chunk) => Buffer.from(chunk).toString());
    expect(chunks).toEqual(output);
    const own = await Array.fromAsync(rechunk(of(...input), 3, Buffer.alloc), (chunk) => Buffer.from(chunk).toString());
    expect(own).toEqual(output);
  });
});

it("measured counts and hashes", async () => {
  const { body, measure } = measured(of("ab", "c"));
  await collect(body, 9);
  expect(measure.size).toBe(3);
  expect(measure.sha256()).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

it("collect refuses what is too long", async () => {
  await expect(collect(of("abc", "d"), 3)).rejects.toThrow(/more than 3 bytes/);
});
