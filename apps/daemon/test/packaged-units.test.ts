import { spawnSync } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { startSystemSystemd, unpackFixture, userSystemdMissing } from "@zk-backyp/testbed";
import { describe, expect, it } from "vitest";
import { readDaemonConfig } from "../src/config.ts";

const PACKAGING = fileURLToPath(new URL("../packaging/", import.meta.url));
const MAIN = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const CHECKOUT = fileURLToPath(new URL("../../../", import.meta.url));
const UNITS = ["zk-backyp.service", "zk-backyp-helper.service", "zk-backyp-recover.service"];

const canAnalyze = spawnSync("systemd-analyze", ["--version"]).status === 0;
const missing = userSystemdMissing();
// Where the kernel does not allow it, nothing can be installed against that: skipped also with CI=1.
if (missing !== null) console.warn(`SKIPPED TESTS: ${missing}`);

/** The unit with a program that is here. */
async function unit(name: string): Promise<string> {
  const text = await readFile(join(PACKAGING, name), "utf8");
  const { length } = text.match(/^ExecStart=zk-backyp /gm) ?? [];
  expect(length).toBe(1);
  return text.replace(/^ExecStart=zk-backyp /m, `ExecStart=${process.execPath} ${MAIN} `);
}

describe.skipIf(!canAnalyze)("the units", () => {
  it.each([...UNITS.map((name): [string, string[]] => [name, []]), ["zk-backyp.service", ["cold.conf"]]])(
    "hold nothing that systemd does not understand: %s %j",
    async (name, dropIns) => {
      const folder = await mkdtemp(join(tmpdir(), "zk-backyp-units-"));
      try {
        await writeFile(join(folder, name), await unit(name));
        await mkdir(join(folder, `${name}.d`));
        for (const dropIn of dropIns) await cp(join(PACKAGING, dropIn), join(folder, `${name}.d`, dropIn));
        const env = { ...process.env, SYSTEMD_UNIT_PATH: `${folder}:` };
        const args = ["verify", "--man=no", join(folder, name)];
        const { stdout, stderr } = spawnSync("systemd-analyze", args, { env, encoding: "utf8" });
        // It looks at what the machine's own units say, too.
        expect(`${stdout}${stderr}`.split("\n").filter((line) => line.includes("zk-backyp"))).toEqual([]);
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  );

  it.each([
    ["zk-backyp.service", 20],
    ["zk-backyp-helper.service", 25],
  ])("leave %s little that it could do", async (name, threshold) => {
    const args = ["security", "--offline=true", `--threshold=${threshold}`, join(PACKAGING, name)];
    const { status, stdout, stderr } = spawnSync("systemd-analyze", args, { encoding: "utf8" });
    // Before systemd 250 it only knows units that run.
    if (/unrecognized option/.test(stderr)) return;
    expect(stdout).toMatch(/Overall exposure level/);
    expect(status).toBe(0);
  });
});

describe("the example", () => {
  it("is a configuration that the daemon takes", async () => {
    const config = await readDaemonConfig(join(PACKAGING, "zk-backyp.config.yaml"));
    expect(Object.keys(config?.series ?? {})).toEqual(["zookeeper"]);
    // As it is once the hints in it are followed.
    const text = await readFile(join(PACKAGING, "zk-backyp.config.yaml"), "utf8");
    const folder = await mkdtemp(join(tmpdir(), "zk-backyp-example-"));
    try {
      const followed = text
        .replace(/^ {4}sink:\n {6}.*\n {6}.*\n/m, "")
        .replace(/^ {4}# (sink|runOn): /gm, "    $1: ")
        .replaceAll("    # Into", "    # into");
      await writeFile(join(folder, "zk-backyp.config.yaml"), followed);
      const other = await readDaemonConfig(join(folder, "zk-backyp.config.yaml"));
      expect(other?.series.zookeeper).toMatchObject({ runOn: "elected", sink: { use: "s3", bucket: "backups" } });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe.skipIf(missing !== null)("the daemon as a unit of systemd", () => {
  it("begins, reloads, comes back when it is killed, and ends", async () => {
    const folder = await mkdtemp(join(tmpdir(), "zk-backyp-unit-"));
    await chmod(folder, 0o755);
    await using systemd = await startSystemSystemd(folder, { "zk-backyp.service": await unit("zk-backyp.service") });
    const fixture = await unpackFixture("zookeeper-3.8.0", join(folder, "data"));
    const inside = (path: string): string => path.replace(folder, "/srv");
    const backups = join(folder, "backups");
    await mkdir(backups);
    await chmod(backups, 0o777);
    const config = join(folder, "zk-backyp.config.yaml");
    const text = (every: number): string => `
series:
  zk:
    source: { use: zookeeper, dataDir: ${inside(fixture.dataDir)}, dataLogDir: ${inside(fixture.dataLogDir)} }
    sink: { use: fs, path: /srv/backups }
    schedule: { interval: ${every} }
http: { port: 0 }
`;
    await writeFile(config, text(3600));
    // The unit as it is shipped, but for who and where.
    await mkdir(join(systemd.unitFolder, "zk-backyp.service.d"));
    await writeFile(
      join(systemd.unitFolder, "zk-backyp.service.d", "here.conf"),
      `[Service]
# The unit sees no home and no /tmp of others, and that is where this may lie.
BindReadOnlyPaths=${CHECKOUT}:/opt ${dirname(await realpath(process.execPath))}:/mnt
ExecStart=
ExecStart=/mnt/node /opt/apps/daemon/dist/main.js daemon --config /srv/zk-backyp.config.yaml
User=nobody
Group=nogroup
SupplementaryGroups=
ReadWritePaths=/srv/backups
RestartSec=1
StandardOutput=append:/srv/log
`,
    );
    const systemctl = (...args: string[]): { code: number | null; text: string } => {
      const { status, stdout, stderr } = systemd.run("systemctl", ...args);
      return { code: status, text: `${stdout}${stderr}`.trim() };
    };
    const show = (property: string): string =>
      systemctl("show", "--value", `--property=${property}`, "zk-backyp.service").text;
    const read = (path: string): string => systemd.run("cat", path).stdout;
    const log = async (): Promise<Record<string, unknown>[]> =>
      (await readFile(join(folder, "log"), "utf8"))
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line));

    systemctl("daemon-reload");
    // Returns when the daemon has said that it is ready.
    expect(systemctl("start", "zk-backyp.service")).toEqual({ code: 0, text: "" });
    expect(show("ActiveState")).toBe("active");
    expect(show("StatusText")).toMatch(/^1 series: zk /);
    const pid = show("MainPID");
    const status = read(`/proc/${pid}/status`);
    expect(status).toMatch(/^CapBnd:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(read(`/proc/${pid}/mounts`)).toMatch(/^\S+ \/ \S+ ro,/m);
    await expect
      .poll(() => readdir(join(backups, "zk", "manifests")).catch(() => []), { timeout: 30_000 })
      .toHaveLength(1);

    await writeFile(config, text(7200));
    expect(systemctl("reload", "zk-backyp.service")).toEqual({ code: 0, text: "" });
    await expect.poll(() => show("StatusText"), { timeout: 30_000 }).toMatch(/every 2 h/);
    await writeFile(config, "series: 1");
    expect(systemctl("reload", "zk-backyp.service")).toEqual({ code: 0, text: "" });
    await expect.poll(() => show("StatusText"), { timeout: 30_000 }).toMatch(/every 2 h.*refused/);
    expect(show("ActiveState")).toBe("active");
    expect(show("MainPID")).toBe(pid);

    await writeFile(config, text(7200));
    systemd.run("kill", "-KILL", pid);
    await expect.poll(() => show("NRestarts"), { timeout: 30_000 }).toBe("1");
    await expect.poll(() => show("ActiveState"), { timeout: 30_000 }).toBe("active");
    expect(show("MainPID")).not.toBe(pid);

    expect(systemctl("stop", "zk-backyp.service")).toEqual({ code: 0, text: "" });
    expect(show("ActiveState")).toBe("inactive");
    expect(show("Result")).toBe("success");
    expect(show("ExecMainStatus")).toBe("0");
    expect((await log()).at(-1)).toMatchObject({ event: "daemon.stopped" });
  });
});
