import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { abortError, BackypError, type Candidacy, type CandidacyState, type JsonObject } from "@zk-backyp/core";
import { type Acl, OPEN_ACL } from "@zk-backyp/zookeeper-files";
import { formatServerAddress } from "../ensemble/server-address.ts";
import type { TlsFiles } from "../ensemble/tls-files.ts";
import { askServing } from "../server-status.ts";
import { CREATOR_ACL } from "../session/creator-acl.ts";
import type { Stat } from "../session/messages.ts";
import { msSince, now } from "../session/moment.ts";
import { openSession, type Session, type SessionAuth } from "../session/session.ts";
import { zooKeeperError, zooKeeperErrorOf } from "../session/zookeeper-error.ts";
import { candidatePrefix, inOrder, parseLabel, znodeName } from "./candidate-znodes.ts";
import type { ElectionServers } from "./election-servers.ts";

/** How to stand for election. */
export interface CandidacyOptions extends ElectionServers {
  /** The znode below which each election has its own. */
  readonly path: string;
  /** Which election: any text. */
  readonly name: string;
  /** What others are told of this one. Its host (unless it is in here), its pid and its server's role are added. */
  readonly label: Readonly<Record<string, string>>;
  readonly sessionTimeoutMs: number;
  readonly auth?: SessionAuth | undefined;
  /** For addresses with TLS. */
  readonly tls?: TlsFiles | undefined;
  /** Leaves the election. */
  readonly signal: AbortSignal;
}

/** How often the order is looked at, at the least; more often with sessions that are shorter than ten times that. */
const LOOK_MS = 3_000;
const LOOKS_IN_TIMEOUT = 10;
/** How often it is looked at whether the session is alive still, for those who listen. Who asks is told exactly. */
const CHECK_MS = 500;
/** The own server is asked for its role once in so many looks. */
const LOOKS_BETWEEN_ROLES = 10;
const ROLE_TIMEOUT_MS = 2_500;
/** How long it may take to get a session before that is a problem. */
const OPEN_MS = 5_000;
/** Between two sessions; twice that after one that could not be had, then four times, and so on. */
const PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
/** How long somebody is waited for who is only to be told of, and how long a step back may take. */
const PATIENCE_MS = 3_000;
/** Another one is preferred once in so long, so that roles which go to and fro move no candidate each time. */
const PREFERENCE_PAUSE_MS = 600_000;
/** Of so many the roles are looked at: ensembles have fewer members. */
const MAX_ROLES = 20;
const LEADER = "leader";
/** Of servers that do not have to serve the whole ensemble. */
const PREFERRED_ROLES: readonly unknown[] = ["follower", "observer"];
/** What goes away by itself, with another connection or without. `NO_NODE`: somebody has deleted what a look has found. */
const PASSING: ReadonlySet<string | undefined> = new Set([
  "CONNECTION_LOSS",
  "NO_NODE",
  "OPERATION_TIMEOUT",
  "REQUEST_TIMEOUT",
  "SESSION_MOVED",
  "THROTTLED_OP",
]);

interface Status {
  readonly state: CandidacyState;
  readonly holder: JsonObject | null;
  readonly problem: string | null;
  readonly prefersOther: boolean;
}

/** Who stands in an election, as one server sees it. */
interface Standing {
  /** This one's znodes: one, unless there is none yet or the answer to a create was lost. */
  readonly own: readonly string[];
  /** The elected one. Null where nobody stands. */
  readonly first: { readonly name: string; readonly label: JsonObject | null } | null;
  readonly others: readonly string[];
}

/**
 * A candidate among several: an ephemeral sequential znode. The first in order is elected.
 *
 * The order is read at whichever server the session is connected to, which may be behind. That is safe for who finds
 * itself first: its server has applied its own create, so it knows of all candidates before it, and numbers only grow, so
 * that nobody gets in front later. What an old view can hide is that one's own znode is gone. It goes with the session,
 * of which `isSurelyAlive` knows; or somebody deletes it by hand, which `confirm` finds out, since that writes to it.
 */
export class ZooKeeperCandidacy implements Candidacy {
  readonly #options: CandidacyOptions;
  readonly #folder: string;
  readonly #acl: Acl;
  readonly #over: AbortController = new AbortController();
  readonly #listeners: (() => void)[] = [];
  readonly #running: Promise<void>;
  readonly #checks: NodeJS.Timeout;
  #status: Status = {
    state: "unreachable",
    holder: null,
    problem: "ZooKeeper was not reached yet",
    prefersOther: false,
  };
  #since: Date = new Date();
  #session: Session | null = null;
  #uuid = "";
  /** Its own znode's name. */
  #own: string | null = null;
  #others = 0;
  #role: string | null = null;
  #isSteppingBack = false;
  #preferredAt = -Infinity;
  /** What it has told the others of itself. */
  #told = "";
  #isWoken = false;
  #endPause: () => void = () => {};
  #onLooked: (() => void)[] = [];

  constructor(options: CandidacyOptions) {
    const { path, name, auth, signal } = options;
    this.#options = options;
    this.#folder = `${path}/${znodeName(name)}`;
    this.#acl = auth === undefined ? OPEN_ACL : CREATOR_ACL;
    const onAbort = (): void => this.#over.abort(abortError(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    this.#over.signal.addEventListener("abort", () => this.#wake());
    this.#checks = setInterval(() => this.#check(), CHECK_MS).unref();
    this.#running = this.#run().finally(() => {
      clearInterval(this.#checks);
      signal.removeEventListener("abort", onAbort);
      this.#become({ state: "unreachable", problem: "this node has left the election" });
    });
  }

  get state(): CandidacyState {
    return this.#check().state;
  }

  get since(): Date {
    this.#check();
    return this.#since;
  }

  get holder(): JsonObject | null {
    return this.#check().holder;
  }

  get problem(): string | null {
    return this.#check().problem;
  }

  get prefersOther(): boolean {
    return this.#check().prefersOther;
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async confirm(signal: AbortSignal): Promise<void> {
    const cut = AbortSignal.any([signal, this.#over.signal]);
    const since = now();
    for (;;) {
      const session = this.#session;
      const own = this.#own;
      if (signal.aborted) throw abortError(signal);
      if (session === null || own === null || this.#isSteppingBack) throw await this.#notElected("it does not stand");
      let why: string | null = null;
      try {
        const { ephemeralOwner } = await this.#tell(session, own, cut);
        const { first } = await this.#standing(session, cut);
        if (first?.name !== own || ephemeralOwner !== session.id) why = "it is not the first in order";
        // A process that was paused meanwhile has its proof too late.
        else if (!session.isSurelyAlive()) why = "the proof took so long that its session may be over";
      } catch (error) {
        if (signal.aborted) throw abortError(signal);
        const name = zooKeeperErrorOf(error);
        if (name === undefined) throw error;
        // A write like this may be done twice.
        if (name === "CONNECTION_LOSS" && msSince(since) < session.timeoutMs) continue;
        throw await this.#notElected(name === "NO_NODE" ? "its znode is gone" : (error as Error).message, error);
      }
      if (why === null) return;
      throw await this.#notElected(why);
    }
  }

  async stepBack(): Promise<void> {
    // Whoever does not stand comes behind all that do.
    if (this.#session === null) return;
    const since = now();
    this.#isSteppingBack = true;
    // At once, and not only when it is done: whoever looks at the state now begins nothing.
    if (this.#others > 0 && this.#check().state === "elected") this.#become({ state: "waiting" });
    while (this.#isSteppingBack && !this.#over.signal.aborted && msSince(since) < PATIENCE_MS) await this.#nextLook();
  }

  async close(): Promise<void> {
    this.#over.abort(zooKeeperError("SESSION_CLOSED", "this node has left the election"));
    await this.#running;
  }

  /** What is known, unless it is too old. */
  #check(): Status {
    if (this.#status.state !== "unreachable" && this.#session?.isSurelyAlive() !== true) {
      const said = this.#session?.failures.join("; ") || "it does not answer";
      this.#unreachable(
        zooKeeperError("CONNECTION_LOSS", `ZooKeeper has not said in time that the session is alive: ${said}`),
      );
    }
    return this.#status;
  }

  #become(next: Partial<Status> & Pick<Status, "state">): void {
    const status: Status = { holder: null, problem: null, prefersOther: false, ...next };
    const before = this.#status;
    this.#status = status;
    if (status.state !== before.state) this.#since = new Date();
    if (JSON.stringify(status) === JSON.stringify(before)) return;
    for (const listener of this.#listeners) queueMicrotask(listener);
  }

  #unreachable(error: Error): void {
    const what = `who is elected for ${this.#folder} is not known`;
    this.#become({ state: "unreachable", problem: `${what}: ${error.message}. ${remedy(this.#options, error)}` });
  }

  /** One session after the other until it is over. */
  async #run(): Promise<void> {
    const { signal } = this.#over;
    for (let failures = 0; !signal.aborted; ) {
      try {
        const [session] = await Promise.all([this.#openSession(failures), this.#askRole()]);
        await this.#stand(session);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        this.#unreachable(error as Error);
        failures += 1;
      }
      await this.#pause(Math.min(MAX_PAUSE_MS, PAUSE_MS * 2 ** failures));
    }
  }

  /** Each time with another server first: one that hangs may take all the time there is. */
  #openSession(failures: number): Promise<Session> {
    const { tls, auth, sessionTimeoutMs } = this.#options;
    const turn = failures % this.#options.servers.length;
    const servers = [...this.#options.servers.slice(turn), ...this.#options.servers.slice(0, turn)];
    return openSession({
      servers,
      tls,
      auth,
      timeoutMs: sessionTimeoutMs,
      openMs: OPEN_MS,
      signal: this.#over.signal,
    });
  }

  /** Stands until the session is over, or something is wrong that stays: then nobody is kept waiting by its znode. */
  async #stand(session: Session): Promise<void> {
    const { signal } = this.#over;
    let isExpired = false;
    void session.ended.then(() => {
      isExpired = true;
      this.#wake();
    });
    this.#session = session;
    this.#uuid = randomUUID();
    try {
      for (let looks = 1; !isExpired && !signal.aborted; looks += 1) {
        await this.#look(session).catch((error: unknown) => {
          if (!isExpired && !PASSING.has(zooKeeperErrorOf(error))) throw error;
        });
        for (const onLooked of this.#onLooked.splice(0)) onLooked();
        if (looks % LOOKS_BETWEEN_ROLES === 0) void this.#askRole();
        await this.#pause(Math.min(LOOK_MS, session.timeoutMs / LOOKS_IN_TIMEOUT));
      }
    } finally {
      if (isExpired) this.#check();
      this.#session = null;
      this.#own = null;
      this.#others = 0;
      await session.close();
    }
  }

  async #look(session: Session): Promise<void> {
    const { signal } = this.#over;
    const mayStepBack = this.#isSteppingBack;
    let standing = await this.#standing(session, signal);
    if (mayStepBack && standing.others.length > 0) {
      this.#own = null;
      if (this.#role === LEADER) this.#preferredAt = performance.now();
      for (const name of standing.own) await this.#delete(session, name);
      standing = { ...standing, own: [] };
    }
    if (standing.own.length === 0) {
      // There may have been one, which somebody has deleted.
      if (this.#status.state === "elected") this.#become({ state: "waiting" });
      await this.#enter(session);
      standing = await this.#standing(session, signal);
    }
    const [own = null, ...more] = standing.own;
    for (const name of more) await this.#delete(session, name);
    if (own !== null && this.#told !== this.#label()) await this.#tell(session, own, signal);
    const isFirst = own !== null && standing.first?.name === own;
    const prefersOther = isFirst && (await this.#isBetterServed(session, standing.others));
    if (mayStepBack) this.#isSteppingBack = false;
    this.#own = own;
    this.#others = standing.others.length;
    if (!session.isSurelyAlive()) return;
    const isElected = isFirst && !this.#isSteppingBack;
    const holder = standing.first?.label ?? null;
    this.#become({ state: isElected ? "elected" : "waiting", holder, prefersOther: isElected && prefersOther });
  }

  async #standing(session: Session, signal: AbortSignal): Promise<Standing> {
    const names = inOrder(await session.getChildren(this.#folder, signal).catch(unlessMissing([])));
    const own = names.filter((name) => name.startsWith(candidatePrefix(this.#uuid)));
    const others = names.filter((name) => !own.includes(name));
    for (const name of names) {
      if (name === own[0]) return { own, others, first: { name, label: parseLabel(Buffer.from(this.#label())) } };
      const candidate = await this.#read(session, name, signal);
      if (candidate !== null) return { own, others, first: { name, label: candidate.label } };
    }
    return { own, others, first: null };
  }

  /** Null for one that has gone meanwhile, and for a znode that stays: no candidate leaves one. */
  async #read(session: Session, name: string, signal: AbortSignal): Promise<{ label: JsonObject | null } | null> {
    try {
      const { data, stat } = await session.getData(this.#pathOf(name), signal);
      return stat.ephemeralOwner === 0n ? null : { label: parseLabel(data) };
    } catch (error) {
      if (zooKeeperErrorOf(error) === "NO_NODE") return null;
      // It does stand, whoever it is.
      if (zooKeeperErrorOf(error) === "NO_AUTH") return { label: null };
      throw error;
    }
  }

  /** Whether this node's server leads the ensemble, and one that stands does not. */
  async #isBetterServed(session: Session, others: readonly string[]): Promise<boolean> {
    if (this.#role !== LEADER || performance.now() - this.#preferredAt < PREFERENCE_PAUSE_MS) return false;
    for (const name of others.slice(0, MAX_ROLES)) {
      const other = await this.#read(session, name, this.#over.signal);
      if (PREFERRED_ROLES.includes(other?.label?.role)) return true;
    }
    return false;
  }

  /** Creates its znode, behind all others. A create without an answer may have been done: the next look tells. */
  async #enter(session: Session): Promise<void> {
    const { signal } = this.#over;
    const path = this.#pathOf(candidatePrefix(this.#uuid));
    const label = this.#label();
    const create = (): Promise<string> =>
      session.create(path, Buffer.from(label), { acl: this.#acl, mode: "ephemeral-sequential" }, signal);
    try {
      await create();
    } catch (error) {
      if (zooKeeperErrorOf(error) !== "NO_NODE") throw error;
      await this.#makeFolder(session);
      await create();
    }
    this.#told = label;
  }

  async #makeFolder(session: Session): Promise<void> {
    const { signal } = this.#over;
    const parts = this.#folder.split("/").slice(1);
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const path = `/${parts.slice(0, depth).join("/")}`;
      // Who may not create it need not, where somebody has.
      if ((await session.exists(path, signal)) !== null) continue;
      await session.create(path, Buffer.alloc(0), { acl: this.#acl, mode: "persistent" }, signal).catch((error) => {
        if (zooKeeperErrorOf(error) !== "NODE_EXISTS") throw error;
      });
    }
  }

  /** Writes to its znode what it says of itself. */
  async #tell(session: Session, name: string, signal: AbortSignal): Promise<Stat> {
    const label = this.#label();
    const stat = await session.setData(this.#pathOf(name), Buffer.from(label), -1, signal);
    this.#told = label;
    return stat;
  }

  #delete(session: Session, name: string): Promise<void> {
    return session.delete(this.#pathOf(name), -1, this.#over.signal).catch(unlessMissing(undefined));
  }

  async #askRole(): Promise<void> {
    const { own, tls } = this.#options;
    if (own === null) return;
    const asked = askServing(own, { tls, timeoutMs: ROLE_TIMEOUT_MS }, this.#over.signal);
    this.#role = await asked.then(
      ({ role }) => role,
      () => null,
    );
  }

  #pathOf(name: string): string {
    return `${this.#folder}/${name}`;
  }

  #label(): string {
    return JSON.stringify({ host: hostname(), ...this.#options.label, pid: process.pid, role: this.#role });
  }

  /** That it is not elected, once it is known who is, unless that takes long. */
  async #notElected(why: string, cause?: unknown): Promise<BackypError> {
    await this.#nextLook();
    const { state, holder, problem } = this.#check();
    const message = `this node is not elected for ${this.#folder}: ${why}. ${
      state === "elected" ? "It is elected anew just now" : (problem ?? `Elected is ${JSON.stringify(holder)}`)
    }. The next run finds out`;
    return new BackypError("ERR_NOT_ELECTED", message, { cause, details: { election: this.#folder, holder } });
  }

  async #nextLook(): Promise<void> {
    if (this.#over.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, PATIENCE_MS);
      this.#onLooked.push(() => {
        clearTimeout(timer);
        resolve();
      });
      this.#wake();
    });
  }

  async #pause(ms: number): Promise<void> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms).unref();
        this.#endPause = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#isWoken = false;
  }

  #wake(): void {
    this.#isWoken = true;
    this.#endPause();
  }
}

/** What a request for a znode that is not there is worth. */
function unlessMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (zooKeeperErrorOf(error) === "NO_NODE") return value;
    throw error;
  };
}

function remedy({ path, servers }: CandidacyOptions, error: Error): string {
  switch (zooKeeperErrorOf(error)) {
    case "NO_AUTH":
      return `Set election.auth to what the other nodes use, grant all on ${path} to everybody who is to stand, or name another election.path on all nodes`;
    case "AUTH_FAILED":
    case "INVALID_ACL":
    case "SESSION_CLOSED_REQUIRE_SASL_AUTH":
      return "Set election.auth to what the ensemble accepts";
    case "BAD_ARGUMENTS":
    case "NO_CHILDREN_FOR_EPHEMERALS":
      return "Name another election.path on all nodes";
    case "CONNECTION_LOSS":
      return `Start the servers, or make a client port of them reachable from here: ${servers.map(formatServerAddress).join(", ")}`;
    default:
      return "It is tried again until it is known";
  }
}
