import { join } from "node:path";
import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import { type JobSpec, prefixes } from "./job-spec.ts";
import { isWithin, type JobTemplate } from "./job-templates.ts";
import type { ReleaseDirectory } from "./release-directory.ts";
import { isRecord } from "./yaml-file.ts";

const DIALECT = "https://json-schema.org/draft/2020-12/schema";

const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: false, logger: false });

/** Checks a job's properties_schema.json: by itself, and against the spec's properties and their defaults. */
export function checkPropertiesSchema(
  release: ReleaseDirectory,
  job: JobSpec,
  templates: readonly JobTemplate[],
): void {
  const file = join(job.folder, "properties_schema.json");
  if (release.kind(file) === null) {
    if (job.properties.size > 0) release.report("schema-missing", file, "is missing");
    return;
  }
  const schema = release.json(file);
  if (schema === undefined) return;
  if (!isRecord(schema)) {
    release.report("schema-invalid", file, "is no object");
    return;
  }
  if (schema.$schema !== DIALECT) {
    release.report("schema-dialect", file, `$schema is ${JSON.stringify(schema.$schema)}`);
    return;
  }
  try {
    const validate = ajv.compile(plain(schema, 0));
    checkNames(release, job, file, schema);
    validate(defaults(job));
    checkDefaults(release, job, templates, file, validate.errors ?? []);
  } catch (error) {
    release.report("schema-invalid", file, (error as Error).message.slice(0, 500));
  } finally {
    // Two schemas may have the same $id.
    ajv.removeSchema();
  }
}

// The Director's type `certificate`, which JSON Schema does not have, is a string.
function plain(value: unknown, depth: number): object {
  if (depth > 200) throw new Error("it is nested too deeply");
  const copy = (item: unknown): unknown => (typeof item === "object" && item !== null ? plain(item, depth + 1) : item);
  if (Array.isArray(value)) return value.map((item) => (item === "certificate" ? "string" : copy(item)));
  const entries = Object.entries(value as object);
  return Object.fromEntries(
    entries.map(([key, item]) => [key, key === "type" && item === "certificate" ? "string" : copy(item)]),
  );
}

// The properties that a Director shows of a job for which a manifest sets nothing: null where there is no default.
function defaults(job: JobSpec): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const [name, property] of job.properties) {
    const path = name.split(".");
    let map = root;
    for (const key of path.slice(0, -1)) {
      const inner = map[key];
      if (isRecord(inner)) map = inner;
      else {
        const made: Record<string, unknown> = {};
        map[key] = made;
        map = made;
      }
    }
    map[path.at(-1) ?? ""] = structuredClone(property.default);
  }
  return root;
}

// What a schema of one `$ref` leads to, within the file.
function referred(schema: Record<string, unknown>, node: unknown): unknown {
  if (!isRecord(node) || typeof node.$ref !== "string" || !node.$ref.startsWith("#/")) return node;
  const parts = node.$ref.slice(2).split("/");
  return parts.reduce<unknown>((inner, part) => (isRecord(inner) ? inner[part] : undefined), schema);
}

function checkNames(release: ReleaseDirectory, job: JobSpec, file: string, schema: Record<string, unknown>): void {
  const around = new Set([...job.properties.keys()].flatMap(prefixes));
  const missing = new Set(job.properties.keys());
  const walk = (found: unknown, path: readonly string[]): void => {
    const node = referred(schema, found);
    const name = path.join(".");
    if (missing.delete(name) || !isRecord(node)) return;
    if (path.length > 0 && !around.has(name)) {
      release.report("schema-property-unknown", file, `${name} is not declared in ${job.file}`);
      return;
    }
    if ("required" in node) {
      release.report("schema-required", file, `required of ${name === "" ? "the job" : name} is always met`);
    }
    for (const [key, child] of Object.entries(isRecord(node.properties) ? node.properties : {})) {
      walk(child, [...path, key]);
    }
  };
  walk(schema, []);
  for (const name of missing) release.report("schema-property-missing", file, `${name} is not described`);
}

function checkDefaults(
  release: ReleaseDirectory,
  job: JobSpec,
  templates: readonly JobTemplate[],
  file: string,
  errors: readonly ErrorObject[],
): void {
  const uses = templates.flatMap((template) => template.uses);
  const own = uses.flatMap(({ properties }) => properties).filter(({ of }) => of === "job");
  const optional = [
    ...own.filter((use) => use.optional).flatMap(({ names }) => names),
    // Of several names that a function of the template is given, no single one has to be there.
    ...uses.flatMap(({ calls }) => calls).flatMap(({ names }) => (names.length > 1 ? names : [])),
  ];
  const mandatory = own.filter((use) => !use.optional).flatMap(({ names }) => names);
  const reported = new Set<string>();
  for (const { instancePath, schemaPath, message } of errors) {
    // What is asked of several properties together may well need one to be set.
    if (/^#\/(?:anyOf|oneOf|allOf|not|if|then|else|dependent)/.test(schemaPath)) continue;
    const path = instancePath
      .split("/")
      .slice(1)
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
    const name = [...prefixes(path.join(".")), path.join(".")].find((each) => job.properties.has(each));
    if (name === undefined || reported.has(name)) continue;
    reported.add(name);
    const { default: value } = job.properties.get(name) ?? {};
    if (value !== null) {
      release.report("schema-default", file, `the default of ${name} does not pass: it ${message}`);
    } else if (optional.some((each) => isWithin(each, name)) && !mandatory.some((each) => isWithin(each, name))) {
      release.report(
        "schema-null",
        file,
        `${name} has no default, the templates do without it, and null does not pass`,
      );
    }
  }
}
