import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type CommandResult, runCommand } from "../node-control/run-command.ts";

/** What starts and stops a server, as `cold.control` names it. */
export type FoundSupervisor =
  | { readonly use: "systemd"; readonly unit: string }
  | { readonly use: "monit"; readonly service: string; readonly command?: readonly string[] };

const MONITS = [["monit"], ["/var/vcap/bosh/bin/monit"]] as const;
const ASK_WITHIN_MS = 5_000;

/** The unit of the system's own manager that a process belongs to, or null. */
export async function systemdUnitOf(pid: number, proc: string): Promise<FoundSupervisor | null> {
  const cgroups = await readFile(join(proc, String(pid), "cgroup"), "utf8").catch(() => "");
  // The first line of version 2, or of version 1 the one of systemd.
  const path = /^(?:0::|\d+:name=systemd:)(\/.*)$/m.exec(cgroups)?.[1] ?? "";
  const [, unit] = /^\/(?:[^/]+\.slice\/)*([^/]+\.service)(?:\/|$)/.exec(path) ?? [];
  return unit === undefined || unit.startsWith("user@") ? null : { use: "systemd", unit };
}

/** Monit's service that looks like ZooKeeper, if monit can be asked and there is exactly one. */
export async function monitService(signal: AbortSignal): Promise<FoundSupervisor | null> {
  for (const command of MONITS) {
    const answer = await runCommand([...command, "summary"], {
      timeoutMs: ASK_WITHIN_MS,
      signal,
      wantsOutput: true,
    }).catch((): CommandResult | null => null);
    if (answer?.code !== 0) continue;
    const services = zooKeeperServices(answer.stdout);
    const [service, ...more] = services;
    if (service === undefined || more.length > 0) continue;
    return { use: "monit", service, ...(command[0] === "monit" ? {} : { command }) };
  }
  return null;
}

/** Processes in `monit summary` whose names speak of ZooKeeper, in the forms of monit 5.2 and of later ones. */
export function zooKeeperServices(summary: string): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: later releases have colours
  const plain = summary.replace(/\x1b\[[\d;]*m/g, "");
  const names = plain.split("\n").flatMap((line) => {
    const old = /^Process '([^']+)'/.exec(line);
    const table = /^\s*[│|]?\s*(\S+)\s.*\bProcess\s*[│|]?\s*$/.exec(line);
    return [old?.[1] ?? table?.[1] ?? ""];
  });
  return names.filter((name) => /zookeeper|^zk/i.test(name));
}
