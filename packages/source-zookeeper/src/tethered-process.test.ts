import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { spawnTethered } from "./tethered-process.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-tethered-"));
});
afterEach(() => rm(folder, { recursive: true }));

/** The command lines of the children of this process. */
async function children(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    if (!new RegExp(`^PPid:\t${process.pid}$`, "m").test(status)) continue;
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (command !== "") found.push(command.replaceAll("\0", " "));
  }
  return found;
}

async function expectNoneLeft(before: readonly string[]): Promise<void> {
  for (let tries = 0; tries < 100 && (await children()).length > before.length; tries++) await sleep(20);
  expect(await children()).toEqual(before);
}

describe("a tethered process", () => {
  const options = () => ({ logFile: join(folder, "log"), cwd: folder, env: { GIVEN: "yes" } });

  it("writes to its log, and says how it ended", async () => {
    const before = await children();
    const child = spawnTethered("/bin/sh", ["-c", 'echo "$GIVEN $HOME"; exit 7'], options());
    while (child.end === null) await sleep(5);
    expect(child.end).toBe("exit code 7");
    expect(await readFile(join(folder, "log"), "utf8")).toBe("yes \n");
    await child[Symbol.asyncDispose]();
    await expectNoneLeft(before);
  });

  it("is gone when it was disposed of", async () => {
    const before = await children();
    const child = spawnTethered("/bin/sleep", ["1000"], options());
    expect(child.end).toBeNull();
    await child[Symbol.asyncDispose]();
    expect(child.end).toBe("SIGKILL");
    await expectNoneLeft(before);
  });

  it("ends at once where there is no such command", async () => {
    const child = spawnTethered(join(folder, "missing"), [], options());
    while (child.end === null) await sleep(5);
    expect(child.end).toBe("exit code 127");
    expect(await readFile(join(folder, "log"), "utf8")).toContain("missing");
  });

  it("is not left behind when this process is killed while it starts it", async () => {
    // Node is killed as soon as the second process is there: before its guard can know its pid.
    const script = `
      import childProcess from "node:child_process";
      import { syncBuiltinESMExports } from "node:module";
      import { spawnTethered } from ${JSON.stringify(fileURLToPath(new URL("tethered-process.ts", import.meta.url)))};
      const { spawn } = childProcess;
      let started = 0;
      childProcess.spawn = (...what) => {
        const child = spawn(...what);
        if (++started === 2) process.kill(process.pid, "SIGKILL");
        return child;
      };
      syncBuiltinESMExports();
      const [logFile, mark] = process.argv.slice(1);
      spawnTethered("/bin/sh", ["-c", 'echo $$ >"$0"; exec sleep 30', mark], { logFile, cwd: "/", env: process.env });`;
    const mark = join(folder, "mark");
    const args = ["--input-type=module", "-e", script, join(folder, "log"), mark];
    expect(spawnSync(process.execPath, args).signal).toBe("SIGKILL");
    await sleep(200);
    const pid = await readFile(mark, "utf8").catch(() => null);
    if (pid !== null) process.kill(Number(pid), "SIGKILL");
    expect(pid, "it was started").toBeNull();
  });

  it.each<[string, string[], object]>([
    ["arguments that are too long", ["x".repeat(300_000)], {}],
    ["a log that cannot be opened", [], { logFile: "/nonexistent/log" }],
  ])("leaves nothing behind when it cannot be started for %s", async (_, args, changes) => {
    const before = await children();
    expect(() => spawnTethered("/bin/true", args, { ...options(), ...changes })).toThrow(/E2BIG|ENOENT/);
    await expectNoneLeft(before);
  });
});
