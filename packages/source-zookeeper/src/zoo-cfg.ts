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
 * A Java properties file, as far as a `zoo.cfg` uses that format: `key=value`, `key: value` or `key value`, comments
 * with `#` or `!`, `\` at a line's end to go on. The last value of a key counts.
 */
export function parseProperties(text: string): Map<string, string> {
  const settings = new Map<string, string>();
  for (const line of logicalLines(text)) {
    const { key, value } = split(line) ?? {};
    if (key !== undefined && value !== undefined) settings.set(key, value);
  }
  return settings;
}

/** Settings whose values are nobody's secret. Whatever else there is may be one, under a name that nobody foresaw. */
const HARMLESS =
  /^(dataDir|dataLogDir|clientPort(Address)?|secureClientPort(Address)?|tickTime|initLimit|syncLimit|connectToLearnerMasterLimit|(min|max)SessionTimeout|maxClientCnxns|maxCnxns|preAllocSize|snapCount|snapSizeLimitInKb|txnLogSizeLimitInKb|electionAlg|leaderServes|peerType|quorumListenOnAllIPs|standaloneEnabled|reconfigEnabled|dynamicConfigFile|localSessionsEnabled|localSessionsUpgradingEnabled|extendedTypesEnabled|forceSync|jute\.maxbuffer|observerMasterPort|syncEnabled|sslQuorum|portUnification|client\.portUnification|serverCnxnFactory|4lw\.commands\.whitelist|autopurge\.\w+|admin\.(enableServer|serverAddress|serverPort|commandURL)|metricsProvider\.(className|httpHost|httpPort)|digest\.enabled|snapshot\.[\w.]+|server\.\d+|group\.\d+|weight\.\d+|version)$/;

/** A `zoo.cfg` as it may lie in an archive: the names of all settings, the values of those that are harmless. */
export function withoutSecrets(text: string): string {
  const kept = logicalLines(text).flatMap((line) => {
    const setting = split(line);
    if (setting === null) return [];
    return [HARMLESS.test(setting.key) ? `${setting.key}=${setting.value}` : `${setting.key}=(left out)`];
  });
  return `${kept.join("\n")}\n`;
}

/** Lines, with those that end in `\` joined to the next, as they were where nothing is joined. */
function logicalLines(text: string): string[] {
  const lines: string[] = [];
  let begun: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    const whole: string = begun === undefined ? line : begun + line.trimStart();
    // Comments do not go on; a backslash before the last one makes both mean one plain backslash.
    const goesOn = !/^\s*[#!]/.test(whole) && (/\\*$/.exec(whole)?.[0].length ?? 0) % 2 === 1;
    if (goesOn) begun = whole.slice(0, -1);
    else lines.push(whole);
    if (!goesOn) begun = undefined;
  }
  if (begun !== undefined) lines.push(begun);
  return lines;
}

/** Null for comments and empty lines. */
function split(line: string): { key: string; value: string } | null {
  const match = /^\s*([^#!\s=:][^\s=:]*)\s*[=:\s]?\s*(.*?)\s*$/.exec(line);
  return match?.[1] === undefined ? null : { key: match[1], value: match[2] ?? "" };
}
