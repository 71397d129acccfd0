import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { NodeControl } from "./node-control.ts";
import { openSystemd } from "./systemd.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-systemctl-"));
});
afterEach(() => rm(folder, { recursive: true }));

const signal = new AbortController().signal;
const backInMs = 600_000;

/** A systemctl that answers `show` with these lines, and everything else with the shell's commands. */
async function systemctl(show: string, others = "exit 0"): Promise<NodeControl> {
  const program = join(folder, "systemctl");
  await writeFile(join(folder, "show"), show);
  await writeFile(
    program,
    `#!/bin/sh\ncd ${folder}\ncase "$*" in *" show "*) exec cat show ;; esac\necho "$@" >>asked\n${others}\n`,
  );
  await chmod(program, 0o755);
  return openSystemd([program], "zookeeper");
}

const lines = (active: string, sub: string, { pid = 0, load = "loaded", file = "enabled", job = "" } = {}): string =>
  `MainPID=${pid}\nLoadState=${load}\nActiveState=${active}\nSubState=${sub}\nUnitFileState=${file}\nJob=${job}\n`;

describe("a unit's state", () => {
  it.each([
    ["active", "running", { pid: 7 }, "running", 7],
    // Made from an init script: systemd does not know the process.
    ["active", "exited", {}, "running", null],
    ["reloading", "reload", { pid: 7 }, "running", 7],
    ["active", "running", { pid: 7, job: "31" }, "stopping", 7],
    ["deactivating", "stop-sigterm", { pid: 7, job: "31" }, "stopping", 7],
    ["deactivating", "final-sigterm", {}, "stopping", null],
    ["activating", "start-pre", { job: "32" }, "starting", null],
    ["activating", "auto-restart", {}, "failed", null],
    ["inactive", "dead", {}, "stopped", null],
    ["inactive", "dead", { job: "33" }, "starting", null],
    ["failed", "failed", {}, "failed", null],
    ["failed", "failed", { job: "33" }, "starting", null],
    ["failed", "failed", { job: "0" }, "failed", null],
    ["something-new", "odd", {}, "starting", null],
  ] as const)("that is %s (%s) %j is %s", async (active, sub, facts, state, pid) => {
    const node = await systemctl(lines(active, sub, facts));
    expect(await node.status({ signal })).toEqual({ state, pid });
  });

  it.each([
    ["is not there", lines("inactive", "dead", { load: "not-found" })],
    ["is not told", ""],
  ])("that %s is an error, and nothing is asked for", async (_, show) => {
    const node = await systemctl(show);
    const failure = { code: "ERR_NODE_CONTROL", message: "systemd has no unit zookeeper: correct the option unit" };
    await expect(node.status({ signal })).rejects.toMatchObject(failure);
    await expect(node.stop({ signal, backInMs })).rejects.toMatchObject(failure);
    await expect(node.start({ signal })).rejects.toMatchObject(failure);
    await expect(readFile(join(folder, "asked"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it.each([
    ["enabled", "loaded", null],
    ["disabled", "loaded", null],
    ["masked", "masked", /masked/],
    ["masked-runtime", "loaded", /masked/],
  ] as const)("with the file %s keeps the node stopped: %s", async (file, load, reason) => {
    const node = await systemctl(lines("inactive", "dead", { file, load }));
    const why = await node.whyKeepStopped?.({ signal });
    if (reason === null) expect(why).toBeNull();
    else expect(why).toMatch(reason);
  });
});

it("systemd is asked without waiting for it, and without a question on the terminal", async () => {
  const node = await systemctl(lines("active", "running", { pid: 7 }));
  await node.stop({ signal, backInMs });
  await node.start({ signal });
  expect(await readFile(join(folder, "asked"), "utf8")).toBe(
    "--no-ask-password --no-block stop zookeeper\n--no-ask-password --no-block start zookeeper\n",
  );
});

it("what systemd refuses is told with its last line, and is no stop", async () => {
  const node = await systemctl(lines("failed", "failed"), "echo one >&2; echo 'Access denied' >&2; exit 4");
  await expect(node.stop({ signal, backInMs })).rejects.toMatchObject({
    code: "ERR_NODE_CONTROL",
    message: expect.stringMatching(/stop zookeeper failed: exit code 4: Access denied$/),
  });
  expect((await node.status({ signal })).state).toBe("failed");
});
