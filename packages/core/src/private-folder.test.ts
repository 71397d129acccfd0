import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isBackypError } from "./errors.ts";
import { makePrivateFolder } from "./private-folder.ts";

let temporary: string;
beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), "zk-backyp-private-"));
  vi.stubEnv("TMPDIR", temporary);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(temporary, { recursive: true });
});

describe("a private folder", () => {
  it("is empty, is this user's alone, and goes again", async () => {
    const folder = await makePrivateFolder();
    expect(await readdir(folder.path)).toEqual([]);
    expect((await stat(folder.path)).mode & 0o777).toBe(0o700);
    await mkdir(join(folder.path, "a/b"), { recursive: true });
    await folder[Symbol.asyncDispose]();
    expect(await readdir(temporary)).toEqual([]);
  });

  it("has an absolute path, also where TMPDIR is relative", async () => {
    const home = process.cwd();
    process.chdir(temporary);
    try {
      vi.stubEnv("TMPDIR", ".");
      await using folder = await makePrivateFolder();
      expect(isAbsolute(folder.path)).toBe(true);
    } finally {
      process.chdir(home);
    }
  });

  it("says which folder cannot be used, and what to do", async () => {
    vi.stubEnv("TMPDIR", join(temporary, "missing"));
    await expect(makePrivateFolder()).rejects.toSatisfy(
      (error) =>
        isBackypError(error, "ERR_TARGET_UNAVAILABLE") && /missing.*name another one in TMPDIR/.test(`${error}`),
    );
  });

  it("is made and goes again in a process that can open nothing more", () => {
    const script = `
      import { closeSync, openSync, readdirSync } from "node:fs";
      import { makePrivateFolder } from ${JSON.stringify(fileURLToPath(new URL("private-folder.ts", import.meta.url)))};
      const held = [];
      try { for (;;) held.push(openSync("/dev/null")); } catch {}
      const folder = await makePrivateFolder();
      for (const file of held) closeSync(file);
      await folder[Symbol.asyncDispose]();
      console.log(JSON.stringify(readdirSync(process.env.TMPDIR)));`;
    const command = `ulimit -n 64; exec "$0" --input-type=module -e "$1"`;
    const said = execFileSync("/bin/bash", ["-c", command, process.execPath, script], { encoding: "utf8" });
    expect(said.trim()).toBe("[]");
  });
});
