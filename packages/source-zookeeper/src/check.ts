import { stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { abortError, type CheckItem, isBackypError, type RunContext, silentLogger } from "@zk-backyp/core";
import { formatZxid } from "@zk-backyp/zookeeper-files";
import { captureFiles } from "./capture.ts";
import { liveServer } from "./captured-server.ts";
import { owesStart } from "./cold/capture-cold.ts";
import { COLD_DEFAULTS, type ColdOptions } from "./cold/cold-options.ts";
import { requireRoomToStart } from "./cold/room-to-start.ts";
import { listDataFiles } from "./data-files.ts";
import { mayStop } from "./ensemble/may-stop.ts";
import { formatServerAddress } from "./ensemble/server-address.ts";
import { type EnsembleView, viewEnsemble } from "./ensemble/view.ts";
import { type Location, locate } from "./locate.ts";
import type { NodeControl } from "./node-control/node-control.ts";
import type { ZooKeeperSourceOptions } from "./options.ts";
import { askStatus } from "./server-status.ts";
import { whyKeepStopped } from "./stop-promise/why-keep-stopped.ts";

/** A server writes its snapshots and logs there, and ends where it cannot. */
const LOW_BYTES = 64 * 1024 * 1024;

/**
 * Tries what a backup of this server needs: its files, the server itself, its ensemble and, for cold backups, what stops
 * it. Stops nothing, starts nothing, and writes nothing.
 *
 * @param options with full paths
 * @param openControl opens what stops the node, with `mode: "cold"`
 */
export async function* checkServer(
  options: ZooKeeperSourceOptions,
  openControl: () => NodeControl,
  context: RunContext,
): AsyncGenerator<CheckItem, void, void> {
  const { signal } = context;
  const located = await attempt("data", signal, remedies.location, () => locate(options, signal));
  if ("failure" in located) return yield located.failure;
  const location = located.result;
  // What a capture would log is told by the items below.
  yield* itemOf("data", signal, remedies.data, () => readable(options, { signal, logger: silentLogger }));
  yield await checkRoom(location);
  yield* checkEnsemble(options, location, signal);
  if (options.mode === "cold" && options.cold !== undefined) {
    yield* checkCold(options, options.cold, location, openControl, signal);
  }
}

const remedies = {
  location: "name the server's dataDir, zooCfg or server as it is on this host",
  data: "run as a user that may read the server's files, such as its own, and see that dataDir and dataLogDir are the server's",
  server:
    "see that the server runs, that the address is that of its client port or AdminServer, and that srvr is in its 4lw.commands.whitelist",
  ensemble:
    "see to the members that do not answer; name their addresses in cold.members or election.members if they are asked at the wrong ones",
  control: "see that the supervisor's name for the server is right, and that this user may ask it",
};

/** What `call` gives, or the item that says why it fails. */
async function attempt<Result>(
  name: string,
  signal: AbortSignal,
  remedy: string,
  call: () => Promise<Result>,
): Promise<{ readonly result: Result } | { readonly failure: CheckItem }> {
  try {
    return { result: await call() };
  } catch (error) {
    if (signal.aborted) throw abortError(signal);
    if (!isBackypError(error)) throw error;
    return { failure: { name, status: "failed", message: error.message, remedy } };
  }
}

/** The item that `call` makes, or the one that says why it could not. */
async function* itemOf(
  name: string,
  signal: AbortSignal,
  remedy: string,
  call: () => Promise<CheckItem>,
): AsyncGenerator<CheckItem, void, void> {
  const made = await attempt(name, signal, remedy, call);
  yield "failure" in made ? made.failure : made.result;
}

/** Begins a backup, and leaves it at that. */
async function readable(options: ZooKeeperSourceOptions, context: RunContext): Promise<CheckItem> {
  const server = await liveServer(options, context);
  // Whether the server answers has an item of its own.
  const capture = await captureFiles(
    { ...server, status: async () => null },
    { kind: "full", earlierFailures: [] },
    context,
  );
  try {
    const { snapshots, logs } = server.location;
    const newest = (await listDataFiles(snapshots, "snapshot")).at(-1);
    const age = newest === undefined ? null : Date.now() - (await stat(join(snapshots ?? "", newest.file))).mtimeMs;
    const snapshot =
      newest === undefined || age === null
        ? "no snapshot yet"
        : `the newest snapshot is ${newest.file}, ${hours(age)} old`;
    const count = (await listDataFiles(logs, "log")).length;
    const kilobytes = Math.ceil(capture.estimatedBytes / 1e3);
    const size = kilobytes < 10_000 ? `${kilobytes} kB` : `${Math.ceil(kilobytes / 1e3)} MB`;
    return {
      name: "data",
      status: "ok",
      message: `${server.location.dataDir} can be read: ${snapshot}, ${count} logs; a backup would have about ${size}`,
      remedy: null,
      estimatedBytes: capture.estimatedBytes,
    };
  } finally {
    await capture.close();
  }
}

function hours(ms: number): string {
  const minutes = Math.max(0, Math.round(ms / 60_000));
  return minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

async function checkRoom({ dataDir, snapshots, logs }: Location): Promise<CheckItem> {
  const folders = [...new Set([snapshots ?? dataDir, logs ?? dataDir])];
  const free = await Promise.all(
    folders.map(async (folder) => {
      const { bavail, bsize } = await statfs(folder);
      return { folder, bytes: bavail * bsize };
    }),
  ).catch((error: Error) => error);
  const name = "disk";
  if (free instanceof Error) return { name, status: "warning", message: free.message, remedy: remedies.data };
  const message = free.map(({ folder, bytes }) => `${Math.floor(bytes / 1e6)} MB are free in ${folder}`).join(", ");
  return free.every(({ bytes }) => bytes >= LOW_BYTES)
    ? { name, status: "ok", message, remedy: null }
    : { name, status: "warning", message, remedy: "make room: a server that cannot write its log ends" };
}

async function* checkEnsemble(
  options: ZooKeeperSourceOptions,
  { server, zooCfg, dataDir }: Location,
  signal: AbortSignal,
): AsyncGenerator<CheckItem, void, void> {
  if (server === null) {
    const message = "nothing tells where the server is asked: how far its logs must reach is told by the files alone";
    return yield { name: "server", status: "warning", message, remedy: "say zooCfg, or server (host:port)" };
  }
  const asked = await attempt("server", signal, remedies.server, () => askStatus(server, { tls: options.tls }, signal));
  if ("failure" in asked) {
    // Where its address is only known, backups are taken from the files alone.
    const doesWithout = options.server === undefined && options.mode !== "cold";
    return yield { ...asked.failure, status: doesWithout ? "warning" : "failed" };
  }
  const { version, role, zxid, nodeCount, digestMismatches } = asked.result;
  const facts = `${formatServerAddress(server)} answers: ZooKeeper ${version}, ${role}, ${formatZxid(zxid)}, ${nodeCount} znodes`;
  yield (digestMismatches ?? 0) > 0
    ? {
        name: "server",
        status: "warning",
        message: `${facts}; its data has differed from its leader's ${digestMismatches} times`,
        remedy: "back up another member, and replace this one's data",
      }
    : { name: "server", status: "ok", message: facts, remedy: null };
  yield* itemOf("ensemble", signal, remedies.ensemble, async () => {
    const members = options.cold?.members ?? options.election?.members;
    return describeEnsemble(await viewEnsemble({ server, dataDir, zooCfg, members, tls: options.tls }, signal));
  });
}

function describeEnsemble({ self, others, leader, doubt }: EnsembleView): CheckItem {
  const name = "ensemble";
  if (self.status?.role === "standalone") {
    return { name, status: "ok", message: "it is standalone: nobody serves while it is away", remedy: null };
  }
  if (doubt !== null) return { name, status: "warning", message: doubt.message, remedy: remedies.ensemble };
  const members = [self, ...others];
  const silent = members.filter(({ status }) => status === null);
  const message = `${members.length - silent.length} of ${members.length} members answer, ${leader === null ? "no leader is known" : `${leader.name} leads`}`;
  if (silent.length === 0 && leader !== null) return { name, status: "ok", message, remedy: null };
  const why = silent.map((member) => `${member.name}: ${member.problem?.message}`).join("; ");
  return { name, status: "warning", message: why === "" ? message : `${message}. ${why}`, remedy: remedies.ensemble };
}

async function* checkCold(
  options: ZooKeeperSourceOptions,
  cold: ColdOptions,
  location: Location,
  openControl: () => NodeControl,
  signal: AbortSignal,
): AsyncGenerator<CheckItem, void, void> {
  const { server, dataDir, zooCfg } = location;
  const { ifLeader, allowStandalone, stayStoppedFile } = { ...COLD_DEFAULTS, ...cold };
  yield* itemOf("node control", signal, remedies.control, () => checkControl(openControl(), stayStoppedFile, signal));
  if (await owesStart(options, signal)) {
    const message = "a backup that died has stopped the server, and its start is still owed";
    yield { name: "stop", status: "failed", message, remedy: "run zk-backyp recover" };
  }
  yield* itemOf("room to start", signal, "make room", async () => {
    await requireRoomToStart(location);
    return { name: "room to start", status: "ok", message: "there is room for what a start writes", remedy: null };
  });
  if (server === null) return;
  const policy = { ifLeader: typeof ifLeader === "object" ? "skip" : ifLeader, allowStandalone } as const;
  yield* itemOf("stop", signal, remedies.ensemble, async () => {
    const view = await viewEnsemble({ server, dataDir, zooCfg, members: cold.members, tls: options.tls }, signal);
    return describeStop(mayStop(view, policy), typeof ifLeader === "object");
  });
}

async function checkControl(control: NodeControl, stayStoppedFile: string, signal: AbortSignal): Promise<CheckItem> {
  const name = "node control";
  const { state, pid } = await control.status({ signal });
  const message = `${control.name} says that the server is ${state}${pid === null ? "" : ` (process ${pid})`}`;
  const why = await whyKeepStopped({ control, stayStoppedFile }, signal);
  if (why !== null) {
    const remedy = "nothing, if that is meant: nothing of ours starts it meanwhile";
    return { name, status: "warning", message: `${message}, and is to stay stopped: ${why}`, remedy };
  }
  return state === "running"
    ? { name, status: "ok", message, remedy: null }
    : { name, status: "failed", message, remedy: "start the server, or correct the supervisor's name for it" };
}

function describeStop(decision: ReturnType<typeof mayStop>, handsOver: boolean): CheckItem {
  const name = "stop";
  if (decision.stop) {
    const { role, spareVoters } = decision;
    const message = `it may be stopped now: it is ${role}, and ${spareVoters} more voters may fail meanwhile`;
    return { name, status: "ok", message, remedy: null };
  }
  const { reason, message } = decision;
  if (reason === "leader" && handsOver) {
    return { name, status: "ok", message: "it leads now, so that the backup would be handed over", remedy: null };
  }
  const remedy =
    reason === "leader"
      ? "nothing, if another member is backed up meanwhile: the run is skipped"
      : "see docs/cold-mode.md";
  return { name, status: reason === "leader" ? "warning" : "failed", message, remedy };
}
