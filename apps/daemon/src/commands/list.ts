import { type CatalogItem, isInForce, type PinItem } from "@zk-backyp/core";
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
  const now = new Date();
  const pins = new Map(
    (await series.pins({ signal: context.signal })).filter((pin) => isInForce(pin, now)).map((pin) => [pin.id, pin]),
  );
  if (context.json) {
    printJson(
      context,
      items.map((item) => ({ ...summary(item), ...describedPin(pins.get(item.id)) })),
    );
    return ExitCode.ok;
  }
  for (const item of items) if ("error" in item) context.logger.warn({}, item.error.message);
  if (items.length === 0) {
    context.print(`no backups with the prefix ${prefix} in ${sink.location} (another prefix? use --prefix)`);
    return ExitCode.ok;
  }
  const headings = ["ID", "KIND", "TAKEN (UTC)", "SIZE", "UP TO", "VERIFIED", ...(pins.size > 0 ? ["PINNED"] : [])];
  context.print(
    formatTable(
      headings,
      items.map((item) => [...row(item), mark(pins.get(item.id))]),
    ),
  );
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

/** `pin` of a summary: there only where the backup is pinned. */
export function describedPin(pin: PinItem | undefined): object {
  if (pin === undefined) return {};
  return { pin: "error" in pin ? { error: pin.error.message } : { until: pin.until, reason: pin.reason } };
}

function mark(pin: PinItem | undefined): string {
  if (pin === undefined) return "";
  return "error" in pin || pin.until === null ? "yes" : `until ${formatTime(pin.until)}`;
}
