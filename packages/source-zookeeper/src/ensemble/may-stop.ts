import { holdsQuorum, type QuorumRule, spareVoters } from "./quorum.ts";
import type { EnsembleView, ViewedMember } from "./view.ts";

/** What the owner of an ensemble allows. */
export interface StopPolicy {
  /** A leader that stops makes the others elect a new one; clients wait meanwhile. */
  readonly ifLeader: "skip" | "proceed";
  /** Whether a server may be stopped that nobody stands in for. */
  readonly allowStandalone: boolean;
}

/**
 * Why a node may not be stopped.
 *
 * | reason | meaning |
 * | --- | --- |
 * | `not-serving` | the node does not answer, has no quorum, or is read-only: something is wrong already |
 * | `standalone` | nobody would serve meanwhile |
 * | `unknown-members` | nothing tells who belongs to the ensemble |
 * | `members-differ` | the server and its `zoo.cfg` name different voters |
 * | `wrong-server` | the address belongs to another server than the files |
 * | `digest-mismatch` | the node's data has differed from its leader's |
 * | `two-leaders` | the members do not follow one and the same leader |
 * | `quorum` | the voters that are left would hold no quorum |
 * | `leader` | the node leads, and is not to be stopped then; nothing else is against it |
 */
export type RefusalReason =
  | "not-serving"
  | "standalone"
  | "unknown-members"
  | "members-differ"
  | "wrong-server"
  | "digest-mismatch"
  | "two-leaders"
  | "quorum"
  | "leader";

/** Whether a node may be stopped now. */
export type StopDecision =
  | {
      readonly stop: true;
      /** `leader`, `follower`, `observer` or `standalone`. */
      readonly role: string;
      /** How many voters may fail, whichever they are, while the node is down, before the quorum is lost. */
      readonly spareVoters: number;
      /**
       * What the node has to reach again until it has caught up: the last transaction that any member has applied, or 0.
       * A leader without new transactions shows `epoch<<32`, which no transaction carries and no follower has to reach.
       */
      readonly leaderZxid: bigint;
    }
  | {
      readonly stop: false;
      readonly reason: RefusalReason;
      /** For people: what is wrong, with which servers, and what to do. */
      readonly message: string;
    };

/**
 * Decides whether a node may be stopped without the ensemble losing its quorum. Members that cannot be asked count as
 * down, and so does whatever else is not certain.
 */
export function mayStop(view: EnsembleView, policy: StopPolicy): StopDecision {
  const { self, rule } = view;
  const refuse = (reason: RefusalReason, message: string): StopDecision => ({
    stop: false,
    reason,
    message: `${self.name} is not stopped: ${message}`,
  });

  const { status } = self;
  if (status === null) {
    return refuse("not-serving", `${self.problem?.message}. Bring it back to work first, or back up another member`);
  }
  const stop = (spare: number): StopDecision => ({
    stop: true,
    role: status.role,
    spareVoters: spare,
    leaderZxid: lastTransaction(view),
  });
  if (view.doubt !== null) return refuse(view.doubt.reason, view.doubt.message);
  const nobodyElse = "nobody would serve meanwhile. Use mode hot, or set allowStandalone";
  if (status.role === "standalone") {
    return policy.allowStandalone ? stop(0) : refuse("standalone", `it is standalone, and ${nobodyElse}`);
  }
  if (!["leader", "follower", "observer"].includes(status.role) || rule === null) {
    return refuse("not-serving", `its role is "${status.role}": it has no quorum. Look for the other members first`);
  }
  if ((status.digestMismatches ?? 0) > 0) {
    return refuse(
      "digest-mismatch",
      `its data has differed from its leader's ${status.digestMismatches} times (zk_digest_mismatches_count), and a restart would hide that. Back up another member, and replace this one's data`,
    );
  }
  if (self.votes && rule.voters.length === 1) {
    return policy.allowStandalone ? stop(0) : refuse("standalone", `it is the only voter, and ${nobodyElse}`);
  }

  const disagreement = whoDisagrees(view);
  if (disagreement !== null) {
    return refuse(
      "two-leaders",
      `${disagreement}. An election may be under way: try again, then look at their networks`,
    );
  }
  const left = view.others.filter(isVoterAtWork).map(({ id }) => id as number);
  if (!holdsQuorum(rule, left)) return refuse("quorum", withoutQuorum(view, rule, left));
  const unsynced = unsyncedFollowers(view);
  const spare = spareVoters(rule, left) - unsynced;
  if (spare < 0) {
    return refuse(
      "quorum",
      `its leader, ${view.leader?.name}, has only ${view.leader?.status?.syncedFollowers} followers in sync, so that the rest might hold no quorum. Wait until all have caught up`,
    );
  }
  if (status.role === "leader" && policy.ifLeader === "skip") {
    return refuse("leader", "it is the leader. Back up a follower, or set ifLeader");
  }
  return stop(spare);
}

function isVoterAtWork({ votes, status }: ViewedMember): boolean {
  return votes && (status?.role === "leader" || status?.role === "follower");
}

/** In words, or null when all that are at work may follow the same leader. */
function whoDisagrees({ self, others, leader }: EnsembleView): string | null {
  const atWork = [self, ...others].filter(({ status }) =>
    ["leader", "follower", "observer"].includes(status?.role ?? ""),
  );
  const leaders = atWork.filter(({ status }) => status?.role === "leader");
  if (leaders.length > 1) return `${leaders.map(({ name }) => name).join(" and ")} each say they lead`;
  // Epochs go up only with a new leader.
  const epoch = (member: ViewedMember): bigint => (member.status?.zxid ?? 0n) >> 32n;
  if (leader !== null) {
    const ahead = atWork.find((member) => epoch(member) > epoch(leader));
    if (ahead !== undefined) return `${ahead.name} is in a later epoch than ${leader.name}, which says it leads`;
  }
  const followed = atWork.flatMap(({ name, status }) =>
    status?.leaderId == null ? [] : [{ name, id: status.leaderId }],
  );
  if (leader?.id != null) followed.push({ name: leader.name, id: leader.id });
  const [first] = followed;
  const other = followed.find(({ id }) => id !== first?.id);
  return other === undefined || first === undefined
    ? null
    : `${first.name} has server ${first.id} for its leader, but ${other.name} has server ${other.id}`;
}

/**
 * Of the followers that answer, how many the leader does not have in sync, or 0 where it does not tell. Which ones it is
 * cannot be known.
 */
function unsyncedFollowers({ self, others, leader }: EnsembleView): number {
  const synced = leader?.status?.syncedFollowers;
  if (synced == null) return 0;
  const followers = [self, ...others].filter((member) => isVoterAtWork(member) && member.status?.role === "follower");
  return Math.max(0, followers.length - synced);
}

function withoutQuorum({ others }: EnsembleView, rule: QuorumRule, left: readonly number[]): string {
  const missing = others
    .filter((member) => member.votes && !isVoterAtWork(member))
    .map(({ name, status, problem }) => `${name}: ${problem?.message ?? `its role is "${status?.role}"`}`);
  const count = rule.voters.length;
  const needed =
    rule.groups === null
      ? `${left.length} of ${count} voters would be left, and ${Math.floor(count / 2) + 1} are needed`
      : `the voters that would be left, ${left.join(", ") || "none"}, hold no quorum of the ${rule.groups.length} groups`;
  if (missing.length === 0) {
    return `${needed}, although all are at work. Such an ensemble cannot spare a voter: use mode hot`;
  }
  return `${needed}. Not at work, or not to be asked: ${missing.join("; ")}. Bring them back first, or name their addresses in members`;
}

/** The last transaction that anybody has applied. */
function lastTransaction({ self, others }: EnsembleView): bigint {
  return [self, ...others].reduce((last, { status }) => {
    const zxid = status?.zxid ?? 0n;
    return (zxid & 0xffff_ffffn) !== 0n && zxid > last ? zxid : last;
  }, 0n);
}
