import { type ServerSettings, serverRelease } from "@zk-backyp/zookeeper-files";
import { damagedSets } from "./cases.ts";
import { disagreement, falseRecovery } from "./judge.ts";
import { startOracle } from "./oracle.ts";
import { makeBaseSet } from "./server-files.ts";

/** Which of all damaged sets are tried: of the mass of like ones one in `every`, and of all of them one in `part`. */
export interface Sample {
  readonly every: number;
  readonly part?: number;
}

const PROPERTIES = {
  extendedTypesEnabled: "zookeeper.extendedTypesEnabled",
  digestEnabled: "zookeeper.digest.enabled",
  trustEmptySnapshot: "zookeeper.snapshot.trust.empty",
  juteMaxBuffer: "jute.maxbuffer",
};

/**
 * Has a release's own classes and us judge the same damaged directories, and returns how many there were, and where the
 * two differ.
 */
export async function runDamage(
  classPath: string,
  { every, part = 1 }: Sample,
  settings: Omit<ServerSettings, "role"> = { extendedTypesEnabled: true },
): Promise<{ cases: number; disagreements: string[] }> {
  const writer = await startOracle(classPath, { [PROPERTIES.extendedTypesEnabled]: "true" });
  const properties = Object.entries(PROPERTIES).map(([name, property]) => {
    return [property, String(settings[name as keyof typeof PROPERTIES] ?? "")] as const;
  });
  const oracle = await startOracle(classPath, Object.fromEntries(properties.filter(([, value]) => value !== "")));
  try {
    const release = serverRelease(oracle.version);
    if (release === null) throw new Error(`no rules for ZooKeeper ${oracle.version}`);
    const base = await makeBaseSet(writer);
    const disagreements: string[] = [];
    let index = 0;
    let cases = 0;
    for (const damaged of damagedSets(base, every)) {
      if (index++ % part !== 0) continue;
      cases += 1;
      const found = await disagreement(damaged, base, oracle, release, settings);
      if (found !== null) disagreements.push(found);
      if (cases % 4 !== 0) continue;
      const falsehood = await falseRecovery(damaged, base, writer);
      if (falsehood !== null) disagreements.push(falsehood);
    }
    return { cases, disagreements };
  } finally {
    writer.close();
    oracle.close();
  }
}
