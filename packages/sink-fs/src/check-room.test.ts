import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { checkRoom } from "./check-room.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-room-"));
});
afterEach(() => rm(folder, { recursive: true }));

it.each([
  [null, "ok"],
  [1, "ok"],
  [Number.MAX_SAFE_INTEGER, "failed"],
])("room for an archive of %s bytes is %s", async (archiveBytes, status) => {
  expect(await checkRoom(folder, archiveBytes)).toMatchObject({ name: "room", status });
});

it("warns where one archive fits, and a second one does not", async () => {
  const { message } = await checkRoom(folder, null);
  const freeBytes = 1e6 * Number(/^(\d+) MB/.exec(message)?.[1]);
  expect(await checkRoom(folder, freeBytes * 0.75)).toMatchObject({ status: "warning", remedy: expect.any(String) });
});

it("looks at the file system where a directory will be", async () => {
  const item = await checkRoom(join(folder, "not", "there"), 1);
  expect(item).toMatchObject({ status: "ok", message: expect.stringContaining(`free in ${folder}`) });
});

it("fails where there can be no directory", async () => {
  await writeFile(join(folder, "file"), "");
  expect(await checkRoom(join(folder, "file", "x"), 1)).toMatchObject({ status: "failed" });
});
