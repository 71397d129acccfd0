import { stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { BackypError } from "@zk-backyp/core";
import { listDataFiles } from "../data-files.ts";
import type { Location } from "../locate.ts";

/** For a log, which is allocated with holes, and whatever else a server writes when it starts. */
const MARGIN_BYTES = 64 * 1024 * 1024;

/**
 * Refuses a stop after which the server could not start for want of space. A server that runs may do so for weeks on a
 * full disk, since its log is allocated; one that starts writes a snapshot first (3.5 and later), and ends if it cannot.
 *
 * @throws BackypError `ERR_STOP_REFUSED`
 */
export async function requireRoomToStart({ snapshots, logs }: Location): Promise<void> {
  const newest = (await listDataFiles(snapshots, "snapshot")).at(-1);
  const path = join(snapshots ?? "", newest?.file ?? "");
  const size =
    newest === undefined
      ? 0
      : await stat(path).then(
          (stats) => stats.size,
          () => 0,
        );
  if (snapshots !== null) await requireRoom(snapshots, size + MARGIN_BYTES);
  if (logs !== null && logs !== snapshots) await requireRoom(logs, MARGIN_BYTES);
}

async function requireRoom(folder: string, neededBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  const [free, needed] = [freeBytes, neededBytes].map((bytes) => `${Math.ceil(bytes / 1e6)} MB`);
  throw new BackypError(
    "ERR_STOP_REFUSED",
    `the server is not stopped, since it might not start again: it writes a snapshot then, and of the ${needed} that this may take only ${free} are free in ${folder}; make room`,
    { details: { path: folder, freeBytes, neededBytes } },
  );
}
