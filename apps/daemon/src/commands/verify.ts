import { BackypError, isBackypError, type Series } from "@zk-backyp/core";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode, exitCodeOf } from "../exit-codes.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { drawProgress } from "../progress-bar.ts";

type Result =
  | { readonly id: string; readonly ok: true }
  | { readonly id: string; readonly ok: false; readonly error: { readonly code: string; readonly message: string } };

/** `verify`: reads one backup, or all of them, back and checks everything. Returns the exit code: 3 on any damage. */
export async function verify(flags: SeriesFlags & { readonly all: boolean }, context: CommandContext): Promise<number> {
  if (flags.all === (flags.id !== undefined)) {
    throw new BackypError("ERR_CONFIG_INVALID", "say which backup to verify: an id, latest, or --all");
  }
  await using opened = await openSeriesFor(flags, "--from", context.logger);
  const { series } = opened;
  const stopDrawing = drawProgress(series, context.logger, !context.json);
  const results: Result[] = [];
  let exitCode: number = ExitCode.ok;
  try {
    const ids = await idsOf(flags.id, series, context.signal);
    for (const id of ids) {
      const { result, code } = await verifyOne(series, id, flags.all, context.signal);
      // Damage outranks whatever else went wrong.
      if (exitCode !== ExitCode.damage && code !== ExitCode.ok) exitCode = code;
      results.push(result);
      stopDrawing();
      if (!context.json) context.print(line(result));
      // What keeps one from being read keeps the rest from it too.
      if (!result.ok && result.error.code.startsWith("ERR_SINK_")) break;
    }
  } finally {
    stopDrawing();
  }
  if (context.json) printJson(context, results);
  else if (results.length === 0) context.print("there are no backups to verify");
  return exitCode;
}

/** `latest` by its own id, so that a result names the backup also when that is damaged. */
async function idsOf(id: string | undefined, { catalog }: Series, signal: AbortSignal): Promise<readonly string[]> {
  if (id !== undefined && id !== "latest") return [id];
  const all = await catalog.ids({ signal });
  return id === undefined ? all : [all.at(-1) ?? id];
}

/** A failure is a result where it is about the backup, and, when all are verified, where others were found before it. */
async function verifyOne(
  series: Series,
  id: string,
  isOneOfAll: boolean,
  signal: AbortSignal,
): Promise<{ result: Result; code: number }> {
  try {
    const manifest = await series.verify(id, { signal });
    return { result: { id: manifest.id, ok: true }, code: ExitCode.ok };
  } catch (error) {
    const code = exitCodeOf(error);
    const isResult = isOneOfAll || code === ExitCode.damage || isBackypError(error, "ERR_MANIFEST_UNSUPPORTED");
    if (!isResult || !isBackypError(error) || code === ExitCode.aborted) throw error;
    return { result: { id, ok: false, error: { code: error.code, message: error.message } }, code };
  }
}

function line(result: Result): string {
  return result.ok
    ? `${colors.green("✔")} ${result.id}  every byte read back, checked and understood`
    : `${colors.red("✘")} ${result.id}  ${result.error.message}`;
}
