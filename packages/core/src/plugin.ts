import { BackypError } from "./errors.ts";
import type { JsonObject } from "./json.ts";
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
  /** JSON Schema of the options, for editors and for what errors about them say. A plugin may do without. */
  optionsJsonSchema?(): JsonObject;
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

/** What a validator finds wrong. Beside what must be there, it is read as zod writes it. */
interface SchemaIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly code?: string | undefined;
  /** Of `unrecognized_keys`. */
  readonly keys?: readonly string[];
  /** Of `invalid_union`: what each of the alternatives finds. */
  readonly errors?: readonly (readonly SchemaIssue[])[];
  /** Of `invalid_key`: what is wrong with it. */
  readonly issues?: readonly SchemaIssue[];
}

/** The part of a zod schema (or of any other validator of that shape) that {@link parseWith} needs. */
export interface OptionSchema<Options> {
  safeParse(
    raw: unknown,
  ):
    | { readonly success: true; readonly data: Options }
    | { readonly success: false; readonly error: { readonly issues: readonly SchemaIssue[] } };
}

/** A field of some options that is wrong: in `details.fields` of the error that {@link parseWith} throws. */
export interface WrongField {
  readonly path: readonly string[];
  /** What is wrong with it. Holds nothing of its value. */
  readonly message: string;
  /** Whether there is no option of that name. */
  readonly isUnknown: boolean;
}

/**
 * Checks a plugin's options with a schema and names every wrong field in one error: in its message, as texts in
 * `details.issues`, and as {@link WrongField}s in `details.fields`.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function parseWith<Options>(schema: OptionSchema<Options>, raw: unknown, what: string): Options {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const fields = result.error.issues.flatMap((issue) => wrongFields(issue, []));
  const issues = fields.map(({ path, message }) => (path.length === 0 ? message : `${path.join(".")}: ${message}`));
  throw new BackypError("ERR_CONFIG_INVALID", `${what}: ${issues.join("; ")}`, { details: { issues, fields } });
}

function wrongFields(issue: SchemaIssue, above: readonly string[]): WrongField[] {
  const { path, message, code, keys = [], errors = [], issues = [] } = issue;
  const place = [...above, ...path.map(String)];
  if (code === "unrecognized_keys") {
    return keys.map((key) => ({ path: [...place, key], message: "is not known", isUnknown: true }));
  }
  // The alternative that was meant is the one that looked into the value, instead of refusing all of it.
  const meant = errors.find((found) => found.length > 0 && found.every((inner) => inner.path.length > 0));
  const inner = meant ?? issues;
  if (inner.length > 0) return inner.flatMap((each) => wrongFields(each, place));
  return [{ path: place, message, isUnknown: false }];
}
