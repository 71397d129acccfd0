import { describePin, isInForce } from "@zk-backyp/core";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { describeManifest } from "../describe-manifest.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes } from "../formats.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { formatFields, formatTable } from "../table.ts";
import { describedPin } from "./list.ts";

/** `show`: the manifest of one backup. */
export async function show(flags: SeriesFlags & { readonly id: string }, context: CommandContext): Promise<number> {
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const { series, sink } = opened;
  const manifest = await series.catalog.load(flags.id, { signal: context.signal });
  const pins = await series.pins({ signal: context.signal });
  const pin = pins.find((there) => there.id === manifest.id && isInForce(there, new Date()));
  if (context.json) {
    printJson(context, { ...manifest, ...describedPin(pin) });
    return ExitCode.ok;
  }
  const files = manifest.entries.map(({ path, size, sha256 }) => [path, formatBytes(size), sha256]);
  const fields = describeManifest(manifest, sink.location);
  if (pin !== undefined) fields.push(["retention", describePin(pin)]);
  context.print(
    `${colors.bold(manifest.id)}${manifest.verified ? "" : `  ${colors.red("DAMAGED")}`}\n${formatFields(fields)}\n\n${formatTable(["FILE", "SIZE", "SHA-256"], files)}`,
  );
  return ExitCode.ok;
}
