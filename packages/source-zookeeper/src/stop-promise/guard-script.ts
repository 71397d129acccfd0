import { readFile } from "node:fs/promises";

/**
 * The text of `guard/guard.sh`, which lies beside `src` and `dist`. A file of its own, so that it can be read and
 * checked as what it is; run as text (`sh -c`), so that an upgrade of the package does not change a script that a shell
 * is still reading. Whoever bundles this package into one file replaces this module by one that holds the text.
 */
export async function readGuardScript(): Promise<string> {
  const text = await readFile(new URL("../../guard/guard.sh", import.meta.url), "utf8");
  // It stands in the list of processes, where its words about servers are not to be taken for one.
  return text.replace(/^\s*#.*\n/gm, "");
}
