import { abortError } from "@zk-backyp/core";
import type { NodeControl, NodeState, NodeStatus } from "./node-control.ts";
import { ANSWER_WITHIN_MS, type CommandResult, howItEnded, nodeControlError, runCommand } from "./run-command.ts";

const PROPERTIES = ["LoadState", "ActiveState", "SubState", "MainPID", "UnitFileState", "Job"] as const;

type Properties = Readonly<Record<(typeof PROPERTIES)[number], string>>;

/**
 * A node that is a unit of systemd.
 *
 * A JVM that is told to end has the exit code 143, which systemd takes for a failure unless the unit has
 * `SuccessExitStatus=143`. So a unit that is called failed after it was stopped through this object is `stopped`.
 *
 * @param systemctl the program and its options: `["/usr/bin/systemctl", "--user"]`
 */
export function openSystemd(systemctl: readonly string[], unit: string): NodeControl {
  const command = [...systemctl, "--no-ask-password"];
  const startCommand = [...command, "--no-block", "start", unit];
  let stopWasAsked = false;

  async function show(signal: AbortSignal): Promise<Properties> {
    if (signal.aborted) throw abortError(signal);
    const result = await run([...command, "show", `--property=${PROPERTIES.join(",")}`, "--", unit], signal);
    const lines = new Map(
      result.stdout.split("\n").map((line) => [line.split("=", 1)[0], line.replace(/^[^=]*=/, "")]),
    );
    const properties = Object.fromEntries(PROPERTIES.map((name) => [name, lines.get(name) ?? ""])) as Properties;
    if (properties.LoadState === "not-found" || properties.ActiveState === "") {
      throw nodeControlError(`systemd has no unit ${unit}: correct the option unit`);
    }
    return properties;
  }

  async function run(argv: readonly string[], signal: AbortSignal): Promise<CommandResult> {
    const result = await runCommand(argv, { signal, timeoutMs: ANSWER_WITHIN_MS, wantsOutput: true });
    if (result.code === 0) return result;
    throw nodeControlError(`${argv.join(" ")} failed${howItEnded(result)}`);
  }

  async function status({ signal }: { readonly signal: AbortSignal }): Promise<NodeStatus> {
    const properties = await show(signal);
    const pid = Number(properties.MainPID);
    const state = stateOf(properties);
    return {
      state: state === "failed" && stopWasAsked && properties.SubState !== "auto-restart" ? "stopped" : state,
      pid: Number.isSafeInteger(pid) && pid > 0 ? pid : null,
    };
  }

  return {
    name: `systemd's unit ${unit}`,
    startCommand,
    status,

    async stop({ signal }) {
      await show(signal);
      await run([...command, "--no-block", "stop", unit], signal);
      stopWasAsked = true;
    },

    // Replaces a stop that still waits; one that is under way is waited for by systemd itself.
    async start({ signal }) {
      await show(signal);
      await run(startCommand, signal);
      stopWasAsked = false;
    },

    async whyKeepStopped({ signal }) {
      const { LoadState, UnitFileState } = await show(signal);
      const isMasked = LoadState === "masked" || UnitFileState.startsWith("masked");
      return isMasked ? `the unit ${unit} is masked: \`systemctl unmask ${unit}\` allows its start` : null;
    },

    async close() {},
  };
}

function stateOf({ ActiveState, SubState, Job }: Properties): NodeState {
  // The number of a job on the unit that has not begun, or is not over.
  const isPending = Job !== "" && Job !== "0";
  switch (ActiveState) {
    case "active":
    case "reloading":
    case "refreshing":
      return isPending ? "stopping" : "running";
    case "deactivating":
      return "stopping";
    case "activating":
      // Between two attempts nobody has asked for anything.
      return SubState.startsWith("auto-restart") ? "failed" : "starting";
    case "inactive":
      return isPending ? "starting" : "stopped";
    case "failed":
      return isPending ? "starting" : "failed";
    default:
      // `maintenance`, or what a later release brings.
      return "starting";
  }
}
