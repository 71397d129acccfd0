import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { describeManifest } from "../describe-manifest.ts";
import { ExitCode } from "../exit-codes.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { drawProgress } from "../progress-bar.ts";
import { takeRunLock } from "../run-lock.ts";
import { saySteps } from "../say-steps.ts";
import { formatFields } from "../table.ts";

/** `backup`: takes one, and prints its manifest. */
export async function backup(
  flags: SeriesFlags & { readonly allowDamaged?: true },
  context: CommandContext,
): Promise<number> {
  await using opened = await openSeriesFor(flags, "--to", context.logger);
  const { series, sink, prefix } = opened;
  const lock = await takeRunLock(`${sink.location}/${prefix}`);
  const stopDrawing = drawProgress(series, context.logger, !context.json);
  if (!context.json) saySteps(series, context.logger);
  let skipped = { reason: "nothing-new", message: "there is nothing new since the last backup" };
  series.events.on("backup:skipped", ({ reason, message }) => {
    skipped = { reason, message };
  });
  try {
    const manifest = await series.backup({ signal: context.signal, allowDamaged: flags.allowDamaged === true });
    stopDrawing();
    if (context.json) printJson(context, manifest ?? { skipped: skipped.reason, message: skipped.message });
    else if (manifest === null) context.print(`skipped: ${skipped.message}`);
    else {
      const mark = manifest.verified
        ? `${colors.green("✔")} ${manifest.id}`
        : `${colors.red("✘")} ${manifest.id}  DAMAGED`;
      context.print(`${mark}\n${formatFields(describeManifest(manifest, sink.location))}`);
    }
    if (manifest?.verified !== false) return ExitCode.ok;
    context.logger.warn({}, `${manifest.id} was stored, but it is damaged: it would not restore without loss`);
    // A schedule must not take it for a success.
    return ExitCode.damage;
  } finally {
    stopDrawing();
    await lock.release();
  }
}
