import { CONTAINER_OWNER, kindOf, type MultiOp, type Txn, ttlOwner } from "@zk-backyp/zookeeper-files";

/** A znode that does not end by a client's request alone: an ephemeral, a container, or one with a time to live. */
export interface OwnedZnode {
  readonly path: string;
  readonly owner: bigint;
  readonly czxid: bigint;
}

/**
 * Which znodes belong to which session, and which are containers or have a time to live, while a history goes by: what
 * the txns that end them may not say.
 */
export class OwnedZnodes {
  readonly #owners = new Map<string, bigint>();
  readonly #ofSession = new Map<bigint, Set<string>>();
  /** Sessions whose whole life is in the history. */
  readonly #seenFromStart = new Set<bigint>();
  #knownFrom: bigint | null = null;

  /**
   * What a snapshot showed. Only znodes that were there before the history's first txn count: the others come with it.
   *
   * @param upTo the last txn of which the snapshot may show a trace
   */
  seed(znodes: Iterable<OwnedZnode>, firstZxid: bigint, upTo: bigint): void {
    for (const { path, owner, czxid } of znodes) if (czxid < firstZxid) this.#own(path, owner);
    this.#knownFrom = upTo;
  }

  /** 0 for a znode that is not known to be owned. */
  ownerOf(path: string): bigint {
    return this.#owners.get(path) ?? 0n;
  }

  /** The ephemerals of a session that ends with the txn, in order of their paths, and whether there can be no others. */
  endOf({ sessionId, zxid, paths }: { sessionId: bigint; zxid: bigint; paths: readonly string[] | null }): {
    readonly paths: readonly string[];
    readonly complete: boolean;
  } {
    const known = this.#ofSession.get(sessionId) ?? [];
    const complete =
      paths !== null || this.#seenFromStart.has(sessionId) || (this.#knownFrom !== null && zxid > this.#knownFrom);
    return { paths: [...new Set([...(paths ?? []), ...known])].sort(), complete };
  }

  /** Call after the txn was looked at. */
  apply(txn: Txn): void {
    switch (txn.type) {
      case "createSession":
        this.#seenFromStart.add(txn.sessionId);
        return;
      case "closeSession":
        for (const path of this.endOf(txn).paths) this.#disown(path);
        this.#ofSession.delete(txn.sessionId);
        this.#seenFromStart.delete(txn.sessionId);
        return;
      case "multi":
        // One failed part undoes all.
        if (txn.ops.every(({ type }) => type !== "error")) for (const op of txn.ops) this.#applyOp(op, txn.sessionId);
        return;
      default:
        this.#applyOp(txn, txn.sessionId);
    }
  }

  #applyOp(op: MultiOp, sessionId: bigint): void {
    if (op.type === "createContainer") this.#own(op.path, CONTAINER_OWNER);
    else if (op.type === "createTtl") this.#own(op.path, ttlOwner(op.ttlMs));
    else if (op.type === "create" || op.type === "create2") {
      if (op.ephemeral) this.#own(op.path, sessionId);
    } else if (op.type === "delete" || op.type === "deleteContainer") this.#disown(op.path);
  }

  #own(path: string, owner: bigint): void {
    this.#disown(path);
    this.#owners.set(path, owner);
    if (kindOf(owner) !== "ephemeral") return;
    const paths = this.#ofSession.get(owner);
    if (paths === undefined) this.#ofSession.set(owner, new Set([path]));
    else paths.add(path);
  }

  #disown(path: string): void {
    const owner = this.#owners.get(path);
    if (owner === undefined) return;
    this.#owners.delete(path);
    this.#ofSession.get(owner)?.delete(path);
  }
}
