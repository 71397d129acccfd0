import { type PruneResult, parseRetentionRules, type RetentionRules } from "@zk-backyp/core";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes } from "../formats.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { formatTable } from "../table.ts";

/** The rules as the command line has them: text, of which core says what is wrong. */
export type RuleFlags = { readonly [Rule in keyof RetentionRules]?: string | undefined };

export interface PruneFlags extends SeriesFlags {
  readonly rules: RuleFlags;
  readonly dryRun: boolean;
}

/** `prune`: deletes the backups that no rule keeps. Returns 1 if something could not be deleted. */
export async function prune(flags: PruneFlags, context: CommandContext): Promise<number> {
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const { series, retention } = opened;
  // A rule of the command line stands for the configured one of its name: the others go on to keep what they keep.
  const rules = parseRetentionRules(
    { ...retention, ...parsed(flags.rules) },
    "which backups to keep (--keep-last and so on, or retention in a configuration file)",
  );
  const result = await series.prune({ rules, dryRun: flags.dryRun, signal: context.signal });
  for (const { message } of result.problems) context.logger.warn({}, message);
  for (const { key, error } of result.failures) {
    context.logger.warn({ err: error }, `${key} was not deleted, the next prune tries again: ${error.message}`);
  }
  if (context.json) printJson(context, document(result));
  else context.print(text(result));
  return result.failures.length === 0 ? ExitCode.ok : ExitCode.failed;
}

function parsed(rules: RuleFlags): { readonly [rule: string]: string | number } {
  const given = Object.entries(rules).filter((rule): rule is [string, string] => rule[1] !== undefined);
  const isCount = (rule: string, value: string): boolean => rule !== "within" && /^\d+$/.test(value);
  return Object.fromEntries(given.map(([rule, value]) => [rule, isCount(rule, value) ? Number(value) : value]));
}

function document({ failures, ...result }: PruneResult): object {
  const told = failures.map(({ key, error: { code, message } }) => ({ key, error: { code, message } }));
  return { ...result, failures: told };
}

function text({ dryRun, decisions, deleted, swept, unfinishedUploads, freedBytes }: PruneResult): string {
  const rows = decisions.map(({ id, keep, reasons }) => [keep ? "keep" : colors.red("delete"), id, reasons.join(", ")]);
  const counted = [
    plural(deleted.length, "backup"),
    ...(swept.length > 0 ? [plural(swept.length, "leftover")] : []),
    ...(unfinishedUploads !== null && unfinishedUploads > 0 ? [plural(unfinishedUploads, "unfinished upload")] : []),
  ].join(", ");
  const summary = `${dryRun ? "would delete" : "deleted"} ${counted} (${formatBytes(freedBytes)}), ${plural(decisions.length - deleted.length, "backup")} ${dryRun ? "would be left" : "left"}`;
  return rows.length === 0 ? summary : `${formatTable(["", "ID", "BECAUSE"], rows)}\n${summary}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
