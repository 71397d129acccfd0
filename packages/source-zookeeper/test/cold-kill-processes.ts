import { readdirSync, readFileSync } from "node:fs";

/** A process, as `/proc` shows it. */
export interface ListedProcess {
  readonly pid: number;
  readonly parent: number;
  /** With NULs between the arguments. */
  readonly commandLine: string;
  /** What it was started with, NULs between. */
  readonly environment: string;
}

/** All that live; without those that have ended and were not yet reaped. Synchronous, for one that is about to die. */
export function listProcesses(): ListedProcess[] {
  const found: ListedProcess[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isSafeInteger(pid)) continue;
    const stat = readOf(pid, "stat");
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (parent === undefined || state === "Z" || state === "X") continue;
    found.push({
      pid,
      parent: Number(parent),
      commandLine: readOf(pid, "cmdline"),
      environment: readOf(pid, "environ"),
    });
  }
  return found;
}

/** Kills what fits and all that it has started, until nothing is left. This process stays. */
export function killWithChildren(fits: (process: ListedProcess) => boolean): void {
  for (;;) {
    const all = listProcesses().filter(({ pid }) => pid !== process.pid);
    const doomed = new Set(all.filter(fits).map(({ pid }) => pid));
    if (doomed.size === 0) return;
    for (let before = 0; before !== doomed.size; ) {
      before = doomed.size;
      for (const { pid, parent } of all) if (doomed.has(parent)) doomed.add(pid);
    }
    for (const pid of doomed) kill(pid);
  }
}

/** Kills what fits, and nothing else. */
export function killAlone(fits: (process: ListedProcess) => boolean): void {
  for (const listed of listProcesses()) if (fits(listed)) kill(listed.pid);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Gone in this moment.
  }
}

function readOf(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch {
    return "";
  }
}
