import { type FileHandle, open } from "node:fs/promises";
import { createLogChecker, DEFAULT_MAX_RECORD_BYTES, type FileName } from "@zk-backyp/zookeeper-files";
import { unreadable } from "../locate.ts";
import { readFileStart } from "../read-file.ts";

/** A data file, and where it can be read. */
interface Readable extends FileName {
  readonly path: string;
}

/**
 * The snapshots that a start of the server may write once more, into the same inode, so that hard links to them change
 * too. It writes `snapshot.<last zxid>`: these are the ones with the highest zxid, unless a log that begins after it
 * holds a whole record, which makes the last zxid a later one.
 *
 * (What a follower has to take back may make its last zxid an earlier one. It has then written that snapshot before it
 * serves.)
 *
 * @param snapshots in the order of their zxids
 */
export async function rewrittenAtStart<Snapshot extends FileName>(
  snapshots: readonly Snapshot[],
  logs: readonly Readable[],
  signal: AbortSignal,
): Promise<Snapshot[]> {
  const newest = snapshots.at(-1)?.zxid;
  if (newest === undefined) return [];
  for (const log of logs) {
    if (log.zxid > newest && (await holdsRecordAfter(newest, log.path, signal))) return [];
  }
  return snapshots.filter(({ zxid }) => zxid === newest);
}

const HEADER_BYTES = 16;
/** Checksum and length, before the entry. */
const PREFIX_BYTES = 12;

/** Looks at the first record only. */
async function holdsRecordAfter(zxid: bigint, path: string, signal: AbortSignal): Promise<boolean> {
  let file: FileHandle | undefined;
  try {
    file = await open(path);
    const start = Buffer.alloc(HEADER_BYTES + PREFIX_BYTES);
    const { bytesRead } = await file.read(start, 0, start.byteLength, 0);
    const entryBytes = bytesRead < start.byteLength ? 0 : start.readInt32BE(HEADER_BYTES + 8);
    if (entryBytes <= 0 || entryBytes > DEFAULT_MAX_RECORD_BYTES) return false;
    const recordEnd = start.byteLength + entryBytes + 1;
    if ((await file.stat()).size < recordEnd) return false;
    let first: bigint | null = null;
    const checker = createLogChecker({
      onRecord: (record) => {
        first = record.zxid;
      },
    });
    for await (const chunk of readFileStart(file, recordEnd, path, signal)) checker.push(chunk);
    return first !== null && first > zxid;
  } catch (cause) {
    if (cause instanceof Error && "syscall" in cause) throw await unreadable(path, cause);
    throw cause;
  } finally {
    await file?.close();
  }
}
