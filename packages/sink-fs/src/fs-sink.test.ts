import { mkdir, mkdtemp, readdir, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isBackypError, type Sink } from "@zk-backyp/core";
import { sinkContract } from "@zk-backyp/core/testing";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createFsSink } from "./fs-sink.ts";
import plugin from "./index.ts";

let base: string;
let root: string;
let sink: Sink;
const signal = new AbortController().signal;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "sink-fs-"));
});
afterAll(() => rm(base, { recursive: true, force: true }));
beforeEach(async () => {
  root = await mkdtemp(join(base, "store-"));
  sink = createFsSink({ path: root });
});

async function* body(text: string): AsyncGenerator<Uint8Array, void, void> {
  yield Buffer.from(text);
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function keys(prefix = ""): Promise<string[]> {
  return (await all(sink.list(prefix, { signal }))).map(({ key }) => key);
}

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: unknown) => (isBackypError(error) ? error.code : String(error)),
  );
}

describe("sinkContract", () => {
  const cases = sinkContract(async () => createFsSink({ path: await mkdtemp(join(base, "contract-")) }), {
    listedObjects: 1200,
    leftovers: async ({ location }) => readdir(join(location.replace(/^file:/, ""), ".tmp~")).catch(() => []),
  });
  for (const { name, run } of cases) it(name, run);
});

describe("sweep", () => {
  it("removes temporary files that are older than it is told, and nothing else", async () => {
    const sweep = (olderThan: string): Promise<number> | undefined =>
      sink.sweep?.("p/", { signal, olderThan: new Date(olderThan) });
    expect(await sweep("2020-01-01"), "of a store that is not there yet").toBe(0);
    await sink.put("p/1", body("one"), { signal });
    for (const [name, time] of [
      ["old", "2026-01-01"],
      ["young", "2026-01-03"],
    ] as const) {
      await writeFile(join(root, ".tmp~", name), "half");
      await utimes(join(root, ".tmp~", name), new Date(time), new Date(time));
    }
    expect(await sweep("2025-12-31")).toBe(0);
    expect(await sweep("2026-01-02")).toBe(1);
    expect(await readdir(join(root, ".tmp~"))).toEqual(["young"]);
    expect(await keys()).toEqual(["p/1"]);
  });
});

describe("put", () => {
  it("creates the directory, for the owner and the group only", async () => {
    const path = join(root, "not", "there", "yet");
    await createFsSink({ path }).put("a/b", body("x"), { signal });
    const mode = async (name: string): Promise<string> => ((await stat(join(path, name))).mode & 0o777).toString(8);
    const umask = process.umask();
    expect(await mode(".")).toBe((0o750 & ~umask).toString(8));
    expect(await mode("a")).toBe((0o750 & ~umask).toString(8));
    expect(await mode("a/b")).toBe((0o640 & ~umask).toString(8));
  });

  it("removes temporary files that are more than a day old, and no younger ones", async () => {
    const temporary = join(root, ".tmp~");
    await mkdir(temporary);
    for (const [name, hours] of [
      ["dead", 25],
      ["alive", 23],
    ] as const) {
      await writeFile(join(temporary, name), "half of it");
      const then = new Date(Date.now() - hours * 3600 * 1000);
      await utimes(join(temporary, name), then, then);
    }
    await sink.put("a", body("x"), { signal });
    expect(await readdir(temporary)).toEqual(["alive"]);
    expect(await keys()).toEqual(["a"]);
  });

  it("says so when a part of the key is an object already", async () => {
    await sink.put("a", body("x"), { signal });
    const put = sink.put("a/b", body("y"), { signal });
    await expect(put).rejects.toThrow(/a part of the path is a file/);
    expect(await code(sink.put("a/b", body("y"), { signal }))).toBe("ERR_SINK_UNAVAILABLE");
    await sink.put("c/d", body("x"), { signal });
    expect(await code(sink.put("c", body("y"), { signal }))).toBe("ERR_SINK_UNAVAILABLE");
    expect(await keys()).toEqual(["a", "c/d"]);
    expect(await readdir(join(root, ".tmp~"))).toEqual([]);
  });

  it.runIf(process.platform === "linux")(
    "fails where a directory cannot be made although its parent is there",
    async () => {
      const nowhere = createFsSink({ path: "/proc/nowhere/store" });
      expect(await code(nowhere.put("a", body("x"), { signal }))).toBe("ERR_SINK_UNAVAILABLE");
    },
  );

  it("fails when the directory is a file", async () => {
    await writeFile(join(root, "file"), "");
    expect(await code(createFsSink({ path: join(root, "file") }).put("a", body("x"), { signal }))).toBe(
      "ERR_SINK_UNAVAILABLE",
    );
  });
});

describe("list and get", () => {
  it("tell a missing directory from an empty one", async () => {
    const typo = createFsSink({ path: join(root, "bakcups") });
    await expect(all(typo.list("", { signal }))).rejects.toThrow(
      `the directory ${join(root, "bakcups")} does not exist`,
    );
    expect(await code(all(typo.list("", { signal })))).toBe("ERR_SINK_NOT_FOUND");
    expect(await code(all(typo.get("a", { signal })))).toBe("ERR_SINK_NOT_FOUND");
    await typo.delete("a", { signal });
    expect(await readdir(root)).toEqual([]);
    await writeFile(join(root, "file"), "");
    const file = createFsSink({ path: join(root, "file") });
    expect(await code(all(file.list("", { signal })))).toBe("ERR_SINK_NOT_FOUND");
  });

  it("pass over links, temporary files, folders and names that are no keys", async () => {
    await sink.put("dir/a", body("x"), { signal });
    await symlink(join(root, "dir", "a"), join(root, "link"));
    await symlink(join(root, "dir"), join(root, "linked"));
    await mkdir(join(root, "empty"));
    await writeFile(join(root, ".tmp~", "half"), "");
    await writeFile(join(root, "dir", "no key"), "");
    expect(await keys()).toEqual(["dir/a"]);
    expect(await code(all(sink.get("link", { signal })))).toBe("ERR_OBJECT_NOT_FOUND");
    expect(await code(all(sink.get("empty", { signal })))).toBe("ERR_OBJECT_NOT_FOUND");
  });

  it("cannot be led to a temporary file by a key", async () => {
    await sink.put("a", body("x"), { signal });
    await writeFile(join(root, ".tmp~", "half"), "");
    expect(await code(all(sink.get(".tmp~/half", { signal })))).toBe("ERR_CONFIG_INVALID");
  });

  it("leave out what is not asked for, wherever in the folders that ends", async () => {
    const all = ["a.b", "a/a", "a/b/c", "a/d", "a0", "b/x"];
    for (const key of all) await sink.put(key, body("x"), { signal });
    for (const after of ["", "a", "a.b", "a/", "a/a", "a/b", "a/b/c", "a/b/d", "a/c", "a0", "b/x", "c"]) {
      const found = (await Array.fromAsync(sink.list("", { signal, after }))).map(({ key }) => key);
      expect(found, after).toEqual(all.filter((key) => key > after));
    }
    expect((await Array.fromAsync(sink.list("a/", { signal, after: "a/a" }))).map(({ key }) => key)).toEqual([
      "a/b/c",
      "a/d",
    ]);
  });

  it("go on while objects are deleted and put", async () => {
    for (let index = 0; index < 50; index += 1) await sink.put(`many/${index}`, body("x"), { signal });
    const seen: string[] = [];
    for await (const { key } of sink.list("", { signal })) {
      seen.push(key);
      if (seen.length === 1)
        for (let index = 40; index < 50; index += 1) await sink.delete(`many/${index}`, { signal });
    }
    expect(seen).toHaveLength(40);
  });

  it("read an object to its end although it is replaced meanwhile", async () => {
    const long = "old ".repeat(1_000_000);
    await sink.put("a", body(long), { signal });
    let read = "";
    for await (const chunk of sink.get("a", { signal })) {
      if (read === "") await sink.put("a", body("new"), { signal });
      read += Buffer.from(chunk).toString();
    }
    expect(read === long).toBe(true);
  });
});

it("gives back its files", async () => {
  const openFiles = async (): Promise<number> => (await readdir("/proc/self/fd")).length;
  await sink.put("a", body("x".repeat(3_000_000)), { signal });
  const before = await openFiles();
  for (let round = 0; round < 20; round += 1) {
    for await (const _chunk of sink.get("a", { signal })) break;
    const controller = new AbortController();
    const put = sink.put("b", stuck(), { signal: controller.signal });
    await delay(5);
    controller.abort();
    await code(put);
  }
  expect(await openFiles()).toBeLessThanOrEqual(before + 2);
  expect(await readdir(join(root, ".tmp~"))).toEqual([]);
});

async function* stuck(): AsyncGenerator<Uint8Array, void, void> {
  yield Buffer.from("x");
  await new Promise(() => {});
}

describe("plugin", () => {
  it("checks its options", () => {
    expect(plugin.parseOptions({ path: "/backups" })).toEqual({ path: "/backups" });
    expect(() => plugin.parseOptions({})).toThrow(/sink fs: path/);
    expect(() => plugin.parseOptions({ path: "" })).toThrow("sink fs: path: must name a directory");
    expect(() => plugin.parseOptions({ path: "/a", bucket: "b" })).toThrow(/bucket/);
  });

  it("takes file: addresses and no others", () => {
    const fromUrl = (url: string): unknown => plugin.optionsFromUrl?.(new URL(url));
    expect(fromUrl("file:///var/back%20ups")).toEqual({ path: "/var/back ups" });
    expect(fromUrl("s3://bucket/x")).toBeNull();
    expect(() => fromUrl("file:///backups?x=1")).toThrow("has a query");
    expect(() => fromUrl("file://server/share")).toThrow("is no local directory");
  });

  it("makes sinks that say where they are", async () => {
    const made = await plugin.create(
      { path: "/var/backups" },
      { logger: { debug() {}, info() {}, warn() {} }, folder: "/" },
    );
    expect(made.location).toBe("file:/var/backups");
  });
});
