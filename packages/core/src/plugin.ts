import { BackypError } from "./errors.ts";
import type { Logger } from "./run-context.ts";
import type { Sink } from "./sink.ts";
import type { Source } from "./source.ts";

/** Version of the contract between core and plugins that this release speaks. */
export const PLUGIN_API_VERSION = 1;

/** The default export of a plugin module: how to check its options and how to make the thing. */
export interface Plugin<Kind extends string, Options, Product> {
  readonly kind: Kind;
  /** The short name used in configuration and manifests: `s3`, `zookeeper`. */
  readonly name: string;
  readonly apiVersion: typeof PLUGIN_API_VERSION;
  /** @throws BackypError `ERR_CONFIG_INVALID`, naming every wrong field */
  parseOptions(raw: unknown): Options;
  create(options: Options, context: PluginContext): Promise<Product>;
}

/** What a plugin is given beside its options. */
export interface PluginContext {
  readonly logger: Logger;
  /** Relative paths in the options count from here: the configuration file's folder, or the working directory. */
  readonly folder: string;
}

export type SourcePlugin<Options> = Plugin<"source", Options, Source>;
export type SinkPlugin<Options> = Plugin<"sink", Options, Sink> & {
  /**
   * For sinks that can be written as an address on the command line: options from the URL (`s3://...`), or null if
   * the address is not this plugin's.
   */
  readonly optionsFromUrl?: (url: URL) => unknown;
};

type Definition<P> = Omit<P, "kind" | "apiVersion">;

/** Makes the default export of a module that provides a source. */
export function defineSource<Options>(definition: Definition<SourcePlugin<Options>>): SourcePlugin<Options> {
  return { kind: "source", apiVersion: PLUGIN_API_VERSION, ...definition };
}

/** Makes the default export of a module that provides a sink. */
export function defineSink<Options>(definition: Definition<SinkPlugin<Options>>): SinkPlugin<Options> {
  return { kind: "sink", apiVersion: PLUGIN_API_VERSION, ...definition };
}

/** The part of a zod schema (or of any other validator of that shape) that {@link parseWith} needs. */
export interface OptionSchema<Options> {
  safeParse(raw: unknown):
    | { readonly success: true; readonly data: Options }
    | {
        readonly success: false;
        readonly error: {
          readonly issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[];
        };
      };
}

/**
 * Checks a plugin's options with a schema and names every wrong field in one error.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function parseWith<Options>(schema: OptionSchema<Options>, raw: unknown, what: string): Options {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => {
    const field = issue.path.map(String).join(".");
    return field === "" ? issue.message : `${field}: ${issue.message}`;
  });
  throw new BackypError("ERR_CONFIG_INVALID", `${what}: ${issues.join("; ")}`, { details: { issues } });
}
