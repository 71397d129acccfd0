import { fetchRelease, RELEASE_LINES, requirePart, requireReleases } from "@zk-backyp/testbed";
import { describe, expect, it } from "vitest";
import { damagedSets } from "../damage/cases.ts";
import { compilerMissing, startOracle } from "../damage/oracle.ts";
import { startOnce } from "../damage/real-server.ts";
import { runDamage } from "../damage/run-damage.ts";
import { makeBaseSet, withFiles } from "../damage/server-files.ts";

/** Some that load, some that load with loss, and some that do not. */
const FOR_PROCESSES = [
  "nothing",
  "log/version-2/log.1: no records",
  "log/version-2/log.f: without record 2",
  "log/version-2/log.f: mark 67 of record 0",
  "an empty last log",
  "a last log of 9 bytes",
  "a snapshot in the wrong place",
  "a snapshot that ends late",
  "logs only",
  "only a header of a log",
];

describe.skipIf(!requirePart(compilerMissing()) || !(await requireReleases()))("damaged files", () => {
  it.each(RELEASE_LINES)("%s does with them what checkDirectory says", { timeout: 900_000 }, async (line) => {
    const { classPath } = await fetchRelease(line);
    const { cases, disagreements } = await runDamage(classPath, { every: 40 });
    expect(disagreements).toEqual([]);
    expect(cases).toBeGreaterThan(1_500);
  });

  // That the classes alone do what a server does.
  it.each(RELEASE_LINES)("%s does with some of them as a process what its classes do", async (line) => {
    const release = await fetchRelease(line);
    const oracle = await startOracle(release.classPath, { "zookeeper.extendedTypesEnabled": "true" });
    try {
      const wanted = new Set(FOR_PROCESSES);
      for (const damaged of damagedSets(await makeBaseSet(oracle), 1)) {
        if (!wanted.delete(damaged.name)) continue;
        const answer = await withFiles(damaged.files, (places) => oracle.start(places, "standalone"));
        const zxid = answer.loaded ? answer.zxid : null;
        const found = await withFiles(damaged.files, (places) => startOnce(release, places));
        expect([damaged.name, found]).toEqual([damaged.name, zxid]);
      }
      expect([...wanted]).toEqual([]);
    } finally {
      oracle.close();
    }
  });

  describe.each([
    { digestEnabled: false },
    { trustEmptySnapshot: true },
    { juteMaxBuffer: 300 },
    { extendedTypesEnabled: false },
  ])("with the settings %o", (setting) => {
    it.each(RELEASE_LINES)("%s does so, too", { timeout: 900_000 }, async (line) => {
      const { classPath } = await fetchRelease(line);
      const settings = { extendedTypesEnabled: true, ...setting };
      const { cases, disagreements } = await runDamage(classPath, { every: 200, part: 4 }, settings);
      expect(disagreements).toEqual([]);
      expect(cases).toBeGreaterThan(150);
    });
  });
});
