import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@zk-backyp/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { nodeName } from "./node-name.ts";
import type { ZooKeeperSourceOptions } from "./options.ts";

let folder: string;
let warnings: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-node-name-"));
  warnings = [];
});
afterEach(() => rm(folder, { recursive: true }));

function nameOf(options: ZooKeeperSourceOptions): Promise<string | null> {
  const logger = { ...silentLogger, warn: (_: object, message: string) => warnings.push(message) };
  return nodeName(options, { signal: new AbortController().signal, logger });
}

async function write(path: string, text: string): Promise<string> {
  await writeFile(join(folder, path), text);
  return join(folder, path);
}

// What a server says: test/election.test.ts.
describe("a node's name", () => {
  it("is in its dataDir, also where that is named by its version-2", async () => {
    await write("myid", "3\n");
    await mkdir(join(folder, "version-2"));
    expect(await nameOf({ dataDir: folder })).toBe("3");
    expect(await nameOf({ dataDir: join(folder, "version-2") })).toBe("3");
  });

  it("is in the dataDir that zoo.cfg names, of a member", async () => {
    await write("myid", "3");
    expect(await nameOf({ zooCfg: await write("zoo.cfg", `dataDir=${folder}\nserver.3=a:1:2`) })).toBe("3");
    expect(await nameOf({ zooCfg: await write("alone.cfg", `dataDir=${folder}`) })).toBeNull();
    expect(warnings).toEqual([]);
  });

  it("is unknown where nothing tells", async () => {
    expect(await nameOf({})).toBeNull();
    expect(await nameOf({ dataDir: folder })).toBeNull();
    expect(warnings).toEqual([]);
  });

  it.each([
    [
      "a myid that is none",
      async () => ({ dataDir: folder, _: await write("myid", "replace this text") }),
      /first line is no number/,
    ],
    ["a zoo.cfg that is missing", async () => ({ zooCfg: join(folder, "zoo.cfg") }), /no such file/],
    ["a server that is down", async () => ({ server: "127.0.0.1:1" }), /127\.0\.0\.1:1 did not answer/],
  ])("is unknown with %s, which is warned of", async (_, prepare, message) => {
    expect(await nameOf(await prepare())).toBeNull();
    expect(warnings).toEqual([expect.stringMatching(message)]);
  });
});
