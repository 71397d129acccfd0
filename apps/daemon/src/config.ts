import { dirname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { BackypError, isBackypError, parseRetentionRules, parseWith, type RetentionRules } from "@zk-backyp/core";
import { cosmiconfig } from "cosmiconfig";
import { z } from "zod";

/** A plugin's place in a configuration: its name, and beside it its options. */
interface PluginConfig {
  readonly use: string;
  readonly [option: string]: unknown;
}

/** One series of a configuration: a source, a sink, and how they are joined. */
export interface SeriesConfig {
  readonly source: PluginConfig;
  readonly sink: PluginConfig;
  /** What ids and keys begin with. Default: the series' name. */
  readonly prefix?: string | undefined;
  /** Default: gzip at level 5. */
  readonly compression?: "gzip" | "none" | { readonly gzip: { readonly level: number } } | undefined;
  /** The source's option of that name. */
  readonly mode?: "hot" | "cold" | undefined;
  /** Which backups a prune keeps. */
  readonly retention?: RetentionRules | undefined;
}

const plugin = z.looseObject({ use: z.string().min(1) });

/** The rules as core checks them. */
const retention = z.unknown().transform((raw, context): RetentionRules => {
  try {
    return parseRetentionRules(raw);
  } catch (error) {
    if (!isBackypError(error)) throw error;
    for (const message of error.details.issues as readonly string[]) context.addIssue({ code: "custom", message });
    return z.NEVER;
  }
});

const seriesSchema: z.ZodType<SeriesConfig> = z
  .strictObject({
    source: plugin,
    sink: plugin,
    prefix: z.string().optional(),
    compression: z
      .union([z.enum(["gzip", "none"]), z.strictObject({ gzip: z.strictObject({ level: z.int().min(1).max(9) }) })])
      .optional(),
    mode: z.enum(["hot", "cold"]).optional(),
    retention: retention.optional(),
  })
  .refine(({ mode, source }) => mode === undefined || source.mode === undefined || source.mode === mode, {
    message: "is another one than source.mode: say it once",
    path: ["mode"],
  });

/** What a configuration holds. */
interface ConfigContent {
  readonly series: Readonly<Record<string, SeriesConfig>>;
  /** The root helper's options, which it checks itself. It may have a configuration without any series. */
  readonly helper?: Readonly<Record<string, unknown>> | undefined;
}

const configSchema: z.ZodType<ConfigContent> = z
  .strictObject({ series: z.record(z.string().min(1), seriesSchema).optional(), helper: z.looseObject({}).optional() })
  .refine((content) => content.series !== undefined || content.helper !== undefined, {
    message: "there are none",
    path: ["series"],
  })
  .transform(({ series = {}, helper }) => ({ series, helper }));

/** A configuration that was read and checked. */
export interface Config extends ConfigContent {
  readonly path: string;
  /** Relative paths in it, and its plugins, are looked for from here. */
  readonly folder: string;
}

const NAMES = ["yaml", "yml", "json", "js", "mjs", "ts"].map((ending) => `zk-backyp.config.${ending}`);

/** Node itself takes the types out of a `.ts` file; the loader that cosmiconfig has wants the compiler. */
const importModule = async (path: string): Promise<unknown> =>
  ((await import(pathToFileURL(path).href)) as { default?: unknown }).default;

/**
 * Reads the configuration: the file at `path`, or the first of `zk-backyp.config.{yaml,yml,json,js,mjs,ts}` in the
 * working directory. Null if no path is given and there is none.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, naming every wrong field
 */
export async function readConfig(path: string | undefined): Promise<Config | null> {
  const explorer = cosmiconfig("zk-backyp", {
    searchPlaces: NAMES,
    loaders: { ".js": importModule, ".mjs": importModule, ".ts": importModule },
  });
  const found = await readWith(path, () => (path === undefined ? explorer.search() : explorer.load(resolve(path))));
  if (found === null) return null;
  const content = parseWith(configSchema, found.config ?? null, `the configuration ${found.filepath}`);
  return { path: found.filepath, folder: dirname(found.filepath), ...content };
}

async function readWith<Result>(path: string | undefined, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (cause) {
    if (isBackypError(cause)) throw cause;
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `cannot read the configuration${path === undefined ? "" : ` ${path}`}: ${reasonOf(cause)}`,
    );
  }
}

/** Why a file cannot be read, without the excerpt from it that parsers like to show: it may hold a secret. */
function reasonOf(cause: unknown): string {
  const { name, message, reason, mark } = cause as Error & {
    readonly reason?: string;
    readonly mark?: { readonly line: number; readonly column: number };
  };
  if (mark !== undefined) return `${reason} in line ${mark.line + 1}, column ${mark.column + 1}`;
  if (name !== "SyntaxError" && name !== "JSONError" && !/JSON/.test(message)) return message;
  const place = /line \d+,? column \d+|position \d+/.exec(message)?.[0];
  return `it is not valid${place === undefined ? "" : `, at ${place}`}`;
}

/**
 * The series called `name`, or the only one there is.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function seriesOf(config: Config, name: string | undefined): { name: string; series: SeriesConfig } {
  const names = Object.keys(config.series);
  const chosen = name ?? (names.length === 1 ? names[0] : undefined);
  const series = chosen !== undefined && Object.hasOwn(config.series, chosen) ? config.series[chosen] : undefined;
  if (chosen !== undefined && series !== undefined) return { name: chosen, series };
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    names.length === 0
      ? `${config.path} has no series: is it the configuration of a helper?`
      : chosen === undefined
        ? `${config.path} has ${names.length} series${names.length === 0 ? "" : ` (${names.join(", ")}): say which with --series`}`
        : `${config.path} has no series ${JSON.stringify(chosen)}; there are: ${names.join(", ")}`,
  );
}
