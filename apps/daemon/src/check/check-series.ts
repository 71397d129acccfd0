import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { abortError, type CheckItem, isBackypError, type Logger, type Source, withCode } from "@zk-backyp/core";
import type { DaemonConfig, SeriesConfig } from "../config.ts";
import { type OpenedSeries, openSeriesOf } from "../open-series.ts";
import { checkSink } from "./check-sink.ts";
import { failed, ok, warning } from "./reported-item.ts";

/** How long an election may take to be reached. */
const ELECTION_WITHIN_MS = 20_000;
/** Nobody stands in this one but checks: the real one is not moved. */
const ELECTION = "zk-backyp-check";

/** Tries what one series needs. Nothing is backed up, stopped or deleted but what it has stored itself. */
export async function* checkSeries(
  config: DaemonConfig,
  name: string,
  signal: AbortSignal,
): AsyncGenerator<CheckItem, void, void> {
  const said: string[] = [];
  const logger: Logger = { debug() {}, info() {}, warn: (_fields, message) => said.push(message) };
  const settings = config.series[name] as SeriesConfig;
  let opened: OpenedSeries;
  try {
    opened = await openSeriesOf(config, name, logger);
  } catch (error) {
    if (!isBackypError(error)) throw error;
    return yield failed("series", error.message, "correct the options of its source and sink");
  }
  await using each = opened;
  const { source, sink, series, prefix, retention } = each;
  let archiveBytes: number | null = null;
  for await (const item of source.check?.({ signal, logger }) ?? []) {
    archiveBytes ??= item.estimatedBytes ?? null;
    yield item;
  }
  yield* checkPlace(settings, source, { signal, logger });
  let isStoreThere = true;
  for await (const item of checkSink(sink, { prefix, deletes: retention !== undefined, signal })) {
    if (item.status === "failed") isStoreThere = false;
    yield item;
  }
  if (isStoreThere) {
    try {
      const newest = await newestArchiveBytes(each, signal);
      for await (const item of sink.check?.({ signal, logger, archiveBytes: newest ?? archiveBytes }) ?? []) {
        yield { ...item, name: `sink: ${item.name}` };
      }
      if (retention !== undefined) {
        const { decisions, deleted, problems } = await series.prune({ rules: retention, dryRun: true, signal });
        yield describePrune(decisions.length, deleted.length, problems.length);
      }
    } catch (error) {
      if (signal.aborted) throw abortError(signal);
      yield failed("backups", withCode(error).message, "see what lies in the sink under the prefix");
    }
  }
  // What plugins say on the way is for people, too.
  for (const message of new Set(said)) yield warning("note", message, "see what it says");
}

async function newestArchiveBytes({ series }: OpenedSeries, signal: AbortSignal): Promise<number | null> {
  try {
    return (await series.catalog.load("latest", { signal })).archive.size;
  } catch (error) {
    if (isBackypError(error, "ERR_BACKUP_NOT_FOUND")) return null;
    throw error;
  }
}

function describePrune(backups: number, deleted: number, problems: number): CheckItem {
  const counted = `of ${backups} backups there, ${deleted} would be deleted by the rules`;
  const remedy = "look with zk-backyp prune --dry-run";
  if (problems > 0) return warning("retention", `${counted}; ${problems} cannot be read`, remedy);
  return deleted > backups - deleted
    ? warning("retention", `${counted}: more than half`, remedy)
    : ok("retention", counted);
}

/** Whether the series would run on this node. */
async function* checkPlace(
  { runOn = "always" }: SeriesConfig,
  source: Source,
  context: { readonly signal: AbortSignal; readonly logger: Logger },
): AsyncGenerator<CheckItem, void, void> {
  if (runOn === "always") return;
  if (runOn === "elected") return yield await checkElection(source, context);
  const host = hostname();
  const wanted = String(runOn);
  const node = (await source.nodeName?.(context)) ?? null;
  const here = wanted === host || wanted === host.split(".")[0] || wanted === node;
  const called = `this is ${host}${node === null ? "" : `, server ${node}`}`;
  yield here
    ? ok("runs here", `yes: ${called}`)
    : warning("runs here", `no: it runs on ${wanted}, and ${called}`, "nothing, if that is another node");
}

/** Stands for an election that only checks hold, and leaves it. */
async function checkElection(
  source: Source,
  context: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<CheckItem> {
  const name = "election";
  if (source.elect === undefined) {
    return failed(name, `the source ${source.name} has no elections`, "name in runOn the host that runs it");
  }
  const remedy = "see that ZooKeeper has a quorum, and that election.auth may create znodes below election.path";
  try {
    const candidacy = await source.elect(ELECTION, { host: hostname() }, context);
    try {
      const limit = Date.now() + ELECTION_WITHIN_MS;
      while (candidacy.state === "unreachable" && Date.now() < limit) {
        await sleep(100, undefined, { signal: context.signal });
      }
      if (candidacy.state === "unreachable") return failed(name, candidacy.problem ?? "it cannot be reached", remedy);
      return ok(name, "ZooKeeper takes candidates: a test election was entered and left");
    } finally {
      await candidacy.close();
    }
  } catch (error) {
    if (context.signal.aborted) throw abortError(context.signal);
    return failed(name, withCode(error).message, remedy);
  }
}
