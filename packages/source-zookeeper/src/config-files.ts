import { readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { type Entry, type Logger, oneChunk, systemErrorCode } from "@zk-backyp/core";
import type { Location } from "./locate.ts";
import { CONFIG_FOLDER } from "./verifier.ts";
import { withoutSecrets } from "./zoo-cfg.ts";

/** A small file that is kept as information and never restored. */
export interface ConfigFile {
  /** In the archive. */
  readonly path: string;
  readonly text: string;
}

/** `myid`, epochs, `zoo.cfg` and its dynamic part, as far as they are there. None of them can fail a backup. */
export async function readConfigFiles({ dataDir, snapshots, zooCfg }: Location, logger: Logger): Promise<ConfigFile[]> {
  const files: ConfigFile[] = [];
  const add = async (name: string, path: string, filter = (text: string) => text): Promise<void> => {
    try {
      if (!(await stat(path)).isFile()) throw new Error("it is no file");
      files.push({ path: `${CONFIG_FOLDER}${name}`, text: filter(await readFile(path, "utf8")) });
    } catch (error) {
      if (systemErrorCode(error) === "ENOENT") return;
      logger.warn({ err: error, path }, `${path} is left out of the backup: ${(error as Error).message}`);
    }
  };
  await add("myid", join(dataDir, "myid"));
  for (const name of ["currentEpoch", "acceptedEpoch"]) {
    if (snapshots !== null) await add(name, join(snapshots, name));
  }
  if (zooCfg !== null) {
    await add("zoo.cfg", zooCfg.path, withoutSecrets);
    const dynamic = zooCfg.settings.get("dynamicConfigFile");
    if (dynamic !== undefined) await add("zoo.cfg.dynamic", resolve(dirname(zooCfg.path), dynamic), withoutSecrets);
  }
  return files;
}

/** The content of one of them, trimmed, or null. */
export function information(files: readonly ConfigFile[], name: string): string | null {
  return files.find(({ path }) => path === `${CONFIG_FOLDER}${name}`)?.text.trim() ?? null;
}

/** The files as they go into the archive. */
export function* configEntries(files: readonly ConfigFile[]): Generator<Entry, void, void> {
  for (const { path, text } of files) {
    const content = Buffer.from(text);
    yield { path, size: content.byteLength, mtime: new Date(), body: oneChunk(content) };
  }
}
