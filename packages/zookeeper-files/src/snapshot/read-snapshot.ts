import type { Acl } from "../acl.ts";
import { slicesOf } from "../chunk-slices.ts";
import type { ZnodeStat } from "../znode-stat.ts";
import { createSnapshotChecker, type SnapshotCheckOptions } from "./snapshot-checker.ts";
import type { SnapshotSummary } from "./snapshot-summary.ts";

export interface SnapshotSession {
  readonly type: "session";
  readonly id: bigint;
  readonly timeoutMs: number;
}

/** An entry of a snapshot's table of ACLs. */
export interface SnapshotAcl {
  readonly type: "acl";
  /** What nodes name it by, in this snapshot only. */
  readonly id: bigint;
  readonly acl: Acl;
}

export interface SnapshotZnode {
  readonly type: "node";
  /** Empty for the root. */
  readonly path: string;
  readonly data: Buffer | null;
  /** Of an entry of the table; `OPEN_ACL_ID`; or, in a snapshot taken under load, of an entry that is missing. */
  readonly aclId: bigint;
  readonly stat: ZnodeStat;
}

export type SnapshotItem = SnapshotSession | SnapshotAcl | SnapshotZnode;

export interface ReadSnapshotOptions extends Pick<SnapshotCheckOptions, "compression" | "maxFieldBytes"> {
  /** Told once, after the last node: `for await` drops what a generator returns. */
  readonly onSummary?: (summary: SnapshotSummary) => void;
}

const SLICE_BYTES: number = 64 * 1024;
/** gzip can make a thousand times as much of it. */
const GZIP_SLICE_BYTES: number = 4 * 1024;

/**
 * Reads one snapshot file, as stored: all sessions, then all ACLs, then all nodes, parents before their children.
 *
 * ```js
 * for await (const item of readSnapshot(createReadStream("version-2/snapshot.22"))) {
 *   if (item.type === "node") console.log(item.path, item.data?.byteLength);
 * }
 * ```
 *
 * Items come before it is known whether the rest of the file is good: they count only if the generator ends without an
 * error. They own their memory. At most 4 MiB of the plain file and its largest node are in memory as items, and
 * `body` is read no faster than they are taken. The summary is returned, and `onSummary` is given it.
 *
 * @throws ZooKeeperFileError `SNAPSHOT_...` unless the file is a complete and intact snapshot; and whatever `body` throws
 */
export async function* readSnapshot(
  body: AsyncIterable<Uint8Array>,
  options: ReadSnapshotOptions = {},
): AsyncGenerator<SnapshotItem, SnapshotSummary, void> {
  const { onSummary, ...checks } = options;
  let items: SnapshotItem[] = [];
  const checker = createSnapshotChecker({
    ...checks,
    onSession: (id, timeoutMs) => items.push({ type: "session", id, timeoutMs }),
    onAcl: (id, acl) => items.push({ type: "acl", id, acl }),
    onNode: ({ path, data, aclId, stat }) => {
      items.push({ type: "node", path, data: data === null ? null : Buffer.from(data), aclId, stat });
    },
  });
  const sliceBytes = options.compression === "gz" ? GZIP_SLICE_BYTES : SLICE_BYTES;
  try {
    for await (const chunk of body) {
      for (const slice of slicesOf(chunk, sliceBytes)) {
        const wait = checker.push(slice);
        if (wait !== undefined) await wait;
        yield* items;
        items = [];
      }
    }
    const summary = await checker.end();
    yield* items;
    onSummary?.(summary);
    return summary;
  } finally {
    checker.close();
  }
}
