import {
  type ChangedField,
  diffTrees,
  formatZxid,
  type TreeChange,
  type Znode,
  ZooKeeperFileError,
} from "@zk-backyp/zookeeper-files";
import colors from "picocolors";
import { type LoadedState, loadState } from "../browse/load-state.ts";
import { stateDocument } from "../browse/one-state.ts";
import { parsePlace, requireZnodePath } from "../browse/place.ts";
import { showTime } from "../browse/point.ts";
import { shown } from "../browse/shown-text.ts";
import { requireUsedFlags, saysWhereBackupsAre, type WhereFlags } from "../browse/with-series.ts";
import { jsonDocument, writeLines } from "../browse/write-out.ts";
import { formatAcl, formatKind, znodeDocument } from "../browse/znode-text.ts";
import type { CommandContext } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { formatBytes } from "../formats.ts";

export interface DiffFlags extends WhereFlags {
  readonly a: string;
  readonly b: string;
  readonly path: string;
  readonly stat?: true | undefined;
  readonly exitCode?: true | undefined;
}

/**
 * `diff`: what is not the same in two states. Returns the exit code: 3 if one of them is damaged, and with `--exit-code`
 * 6 if they differ.
 */
export async function diff(flags: DiffFlags, context: CommandContext): Promise<number> {
  const isBackupMeant = saysWhereBackupsAre(flags);
  const [a, b] = [parsePlace(flags.a, isBackupMeant), parsePlace(flags.b, isBackupMeant)];
  requireUsedFlags([a, b], flags);
  const path = requireZnodePath(flags.path);
  const before = await loadState(a, flags, { contentHash: true }, context);
  const after = await loadState(b, flags, { contentHash: true }, context);
  if (before.tree.get(path) === null && after.tree.get(path) === null) {
    const message = `there is no znode ${shown(path)}, neither in ${a.text} nor in ${b.text}`;
    throw new ZooKeeperFileError("ZNODE_NOT_FOUND", null, message);
  }
  const counts = { added: 0, removed: 0, changed: 0 };
  const changes = function* (): Generator<TreeChange, void, void> {
    for (const change of diffTrees(before.tree, after.tree, path)) {
      if (flags.stat !== true && isOnlyAboutChildren(change)) continue;
      counts[change.kind] += 1;
      yield change;
    }
  };
  if (context.json) {
    const fields = { a: sideDocument(a.text, before), b: sideDocument(b.text, after), path };
    await writeLines(
      context,
      jsonDocument(fields, "changes", documents(changes()), () => counts),
    );
  } else {
    await writeLines(context, textLines(changes(), counts));
  }
  if (before.damage.length > 0 || after.damage.length > 0) return ExitCode.damage;
  const differs = counts.added + counts.removed + counts.changed > 0;
  return differs && flags.exitCode === true ? ExitCode.different : ExitCode.ok;
}

/** Its children came and went, which is a change of theirs. */
function isOnlyAboutChildren(change: TreeChange): boolean {
  return change.kind === "changed" && change.fields.every((field) => field === "cversion" || field === "pzxid");
}

function sideDocument(where: string, state: LoadedState): object {
  return { where, ...stateDocument(state), znodes: state.tree.nodes };
}

function* documents(changes: Iterable<TreeChange>): Generator<object, void, void> {
  for (const change of changes) {
    const { kind, path } = change;
    if (kind === "added") yield { kind, path, after: znodeDocument(change.after) };
    else if (kind === "removed") yield { kind, path, before: znodeDocument(change.before) };
    else {
      const fields = change.fields.map(fieldName);
      yield { kind, path, fields, before: znodeDocument(change.before), after: znodeDocument(change.after) };
    }
  }
}

/** As `znodeDocument` calls it. */
function fieldName(field: ChangedField): string {
  return field === "ctimeMs" ? "ctime" : field === "mtimeMs" ? "mtime" : field;
}

function* textLines(
  changes: Iterable<TreeChange>,
  counts: Readonly<Record<TreeChange["kind"], number>>,
): Generator<string, void, void> {
  for (const change of changes) {
    if (change.kind === "added")
      yield `${colors.green(`A  ${shown(change.path)}`)}  ${colors.dim(summary(change.after))}`;
    else if (change.kind === "removed")
      yield `${colors.red(`D  ${shown(change.path)}`)}  ${colors.dim(summary(change.before))}`;
    else
      yield `${colors.yellow(`M  ${shown(change.path)}`)}  ${differences(change.before, change.after, change.fields).join(", ")}`;
  }
  const { added, removed, changed } = counts;
  yield colors.dim(
    added + removed + changed === 0 ? "no difference" : `${added} added, ${removed} removed, ${changed} changed`,
  );
}

function summary(znode: Znode): string {
  return `(${[formatKind(znode), dataSize(znode)].join(", ")})`;
}

/** What changed, each said once: a version is not worth a word beside the data that it counts. */
function differences(before: Znode, after: Znode, fields: readonly ChangedField[]): string[] {
  const told: string[] = [];
  const has = (field: ChangedField): boolean => fields.includes(field);
  const from = (name: string, old: string, young: string): number => told.push(`${name} ${old} → ${young}`);
  const [a, b] = [before.stat, after.stat];
  if (has("czxid")) from("created again:", formatZxid(a.czxid), formatZxid(b.czxid));
  if (has("ephemeralOwner")) from("owner", owner(before), owner(after));
  if (has("data") && before.dataLength === after.dataLength) told.push(`data (${dataSize(after)})`);
  else if (has("data")) from("data", dataSize(before, "none"), dataSize(after, "none"));
  if (has("acl")) from("acl", formatAcl(before.acl), formatAcl(after.acl));
  if (has("version")) from("version", String(a.version), String(b.version));
  if (has("aversion") && !has("acl")) from("acl version", String(a.aversion), String(b.aversion));
  if (has("mzxid") && !has("data") && !has("version")) from("mzxid", formatZxid(a.mzxid), formatZxid(b.mzxid));
  if (has("mtimeMs") && !has("mzxid")) from("mtime", showTime(a.mtimeMs), showTime(b.mtimeMs));
  if (has("ctimeMs") && !has("czxid")) from("ctime", showTime(a.ctimeMs), showTime(b.ctimeMs));
  if (has("cversion") || has("pzxid")) told.push("children");
  return told;
}

function owner(znode: Znode): string {
  return znode.kind === "ephemeral" ? `session ${formatZxid(znode.stat.ephemeralOwner)}` : formatKind(znode);
}

function dataSize({ dataLength }: Znode, none = "no data"): string {
  return dataLength < 0 ? none : formatBytes(dataLength);
}
