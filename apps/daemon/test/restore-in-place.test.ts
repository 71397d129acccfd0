import { execFile, spawn } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Fixture, unpackFixture } from "@zk-backyp/testbed";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CliOptions, type CliResult, runCli } from "./run-cli.ts";

const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));

const USER = 65534;

let folder: string;
let sink: string;
let fixture: Fixture;
let id: string;
let to: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-cli-in-place-"));
  await chmod(folder, 0o755);
  fixture = await unpackFixture("zookeeper-3.8.0-rich", join(folder, "fixture"));
  sink = join(folder, "backups");
  const { stdout } = await runCli(["backup", "--data-dir", fixture.dataDir, "--to", sink, "--json"]);
  ({ id } = JSON.parse(stdout) as { id: string });
  to = join(folder, "data");
  await mkdir(join(to, "version-2"), { recursive: true });
  await writeFile(join(to, "myid"), "1\n");
  await writeFile(join(to, "version-2/currentEpoch"), "3");
});
afterEach(() => rm(folder, { recursive: true }));

const replace = (more: readonly string[] = [], options: CliOptions = {}): Promise<CliResult> =>
  runCli(["restore", id, "--from", sink, "--replace", "--to", to, ...more], options);

async function expectRefused(running: Promise<CliResult>, code: number, message: RegExp): Promise<void> {
  const result = await running;
  expect(result).toMatchObject({ code, stderr: expect.stringMatching(message) });
  expect(result.stderr, "a stack trace is no message").not.toMatch(/\n {4}at /);
  expect((await readdir(to)).sort()).toEqual(["myid", "version-2"]);
  expect(await readdir(join(to, "version-2"))).toEqual(["currentEpoch"]);
}

describe("restore --replace", () => {
  it("says what it did, as JSON", async () => {
    const { code, stdout } = await replace(["--json"]);
    expect(code).toBe(0);
    const document = JSON.parse(stdout) as { replaced: { epoch: number; kept: { path: string; bytes: number }[] } };
    const [kept = { path: "", bytes: 0 }] = document.replaced.kept;
    expect(document).toMatchObject({
      id,
      to,
      dataLogDir: null,
      verified: true,
      replaced: { kept: [{ path: expect.stringMatching(/\/version-2\.replaced-\d{8}T\d{9}Z$/) }] },
    });
    expect(await readFile(join(to, "version-2/currentEpoch"), "utf8")).toBe(String(document.replaced.epoch));
    expect(await readdir(kept.path)).toEqual(["currentEpoch"]);
    expect((await stat(kept.path)).isDirectory()).toBe(true);
  });

  it("says how to go back, in words that a shell does", async () => {
    const { code, stdout } = await replace();
    expect(code).toBe(0);
    expect(stdout).toMatch(/The epoch is 1\d{6}, and that of the next leader will be above/);
    const command = /^ {2}(mv .*)$/m.exec(stdout)?.[1] ?? "";
    const shell = spawn("/bin/sh", ["-c", command]);
    await new Promise((resolve) => shell.once("exit", resolve));
    expect(await readFile(join(to, "version-2/currentEpoch"), "utf8")).toBe("3");
    expect((await readdir(to)).sort()).toEqual(["myid", "version-2", "version-2.restored"]);
  });

  it("tells of what earlier restores have kept, and of a member that was empty", async () => {
    await replace();
    const again = await replace();
    expect(again.stdout).toMatch(/Kept by earlier restores, .* in\n.*version-2\.replaced-/);
    await rm(to, { recursive: true });
    await mkdir(to);
    expect((await replace()).stdout).toContain("There was no data before.");
  });

  it("is refused with exit codes that tell why", async () => {
    const latest = runCli(["restore", "latest", "--from", sink, "--replace", "--to", to]);
    await expectRefused(latest, 2, new RegExp(`ERR_CONFIG_INVALID: name the backup: .*Now it is ${id}`));
    const without = runCli(["restore", id, "--from", sink, "--replace"]);
    await expectRefused(without, 2, /Give --to/);
    await expectRefused(replace(["--data-log-dir", sink]), 2, /ERR_TARGET_NOT_EMPTY.*no data directory of ZooKeeper/);
    await expectRefused(replace(["--data-log-dir", to]), 2, /two kinds of files/);
    await expectRefused(replace(["--data-log-dir", join(folder, "nowhere")]), 1, /no such directory/);
    const missing = id.replace(/\d{8}T/, "20200101T");
    const other = runCli(["restore", missing, "--from", sink, "--replace", "--to", to]);
    await expectRefused(other, 4, /ERR_BACKUP_NOT_FOUND/);
    const [archive = ""] = (await readdir(join(sink, "zookeeper-backup/archives"))).map((name) =>
      join(sink, "zookeeper-backup/archives", name),
    );
    const bytes = await readFile(archive);
    await chmod(archive, 0o600);
    await writeFile(archive, bytes.subarray(0, bytes.byteLength >> 1));
    await expectRefused(replace(), 3, /ERR_/);
  });

  it("is refused while a process uses the data", async () => {
    const open = spawn("/bin/sh", ["-c", `exec 9<${join(to, "version-2/currentEpoch")}; echo; read -r _`]);
    await new Promise((resolve) => open.stdout.once("data", resolve));
    await expectRefused(replace(), 5, /ERR_TARGET_IN_USE: .*currentEpoch open\. Stop the server, then restore/);
    open.stdin.end();
    await new Promise((resolve) => open.once("exit", resolve));
    expect((await replace()).code).toBe(0);
  });

  it("leaves the old data in place when it is told to end, and no leftover when it is killed and run again", async () => {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      const { code } = await replace([], {
        onStart: (child) => {
          const timer = setInterval(async () => {
            const names = await readdir(to).catch(() => []);
            if (!names.some((name) => name.startsWith(".zk-backyp-replace-")) && child.exitCode === null) return;
            clearInterval(timer);
            child.kill(signal);
          }, 1);
        },
      });
      // It may have been faster.
      if (signal === "SIGTERM" && code !== 0) expect(code).toBe(130);
      expect(await readFile(join(to, "myid"), "utf8")).toBe("1\n");
    }
    const { code, stdout } = await replace(["--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ replaced: { kept: [{}] } });
    expect((await readdir(to)).filter((name) => !/^(myid|version-2.*)$/.test(name))).toEqual([]);
  });

  describe.skipIf(process.getuid?.() !== 0)("with several users", () => {
    /** As a user, who sees no processes but his own: others are at the same time other tests' servers. */
    const replaceAsUser = (): Promise<CliResult> =>
      new Promise((resolve) => {
        const alone = ["--pid", "--fork", "--mount-proc", "--kill-child"];
        const user = ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"];
        const args = [process.execPath, MAIN, "restore", id, "--from", sink, "--replace", "--to", to];
        execFile("unshare", [...alone, ...user, ...args], (error, stdout, stderr) => {
          resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
        });
      });

    it("run by root gives the files to whom they belonged", async () => {
      await chown(join(to, "version-2"), USER, USER);
      expect((await replace()).code).toBe(0);
      for (const name of await readdir(join(to, "version-2"))) {
        expect([name, (await stat(join(to, "version-2", name))).uid]).toEqual([name, USER]);
      }
    });

    it("run by the server's own user needs no more than that", async () => {
      for (const path of [to, join(to, "version-2"), join(to, "version-2/currentEpoch")]) await chown(path, USER, USER);
      for (const path of await readdir(sink, { recursive: true })) await chmod(join(sink, path), 0o755);
      await chmod(sink, 0o755);
      expect(await replaceAsUser()).toMatchObject({ code: 0, stderr: "" });
    });

    it("run by another user is refused", async () => {
      await expectRefused(replaceAsUser(), 1, /ERR_TARGET_UNAVAILABLE: .*no permission to write there/);
    });
  });
});
