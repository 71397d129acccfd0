import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type RestoreFolders, type RestoreStep, type RunContext, syncFolders, writeEntry } from "@zk-backyp/core";
import { parseFileName } from "@zk-backyp/zookeeper-files";
import { CONFIG_FOLDER, DAMAGED_FOLDER, DATA_FOLDER } from "./verifier.ts";

/**
 * Writes snapshots into `main` and logs into `log` (into `main` too where that is not given), each below `version-2`
 * as a server expects it. What may hold more than these goes into `main` too, below `damaged`, where no server looks.
 * What is kept as information (epochs, myid, configuration) belongs to the host it came from and is left in the archive.
 */
export async function restoreFiles(
  steps: AsyncIterable<RestoreStep>,
  folders: RestoreFolders,
  { signal }: RunContext,
): Promise<void> {
  const logs = folders.log ?? folders.main;
  const made = new Set([folders.main, logs]);
  for (const folder of [...made]) {
    const version2 = join(folder, DATA_FOLDER);
    await mkdir(version2, { mode: 0o750 });
    made.add(version2);
  }
  for await (const { entries } of steps) {
    for await (const entry of entries) {
      if (entry.path.startsWith(CONFIG_FOLDER)) {
        for await (const _ of entry.body) {
          // Read all the same: its hash is checked.
        }
        continue;
      }
      if (entry.path.startsWith(DAMAGED_FOLDER)) {
        made.add(dirname(await writeEntry(entry, folders.main, signal)));
        continue;
      }
      const isLog = parseFileName(entry.path.slice(DATA_FOLDER.length))?.kind === "log";
      await writeEntry(entry, isLog ? logs : folders.main, signal);
    }
  }
  await syncFolders(made);
}
