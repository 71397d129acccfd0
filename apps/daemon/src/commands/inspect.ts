import { checkDirectory, type DirectoryReport, type ReportedVerdict, releaseRange } from "@zk-backyp/zookeeper-files";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes } from "../formats.ts";
import { formatTable } from "../table.ts";

/** `inspect`: what a server would make of these files. Returns the exit code: 3 if something is damaged or missing. */
export async function inspect(paths: readonly string[], context: CommandContext): Promise<number> {
  const report = await checkDirectory(paths, { signal: context.signal });
  if (context.json) printJson(context, report);
  else context.print(describe(report));
  return report.problems.some(({ severity }) => severity !== "info") ? ExitCode.damage : ExitCode.ok;
}

function describe({ snapshots, logs, recoverable, tree, releases, problems }: DirectoryReport): string {
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
  if (releases.length > 0) parts.push(formatTable(["SERVER", "DOES", "UP TO", "BECAUSE"], releaseRows(releases)));
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
      : `${colors.green("recoverable")} up to ${recoverable.zxid}, from ${[recoverable.from, ...recoverable.logs].filter((file) => file !== null).join(" + ")}${tree === null ? "" : `: ${describeTree(tree)}`}`,
  );
  return parts.filter((part) => part !== "").join("\n\n");
}

/** One row for neighbouring releases that do the same for the same reasons. */
function releaseRows(releases: readonly ReportedVerdict[]): string[][] {
  const groups: { readonly first: ReportedVerdict; last: ReportedVerdict }[] = [];
  for (const verdict of releases) {
    const group = groups.at(-1);
    if (group !== undefined && outcomeOf(group.first) === outcomeOf(verdict)) group.last = verdict;
    else groups.push({ first: verdict, last: verdict });
  }
  const painted = { loads: colors.green, "loads-with-loss": colors.yellow, refuses: colors.red };
  return groups.map(({ first, last }) => [
    releaseRange(first.release, last.release),
    painted[first.outcome](WORDS[first.outcome]),
    first.zxid ?? "",
    first.reasons.map(({ code, file }) => (file === null ? code : `${code} ${file}`)).join(", "),
  ]);
}

const WORDS = { loads: "loads", "loads-with-loss": "loads with loss", refuses: "refuses" };

function outcomeOf({ outcome, zxid, reasons }: ReportedVerdict): string {
  return JSON.stringify([outcome, zxid, reasons.map(({ code, file }) => [code, file])]);
}

function describeTree(tree: NonNullable<DirectoryReport["tree"]>): string {
  const { nodes, ephemerals, dataBytes, snapshotDigest, txnDigests } = tree;
  const proofs = [
    snapshotDigest === "matched" ? "the digest of the snapshot" : "",
    txnDigests.compared > 0 && txnDigests.matched === txnDigests.compared
      ? `${txnDigests.matched} digests of txns`
      : "",
  ].filter((proof) => proof !== "");
  const proven = proofs.length === 0 ? "" : `, proven by ${proofs.join(" and ")}`;
  return `${nodes} znodes (${ephemerals} ephemeral), ${formatBytes(dataBytes)} of data${proven}`;
}
