import { BackypError, parseWith } from "@zk-backyp/core";
import { configInvalid, fieldsOf } from "./config-issues.ts";
import { configFormJsonSchema } from "./config-json-schema.ts";
import { configSchema, type WrittenConfig, type WrittenHttp } from "./config-schema.ts";
import type { Config, SeriesConfig } from "./config-types.ts";
import { type FoundConfig, findConfig } from "./find-config.ts";

/**
 * Reads the configuration for a command that uses one series of it: the file at `path`, or the first of
 * `zk-backyp.config.{yaml,yml,json,js,mjs,ts}` in the working directory. Null if no path is given and there is none. Its
 * form is checked; secrets and plugins' options are not, since only what the command opens is needed.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, naming every wrong field, with `ConfigIssue`s in `details.issues`
 */
export async function readConfig(path: string | undefined): Promise<Config | null> {
  const found = await findConfig(path);
  if (found === null) return null;
  const { series, helper } = writtenIn(found);
  return { path: found.path, folder: found.folder, series, helper };
}

/** Where a daemon with this configuration listens, as it is written: no secret was looked up, and paths are relative. */
interface HttpPlace extends Pick<Config, "path" | "folder"> {
  readonly http: WrittenHttp | false;
}

/**
 * Reads the configuration for a command that speaks to the daemon. Else as {@link readConfig}.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export async function readHttpPlace(path: string | undefined): Promise<HttpPlace | null> {
  const found = await findConfig(path);
  if (found === null) return null;
  return { path: found.path, folder: found.folder, http: writtenIn(found).http };
}

function writtenIn(found: FoundConfig): WrittenConfig {
  try {
    return parseWith(configSchema, found.content, found.path);
  } catch (error) {
    throw configInvalid(found, fieldsOf(error, []), configFormJsonSchema());
  }
}

/**
 * The series called `name`, or the only one there is.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function seriesOf(
  config: Pick<Config, "path" | "series">,
  name: string | undefined,
): { name: string; series: SeriesConfig } {
  const names = Object.keys(config.series);
  const chosen = name ?? (names.length === 1 ? names[0] : undefined);
  const series = chosen !== undefined && Object.hasOwn(config.series, chosen) ? config.series[chosen] : undefined;
  if (chosen !== undefined && series !== undefined) return { name: chosen, series };
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    names.length === 0
      ? `${config.path} has no series: is it the configuration of a helper?`
      : chosen === undefined
        ? `${config.path} has ${names.length} series (${names.join(", ")}): say which with --series`
        : `${config.path} has no series ${JSON.stringify(chosen)}; there are: ${names.join(", ")}`,
  );
}
