import type { FoundServer, FoundSupervisor } from "@zk-backyp/source-zookeeper";

/** What a new configuration is made from. */
export interface NewConfig {
  readonly servers: readonly FoundServer[];
  readonly sink: { readonly use: string; readonly options: Readonly<Record<string, unknown>> };
  /** Whether somebody has said where the backups go. */
  readonly isSinkGiven: boolean;
}

/** A commented configuration file. Values are JSON, which is YAML too, so that nothing in them is taken for syntax. */
export function configText({ servers, sink, isSinkGiven }: NewConfig): string {
  const names = seriesNames(servers);
  const found = servers.length === 0 ? [null] : servers;
  const series = found.map((server, index) => seriesText(names[index] ?? "zookeeper", server, { sink, isSinkGiven }));
  return `# Configuration of zk-backyp. All settings: docs/configuration.md. Try it: zk-backyp check

series:
${series.join("\n")}
# Health, metrics, the status page. Reading needs no token; without one nothing can be changed by HTTP.
http:
  host: 127.0.0.1
  port: 9642
  # token: { file: /etc/zk-backyp/token }

# Who is told of failures. A secret may be { env: NAME } or { file: PATH }.
# notifications:
#   - use: webhook
#     url: { env: ZK_BACKYP_WEBHOOK }
#     on: [failure, stale, recovery]

# Where the daemon keeps what it remembers over a restart. Not needed where systemd has StateDirectory=.
# stateDir: /var/lib/zk-backyp

log:
  level: info
`;
}

/** One each: what ids and keys begin with. */
function seriesNames(servers: readonly FoundServer[]): string[] {
  if (servers.length <= 1) return ["zookeeper"];
  const names = servers.map(({ clientPort }, index) => `zookeeper-${clientPort ?? index + 1}`);
  return names.map((name, index) => (names.indexOf(name) === index ? name : `${name}-${index + 1}`));
}

function seriesText(
  name: string,
  server: FoundServer | null,
  { sink, isSinkGiven }: Pick<NewConfig, "sink" | "isSinkGiven">,
): string {
  const elected = (server?.members ?? 0) > 1;
  const sinkNote = isSinkGiven
    ? ""
    : "    # CHANGE THIS to a place that this host's end does not end: a mounted disk, or S3.\n";
  return `  ${name}:
    # ${describeServer(server)}
    source:
      use: zookeeper
${sourceLines(server).join("\n")}
${coldLines(server?.supervisor ?? null).join("\n")}
${sinkNote}    sink:
      use: ${JSON.stringify(sink.use)}
${Object.entries(sink.options)
  .map(([option, value]) => `      ${option}: ${JSON.stringify(value)}`)
  .join("\n")}
    # How the archive is compressed: gzip, none, or { gzip: { level: 1 to 9 } }.
    compression: gzip
    # always: this daemon backs up. elected: of the daemons on all members, the one that they elect through ZooKeeper.
    runOn: ${elected ? "elected" : "always"}
    # Every 86400 seconds; or cron: "0 2 * * *" with timeZone: Europe/Berlin.
    schedule: { interval: 86400, jitter: 300 }
    # Reads the newest backup back and checks it, once a week.
    verify: { schedule: { interval: 604800 } }
    # Which backups stay. The last verified one always does.
    retention: { keepLast: 7, daily: 14, weekly: 8, monthly: 12 }
`;
}

function describeServer(server: FoundServer | null): string {
  if (server === null) return "No ZooKeeper was found on this host: correct zooCfg.";
  const { pid, zooCfg, dataDir, members } = server;
  const what = pid === null ? "A server that does not run now" : `The server of process ${pid}`;
  const where = zooCfg ?? dataDir;
  return oneLine(`${what} (${where}), ${members > 1 ? `one of ${members} members` : "standalone"}.`);
}

function sourceLines(server: FoundServer | null): string[] {
  if (server === null) {
    return [
      "      # Tells directories and port. Without one: dataDir and server.",
      '      zooCfg: "/etc/zookeeper/conf/zoo.cfg"',
    ];
  }
  const { zooCfg, dataDir, clientPort } = server;
  if (zooCfg !== null) return ["      # Tells directories and port.", `      zooCfg: ${JSON.stringify(zooCfg)}`];
  return [
    ...(dataDir === null ? [] : [`      dataDir: ${JSON.stringify(dataDir)}`]),
    ...(clientPort === null ? [] : [`      server: "127.0.0.1:${clientPort}"`]),
  ];
}

function coldLines(supervisor: FoundSupervisor | null): string[] {
  const control = supervisor ?? { use: "systemd", unit: "zookeeper.service" };
  return [
    "      # The server is left alone. To have it stopped for each backup (docs/cold-mode.md), take the # away:",
    "      # mode: cold",
    `      # cold: { control: ${oneLine(JSON.stringify(control))} }`,
  ];
}

/** In a comment, a line end would end it. */
function oneLine(text: string): string {
  return text.replace(/[\r\n\u0085\u2028\u2029]/g, " ");
}
