import { requirePart, zooKeeperClassPath, zooKeeperMissing } from "@zk-backyp/testbed";
import { serverRelease } from "@zk-backyp/zookeeper-files";
import { expect, it } from "vitest";
import { acl, countRefused, create, MISSING, node, randomSets, setAcl, startWith } from "../damage/dangling-acls.ts";
import { compilerMissing, startOracle } from "../damage/oracle.ts";

it.skipIf(!requirePart(compilerMissing()) || !requirePart(zooKeeperMissing()))(
  "the installed server starts without the ACLs that a snapshot lacks where we say that it does",
  async () => {
    const oracle = await startOracle(zooKeeperClassPath());
    try {
      const fuzzy = { acls: new Map(), nodes: [node("/p", 5n)] };
      const needed = { ...fuzzy, log: [create("/p/c"), setAcl("/p", acl("new"))] };
      const repaired = { ...fuzzy, log: [setAcl("/p", acl("new")), create("/p/c")] };
      const { server } = await startWith(oracle, needed);
      // Debian 12 has in its 3.8.0 the change of 3.8.4 that made servers need them.
      const release = oracle.version === "3.8.0" && server === MISSING ? "3.8.4" : serverRelease(oracle.version);
      if (release === null) throw new Error(`no rules for ZooKeeper ${oracle.version}`);
      expect((await startWith(oracle, needed, release)).we).toBe(server);
      expect(await startWith(oracle, repaired, release)).toEqual({ server: "loads", we: "loads" });
      const refused = await countRefused(oracle, randomSets(300, 3), release);
      expect(refused > 50).toBe(server === MISSING);
    } finally {
      oracle.close();
    }
  },
);
