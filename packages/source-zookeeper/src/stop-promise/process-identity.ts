import { readFile, readlink } from "node:fs/promises";
import { systemErrorCode } from "@zk-backyp/core";

/** Which process, in a way that neither a reused pid nor a reboot can fake. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in clock ticks since the boot (`/proc/<pid>/stat`). Null where there is no `/proc`. */
  readonly startTicks: string | null;
  /** The boot of the machine. Null where there is no `/proc`. */
  readonly bootId: string | null;
  /** The pid namespace in which `pid` means something: a container's or the host's. Null where there is no `/proc`. */
  readonly pidNamespace: string | null;
}

/** The process that has this pid now. */
export async function identityOf(pid: number): Promise<ProcessIdentity> {
  const stat = await readStat(pid);
  return { pid, startTicks: stat?.startTicks ?? null, bootId: await readBootId(), pidNamespace: await ownNamespace() };
}

/**
 * Whether that process still runs. One that has ended and was not yet reaped does not. Where `/proc` does not tell, it
 * is whether any process has the pid.
 *
 * @param ifUnseen the answer for a process in another container, or on the host outside ours, of which nothing can be seen
 */
export async function isAlive(identity: ProcessIdentity, ifUnseen = true): Promise<boolean> {
  const bootId = await readBootId();
  if (identity.bootId !== null && bootId !== null && identity.bootId !== bootId) return false;
  const own = await ownNamespace();
  if (identity.pidNamespace !== null && own !== null && identity.pidNamespace !== own) return ifUnseen;
  // /proc may hide the processes of other users (hidepid): of such a one no more than the pid was ever known.
  if (identity.startTicks === null) return hasProcess(identity.pid);
  const stat = await readStat(identity.pid);
  return stat !== null && stat.startTicks === identity.startTicks && stat.state !== "Z" && stat.state !== "X";
}

export function isSameProcess(one: ProcessIdentity, other: ProcessIdentity): boolean {
  const keys = ["pid", "startTicks", "bootId", "pidNamespace"] as const;
  return keys.every((key) => one[key] === other[key]);
}

/** An identity as it was written to a file; null where it is none. */
export function parseIdentity(value: unknown): ProcessIdentity | null {
  const { pid, startTicks, bootId, pidNamespace } = (value ?? {}) as Partial<Record<keyof ProcessIdentity, unknown>>;
  const isText = (text: unknown): text is string | null => text === null || typeof text === "string";
  if (!Number.isSafeInteger(pid) || Number(pid) < 1) return null;
  if (!isText(startTicks) || !isText(bootId) || !isText(pidNamespace)) return null;
  return { pid: Number(pid), startTicks, bootId, pidNamespace };
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

// Neither changes while this process lives, and both are asked for at every look at another.
let namespace: Promise<string | null> | null = null;
let boot: Promise<string | null> | null = null;

function ownNamespace(): Promise<string | null> {
  namespace ??= readlink("/proc/self/ns/pid").catch(() => null);
  return namespace;
}

function readBootId(): Promise<string | null> {
  boot ??= readFile("/proc/sys/kernel/random/boot_id", "latin1").then(
    (text) => text.trim() || null,
    () => null,
  );
  return boot;
}
