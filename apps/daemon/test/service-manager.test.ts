import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startUserSystemd, userSystemdMissing } from "@zk-backyp/testbed";
import { describe, expect, it } from "vitest";

const missing = userSystemdMissing();
// Where the kernel does not allow it, nothing can be installed against that: skipped also with CI=1.
if (missing !== null) console.warn(`SKIPPED TESTS: ${missing}`);

const SERVICE = fileURLToPath(new URL("notifying-service.ts", import.meta.url));
const NOBODY = "User=nobody\nGroup=nogroup\n";

interface Service extends AsyncDisposable {
  readonly folder: string;
  systemctl(...args: string[]): string;
  show(property: string): string;
  /** Waits until a property has that value. */
  until(property: string, value: string | RegExp): Promise<void>;
  write(name: string): Promise<void>;
}

/** The service as a unit that is started, and waits for `go`. */
async function service(more: string): Promise<Service> {
  const root = await mkdtemp(join(tmpdir(), "zk-backyp-service-"));
  const folder = await mkdtemp(join(tmpdir(), "zk-backyp-signals-"));
  await chmod(folder, 0o777);
  const systemd = await startUserSystemd(root, {
    "made.service": `[Unit]
DefaultDependencies=no
[Service]
Type=notify
NotifyAccess=all
ExecStart=${process.execPath} ${SERVICE} ${folder}
ExecReload=/bin/kill -HUP $MAINPID
TimeoutStartSec=60
${more}
`,
  });
  // Another user has to get to the socket, as that of the system can be by all.
  for (const place of [root, join(root, "run"), join(root, "run/systemd")]) await chmod(place, 0o711);
  await chmod(join(root, "run/systemd/notify"), 0o777);
  const systemctl = (...args: string[]): string => {
    const { stdout, stderr } = spawnSync("systemctl", ["--user", ...args], {
      env: { ...process.env, ...systemd.env },
      encoding: "utf8",
    });
    return `${stdout}${stderr}`.trim();
  };
  const show = (property: string): string => systemctl("show", "--value", `--property=${property}`, "made.service");
  systemctl("start", "--no-block", "made.service");
  return {
    folder,
    systemctl,
    show,
    async until(property, value) {
      const whole = value instanceof RegExp ? value : new RegExp(`^${value}$`);
      await expect.poll(() => show(property), { timeout: 30_000, interval: 100 }).toMatch(whole);
    },
    write: (name) => writeFile(join(folder, name), ""),
    async [Symbol.asyncDispose]() {
      await systemd[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

describe.skipIf(missing !== null)("a service that speaks to systemd", () => {
  it.each([
    ["root", ""],
    ["another user", NOBODY],
  ])("is active once it says so, reloads and stops, as %s", async (_, user) => {
    await using made = await service(user);
    await expect.poll(() => existsSync(join(made.folder, "environment")), { timeout: 30_000 }).toBe(true);
    expect(made.show("ActiveState")).toBe("activating");
    await made.write("go");
    await made.until("ActiveState", "active");
    await made.until("StatusText", "has begun");
    const environment = await readFile(join(made.folder, "environment"), "utf8");
    expect(environment).toContain("INVOCATION_ID=");
    expect(environment).not.toMatch(/^(NOTIFY_SOCKET|WATCHDOG_)/m);

    const pid = made.show("MainPID");
    expect(made.systemctl("reload", "made.service")).toBe("");
    await made.until("ActiveState", "reloading");
    await made.until("StatusText", "reloaded");
    await made.until("ActiveState", "active");
    expect(made.show("MainPID")).toBe(pid);

    process.kill(Number(pid), "SIGTERM");
    // Nobody but the service itself can have said so.
    await made.until("ActiveState", "deactivating");
    await made.until("ActiveState", "inactive");
    expect(made.show("Result")).toBe("success");
  });

  it("lives on as long as it gets on", async () => {
    await using made = await service("WatchdogSec=2s\n");
    await made.write("go");
    await made.until("ActiveState", "active");
    const pid = made.show("MainPID");
    const beats = new Set<string>();
    await expect
      .poll(() => beats.add(made.show("WatchdogTimestampMonotonic")).size, { timeout: 60_000 })
      .toBeGreaterThan(7);
    expect(made.show("ActiveState")).toBe("active");
    expect(made.show("MainPID")).toBe(pid);
  });

  it.each([
    ["does not get on", async (made: Service) => made.write("dead")],
    ["is blocked", async (made: Service) => void process.kill(Number(made.show("MainPID")), "SIGUSR2")],
    ["was stopped by a signal", async (made: Service) => void process.kill(Number(made.show("MainPID")), "SIGSTOP")],
  ])("is killed and started again when it %s", async (_, harm) => {
    await using made = await service("WatchdogSec=2s\nRestart=always\nRestartSec=1\nTimeoutAbortSec=2s\nLimitCORE=0\n");
    await made.write("go");
    await made.until("ActiveState", "active");
    const pid = made.show("MainPID");
    await harm(made);
    await made.until("Result", "watchdog");
    await rm(join(made.folder, "dead"), { force: true });
    await made.until("NRestarts", /^[1-9]/);
    await made.until("ActiveState", "active");
    expect(made.show("MainPID")).not.toBe(pid);
  });
});
