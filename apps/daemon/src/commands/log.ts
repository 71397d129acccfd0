import { BackypError } from "@zk-backyp/core";
import { formatZxid } from "@zk-backyp/zookeeper-files";
import colors from "picocolors";
import { type Change, changesOf, type DescribedChange, isOp, OPS } from "../browse/changes.ts";
import {
  type HistorySource,
  type HistorySummary,
  type HistoryTxn,
  historyOfBackup,
  historyOfFiles,
  type Moment,
  readHistory,
} from "../browse/history.ts";
import { pathMatcher } from "../browse/path-glob.ts";
import { parsePlace } from "../browse/place.ts";
import { isoTime, type Point, parseZxid, requirePoint, showTime } from "../browse/point.ts";
import { shown } from "../browse/shown-text.ts";
import { requireUsedFlags, saysWhereBackupsAre, type WhereFlags, withSeries } from "../browse/with-series.ts";
import { jsonDocument, writeLines } from "../browse/write-out.ts";
import type { CommandContext } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";

export interface LogFlags extends WhereFlags {
  readonly where: string;
  readonly path?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly op?: string | undefined;
  readonly session?: string | undefined;
}

/** What to show of the history. */
interface Filter {
  readonly since: Point | null;
  readonly until: Point | null;
  readonly sessionId: bigint | null;
  /** Null when all changes are wanted. */
  readonly wants: ((change: Change) => boolean) | null;
}

/** A txn that the filter lets through. */
interface Found {
  readonly txn: HistoryTxn["txn"];
  readonly file: string;
  /** The changes that are wanted: at least one. */
  readonly wanted: readonly DescribedChange[];
  /** Only where they are to be told. */
  readonly all: readonly DescribedChange[];
}

/** `log`: the txns, oldest first. Returns the exit code: 3 if the logs are damaged or lack txns. */
export async function log(flags: LogFlags, context: CommandContext): Promise<number> {
  const place = parsePlace(flags.where, saysWhereBackupsAre(flags));
  requireUsedFlags([place], flags);
  const filter: Filter = {
    since: flags.since === undefined ? null : requirePoint(flags.since, "--since"),
    until: flags.until === undefined ? place.at : requirePoint(flags.until, "--until"),
    sessionId: flags.session === undefined ? null : requireSession(flags.session),
    wants: wantedChanges(flags.path, flags.op),
  };
  if (place.kind === "files") return show(await historyOfFiles(place.paths, context.signal), filter, context);
  return withSeries(place, flags, context, async (series) =>
    show(await historyOfBackup(series, place.id, context.signal), filter, context),
  );
}

async function show(source: HistorySource, filter: Filter, context: CommandContext): Promise<number> {
  let summary: HistorySummary = { txns: 0, first: null, last: null, damage: [] };
  let shownTxns = 0;
  const pick = ({ txn, file, owned }: HistoryTxn): Found | null => {
    if (!isInRange(txn, filter) || (filter.sessionId !== null && txn.sessionId !== filter.sessionId)) return null;
    const all = changesOf(txn, owned);
    const wanted = filter.wants === null ? all : all.filter(filter.wants);
    if (wanted.length === 0) return null;
    shownTxns += 1;
    return { txn, file, wanted: wanted.map(described), all: context.json ? all.map(described) : [] };
  };
  const found = readHistory(source, pick, (end) => {
    summary = end;
  });
  const lines = context.json
    ? jsonDocument({}, "txns", documents(found), () => ({
        from: summary.first && momentDocument(summary.first),
        upTo: summary.last && momentDocument(summary.last),
        damage: summary.damage,
      }))
    : textLines(found);
  await writeLines(context, lines);
  tellWhatIsMissing(summary, filter, shownTxns, context);
  return summary.damage.length > 0 ? ExitCode.damage : ExitCode.ok;
}

function described(change: Change): DescribedChange {
  return { ...change, ...change.describe() };
}

async function* documents(found: AsyncIterable<Found>): AsyncGenerator<object, void, void> {
  for await (const { txn, file, all } of found) {
    const [only, ...others] = all;
    const isParts = txn.type === "multi" || txn.type === "closeSession";
    yield {
      ...momentDocument(txn),
      session: formatZxid(txn.sessionId),
      cxid: txn.cxid,
      file,
      type: txn.type,
      ...(isParts ? {} : changeDocument(only)),
      ...(txn.type === "multi"
        ? { failed: txn.ops.some(({ type }) => type === "error"), parts: all.map(changeDocument) }
        : {}),
      ...(txn.type === "closeSession" ? { ...only?.details, deleted: others.map(({ path }) => path) } : {}),
    };
  }
}

function changeDocument(change: DescribedChange | undefined): object {
  if (change === undefined) return {};
  const { type, path, details } = change;
  return { type, ...(path === null ? {} : { path }), ...details };
}

function momentDocument({ zxid, timeMs }: Moment): object {
  return { zxid: formatZxid(zxid), time: isoTime(timeMs) };
}

const OP_WIDTH = 15;

/** A change on each line, with all that is known of it, so that `grep` finds who did it and when. */
async function* textLines(found: AsyncIterable<Found>): AsyncGenerator<string, void, void> {
  let zxidWidth = 0;
  let sessionWidth = 0;
  for await (const { txn, wanted } of found) {
    const zxid = formatZxid(txn.zxid);
    const session = formatZxid(txn.sessionId);
    const isFirst = zxidWidth === 0;
    // They hardly ever get wider on the way.
    zxidWidth = Math.max(zxidWidth, zxid.length + (isFirst ? 1 : 0));
    sessionWidth = Math.max(sessionWidth, session.length);
    if (isFirst) {
      const columns = ["ZXID".padEnd(zxidWidth), "TIME (UTC)".padEnd(19), "SESSION".padEnd(sessionWidth)];
      yield colors.bold([...columns, "OP".padEnd(OP_WIDTH), "PATH"].join("  "));
    }
    const start = [zxid.padEnd(zxidWidth), showTime(txn.timeMs), session.padEnd(sessionWidth)].join("  ");
    for (const change of wanted) yield `${start}  ${changeText(change)}`;
  }
}

function changeText({ type, within, path, note }: DescribedChange): string {
  const op = within === null ? type : within === "multi" ? `multi/${type}` : within;
  const paint =
    type === "error" ? colors.red : type === "delete" || type === "deleteContainer" ? colors.yellow : String;
  const aside = note === "" ? "" : colors.dim(path === null ? note : `(${note})`);
  return [paint(op.padEnd(OP_WIDTH)), ...(path === null ? [] : [shown(path)]), ...(aside === "" ? [] : [aside])].join(
    "  ",
  );
}

function isInRange(txn: Moment, { since, until }: Filter): boolean {
  const isBefore = (point: Point): boolean => ("zxid" in point ? txn.zxid < point.zxid : txn.timeMs < point.fromMs);
  const isAfter = (point: Point): boolean => ("zxid" in point ? txn.zxid > point.zxid : txn.timeMs > point.toMs);
  return (since === null || !isBefore(since)) && (until === null || !isAfter(until));
}

/** Says on stderr what the output does not show by itself: where the logs end, and what is wrong with them. */
function tellWhatIsMissing(
  { txns, first, last, damage }: HistorySummary,
  { since, until }: Filter,
  shownTxns: number,
  { logger }: CommandContext,
): void {
  for (const message of damage) logger.warn({}, message);
  if (first === null || last === null) {
    logger.warn({}, "the logs hold no txn");
    return;
  }
  const range = `${showMoment(first)} to ${showMoment(last)}`;
  const beginsBefore = since !== null && ("zxid" in since ? since.zxid < first.zxid : since.toMs < first.timeMs);
  const endsBehind = until !== null && ("zxid" in until ? until.zxid > last.zxid : until.fromMs > last.timeMs);
  if (beginsBefore || endsBehind) logger.warn({}, `the logs hold only ${range}`);
  else if (shownTxns === 0) logger.warn({}, `none of the ${txns} txns matches; the logs hold ${range}`);
}

function showMoment({ zxid, timeMs }: Moment): string {
  return `${formatZxid(zxid)} (${showTime(timeMs)} UTC)`;
}

function wantedChanges(path: string | undefined, op: string | undefined): Filter["wants"] {
  if (path === undefined && op === undefined) return null;
  const ops = op === undefined ? null : new Set(op.split(",").map((word) => word.trim()));
  for (const word of ops ?? []) {
    if (OPS.includes(word)) continue;
    throw new BackypError("ERR_CONFIG_INVALID", `--op ${JSON.stringify(word)}: there are ${OPS.join(", ")}`);
  }
  if (path !== undefined && !path.startsWith("/") && !path.startsWith("*")) {
    throw new BackypError("ERR_CONFIG_INVALID", `--path ${JSON.stringify(path)}: paths of znodes begin with /`);
  }
  const matches = path === undefined ? null : pathMatcher(path);
  return (change) =>
    (ops === null || isOp(change, ops)) && (matches === null || (change.path !== null && matches(change.path)));
}

function requireSession(text: string): bigint {
  const id = parseZxid(text);
  if (id !== null) return id;
  throw new BackypError("ERR_CONFIG_INVALID", `--session ${JSON.stringify(text)}: write it as 0x100000df5170000`);
}
