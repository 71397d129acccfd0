import { resolve } from "node:path";
import { BackypError } from "@zk-backyp/core";
import { type FoundServer, findServers } from "@zk-backyp/source-zookeeper";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { readDaemonConfig } from "../config.ts";
import { ExitCode } from "../exit-codes.ts";
import { configText, type NewConfig } from "../init/config-text.ts";
import { writePrivateFile } from "../init/write-private-file.ts";
import { sinkOptionsAt } from "../sink-address.ts";

export interface InitFlags {
  readonly output?: string | undefined;
  /** Address of the sink. */
  readonly to?: string | undefined;
  readonly force?: boolean | undefined;
}

const DEFAULT_OUTPUT = "zk-backyp.config.yaml";
const DEFAULT_PATH = "/var/backups/zookeeper";

/**
 * `init`: looks at the host and writes a configuration for the servers on it.
 *
 * @param find looks for them
 * @throws BackypError `ERR_TARGET_NOT_EMPTY`, `ERR_TARGET_UNAVAILABLE`, `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`
 */
export async function init(
  { output = DEFAULT_OUTPUT, to, force = false }: InitFlags,
  context: CommandContext,
  find: typeof findServers = findServers,
): Promise<number> {
  const path = resolve(output);
  if (!/\.ya?ml$/.test(path)) {
    throw new BackypError("ERR_CONFIG_INVALID", `what is written is YAML: --output has to end in .yaml, not ${output}`);
  }
  const sink = await sinkOf(to);
  const servers = await find({ signal: context.signal });
  await writePrivateFile(path, configText({ servers, sink, isSinkGiven: to !== undefined }), force);
  // What is not good for the daemon is not to be found out later.
  await readDaemonConfig(path);
  const given = output === DEFAULT_OUTPUT ? "" : ` --config ${output}`;
  const next = [
    ...(to === undefined ? [`say where the backups go: sink in ${path}`] : []),
    `zk-backyp check${given}`,
    `zk-backyp daemon${given}`,
  ];
  if (context.json) printJson(context, { written: path, servers, next });
  else context.print(text(path, servers, next));
  return ExitCode.ok;
}

async function sinkOf(address: string | undefined): Promise<NewConfig["sink"]> {
  const { plugin, options } = await sinkOptionsAt(address ?? DEFAULT_PATH);
  // Refuses what would not do, such as a bucket without a name.
  plugin.parseOptions(options);
  const written = { ...(options as Readonly<Record<string, unknown>>) };
  // The file may lie elsewhere than where this command runs.
  if (plugin.name === "fs") written.path = resolve(String(written.path));
  return { use: plugin.name, options: written };
}

function text(path: string, servers: readonly FoundServer[], next: readonly string[]): string {
  const found = servers.map((server) => `  ${colors.green("✔")} ${describe(server)}`);
  const lines = found.length > 0 ? found : [`  ${colors.yellow("!")} no ZooKeeper was found: the file is a template`];
  return [
    "found on this host:",
    ...lines,
    `wrote ${path}`,
    "what to do next:",
    ...next.map((step, index) => `  ${index + 1}. ${step}`),
  ].join("\n");
}

function describe({ pid, zooCfg, dataDir, members, supervisor, problem }: FoundServer): string {
  const control =
    supervisor === null
      ? ""
      : `, ${supervisor.use === "systemd" ? supervisor.unit : `monit's service ${supervisor.service}`}`;
  const parts = [
    `${pid === null ? "configured, not running" : `process ${pid}`}${control}`,
    zooCfg ?? "no zoo.cfg",
    dataDir === null ? null : `data in ${dataDir}`,
    members > 1 ? `one of ${members} members: copy the file to all of them` : "standalone",
    problem,
  ];
  return parts.filter((part) => part !== null).join("; ");
}
