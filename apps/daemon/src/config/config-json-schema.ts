import type { JsonObject, JsonValue } from "@zk-backyp/core";
import { z } from "zod";
import { loadPlugin, OWN_PACKAGES } from "../load-plugin.ts";
import { configSchema, secretPlaceSchema } from "./config-schema.ts";

/** The plugins that come with the command. */
export const OWN_PLUGINS: Readonly<Record<"source" | "sink", readonly string[]>> = {
  source: ["zookeeper"],
  sink: ["fs", "s3"],
};

/** JSON Schema of a configuration's form; of plugins' options it knows nothing. */
export function configFormJsonSchema(): JsonObject {
  return z.toJSONSchema(configSchema, { io: "input", unrepresentable: "any" }) as JsonObject;
}

/** JSON Schema of configurations, for editors: with the options of the plugins that come with the command. */
export async function configJsonSchema(): Promise<JsonObject> {
  const { $schema = "", ...form } = configFormJsonSchema();
  const series = at(form, ["properties", "series", "additionalProperties", "properties"]);
  for (const kind of ["source", "sink"] as const) {
    const general = at(series, [kind]);
    const own = await Promise.all(
      OWN_PLUGINS[kind].map(async (use) => ({
        if: { properties: { use: { const: use } }, required: ["use"] },
        // biome-ignore lint/suspicious/noThenProperty: it is JSON Schema's word
        then: withUse(use, (await loadPlugin(kind, use, [OWN_PACKAGES])).optionsJsonSchema?.() ?? {}),
      })),
    );
    series[kind] = { ...general, allOf: own };
  }
  return {
    $schema,
    title: "Configuration of zk-backyp",
    ...form,
    $defs: { secret: z.toJSONSchema(secretPlaceSchema, { io: "input" }) as JsonObject },
  };
}

/** A plugin's options beside its name, in which any text may be a secret's place. */
function withUse(use: string, options: JsonObject): JsonObject {
  const { $schema: _, ...schema } = withPlaces(options) as JsonObject;
  return { ...schema, properties: { use: { const: use }, ...at(schema, ["properties"]) } };
}

function withPlaces(node: JsonValue): JsonValue {
  if (Array.isArray(node)) return node.map(withPlaces);
  if (typeof node !== "object" || node === null) return node;
  const { description, examples, ...inner } = Object.fromEntries(
    Object.entries(node).map(([key, value]) => [key, key === "examples" ? value : withPlaces(value)]),
  );
  if (inner.type !== "string" || inner.const !== undefined) return { ...node, ...inner };
  return {
    ...(description === undefined ? {} : { description }),
    ...(examples === undefined ? {} : { examples }),
    anyOf: [inner, { $ref: "#/$defs/secret" }],
  };
}

/** A JSON Schema of a configuration, which knows the options of the plugin at `path`. */
export function withPluginOptions(
  whole: JsonObject,
  { path, schema }: { readonly path: readonly string[]; readonly schema: JsonObject },
): JsonObject {
  const [section = "", name = "", kind = ""] = path;
  const all = at(whole, ["properties", section]);
  const one = {
    ...at(all, ["additionalProperties"]),
    ...((all.properties as JsonObject | undefined)?.[name] as JsonObject),
  };
  const own = { ...one, properties: { ...at(one, ["properties"]), [kind]: withPlaces(schema) } };
  return {
    ...whole,
    properties: {
      ...at(whole, ["properties"]),
      [section]: { ...all, properties: { ...(all.properties as JsonObject | undefined), [name]: own } },
    },
  };
}

function at(node: JsonObject, path: readonly string[]): Record<string, JsonValue> {
  return path.reduce((inner, part) => inner[part] as Record<string, JsonValue>, node as Record<string, JsonValue>);
}
