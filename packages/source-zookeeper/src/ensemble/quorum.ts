/** When a set of an ensemble's servers may decide. */
export interface QuorumRule {
  /** The ids of the participants: observers have no vote. */
  readonly voters: readonly number[];
  /**
   * For a hierarchical quorum (`group.N`, `weight.N`), each group's servers with their weights. Null where a plain
   * majority of the voters decides.
   */
  readonly groups: readonly (readonly WeightedServer[])[] | null;
}

export interface WeightedServer {
  readonly id: number;
  readonly weight: number;
}

/**
 * Whether these servers hold a quorum, as ZooKeeper's `QuorumMaj` and `QuorumHierarchical` decide it: more than half of
 * the voters; or more than half of the weight in more than half of the groups, where groups without any weight do not
 * count. Whoever has no vote does not count either.
 */
export function holdsQuorum(rule: QuorumRule, ids: Iterable<number>): boolean {
  return spareVoters(rule, ids) >= 0;
}

/**
 * How many of these servers may fail, whichever they are, so that the rest still holds a quorum. -1 when they hold none
 * as it is.
 */
export function spareVoters({ voters, groups }: QuorumRule, ids: Iterable<number>): number {
  const given = new Set(ids);
  const voting = new Set(voters.filter((id) => given.has(id)));
  if (groups === null) return Math.max(-1, voting.size - (Math.floor(voters.length / 2) + 1));

  const weighty = groups.filter((group) => weightOf(group) > 0);
  // What it takes to break each group that now has its majority: the heaviest servers fail first.
  const failures = weighty
    .map((group) => {
      const up = group.filter(({ id }) => voting.has(id)).sort((a, b) => b.weight - a.weight);
      let failed = 0;
      while (weightOf(up.slice(failed)) > weightOf(group) / 2) failed += 1;
      return failed;
    })
    .filter((failed) => failed > 0)
    .sort((a, b) => a - b);
  const mayBreak = failures.length - Math.floor(weighty.length / 2);
  if (mayBreak <= 0) return -1;
  // The quorum is gone with the last group that may break; one failure less is what it can bear.
  return failures.slice(0, mayBreak).reduce((sum, failed) => sum + failed, 0) - 1;
}

function weightOf(servers: readonly WeightedServer[]): number {
  return servers.reduce((sum, { weight }) => sum + weight, 0);
}
