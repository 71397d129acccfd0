import { checkDirectory, createLogChecker, type ServerRelease, type ServerSettings } from "@zk-backyp/zookeeper-files";
import type { DamagedSet } from "./cases.ts";
import type { Answer, Oracle } from "./oracle.ts";
import { type BaseSet, LOGS, type ServerFiles, SNAPSHOTS, withFiles } from "./server-files.ts";

/** How a verdict and a server differ; null where they agree. */
export async function disagreement(
  damaged: DamagedSet,
  base: BaseSet,
  oracle: Oracle,
  release: ServerRelease,
  settings: ServerSettings,
): Promise<string | null> {
  const { verdict, report, answer } = await withFiles(damaged.files, async (places) => {
    const report = await checkDirectory([places.snapshots, places.logs], {
      ...settings,
      role: damaged.role,
      releases: [release],
    }).catch((error: unknown) => {
      if ((error as { code?: unknown }).code === "NO_DATA_FILES") return null;
      throw error;
    });
    const verdict = report?.releases[0] ?? null;
    return { report, verdict, answer: await oracle.start(places, damaged.role) };
  });
  if (verdict === null || report === null) return null;
  const said = `we: ${verdict.outcome} ${verdict.zxid} ${verdict.reasons.map(({ code, file }) => `${code} ${file}`).join(", ")}`;
  const differs = (what: string): string => `${damaged.name}: ${what}; ${said}; server: ${describe(answer)}`;
  if (!answer.loaded) return verdict.outcome === "refuses" ? null : differs("it refuses");
  if (verdict.outcome === "refuses") return differs("it loads");
  if (BigInt(verdict.zxid ?? -1) !== answer.zxid) return differs("it comes up elsewhere");
  if (damaged.isMadeUp) return null;
  const isTrue = isWhole(answer, base);
  if (verdict.outcome === "loads" && !isTrue) return differs("DAMAGED DATA IS CALLED GOOD");
  if (verdict.outcome === "loads" || !isTrue || answer.zxid !== base.lastZxid) return null;
  // A txn that is missing, or comes twice, may have changed nothing.
  return verdict.reasons.every(({ code }) => !OF_TXNS.has(code)) ? differs("nothing is lost") : null;
}

const OF_TXNS: ReadonlySet<string> = new Set([
  "LOG_GAP",
  "LOGS_OUT_OF_ORDER",
  "LOG_BAD_RECORD_END",
  "LOG_RECORDS_AFTER_END",
  "LOG_BYTES_AFTER_PADDING",
  // The state is taken before the end of the start.
  "TTL_NODES_VANISH",
  "CONTAINERS_VANISH",
]);

/** Whether what we call recoverable is a state that the server once had, once a server has loaded exactly that. */
export async function falseRecovery(damaged: DamagedSet, base: BaseSet, oracle: Oracle): Promise<string | null> {
  // What 3.4 and 3.5 do not read may be recoverable all the same.
  if (damaged.isMadeUp || !base.hasDigests) return null;
  const report = await withFiles(damaged.files, (places) =>
    checkDirectory([places.snapshots, places.logs], { releases: [] }).catch(() => null),
  );
  const recoverable = report?.recoverable ?? null;
  if (report === null || recoverable === null || recoverable.from === null) return null;
  const zxid = BigInt(recoverable.zxid);
  const from = recoverable.from.slice(recoverable.from.lastIndexOf("/") + 1);
  const files = new Map<string, Buffer>([[`${SNAPSHOTS}${from}`, find(damaged.files, recoverable.from)]]);
  for (const name of recoverable.logs) {
    files.set(`${LOGS}${name.slice(name.lastIndexOf("/") + 1)}`, cutAt(find(damaged.files, name), zxid));
  }
  const answer = await withFiles(files, (places) => oracle.start(places, "standalone"));
  if (answer.loaded && answer.zxid === zxid && isWhole(answer, base)) return null;
  // What is missing at the end of an epoch shows by nothing but the digests.
  if (report.problems.some(({ code }) => code === "DIGEST_MISMATCH")) return null;
  return `${damaged.name}: we call ${JSON.stringify(recoverable)} recoverable; server: ${describe(answer)}`;
}

function isWhole(answer: Answer & { loaded: true }, { states }: BaseSet): boolean {
  return answer.strays === 0 && states.get(answer.zxid)?.has(answer.hash) === true;
}

function describe(answer: Answer): string {
  if (!answer.loaded) return answer.why.slice(0, 200);
  return `loads 0x${answer.zxid.toString(16)}, ${answer.nodes} nodes, hash ${answer.hash}, ${answer.strays} strays`;
}

function find(files: ServerFiles, name: string): Buffer {
  for (const [path, bytes] of files) if (path === name || path.endsWith(`/${name}`)) return bytes;
  throw new Error(`no ${name}`);
}

/** The good records up to a txn. */
function cutAt(log: Buffer, zxid: bigint): Buffer {
  let end = 16;
  const checker = createLogChecker({
    onRecord: (record) => {
      if (record.zxid <= zxid) end = record.offset + record.length;
    },
  });
  checker.push(log);
  return log.subarray(0, end);
}
