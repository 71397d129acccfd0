import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { identityOf, isAlive } from "./process-identity.ts";

describe("a process's identity", () => {
  it("is alive while the process runs, and not when it has ended", async () => {
    const child = spawn("/bin/cat", { stdio: ["pipe", "ignore", "ignore"] });
    const identity = await identityOf(child.pid ?? 0);
    expect(await isAlive(identity)).toBe(true);
    child.stdin.end();
    await once(child, "exit");
    expect(await isAlive(identity)).toBe(false);
  });

  it("finds the start time behind a program's name with brackets and spaces", async () => {
    const plain = await identityOf(process.pid);
    const title = process.title;
    process.title = "a) S 1 (b";
    try {
      expect(await identityOf(process.pid)).toEqual(plain);
    } finally {
      process.title = title;
    }
  });

  it.each([
    ["a pid that another process has got since", { startTicks: "1" }],
    ["the same pid and start time before a reboot", { bootId: "00000000-0000-0000-0000-000000000000" }],
  ])("is not taken in by %s", async (_, change) => {
    const own = await identityOf(process.pid);
    expect(await isAlive(own)).toBe(true);
    expect(await isAlive({ ...own, ...change })).toBe(false);
  });

  it("is the pid alone where nothing else is known", async () => {
    expect(await isAlive({ pid: process.pid, startTicks: null, bootId: null, pidNamespace: null })).toBe(true);
    expect(await isAlive({ pid: 2 ** 30, startTicks: null, bootId: null, pidNamespace: null })).toBe(false);
  });

  it("says what it is told to of a process in another container", async () => {
    const stranger = { ...(await identityOf(process.pid)), pidNamespace: "pid:[1]" };
    expect(await isAlive(stranger)).toBe(true);
    expect(await isAlive(stranger, false)).toBe(false);
  });

  it("does not count a process that has ended and was not reaped", async () => {
    // The shell becomes a program that does not wait for its child.
    const parent = spawn("/bin/sh", ["-c", "sleep 0 & echo $!; exec sleep 5"], { stdio: ["ignore", "pipe", "ignore"] });
    const [line] = (await once(parent.stdout, "data")) as [Buffer];
    const zombie = await identityOf(Number(line.toString()));
    try {
      await expect.poll(() => isAlive(zombie)).toBe(false);
      process.kill(zombie.pid, 0);
    } finally {
      parent.kill("SIGKILL");
    }
  });
});
