import type { MonitInterface, MonitService } from "./monit.ts";
import { ANSWER_WITHIN_MS, type CommandResult, howItEnded, nodeControlError, runCommand } from "./run-command.ts";

/** What monit's command line says of a daemon that is not there; 5.2.5 with exit code 0. */
const NO_DAEMON = /daemon is not running|error connecting to the monit daemon|cannot connect to the monit daemon/i;

/**
 * monit's command line. Without a daemon, `monit stop` runs the stop program itself, and nobody would start the node
 * again by itself afterwards, so that is refused. `monit start` runs the start program then: it brings the node back.
 *
 * @param command the program and what stands before the action: `["/usr/bin/monit", "-c", "/etc/monit/monitrc"]`
 */
export function monitCommand(command: readonly string[], service: string): MonitInterface {
  const name = `monit (${command.join(" ")})`;
  const run = (args: readonly string[], signal: AbortSignal): Promise<CommandResult> =>
    runCommand([...command, ...args], { signal, timeoutMs: ANSWER_WITHIN_MS, wantsOutput: true });

  return {
    name,
    startCommand: [...command, "start", service],

    async request(action, signal) {
      const result = await run([action, service], signal);
      if (result.code === 0) return "accepted";
      if (/already in progress/i.test(result.stderr)) return "busy";
      throw nodeControlError(`${name} did not ${action} ${service}${howItEnded(result)}`);
    },

    // Always asked first, so that no action is ever requested without a daemon.
    async look(signal) {
      const result = await run(["status"], signal);
      if (NO_DAEMON.test(result.stderr) || NO_DAEMON.test(result.stdout)) {
        throw nodeControlError(
          `${name}: its daemon does not run, or its control file has no "set httpd"; start it, or enable that`,
        );
      }
      if (result.code !== 0) throw nodeControlError(`${name} cannot be asked${howItEnded(result)}`);
      return findService(result.stdout, service);
    },
  };
}

/** Reads what `monit status` prints, of 5.2.5 as of 5.33: for each service a line with its name, then indented lines. */
export function findService(text: string, service: string): MonitService | { readonly others: readonly string[] } {
  const others: string[] = [];
  let facts: Map<string, string> | undefined;
  let isInside = false;
  for (const line of text.split("\n")) {
    const [, type, name = ""] = /^(\S[^']*) '(.*)'\s*$/.exec(line) ?? [];
    if (type !== undefined) {
      isInside = type === "Process" && name === service;
      if (isInside) facts = new Map();
      else if (type === "Process") others.push(name);
    } else if (isInside) {
      const [, key, value = ""] = /^ {2}(\S+(?: \S+)*)\s{2,}(.*\S)\s*$/.exec(line) ?? [];
      if (key !== undefined) facts?.set(key, value);
    }
  }
  if (facts === undefined) return { others };
  const status = facts.get("status");
  const monitoring = facts.get("monitoring status")?.toLowerCase();
  if (status === undefined || monitoring === undefined) {
    throw nodeControlError(`monit's status of ${service} has no lines "status" and "monitoring status"`);
  }
  const pid = Number(facts.get("pid"));
  return {
    monitoring: monitoring === "monitored" || monitoring === "not monitored" ? monitoring : "initializing",
    pending: / - (\S+) pending$/.exec(status)?.[1] ?? null,
    isMissing: /does not exist/i.test(status),
    pid: Number.isSafeInteger(pid) && pid > 0 ? pid : null,
  };
}
