import { createHash } from "node:crypto";
import type { ReleaseLine } from "@zk-backyp/testbed";
import { type ExpectedNode, ExpectedTree } from "./expected-tree.ts";
import { type AclEntry, connectWire, OPEN_ACL, type WireClient, type Write } from "./wire-client.ts";

const USER = "writer";
const PASSWORD = "secret";
const DIGEST = createHash("sha1").update(`${USER}:${PASSWORD}`).digest("base64");
const OURS: readonly AclEntry[] = [
  { permissions: 31, scheme: "digest", id: `${USER}:${DIGEST}` },
  { permissions: 1, scheme: "world", id: "anyone" },
];
const READ_ONLY: readonly AclEntry[] = [
  { permissions: 17, scheme: "digest", id: `${USER}:${DIGEST}` },
  { permissions: 1, scheme: "ip", id: "127.0.0.1" },
];
const HOUR_MS = 3_600_000;
const [NO_NODE, BAD_VERSION, NO_CHILDREN_FOR_EPHEMERALS, NODE_EXISTS, NOT_EMPTY] = [-101, -103, -108, -110, -111];

/** A session that may read and change all that a {@link MixedWriter} wrote. */
export async function connectOwner(port: number, sessionTimeoutMs?: number): Promise<WireClient> {
  const client = await connectWire(port, sessionTimeoutMs);
  await client.authenticate(USER, PASSWORD);
  return client;
}

/**
 * Writes everything that a release knows, round after round: znodes of every kind, ACLs, sequences, null and empty and
 * large data, unicode names, refused writes, multis that succeed and that fail, sessions that end. It keeps a record of
 * what must be there below {@link root} after each transaction. Below {@link wildRoot} are containers and TTL znodes
 * that the server removes at moments of its own, which are not recorded.
 */
export class MixedWriter {
  readonly root: string;
  readonly wildRoot: string;
  readonly #line: ReleaseLine;
  readonly #port: number;
  readonly #client: WireClient;
  readonly #record: ExpectedTree = new ExpectedTree();
  #round = 0;
  #stopping = false;
  #writing: Promise<void> | undefined;

  private constructor(client: WireClient, line: ReleaseLine, port: number, root: string) {
    this.#client = client;
    this.#line = line;
    this.#port = port;
    this.root = root;
    this.wildRoot = `${root}-wild`;
  }

  /** Opens a session, and creates both roots, which must not exist. */
  static async open(port: number, line: ReleaseLine, root: string): Promise<MixedWriter> {
    const writer = new MixedWriter(await connectOwner(port), line, port, root);
    await writer.#write({ type: "create", path: root, data: Buffer.from("root") });
    await writer.#write({ type: "create", path: `${root}/sessions`, data: null });
    await writer.#client.write({ type: "create", path: writer.wildRoot, data: null });
    return writer;
  }

  /** Writes that many rounds, some 40 transactions each. */
  async rounds(count: number): Promise<void> {
    for (let done = 0; done < count; done += 1) await this.#writeRound();
  }

  /** Goes on writing until {@link stop}. */
  start(): void {
    const write = async (): Promise<void> => {
      while (!this.#stopping) await this.#writeRound();
    };
    this.#writing = write();
    // It is stop that tells.
    this.#writing.catch(() => {});
  }

  /** Ends the writing; the session goes on, with its ephemeral znodes. Rejects if an answer was not the expected one. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#writing;
  }

  /** Ends the session. */
  async close(): Promise<void> {
    this.#record.sessionEnded(await this.#client.close(), this.#client.sessionId);
  }

  /** Drops the connection; for a server that is gone. */
  abandon(): void {
    this.#client.abandon();
  }

  /** The znodes below the root, and itself, right after the transaction `zxid`. Every answer up to it must be there. */
  treeAt(zxid: bigint): Map<string, ExpectedNode> {
    return this.#record.at(zxid);
  }

  async #writeRound(): Promise<void> {
    this.#round += 1;
    const path = `${this.root}/${this.#round}`;
    const since35 = this.#line !== "3.4";
    await this.#write({ type: "create", path, data: Buffer.from(`round ${this.#round}`) });
    await Promise.all([
      this.#writeData(path),
      this.#writeAcls(path),
      this.#writeTogether(path),
      this.#writeRefused(path),
      this.#writeEphemerals(path),
      ...(since35 ? [this.#writeKinds(path), this.#writeWild()] : []),
    ]);
    if (this.#round % 4 === 0) await this.#runSession();
    if (this.#round % 3 === 0) await this.#clearRound(this.#round - 2);
  }

  async #writeData(path: string): Promise<void> {
    const large = this.#round % 20 === 0 ? 900_000 : 2_000;
    const every = Buffer.from(Array.from({ length: 256 }, (_, value) => value));
    await this.#all(
      { type: "create", path: `${path}/null`, data: null },
      { type: "create", path: `${path}/empty`, data: Buffer.alloc(0) },
      { type: "create", path: `${path}/bytes`, data: every },
      { type: "create", path: `${path}/large`, data: Buffer.alloc(large, this.#round) },
      { type: "create", path: `${path}/Grüße 你好`, data: Buffer.from("Grüße, 你好, 😀") },
      { type: "create", path: `${path}/Grüße 你好/κόσμε`, data: null },
      { type: "create", path: `${path}/job-`, data: Buffer.from("1"), sequential: true },
      { type: "create", path: `${path}/job-`, data: Buffer.from("2"), sequential: true },
      { type: "setData", path: `${path}/null`, data: Buffer.from("no more") },
      { type: "setData", path: `${path}/bytes`, data: null, version: 0 },
      { type: "setData", path: `${path}/bytes`, data: Buffer.alloc(0), version: 1 },
      { type: "delete", path: `${path}/empty`, version: 0 },
      { type: "create", path: `${path}/empty`, data: Buffer.alloc(0) },
    );
  }

  async #writeAcls(path: string): Promise<void> {
    await this.#all(
      { type: "create", path: `${path}/acl`, data: Buffer.from("guarded"), acl: OURS },
      { type: "create", path: `${path}/acl/open`, data: null },
      { type: "setAcl", path: `${path}/acl/open`, acl: READ_ONLY },
      { type: "setAcl", path: `${path}/acl`, acl: READ_ONLY, version: 0 },
      { type: "setAcl", path: `${path}/acl`, acl: this.#round % 2 === 0 ? OURS : OPEN_ACL },
      // An ACL that nobody has used before, so that a snapshot may show it in a znode and not in its table of ACLs. Only
      // on a znode without children: had it any, servers since 3.8.4 and 3.9.2 might not load what servers wrote
      // (ZOOKEEPER-4689).
      { type: "create", path: `${path}/own-acl`, data: null },
      { type: "setAcl", path: `${path}/own-acl`, acl: [...OPEN_ACL, ...OURS, this.#ownAclEntry()] },
    );
  }

  #ownAclEntry(): AclEntry {
    return { permissions: 1, scheme: "ip", id: `10.0.${this.#round >> 8}.${this.#round & 255}` };
  }

  async #writeKinds(path: string): Promise<void> {
    await this.#all(
      { type: "create", path: `${path}/stat`, data: null, answersStat: true },
      { type: "create", path: `${path}/stat/job-`, data: null, answersStat: true, sequential: true },
      { type: "create", path: `${path}/container`, data: null, kind: "container" },
      { type: "create", path: `${path}/container/child`, data: null },
      { type: "create", path: `${path}/ttl`, data: Buffer.from("an hour"), kind: "ttl", ttlMs: HOUR_MS },
      { type: "create", path: `${path}/ttl-`, data: null, kind: "ttl", ttlMs: HOUR_MS, sequential: true },
      { type: "setData", path: `${path}/ttl`, data: Buffer.from("an hour more") },
    );
    await this.#multi([
      { type: "create", path: `${path}/container/of-multi`, data: null, kind: "container" },
      { type: "create", path: `${path}/container/of-multi/ttl`, data: null, kind: "ttl", ttlMs: HOUR_MS },
    ]);
  }

  /** What the server removes: a container that has lost its child, and a TTL znode. */
  async #writeWild(): Promise<void> {
    const container = `${this.wildRoot}/container-${this.#round}`;
    const ttl = `${this.wildRoot}/ttl-${this.#round}`;
    await Promise.all([
      this.#client.write({ type: "create", path: container, data: null, kind: "container" }),
      this.#client.write({ type: "create", path: `${container}/child`, data: null }),
      this.#client.write({ type: "delete", path: `${container}/child` }),
      this.#client.write({ type: "create", path: ttl, data: null, kind: "ttl", ttlMs: 300 }),
    ]);
  }

  async #writeEphemerals(path: string): Promise<void> {
    await this.#all(
      { type: "create", path: `${path}/ephemeral`, data: Buffer.from("here"), kind: "ephemeral" },
      { type: "create", path: `${path}/lock-`, data: null, kind: "ephemeral", sequential: true },
      { type: "setData", path: `${path}/ephemeral`, data: Buffer.from("still here") },
    );
    await this.#refused({ type: "create", path: `${path}/ephemeral/child`, data: null }, NO_CHILDREN_FOR_EPHEMERALS);
    if (this.#round % 2 === 0) await this.#write({ type: "delete", path: `${path}/ephemeral` });
  }

  async #writeTogether(path: string): Promise<void> {
    const together = `${path}/together`;
    await this.#multi([
      { type: "create", path: together, data: null },
      { type: "create", path: `${together}/a`, data: Buffer.from("a"), acl: OURS },
      { type: "create", path: `${together}/job-`, data: null, sequential: true },
      { type: "create", path: `${together}/ephemeral`, data: null, kind: "ephemeral" },
      { type: "check", path: `${together}/a`, version: 0 },
      { type: "setData", path: `${together}/a`, data: Buffer.from("b") },
      { type: "create", path: `${together}/gone`, data: null },
      { type: "delete", path: `${together}/gone` },
    ]);
    await this.#multi([]);
    const fails: Write = { type: "delete", path: `${together}/never` };
    const good: Write = { type: "create", path: `${together}/refused`, data: null };
    const set: Write = { type: "setData", path: `${together}/a`, data: Buffer.from("never") };
    for (const operations of [
      [fails, good, set],
      [good, fails, set],
      [good, set, fails],
    ]) {
      const { error } = await this.#client.multi(operations);
      if (error !== NO_NODE) throw new Error(`a multi had to be refused with ${NO_NODE}, not ${error}`);
    }
  }

  async #writeRefused(path: string): Promise<void> {
    await this.#refused({ type: "create", path, data: null }, NODE_EXISTS);
    await this.#refused({ type: "create", path: `${path}/no/parent`, data: null }, NO_NODE);
    await this.#refused({ type: "setData", path, data: null, version: 7 }, BAD_VERSION);
    await this.#refused({ type: "setAcl", path: `${path}/never`, acl: OPEN_ACL }, NO_NODE);
    await this.#refused({ type: "delete", path: this.root }, NOT_EMPTY);
  }

  /** A short session of its own, whose ephemeral znodes go with it. */
  async #runSession(): Promise<void> {
    const other = await connectOwner(this.#port);
    const path = `${this.root}/sessions/${this.#round}`;
    for (const name of ["a", "b"]) {
      const write: Write = { type: "create", path: `${path}${name}`, data: Buffer.from(name), kind: "ephemeral" };
      this.#record.wrote((await succeeds(other, write)).zxid, other.sessionId, [write]);
    }
    this.#record.sessionEnded(await other.close(), other.sessionId);
  }

  /** Removes an old round, leaves first. */
  async #clearRound(round: number): Promise<void> {
    const top = `${this.root}/${round}`;
    const paths = [...this.#record.at(2n ** 62n).keys()].filter((path) => path === top || path.startsWith(`${top}/`));
    await this.#all(...paths.sort((a, b) => (a < b ? 1 : -1)).map((path): Write => ({ type: "delete", path })));
  }

  async #all(...writes: readonly Write[]): Promise<void> {
    await Promise.all(writes.map((write) => this.#write(write)));
  }

  async #write(write: Write): Promise<void> {
    const { zxid, paths } = await succeeds(this.#client, write);
    this.#record.wrote(zxid, this.#client.sessionId, [asAnswered(write, paths[0])]);
  }

  async #multi(writes: readonly Write[]): Promise<void> {
    const { zxid, error, paths } = await this.#client.multi(writes);
    if (error !== 0) throw new Error(`a multi was answered ${error}`);
    this.#record.wrote(
      zxid,
      this.#client.sessionId,
      writes.map((write, index) => asAnswered(write, paths[index])),
    );
  }

  async #refused(write: Write, code: number): Promise<void> {
    const { error } = await this.#client.write(write);
    if (error !== code) throw new Error(`${write.type} ${write.path} had to be refused with ${code}, not ${error}`);
  }
}

async function succeeds(client: WireClient, write: Write): ReturnType<WireClient["write"]> {
  const answer = await client.write(write);
  if (answer.error !== 0) throw new Error(`${write.type} ${write.path} was answered ${answer.error}`);
  return answer;
}

function asAnswered(write: Write, path: string | null | undefined): Write {
  return typeof path === "string" ? { ...write, path } : write;
}
