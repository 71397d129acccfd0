import { execFile, execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { requirePart } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createFsSink } from "../src/index.ts";

const MIB = 1024 * 1024;
const script = fileURLToPath(new URL("put-once.ts", import.meta.url));
const isRoot = process.getuid?.() === 0;
const { signal } = new AbortController();
let base: string;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "sink-fs-limits-"));
  // The other users of these tests have to get to their directories in it.
  await chmod(base, 0o755);
});
afterAll(() => rm(base, { recursive: true, force: true }));

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function putInChild(
  ...args: (string | number)[]
): Promise<{ code: string; message: string; peakRssBytes: number }> {
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...args.map(String)]);
  return JSON.parse(stdout);
}

function smallDiskMissing(): string | null {
  if (!isRoot) return "a full disk can be had by root only: run the tests as root";
  try {
    execFileSync("unshare", ["-m", "mount", "-t", "tmpfs", "-o", "size=1m", "none", tmpdir()], { stdio: "ignore" });
    return null;
  } catch {
    return "no file system may be mounted here: run the tests on a machine or in a container with CAP_SYS_ADMIN";
  }
}

describe.skipIf(!requirePart(smallDiskMissing()))("on a full disk", () => {
  const mounted: string[] = [];
  afterAll(() => {
    for (const path of mounted) execFileSync("umount", ["-l", path]);
  });

  it("put fails with ERR_SINK_FULL, and the space is free again", async () => {
    const path = join(base, "full");
    await mkdir(path);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "none", path]);
    mounted.push(path);
    const sink = createFsSink({ path });
    async function* zeros(bytes: number): AsyncGenerator<Uint8Array, void, void> {
      for (let rest = bytes; rest > 0; rest -= 100_000) yield Buffer.alloc(Math.min(rest, 100_000));
    }
    await sink.put("old", zeros(MIB), { signal });
    const freeBefore = (await statfs(path)).bfree;
    for (const options of [{ signal }, { signal, ifAbsent: true }]) {
      const put = sink.put(options.ifAbsent === true ? "new" : "old", zeros(10 * MIB), options);
      await expect(put).rejects.toMatchObject({
        code: "ERR_SINK_FULL",
        message: expect.stringMatching(/cannot write .* \(ENOSPC\): the file system is full; free some space/),
      });
      expect(await readdir(join(path, ".tmp~"))).toEqual([]);
      expect((await statfs(path)).bfree).toBe(freeBefore);
      const listed = await all(sink.list("", { signal }));
      expect(listed).toMatchObject([{ key: "old", size: MIB }]);
    }
    await sink.put("small", zeros(MIB), { signal });
  });
});

describe.skipIf(!requirePart(isRoot ? null : "only root can become another user: run the tests as root"))(
  "another user",
  () => {
    const NOBODY = 65534;

    it("is refused with ERR_SINK_DENIED", async () => {
      const path = join(base, "roots-own");
      await mkdir(path, { mode: 0o755 });
      expect(await putInChild(path, "key", 10, NOBODY)).toMatchObject({
        code: "ERR_SINK_DENIED",
        message: expect.stringContaining("(EACCES): this user may not; change the owner or the mode"),
      });
      expect(await readdir(path)).toEqual([]);
    });

    it("is refused in a directory that may be read only", async () => {
      const path = join(base, "read-only-folder");
      await createFsSink({ path }).put("folder/old", (async function* () {})(), { signal });
      await chmod(path, 0o755);
      await chmod(join(path, ".tmp~"), 0o777);
      await chmod(join(path, "folder"), 0o755);
      expect(await putInChild(path, "folder/new", 10, NOBODY)).toMatchObject({ code: "ERR_SINK_DENIED" });
      expect(await readdir(join(path, ".tmp~"))).toEqual([]);
    });
  },
);

it("memory stays small, however large the object", async () => {
  const { code, peakRssBytes } = await putInChild(join(base, "large"), "key", 1024 * MIB);
  expect(code).toBe("stored");
  expect(peakRssBytes).toBeLessThan(200 * MIB);
});
