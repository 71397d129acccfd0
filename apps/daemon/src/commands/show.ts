import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { describeManifest } from "../describe-manifest.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes } from "../formats.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { formatFields, formatTable } from "../table.ts";

/** `show`: the manifest of one backup. */
export async function show(flags: SeriesFlags & { readonly id: string }, context: CommandContext): Promise<number> {
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const { series, sink } = opened;
  const manifest = await series.catalog.load(flags.id, { signal: context.signal });
  if (context.json) {
    printJson(context, manifest);
    return ExitCode.ok;
  }
  const files = manifest.entries.map(({ path, size, sha256 }) => [path, formatBytes(size), sha256]);
  context.print(
    `${colors.bold(manifest.id)}${manifest.verified ? "" : `  ${colors.red("DAMAGED")}`}\n${formatFields(describeManifest(manifest, sink.location))}\n\n${formatTable(["FILE", "SIZE", "SHA-256"], files)}`,
  );
  return ExitCode.ok;
}
