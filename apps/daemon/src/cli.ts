import { abortError, BackypError, isBackypError } from "@zk-backyp/core";
import { ZooKeeperFileError } from "@zk-backyp/zookeeper-files";
import { Command, CommanderError, Option } from "commander";
import colors from "picocolors";
import { addBrowseCommands } from "./browse/browse-commands.ts";
import type { CommandContext } from "./command-context.ts";
import { backup } from "./commands/backup.ts";
import type { HoldFlags } from "./commands/hold.ts";
import { inspect } from "./commands/inspect.ts";
import { list } from "./commands/list.ts";
import { pin, unpin } from "./commands/pin.ts";
import { prune, type RuleFlags } from "./commands/prune.ts";
import { recover } from "./commands/recover.ts";
import { restore } from "./commands/restore.ts";
import { show } from "./commands/show.ts";
import { verify } from "./commands/verify.ts";
import { type ConfigIssue, configIssuesOf } from "./config/config-issues.ts";
import { ExitCode, exitCodeOf } from "./exit-codes.ts";
import { createLogger } from "./logger.ts";
import { DEFAULT_PREFIX } from "./open-series.ts";
import { printable } from "./printable.ts";
import { ReaderGone } from "./reader-gone.ts";
import type { SourceFlags } from "./source-flags.ts";
import { version } from "./version.ts";

/** Options that several commands have, as commander hands them over. */
export interface CommonFlags {
  readonly json?: true;
  readonly prefix?: string;
  readonly config?: string;
  readonly series?: string;
}

interface BackupFlags extends SourceFlags {
  readonly to?: string;
  readonly compression?: string;
  readonly allowDamaged?: true;
}

interface PruneCommandFlags extends RuleFlags {
  readonly from?: string;
  readonly dryRun?: true;
}

interface RestoreCommandFlags {
  readonly from?: string;
  readonly to?: string;
  readonly dataLogDir?: string;
  readonly allowDamaged?: true;
  readonly replace?: true;
}

/** Where the program's text goes and what stops it; the process's own in `main`. */
export interface CliSurroundings {
  readonly signal: AbortSignal;
  writeOut(chunk: string | Uint8Array): void;
  /** Resolves once stdout takes more: to false if nobody reads it any more. Without it, output is not waited for. */
  drained?(): Promise<boolean>;
  writeError(text: string): void;
  /** Whether stdout is a terminal. Default: it is none. */
  readonly isTerminal?: boolean;
  /** Calls `listener` whenever the process is told (SIGHUP) to read its configuration anew; without a listener that ends it. */
  onReload?(listener: () => void): void;
}

/** Runs the command line `args` (without node and script) and returns the exit code. Never throws. */
export async function runCli(args: readonly string[], surroundings: CliSurroundings): Promise<number> {
  let exitCode: number = ExitCode.ok;
  const program = createProgram(surroundings, async (json, run) => {
    let hasOutput = false;
    const context: CommandContext = {
      signal: surroundings.signal,
      logger: createLogger(),
      json,
      print: (text) => surroundings.writeOut(`${json ? text : printable(text)}\n`),
      async write(chunk) {
        hasOutput ||= chunk.length > 0;
        surroundings.writeOut(typeof chunk === "string" && !json ? printable(chunk) : chunk);
        if ((await surroundings.drained?.()) === false) throw new ReaderGone();
        if (surroundings.signal.aborted) throw abortError(surroundings.signal);
      },
    };
    try {
      exitCode = await run(context);
    } catch (error) {
      if (error instanceof ReaderGone) return;
      exitCode = exitCodeOf(error);
      report(error, hasOutput, context, surroundings);
    }
  });
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    // commander has said what is wrong already; --help and --version end this way too.
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return ExitCode.ok;
    if (args.includes("--json"))
      surroundings.writeOut(`${errorDocument("ERR_CONFIG_INVALID", error.message.replace(/^error: /, ""))}\n`);
    return ExitCode.usage;
  }
  return exitCode;
}

function report(error: unknown, hasOutput: boolean, context: CommandContext, { writeError }: CliSurroundings): void {
  const known = isBackypError(error) || error instanceof ZooKeeperFileError;
  const { code, message } = known ? error : { code: "ERR_INTERNAL", message: String(error) };
  const issues = isBackypError(error) ? configIssuesOf(error) : undefined;
  context.logger.beforeLine();
  // A document that was begun stays unfinished: a second one behind it would be no JSON either.
  if (context.json && !hasOutput) context.print(errorDocument(code, message, issues));
  writeError(`${colors.red("error")} ${code}: ${printable(message)}\n`);
  // Not foreseen: where it came from is what whoever mends it needs.
  if (!known && error instanceof Error) writeError(`${error.stack ?? ""}\n`);
}

function errorDocument(code: string, message: string, issues?: readonly ConfigIssue[]): string {
  return JSON.stringify({ error: { code, message, issues } }, null, 2);
}

/** Runs a command with what it needs, and keeps its exit code. */
export type Run = (json: boolean, run: (context: CommandContext) => Promise<number>) => Promise<void>;

function createProgram(surroundings: CliSurroundings, run: Run): Command {
  const { writeOut, writeError } = surroundings;
  const program = new Command("zk-backyp")
    .description(
      "Backups of Apache ZooKeeper that restore: taken from a running server, proven, kept in a directory or in S3.",
    )
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .exitOverride()
    .configureOutput({ writeOut, writeErr: writeError })
    .showSuggestionAfterError()
    .addHelpText("after", MAIN_EXAMPLES);

  const command = (name: string, description: string, examples: string): Command =>
    program
      .command(name)
      .description(description)
      .option("--json", "print one JSON document to stdout")
      .addHelpText("after", `\nExamples:\n${examples}`);
  const withConfig = (command: Command): Command =>
    command
      .option(
        "--config <file>",
        "configuration file (default: zk-backyp.config.yaml, .json, .js or .ts in this directory)",
      )
      .option("--series <name>", "series of the configuration (default: the only one)");
  const ofSeries = (name: string, description: string, examples: string): Command =>
    withConfig(
      command(name, description, examples).option(
        "--prefix <prefix>",
        `what the backups' ids begin with (default: that of the id, else ${DEFAULT_PREFIX})`,
      ),
    );
  const withServer = (command: Command): Command =>
    command
      .option("--data-dir <dir>", "the server's dataDir")
      .option("--data-log-dir <dir>", "the server's dataLogDir, if it has its own")
      .option(
        "--zoo-cfg <file>",
        "the server's zoo.cfg: tells the directories and the port, and is kept with the backup",
      )
      .option(
        "--server <host:port>",
        "the server's client port: tells how far the logs must reach, and the directories if nothing else does",
      )
      .option(
        "--control <kind:name>",
        "what stops and starts the server for a cold backup: monit:SERVICE, systemd:UNIT or helper:/path/to.sock",
      );
  const from = new Option(
    "--from <sink>",
    "where the backups are: a directory, s3://bucket/prefix?endpoint=..., or another sink plugin's address",
  );

  withServer(ofSeries("backup", "back a ZooKeeper server up, and print the manifest", BACKUP_EXAMPLES))
    .addOption(
      new Option(
        "--mode <mode>",
        "hot: while it runs; cold: stop it, link its files, start it again (default: the series' own, else hot)",
      ).choices(["hot", "cold"]),
    )
    .addOption(
      new Option("--if-leader <action>", "a cold backup of the leader: skip it (the default), or proceed").choices([
        "skip",
        "proceed",
      ]),
    )
    .option("--allow-standalone", "a cold backup of a server that nobody stands in for meanwhile")
    .option(
      "--to <sink>",
      "where to: a directory, s3://bucket/prefix?endpoint=...&region=..., or another sink plugin's address",
    )
    .option("--compression <kind>", "gzip, gzip:1 to gzip:9, or none (default: gzip, level 5)")
    .option("--allow-damaged", "if the data is damaged, keep what there is, as a backup that is marked as damaged")
    .action((flags: CommonFlags & BackupFlags) =>
      run(flags.json === true, (context) =>
        backup({ ...flags, address: flags.to, source: sourceFlags(flags) }, context),
      ),
    );

  ofSeries("list", "list the backups, oldest first", LIST_EXAMPLES)
    .addOption(from)
    .option("--latest <n>", "only so many, the newest; the manifests of the others are not read")
    .action((flags: CommonFlags & { from?: string; latest?: string }) =>
      run(flags.json === true, (context) => list({ ...flags, address: flags.from }, context)),
    );

  ofSeries("show", "print everything that is known of one backup", SHOW_EXAMPLES)
    .argument("<id>", "the backup's id, or latest")
    .addOption(from)
    .action((id: string, flags: CommonFlags & { from?: string }) =>
      run(flags.json === true, (context) => show({ ...flags, id, address: flags.from }, context)),
    );

  ofSeries(
    "verify",
    "read a backup back and check every byte and what it means; exit code 3 on any damage",
    VERIFY_EXAMPLES,
  )
    .argument("[id]", "the backup's id, or latest")
    .option("--all", "every backup of the series")
    .option("--deep", "also start a real server on it, here, and compare what that says; needs ZooKeeper and java")
    .addOption(from)
    .action((id: string | undefined, flags: CommonFlags & { from?: string; all?: true; deep?: true }) =>
      run(flags.json === true, (context) =>
        verify({ ...flags, id, all: flags.all === true, deep: flags.deep === true, address: flags.from }, context),
      ),
    );

  ofSeries(
    "restore",
    "write a backup into an empty directory, or in place of a stopped server's data (--replace)",
    RESTORE_EXAMPLES,
  )
    .argument("<id>", "the backup's id, or latest")
    .addOption(from)
    .option(
      "--to <dir>",
      "the dataDir to be: missing, or empty (myid may be there); with --replace the stopped server's",
    )
    .option("--data-log-dir <dir>", "the dataLogDir to be, if the server has its own")
    .option(
      "--replace",
      "the directories are those of a server that is stopped: keep its myid, move its data aside, and raise the epochs",
    )
    .option("--allow-damaged", "restore also a backup that is marked as damaged: what a server can load of it")
    .action((id: string, flags: CommonFlags & RestoreCommandFlags) =>
      run(flags.json === true, (context) => restore({ ...flags, id, address: flags.from }, context)),
    );

  ofSeries("prune", "delete the backups that no rule keeps, and what runs that died have left", PRUNE_EXAMPLES)
    .addOption(from)
    .option("--keep-last <n>", "keep the newest n")
    .option("--within <duration>", "keep all that are at most that much older than the newest: 36h, 14d, 2w, 6m, 1y6m")
    .option("--hourly <n>", "keep the newest of each of the last n hours that have a backup")
    .option("--daily <n>", "the same for days")
    .option("--weekly <n>", "the same for weeks, from Monday on")
    .option("--monthly <n>", "the same for months")
    .option("--yearly <n>", "the same for years")
    .option("--time-zone <name>", "where days begin, such as Europe/Berlin (default: UTC)")
    .option("--dry-run", "only say what would be deleted, and why the others are kept")
    .action((flags: CommonFlags & PruneCommandFlags) =>
      run(flags.json === true, (context) =>
        prune({ ...flags, rules: ruleFlags(flags), dryRun: flags.dryRun === true, address: flags.from }, context),
      ),
    );

  ofSeries("pin", "keep a backup from being pruned", PIN_EXAMPLES)
    .argument("<id>", "the backup's id, or latest")
    .addOption(from)
    .option(
      "--until <time>",
      "until the end of a day or a time (UTC), or for a duration: 36h, 14d, 6m (default: for good)",
    )
    .option("--reason <text>", "why: kept with it, and shown")
    .action((id: string, flags: CommonFlags & { from?: string; until?: string; reason?: string }) =>
      run(flags.json === true, (context) => pin({ ...flags, id, address: flags.from }, context)),
    );

  ofSeries("unpin", "leave a backup to the rules of retention again", UNPIN_EXAMPLES)
    .argument("<id>", "the backup's id, or latest")
    .addOption(from)
    .action((id: string, flags: CommonFlags & { from?: string }) =>
      run(flags.json === true, (context) => unpin({ ...flags, id, address: flags.from }, context)),
    );

  command("inspect", "say what is in ZooKeeper's files and what a server would make of them", INSPECT_EXAMPLES)
    .argument("<path...>", "data directories, version-2 directories, or single files, taken together")
    .action((paths: string[], flags: CommonFlags) => run(flags.json === true, (context) => inspect(paths, context)));

  withServer(
    withConfig(
      command(
        "recover",
        "start the server that a backup has left stopped when it died, and remove what else it has left",
        RECOVER_EXAMPLES,
      ),
    ),
  ).action((flags: CommonFlags & SourceFlags) =>
    run(flags.json === true, (context) =>
      recover({ ...flags, source: { ...sourceFlags(flags), mode: "cold" } }, context),
    ),
  );

  command("init", "look at this host, and write a configuration for the ZooKeeper servers on it", INIT_EXAMPLES)
    .option("--output <file>", "what to write (default: zk-backyp.config.yaml in this directory)")
    .option(
      "--to <directory>",
      "a directory for the backups, or s3://bucket/prefix?endpoint=... (default: to be filled in)",
    )
    .option("--force", "overwrite a file that is there")
    .action((flags: CommonFlags & { output?: string; to?: string; force?: true }) =>
      run(flags.json === true, async (context) => {
        // As for the helper: what only this command needs is loaded by it.
        const { init } = await import("./commands/init.ts");
        return init(flags, context);
      }),
    );

  withConfig(
    command("check", "try for real whatever the configuration needs: servers, stores, rights, clocks", CHECK_EXAMPLES),
  ).action((flags: CommonFlags) =>
    run(flags.json === true, async (context) => {
      const { check } = await import("./commands/check.ts");
      return check(flags, context);
    }),
  );

  program
    .command("helper")
    .description("stop and start one server for backups that may not do that themselves, until it is told to end")
    .requiredOption(
      "--config <file>",
      "configuration file with a section helper, which only root and this user can write",
    )
    .addHelpText("after", `\nExamples:\n${HELPER_EXAMPLES}`)
    .action((flags: { readonly config: string }) =>
      run(false, async (context) => {
        // It is the one command that needs the source in any case.
        const { helper } = await import("./commands/helper.ts");
        return helper(flags, context);
      }),
    );

  program
    .command("daemon")
    .description("back up on schedule, on one node only if there are several, until it is told to end")
    .option(
      "--config <file>",
      "configuration file (default: zk-backyp.config.yaml, .json, .js or .ts in this directory)",
    )
    .option("--hold <seconds>", "begin nothing for so long, unless it is released before")
    .addHelpText("after", `\nExamples:\n${DAEMON_EXAMPLES}`)
    .action((flags: { readonly config?: string; readonly hold?: string }) =>
      run(false, async (context) => {
        // HTTP and logging are of no use to the other commands.
        const { daemon } = await import("./commands/daemon.ts");
        const { isTerminal = false, onReload = () => {} } = surroundings;
        return daemon(flags, context, { writeLog: writeOut, isTerminal, onReload });
      }),
    );

  const ofDaemon = (name: string, description: string, examples: string): Command =>
    command(name, description, examples).option(
      "--config <file>",
      "the daemon's configuration file (default: zk-backyp.config.yaml, .json, .js or .ts in this directory)",
    );
  ofDaemon("hold", "have the running daemon begin nothing for now, and wait until nothing is under way", HOLD_EXAMPLES)
    .option("--abort", "abort what is under way; a server that is stopped for it is started first")
    .option("--for <seconds>", "go on by itself after that (default: 3600)")
    .option("--timeout <seconds>", "wait for so long; exit code 5 if something is under way even then (default: 120)")
    .action((flags: { json?: true } & HoldFlags) =>
      run(flags.json === true, async (context) => {
        const { hold } = await import("./commands/hold.ts");
        return hold(flags, context);
      }),
    );
  ofDaemon("release", "have the daemon go on that was held", RELEASE_EXAMPLES).action(
    (flags: { json?: true; config?: string }) =>
      run(flags.json === true, async (context) => {
        const { release } = await import("./commands/release.ts");
        return release(flags, context);
      }),
  );

  addBrowseCommands(ofSeries, from, run);

  return program;
}

function sourceFlags(flags: SourceFlags): SourceFlags {
  const { dataDir, dataLogDir, zooCfg, server, mode, control, ifLeader, allowStandalone } = flags;
  return { dataDir, dataLogDir, zooCfg, server, mode, control, ifLeader, allowStandalone };
}

function ruleFlags(flags: RuleFlags): RuleFlags {
  const { keepLast, within, hourly, daily, weekly, monthly, yearly, timeZone } = flags;
  return { keepLast, within, hourly, daily, weekly, monthly, yearly, timeZone };
}

const MAIN_EXAMPLES = `
Examples:
  zk-backyp backup --data-dir /var/lib/zookeeper --to /backups
  zk-backyp list --from /backups
  zk-backyp restore latest --from /backups --to /var/lib/zookeeper-restored

Exit codes: 0 ok, 1 failed, 2 bad usage or configuration, 3 damage found, 4 no such backup or
znode, 5 busy, 6 different (diff --exit-code), 7 the server that was stopped for a backup
is down: look at once, 130 aborted.
S3 credentials come from the AWS SDK's usual places: environment, ~/.aws, instance role.
`;

const INIT_EXAMPLES = `  zk-backyp init
  zk-backyp init --output /etc/zk-backyp/zk-backyp.config.yaml --to /backups
`;
const CHECK_EXAMPLES = `  zk-backyp check
  zk-backyp check --config /etc/zk-backyp/zk-backyp.config.yaml --series zk-prod
`;
const BACKUP_EXAMPLES = `  zk-backyp backup --data-dir /var/lib/zookeeper --to /backups
  zk-backyp backup --data-dir /zk/data --data-log-dir /zk/log --to s3://backups/zk?region=eu-central-1
  zk-backyp backup --zoo-cfg /etc/zookeeper/conf/zoo.cfg --to 's3://backups/zk?endpoint=https://s3.internal&pathStyle=true'
  zk-backyp backup --server 127.0.0.1:2181 --to /backups --prefix kafka --json
  zk-backyp backup --mode cold --zoo-cfg /etc/zookeeper/conf/zoo.cfg --control systemd:zookeeper.service --to /backups
`;
const LIST_EXAMPLES = `  zk-backyp list --from /backups
  zk-backyp list --from /backups --latest 10
  zk-backyp list --from s3://backups/zk --prefix kafka --json
`;
const SHOW_EXAMPLES = `  zk-backyp show latest --from /backups
  zk-backyp show zookeeper-backup-20261122T101500123Z --from /backups --json
`;
const VERIFY_EXAMPLES = `  zk-backyp verify latest --from /backups
  zk-backyp verify --all --from s3://backups/zk
  ZOOKEEPER_HOME=/opt/zookeeper zk-backyp verify latest --deep --from /backups
`;
const RESTORE_EXAMPLES = `  zk-backyp restore latest --from /backups --to /var/lib/zookeeper
  zk-backyp restore zookeeper-backup-20261122T101500123Z --from s3://backups/zk --to /zk/data --data-log-dir /zk/log
  zk-backyp restore zookeeper-backup-20261122T101500123Z --from /backups --replace --to /var/lib/zookeeper
`;
const PRUNE_EXAMPLES = `  zk-backyp prune --from /backups --keep-last 7 --daily 30 --dry-run
  zk-backyp prune --from s3://backups/zk --within 14d --weekly 8 --monthly 12 --json
  zk-backyp prune --config /etc/zk-backyp.yaml
`;
const PIN_EXAMPLES = `  zk-backyp pin latest --from /backups --reason 'before the upgrade to 3.9'
  zk-backyp pin zookeeper-backup-20261122T101500123Z --from /backups --until 2027-06-30
`;
const UNPIN_EXAMPLES = `  zk-backyp unpin zookeeper-backup-20261122T101500123Z --from /backups
`;
const RECOVER_EXAMPLES = `  zk-backyp recover --config /etc/zk-backyp.yaml
  zk-backyp recover --zoo-cfg /etc/zookeeper/conf/zoo.cfg --control monit:zookeeper
`;
const HELPER_EXAMPLES = `  zk-backyp helper --config /etc/zk-backyp-helper.yaml
`;
const DAEMON_EXAMPLES = `  zk-backyp daemon --config /etc/zk-backyp/zk-backyp.config.yaml

SIGTERM ends it, after it has ended what is under way; SIGHUP has it read the configuration anew.
`;
const HOLD_EXAMPLES = `  zk-backyp hold --config /etc/zk-backyp/zk-backyp.config.yaml
  zk-backyp hold --abort --for 900 --timeout 60

The hold is over after \`zk-backyp release\`, after --for, or when the daemon is started anew.
`;
const RELEASE_EXAMPLES = `  zk-backyp release --config /etc/zk-backyp/zk-backyp.config.yaml
`;
const INSPECT_EXAMPLES = `  zk-backyp inspect /var/lib/zookeeper
  zk-backyp inspect /zk/data /zk/log --json
  zk-backyp inspect version-2/snapshot.3e4
`;

/** For `main`: what a signal turns into. */
export function interrupted(name: string): BackypError {
  return new BackypError("ERR_ABORTED", `stopped by ${name}`);
}
