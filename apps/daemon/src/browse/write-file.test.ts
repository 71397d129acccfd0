import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isBackypError } from "@zk-backyp/core";
import { afterEach, beforeEach, expect, it } from "vitest";
import { writeNewFile } from "./write-file.ts";

const { signal } = new AbortController();

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-write-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function* chunks(...parts: (string | Error | (() => Promise<void>))[]): AsyncGenerator<Buffer> {
  for (const part of parts) {
    if (part instanceof Error) throw part;
    if (typeof part === "function") await part();
    else yield Buffer.from(part);
  }
}

it("has all of it under its name, and nothing else is left", async () => {
  await writeNewFile(join(folder, "x"), chunks("one", "two"), signal);
  expect(await readFile(join(folder, "x"), "utf8")).toBe("onetwo");
  expect(await readdir(folder)).toEqual(["x"]);
});

it("shows nothing under its name before the end, and nothing at all after a failure", async () => {
  const look = async () => expect(await readdir(folder)).not.toContain("x");
  const failing = chunks("one", look, new Error("the reading failed"));
  await expect(writeNewFile(join(folder, "x"), failing, signal)).rejects.toThrow("the reading failed");
  expect(await readdir(folder)).toEqual([]);
});

it("stops when it is told to, and leaves nothing", async () => {
  const abort = new AbortController();
  const stopping = chunks("one", async () => abort.abort(), "two");
  const error = await writeNewFile(join(folder, "x"), stopping, abort.signal).catch((caught: unknown) => caught);
  expect(isBackypError(error, "ERR_ABORTED")).toBe(true);
  expect(await readdir(folder)).toEqual([]);
});

it("takes no other file's place, also not of one that comes in between", async () => {
  const late = async () => writeFile(join(folder, "x"), "other");
  const error = await writeNewFile(join(folder, "x"), chunks("one", late), signal).catch((caught: unknown) => caught);
  expect(isBackypError(error, "ERR_TARGET_NOT_EMPTY")).toBe(true);
  expect(await readFile(join(folder, "x"), "utf8")).toBe("other");
  expect(await readdir(folder)).toEqual(["x"]);
});

it("says where it cannot write", async () => {
  const error = await writeNewFile(join(folder, "none/x"), chunks("one"), signal).catch((caught: unknown) => caught);
  expect(isBackypError(error, "ERR_TARGET_UNAVAILABLE")).toBe(true);
});
