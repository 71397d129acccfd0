import { randomUUID } from "node:crypto";
import { access } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import {
  abortError,
  BackypError,
  type CaptureContext,
  isBackypError,
  type JsonObject,
  type Logger,
  systemErrorCode,
} from "@zk-backyp/core";
import { formatZxid } from "@zk-backyp/zookeeper-files";
import { mayStop, type StopDecision } from "../ensemble/may-stop.ts";
import { type StopLock, takeStopLock } from "../ensemble/stop-lock.ts";
import { type EnsembleView, viewEnsemble } from "../ensemble/view.ts";
import type { NodeStatus } from "../node-control/node-control.ts";
import type { ServerStatus } from "../server-status.ts";
import { SETTLE_MS } from "../stop-promise/bring-back.ts";
import { armGuard, type Guard } from "../stop-promise/guard.ts";
import { identityOf, type ProcessIdentity } from "../stop-promise/process-identity.ts";
import { isListening, NotBack, untilCaughtUp, untilNoted, untilServing, untilStopped } from "./await-node.ts";
import type { ColdNode } from "./cold-node.ts";
import { type Downtime, Stopwatch } from "./downtime.ts";
import { type Freeze, type Frozen, openFreeze } from "./freeze.ts";
import { requireRoomToStart } from "./room-to-start.ts";

/**
 * The steps of a cold stop in their order. Each is reported when it is done; `stopping` and `starting`, when they are
 * about to be asked for. Until `journaled` nothing has happened to the node. From then on its return is owed: whatever
 * fails or dies, it is started again, by this process, else by the guard, else by the next run.
 */
export const COLD_STEPS = [
  "checked",
  "linked-ahead",
  "locked",
  "journaled",
  "stopping",
  "stopped",
  "linked",
  "starting",
  "serving",
  "caught-up",
] as const;
export type ColdStep = (typeof COLD_STEPS)[number];

/** What the guard gets for the linking, beyond the time that the stop may take. */
const LINK_TIMEOUT_MS = 30_000;
/** A run that was aborted sees to it that the node is started, but does not wait until it serves. */
const ABORTED_TIMEOUT_MS = 10_000;
/** How long another member's stop is waited for. */
const LOCK_WAIT_MS = 60_000;

/** A node's files as they were while it was stopped, and what is known of it. */
export interface ColdFiles {
  readonly freeze: Freeze;
  readonly frozen: Frozen;
  /** What the server said before it was stopped; null where it was down already. */
  readonly status: ServerStatus | null;
  /** Null where it was down already. */
  readonly downtime: Downtime | null;
  readonly facts: JsonObject;
}

type Permission = Extract<StopDecision, { stop: true }>;
export type Refusal = Extract<StopDecision, { stop: false }>;

/** The node is not stopped now: an expected answer, for the caller to act on. */
export class NotNow extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/**
 * Stops the node, links its files, starts it again, and resolves when it serves and has caught up. The caller drops the
 * links (`freeze.drop`). When it fails the node is back and no link is left, except after `ERR_NODE_DOWN`.
 *
 * @throws NotNow when it must not be stopped now
 * @throws BackypError `ERR_NODE_CONTROL`, `ERR_SOURCE_UNAVAILABLE`, `ERR_STOP_REFUSED`, `ERR_BUSY`: nothing was stopped, or
 * the node is back
 * @throws BackypError `ERR_NODE_DOWN`: it is not back, or has not caught up
 */
export async function stopAndLink(node: ColdNode, context: CaptureContext): Promise<ColdFiles> {
  const { run, signal, logger } = context;
  const report = (step: ColdStep, facts: JsonObject = {}): void => {
    try {
      logger.info({ step, ...facts }, `${node.name}: ${step}`);
      run.report(step, { node: node.name, ...facts });
    } catch {
      // Nothing that only tells of a step keeps the node down.
    }
  };
  const before = await node.control.status({ signal });
  if (before.state === "stopped") return linkAsItIs(node, context);
  requireRunning(node, before);

  const { view, decision } = await check(node, signal);
  // The member that is down may be another run's, which has the lock then, and brings it back before it lets go of it.
  const isLocked = node.options.lock !== false && view.others.some((member) => member.status !== null);
  const mayBeBackSoon = !decision.stop && decision.reason === "quorum" && isLocked;
  if (!decision.stop && !mayBeBackSoon) throw new NotNow(decision);
  const { status } = view.self;
  if (view.self.id !== null) await requireMyid(node);
  report("checked", { role: status?.role ?? null, zxid: formatZxid(status?.zxid ?? 0n) });

  const freeze = await openFreeze(node.location, freezeOptions(node, signal));
  try {
    await freeze.warm();
    // With what the copy of a snapshot has taken.
    await requireRoomToStart(node.location);
    report("linked-ahead");
    const { permission, frozen, downtime } = await withStopLock(node, view, signal, async (lock) => {
      if (lock !== null) report("locked");
      // Others may have been stopped since, under the lock that is ours now.
      const { decision: permission } = await check(node, signal);
      if (!permission.stop) throw new NotNow(permission);
      const { pid } = requireRunning(node, await node.control.status({ signal }));
      await requireMayStart(node, signal);
      const asked = pid === null ? null : await identityOf(pid);
      return { permission, ...(await stopLinkStart(node, freeze, { permission, asked, lock, report, signal })) };
    }).catch((error: unknown) => {
      // Without the lock it cannot be known whether it would be back soon. What is wrong is that it is down.
      if (!decision.stop && isBackypError(error, "ERR_STOP_REFUSED")) throw new NotNow(decision);
      throw error;
    });
    const takenBack = await freeze.dropTakenBack();
    const copied = frozen.copied.map((copy) => ({ ...copy }));
    const { role, spareVoters } = permission;
    return { freeze, frozen, status, downtime, facts: { role, spareVoters, copied, takenBack: [...takenBack] } };
  } catch (error) {
    await dropAfterFailure(freeze, logger);
    throw error;
  }
}

/** What went wrong before counts. */
async function dropAfterFailure(freeze: Freeze, logger: Logger): Promise<void> {
  await freeze.drop().catch((error: unknown) => {
    logger.warn({ err: error }, `the links could not be removed; the next run does it: ${(error as Error).message}`);
  });
}

function requireRunning(node: ColdNode, status: NodeStatus): NodeStatus {
  const { state } = status;
  if (state === "running") return status;
  throw new BackypError(
    "ERR_STOP_REFUSED",
    `${node.name} was not stopped: its supervisor says that it is ${state}; wait until it runs, or back up its files with mode "hot"`,
    { details: { node: node.control.name, state } },
  );
}

/** A member that runs needs the file no more, and does not start again without it. */
async function requireMyid({ name, location }: ColdNode): Promise<void> {
  const path = join(location.dataDir, "myid");
  const isMissing = await access(path).then(
    () => false,
    (error) => systemErrorCode(error) === "ENOENT",
  );
  if (!isMissing) return;
  throw new BackypError(
    "ERR_STOP_REFUSED",
    `${name} was not stopped: there is no ${path}, without which it would not start again; put it back`,
    { details: { path } },
  );
}

/** A node that would not be started again is not stopped. */
async function requireMayStart(node: ColdNode, signal: AbortSignal): Promise<void> {
  const why = await node.whyKeepStopped(signal);
  if (why === null) return;
  throw new BackypError(
    "ERR_STOP_REFUSED",
    `${node.name} was not stopped: nothing would start it again, since ${why}, although it runs; put that in order first`,
    { details: { node: node.control.name, why } },
  );
}

/** A node that somebody else has stopped is none of ours to start. */
async function linkAsItIs(node: ColdNode, { signal, logger }: CaptureContext): Promise<ColdFiles> {
  if (await isListening(node.port)) {
    throw new BackypError(
      "ERR_STOP_REFUSED",
      `${node.name} was not stopped: its supervisor says that it is stopped, but ${node.port.host}:${node.port.port} answers. Is it not monitored any more, or another server than the one that is backed up?`,
      { details: { node: node.control.name, port: node.port.port } },
    );
  }
  logger.warn({ node: node.control.name }, `${node.name} is stopped already: backed up as it is, and not started`);
  const freeze = await openFreeze(node.location, freezeOptions(node, signal));
  try {
    const frozen = await freeze.complete();
    const { state } = await node.control.status({ signal });
    if (state !== "stopped" || (await isListening(node.port))) {
      throw new BackypError(
        "ERR_NODE_CONTROL",
        `${node.name} was stopped, and was started while its files were linked; the next run tries again`,
        { details: { node: node.control.name } },
      );
    }
    return { freeze, frozen, status: null, downtime: null, facts: { wasStopped: true } };
  } catch (error) {
    await dropAfterFailure(freeze, logger);
    throw error;
  }
}

function freezeOptions({ options: { linkDir } }: ColdNode, signal: AbortSignal): Parameters<typeof openFreeze>[1] {
  return { run: randomUUID(), signal, ...(linkDir === undefined ? {} : { linkDir }) };
}

async function check(
  node: ColdNode,
  signal: AbortSignal,
): Promise<{ readonly view: EnsembleView; readonly decision: StopDecision }> {
  const { server, tls, options, location } = node;
  const { members } = options;
  const view = await viewEnsemble(
    {
      server,
      dataDir: location.dataDir,
      zooCfg: location.zooCfg,
      members,
      tls,
    },
    signal,
  );
  const ifLeader = options.ifLeader === "proceed" ? "proceed" : "skip";
  return { view, decision: mayStop(view, { ifLeader, allowStandalone: options.allowStandalone }) };
}

/** Does the work while no other member of the ensemble is stopped by one of us. */
async function withStopLock<Result>(
  node: ColdNode,
  { others }: EnsembleView,
  signal: AbortSignal,
  work: (lock: StopLock | null) => Promise<Result>,
): Promise<Result> {
  const { lock } = node.options;
  if (others.length === 0 || lock === false) return work(null);
  // Where one has answered, plain or over TLS, is a client port; where one has not, may be this node's own.
  const answering = others.filter(({ status }) => status !== null);
  const asked = answering.flatMap(({ addresses }) =>
    addresses.slice(0, 1).filter(({ scheme }) => scheme === undefined || scheme === "tls"),
  );
  const taken = await takeStopLock({
    servers: asked.length > 0 ? asked : answering.flatMap(({ clients }) => clients),
    tls: node.tls,
    path: lock?.path,
    auth: lock?.auth === undefined ? undefined : { scheme: "digest", credential: lock.auth },
    label: { host: hostname(), node: node.name },
    waitMs: LOCK_WAIT_MS,
    signal,
  });
  try {
    return await work(taken);
  } finally {
    await taken.release();
  }
}

interface StopParts {
  readonly permission: Permission;
  /** The process that is asked to stop, where it is known. */
  readonly asked: ProcessIdentity | null;
  readonly lock: StopLock | null;
  readonly signal: AbortSignal;
  report(step: ColdStep, facts?: JsonObject): void;
}

/** The part that matters: from the journal to the node's return. */
async function stopLinkStart(
  node: ColdNode,
  freeze: Freeze,
  parts: StopParts,
): Promise<{ readonly frozen: Frozen; readonly downtime: Downtime }> {
  const { report } = parts;
  const debt = await promiseReturn(node);
  let stopwatch: Stopwatch | null = null;
  let isGone = false;
  let frozen: Frozen | null = null;
  let failure: unknown;
  try {
    report("journaled");
    await parts.lock?.confirm(parts.signal);
    if (parts.signal.aborted) throw abortError(parts.signal);
    // The last look: a process that was asleep meanwhile has lost both.
    if (await debt.guardHasActed()) throw lost(node, "its guard");
    if (parts.lock?.isHeld() === false) throw lost(node, "its lock in the ensemble");
    report("stopping");
    stopwatch = new Stopwatch();
    await stop(node, debt.backInMs, parts);
    isGone = true;
    report("stopped", { afterMs: stopwatch.mark("stoppedMs") });
    frozen = await freeze.complete();
    await requireStillStopped(node, debt);
    report("linked", { afterMs: stopwatch.mark("linkedMs"), files: frozen.files, bytes: frozen.bytes });
  } catch (error) {
    // A run that is told that its source changed captures again, but nothing is stopped twice in a run.
    const isChanged = isBackypError(error, "ERR_SOURCE_CHANGED");
    failure = isChanged ? new BackypError("ERR_NODE_CONTROL", error.message, { cause: error }) : error;
  }
  // Nothing was asked of anybody.
  if (stopwatch === null) await debt.pay();
  else await bringBack(node, debt, stopwatch, { ...parts, isGone }, failure);
  if (frozen === null || stopwatch === null || failure !== undefined) throw failure;
  return { frozen, downtime: stopwatch.times as Downtime };
}

/** The journal, and the guard that acts on it. */
interface Debt {
  readonly backInMs: number;
  /** Whether the guard has begun to start the node. */
  guardHasActed(): Promise<boolean>;
  /** The node is back, or was never stopped. */
  pay(): Promise<void>;
  /** The node is not back: the guard and the next run go on. */
  leave(): void;
}

async function promiseReturn({ control, journal, options }: ColdNode): Promise<Debt> {
  const backInMs = options.stopTimeoutMs + LINK_TIMEOUT_MS;
  const { run } = await journal.begin({ node: control.name, backInMs });
  let guard: Guard | null = null;
  try {
    const { startCommand } = control;
    if (startCommand !== null) {
      const { stayStoppedFile } = options;
      guard = await armGuard({ startCommand, journalFile: journal.path, run, backInMs, stayStoppedFile });
    }
  } catch (error) {
    await journal.end(run);
    throw error;
  }
  return {
    backInMs,
    guardHasActed: async () => (await guard?.hasActed()) === true,
    async pay() {
      await journal.end(run);
      await guard?.dismiss();
    },
    leave() {
      journal.leave(run);
      guard?.handOver();
    },
  };
}

async function stop(node: ColdNode, backInMs: number, { asked, signal }: StopParts): Promise<void> {
  const { control, options } = node;
  const limit = AbortSignal.timeout(options.stopTimeoutMs);
  const within = AbortSignal.any([signal, limit]);
  try {
    await control.stop({ signal: within, backInMs });
    await untilStopped(node, asked, within);
  } catch (error) {
    // A control may say it in its own words.
    if (signal.aborted) throw abortError(signal);
    if (!limit.aborted) throw error;
    throw new BackypError(
      "ERR_NODE_CONTROL",
      `${node.name} did not stop within ${options.stopTimeoutMs / 1000} s, and was left running: see why, or give it more time with stopTimeoutMs`,
      { cause: error, details: { node: control.name } },
    );
  }
}

/** What was linked is of a stopped node only if nobody has started it meanwhile. */
async function requireStillStopped(node: ColdNode, debt: Debt): Promise<void> {
  const byGuard = await debt.guardHasActed();
  if (!byGuard && !(await isListening(node.port))) return;
  throw new BackypError(
    "ERR_NODE_CONTROL",
    `${node.name} was started while its files were linked, ${byGuard ? "by the guard, since it was down for too long" : "by somebody else"}; the next run tries again`,
    { details: { node: node.control.name } },
  );
}

function lost(node: ColdNode, what: string): BackypError {
  return new BackypError(
    "ERR_STOP_REFUSED",
    `${node.name} was not stopped: this process stood still for so long that it lost ${what}; the next run tries again`,
  );
}

/** Starts the node. Whether the run goes on or has failed, it comes back first. */
async function bringBack(
  node: ColdNode,
  debt: Debt,
  stopwatch: Stopwatch,
  { permission, asked, isGone, signal, report }: StopParts & { readonly isGone: boolean },
  failure: unknown,
): Promise<void> {
  report("starting");
  using patience = patienceFor(signal, node.options.startTimeoutMs + (isGone ? 0 : SETTLE_MS));
  const { limit } = patience;
  let serves = false;
  try {
    const status = await untilServing(node, { asked, isGone }, () => stopwatch.mark("startedMs"), limit);
    serves = true;
    report("serving", { afterMs: stopwatch.mark("servingMs"), role: status.role });
    // What it is up to does not matter to a run that has failed.
    if (failure === undefined) {
      const { zxid } = await untilCaughtUp(node, permission.leaderZxid, limit);
      report("caught-up", { afterMs: stopwatch.mark("caughtUpMs"), zxid: formatZxid(zxid) });
    }
    await untilNoted(node, limit);
    await debt.pay();
  } catch (error) {
    if (serves || (error instanceof NotBack && error.why === "stopped-again")) await debt.pay();
    else debt.leave();
    if (!(error instanceof NotBack)) throw error;
    // Whoever ended the run wants it to end; the guard sees to the rest.
    if (signal.aborted && error.why === "too-late") return;
    throw nodeDown(node, error, failure);
  }
}

/** How long the node's return is waited for: less once the run is aborted, as its process is to end. */
function patienceFor(signal: AbortSignal, limitMs: number): Disposable & { readonly limit: AbortSignal } {
  const limit = new AbortController();
  const timers = [setTimeout(() => limit.abort(), limitMs)];
  const onAbort = (): void => {
    timers.push(setTimeout(() => limit.abort(), ABORTED_TIMEOUT_MS));
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  return {
    limit: limit.signal,
    [Symbol.dispose]() {
      signal.removeEventListener("abort", onAbort);
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

/** As it can be pasted into a shell. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

function nodeDown(node: ColdNode, { message, why }: NotBack, failure: unknown): BackypError {
  const because = isBackypError(failure) ? ` The run had failed before: ${failure.message}` : "";
  const { startCommand } = node.control;
  const how = startCommand === null ? "" : ` (${startCommand.map(quoted).join(" ")})`;
  return new BackypError(
    "ERR_NODE_DOWN",
    why !== "too-late"
      ? `${node.name} was stopped for a backup and stays stopped: ${message}.${because}`
      : `${node.name} was stopped for a backup and is not back after ${node.options.startTimeoutMs / 1000} s: ${message}. Look at its log and start it${how}.${because}`,
    { cause: failure, details: { node: node.control.name } },
  );
}
