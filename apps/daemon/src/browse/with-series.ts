import { BackypError, type Series } from "@zk-backyp/core";
import type { CommandContext } from "../command-context.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import type { Place } from "./place.ts";

/** Where the backups are, for a place that is one. */
export type WhereFlags = Pick<SeriesFlags, "address" | "prefix" | "config" | "series">;

/** Runs `work` with the series that a backup is of. */
export async function withSeries<Result>(
  { id }: { readonly id: string },
  { address, prefix, config, series }: WhereFlags,
  context: CommandContext,
  work: (series: Series) => Promise<Result>,
): Promise<Result> {
  await using opened = await openSeriesFor({ address, prefix, config, series, id }, "--from", context.logger);
  return await work(opened.series);
}

/** Whether the command line says where backups are: then a backup is meant by what may be one. */
export function saysWhereBackupsAre({ address, prefix, config, series }: WhereFlags): boolean {
  return [address, prefix, config, series].some((flag) => flag !== undefined);
}

/**
 * Refuses flags that say where backups are, beside a place that is none: most likely the id was left out.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function requireUsedFlags(places: readonly Place[], flags: WhereFlags): void {
  if (!saysWhereBackupsAre(flags) || places.some(({ kind }) => kind === "backup")) return;
  const named = places.map(({ text }) => text).join(" and ");
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `${named} is no backup: with --from, say first which one (an id, or latest), and then the znode's path`,
  );
}
