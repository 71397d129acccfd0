import { readFile } from "node:fs/promises";
import { BackypError, systemErrorCode } from "@zk-backyp/core";

/** A server's configuration file. */
export interface ZooCfg {
  readonly path: string;
  readonly text: string;
  readonly settings: ReadonlyMap<string, string>;
}

/**
 * Reads a `zoo.cfg`.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when it cannot be read
 */
export async function readZooCfg(path: string): Promise<ZooCfg> {
  try {
    const text = await readFile(path, "utf8");
    return { path, text, settings: parseProperties(text) };
  } catch (cause) {
    const why = systemErrorCode(cause) === "ENOENT" ? "there is no such file" : (cause as Error).message;
    throw new BackypError("ERR_SOURCE_UNAVAILABLE", `cannot read ZooKeeper's configuration ${path}: ${why}`, {
      cause,
      details: { path },
    });
  }
}

/**
 * The lines of a Java properties file, as far as a `zoo.cfg` uses that format: `key=value` or `key: value`, comments
 * with `#` or `!`, `\` at a line's end to go on. The last value of a key counts.
 */
export function parseProperties(text: string): Map<string, string> {
  const settings = new Map<string, string>();
  const joined = text.replace(/\\\r?\n[ \t]*/g, "");
  for (const line of joined.split(/\r?\n/)) {
    const match = /^\s*([^#!\s=:][^\s=:]*)\s*[=:\s]\s*(.*?)\s*$/.exec(line);
    if (match?.[1] !== undefined) settings.set(match[1], match[2] ?? "");
  }
  return settings;
}

/**
 * A `zoo.cfg` as it may lie in an archive: the values of passwords (key stores, trust stores, SASL) are blanked.
 */
export function withoutSecrets(text: string): string {
  return text.replace(
    /^(\s*[^#!\s=:]*(?:passw|passphrase|secret|credential|superDigest)[^\s=:]*\s*[=:]\s*).*$/gim,
    "$1(left out)",
  );
}
