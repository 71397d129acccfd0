import { inspect } from "node:util";
import {
  type Acl,
  checkDirectory,
  type MultiOp,
  type NodeContent,
  OPEN_ACL,
  type ServerRelease,
  serverRelease,
  type Txn,
  type TxnBody,
  writeLog,
  writeSnapshot,
  type ZnodeStat,
} from "@zk-backyp/zookeeper-files";
import type { Oracle } from "./oracle.ts";
import { LOGS, type ServerFiles, SNAPSHOTS, withFiles } from "./server-files.ts";

const STAT: ZnodeStat = {
  czxid: 0n,
  mzxid: 0n,
  pzxid: 0n,
  ctimeMs: 0,
  mtimeMs: 0,
  version: 0,
  cversion: 0,
  aversion: 0,
  ephemeralOwner: 0n,
};
const SESSION = 0x100_0000_0000_0001n;

export const acl = (name: string): Acl => [{ permissions: 31, scheme: "digest", id: name }];
export const node = (path: string, aclId = -1n, ephemeralOwner = 0n): NodeContent => {
  return { path, data: null, aclId, stat: { ...STAT, ephemeralOwner } };
};
export const create = (path: string, given: Acl | null = OPEN_ACL, ephemeral = false): MultiOp => {
  return { type: "create", path, data: null, acl: given, ephemeral, parentCversion: -1 };
};
export const setAcl = (path: string, given: Acl | null): MultiOp => ({ type: "setAcl", path, acl: given, version: 1 });
const setData = (path: string): MultiOp => ({ type: "setData", path, data: Buffer.from("x"), version: 1 });
const remove = (path: string): MultiOp => ({ type: "delete", path });

/** A snapshot in which nodes may have ids that are not among the ACLs, and the log after it. */
export interface FuzzySet {
  readonly acls: ReadonlyMap<bigint, Acl>;
  readonly nodes: readonly NodeContent[];
  readonly log: readonly TxnBody[];
}

/** As the files of a server. */
export async function filesOf({ acls, nodes, log }: FuzzySet): Promise<ServerFiles> {
  const sessions = new Map([[SESSION, 30_000]]);
  const txns = log.map((body, index): Txn => {
    return { zxid: BigInt(index + 1), timeMs: index, sessionId: SESSION, cxid: index, digest: null, ...body };
  });
  const all = [node(""), node("/zookeeper"), node("/zookeeper/config"), node("/zookeeper/quota"), ...nodes];
  return new Map([
    [`${SNAPSHOTS}snapshot.0`, Buffer.concat(await Array.fromAsync(writeSnapshot({ sessions, acls, nodes: all })))],
    [`${LOGS}log.1`, Buffer.concat(await Array.fromAsync(writeLog(txns)))],
  ]);
}

export const MISSING = "java.lang.RuntimeException: Failed to fetch acls for ...";

/** What a server's own classes do with a set, and what we say that those of the release do. */
export async function startWith(
  oracle: Oracle,
  set: FuzzySet,
  release: ServerRelease | null = serverRelease(oracle.version),
): Promise<{ server: string; we: string }> {
  if (release === null) throw new Error(`no rules for ZooKeeper ${oracle.version}`);
  return withFiles(await filesOf(set), async (places) => {
    const { releases } = await checkDirectory([places.snapshots, places.logs], { releases: [release] });
    const [{ outcome, reasons } = { outcome: "", reasons: [] }] = releases;
    const answer = await oracle.start(places, "standalone");
    const isOurs = reasons.some(({ code }) => code === "DANGLING_ACL_USED");
    return {
      server: answer.loaded ? "loads" : answer.why.replace(/\d+$/, "..."),
      we: isOurs ? MISSING : outcome.replace("-with-loss", ""),
    };
  });
}

/** How many sets a server refuses, once it was seen that we say the same of each. */
export async function countRefused(oracle: Oracle, sets: Iterable<FuzzySet>, release?: ServerRelease): Promise<number> {
  let count = 0;
  for (const set of sets) {
    const { server, we } = await startWith(oracle, set, release);
    if (server !== we)
      throw new Error(`the server: ${server}; we: ${we}; ${inspect(set, { depth: 6, compact: 9, breakLength: 300 })}`);
    if (server === MISSING) count += 1;
  }
  return count;
}

const TOPS = ["/a", "/b", "/c", "/d"];
const LEAVES = ["/e", "/f", ...TOPS.flatMap((top) => [`${top}/0`, `${top}/1`])];

/** Sets of a few nodes, ACLs and txns, of which about half have a txn that needs a missing ACL. */
export function* randomSets(count: number, seed: number): Generator<FuzzySet> {
  let state = seed;
  const below = (limit: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  const one = <T>(of: readonly T[]): T => of[below(of.length)] as T;
  const anyAcl = (): Acl | null => one([OPEN_ACL, null, ...["p", "q", "r", "s", "t"].map(acl)]);
  const anyOp = (): MultiOp => {
    switch (below(5)) {
      case 0:
        return create(one(LEAVES), anyAcl(), below(3) === 0);
      case 1:
        return remove(one(LEAVES));
      case 2:
        return setData(one([...TOPS, ...LEAVES]));
      default:
        return setAcl(one([...TOPS, ...LEAVES]), anyAcl());
    }
  };
  const anyTxn = (): TxnBody => {
    if (below(8) === 0)
      return { type: "multi", ops: [anyOp(), anyOp(), anyOp()].filter(({ type }) => type !== "setAcl") };
    if (below(12) === 0) return { type: "closeSession", paths: one([null, ["/a/0", "/b/1"]]) };
    return anyOp();
  };
  for (let made = 0; made < count; made++) {
    const known = ["p", "q", "r"].slice(0, below(4));
    const acls = new Map(known.map((name, index) => [BigInt(index + 1 + below(2) * 3), acl(name)]));
    const id = (): bigint => (below(6) === 0 ? BigInt(1 + below(7)) : one([-1n, ...acls.keys()]));
    const nodes: NodeContent[] = [];
    for (const path of [...TOPS, ...LEAVES].toSorted()) {
      const isLeaf = LEAVES.includes(path);
      if (isLeaf && below(2) === 0) continue;
      nodes.push(node(path, id(), isLeaf && below(4) === 0 ? SESSION : 0n));
    }
    yield { acls, nodes, log: Array.from({ length: 1 + below(8) }, anyTxn) };
  }
}
