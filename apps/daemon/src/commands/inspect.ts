import { type InspectReport, inspect as inspectFiles } from "@zk-backyp/zookeeper-files";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes } from "../formats.ts";
import { formatTable } from "../table.ts";

/** `inspect`: what a server would make of these files. Returns the exit code: 3 if something is damaged or missing. */
export async function inspect(paths: readonly string[], context: CommandContext): Promise<number> {
  const report = await inspectFiles(paths, { signal: context.signal });
  if (context.json) printJson(context, report);
  else context.print(describe(report));
  return report.problems.some(({ severity }) => severity !== "info") ? ExitCode.damage : ExitCode.ok;
}

function describe({ snapshots, logs, recoverable, problems }: InspectReport): string {
  const parts: string[] = [];
  if (snapshots.length > 0) {
    const rows = snapshots.map(({ file, zxid, valid, nodes, sessions, compression, digest }) => [
      file,
      zxid,
      valid ? colors.green("yes") : colors.red("no"),
      String(nodes ?? "?"),
      String(sessions ?? "?"),
      compression,
      digest === null ? "none" : `${digest.value} at ${digest.zxid}`,
    ]);
    parts.push(formatTable(["SNAPSHOT", "ZXID", "VALID", "ZNODES", "SESSIONS", "COMPRESSION", "DIGEST"], rows));
  }
  if (logs.length > 0) {
    const rows = logs.map(({ file, firstZxid, lastZxid, records, bytes, end }) => [
      file,
      firstZxid ?? "",
      lastZxid ?? "",
      String(records),
      formatBytes(bytes),
      end,
    ]);
    parts.push(formatTable(["LOG", "FIRST", "LAST", "RECORDS", "USED", "END"], rows));
  }
  const painted = { fatal: colors.red, "data-loss": colors.red, info: colors.dim };
  parts.push(
    problems
      .map(
        ({ severity, file, message }) =>
          `${painted[severity](severity)}  ${file === null ? "" : `${file}: `}${message}`,
      )
      .join("\n"),
  );
  parts.push(
    recoverable === null
      ? colors.red("nothing can be restored from these files")
      : `${colors.green("recoverable")} up to ${recoverable.zxid}, from ${[recoverable.from, ...recoverable.logs].filter((file) => file !== null).join(" + ")}`,
  );
  return parts.filter((part) => part !== "").join("\n\n");
}
