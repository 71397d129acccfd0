import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { madeNotification } from "../testing/made-notification.ts";
import { runNotifyCommand } from "./notify-command.ts";

const { signal } = new AbortController();
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-notify-"));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

function shell(script: string, ...args: string[]): { use: "command"; command: string[] } {
  return { use: "command", command: ["/bin/sh", "-c", script, "sh", ...args] };
}

describe("runNotifyCommand", () => {
  it("hands the notification over on stdin, and what matters most in variables", async () => {
    const file = join(folder, "told");
    await runNotifyCommand(shell('cat >"$1"; env >>"$1"', file), madeNotification(), { signal });
    const [json = "", ...variables] = (await readFile(file, "utf8")).split("\n");
    expect(JSON.parse(json)).toEqual(madeNotification());
    expect(variables).toEqual(
      expect.arrayContaining([
        "ZK_BACKYP_EVENT=failure",
        "ZK_BACKYP_SERIES=zk-prod",
        "ZK_BACKYP_HOST=zk-1",
        "ZK_BACKYP_KIND=backup",
        "ZK_BACKYP_BACKUP_ID=zk-prod-20261122T115900000Z",
        "ZK_BACKYP_ERROR_CODE=ERR_SINK_FULL",
      ]),
    );
  });

  it("hands over no secret of our environment", async () => {
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "a secret");
    expect(await runNotifyCommand(shell("env | grep -c AWS_ || true"), madeNotification(), { signal })).toBe("0");
  });

  it("has no shell look at what it hands over", async () => {
    const hostile = `"; touch ${folder}/owned; echo $(touch ${folder}/owned) \0 '`;
    const command = ["/usr/bin/env", "--", "cat"];
    await runNotifyCommand({ use: "command", command }, madeNotification({ message: hostile, series: hostile }), {
      signal,
    });
    await expect(readFile(join(folder, "owned"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("gives back the last lines of what it said", async () => {
    const said = runNotifyCommand(shell("seq 1 100000; printf '\\033[2J'"), madeNotification(), { signal });
    expect((await said).split("\n")).toEqual(["99997", "99998", "99999", "100000", "\ufffd[2J"]);
  });

  it("does not mind that a command closes its stdin", async () => {
    const long = madeNotification({ errorMessage: "x".repeat(1_000_000) });
    const closes = runNotifyCommand(shell("exec <&-; sleep 0.1"), long, { signal });
    expect(await closes).toBe("");
  });

  it("says how a command failed, without its arguments", async () => {
    const failing = runNotifyCommand(shell("echo no such team >&2; exit 3", "a-secret"), madeNotification(), {
      signal,
    });
    await expect(failing).rejects.toThrow(/^\/bin\/sh ended with exit code 3: no such team$/);
  });

  it("says that a command is not there, without its arguments", async () => {
    const command = [join(folder, "none"), "a-secret"];
    const error = await runNotifyCommand({ use: "command", command }, madeNotification(), { signal }).catch(
      (reason: unknown) => reason as Error,
    );
    expect(error).toMatchObject({ message: expect.stringMatching(/none cannot be run: .*ENOENT/) });
    expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("a-secret");
  });

  it.each([
    ["takes too long", 200, () => signal, /took longer than 0.2 s and was killed/],
    ["is under way when the daemon ends", 30_000, () => AbortSignal.timeout(200), /was killed, since the daemon ends/],
  ])("kills a command that %s, with all that it has started", async (_, withinMs, until, why) => {
    const file = join(folder, "pids");
    const script = 'trap "" TERM; sleep 600 & echo $! $$ >"$1"; wait; sleep 600';
    const late = runNotifyCommand(shell(script, file), madeNotification(), { signal: until(), withinMs });
    await expect(late).rejects.toThrow(why);
    const pids = (await readFile(file, "utf8")).trim().split(" ").map(Number);
    expect(pids).toHaveLength(2);
    await vi.waitFor(async () => {
      for (const pid of pids) expect(await stateOf(pid)).toMatch(/^[ZX]|gone/);
    });
  });

  it("does not wait for what a command leaves behind", async () => {
    const file = join(folder, "pid");
    const said = await runNotifyCommand(shell('sleep 600 & echo $! >"$1"; echo done', file), madeNotification(), {
      signal,
    });
    process.kill(Number(await readFile(file, "utf8")), "SIGKILL");
    expect(said).toBe("done");
  });
});

async function stateOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ") gone");
  return stat.slice(stat.lastIndexOf(")") + 2);
}
