import { BackypError, isInForce, type PinItem, type SummaryItem } from "@zk-backyp/core";
import colors from "picocolors";
import type { CommandContext } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes, formatTime } from "../formats.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { growingTable } from "../table.ts";

/** Backups that are printed at once. */
const BLOCK = 1000;

export interface ListFlags extends SeriesFlags {
  /** Only so many, the newest: what was typed. */
  readonly latest?: string | undefined;
}

/** `list`: the backups of a series, oldest first. Prints as it reads: there may be very many. */
export async function list(flags: ListFlags, context: CommandContext): Promise<number> {
  const newest = flags.latest === undefined ? {} : { newest: parsedCount(flags.latest) };
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const { series, sink, prefix } = opened;
  const { signal } = context;
  const now = new Date();
  const pins = new Map(
    (await series.pins({ signal })).filter((pin) => isInForce(pin, now)).map((pin) => [pin.id, pin]),
  );
  const headings = ["ID", "KIND", "TAKEN (UTC)", "SIZE", "UP TO", "VERIFIED", ...(pins.size > 0 ? ["PINNED"] : [])];
  const table = growingTable(headings);
  let hasAny = false;
  for await (const items of blocks(series.catalog.summaries({ signal, ...newest }))) {
    if (context.json) {
      const text = JSON.stringify(
        items.map((item) => ({ ...described(item), ...describedPin(pins.get(item.id)) })),
        null,
        2,
      );
      // Without the array's own brackets: more may come.
      await context.write(`${hasAny ? "," : "["}${text.slice("[".length, -"\n]".length)}`);
    } else {
      for (const item of items) if ("error" in item) context.logger.warn({}, item.error.message);
      await context.write(`${table(items.map((item) => [...row(item), mark(pins.get(item.id))]))}\n`);
    }
    hasAny = true;
  }
  if (context.json) context.print(hasAny ? "\n]" : "[]");
  else if (!hasAny) {
    context.print(`no backups with the prefix ${prefix} in ${sink.location} (another prefix? use --prefix)`);
  }
  return ExitCode.ok;
}

function parsedCount(text: string): number {
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count) && count > 0) return count;
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `--latest: ${JSON.stringify(text)} is no whole number from 1, such as 10`,
  );
}

async function* blocks(items: AsyncIterable<SummaryItem>): AsyncGenerator<readonly SummaryItem[], void, void> {
  let block: SummaryItem[] = [];
  for await (const item of items) {
    block.push(item);
    if (block.length < BLOCK) continue;
    yield block;
    block = [];
  }
  if (block.length > 0) yield block;
}

/** An unreadable manifest is listed with what is known: its id, and why. */
function described(item: SummaryItem): object {
  if ("error" in item) return { id: item.id, error: { code: item.error.code, message: item.error.message } };
  const { id, kind, startedAt, finishedAt, archive, range, verified } = item;
  return { id, kind, startedAt, finishedAt, size: archive.size, range, verified };
}

function row(item: SummaryItem): string[] {
  if ("error" in item) return [item.id, colors.red("unreadable"), "", "", "", ""];
  const { id, kind, startedAt, archive, range, verified } = item;
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
