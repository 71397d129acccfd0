import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { spawnTethered } from "./tethered-process.ts";

/** A systemd of its own, as it runs for a user, that knows nothing but the units it is given. */
export interface UserSystemd extends AsyncDisposable {
  /** What `systemctl --user` needs in its environment to find it. */
  readonly env: Readonly<Record<"XDG_RUNTIME_DIR", string>>;
  readonly unitFolder: string;
}

/** systemd itself, or undefined. */
export const PROGRAM: string | undefined = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"].find((path) =>
  existsSync(path),
);

/** What keeps this machine from running one, or null. It needs root, for a cgroup and namespaces of its own. */
export function userSystemdMissing(): string | null {
  if (PROGRAM === undefined) return "systemd is not installed";
  if (process.getuid?.() !== 0) return "a systemd of its own needs root";
  const { status, stderr } = spawnSync("unshare", ["-m", "-C", "sh", "-c", `${MOUNTS}\ntrue`], { encoding: "utf8" });
  return status === 0 ? null : `no namespaces for a systemd of its own: ${stderr}`;
}

// systemd wants a machine that it has booted, and a cgroup2 hierarchy that it may divide. /run is hidden with that.
export const MOUNTS: string = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
umount -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup`;

/** Starts it with the given units (file name and text), and resolves when it answers. */
export async function startUserSystemd(
  directory: string,
  units: Readonly<Record<string, string>>,
): Promise<UserSystemd> {
  const unitFolder = join(directory, "units");
  const runtimeFolder = join(directory, "run");
  await mkdir(unitFolder, { recursive: true });
  await mkdir(runtimeFolder, { mode: 0o700 });
  const nothing = "[Unit]\nDefaultDependencies=no\n";
  for (const [name, text] of Object.entries({ "default.target": nothing, ...units })) {
    await writeFile(join(unitFolder, name), text);
  }

  const cgroup = await makeCgroup(basename(directory));
  const env = { XDG_RUNTIME_DIR: runtimeFolder };
  const script = `${MOUNTS}
exec ${PROGRAM} --user --log-target=console`;
  const systemd = spawnTethered(
    "/bin/sh",
    ["-c", `echo $$ >'${cgroup}/cgroup.procs' && exec unshare -m -C sh -c "$0"`, script],
    {
      logFile: join(directory, "systemd.log"),
      env: { ...process.env, ...env, SYSTEMD_UNIT_PATH: unitFolder, HOME: directory, DBUS_SESSION_BUS_ADDRESS: "" },
    },
  );
  const dispose = async (): Promise<void> => {
    await systemd.end("SIGKILL");
    await removeCgroup(cgroup);
    await rm(directory, { recursive: true });
  };
  for (let tries = 0; !answers(env); tries += 1) {
    if (tries > 200 || systemd.exit !== undefined) {
      const log = await readFile(join(directory, "systemd.log"), "utf8");
      await dispose();
      throw new Error(`systemd did not start: ${log}`);
    }
    await sleep(50);
  }
  return { env, unitFolder, [Symbol.asyncDispose]: dispose };
}

function answers(env: UserSystemd["env"]): boolean {
  return spawnSync("systemctl", ["--user", "show"], { env: { ...process.env, ...env } }).status === 0;
}

/** Makes one below the root, and resolves with its folder. */
export async function makeCgroup(name: string): Promise<string> {
  const mounts = await readFile("/proc/self/mounts", "utf8");
  const hierarchy = /^\S+ (\S+) cgroup2 /m.exec(mounts)?.[1] ?? "";
  const cgroup = join(hierarchy, name);
  await mkdir(cgroup);
  return cgroup;
}

/** Ends what runs in it, and removes it with those below it. */
export async function removeCgroup(cgroup: string): Promise<void> {
  for (const entry of await readdir(cgroup, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroup(join(cgroup, entry.name));
  }
  while (true) {
    const pids = (await readFile(join(cgroup, "cgroup.procs"), "utf8")).split("\n").filter((pid) => pid !== "");
    if (pids.length === 0) break;
    for (const pid of pids) process.kill(Number(pid), "SIGKILL");
    await sleep(20);
  }
  // What has ended and was not yet reaped is still in it.
  for (let tries = 0; ; tries += 1) {
    try {
      await rmdir(cgroup);
      return;
    } catch (error) {
      if (tries > 200) throw error;
      await sleep(50);
    }
  }
}
