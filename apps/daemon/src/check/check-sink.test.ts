import { BackypError, type CheckItem, type Sink } from "@zk-backyp/core";
import { memorySink, sinkContract } from "@zk-backyp/core/testing";
import { describe, expect, it } from "vitest";
import { checkSink, LARGE_CASES, STORE_CASES } from "./check-sink.ts";

const { signal } = new AbortController();

async function itemsOf(sink: Sink, deletes = true): Promise<CheckItem[]> {
  return Array.fromAsync(checkSink(sink, { prefix: "zk", deletes, signal }));
}

async function putText(sink: Sink, key: string, text: string): Promise<void> {
  async function* body(): AsyncGenerator<Uint8Array, void, void> {
    yield Buffer.from(text);
  }
  await sink.put(key, body(), { signal });
}

async function keysIn(sink: Sink): Promise<string[]> {
  return (await Array.fromAsync(sink.list("", { signal }))).map(({ key }) => key);
}

const denied = (action: string): never => {
  throw new BackypError("ERR_SINK_DENIED", `the store refuses to ${action}`);
};

describe("the check of a sink", () => {
  it("finds nothing wrong with a good one, and leaves what is there as it was", async () => {
    const sink = memorySink();
    await putText(sink, "zk/manifests/zk-1.json", "{}");
    const items = await itemsOf(sink);
    expect(items.filter(({ status }) => status !== "ok")).toEqual([]);
    expect(items.map(({ name }) => name)).toEqual([
      "sink: store",
      "sink: clock",
      "sink: read",
      "sink: list",
      "sink: delete",
      "sink: contract",
    ]);
    expect(await keysIn(sink)).toEqual(["zk/manifests/zk-1.json"]);
  });

  it("removes probes that a check has left which died a day ago, and no others", async () => {
    const sink = memorySink();
    await putText(sink, "zk/check-0123456789ab.probe", "probe");
    await putText(sink, "zk/check-ba9876543210.probe", "probe");
    const aged: Sink = {
      ...sink,
      async *list(prefix, options) {
        for await (const info of sink.list(prefix, options)) {
          const isOld = info.key === "zk/check-0123456789ab.probe";
          yield isOld ? { ...info, modifiedAt: new Date(Date.now() - 90_000_000) } : info;
        }
      },
    };
    await itemsOf(aged);
    expect(await keysIn(sink)).toEqual(["zk/check-ba9876543210.probe"]);
  });

  it("stores nothing outside of its own names", async () => {
    const sink = memorySink();
    const keys = new Set<string>();
    const watched: Sink = {
      ...sink,
      put: (key, body, options) => {
        keys.add(key);
        return sink.put(key, body, options);
      },
    };
    await itemsOf(watched);
    expect(keys.size).toBeGreaterThan(10);
    for (const key of keys) expect(key).toMatch(/^zk\/check-[0-9a-f]{12}\.[^/]+$/);
  });

  it("has only cases that the contract has", () => {
    const names = sinkContract(async () => memorySink()).map(({ name }) => name);
    expect([...STORE_CASES, ...LARGE_CASES].filter((name) => !names.includes(name))).toEqual([]);
  });

  it("ends where nothing can be stored, and says what to do", async () => {
    const sink: Sink = { ...memorySink(), put: async () => denied("write") };
    expect(await itemsOf(sink)).toEqual([
      {
        name: "sink: store",
        status: "failed",
        message: "the store refuses to write",
        remedy: "give the credentials, or this user, the right to store objects there",
      },
    ]);
  });

  it.each([
    [true, "failed", /which retention needs/],
    [false, "warning", /without retention nothing has to be deleted/],
  ])(
    "where nothing can be deleted and retention is %s, that is %s, and one probe is left",
    async (deletes, status, remedy) => {
      const sink = memorySink();
      const items = await itemsOf({ ...sink, delete: async () => denied("delete") }, deletes);
      expect(items.at(-1)).toMatchObject({ name: "sink: delete", status, remedy: expect.stringMatching(remedy) });
      const left = await keysIn(sink);
      expect(left).toEqual([expect.stringMatching(/^zk\/check-[0-9a-f]{12}\.probe$/)]);
      expect(items.at(-1)?.message).toContain(left[0]);
    },
  );

  it.each([
    ["read", { get: () => denied("read") }],
    ["list", { list: () => denied("list") }],
  ])("tells that %s is denied", async (what, broken) => {
    const sink = memorySink();
    const items = await itemsOf({ ...sink, ...broken });
    expect(items.filter(({ status }) => status === "failed")).toEqual([
      expect.objectContaining({ name: `sink: ${what}`, message: `the store refuses to ${what}` }),
    ]);
    expect(await keysIn(sink)).toEqual([]);
  });

  it("tells a store that ignores ranges and conditions", async () => {
    const sink = memorySink();
    const broken: Sink = {
      ...sink,
      put: (key, body, options) => sink.put(key, body, { signal: options.signal }),
      get: (key, options) => sink.get(key, { signal: options.signal }),
    };
    const wrong = (await itemsOf(broken)).filter(({ status }) => status === "failed");
    expect(wrong.map(({ message }) => message)).toEqual([
      expect.stringMatching(/get returns the bytes of a range/),
      expect.stringMatching(/a range is cut off/),
      expect.stringMatching(/ifAbsent refuses a taken key/),
      expect.stringMatching(/exactly one wins/),
    ]);
    expect(await keysIn(sink)).toEqual([]);
  });

  it.each([
    [-3_600_000, "failed", /3600 s behind/],
    [-30_000, "warning", /(29|30) s behind/],
    [-3_000, "ok", /agree/],
    [3_000, "ok", /agree/],
    [30_000, "warning", /30 s ahead of/],
    [3_600_000, "failed", /3600 s ahead of/],
  ])("with the store's clock off by %d ms it is %s", async (offMs, status, message) => {
    const sink = memorySink();
    const late: Sink = {
      ...sink,
      put: async (key, body, options) => {
        const info = await sink.put(key, body, options);
        return { ...info, modifiedAt: new Date(info.modifiedAt.getTime() + offMs) };
      },
    };
    const clock = (await itemsOf(late)).find(({ name }) => name === "sink: clock");
    expect(clock).toMatchObject({ status, message: expect.stringMatching(message) });
  });
});
