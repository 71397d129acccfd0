import { fetchRelease, requirePart, requireReleases } from "@zk-backyp/testbed";
import { describe, expect, it } from "vitest";
import {
  acl,
  countRefused,
  create,
  type FuzzySet,
  filesOf,
  MISSING,
  node,
  randomSets,
  setAcl,
  startWith,
} from "../damage/dangling-acls.ts";
import { compilerMissing, startOracle } from "../damage/oracle.ts";
import { startOnce } from "../damage/real-server.ts";
import { withFiles } from "../damage/server-files.ts";

const GIVEN = setAcl("/p", acl("new"));
const CHILD = create("/p/c");
const fuzzy = (...log: FuzzySet["log"]): FuzzySet => ({ acls: new Map(), nodes: [node("/p", 5n)], log });

describe.skipIf(!requirePart(compilerMissing()) || !(await requireReleases()))(
  "a snapshot that lacks the ACL of a znode",
  () => {
    it.each(["3.6", "3.7"] as const)("is nothing that %s refuses", async (line) => {
      const { classPath } = await fetchRelease(line);
      const oracle = await startOracle(classPath);
      try {
        expect(await startWith(oracle, fuzzy(CHILD, GIVEN))).toEqual({ server: "loads", we: "loads" });
        expect(await countRefused(oracle, randomSets(200, 1))).toBe(0);
      } finally {
        oracle.close();
      }
    });

    it.each(["3.8", "3.9"] as const)("is refused by %s as we say, if it is needed before it is set", async (line) => {
      const release = await fetchRelease(line);
      const oracle = await startOracle(release.classPath);
      try {
        expect(await startWith(oracle, fuzzy(CHILD, GIVEN))).toEqual({ server: MISSING, we: MISSING });
        expect(await startWith(oracle, fuzzy(GIVEN, CHILD))).toEqual({ server: "loads", we: "loads" });
        const count = await countRefused(oracle, randomSets(500, 1));
        expect(count).toBeGreaterThan(100);
        expect(count).toBeLessThan(400);
      } finally {
        oracle.close();
      }
      // The whole server, too.
      const start = async (set: FuzzySet): Promise<bigint | null> =>
        withFiles(await filesOf(set), (places) => startOnce(release, places));
      expect(await start(fuzzy(CHILD, GIVEN))).toBe(null);
      expect(await start(fuzzy(GIVEN, CHILD))).toBe(2n);
    });
  },
);
