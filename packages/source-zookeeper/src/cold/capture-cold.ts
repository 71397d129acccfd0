import {
  abortError,
  type BackupRun,
  BackypError,
  type Capture,
  type CaptureContext,
  type CaptureRequest,
  isBackypError,
  type Logger,
  type Skipped,
} from "@zk-backyp/core";
import { captureFiles } from "../capture.ts";
import { captureDamaged } from "../capture-damaged.ts";
import type { CapturedServer } from "../captured-server.ts";
import { readConfigFiles } from "../config-files.ts";
import { factsOf } from "../facts.ts";
import { locate } from "../locate.ts";
import type { NodeControl } from "../node-control/node-control.ts";
import { howItEnded, runCommand } from "../node-control/run-command.ts";
import type { ZooKeeperSourceOptions } from "../options.ts";
import { journalIn } from "../stop-promise/journal.ts";
import { type Recovery, recoverNode } from "../stop-promise/recover.ts";
import { untilServing } from "./await-node.ts";
import { type ColdNode, coldNode, stateDirOf } from "./cold-node.ts";
import { NotNow, type Refusal, stopAndLink } from "./cold-stop.ts";
import { dropLeftovers } from "./freeze.ts";
import { namedByOriginal } from "./named-by-original.ts";
import { skippedRuns } from "./skipped-runs.ts";

/** What it starts is a whole backup of another member. */
const HAND_OVER_TIMEOUT_MS = 24 * 3_600_000;

/** Cold backups of one node. */
export interface ColdCaptures {
  /** Stops the node once in a run, however often the run captures. */
  capture(request: CaptureRequest, context: CaptureContext): Promise<Capture | Skipped>;
  /**
   * Pays what a run that died has left owing: starts the node, unless an operator keeps it stopped, and removes links.
   *
   * @throws BackypError `ERR_NODE_DOWN`, `ERR_NODE_CONTROL`; `ERR_BUSY` while another process is at it
   */
  recover(context: { readonly signal: AbortSignal; readonly logger: Logger }): Promise<Recovery>;
}

export function coldCaptures(options: ZooKeeperSourceOptions, control: NodeControl): ColdCaptures {
  const stopped = new WeakMap<BackupRun, Promise<StoppedServer | Skipped>>();
  const findNode = async (signal: AbortSignal): Promise<ColdNode> =>
    coldNode(options, await locate(options, signal), control);
  return {
    async capture(request, context) {
      const { run } = context;
      const first = stopped.get(run) ?? findNode(context.signal).then((node) => stopForRun(node, context));
      stopped.set(run, first);
      const result = await first.catch((error: unknown) => {
        // Files changed before anything was stopped: afterwards that has another code.
        if (isBackypError(error, "ERR_SOURCE_CHANGED")) stopped.delete(run);
        throw error;
      });
      if ("skipped" in result) return result;
      const { server, originals } = result;
      const capture = request.allowDamaged === true ? captureDamaged : captureFiles;
      return namedByOriginal(() => capture(server, request, context), originals);
    },
    recover: async (context) => recover(await findNode(context.signal), context),
  };
}

/** Whether a run that died may have left the node down. Asks neither it nor its supervisor. */
export async function owesStart({ cold, ...options }: ZooKeeperSourceOptions, signal: AbortSignal): Promise<boolean> {
  if (cold === undefined) return false;
  return (await journalIn(stateDirOf(cold, await locate(options, signal))).read()) !== null;
}

interface StoppedServer {
  readonly server: CapturedServer;
  /** The folders that the folders of links stand for. */
  readonly originals: ReadonlyMap<string, string>;
}

async function recover(
  node: ColdNode,
  { signal, logger }: { readonly signal: AbortSignal; readonly logger: Logger },
): Promise<Recovery> {
  const { control, stateDir, options, location } = node;
  const recovery = await recoverNode({
    control,
    stateDir,
    stayStoppedFile: options.stayStoppedFile,
    waitServing: (aborted) => waitServing(node, aborted),
    signal,
    logger,
  });
  for (const path of await dropLeftovers(location, options.linkDir)) {
    logger.warn({ path }, `removed the links in ${path}, which a run that died has left`);
  }
  return recovery;
}

async function waitServing(node: ColdNode, signal: AbortSignal): Promise<void> {
  const { startTimeoutMs } = node.options;
  try {
    await untilServing(
      node,
      { asked: null, isGone: true },
      () => {},
      AbortSignal.any([signal, AbortSignal.timeout(startTimeoutMs)]),
    );
  } catch (error) {
    if (signal.aborted) throw abortError(signal);
    throw new BackypError(
      "ERR_NODE_DOWN",
      `${node.name} was stopped by a run that died, and was started again, but does not serve after ${startTimeoutMs / 1000} s: ${(error as Error).message}`,
      { cause: error, details: { node: node.control.name } },
    );
  }
}

async function stopForRun(node: ColdNode, context: CaptureContext): Promise<StoppedServer | Skipped> {
  const { signal, logger, run } = context;
  await recover(node, context);
  // Before the stop, which changes the epochs.
  const config = await readConfigFiles(node.location, logger);
  const skips = skippedRuns(node.stateDir, node.options.maxSkippedRuns);
  try {
    const files = await stopAndLink(node, context);
    run.atEnd(() => files.freeze.drop());
    await skips.reset().catch((error: Error) => logger.warn({ err: error }, error.message));
    const { snapshots, logs } = files.frozen;
    const server: CapturedServer = {
      location: { ...node.location, snapshots, logs },
      config,
      status: async () => files.status,
      facts: (status, passedOver) => ({
        mode: "cold",
        ...factsOf(node.location, status, config, passedOver),
        downtime: files.downtime === null ? null : { ...files.downtime },
        stop: files.facts,
      }),
    };
    const originals = new Map(
      [
        [snapshots, node.location.snapshots],
        [logs, node.location.logs],
      ].filter((pair): pair is [string, string] => pair[0] != null && pair[1] != null),
    );
    return { server, originals };
  } catch (error) {
    if (!(error instanceof NotNow)) throw error;
    return notNow(node, error.refusal, signal);
  }
}

/** A leader that is left alone is no failure, unless it is always the leader. Everything else is. */
async function notNow(node: ColdNode, { reason, message }: Refusal, signal: AbortSignal): Promise<Skipped> {
  const { ifLeader, maxSkippedRuns } = node.options;
  if (reason !== "leader") throw new BackypError("ERR_STOP_REFUSED", message, { details: { reason } });
  if (typeof ifLeader === "object") {
    const limits = { timeoutMs: HAND_OVER_TIMEOUT_MS, signal };
    // It may be the very backup that is to be made, which needs what we need.
    const result = await runCommand(ifLeader.handOver, { ...limits, environment: process.env });
    if (result.code !== 0) {
      throw new BackypError(
        "ERR_NODE_CONTROL",
        `${message}; handing over by ${ifLeader.handOver[0]} failed${howItEnded(result)}`,
      );
    }
    return { skipped: "handed-over", message: `${message}; handed over: ${ifLeader.handOver.join(" ")}` };
  }
  await skippedRuns(node.stateDir, maxSkippedRuns).add(message);
  return { skipped: "leader", message };
}
