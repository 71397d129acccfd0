import { access } from "node:fs/promises";
import { resolve } from "node:path";
import {
  isBackypError,
  type JsonObject,
  type Plugin,
  parseWith,
  type Sink,
  type SinkPlugin,
  silentLogger,
  type WrongField,
} from "@zk-backyp/core";
import { loadPlugin, OWN_PACKAGES } from "../load-plugin.ts";
import { checkTemplate } from "../notifications/template.ts";
import { withSecrets } from "../secrets.ts";
import { configInvalid, fieldsOf } from "./config-issues.ts";
import { configFormJsonSchema, OWN_PLUGINS, withPluginOptions } from "./config-json-schema.ts";
import {
  configSchema,
  httpSchema,
  notificationSchema,
  type WrittenConfig,
  type WrittenNotification,
} from "./config-schema.ts";
import type { DaemonConfig, HttpConfig, NotificationConfig, SeriesConfig } from "./config-types.ts";
import { type FoundConfig, findConfig } from "./find-config.ts";
import { nearestName } from "./nearest-name.ts";

const MIN_TOKEN_LENGTH = 16;

/** What was found so far. */
class Findings {
  readonly fields: WrongField[] = [];
  /** JSON Schemas of the options of the plugins that were loaded. */
  readonly options: { readonly path: readonly string[]; readonly schema: JsonObject }[] = [];

  add(path: readonly string[], message: string): void {
    this.fields.push({ path, message, isUnknown: false });
  }
}

/**
 * Reads the configuration for the daemon, and checks it whole: also the options of every series' plugins, secrets,
 * schedules, and what does not go together. The place is found as by `readConfig`.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, naming all that is wrong, with `ConfigIssue`s in `details.issues`
 */
export async function readDaemonConfig(path: string | undefined): Promise<DaemonConfig | null> {
  const found = await findConfig(path);
  if (found === null) return null;
  const findings = new Findings();
  const written = writtenConfig(found, findings);
  const sinks = await checkPlugins(found, findings);
  let config: DaemonConfig | null = null;
  if (written !== null) {
    config = await completed(written, found, findings);
    await checkPlaces(written, sinks, found, findings);
  }
  if (written === null) await checkParts(found, findings);
  if (config !== null && findings.fields.length === 0) return config;
  const schema = findings.options.reduce(withPluginOptions, configFormJsonSchema());
  throw configInvalid(found, findings.fields, schema);
}

function writtenConfig(found: FoundConfig, findings: Findings): WrittenConfig | null {
  try {
    const written = parseWith(configSchema, found.content, found.path);
    if (Object.keys(written.series).length > 0) return written;
    findings.add(["series"], "there are none, so that there is nothing to do");
  } catch (error) {
    findings.fields.push(...fieldsOf(error, []));
  }
  return null;
}

/** A sink that could be opened, and how. */
interface OpenableSink {
  readonly plugin: SinkPlugin<unknown>;
  readonly options: unknown;
}

/** Asks every plugin what it thinks of its options, also where the rest of the configuration is wrong. */
async function checkPlugins(found: FoundConfig, findings: Findings): Promise<Map<string, OpenableSink>> {
  const sinks = new Map<string, OpenableSink>();
  const { series } = (found.content ?? {}) as { readonly series?: unknown };
  for (const [name, content] of Object.entries(isObject(series) ? series : {})) {
    for (const kind of ["source", "sink"] as const) {
      const written = isObject(content) ? content[kind] : undefined;
      if (!isObject(written) || typeof written.use !== "string" || written.use === "") continue;
      const { use, ...rest } = written;
      // A source's mode may stand beside it.
      const options =
        kind === "source" && isObject(content) && (content.mode === "hot" || content.mode === "cold")
          ? { mode: content.mode, ...rest }
          : rest;
      const path = ["series", name, kind];
      const plugin = await pluginFor(kind, use as string, path, found, findings);
      if (plugin === null) continue;
      const checked = checkOptions(plugin, options, path, found, findings);
      if (kind === "sink" && checked !== null) {
        sinks.set(name, { plugin: plugin as SinkPlugin<unknown>, options: checked.options });
      }
    }
  }
  return sinks;
}

async function pluginFor(
  kind: "source" | "sink",
  use: string,
  path: readonly string[],
  { folder }: FoundConfig,
  findings: Findings,
): Promise<Plugin<string, unknown, unknown> | null> {
  try {
    const plugin = await loadPlugin(kind, use, [folder, OWN_PACKAGES]);
    const schema = plugin.optionsJsonSchema?.();
    if (schema !== undefined) findings.options.push({ path, schema });
    return plugin;
  } catch (error) {
    if (!isBackypError(error)) throw error;
    const meant = nearestName(use, OWN_PLUGINS[kind]);
    findings.add([...path, "use"], `${error.message}${meant === null ? "" : `. Did you mean ${meant}?`}`);
    return null;
  }
}

function checkOptions(
  plugin: Plugin<string, unknown, unknown>,
  written: Readonly<Record<string, unknown>>,
  path: readonly string[],
  { folder }: FoundConfig,
  findings: Findings,
): { readonly options: unknown } | null {
  const missing: string[] = [];
  const entries = Object.entries(written).map(([option, value]) => {
    // Each option by itself: `file: x.db` among them is the plugin's, not a secret's place.
    const filled = withSecretsOr(value, [...path, option], folder, (where, message) => {
      missing.push(where.join("\0"));
      findings.add(where, message);
    });
    return [option, filled];
  });
  try {
    return { options: plugin.parseOptions(Object.fromEntries(entries)) };
  } catch (error) {
    const fields = fieldsOf(error, path);
    // What is wrong with a secret that is not there was said.
    const isSaid = (field: WrongField): boolean => missing.includes(field.path.join("\0"));
    findings.fields.push(...fields.filter((field) => !isSaid(field)));
    return null;
  }
}

/** Puts secrets in place. Those that are not there are told, and stand as a text that is none of theirs. */
function withSecretsOr(
  value: unknown,
  path: readonly string[],
  folder: string,
  onMissing: (path: readonly string[], message: string) => void,
): unknown {
  if (Array.isArray(value)) {
    return value.map((inner, index) => withSecretsOr(inner, [...path, String(index)], folder, onMissing));
  }
  if (!isObject(value)) return value;
  const [only] = Object.entries(value);
  if (Object.keys(value).length === 1 && (only?.[0] === "env" || only?.[0] === "file") && typeof only[1] === "string") {
    const where = path.join(".");
    try {
      return withSecrets(value, folder, where);
    } catch (error) {
      if (!isBackypError(error)) throw error;
      onMissing(path, error.message.slice(`${where}: `.length));
      return "not there";
    }
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, withSecretsOr(inner, [...path, key], folder, onMissing)]),
  );
}

/** Of a configuration whose form is wrong: what can be told all the same of parts whose form is not. */
async function checkParts({ content, folder }: FoundConfig, findings: Findings): Promise<void> {
  const { http, notifications } = (content ?? {}) as { readonly http?: unknown; readonly notifications?: unknown };
  const listening = httpSchema.safeParse(http);
  if (listening.success) await completedHttp(listening.data, folder, findings);
  for (const [index, each] of (Array.isArray(notifications) ? notifications : []).entries()) {
    const target = notificationSchema.safeParse(each);
    if (target.success) completedNotification(target.data, ["notifications", String(index)], folder, findings);
  }
}

/** Two series must not write under the same keys: each would take the other's backups for its own. */
async function checkPlaces(
  { series }: WrittenConfig,
  sinks: ReadonlyMap<string, OpenableSink>,
  { folder }: FoundConfig,
  findings: Findings,
): Promise<void> {
  const prefixOf = ([name, { prefix }]: readonly [string, SeriesConfig]): string => prefix ?? name;
  const entries = Object.entries(series);
  const places = new Map<string, string>();
  for (const entry of entries) {
    const prefix = prefixOf(entry);
    const sink = sinks.get(entry[0]);
    if (sink === undefined || entries.filter((other) => prefixOf(other) === prefix).length < 2) continue;
    const place = JSON.stringify([prefix, await placeOf(sink, folder)]);
    const other = places.get(place);
    if (other === undefined) places.set(place, entry[0]);
    else
      findings.add(["series", entry[0], "prefix"], `is that of the series ${other} in the same sink: give it its own`);
  }
}

async function placeOf({ plugin, options }: OpenableSink, folder: string): Promise<readonly unknown[]> {
  // What a location, which is for people, does not tell apart.
  const { endpoint } = options as { readonly endpoint?: unknown };
  let sink: Sink | undefined;
  try {
    sink = await plugin.create(options, { logger: silentLogger, folder });
    return [plugin.name, sink.location, endpoint];
  } catch {
    // Why not is told by whoever needs it.
    return [plugin.name, options];
  } finally {
    await sink?.close();
  }
}

/** Secrets, defaults and full paths in their places. */
async function completed(
  { series, helper, http, notifications, stateDir, log }: WrittenConfig,
  { path, folder }: FoundConfig,
  findings: Findings,
): Promise<DaemonConfig> {
  const [systemdStateDir] = (process.env.STATE_DIRECTORY ?? "").split(":");
  const ownStateDir = stateDir === undefined ? systemdStateDir : resolve(folder, stateDir);
  return {
    path,
    folder,
    series,
    helper,
    http: http === false ? false : await completedHttp(http, folder, findings),
    notifications: notifications.map((each, index) =>
      completedNotification(each, ["notifications", String(index)], folder, findings),
    ),
    stateDir: ownStateDir === "" ? undefined : ownStateDir,
    log,
  };
}

async function completedHttp(
  { token, tls, host, port }: Exclude<WrittenConfig["http"], false>,
  folder: string,
  findings: Findings,
): Promise<HttpConfig> {
  let isThere = true;
  const secret = withSecretsOr(token, ["http", "token"], folder, (where, message) => {
    isThere = false;
    findings.add(where, message);
  }) as string | undefined;
  if (isThere && secret !== undefined && secret.length < MIN_TOKEN_LENGTH) {
    findings.add(["http", "token"], `is shorter than ${MIN_TOKEN_LENGTH} characters, and could be guessed`);
  }
  if (isThere && secret !== undefined && !/^[\x21-\x7e]+$/.test(secret)) {
    findings.add(
      ["http", "token"],
      "holds a space, a line end or a letter that is not ASCII, which no HTTP header takes",
    );
  }
  const files = tls && { certFile: resolve(folder, tls.certFile), keyFile: resolve(folder, tls.keyFile) };
  for (const [name, file] of Object.entries(files ?? {})) {
    await access(file).catch((cause: Error) => findings.add(["http", "tls", name], `cannot be read: ${cause.message}`));
  }
  return { host, port, ...(files && { tls: files }), ...(secret !== undefined && { token: secret }) };
}

function completedNotification(
  written: WrittenNotification,
  path: readonly string[],
  folder: string,
  findings: Findings,
): NotificationConfig {
  if (written.use === "command") return written;
  const missing = new Set<string>();
  const fill = (value: unknown, name: string): unknown =>
    withSecretsOr(value, [...path, name], folder, (where, message) => {
      missing.add(where.join("\0"));
      findings.add(where, message);
    });
  const url = fill(written.url, "url") as string;
  if (!missing.has([...path, "url"].join("\0")) && !isWebAddress(url)) {
    findings.add([...path, "url"], "is no http:// or https:// address");
  }
  const body = written.body === undefined ? undefined : fill(written.body, "body");
  for (const { path: place, message } of checkTemplate(body ?? null)) {
    findings.add([...path, "body", ...place.map(String)], message);
  }
  const headers = fill(written.headers, "headers") as Record<string, string> | undefined;
  for (const [name, value] of Object.entries(headers ?? {})) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value))
      findings.add([...path, "headers", name], "holds a line end or the like");
  }
  return { ...written, url, headers, ...(body === undefined ? {} : { body }) };
}

function isWebAddress(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
