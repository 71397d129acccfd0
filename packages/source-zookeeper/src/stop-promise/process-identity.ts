import { readFile } from "node:fs/promises";
import { systemErrorCode } from "@zk-backyp/core";

/** Which process, in a way that neither a reused pid nor a reboot can fake. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in clock ticks since the boot (`/proc/<pid>/stat`). Null where there is no `/proc`. */
  readonly startTicks: string | null;
  /** The boot of the machine. Null where there is no `/proc`. */
  readonly bootId: string | null;
}

/** The process that has this pid now. */
export async function identityOf(pid: number): Promise<ProcessIdentity> {
  const stat = await readStat(pid);
  return { pid, startTicks: stat?.startTicks ?? null, bootId: await readBootId() };
}

/**
 * Whether that process still runs. One that has ended and was not yet reaped does not. Where `/proc` does not tell, it
 * is whether any process has the pid.
 */
export async function isAlive(identity: ProcessIdentity): Promise<boolean> {
  const bootId = await readBootId();
  if (identity.bootId !== null && bootId !== null && identity.bootId !== bootId) return false;
  const stat = identity.startTicks === null ? null : await readStat(identity.pid);
  // /proc may hide the processes of other users (hidepid), so that one is not there does not mean that it is gone.
  if (stat === null) return hasProcess(identity.pid);
  return stat.startTicks === identity.startTicks && stat.state !== "Z" && stat.state !== "X";
}

export function isSameProcess(one: ProcessIdentity, other: ProcessIdentity): boolean {
  return one.pid === other.pid && one.startTicks === other.startTicks && one.bootId === other.bootId;
}

function hasProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === "EPERM";
  }
}

async function readStat(pid: number): Promise<{ state: string; startTicks: string } | null> {
  const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
  // The second field is the program's name in brackets, which may hold anything, brackets and spaces included.
  const [state, ...later] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const startTicks = later[18];
  return state === undefined || startTicks === undefined ? null : { state, startTicks };
}

async function readBootId(): Promise<string | null> {
  const text = await readFile("/proc/sys/kernel/random/boot_id", "latin1").catch(() => "");
  return text.trim() || null;
}
