import {
  BackypError,
  type Codec,
  gzip,
  type Logger,
  openSeries,
  prefixOfBackupId,
  type RetentionRules,
  type Series,
  type Sink,
  type Source,
} from "@zk-backyp/core";
import { type Config, readConfig, type SeriesConfig, seriesOf } from "./config.ts";
import { loadPlugin, OWN_PACKAGES } from "./load-plugin.ts";
import { withSecrets } from "./secrets.ts";
import { openSinkAt } from "./sink-address.ts";
import { given, type SourceFlags, sourceOptions } from "./source-flags.ts";
import { version } from "./version.ts";

/** What ids and keys begin with when nobody says otherwise: what the origin's operators know. */
export const DEFAULT_PREFIX = "zookeeper-backup";

/** Where a command finds its series: an address on the command line, or a series of a configuration file. */
export interface SeriesFlags {
  /** `--to` or `--from`. */
  readonly address?: string | undefined;
  readonly prefix?: string | undefined;
  readonly config?: string | undefined;
  readonly series?: string | undefined;
  readonly compression?: string | undefined;
  /** The source's options from the command line, where any were given. */
  readonly source?: SourceFlags | undefined;
  /** The backup that is asked for; its prefix is used when none is given. */
  readonly id?: string | undefined;
}

/** A series that is ready to use, and everything that has to be closed after it. */
export interface OpenedSeries extends AsyncDisposable {
  readonly series: Series;
  readonly source: Source;
  readonly sink: Sink;
  readonly prefix: string;
  /** What the configuration says about which backups to keep. */
  readonly retention: RetentionRules | undefined;
}

/**
 * Opens the series that the flags name.
 *
 * @param flagName what the address is called on this command, for messages: `--to`
 * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`, `ERR_PLUGIN_INVALID`
 */
export async function openSeriesFor(flags: SeriesFlags, flagName: string, logger: Logger): Promise<OpenedSeries> {
  const configured = await configuredSeries(flags, flagName);
  if (configured !== null) return openConfigured(configured, flags, logger);
  const parts = {
    prefix: flags.prefix ?? prefixFromId(flags.id),
    compression: flags.compression ?? "gzip",
    retention: undefined,
  };
  const sink = await openSinkAt(flags.address ?? "", logger);
  return join(sink, () => openZooKeeperSource(flags.source ?? {}, logger), parts, logger);
}

/**
 * Opens a series of a configuration.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`, `ERR_PLUGIN_INVALID`
 */
export function openSeriesOf(config: Config, name: string, logger: Logger): Promise<OpenedSeries> {
  return openConfigured({ ...seriesOf(config, name), config }, {}, logger);
}

async function openConfigured(configured: Configured, flags: SeriesFlags, logger: Logger): Promise<OpenedSeries> {
  const { name, series } = configured;
  const sink = await openPlugin("sink", series.sink, configured, logger);
  const parts = {
    prefix: flags.prefix ?? series.prefix ?? name,
    compression: flags.compression ?? series.compression ?? "gzip",
    retention: series.retention,
  };
  return join(sink, () => openConfiguredSource(configured, flags.source ?? {}, logger), parts, logger);
}

interface SeriesParts {
  readonly prefix: string;
  readonly compression: string | { readonly gzip: { readonly level: number } };
  readonly retention: RetentionRules | undefined;
}

/** Puts them together; closes what is open if that fails. */
async function join(
  sink: Sink,
  openSource: () => Promise<Source>,
  { prefix, compression, retention }: SeriesParts,
  logger: Logger,
): Promise<OpenedSeries> {
  let source: Source | undefined;
  const close = async (): Promise<void> => {
    try {
      await source?.close();
    } finally {
      await sink.close();
    }
  };
  try {
    source = await openSource();
    const tool = { name: "zk-backyp", version };
    const series = openSeries({ prefix, source, sink, codecs: codecsFor(compression), logger, tool });
    return { series, source, sink, prefix, retention, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * Opens the source that the flags name: a server, or a series of a configuration, whose sink is left alone.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, `ERR_PLUGIN_NOT_FOUND`, `ERR_PLUGIN_INVALID`
 */
export async function openSourceFor(
  { config: path, series, source }: Pick<SeriesFlags, "config" | "series"> & { readonly source: SourceFlags },
  logger: Logger,
): Promise<Source> {
  if (Object.keys(given({ ...source, mode: undefined })).length > 0) {
    if (path === undefined && series === undefined) return openZooKeeperSource(source, logger);
    throw new BackypError("ERR_CONFIG_INVALID", "name a server, or a series of a configuration file, but not both");
  }
  const config = await readConfig(path);
  if (config === null) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      "which server? Give --zoo-cfg or --data-dir and --server, and --control, or a configuration file with --config",
    );
  }
  return openConfiguredSource({ ...seriesOf(config, series), config }, {}, logger);
}

interface Configured {
  readonly name: string;
  readonly series: SeriesConfig;
  readonly config: Config;
}

/** Null when the command line says it all. */
async function configuredSeries(flags: SeriesFlags, flagName: string): Promise<Configured | null> {
  if (flags.address !== undefined) {
    if (flags.config === undefined && flags.series === undefined) return null;
    throw new BackypError("ERR_CONFIG_INVALID", `give ${flagName}, or a series of a configuration file, but not both`);
  }
  const config = await readConfig(flags.config);
  if (config === null) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `where are the backups? Give ${flagName} (a directory or s3://bucket/prefix), or a configuration file with --config`,
    );
  }
  return { ...seriesOf(config, flags.series), config };
}

function prefixFromId(id: string | undefined): string {
  return (id === undefined ? null : prefixOfBackupId(id)) ?? DEFAULT_PREFIX;
}

async function openPlugin<Kind extends "source" | "sink">(
  kind: Kind,
  { use, ...options }: { readonly use: string; readonly [option: string]: unknown },
  { name, config }: Configured,
  logger: Logger,
): Promise<Kind extends "sink" ? Sink : Source>;
async function openPlugin(
  kind: "source" | "sink",
  { use, ...options }: { readonly use: string; readonly [option: string]: unknown },
  { name, config }: Configured,
  logger: Logger,
): Promise<Sink | Source> {
  const plugin = await loadPlugin(kind, use, [config.folder, OWN_PACKAGES]);
  // Each option by itself: `file: x.db` among them is the plugin's, not a secret's place.
  const raw = Object.entries(options).map(([option, value]) => [
    option,
    withSecrets(value, config.folder, `series.${name}.${kind}.${option}`),
  ]);
  return plugin.create(plugin.parseOptions(Object.fromEntries(raw)), { logger, folder: config.folder });
}

async function openZooKeeperSource(flags: SourceFlags, logger: Logger): Promise<Source> {
  const options = sourceOptions(flags);
  const plugin = await loadPlugin("source", "zookeeper", [OWN_PACKAGES]);
  return plugin.create(plugin.parseOptions(options), { logger, folder: process.cwd() });
}

/**
 * A configured source is taken as it is configured: one more directory from the command line would mix two servers. Only
 * its mode may be another one this time.
 */
async function openConfiguredSource(
  configured: Configured,
  { mode, ...others }: SourceFlags,
  logger: Logger,
): Promise<Source> {
  const { series, name } = configured;
  if (Object.keys(given(others)).length > 0) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      `where the data is, and what stops its server, comes from the series ${name} of the configuration; leave --data-dir and the like out, or give --to`,
    );
  }
  return openPlugin("source", { ...series.source, ...given({ mode: mode ?? series.mode }) }, configured, logger);
}

function codecsFor(compression: string | { readonly gzip: { readonly level: number } }): Codec[] {
  if (compression === "none") return [];
  if (typeof compression === "object") return [gzip(compression.gzip)];
  if (compression === "gzip") return [gzip()];
  const level = /^gzip:(\d+)$/.exec(compression)?.[1];
  if (level !== undefined) return [gzip({ level: Number(level) })];
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `${JSON.stringify(compression)} is no compression: use gzip, gzip:1 to gzip:9, or none`,
  );
}
