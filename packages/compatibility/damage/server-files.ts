import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createLogChecker } from "@zk-backyp/zookeeper-files";
import { field, int, long } from "../../zookeeper-files/src/testing/jute.ts";
import { create, LOG_HEADER, record, setData, txn } from "./bytes.ts";
import type { Oracle, Places } from "./oracle.ts";

/** The files of one server by their path, such as `data/version-2/snapshot.0` and `log/version-2/log.1`. */
export type ServerFiles = ReadonlyMap<string, Buffer>;

/** Whole files of a release, and what it makes of each txn in them. */
export interface BaseSet {
  readonly files: ServerFiles;
  /** The hashes of the state after each txn, one for each way to get there. */
  readonly states: ReadonlyMap<bigint, ReadonlySet<string>>;
  readonly lastZxid: bigint;
  /** Whether the txns carry digests, without which nothing tells that the end of an epoch is missing. */
  readonly hasDigests: boolean;
}

export const SNAPSHOTS = "data/version-2/";
export const LOGS = "log/version-2/";

/** Writes the files into a folder for the call. */
export async function withFiles<T>(files: ServerFiles, use: (places: Places) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "damage-"));
  try {
    for (const place of [SNAPSHOTS, LOGS]) mkdirSync(join(folder, place), { recursive: true });
    for (const [name, bytes] of files) {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      writeFileSync(join(folder, name), bytes);
    }
    return await use({ snapshots: join(folder, "data"), logs: join(folder, "log") });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The archive of `fixtures/` with a log of a release like this one. */
function fixtureFor(version: string): string {
  const line = version.split(".").slice(0, 2).join(".");
  const known: Readonly<Record<string, string>> = { "3.4": "3.4.14", "3.5": "3.5.10", "3.6": "3.6.4", "3.7": "3.7.2" };
  return `zookeeper-${known[line] ?? "3.8.0"}`;
}

/** A log of a real server, cut before its one large record: the bytes of each record. */
function realRecords(version: string): Buffer[] {
  const folder = mkdtempSync(join(tmpdir(), "damage-"));
  try {
    const fixture = fixtureFor(version);
    const archive = fileURLToPath(new URL(`../../../fixtures/${fixture}.tar.gz`, import.meta.url));
    execFileSync("tar", ["-xzSf", archive, "-C", folder]);
    const bytes = readFileSync(join(folder, fixture, "log/version-2/log.1")).subarray(0, 1_000_000);
    const records: Buffer[] = [];
    let isCut = false;
    const checker = createLogChecker({
      onRecord: ({ offset, length }) => {
        isCut ||= length > 100_000;
        if (!isCut) records.push(bytes.subarray(offset, offset + length));
      },
    });
    checker.push(bytes);
    return records;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * What a server of the oracle's release might have: a log of a real server, cut into several, with a live session that
 * owns nodes and with a second epoch added; and snapshots in between, which the release's own code writes.
 */
export async function makeBaseSet(oracle: Oracle): Promise<BaseSet> {
  const real = realRecords(oracle.version);
  const next = BigInt(real.length) + 1n;
  const session = 0x100_0000_0000_0abcn;
  const quota = "/zookeeper/quota/m0";
  const second = 0x1_0000_0000n;
  const records = [
    ...real,
    txn(next, -10, int(30_000), session),
    create(next + 1n, "/m0"),
    create(next + 2n, "/m0/e", { session }),
    create(next + 3n, quota),
    create(next + 4n, `${quota}/zookeeper_limits`, { data: "count=100,bytes=100000" }),
    create(next + 5n, `${quota}/zookeeper_stats`, { data: "count=0,bytes=0" }),
    create(next + 6n, "/m1"),
    setData(next + 7n, "/m0", "later"),
    create(second + 1n, "/n1"),
    setData(second + 2n, "/n1", "x"),
    create(second + 3n, "/n1/p"),
  ];
  await addDigests(records.slice(0, real.length), records, oracle);
  const parts: [bigint, Buffer[]][] = [
    [1n, records.slice(0, 8)],
    [9n, records.slice(8, 14)],
    [15n, records.slice(14, -3)],
    [second + 1n, records.slice(-3)],
  ];
  const logs = parts.map(([zxid, part]): [string, Buffer] => [
    `${LOGS}log.${zxid.toString(16)}`,
    Buffer.concat([LOG_HEADER, ...part]),
  ]);

  const snapshots = new Map<string, Buffer>();
  // 3.4 writes no snapshot before there is something in it, and loads logs alone.
  const isOf34 = oracle.version.startsWith("3.4.");
  for (const count of isOf34 ? [1, 3] : [0, 1, 3]) {
    await withFiles(new Map([...snapshots, ...logs.slice(0, count)]), async (places) => {
      await oracle.save(places);
      const folder = join(places.snapshots, "version-2");
      for (const name of readdirSync(folder)) snapshots.set(`${SNAPSHOTS}${name}`, readFileSync(join(folder, name)));
    });
  }
  const files = new Map([...snapshots, ...logs]);
  const states = new Map<bigint, Set<string>>();
  const note = async (set: ServerFiles): Promise<void> => {
    for (const [zxid, { hash }] of await withFiles(set, (places) => oracle.history(places))) {
      const hashes = states.get(zxid) ?? new Set();
      states.set(zxid, hashes.add(hash));
    }
  };
  for (const [name, bytes] of snapshots) {
    await note(new Map([[name, bytes]]));
    await note(new Map([[name, bytes], ...logs]));
  }
  if (isOf34) {
    await note(new Map());
    await note(new Map(logs));
  }
  return { files, states, lastZxid: second + 3n, hasDigests: !isBefore36(oracle) };
}

/** Gives the records that are not real the tree digest behind them that servers of 3.6 and later write. */
async function addDigests(real: readonly Buffer[], records: Buffer[], oracle: Oracle): Promise<void> {
  if (isBefore36(oracle)) return;
  const history = await withFiles(new Map(), async (places) => {
    await oracle.save(places);
    writeFileSync(join(places.logs, "version-2/log.1"), Buffer.concat([LOG_HEADER, ...records]));
    return await oracle.history(places);
  });
  for (const [index, bytes] of records.entries()) {
    const digest = history.get(bytes.readBigInt64BE(24))?.digest ?? null;
    if (index < real.length || digest === null) continue;
    records[index] = record(Buffer.concat([bytes.subarray(12, -1), int(2), long(digest)]));
  }
}

function isBefore36({ version }: Oracle): boolean {
  return /^3\.[45]\./.test(version);
}

/** A closing of a session, as 3.4 and 3.5 write it: with no body. */
export function closeSession(zxid: bigint, session: bigint): Buffer {
  return txn(zxid, -11, Buffer.alloc(0), session);
}

/** A znode's deletion. */
export function deletion(zxid: bigint, path: string): Buffer {
  return txn(zxid, 2, field(path));
}
