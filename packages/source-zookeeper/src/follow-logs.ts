import { type CheckedLog, followFrom } from "@zk-backyp/zookeeper-files";

/** How far logs lead without a gap, and where that ends in them. */
export interface Followed {
  /** The last transaction that is reached. */
  readonly zxid: bigint;
  /** File names of the logs that lead there, oldest first, and how many bytes of each do. */
  readonly bytes: ReadonlyMap<string, number>;
}

/** Follows logs from one zxid on, up to the first damage or gap, whatever a snapshot shows beyond that. */
export function followLogs(start: bigint, logs: readonly CheckedLog[]): Followed {
  const { zxid, logs: names } = followFrom(start, logs);
  const used = logs.filter(({ file }) => names.includes(file));
  const last = used.at(-1);
  return {
    zxid,
    bytes: new Map(used.map((log) => [log.file, log === last ? endIn(log, zxid) : log.summary.bytes])),
  };
}

/** Where in its last log a replay ends that got as far as `zxid`. */
function endIn({ summary: { runs, bytes } }: CheckedLog, zxid: bigint): number {
  const at = runs.findIndex(({ last }) => last === zxid);
  const next = at === -1 ? runs.find(({ first }) => first > zxid) : runs[at + 1];
  return next?.offset ?? bytes;
}
