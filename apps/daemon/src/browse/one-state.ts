import { BackypError } from "@zk-backyp/core";
import { formatZxid, type Znode, ZooKeeperFileError } from "@zk-backyp/zookeeper-files";
import type { CommandContext } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { changesOf } from "./changes.ts";
import { type HistoryTxn, historyOfFiles, readHistory } from "./history.ts";
import { type LoadedState, loadState, type Wanted } from "./load-state.ts";
import { type Place, parsePlace, requireZnodePath } from "./place.ts";
import { isoTime, type Point, parseTime, parseZxid, requirePoint, showTime } from "./point.ts";
import { shown } from "./shown-text.ts";
import { requireUsedFlags, saysWhereBackupsAre, type WhereFlags } from "./with-series.ts";

/** What the commands that show one state have in common. */
export interface StateFlags extends WhereFlags {
  readonly where: string;
  /** The znode's path. */
  readonly path: string;
  readonly atZxid?: string | undefined;
  readonly atTime?: string | undefined;
}

/** A state, and the znode in it that was asked for. */
export interface OpenedState extends LoadedState {
  readonly znode: Znode;
  /** 3 if something is damaged or missing, else 0. */
  readonly exitCode: number;
}

/**
 * Loads the state that the flags name.
 *
 * @param wants what is to be known of the znodes, for the path that was asked for
 * @throws ZooKeeperFileError `ZNODE_NOT_FOUND`, and what {@link loadState} throws
 */
export async function openState(
  flags: StateFlags,
  wants: (path: string) => Wanted,
  context: CommandContext,
): Promise<OpenedState> {
  const place = placeOf(flags);
  requireUsedFlags([place], flags);
  const path = requireZnodePath(flags.path);
  const state = await loadState(place, flags, wants(path), context);
  const znode = state.tree.get(path);
  if (znode === null) throw await notFound(path, place, state, context);
  return { ...state, znode, exitCode: state.damage.length > 0 ? ExitCode.damage : ExitCode.ok };
}

/** For `--json`: which state it is. */
export function stateDocument({ zxid, timeMs }: Pick<LoadedState, "zxid" | "timeMs">): object {
  return { zxid: formatZxid(zxid), time: timeMs === null ? null : isoTime(timeMs) };
}

function placeOf(flags: StateFlags): Place {
  const { where, atZxid, atTime } = flags;
  const place = parsePlace(where, saysWhereBackupsAre(flags));
  const points: Point[] = [];
  if (place.at !== null) points.push(place.at);
  if (atZxid !== undefined) points.push(requirePoint(atZxid, "--at-zxid", asZxid));
  if (atTime !== undefined) points.push(requirePoint(atTime, "--at-time", parseTime));
  if (points.length > 1) throw new BackypError("ERR_CONFIG_INVALID", "say once which moment is meant");
  return { ...place, at: points[0] ?? null };
}

function asZxid(text: string): Point | null {
  const zxid = parseZxid(text);
  return zxid === null ? null : { zxid };
}

async function notFound(
  path: string,
  place: Place,
  { zxid }: LoadedState,
  context: CommandContext,
): Promise<ZooKeeperFileError> {
  const hint =
    place.kind === "files"
      ? await deletionOf(path, place.paths, zxid, context.signal)
      : `"log ${place.id} --path ${shown(path)}" tells if it was there`;
  const message = `there is no znode ${shown(path)} in ${place.text} at ${formatZxid(zxid)}${hint === null ? "" : `: ${hint}`}`;
  return new ZooKeeperFileError("ZNODE_NOT_FOUND", null, message);
}

/** What the logs on disk say of a znode that is not there: who took it away, or that it came later. */
async function deletionOf(
  path: string,
  paths: readonly string[],
  zxid: bigint,
  signal: AbortSignal,
): Promise<string | null> {
  let last: string | null = null;
  let later: string | null = null;
  const note = ({ txn, owned }: HistoryTxn): null => {
    if (txn.zxid > zxid && later !== null) return null;
    if (txn.type === "multi" && txn.ops.some(({ type }) => type === "error")) return null;
    for (const change of changesOf(txn, owned)) {
      if (change.path !== path) continue;
      const when = `${formatZxid(txn.zxid)} (${showTime(txn.timeMs)} UTC) by session ${formatZxid(txn.sessionId)}`;
      if (txn.zxid <= zxid && (change.type === "delete" || change.type === "deleteContainer"))
        last = `it was deleted at ${when}`;
      if (txn.zxid > zxid && change.type.startsWith("create")) later ??= `it was created at ${when}`;
    }
    return null;
  };
  try {
    for await (const _ of readHistory(await historyOfFiles(paths, signal), note, () => {}));
  } catch (error) {
    // Only a hint: where there is no log, there is none.
    if (error instanceof ZooKeeperFileError) return null;
    throw error;
  }
  return last ?? later;
}
