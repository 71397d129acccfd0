import { type AclEntry, type ClientNode, OPEN_ACL, type Write } from "./wire-client.ts";

/** What a client must see of a znode; without its times, which only the server knows. */
export type ExpectedNode = Omit<ClientNode, "ctimeMs" | "mtimeMs">;

type Change =
  | { readonly zxid: bigint; readonly sessionId: bigint; readonly writes: readonly Write[] }
  | { readonly zxid: bigint; readonly ended: bigint };

interface Node {
  data: Buffer | null;
  acl: readonly AclEntry[];
  version: number;
  aversion: number;
  /** Of the session if it is ephemeral, else 0. */
  readonly owner: bigint;
  readonly czxid: bigint;
  mzxid: bigint;
  pzxid: bigint;
  creations: number;
  children: number;
}

/**
 * What a tree must look like after each transaction, from the answers that its only writers got: ZooKeeper's rules told
 * a second time, with no look at a file.
 */
export class ExpectedTree {
  readonly #changes: Change[] = [];

  /** Notes writes that took effect together. The path of a sequential create is the one that was answered. */
  wrote(zxid: bigint, sessionId: bigint, writes: readonly Write[]): void {
    this.#changes.push({ zxid, sessionId, writes });
  }

  /** Notes the end of a session, and with it that of its ephemeral znodes. */
  sessionEnded(zxid: bigint, sessionId: bigint): void {
    this.#changes.push({ zxid, ended: sessionId });
  }

  /** The znodes right after the transaction `zxid`, by path. */
  at(zxid: bigint): Map<string, ExpectedNode> {
    const nodes = new Map<string, Node>();
    const changes = this.#changes.filter((change) => change.zxid <= zxid);
    for (const change of changes.sort((a, b) => (a.zxid < b.zxid ? -1 : 1))) {
      if ("ended" in change) {
        const gone = [...nodes].filter(([, { owner }]) => owner === change.ended);
        for (const [path] of gone) remove(nodes, path, change.zxid);
      } else {
        for (const write of change.writes) apply(nodes, write, change.zxid, change.sessionId);
      }
    }
    return new Map([...nodes].map(([path, node]) => [path, asSeen(node)]));
  }
}

function apply(nodes: Map<string, Node>, write: Write, zxid: bigint, sessionId: bigint): void {
  if (write.type === "create") {
    const { path, data, acl = OPEN_ACL, kind } = write;
    const owner = kind === "ephemeral" ? sessionId : 0n;
    const zxids = { czxid: zxid, mzxid: zxid, pzxid: zxid };
    nodes.set(path, { data, acl, version: 0, aversion: 0, owner, ...zxids, creations: 0, children: 0 });
    const parent = nodes.get(parentOf(path));
    if (parent === undefined) return;
    parent.pzxid = zxid;
    parent.creations += 1;
    parent.children += 1;
  } else if (write.type === "delete") {
    remove(nodes, write.path, zxid);
  } else if (write.type === "setData") {
    const node = require(nodes, write.path);
    node.data = write.data;
    node.mzxid = zxid;
    node.version += 1;
  } else if (write.type === "setAcl") {
    const node = require(nodes, write.path);
    node.acl = write.acl;
    node.aversion += 1;
  }
}

function remove(nodes: Map<string, Node>, path: string, zxid: bigint): void {
  require(nodes, path);
  nodes.delete(path);
  const parent = nodes.get(parentOf(path));
  if (parent === undefined) return;
  parent.pzxid = zxid;
  parent.children -= 1;
}

function require(nodes: Map<string, Node>, path: string): Node {
  const node = nodes.get(path);
  if (node === undefined) throw new Error(`the record has no ${path}`);
  return node;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function asSeen({ owner, creations, children, ...node }: Node): ExpectedNode {
  return { ...node, ephemeralOwner: owner, cversion: 2 * creations - children };
}
