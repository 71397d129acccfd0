import { execFile } from "node:child_process";
import { mkdtemp, readFile, rename, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { startUserSystemd, type UserSystemd, userSystemdMissing } from "@zk-backyp/testbed";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { NodeControl } from "../src/node-control/node-control.ts";
import { openNodeControl } from "../src/node-control/open-node-control.ts";
import { identityOf, isAlive } from "../src/stop-promise/process-identity.ts";
import { nodeControlContract } from "../src/testing/index.ts";

const missing = userSystemdMissing();
// Where the kernel does not allow it, nothing can be installed against that: skipped also with CI=1.
if (missing !== null) console.warn(`SKIPPED TESTS: ${missing}`);

const signal = (): AbortSignal => AbortSignal.timeout(60_000);
const backInMs = 600_000;

interface Supervised {
  readonly systemd: UserSystemd;
  readonly control: NodeControl;
  livingPid(): Promise<number | null>;
}

/** A unit that ends like a JVM: with the exit code 143, after a second. */
async function supervised(restart = "no"): Promise<Supervised> {
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-systemd-"));
  const pidFile = join(folder, "node.pid");
  const script = `echo $$$$ >${pidFile}; trap "sleep 1; exit 143" TERM; while kill -0 ${process.pid}; do sleep 0.05; done`;
  const systemd = await startUserSystemd(folder, {
    "zookeeper.service": `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c '${script}'
Restart=${restart}
RestartSec=1
`,
  });
  vi.stubEnv("XDG_RUNTIME_DIR", systemd.env.XDG_RUNTIME_DIR);
  const control = openNodeControl({ use: "systemd", unit: "zookeeper.service", user: true }, folder);
  await control.start({ signal: signal() });
  return {
    systemd,
    control,
    async livingPid() {
      const pid = Number(await readFile(pidFile, "utf8").catch(() => ""));
      return pid > 0 && (await isAlive(await identityOf(pid))) ? pid : null;
    },
  };
}

async function until(control: NodeControl, state: string): Promise<void> {
  await expect.poll(async () => (await control.status({ signal: signal() })).state, { timeout: 20_000 }).toBe(state);
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(missing !== null)("systemd", () => {
  const cases = nodeControlContract(async () => {
    const { systemd, control, livingPid } = await supervised();
    return {
      control,
      stranger: openNodeControl({ use: "systemd", unit: "solr", user: true }, "/"),
      livingPid,
      dispose: async () => systemd[Symbol.asyncDispose](),
    };
  });
  for (const { name, run } of cases) it(name, run);

  it("calls stopped what it stopped, whatever exit code that has, and failed what died", async () => {
    const { systemd, control } = await supervised();
    await using _ = systemd;
    await until(control, "running");
    await control.stop({ signal: signal(), backInMs });
    await until(control, "stopped");
    // Somebody who has not seen the stop cannot know.
    const other = openNodeControl({ use: "systemd", unit: "zookeeper", user: true }, "/");
    expect((await other.status({ signal: signal() })).state).toBe("failed");
    await control.start({ signal: signal() });
    await until(control, "running");
    const { pid } = await control.status({ signal: signal() });
    process.kill(pid ?? 0, "SIGKILL");
    await until(control, "failed");
  });

  it("calls failed what systemd is about to start again", async () => {
    const { systemd, control } = await supervised("always");
    await using _ = systemd;
    await until(control, "running");
    const { pid } = await control.status({ signal: signal() });
    process.kill(pid ?? 0, "SIGKILL");
    await until(control, "failed");
    await until(control, "running");
    expect((await control.status({ signal: signal() })).pid).not.toBe(pid);
    await control.stop({ signal: signal(), backInMs });
    await until(control, "stopped");
  });

  it("says why a masked unit stays stopped, and refuses to start it", async () => {
    const { systemd, control } = await supervised();
    await using _ = systemd;
    await until(control, "running");
    expect(await control.whyKeepStopped?.({ signal: signal() })).toBeNull();
    const file = join(systemd.unitFolder, "zookeeper.service");
    await rename(file, `${file}.away`);
    await symlink("/dev/null", file);
    await promisify(execFile)("systemctl", ["--user", "daemon-reload"]);
    expect((await control.status({ signal: signal() })).state).toBe("running");
    expect(await control.whyKeepStopped?.({ signal: signal() })).toContain("systemctl unmask zookeeper.service");
    await control.stop({ signal: signal(), backInMs });
    await until(control, "stopped");
    await expect(control.start({ signal: signal() })).rejects.toMatchObject({
      code: "ERR_NODE_CONTROL",
      message: expect.stringContaining("masked"),
    });
    await rm(file);
  });

  it("fails when systemd does not answer", async () => {
    const { systemd, control } = await supervised();
    await systemd[Symbol.asyncDispose]();
    await expect(control.status({ signal: signal() })).rejects.toMatchObject({ code: "ERR_NODE_CONTROL" });
    await expect(control.stop({ signal: signal(), backInMs })).rejects.toMatchObject({ code: "ERR_NODE_CONTROL" });
  });
});
