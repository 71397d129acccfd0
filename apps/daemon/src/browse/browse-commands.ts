import type { Command, Option } from "commander";
import type { CommonFlags, Run } from "../cli.ts";
import { cat } from "../commands/cat.ts";
import { diff } from "../commands/diff.ts";
import { exportZnodes } from "../commands/export.ts";
import { log } from "../commands/log.ts";
import { ls } from "../commands/ls.ts";
import { tree } from "../commands/tree.ts";
import { OPS } from "./changes.ts";
import { PLACE_HELP } from "./place.ts";

type Define = (name: string, description: string, examples: string) => Command;

/** Adds the commands that look inside backups and data directories. */
export function addBrowseCommands(define: Define, from: Option, run: Run): void {
  const ofState = (name: string, description: string, examples: string, path: string = "[path]"): Command =>
    define(name, description, examples)
      .argument("<where>", PLACE_HELP)
      .argument(path, "path of the znode", path === "[path]" ? "/" : undefined)
      .option("--at-zxid <zxid>", "the state right after this transaction (0x3e4), instead of the last one")
      .option(
        "--at-time <time>",
        "the state at the end of this second, minute or day by the server's clock (2026-11-22T20:58, UTC)",
      )
      .addOption(from);

  ofState("ls", "list the children of a znode", LS_EXAMPLES)
    .option("-R, --recursive", "list all znodes below it, by their paths")
    .option("--stat", "with kind, size, number of children, version and time")
    .action((where: string, path: string, { from: address, ...flags }: StateOptions & LsOptions) =>
      run(flags.json === true, (context) => ls({ ...flags, where, path, address }, context)),
    );

  ofState("cat", "write the data of a znode to stdout, byte for byte", CAT_EXAMPLES, "<path>")
    .option("--stat", "what is known about the znode, its ACL too, instead of its data")
    .action((where: string, path: string, { from: address, ...flags }: StateOptions & Pick<LsOptions, "stat">) =>
      run(flags.json === true, (context) => cat({ ...flags, where, path, address }, context)),
    );

  ofState(
    "tree",
    "show how many znodes and how much data each subtree has, the largest children of each",
    TREE_EXAMPLES,
  )
    .option("--depth <n>", "how deep to go (default: 2; with --top: all the way)")
    .option("--top <n>", "instead of the tree, the n largest subtrees below the znode")
    .option("--by <measure>", "what is large: data or znodes (default: data)")
    .action((where: string, path: string, { from: address, ...flags }: StateOptions & TreeOptions) =>
      run(flags.json === true, (context) => tree({ ...flags, where, path, address }, context)),
    );

  ofState("export", "write a znode and all below it, with data, ACLs and stats, for other tools", EXPORT_EXAMPLES)
    .option("--format <form>", "json (a znode on each line) or tar (a folder for each znode) (default: json)")
    .option("--output <file>", "a new file instead of stdout; it appears only when it is complete")
    .action((where: string, path: string, { from: address, ...flags }: StateOptions & ExportOptions) =>
      run(flags.json === true, (context) => exportZnodes({ ...flags, where, path, address }, context)),
    );

  define("diff", "say which znodes are not the same in two backups, directories or moments", DIFF_EXAMPLES)
    .argument("<a>", PLACE_HELP)
    .argument("<b>", "the same")
    .argument("[path]", "compare only this znode and all below it", "/")
    .option("--stat", "also znodes of which only the bookkeeping of their children (cversion, pzxid) differs")
    .option("--exit-code", "exit with 6 if there is a difference")
    .addOption(from)
    .action((a: string, b: string, path: string, { from: address, ...flags }: CommonFlags & DiffOptions) =>
      run(flags.json === true, (context) => diff({ ...flags, a, b, path, address }, context)),
    );

  define("log", "print the transactions: who changed what, and when", LOG_EXAMPLES)
    .argument("<where>", PLACE_HELP)
    .option("--path <glob>", "only changes of these znodes; * and ? stay in a name, /a/** is /a and all below it")
    .option("--since <point>", "from this zxid (0x3e4) or time (2026-11-22T20:58, UTC) on")
    .option("--until <point>", "up to this zxid, or to the end of this second, minute or day")
    .option("--op <types>", `only changes of these types, with commas between them: ${OPS.join(", ")}`)
    .option("--session <id>", "only what this session did (0x100000df5170000)")
    .addOption(from)
    .action((where: string, { from: address, ...flags }: CommonFlags & LogOptions) =>
      run(flags.json === true, (context) => log({ ...flags, where, address }, context)),
    );
}

interface StateOptions extends CommonFlags {
  readonly from?: string;
  readonly atZxid?: string;
  readonly atTime?: string;
}

interface LsOptions {
  readonly recursive?: true;
  readonly stat?: true;
}

interface TreeOptions {
  readonly depth?: string;
  readonly top?: string;
  readonly by?: string;
}

interface ExportOptions {
  readonly format?: string;
  readonly output?: string;
}

interface DiffOptions {
  readonly from?: string;
  readonly stat?: true;
  readonly exitCode?: true;
}

interface LogOptions {
  readonly from?: string;
  readonly path?: string;
  readonly since?: string;
  readonly until?: string;
  readonly op?: string;
  readonly session?: string;
}

const LS_EXAMPLES = `  zk-backyp ls latest /app --from /backups
  zk-backyp ls /var/lib/zookeeper / -R --stat
  zk-backyp ls /zk/data,/zk/log /app --at-time 2026-11-22T20:58
  zk-backyp ls zookeeper-backup-20261122T101500123Z@0x3e4 /app --from s3://backups/zk --json
`;
const CAT_EXAMPLES = `  zk-backyp cat latest /app/config --from /backups
  zk-backyp cat /var/lib/zookeeper /app/config --at-zxid 0x3e4 > config
  zk-backyp cat version-2/snapshot.3e4 /app/config --stat
`;
const TREE_EXAMPLES = `  zk-backyp tree latest --from /backups
  zk-backyp tree /var/lib/zookeeper /app --depth 4
  zk-backyp tree latest --top 10 --by znodes --from /backups
`;
const EXPORT_EXAMPLES = `  zk-backyp export latest /app --from /backups > app.json
  zk-backyp export /var/lib/zookeeper /app --format tar --output app.tar
  zk-backyp export latest@0x3e4 / --format tar --from /backups | gzip > all.tar.gz
`;
const DIFF_EXAMPLES = `  zk-backyp diff zookeeper-backup-20261122T101500123Z latest --from /backups
  zk-backyp diff latest /var/lib/zookeeper /app --from /backups
  zk-backyp diff /var/lib/zookeeper@0x3e4 /var/lib/zookeeper
`;
const LOG_EXAMPLES = `  zk-backyp log /var/lib/zookeeper --path /app/leader
  zk-backyp log latest --from /backups --since 2026-11-22T20:00 --op delete
  zk-backyp log /zk/data,/zk/log --path '/app/**' --json
  zk-backyp log version-2/log.3e5
`;
