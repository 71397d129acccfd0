import { OPEN_ACL_ID } from "../acl.ts";
import { JuteWriter } from "../jute/jute-writer.ts";
import { encodeAcl } from "../log/encode-acl.ts";
import type { Problem } from "../problem.ts";
import type { ServerRelease } from "../server/server-release.ts";
import { formatZxid } from "../zxid.ts";
import type { SnapshotAclIds } from "./acl-table.ts";
import { NONE, type ZnodeTable } from "./znode-table.ts";

/** Where a txn stands. All null: after the last one. */
interface Place {
  readonly zxid: bigint | null;
  readonly file: string | null;
  readonly offset: number | null;
}

const AT_THE_END: Place = { zxid: null, file: null, offset: null };

/**
 * Watches a replay for the one thing that keeps servers since 3.8.4 and 3.9.2 from starting on files that are whole
 * (ZOOKEEPER-4689). A snapshot is written ACLs first, so its nodes may refer to ACLs that were new then. These releases
 * look the ACL of a node up when they replay a change of its data, its deletion, or the creation or deletion of a child;
 * and end if it is not there. So do older ones into which a distribution has put the change behind that, the fix of
 * CVE-2024-23944: Debian 12's 3.8.0 is like 3.8.4.
 *
 * Only for snapshots that have such nodes. It takes some memory for every node that the logs make or give an ACL.
 */
export class DanglingAcls {
  readonly #table: ZnodeTable;
  readonly #servers: readonly ServerAcls[];
  #place: Place = AT_THE_END;
  #isUsed = false;
  #first: (Place & { readonly path: string }) | null = null;
  #count = 0;

  constructor(table: ZnodeTable, ids: SnapshotAclIds) {
    this.#table = table;
    this.#servers = [
      new ServerAcls(table, ids, ["3.8.4", "3.9.2", "3.9.3"], false),
      new ServerAcls(table, ids, ["3.8.5", "3.9.4"], true),
    ];
  }

  /** What comes now is of this txn. */
  beginTxn(place: Place): void {
    this.#place = place;
    this.#isUsed = false;
  }

  /** The server looks the node's ACL up. */
  use(node: number): void {
    for (const server of this.#servers) {
      if (!server.isMissing(node)) continue;
      server.isRefusing = true;
      if (!this.#isUsed) this.#count += 1;
      this.#isUsed = true;
      this.#first ??= { ...this.#place, path: this.#table.pathOf(node) };
    }
  }

  /** A node was made, with the ACL at `start` of a txn. */
  create(node: number, bytes: Buffer, start: number, end: number): void {
    const text = textOf(bytes, start, end);
    for (const server of this.#servers) server.create(node, text);
  }

  /** A node is to be made that is there. Before the table has taken the ACL. */
  createExisting(node: number, bytes: Buffer, start: number, end: number): void {
    const text = textOf(bytes, start, end);
    for (const server of this.#servers) server.createExisting(node, text);
  }

  /** Before the table has taken the ACL. */
  setAcl(node: number, bytes: Buffer, start: number, end: number): void {
    const text = textOf(bytes, start, end);
    for (const server of this.#servers) server.setAcl(node, text);
  }

  /** Before the table has removed the node. */
  remove(node: number, parent: number): void {
    this.use(node);
    for (const server of this.#servers) server.remove(node);
    this.use(parent);
  }

  /** There are no more txns. A server now deletes what belonged to sessions that it does not know. */
  end(): void {
    const table = this.#table;
    this.beginTxn(AT_THE_END);
    for (const owner of table.owners()) {
      if (table.sessions.has(owner)) continue;
      for (let node = table.firstOfOwner(owner); node !== NONE; node = table.nextOfOwner(node)) {
        this.remove(node, table.parentOf(node));
      }
    }
  }

  /** Those that end in this replay; none if there is nothing wrong. */
  get refusedBy(): readonly ServerRelease[] {
    return this.#servers.flatMap(({ isRefusing, releases }) => (isRefusing ? releases : [])).toSorted();
  }

  get problem(): Problem | null {
    const first = this.#first;
    if (first === null) return null;
    const isSinceAll = this.#servers.every(({ isRefusing }) => isRefusing);
    const who = isSinceAll
      ? "from 3.8.4 and 3.9.2 on"
      : this.refusedBy.includes("3.8.4")
        ? "of 3.8.4, 3.9.2 and 3.9.3"
        : "from 3.8.5 and 3.9.4 on";
    const others = this.#count === 1 ? "" : `, and ${this.#count - 1} later txns of the same kind`;
    const message =
      `${first.zxid === null ? "the deletion of what ended sessions left" : formatZxid(first.zxid)} needs the ACL of ${first.path}, which the snapshot does not hold and no txn before it has ` +
      `set${others}: servers ${who} do not start with these files (ZOOKEEPER-4689), nor do those that a distribution has ` +
      "given the fix of CVE-2024-23944. Take an older snapshot and the logs after it, or a newer one";
    return { severity: "fatal", code: "DANGLING_ACL_USED", file: first.file, offset: first.offset, message };
  }
}

/**
 * The ids that a server of some releases has for the ACLs of nodes, as it replays a log. It numbers ACLs that are new to
 * it upwards from the highest id of the snapshot, so that a dangling id may come to stand for an ACL again, often for the
 * right one; and it forgets an ACL when it has been taken from as many nodes as it was given to. A node with a dangling
 * id was not counted, so that taking its ACL away may make others dangle.
 */
class ServerAcls {
  readonly releases: readonly ServerRelease[];
  isRefusing = false;
  readonly #table: ZnodeTable;
  /** Whether a node that is to be made and is there gets the ACL (ZOOKEEPER-4846). */
  readonly #repairsExisting: boolean;
  readonly #ofTable: ReadonlyMap<number, bigint>;
  /** Of nodes that have another one than the snapshot said, or a dangling one. */
  readonly #ofNode: Map<number, bigint>;
  readonly #acls = new Map<bigint, { readonly text: string; uses: number }>();
  readonly #byText = new Map<string, bigint>();
  #highest: bigint;

  constructor(
    table: ZnodeTable,
    { listed, dangling, highest }: SnapshotAclIds,
    releases: readonly ServerRelease[],
    repairsExisting: boolean,
  ) {
    this.#table = table;
    this.#ofTable = listed;
    this.#ofNode = new Map(dangling);
    // An empty tree has given one to /zookeeper/config before the snapshot is read into it.
    this.#highest = highest > 1n ? highest : 1n;
    this.releases = releases;
    this.#repairsExisting = repairsExisting;
    const writer = new JuteWriter();
    for (const [index, id] of listed) {
      encodeAcl(writer, table.acls.get(index));
      const text = writer.take().toString("latin1");
      this.#acls.set(id, { text, uses: table.acls.usesOf(index) });
      this.#byText.set(text, id);
    }
  }

  isMissing(node: number): boolean {
    const id = this.#idOf(node);
    return id !== OPEN_ACL_ID && !this.#acls.has(id);
  }

  create(node: number, text: string | null): void {
    this.#ofNode.set(node, this.#retain(text));
  }

  createExisting(node: number, text: string | null): void {
    const before = this.#idOf(node);
    const id = this.#retain(text);
    // What the node had is not given back.
    this.#ofNode.set(node, this.#repairsExisting ? id : before);
  }

  setAcl(node: number, text: string | null): void {
    this.#release(this.#idOf(node));
    this.#ofNode.set(node, this.#retain(text));
  }

  remove(node: number): void {
    this.#release(this.#idOf(node));
    this.#ofNode.delete(node);
  }

  #idOf(node: number): bigint {
    return this.#ofNode.get(node) ?? this.#ofTable.get(this.#table.aclOf(node)) ?? OPEN_ACL_ID;
  }

  #retain(text: string | null): bigint {
    if (text === null) return OPEN_ACL_ID;
    const known = this.#byText.get(text);
    const acl = known === undefined ? undefined : this.#acls.get(known);
    if (known !== undefined && acl !== undefined) {
      acl.uses += 1;
      return known;
    }
    this.#highest += 1n;
    this.#acls.set(this.#highest, { text, uses: 1 });
    this.#byText.set(text, this.#highest);
    return this.#highest;
  }

  #release(id: bigint): void {
    const acl = this.#acls.get(id);
    if (acl === undefined) return;
    acl.uses -= 1;
    if (acl.uses > 0) return;
    this.#acls.delete(id);
    this.#byText.delete(acl.text);
  }
}

/** Null stands for the open ACL. */
function textOf(bytes: Buffer, start: number, end: number): string | null {
  return bytes.readInt32BE(start) === -1 ? null : bytes.toString("latin1", start, end);
}
