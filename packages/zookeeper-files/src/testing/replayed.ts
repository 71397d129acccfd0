import { createLogChecker } from "../log/log-checker.ts";
import { checkSnapshot } from "../snapshot/snapshot-checker.ts";
import { createReplay, type Replay, type ReplayOptions, type ReplayResult } from "../tree/replay.ts";
import { acl, field, int, list, long } from "./jute.ts";
import { type MadeTxn, makeLog } from "./made-log.ts";
import { type MadeSnapshot, makeSnapshot } from "./made-snapshot.ts";

/** World may do anything, as a txn says it. */
export const OPEN: Buffer = list(acl(31, "world", "anyone"));
export const READ_ONLY: Buffer = list(acl(1, "world", "anyone"));

/** Bodies of txns. */
export const body = {
  create: (path: string, parentCversion: number, { data = "", acls = OPEN, ephemeral = false } = {}): Buffer =>
    Buffer.concat([field(path), field(data), acls, Buffer.from([ephemeral ? 1 : 0]), int(parentCversion)]),
  createOld: (path: string): Buffer => Buffer.concat([field(path), field(""), OPEN, Buffer.from([0])]),
  createContainer: (path: string, parentCversion: number): Buffer =>
    Buffer.concat([field(path), field(null), OPEN, int(parentCversion)]),
  createTtl: (path: string, parentCversion: number, ttlMs: bigint): Buffer =>
    Buffer.concat([field(path), field(null), OPEN, int(parentCversion), long(ttlMs)]),
  delete: (path: string): Buffer => field(path),
  setData: (path: string, data: string | null, version: number): Buffer =>
    Buffer.concat([field(path), field(data), int(version)]),
  setAcl: (path: string, acls: Buffer, version: number): Buffer => Buffer.concat([field(path), acls, int(version)]),
  multi: (...parts: (readonly [type: number, body: Buffer])[]): Buffer =>
    list(...parts.map(([type, part]) => Buffer.concat([int(type), field(part)]))),
  closeSession: (...paths: string[]): Buffer => list(...paths.map(field)),
};

/** Replays a made-up log over a made-up snapshot. */
export async function replayed(
  snapshot: MadeSnapshot & { readonly zxid?: bigint },
  txns: readonly MadeTxn[],
  options: ReplayOptions = {},
): Promise<ReplayResult & Pick<Replay, "tree">> {
  const replay = createReplay(options);
  const bytes = makeSnapshot(snapshot);
  const summary = await checkSnapshot(
    (async function* () {
      yield bytes;
    })(),
    replay.snapshotHooks,
  );
  replay.snapshotEnd(snapshot.zxid ?? 0n, summary, "snapshot");
  replay.beginLog("log");
  const checker = createLogChecker({ onRecord: replay.onRecord });
  checker.push(makeLog(...txns));
  const log = checker.end();
  if (log.end !== "eof") throw new Error(`not a good log: ${JSON.stringify(log.problems)}`);
  return { ...replay.finish(), tree: replay.tree };
}
