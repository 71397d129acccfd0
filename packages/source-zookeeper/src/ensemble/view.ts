import { lookup } from "node:dns/promises";
import { networkInterfaces } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { abortError, isBackypError } from "@zk-backyp/core";
import { askStatus, isAdminServer, isNotServing, type ServerStatus } from "../server-status.ts";
import type { ZooCfg } from "../zoo-cfg.ts";
import type { AskOptions } from "./ask-options.ts";
import { askMembership, configuredMembership, isSameRule, type Member, type Membership, readMyid } from "./members.ts";
import type { QuorumRule } from "./quorum.ts";
import { formatServerAddress, parseMemberAddress, type ServerAddress } from "./server-address.ts";
import type { TlsFiles } from "./tls-files.ts";

/** A member at work answers within milliseconds. */
const MEMBER_TIMEOUT_MS = 2_500;

const LOOKUP_TIMEOUT_MS = 1_000;

/** Which node to look at, and how to find its ensemble. */
export interface ViewOptions {
  /** Where this node is asked. */
  readonly server: ServerAddress;
  /** This node's `dataDir`: it holds `myid`. */
  readonly dataDir: string;
  readonly zooCfg: ZooCfg | null;
  /**
   * Where the other members are asked: `host:port`, `tls://`, `http://`, `https://`, also with the id before it (`3=host:port`),
   * which is needed where a server does not tell its id and the host is not the one in its `server.N` line. This node may
   * be among them. Default: the hosts in those lines, with the client port there, or else the port of `server`.
   */
  readonly members?: readonly string[] | undefined;
  readonly tls?: TlsFiles | undefined;
  /** How long one member may take to answer. 2.5 s if not given. */
  readonly timeoutMs?: number | undefined;
}

/** One server, and what it says of itself. */
export interface ViewedMember {
  /** Its `myid`, or null for a standalone server. */
  readonly id: number | null;
  /** For people: `server 2 (10.0.0.2:2181)`. */
  readonly name: string;
  /** Where it was asked; first the one that answered. */
  readonly addresses: readonly ServerAddress[];
  /**
   * Its plain client port as the configuration has it, or as it probably is: that of `server`, if that is a plain one.
   * Empty where nothing tells.
   */
  readonly clients: readonly ServerAddress[];
  /** Whether it is a participant: observers have no vote. */
  readonly votes: boolean;
  readonly status: ServerStatus | null;
  /** Why there is no status. */
  readonly problem: ViewProblem | null;
}

/** `not-serving`: it did answer, but has no quorum, or is starting. */
interface ViewProblem {
  readonly kind: "not-serving" | "no-answer";
  readonly message: string;
}

/** Why it is not certain who belongs to the ensemble. */
interface ViewDoubt {
  readonly reason: "unknown-members" | "members-differ" | "wrong-server";
  readonly message: string;
}

/** An ensemble as one of its nodes sees it at a moment. */
export interface EnsembleView {
  readonly self: ViewedMember;
  readonly others: readonly ViewedMember[];
  /** The one that says it leads, if exactly one does. */
  readonly leader: ViewedMember | null;
  /** Null for a standalone server, and where nothing tells the members. */
  readonly rule: QuorumRule | null;
  /** Null when all that tell of the members agree. */
  readonly doubt: ViewDoubt | null;
}

/**
 * Asks a node and all other members of its ensemble at the same time. That one cannot be asked, whichever it is, is part
 * of the view and no error.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` when a file for TLS cannot be used
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when `myid`, `zoo.cfg` or its dynamic file cannot be understood
 */
export async function viewEnsemble(options: ViewOptions, signal: AbortSignal): Promise<EnsembleView> {
  if (signal.aborted) throw abortError(signal);
  const ask: AskOptions = { tls: options.tls, timeoutMs: options.timeoutMs ?? MEMBER_TIMEOUT_MS };
  const { server, zooCfg } = options;
  const [answer, told, configured, myid] = await Promise.all([
    askOne(server, ask, signal),
    askMembership(server, ask, signal),
    zooCfg === null ? null : configuredMembership(zooCfg),
    readMyid(options.dataDir),
  ]);
  const isStandalone = answer.status?.role === "standalone";
  const membership = isStandalone ? null : chooseMembership(server, told, configured);
  const id = isStandalone ? null : (answer.status?.serverId ?? myid);
  const line = membership?.members.find((member) => member.id === id);
  const self: ViewedMember = {
    id,
    name: nameOf(id, [server]),
    addresses: [server],
    clients: clientsOf(line, server),
    votes: line?.votes ?? false,
    ...answer,
  };
  const rest = membership?.members.filter((member) => member.id !== id) ?? [];
  const others =
    options.members === undefined
      ? await askLines(rest, server, ask, signal)
      : await askNamed(rest, options.members, server, ask, signal);
  const leaders = [self, ...others].filter(({ status }) => status?.role === "leader");
  return {
    self,
    others,
    leader: leaders.length === 1 ? (leaders[0] ?? null) : null,
    rule: membership?.rule ?? null,
    doubt: doubtIn({ server, status: answer.status, told, configured, membership, id, myid, line }),
  };
}

interface Answer {
  readonly status: ServerStatus | null;
  readonly problem: ViewProblem | null;
}

/** What the server itself says comes first; but the AdminServer tells nothing of groups and observers. */
function chooseMembership(
  server: ServerAddress,
  told: Membership | null,
  configured: Membership | null,
): Membership | null {
  return isAdminServer(server) ? configured : (told ?? configured);
}

interface Known {
  readonly server: ServerAddress;
  readonly status: ServerStatus | null;
  readonly told: Membership | null;
  readonly configured: Membership | null;
  readonly membership: Membership | null;
  readonly id: number | null;
  readonly myid: number | null;
  readonly line: Member | undefined;
}

function doubtIn({ server, status, told, configured, membership, id, myid, line }: Known): ViewDoubt | null {
  const where = formatServerAddress(server);
  if (status?.role === "standalone") {
    if (configured === null || configured.rule.voters.length < 2) return null;
    const voters = configured.rule.voters.length;
    const message = `${where} says it is standalone, but zoo.cfg names ${voters} voters: is it this server's zoo.cfg, or was the server started with another one?`;
    return { reason: "members-differ", message };
  }
  if (status !== null && status.serverId !== null && myid !== null && status.serverId !== myid) {
    const message = `${where} is server ${status.serverId}, but myid in the dataDir says ${myid}: does the address belong to another server?`;
    return { reason: "wrong-server", message };
  }
  if (membership === null) {
    const hint = isAdminServer(server)
      ? ". The AdminServer tells nothing of groups and observers"
      : ", or allow conf in its 4lw.commands.whitelist";
    const message = `nothing tells the members of the ensemble: name the server's zoo.cfg${hint}`;
    return { reason: "unknown-members", message };
  }
  if (told !== null && configured !== null && !isSame(server, told, configured)) {
    const list = ({ rule }: Membership): string => rule.voters.join(", ");
    const message = `${where} has the voters ${list(told)}, but its zoo.cfg has ${list(configured)}, or other groups: is it this server's zoo.cfg? If the ensemble is being changed, wait until every member runs with the new configuration`;
    return { reason: "members-differ", message };
  }
  if (id === null) {
    const message = `the id of ${where} is not known: there is no myid in its dataDir, and the server does not tell`;
    return { reason: "unknown-members", message };
  }
  if (line === undefined) {
    const ids = membership.members.map((member) => member.id).join(", ");
    return { reason: "members-differ", message: `server ${id} (${where}) is none of the ensemble's members, ${ids}` };
  }
  return null;
}

function isSame(server: ServerAddress, told: Membership, configured: Membership): boolean {
  const groups = isAdminServer(server) ? null : configured.rule.groups;
  return isSameRule(told.rule, { ...configured.rule, groups });
}

async function askOne(address: ServerAddress, ask: AskOptions, signal: AbortSignal): Promise<Answer> {
  try {
    return { status: await askStatus(address, ask, signal), problem: null };
  } catch (error) {
    if (!isBackypError(error, "ERR_SOURCE_UNAVAILABLE")) throw error;
    return {
      status: null,
      problem: { kind: isNotServing(error) ? "not-serving" : "no-answer", message: error.message },
    };
  }
}

/** The plain client port of a member, to the best of our knowledge. */
function clientsOf(line: Member | undefined, server: ServerAddress): ServerAddress[] {
  const port = line?.client?.port ?? (server.scheme === undefined ? server.port : undefined);
  if (line === undefined || port === undefined) return [];
  const hosts = line.client === null || line.client.host === null ? line.hosts : [line.client.host];
  return hosts.map((host) => ({ host, port }));
}

/** Asks the members where their lines in the configuration say, in the way in which this node is asked. */
async function askLines(
  lines: readonly Member[],
  server: ServerAddress,
  ask: AskOptions,
  signal: AbortSignal,
): Promise<ViewedMember[]> {
  const asked = await Promise.all(
    lines.map(async (line): Promise<Asked> => {
      const clients = clientsOf(line, server);
      // TLS and the AdminServer have a port of their own, which no line tells.
      const addresses = server.scheme === undefined ? clients : line.hosts.map((host) => ({ ...server, host }));
      const answers = await Promise.all(addresses.map((address) => askOne(address, ask, signal)));
      return {
        line,
        clients,
        found: addresses.map((address, index) => ({ address, answer: answers[index] ?? SILENT })),
      };
    }),
  );
  return settle(asked, server);
}

/** Asks the members at the addresses that somebody has named, and finds out which of them is which. */
async function askNamed(
  lines: readonly Member[],
  named: readonly string[],
  server: ServerAddress,
  ask: AskOptions,
  signal: AbortSignal,
): Promise<ViewedMember[]> {
  const answers = await Promise.all(
    named.map(async (text) => {
      const { id, address } = parseMemberAddress(text);
      return { id, address, answer: await askOne(address, ask, signal) };
    }),
  );
  const hostsOf = ({ hosts, client }: Member): string[] => [...hosts, ...(client?.host == null ? [] : [client.host])];
  const owner = ({ id, address, answer }: (typeof answers)[number]): number | null => {
    const known = id ?? answer.status?.serverId ?? null;
    if (known !== null) return known;
    const [byHost, ...more] = lines.filter((line) => hostsOf(line).includes(address.host));
    // Two members on one host cannot be told apart by it.
    return byHost !== undefined && more.length === 0 ? byHost.id : null;
  };
  const owned = answers.map((one) => ({ ...one, owner: owner(one) }));
  const unowned = owned.flatMap(({ owner, address, answer }) =>
    owner === null ? [answer.problem?.message ?? `${formatServerAddress(address)} does not tell its id`] : [],
  );
  return settle(
    lines.map((line) => ({
      line,
      clients: clientsOf(line, server),
      found: owned.filter((one) => one.owner === line.id).map(({ address, answer }) => ({ address, answer })),
    })),
    server,
    unowned,
  );
}

interface Asked {
  readonly line: Member;
  readonly clients: readonly ServerAddress[];
  readonly found: readonly { readonly address: ServerAddress; readonly answer: Answer }[];
}

const SILENT: Answer = { status: null, problem: { kind: "no-answer", message: "it was not asked" } };

/**
 * Takes for each member the answer that counts, and none that another server may have given. `unowned` is what is wrong
 * with addresses that belong to nobody known.
 */
async function settle(
  asked: readonly Asked[],
  server: ServerAddress,
  unowned: readonly string[] = [],
): Promise<ViewedMember[]> {
  const endpoints = await Promise.all(
    asked.map(({ found }) => Promise.all(found.map(({ address }) => endpointOf(address)))),
  );
  const own = await endpointOf(server);
  return asked.map(({ line, clients, found }, index): ViewedMember => {
    const taken = new Set([own, ...endpoints.flatMap((some, other) => (other === index ? [] : some))]);
    const judged = found.map(({ address, answer }, nth) => {
      const where = formatServerAddress(address);
      const id = answer.status?.serverId;
      let wrong: string | null = null;
      if (id != null && id !== line.id) wrong = `${where} is server ${id}; name this one's address in members`;
      // Whoever does not tell who it is, might be counted twice.
      else if (id == null && taken.has(endpoints[index]?.[nth] ?? "")) {
        wrong = `${where} is another member's address, too, as far as is known; name this one's in members`;
      }
      return {
        address,
        answer: wrong === null ? answer : ({ status: null, problem: { kind: "no-answer", message: wrong } } as Answer),
      };
    });
    const [best, ...rest] = judged.toSorted((a, b) => rank(a.answer) - rank(b.answer));
    const addresses = best === undefined ? [] : [best, ...rest].map(({ address }) => address);
    const unknown = [`no address in members is known to be its; write it as ${line.id}=host:port`, ...unowned].join(
      "; ",
    );
    return {
      id: line.id,
      name: nameOf(line.id, addresses),
      addresses,
      clients,
      votes: line.votes,
      ...(best?.answer ?? { status: null, problem: { kind: "no-answer", message: unknown } }),
    };
  });
}

function rank({ status, problem }: Answer): number {
  if (status !== null) return 0;
  return problem?.kind === "not-serving" ? 1 : 2;
}

function nameOf(id: number | null, addresses: readonly ServerAddress[]): string {
  const where = addresses.map(formatServerAddress).join(", ");
  if (id === null) return where;
  return where === "" ? `server ${id}` : `server ${id} (${where})`;
}

/** Which socket an address leads to. All names of this machine are one: a server listens on all of them by default. */
async function endpointOf({ host, port }: ServerAddress): Promise<string> {
  // A name server may take its time; a member that has answered was found by then.
  const given = sleep(LOOKUP_TIMEOUT_MS, host, { ref: false });
  const ip = await Promise.race([lookup(host).then(({ address }) => address), given]).catch(() => host);
  const isLocal =
    /^(::ffff:)?127\./.test(ip) ||
    Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === ip));
  return `${isLocal ? "local" : ip}:${port}`;
}
