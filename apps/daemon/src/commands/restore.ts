import { BackypError } from "@zk-backyp/core";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { describeProblem } from "../describe-manifest.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes } from "../formats.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { drawProgress } from "../progress-bar.ts";
import { formatFields } from "../table.ts";

const NEXT_STEPS = `
Give the files to ZooKeeper's user (chown -R), then start the server with these as dataDir and dataLogDir.
An ensemble: stop all members first, restore the same backup on every one of them, then start them.`;

export interface RestoreFlags extends SeriesFlags {
  readonly id: string;
  readonly to?: string | undefined;
  readonly dataLogDir?: string | undefined;
  readonly allowDamaged?: true;
}

/** `restore`: writes a backup into empty directories. */
export async function restore(flags: RestoreFlags, context: CommandContext): Promise<number> {
  const { to, dataLogDir } = flags;
  if (to === undefined) {
    throw new BackypError("ERR_CONFIG_INVALID", "where to? Give --to, the dataDir to restore into");
  }
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const { series } = opened;
  const stopDrawing = drawProgress(series, context.logger, !context.json);
  try {
    const targets = dataLogDir === undefined ? { main: to } : { main: to, log: dataLogDir };
    const options = { signal: context.signal, allowDamaged: flags.allowDamaged === true };
    const manifest = await series.restore(flags.id, targets, options);
    stopDrawing();
    if (context.json) {
      printJson(context, {
        id: manifest.id,
        to,
        dataLogDir: dataLogDir ?? null,
        range: manifest.range,
        contents: manifest.contents,
        verified: manifest.verified,
      });
      return ExitCode.ok;
    }
    const restored = manifest.entries.reduce((sum, entry) => sum + entry.size, 0);
    const fields: (readonly [string, string])[] = [["into", to]];
    if (dataLogDir !== undefined) fields.push(["logs into", dataLogDir]);
    fields.push(["size", formatBytes(restored)], ["up to", manifest.range.upTo]);
    const mark = manifest.verified ? colors.green("✔") : colors.red("✘ DAMAGED");
    context.print(`${mark} ${manifest.id} restored\n${formatFields(fields)}`);
    for (const problem of manifest.problems) {
      const label = problem.severity === "info" ? "Note" : colors.red("Damage");
      context.print(`\n${label}: ${describeProblem(problem)}.`);
    }
    if (manifest.source === "zookeeper") context.print(NEXT_STEPS);
    return ExitCode.ok;
  } finally {
    stopDrawing();
  }
}
