import { describe, expect, it } from "vitest";
import type { ServerStatus } from "../server-status.ts";
import { mayStop, type RefusalReason, type StopPolicy } from "./may-stop.ts";
import type { QuorumRule } from "./quorum.ts";
import type { EnsembleView, ViewedMember } from "./view.ts";

const status = (role: string, more: Partial<ServerStatus> = {}): ServerStatus => ({
  version: "3.8.4",
  role,
  zxid: 0x1_0000_0005n,
  nodeCount: 10,
  digestMismatches: null,
  serverId: null,
  leaderId: null,
  syncedFollowers: null,
  learners: null,
  ...more,
});

/** What one server is: a role, what it says, or why it does not answer. `o:` before it: it has no vote. */
type Said = string | ServerStatus;
const PROBLEMS: Record<string, ViewedMember["problem"]> = {
  down: { kind: "no-answer", message: "connect ECONNREFUSED" },
  looking: { kind: "not-serving", message: "it is not serving: it has no quorum" },
};

function viewed(id: number, said: Said, isObserver = false): ViewedMember {
  const address = { host: `zk${id}`, port: 2181 };
  const problem = typeof said === "string" ? (PROBLEMS[said] ?? null) : null;
  const told = typeof said === "string" ? status(said) : said;
  return {
    id,
    name: `server ${id} (zk${id}:2181)`,
    addresses: [address],
    clients: [address],
    votes: !isObserver,
    status: problem === null ? told : null,
    problem,
  };
}

/** The servers 1, 2, ...; the first one is the node that shall stop. */
function view(
  servers: readonly Said[],
  observers: readonly Said[] = [],
  more: Partial<EnsembleView> = {},
): EnsembleView {
  const voters = servers.map((said, index) => viewed(index + 1, said));
  const all = [...voters, ...observers.map((said, index) => viewed(servers.length + index + 1, said, true))];
  const leaders = all.filter((member) => member.status?.role === "leader");
  const [self, ...others] = all as [ViewedMember, ...ViewedMember[]];
  return {
    self,
    others,
    leader: leaders.length === 1 ? (leaders[0] ?? null) : null,
    rule: { voters: voters.map(({ id }) => id as number), groups: null },
    doubt: null,
    ...more,
  };
}

/** The same with the observer `said` as the node that shall stop. */
function asObserver(said: Said, voters: readonly Said[]): EnsembleView {
  const seen = view(voters, [said]);
  const [self, ...others] = [seen.others.at(-1), seen.self, ...seen.others.slice(0, -1)] as [
    ViewedMember,
    ...ViewedMember[],
  ];
  return { ...seen, self, others };
}

const strict: StopPolicy = { ifLeader: "skip", allowStandalone: false };
const lax: StopPolicy = { ifLeader: "proceed", allowStandalone: true };
const f = "follower";
const leaderWith = (syncedFollowers: number): ServerStatus => status("leader", { syncedFollowers });

describe("a node may be stopped", () => {
  it.each<[string, EnsembleView, StopPolicy, { role: string; spareVoters: number }]>([
    ["that follows one of two others", view([f, "leader", f]), strict, { role: f, spareVoters: 0 }],
    ["that follows, of five", view([f, "leader", f, f, f]), strict, { role: f, spareVoters: 1 }],
    ["of five with one down", view([f, "leader", f, f, "down"]), strict, { role: f, spareVoters: 0 }],
    [
      "of five with one that looks for a leader",
      view([f, "leader", f, f, "looking"]),
      strict,
      { role: f, spareVoters: 0 },
    ],
    ["of four", view([f, "leader", f, f]), strict, { role: f, spareVoters: 0 }],
    ["that leads, where that is allowed", view(["leader", f, f]), lax, { role: "leader", spareVoters: 0 }],
    ["beside an observer that is down", view([f, "leader", f], ["down"]), strict, { role: f, spareVoters: 0 }],
    ["that observes", asObserver("observer", ["leader", f, f]), strict, { role: "observer", spareVoters: 1 }],
    [
      "that observes a bare quorum",
      asObserver("observer", ["leader", f, "down"]),
      strict,
      { role: "observer", spareVoters: 0 },
    ],
    ["that observes one only voter", asObserver("observer", ["leader"]), strict, { role: "observer", spareVoters: 0 }],
    ["whose leader cannot be asked", view([f, "down", f, f, f]), strict, { role: f, spareVoters: 0 }],
    ["whose leader has all in sync", view([f, leaderWith(2), f]), strict, { role: f, spareVoters: 0 }],
    [
      "whose leader has more in sync than answer",
      view([f, leaderWith(4), f, f, "down"]),
      strict,
      { role: f, spareVoters: 0 },
    ],
    [
      "whose leader lacks one that can be spared",
      view([f, leaderWith(3), f, f, f]),
      strict,
      { role: f, spareVoters: 0 },
    ],
    ["that leads and has all in sync", view([leaderWith(2), f, f]), lax, { role: "leader", spareVoters: 0 }],
    [
      "without a digest mismatch",
      view([status(f, { digestMismatches: 0 }), "leader", f]),
      strict,
      { role: f, spareVoters: 0 },
    ],
    [
      "beside a member with a digest mismatch",
      view([f, "leader", status(f, { digestMismatches: 3 })]),
      strict,
      { role: f, spareVoters: 0 },
    ],
    [
      "whose leader everybody names",
      view([status(f, { leaderId: 2 }), status("leader", { leaderId: 2 }), status(f, { leaderId: 2 })]),
      strict,
      { role: f, spareVoters: 0 },
    ],
  ])("%s", (_, seen, policy, expected) => {
    expect(mayStop(seen, policy)).toEqual({ stop: true, leaderZxid: 0x1_0000_0005n, ...expected });
  });

  it.each<[string, EnsembleView]>([
    ["standalone", view(["standalone"], [], { rule: null })],
    ["the only voter", view(["leader"])],
    ["the only voter, with an observer", view(["leader"], ["observer"])],
  ])("that is %s, only where that is allowed", (_, seen) => {
    expect(mayStop(seen, { ifLeader: "skip", allowStandalone: true })).toMatchObject({ stop: true, spareVoters: 0 });
    expect(mayStop(seen, { ifLeader: "proceed", allowStandalone: false })).toMatchObject({ reason: "standalone" });
  });
});

describe("a node is not stopped", () => {
  it.each<[string, EnsembleView, RefusalReason, RegExp]>([
    [
      "that does not answer",
      view(["down", "leader", f]),
      "not-serving",
      /server 1 \(zk1:2181\) is not stopped: connect ECONNREFUSED/,
    ],
    ["that looks for a leader", view(["looking", "down", "looking"]), "not-serving", /it has no quorum/],
    ["that is read-only", view(["read-only", "down", "down"]), "not-serving", /its role is "read-only"/],
    ["whose role is none", view(["", "leader", f]), "not-serving", /its role is ""/],
    [
      "whose members nobody tells",
      view([f], [], { rule: null, doubt: { reason: "unknown-members", message: "nobody tells" } }),
      "unknown-members",
      /nobody tells/,
    ],
    [
      "whose zoo.cfg names others",
      view([f, "leader", f], [], { doubt: { reason: "members-differ", message: "others" } }),
      "members-differ",
      /others/,
    ],
    [
      "that is another server",
      view([f, "leader", f], [], { doubt: { reason: "wrong-server", message: "is server 3" } }),
      "wrong-server",
      /is server 3/,
    ],
    [
      "that is standalone beside a zoo.cfg with members",
      view(["standalone"], [], { rule: null, doubt: { reason: "members-differ", message: "others" } }),
      "members-differ",
      /others/,
    ],
    [
      "whose data differs",
      view([status(f, { digestMismatches: 2 }), "leader", f]),
      "digest-mismatch",
      /differed from its leader's 2 times.*Back up another member/,
    ],
    [
      "with one of three down",
      view([f, "leader", "down"]),
      "quorum",
      /1 of 3 voters would be left, and 2 are needed.*server 3 \(zk3:2181\): connect ECONNREFUSED/,
    ],
    [
      "with two of five down",
      view([f, "leader", f, "down", "looking"]),
      "quorum",
      /2 of 5 voters would be left, and 3 are needed.*server 4 .*; server 5 .*no quorum/,
    ],
    [
      "of two",
      view([f, "leader"]),
      "quorum",
      /1 of 2 voters would be left, and 2 are needed, although all are at work/,
    ],
    [
      "beside a voter that is read-only",
      view([f, "leader", "read-only"]),
      "quorum",
      /server 3 \(zk3:2181\): its role is "read-only"/,
    ],
    ["beside a voter that is standalone", view([f, "leader", "standalone"]), "quorum", /its role is "standalone"/],
    ["beside a voter that observes", view([f, "leader", "observer"]), "quorum", /its role is "observer"/],
    ["beside observers alone", view([f, "leader", "down"], ["observer", "observer"]), "quorum", /1 of 3/],
    ["beside followers without a vote", view([f, "leader", "down"], [f]), "quorum", /1 of 3/],
    ["that observes voters without quorum", asObserver("observer", ["leader", "down", "down"]), "quorum", /1 of 3/],
    ["that leads, with one of three down", view(["leader", f, "down"]), "quorum", /1 of 3/],
    [
      "whose leader has too few in sync",
      view([f, leaderWith(1), f]),
      "quorum",
      /server 2 \(zk2:2181\), has only 1 followers in sync/,
    ],
    [
      "of five whose leader has too few in sync",
      view([f, leaderWith(2), f, f, f]),
      "quorum",
      /has only 2 followers in sync/,
    ],
    ["that leads and has too few in sync", view([leaderWith(1), f, f]), "quorum", /has only 1 followers in sync/],
    [
      "beside two leaders",
      view([f, "leader", "leader", f, f]),
      "two-leaders",
      /server 2 .* and server 3 .* each say they lead/,
    ],
    ["that leads beside another leader", view(["leader", "leader", f, f, f]), "two-leaders", /each say they lead/],
    [
      "with a leader of an earlier epoch",
      view([f, status("leader", { zxid: 0x1_0000_0000n }), status(f, { zxid: 0x2_0000_0001n })]),
      "two-leaders",
      /server 3 .* is in a later epoch than server 2/,
    ],
    [
      "whose members name two leaders",
      view([status(f, { leaderId: 4 }), status(f, { leaderId: 5 }), f, "down", f]),
      "two-leaders",
      /server 1 .* has server 4 for its leader, but server 2 .* has server 5/,
    ],
    [
      "that names another leader than the one that leads",
      view([status(f, { leaderId: 3 }), "leader", f]),
      "two-leaders",
      /has server 3 for its leader, but server 2 .* has server 2/,
    ],
  ])("%s", (_, seen, reason, message) => {
    const decision = mayStop(seen, lax);
    expect(decision).toEqual({ stop: false, reason, message: expect.stringMatching(message) });
  });

  it("that leads, and nothing else is against it", () => {
    expect(mayStop(view(["leader", f, f]), strict)).toMatchObject({ reason: "leader" });
    expect(mayStop(view(["leader", f, "down"]), strict)).toMatchObject({ reason: "quorum" });
  });
});

describe("in groups", () => {
  const rule: QuorumRule = {
    voters: [1, 2, 3, 4, 5, 6],
    groups: [
      [1, 2],
      [3, 4],
      [5, 6],
    ].map((ids) => ids.map((id) => ({ id, weight: id % 2 === 1 ? 2 : 1 }))),
  };
  it.each<[string, readonly Said[], object]>([
    ["the light one of a group may be stopped", [f, f, "leader", f, f, f], { stop: true, spareVoters: 0 }],
    ["the heavy one, with another group down, not", [f, f, "leader", f, "down", "down"], { reason: "quorum" }],
  ])("%s", (_, servers, expected) => {
    const decision = mayStop(view(servers, [], { rule }), strict);
    expect(decision).toMatchObject(expected);
    if (!decision.stop) {
      expect(decision.message).toMatch(
        /the voters that would be left, 2, 3, 4, hold no quorum of the 3 groups\. Not at work.*server 5/,
      );
    }
  });
});

describe("what it has to reach again", () => {
  it.each<[string, bigint[], bigint]>([
    ["is what the leader has applied", [0x1_0000_0007n, 0x1_0000_0009n, 0x1_0000_0008n], 0x1_0000_0009n],
    ["is what any member has applied", [0x1_0000_0007n, 0x1_0000_0007n, 0x1_0000_000bn], 0x1_0000_000bn],
    [
      "is not the new epoch of a leader, which no transaction carries",
      [0x1_0000_0007n, 0x2_0000_0000n, 0x2_0000_0000n],
      0x1_0000_0007n,
    ],
    ["is nothing in an empty ensemble", [0n, 0x1_0000_0000n, 0n], 0n],
  ])("%s", (_, [own = 0n, leader = 0n, other = 0n], expected) => {
    const seen = view([status(f, { zxid: own }), status("leader", { zxid: leader }), status(f, { zxid: other })]);
    expect(mayStop(seen, strict)).toMatchObject({ stop: true, leaderZxid: expected });
  });
});
