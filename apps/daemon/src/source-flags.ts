import { BackypError } from "@zk-backyp/core";

/** The flags that are options of the ZooKeeper source. */
export interface SourceFlags {
  readonly dataDir?: string | undefined;
  readonly dataLogDir?: string | undefined;
  readonly zooCfg?: string | undefined;
  readonly server?: string | undefined;
  readonly mode?: "hot" | "cold" | undefined;
  readonly control?: string | undefined;
  readonly ifLeader?: "skip" | "proceed" | undefined;
  readonly allowStandalone?: true | undefined;
}

/**
 * The source's options as they would be configured.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` for flags that do not go together, and a control that cannot be named so
 */
export function sourceOptions(flags: SourceFlags): Readonly<Record<string, unknown>> {
  const { dataDir, dataLogDir, zooCfg, server, mode, control, ifLeader, allowStandalone } = flags;
  const isCold = mode === "cold";
  if (!isCold && [control, ifLeader, allowStandalone].some((flag) => flag !== undefined)) {
    throw invalid("--control, --if-leader and --allow-standalone are about stopping the server: give --mode cold too");
  }
  if (isCold && control === undefined) {
    throw invalid(
      "what stops and starts the server? Give --control, such as monit:zookeeper or systemd:zookeeper.service",
    );
  }
  const cold = control === undefined ? undefined : given({ control: parseControl(control), ifLeader, allowStandalone });
  return given({ dataDir, dataLogDir, zooCfg, server, mode, cold });
}

/** The flags that were given. */
export function given(flags: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
}

function parseControl(text: string): Readonly<Record<string, string>> {
  const [, use, name = ""] = /^([a-z]+):(.*)$/s.exec(text) ?? [];
  if (use === "monit") return { use, service: name };
  if (use === "systemd") return { use, unit: name };
  if (use === "helper") return { use, socket: name };
  if (use === "command") {
    throw invalid("--control command: its programs need a configuration file, see cold.control in the documentation");
  }
  throw invalid(
    `--control ${JSON.stringify(text)} is none of monit:SERVICE, systemd:UNIT and helper:/path/to.sock; what has more options goes into a configuration file`,
  );
}

function invalid(message: string): BackypError {
  return new BackypError("ERR_CONFIG_INVALID", message);
}
