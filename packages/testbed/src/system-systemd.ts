import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { spawnTethered } from "./tethered-process.ts";
import { MOUNTS, makeCgroup, PROGRAM, removeCgroup } from "./user-systemd.ts";

/**
 * A systemd of its own, as it runs a machine: the first process of a pid namespace. It knows nothing but the units it is
 * given, which can have users, sandboxes and state directories. `/var/lib` is empty for them, and what is in its
 * directory is at `/srv`.
 */
export interface SystemSystemd extends AsyncDisposable {
  /** Where its units are, as seen from here. */
  readonly unitFolder: string;
  /** Runs a program with its files and processes: `run("systemctl", "status")`. */
  run(...command: string[]): SpawnSyncReturns<string>;
}

const TARGETS = ["default.target", "basic.target", "sysinit.target", "shutdown.target", "network-online.target"];

/** Starts it with the given units (file name and text), and resolves when it answers. See `userSystemdMissing`. */
export async function startSystemSystemd(
  directory: string,
  units: Readonly<Record<string, string>>,
): Promise<SystemSystemd> {
  const unitFolder = join(directory, "units");
  await mkdir(unitFolder, { recursive: true });
  for (const name of TARGETS) await writeFile(join(unitFolder, name), "[Unit]\nDefaultDependencies=no\n");
  for (const [name, text] of Object.entries(units)) await writeFile(join(unitFolder, name), text);

  const cgroup = await makeCgroup(basename(directory));
  const script = `${MOUNTS}
mount -t proc proc /proc
mount -t tmpfs tmpfs /var/lib
mount --bind '${directory}' /srv
exec ${PROGRAM} --system --log-target=console --show-status=no --default-standard-output=null`;
  const enter = "exec unshare --mount --cgroup --pid --fork --kill-child sh -c";
  const unshare = spawnTethered("/bin/sh", ["-c", `echo $$ >'${cgroup}/cgroup.procs' && ${enter} "$0"`, script], {
    logFile: join(directory, "systemd.log"),
    // By the first it knows that this is no machine that it could halt.
    env: { PATH: process.env.PATH, container: "other", SYSTEMD_UNIT_PATH: "/srv/units" },
  });
  const run = (...command: string[]): SpawnSyncReturns<string> => {
    const args = ["--target", String(first), "--mount", "--cgroup", "--pid", "--", ...command];
    return spawnSync("nsenter", args, { encoding: "utf8" });
  };
  const dispose = async (): Promise<void> => {
    await unshare.end("SIGKILL");
    await removeCgroup(cgroup);
    await rm(directory, { recursive: true });
  };
  let first = 0;
  for (let tries = 0; first === 0 || run("systemctl", "show").status !== 0; tries += 1) {
    if (tries > 200 || unshare.exit !== undefined) {
      const log = await readFile(join(directory, "systemd.log"), "utf8");
      await dispose();
      throw new Error(`systemd did not start: ${log}`);
    }
    await sleep(50);
    first = Number(await readFile(`/proc/${unshare.pid}/task/${unshare.pid}/children`, "utf8").catch(() => "0"));
  }
  return { unitFolder, run, [Symbol.asyncDispose]: dispose };
}
