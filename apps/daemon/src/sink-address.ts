import { BackypError, isBackypError, type Sink } from "@zk-backyp/core";
import { loadPlugin, OWN_PACKAGES } from "./load-plugin.ts";
import type { CliLogger } from "./logger.ts";

/**
 * Opens the sink that `--to` or `--from` names: a path, `file:...`, or the URL of a sink plugin, whose scheme is the
 * plugin's name (`s3://bucket/prefix?endpoint=...`).
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`
 */
export async function openSinkAt(address: string, logger: CliLogger): Promise<Sink> {
  // An empty variable in a script must not mean the working directory.
  if (address.trim() === "") throw new BackypError("ERR_CONFIG_INVALID", "the address of the sink is empty");
  if (/^file:(?!\/)/.test(address)) {
    throw new BackypError("ERR_CONFIG_INVALID", `${address} is no file: address; write file:/path, or a plain path`);
  }
  const folder = process.cwd();
  const url = parseUrl(address);
  if (url === null) {
    const plugin = await loadPlugin("sink", "fs", [OWN_PACKAGES]);
    return plugin.create(plugin.parseOptions({ path: address }), { logger, folder });
  }
  const scheme = url.protocol.slice(0, -1);
  // Our own first: a directory that somebody happens to be in must not decide what code handles file: and s3:.
  const plugin = await loadPlugin("sink", scheme === "file" ? "fs" : scheme, [OWN_PACKAGES, folder]);
  if (plugin.optionsFromUrl === undefined) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `the sink ${plugin.name} cannot be given as an address; use a configuration file`,
    );
  }
  let options: unknown;
  try {
    options = plugin.optionsFromUrl(url);
  } catch (cause) {
    if (isBackypError(cause)) throw cause;
    const message = `${JSON.stringify(redacted(address))} is not an address of a sink: ${(cause as Error).message}`;
    throw new BackypError("ERR_CONFIG_INVALID", message, { cause });
  }
  return plugin.create(plugin.parseOptions(options), { logger, folder });
}

/** Null for what is a path. One letter before the colon is not a scheme. */
function parseUrl(address: string): URL | null {
  if (!/^[a-z][a-z0-9+-]+:/i.test(address)) return null;
  try {
    return new URL(address);
  } catch (cause) {
    throw new BackypError("ERR_CONFIG_INVALID", `${JSON.stringify(redacted(address))} is not an address of a sink`, {
      cause,
    });
  }
}

/** An address without the user and password that somebody may have put into it. */
function redacted(address: string): string {
  return address.replace(/\/\/[^/@]*@/, "//***@");
}
