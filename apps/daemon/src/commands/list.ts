import type { CatalogItem } from "@zk-backyp/core";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes, formatTime } from "../formats.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { formatTable } from "../table.ts";

/** `list`: the backups of a series, oldest first. */
export async function list(flags: SeriesFlags, context: CommandContext): Promise<number> {
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const { series, sink, prefix } = opened;
  const items = await Array.fromAsync(series.catalog.list({ signal: context.signal }));
  if (context.json) {
    printJson(context, items.map(summary));
    return ExitCode.ok;
  }
  for (const item of items) if ("error" in item) context.logger.warn({}, item.error.message);
  if (items.length === 0) {
    context.print(`no backups with the prefix ${prefix} in ${sink.location} (another prefix? use --prefix)`);
    return ExitCode.ok;
  }
  context.print(formatTable(["ID", "KIND", "TAKEN (UTC)", "SIZE", "UP TO", "VERIFIED"], items.map(row)));
  return ExitCode.ok;
}

/** An unreadable manifest is listed with what is known: its id, and why. */
function summary(item: CatalogItem): object {
  if ("error" in item) return { id: item.id, error: { code: item.error.code, message: item.error.message } };
  const { id, kind, startedAt, finishedAt, archive, range, verified } = item.manifest;
  return { id, kind, startedAt, finishedAt, size: archive.size, range, verified };
}

function row(item: CatalogItem): string[] {
  if ("error" in item) return [item.id, colors.red("unreadable"), "", "", "", ""];
  const { id, kind, startedAt, archive, range, verified } = item.manifest;
  return [
    id,
    kind,
    formatTime(startedAt),
    formatBytes(archive.size),
    range.upTo,
    verified ? "yes" : colors.red("DAMAGED"),
  ];
}
