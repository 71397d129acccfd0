import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connectServiceManager, type ServiceManager } from "./service-manager.ts";

let folder: string;
let warnings: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-notify-"));
  warnings = [];
});

afterEach(async () => {
  vi.useRealTimers();
  await rm(folder, { recursive: true });
});

/** Puts a program in systemd-notify's place that writes down what it is told, an argument on a line, and runs `then`. */
async function recorder(then = ""): Promise<NodeJS.ProcessEnv> {
  const program = join(folder, "systemd-notify");
  const text = `#!/bin/sh\n{ printf '%s\\n' "$@"; printf '%s\\n' --; } >>${folder}/told\nenv >${folder}/env\n${then}\n`;
  await writeFile(program, text);
  await chmod(program, 0o755);
  return { NOTIFY_SOCKET: "/run/systemd/notify", PATH: `${folder}:${process.env.PATH}` };
}

async function told(): Promise<string[][]> {
  const text = await readFile(join(folder, "told"), "utf8").catch(() => "");
  return text
    .split("--\n")
    .slice(0, -1)
    .map((message) => message.trimEnd().split("\n"));
}

function connect(env: NodeJS.ProcessEnv, isAlive: () => boolean = () => true): ServiceManager {
  const logger = { debug() {}, info() {}, warn: (_: object, message: string) => void warnings.push(message) };
  return connectServiceManager({ isAlive, logger, env });
}

describe("what is told", () => {
  it("arrives whole and in order", async () => {
    const manager = connect(await recorder());
    manager.ready("2 series");
    manager.reloading();
    manager.ready("3 series");
    manager.stopping();
    await manager.close();
    expect(await told()).toEqual([
      ["READY=1", "STATUS=2 series"],
      ["RELOADING=1", expect.stringMatching(/^MONOTONIC_USEC=\d+$/)],
      ["READY=1", "STATUS=3 series"],
      ["STOPPING=1"],
    ]);
    expect(warnings).toEqual([]);
  });

  it("leaves out a status that a newer one has outdated", async () => {
    const manager = connect(await recorder());
    for (let n = 0; n < 100; n += 1) manager.status(`status ${n}`);
    await manager.close();
    // The first one was on its way already.
    expect(await told()).toEqual([["STATUS=status 0"], ["STATUS=status 99"]]);
  });

  it.each([
    ["line ends, which begin another assignment", "a\nMAINPID=1\r\nb\u2028c", "STATUS=a MAINPID=1 b c"],
    ["a zero byte", "a\0b", "STATUS=a b"],
    ["what looks like an option", "--help", "STATUS=--help"],
    ["too long a text, without cutting a character", "😀".repeat(2_000), `STATUS=${"😀".repeat(500)}`],
  ])("keeps a status harmless: %s", async (_, text, expected) => {
    const manager = connect(await recorder());
    manager.status(text);
    await manager.close();
    expect(await told()).toEqual([[expected]]);
  });
});

describe("the environment", () => {
  it("keeps nothing that a child could speak to the manager with", async () => {
    const env: NodeJS.ProcessEnv = {
      ...(await recorder()),
      WATCHDOG_USEC: "1000000",
      WATCHDOG_PID: String(process.pid),
      OTHER: "stays",
    };
    const { PATH } = env;
    const manager = connect(env);
    expect(env).toEqual({ PATH, OTHER: "stays" });
    manager.ready("");
    await manager.close();
    // Nor does it reach the program that speaks for us.
    expect(await readFile(join(folder, "env"), "utf8")).not.toContain("OTHER");
  });

  it.each([
    ["no socket", {}],
    ["an empty one", { NOTIFY_SOCKET: "" }],
  ])("with %s tells nobody anything", async (_, more) => {
    const { PATH } = await recorder();
    const manager = connect({ PATH, WATCHDOG_USEC: "1000", ...more });
    manager.ready("");
    manager.reloading();
    manager.status("");
    manager.stopping();
    await manager.close();
    expect(await told()).toEqual([]);
    expect(warnings).toEqual([]);
  });
});

describe("a manager that cannot be told", () => {
  it.each([
    ["systemd-notify is not there", async () => ({ NOTIFY_SOCKET: "/run/x", PATH: folder }), /ENOENT/],
    ["it fails", async () => recorder("echo no such socket >&2; exit 1"), /no such socket/],
  ])("is warned of once, and nothing fails: %s", async (_, environment, why) => {
    const manager = connect(await environment());
    manager.ready("");
    manager.status("a");
    manager.stopping();
    await manager.close();
    expect(warnings).toEqual([expect.stringMatching(why)]);
  });
});

describe("the watchdog", () => {
  // The clock is a made one: a beat is due as soon as it is moved.
  async function started(more: NodeJS.ProcessEnv, isAlive: () => boolean): Promise<ServiceManager> {
    const env = { ...(await recorder()), ...more };
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    return connect(env, isAlive);
  }

  it("is sent three beats in its time, and none after the end", async () => {
    const manager = await started({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: String(process.pid) }, () => true);
    for (let beats = 1; beats <= 3; beats += 1) {
      vi.advanceTimersByTime(1_000);
      while ((await told()).length < beats) await sleep(5);
    }
    await manager.close();
    vi.advanceTimersByTime(60_000);
    await sleep(50);
    expect(await told()).toEqual([["WATCHDOG=1"], ["WATCHDOG=1"], ["WATCHDOG=1"]]);
  });

  async function isSentNone(more: NodeJS.ProcessEnv, isAlive = true): Promise<void> {
    const manager = await started(more, () => isAlive);
    vi.advanceTimersByTime(60_000);
    await manager.close();
    expect(await told()).toEqual([]);
  }

  it("is sent none while the daemon does not get on, which is said once", async () => {
    await isSentNone({ WATCHDOG_USEC: "3000000" }, false);
    expect(warnings).toEqual([expect.stringContaining("does not get on")]);
  });

  it.each([
    ["watches another process", { WATCHDOG_USEC: "3000000", WATCHDOG_PID: "1" }],
    ["is off", { WATCHDOG_USEC: "0" }],
    ["has no number", { WATCHDOG_USEC: "3 s" }],
    ["has too large a number", { WATCHDOG_USEC: "9".repeat(30) }],
  ])("is sent none if it %s", async (_, more) => {
    await isSentNone(more);
  });
});
