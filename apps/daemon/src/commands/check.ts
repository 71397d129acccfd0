import { BackypError, type CheckItem } from "@zk-backyp/core";
import colors from "picocolors";
import { checkDaemon } from "../check/check-daemon.ts";
import { checkSeries } from "../check/check-series.ts";
import type { ReportedItem } from "../check/reported-item.ts";
import { type CommandContext, printJson } from "../command-context.ts";
import { type DaemonConfig, readDaemonConfig, seriesOf } from "../config.ts";
import { ExitCode } from "../exit-codes.ts";

export interface CheckFlags {
  readonly config?: string | undefined;
  readonly series?: string | undefined;
}

/**
 * `check`: tries for real whatever the configuration needs, and leaves everything as it was.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export async function check(flags: CheckFlags, context: CommandContext): Promise<number> {
  const items: ReportedItem[] = [];
  let last: string | null = null;
  const report = (series: string | null, item: CheckItem): void => {
    items.push({ ...item, series });
    if (context.json) return;
    if (items.length === 1 || series !== last) context.print(colors.bold(series ?? "zk-backyp"));
    last = series;
    context.print(line(item));
  };
  await checkAll(flags, context.signal, report);
  const failures = items.filter(({ status }) => status === "failed").length;
  const warnings = items.filter(({ status }) => status === "warning").length;
  if (context.json) {
    const told = items.map(({ series, name, status, message, remedy }) => ({ series, name, status, message, remedy }));
    printJson(context, { ok: failures === 0, items: told });
  } else {
    context.print(`${items.length} checks: ${failures} failed, ${warnings} to look at`);
  }
  return failures === 0 ? ExitCode.ok : ExitCode.failed;
}

async function checkAll(
  { config: path, series }: CheckFlags,
  signal: AbortSignal,
  report: (series: string | null, item: CheckItem) => void,
): Promise<void> {
  const config = await readDaemonConfig(path);
  if (config === null) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      "there is no zk-backyp.config.yaml (or .json, .js, .ts) in this directory: write one with zk-backyp init, or name it with --config",
    );
  }
  const names = series === undefined ? Object.keys(config.series) : [seriesOf(config, series).name];
  report(null, { name: "configuration", status: "ok", message: describeConfig(config), remedy: null });
  for await (const item of checkDaemon(config)) report(null, item);
  for (const name of names) {
    for await (const item of checkSeries(config, name, signal)) report(name, item);
  }
}

function describeConfig({ path, series }: DaemonConfig): string {
  return `${path} is valid: ${Object.keys(series).length} series`;
}

const SIGNS = {
  ok: colors.green("✔"),
  warning: colors.yellow("!"),
  failed: colors.red("✘"),
} as const;
const NAME_WIDTH = 15;

function line({ name, status, message, remedy }: CheckItem): string {
  const first = `  ${SIGNS[status]} ${name.padEnd(NAME_WIDTH)} ${message}`;
  return remedy === null ? first : `${first}\n    ${" ".repeat(NAME_WIDTH)} ${colors.dim("→")} ${remedy}`;
}
