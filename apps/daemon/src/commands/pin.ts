import { after, BackypError, describePin, parseDuration } from "@zk-backyp/core";
import { parseTime } from "../browse/point.ts";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";

export interface PinFlags extends SeriesFlags {
  readonly id: string;
  readonly until?: string | undefined;
  readonly reason?: string | undefined;
}

/** `pin`: keeps a backup from being pruned. */
export async function pin(flags: PinFlags, context: CommandContext): Promise<number> {
  const end = flags.until === undefined ? {} : { until: parseEnd(flags.until) };
  const reason = flags.reason === undefined ? {} : { reason: flags.reason };
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const stored = await opened.series.pin(flags.id, { ...end, ...reason, signal: context.signal });
  if (context.json) printJson(context, stored);
  else context.print(`${stored.id}: ${describePin(stored)}`);
  return ExitCode.ok;
}

/** `unpin`: leaves a backup to the rules again. */
export async function unpin(flags: SeriesFlags & { readonly id: string }, context: CommandContext): Promise<number> {
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const wasPinned = await opened.series.unpin(flags.id, { signal: context.signal });
  if (context.json) printJson(context, { wasPinned });
  else context.print(wasPinned ? `${flags.id} is not pinned any more` : `${flags.id} was not pinned`);
  return ExitCode.ok;
}

/** A time, to the end of the second, minute or day that is written; or so long from now on. */
function parseEnd(text: string): Date {
  const time = parseTime(text);
  if (time !== null) return new Date(time.toMs);
  const duration = parseDuration(text);
  if (duration !== null) return after(new Date(), duration);
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `--until ${JSON.stringify(text)}: write a time as 2026-11-22 or 2026-11-22T20:58:22Z (UTC), or a duration as 36h, 14d, 2w, 6m (months) or 1y6m`,
  );
}
