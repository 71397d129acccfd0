import { BackypError, isBackypError, type Logger, type Sink, type SinkPlugin } from "@zk-backyp/core";
import { loadPlugin, OWN_PACKAGES } from "./load-plugin.ts";

/**
 * Opens the sink that `--to` or `--from` names: a path, `file:...`, or the URL of a sink plugin, whose scheme is the
 * plugin's name (`s3://bucket/prefix?endpoint=...`).
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`
 */
export async function openSinkAt(address: string, logger: Logger): Promise<Sink> {
  const { plugin, options } = await sinkOptionsAt(address);
  return plugin.create(plugin.parseOptions(options), { logger, folder: process.cwd() });
}

/**
 * The sink that an address names, and its options as a configuration would have them.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`
 */
export async function sinkOptionsAt(
  address: string,
): Promise<{ readonly plugin: SinkPlugin<unknown>; readonly options: unknown }> {
  // An empty variable in a script must not mean the working directory.
  if (address.trim() === "") throw new BackypError("ERR_CONFIG_INVALID", "the address of the sink is empty");
  if (/^file:(?!\/)/.test(address)) {
    throw new BackypError("ERR_CONFIG_INVALID", `${address} is no file: address; write file:/path, or a plain path`);
  }
  const folder = process.cwd();
  const url = parseUrl(address);
  if (url === null) {
    return { plugin: await loadPlugin("sink", "fs", [OWN_PACKAGES]), options: { path: address } };
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
  try {
    return { plugin, options: plugin.optionsFromUrl(url) };
  } catch (cause) {
    if (isBackypError(cause)) throw cause;
    const message = `${JSON.stringify(redacted(address))} is not an address of a sink: ${(cause as Error).message}`;
    throw new BackypError("ERR_CONFIG_INVALID", message, { cause });
  }
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
