import type { Candidacy, Source } from "@zk-backyp/core";
import type { SeriesConfig } from "../config.ts";
import type { ElectionStatus } from "./daemon-view.ts";
import type { DaemonLogger } from "./log.ts";

/** Whether a series runs on this node, and now. */
export interface Placement {
  /** For people. */
  readonly runOn: string;
  /** Why it does not run here, or null. */
  readonly notHere: string | null;
  /** Whether that is so only for now: nothing tells yet which node this is, or the daemon is held. */
  readonly isOpen: boolean;
  /** Null where nobody is elected. */
  readonly candidacy: Candidacy | null;
}

export interface PlacementContext {
  readonly host: string;
  /** Who would be elected and does nothing keeps the others from it. */
  readonly isHeld: boolean;
  readonly logger: DaemonLogger;
  readonly signal: AbortSignal;
}

/**
 * Finds out where a series is to run. While the daemon is held it does not stand for election.
 *
 * @param name what the daemons that share the series call it: its prefix
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export async function placeSeries(
  { runOn = "always" }: SeriesConfig,
  source: Source,
  name: string,
  { host, isHeld, logger, signal }: PlacementContext,
): Promise<Placement> {
  const context = { logger, signal };
  if (runOn === "always") return { runOn, notHere: null, isOpen: false, candidacy: null };
  if (runOn === "elected") {
    if (isHeld) {
      const notHere = "the daemon is held, and stands for election when it is released";
      return { runOn, notHere, isOpen: true, candidacy: null };
    }
    const candidacy = (await source.elect?.(name, { host }, context)) ?? null;
    const notHere = candidacy === null ? `the source ${source.name} has no elections: say on which host it runs` : null;
    return { runOn, notHere, isOpen: false, candidacy };
  }
  const wanted = String(runOn);
  if (wanted === host || wanted === host.split(".")[0]) {
    return { runOn: wanted, notHere: null, isOpen: false, candidacy: null };
  }
  const node = (await source.nodeName?.(context)) ?? null;
  const called = `${host}${node === null ? "" : `, server ${node}`}`;
  const notHere = wanted === node ? null : `it runs on ${wanted}, and this is ${called}`;
  return { runOn: wanted, notHere, isOpen: node === null, candidacy: null };
}

/** What is shown of an election. */
export function electionStatus({ state, since, holder, problem }: Candidacy): ElectionStatus {
  const host = holder?.host;
  return { state, since: since.toISOString(), holder: typeof host === "string" ? host : null, problem };
}
