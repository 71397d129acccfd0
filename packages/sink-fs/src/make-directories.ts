import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { systemErrorCode } from "@zk-backyp/core";

/**
 * Makes a directory and those above it that are missing. Returns the first that was made, or undefined.
 *
 * Node's own recursive `mkdir` tries for ever where a file system says of a directory that is there that the new one's
 * parent is not (`/proc`, an automounter without that name).
 */
export async function makeDirectories(path: string, mode: number): Promise<string | undefined> {
  const make = async (): Promise<string | undefined> => {
    try {
      await mkdir(path, { mode });
      return path;
    } catch (error) {
      if (systemErrorCode(error) === "EEXIST" && (await stat(path)).isDirectory()) return undefined;
      throw error;
    }
  };
  try {
    return await make();
  } catch (error) {
    const above = dirname(path);
    if (systemErrorCode(error) !== "ENOENT" || above === path) throw error;
    const first = await makeDirectories(above, mode);
    const made = await make();
    return first ?? made;
  }
}
