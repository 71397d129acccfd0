import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { type CheckItem, systemErrorCode } from "@zk-backyp/core";

/** A backup that is replaced by the next one is deleted after that is stored. */
const ARCHIVES = 2;

/** Whether the file system of a directory, which may not be there yet, has room for the next archives. */
export async function checkRoom(root: string, archiveBytes: number | null): Promise<CheckItem> {
  const name = "room";
  for (let folder = root; ; folder = dirname(folder)) {
    try {
      const { bavail, bsize, ffree, files } = await statfs(folder);
      const freeBytes = bavail * bsize;
      const message = `${megabytes(freeBytes)} are free in ${folder}`;
      // Some file systems count no files.
      if (files > 0 && ffree < 10) {
        return { name, status: "failed", message: `${folder} takes no more files`, remedy: "make room for new files" };
      }
      if (archiveBytes === null || freeBytes >= ARCHIVES * archiveBytes) {
        return { name, status: "ok", message, remedy: null };
      }
      const needed = `the next archive may have ${megabytes(archiveBytes)}`;
      const status = freeBytes < archiveBytes ? "failed" : "warning";
      return { name, status, message: `only ${message}, and ${needed}`, remedy: "make room, or keep fewer backups" };
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT" && folder !== dirname(folder)) continue;
      return { name, status: "failed", message: (error as Error).message, remedy: `see what ${folder} is` };
    }
  }
}

function megabytes(bytes: number): string {
  return `${Math.floor(bytes / 1e6)} MB`;
}
