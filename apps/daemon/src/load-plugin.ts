import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { BackypError, PLUGIN_API_VERSION, type Plugin, type SinkPlugin, type SourcePlugin } from "@zk-backyp/core";
import { OWN_PLUGINS } from "./own-plugins.ts";

/** The packages that came with the command. */
export const OWN_PACKAGES = "zk-backyp's own packages";
/** Where plugins are looked for: a folder, with the `node_modules` in it and above it, or the command's own packages. */
export type PluginPlace = string | typeof OWN_PACKAGES;

interface PluginKinds {
  source: SourcePlugin<unknown>;
  sink: SinkPlugin<unknown>;
}

/**
 * Finds a plugin by the name that a configuration uses: `s3` in the sink's place means `@zk-backyp/sink-s3`, then
 * `zk-backyp-sink-s3`. A name with `/`, `@` or `.` is taken as written. Looked for in `places`, in their order.
 *
 * @throws BackypError `ERR_PLUGIN_NOT_FOUND`, naming every place that was tried
 * @throws BackypError `ERR_PLUGIN_INVALID` when what is there is no plugin of that kind and API version
 */
export async function loadPlugin<Kind extends keyof PluginKinds>(
  kind: Kind,
  name: string,
  places: readonly PluginPlace[],
): Promise<PluginKinds[Kind]> {
  const modules = /[/@.]/.test(name) ? [name] : [`@zk-backyp/${kind}-${name}`, `zk-backyp-${kind}-${name}`];
  for (const place of places) {
    const base = place === OWN_PACKAGES ? import.meta.url : pathToFileURL(join(place, "package.json")).href;
    for (const module of modules) {
      const own = place === OWN_PACKAGES && Object.hasOwn(OWN_PLUGINS, module) ? OWN_PLUGINS[module] : undefined;
      if (own !== undefined) return requirePlugin(kind, module, (await own()).default);
      const path = resolveFrom(base, module);
      if (path !== undefined) return requirePlugin(kind, module, await importDefault(module, path));
    }
  }
  throw new BackypError(
    "ERR_PLUGIN_NOT_FOUND",
    `there is no ${kind} plugin ${JSON.stringify(name)}: looked for ${modules.join(" and ")} in ${places.join(" and in ")}; install it there with npm`,
    { details: { name, modules } },
  );
}

function resolveFrom(base: string, module: string): string | undefined {
  try {
    return createRequire(base).resolve(module);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "MODULE_NOT_FOUND") return undefined;
    throw new BackypError("ERR_PLUGIN_INVALID", `${module} is there but cannot be loaded: ${message}`, { cause });
  }
}

async function importDefault(module: string, path: string): Promise<unknown> {
  try {
    return ((await import(pathToFileURL(path).href)) as { default?: unknown }).default;
  } catch (cause) {
    throw new BackypError(
      "ERR_PLUGIN_INVALID",
      `the plugin ${module} (${path}) fails to load: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
}

function requirePlugin<Kind extends keyof PluginKinds>(kind: Kind, module: string, found: unknown): PluginKinds[Kind] {
  const plugin = found as Partial<Plugin<string, unknown, unknown>> | null | undefined;
  let problem: string | undefined;
  if (typeof plugin?.create !== "function" || typeof plugin.parseOptions !== "function") {
    problem = `its default export was not made with define${kind === "sink" ? "Sink" : "Source"}`;
  } else if (plugin.kind !== kind) {
    problem = `it is a ${plugin.kind}`;
  } else if (plugin.apiVersion !== PLUGIN_API_VERSION) {
    problem = `it is made for plugin API version ${plugin.apiVersion}, this release has ${PLUGIN_API_VERSION}`;
  }
  if (problem === undefined) return found as PluginKinds[Kind];
  throw new BackypError("ERR_PLUGIN_INVALID", `${module} is no ${kind} plugin that can be used here: ${problem}`, {
    details: { module },
  });
}
