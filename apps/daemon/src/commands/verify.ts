import { BackypError, isBackypError, type JsonObject, type Series } from "@zk-backyp/core";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode, exitCodeOf } from "../exit-codes.ts";
import { openSeriesFor, type SeriesFlags } from "../open-series.ts";
import { drawProgress } from "../progress-bar.ts";

type Result =
  | { readonly id: string; readonly ok: true; readonly rehearsal?: JsonObject }
  | { readonly id: string; readonly ok: false; readonly error: { readonly code: string; readonly message: string } };

export interface VerifyFlags extends SeriesFlags {
  readonly all: boolean;
  readonly deep: boolean;
}

/** `verify`: reads one backup, or all of them, back and checks everything. Returns the exit code: 3 on any damage. */
export async function verify(flags: VerifyFlags, context: CommandContext): Promise<number> {
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
      const { result, code } = await verifyOne(series, id, flags, context.signal);
      // Damage outranks whatever else went wrong.
      if (exitCode !== ExitCode.damage && code !== ExitCode.ok) exitCode = code;
      results.push(result);
      stopDrawing();
      if (!context.json) context.print(line(result));
      // What keeps one from being read keeps the rest from it too.
      if (!result.ok && /^ERR_(SINK|REHEARSAL_UNAVAILABLE)/.test(result.error.code)) {
        const left = ids.length - results.length;
        if (left > 0)
          context.logger.warn({ left }, `${left} more ${left === 1 ? "backup was" : "backups were"} not verified`);
        break;
      }
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
  { all, deep }: VerifyFlags,
  signal: AbortSignal,
): Promise<{ result: Result; code: number }> {
  try {
    const { manifest, rehearsal } = await series.verify(id, { signal, deep });
    const result = { id: manifest.id, ok: true, ...(rehearsal === null ? {} : { rehearsal }) } as const;
    return { result, code: ExitCode.ok };
  } catch (error) {
    const code = exitCodeOf(error);
    const isResult = all || code === ExitCode.damage || isBackypError(error, "ERR_MANIFEST_UNSUPPORTED");
    if (!isResult || !isBackypError(error) || code === ExitCode.aborted) throw error;
    return { result: { id, ok: false, error: { code: error.code, message: error.message } }, code };
  }
}

function line(result: Result): string {
  if (!result.ok) return `${colors.red("✘")} ${result.id}  ${result.error.message}`;
  const checked = `${colors.green("✔")} ${result.id}  every byte read back, checked and understood`;
  if (result.rehearsal === undefined) return checked;
  const seen = Object.entries(result.rehearsal).filter(([, value]) => value !== null);
  return `${checked}\n  a real server started on it: ${seen.map(([name, value]) => `${name} ${value}`).join(", ")}`;
}
