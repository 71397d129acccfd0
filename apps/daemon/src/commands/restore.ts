import { dirname, join } from "node:path";
import { BackypError, type JsonObject, type Manifest, type Series } from "@zk-backyp/core";
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
An ensemble: stop all members first, restore the same backup on every one of them (with --replace, which also raises the
epochs), then start them.`;

export interface RestoreFlags extends SeriesFlags {
  readonly id: string;
  readonly to?: string | undefined;
  readonly dataLogDir?: string | undefined;
  readonly allowDamaged?: true;
  readonly replace?: true;
}

/** What a replacement in a ZooKeeper server's directories tells. */
interface Replaced {
  readonly epoch: number;
  readonly kept: readonly KeptFolder[];
  readonly keptEarlier: readonly KeptFolder[];
}

interface KeptFolder {
  readonly path: string;
  /** On the disk. */
  readonly bytes: number;
}

/** `restore`: writes a backup into empty directories, or in the place of a stopped server's data. */
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
    let manifest: Manifest;
    let replaced: JsonObject | null = null;
    if (flags.replace === true) {
      await requireOneBackup(flags.id, series, context);
      ({ manifest, replaced } = await series.replace(flags.id, targets, options));
    } else {
      manifest = await series.restore(flags.id, targets, options);
    }
    stopDrawing();
    if (context.json) {
      printJson(context, {
        id: manifest.id,
        to,
        dataLogDir: dataLogDir ?? null,
        range: manifest.range,
        contents: manifest.contents,
        verified: manifest.verified,
        ...(replaced === null ? {} : { replaced }),
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
    if (manifest.source === "zookeeper") {
      context.print(replaced === null ? NEXT_STEPS : afterReplacing(replaced as unknown as Replaced));
    }
    return ExitCode.ok;
  } finally {
    stopDrawing();
  }
}

/** Each member is restored by itself. Between one and the next, the latest backup may have become another one. */
async function requireOneBackup(id: string, series: Series, { signal }: CommandContext): Promise<void> {
  if (id !== "latest") return;
  const latest = await series.catalog.resolve(id, { signal });
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `name the backup: all members of an ensemble have to be restored from the same one, and the latest may change meanwhile. Now it is ${latest}`,
  );
}

function afterReplacing({ epoch, kept, keptEarlier }: Replaced): string {
  const lines = ["", `The epoch is ${epoch}, and that of the next leader will be above.`];
  for (const { path, bytes } of kept) {
    const data = join(dirname(path), "version-2");
    lines.push(
      `What was there is kept in ${path} (${formatBytes(bytes)}). To go back, with the server stopped:`,
      `  mv ${data} ${data}.restored && mv ${path} ${data}`,
    );
  }
  if (kept.length === 0) lines.push("There was no data before.");
  if (keptEarlier.length > 0) {
    const total = keptEarlier.reduce((sum, { bytes }) => sum + bytes, 0);
    lines.push(`Kept by earlier restores, and deleted by nobody: ${formatBytes(total)} in`);
    for (const { path } of keptEarlier) lines.push(`  ${path}`);
  }
  lines.push("", "An ensemble: run this on every member, all of them stopped, with this id; then start them.");
  return lines.join("\n");
}
