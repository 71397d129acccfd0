import { join, posix } from "node:path";
import type { ReleaseDirectory } from "./release-directory.ts";
import type { RuleId } from "./rules.ts";
import { isRecord, strings, type YamlFile } from "./yaml-file.ts";

/** A property as a job's spec declares it. */
interface Property {
  /** `null` if there is none: then a Director shows the property as null. */
  readonly default: unknown;
  readonly line: number;
}

/** A link that a job provides or consumes. */
interface Link {
  readonly name: string;
  readonly type: string;
  readonly optional: boolean;
  /** What a provider exports. */
  readonly properties: readonly string[];
  readonly line: number;
}

/** A job's spec, as far as it can be read. */
export interface JobSpec {
  readonly name: string;
  /** `jobs/NAME` */
  readonly folder: string;
  /** `jobs/NAME/spec` */
  readonly file: string;
  /** From source below templates/ to destination. */
  readonly templates: ReadonlyMap<string, string>;
  readonly packages: readonly string[];
  readonly properties: ReadonlyMap<string, Property>;
  readonly provides: readonly Link[];
  readonly consumes: readonly Link[];
}

const JOB_KEYS = ["name", "description", "templates", "packages", "properties", "provides", "consumes", "logs"];
const PROPERTY_KEYS = ["description", "default", "example", "type"];
// The Director's Models::VALID_ID.
const VALID_ID = /^[-0-9A-Za-z_+.]+$/;
const SECRET_NAME = /(?:^|[._-])(?:secret\w*|\w*password|token|private_key|access_key|credentials?)$/;

/** Whether a property's value must not be seen, as its name says. */
export function isSecretName(property: string): boolean {
  return SECRET_NAME.test(property) || property.endsWith("aws_access_key") || property.endsWith("aws_secret_key");
}

/** Reads jobs/NAME/spec and reports what is wrong in it. Returns `null` if there is nothing to go on with. */
export function readJobSpec(release: ReleaseDirectory, name: string, packages: readonly string[]): JobSpec | null {
  const folder = join("jobs", name);
  const file = join(folder, "spec");
  const yaml = readSpec(release, file, name, JOB_KEYS);
  if (yaml === null) return null;
  const { spec } = yaml;
  return {
    name,
    folder,
    file,
    templates: templatesOf(release, folder, file, yaml),
    packages: packageList(release, file, yaml, "packages", packages, "package-unknown"),
    properties: propertiesOf(release, file, yaml),
    provides: linksOf(release, file, yaml, "provides", Object.keys(isRecord(spec.properties) ? spec.properties : {})),
    consumes: linksOf(release, file, yaml, "consumes", []),
  };
}

/** A spec that is a map. */
export interface SpecFile extends YamlFile {
  readonly spec: Record<string, unknown>;
}

/** Reads a spec of a job or of a package: its name, and that it has no unknown key. */
export function readSpec(
  release: ReleaseDirectory,
  file: string,
  name: string,
  keys: readonly string[],
): SpecFile | null {
  if (release.kind(file) === null) {
    release.report("spec-missing", file, "is missing");
    return null;
  }
  const yaml = release.yaml(file);
  if (yaml === null) return null;
  const spec = yaml.value;
  if (!isRecord(spec)) {
    release.report("spec-shape", file, "is no map");
    return null;
  }
  if (spec.name !== name) {
    release.report("name-mismatch", file, `the name ${quote(spec.name)} is not its folder's`, yaml.lineOf(["name"]));
  } else if (!VALID_ID.test(name)) {
    release.report("name-invalid", file, `the Director refuses the name ${quote(name)}`, yaml.lineOf(["name"]));
  }
  unknownKeys(release, file, yaml, [], spec, keys);
  return { ...yaml, spec };
}

/** The packages that a spec lists, and whether each is there. */
export function packageList(
  release: ReleaseDirectory,
  file: string,
  yaml: SpecFile,
  key: string,
  known: readonly string[],
  rule: RuleId,
): string[] {
  const list = yaml.spec[key] ?? [];
  const names = strings(list);
  if (!Array.isArray(list) || names.length !== list.length) {
    release.report("spec-shape", file, `${key} is no list of names`, yaml.lineOf([key]));
  }
  for (const name of names) {
    if (known.includes(name)) continue;
    release.report(rule, file, `there is no package ${quote(name)}`, yaml.lineOf([key, names.indexOf(name)]));
  }
  return names;
}

/** A value in a message: short, whatever it is. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}

function templatesOf(release: ReleaseDirectory, folder: string, file: string, yaml: SpecFile): Map<string, string> {
  const found = new Map<string, string>();
  const templates = yaml.spec.templates ?? {};
  if (!isRecord(templates)) {
    release.report("spec-shape", file, "templates is no map of sources to destinations", yaml.lineOf(["templates"]));
    return found;
  }
  const destinations = new Map<string, string>();
  for (const [source, destination] of Object.entries(templates)) {
    const line = yaml.lineOf(["templates", source]);
    if (typeof destination !== "string") {
      release.report("spec-shape", file, `the destination of ${source} is no string`, line);
      continue;
    }
    const normal = posix.normalize(destination);
    const other = destinations.get(normal);
    if (posix.isAbsolute(destination) || normal.startsWith("..") || destination === "") {
      release.report("template-destination", file, `${quote(destination)} is outside of the job`, line);
    } else if (normal === "monit" || normal.startsWith("packages/")) {
      release.report("template-destination", file, `${quote(destination)} is what BOSH itself puts there`, line);
    } else if (other !== undefined) {
      release.report("template-destination", file, `${source} and ${other} both go to ${quote(destination)}`, line);
    }
    destinations.set(normal, source);
    const kind = release.kind(join(folder, "templates", source));
    if (kind === null || kind === "directory") {
      release.report("template-missing", file, `there is no file templates/${source}`, line);
    }
    found.set(source, normal);
  }
  for (const { path } of release.tree(join(folder, "templates"))) {
    if (path in templates) continue;
    release.report("template-unlisted", join(folder, "templates", path), "no spec lists it");
  }
  return found;
}

function propertiesOf(release: ReleaseDirectory, file: string, yaml: SpecFile): Map<string, Property> {
  const found = new Map<string, Property>();
  const properties = yaml.spec.properties ?? {};
  if (!isRecord(properties)) {
    release.report("spec-shape", file, "properties is no map", yaml.lineOf(["properties"]));
    return found;
  }
  for (const [name, definition] of Object.entries(properties)) {
    const line = yaml.lineOf(["properties", name]);
    if (name.split(".").includes("")) {
      release.report("spec-shape", file, `the property ${quote(name)} has an empty part in its name`, line);
      continue;
    }
    // The Director asks the definition for its default, whatever it is.
    if (!isRecord(definition)) {
      release.report("spec-shape", file, `the property ${name} is no map: the Director fails at every deploy`, line);
      found.set(name, { default: null, line });
      continue;
    }
    unknownKeys(release, file, yaml, ["properties", name], definition, PROPERTY_KEYS);
    if (typeof definition.description !== "string" || definition.description.trim() === "") {
      release.report("property-description", file, `the property ${name} has no description`, line);
    }
    const value = definition.default ?? null;
    if (isSecretName(name) && typeof value === "string" && value !== "") {
      release.report("secret-default", file, `the secret ${name} has a default`, line);
    }
    found.set(name, { default: value, line });
  }
  for (const [name, { line }] of found) {
    const outer = prefixes(name).find((prefix) => found.has(prefix));
    if (outer === undefined) continue;
    release.report("property-prefix", file, `${name} is inside of ${outer}, which is a property itself`, line);
  }
  return found;
}

function linksOf(
  release: ReleaseDirectory,
  file: string,
  yaml: SpecFile,
  key: "provides" | "consumes",
  declared: readonly string[],
): Link[] {
  const list = yaml.spec[key] ?? [];
  if (!Array.isArray(list)) {
    release.report("link-shape", file, `${key} is no list`, yaml.lineOf([key]));
    return [];
  }
  const found: Link[] = [];
  for (const [index, link] of list.entries()) {
    const line = yaml.lineOf([key, index]);
    if (!isRecord(link) || typeof link.name !== "string" || typeof link.type !== "string") {
      release.report("link-shape", file, `entry ${index + 1} of ${key} is no map with a name and a type`, line);
      continue;
    }
    if (found.some(({ name }) => name === link.name)) {
      release.report("link-shape", file, `${key} has ${quote(link.name)} twice`, line);
    }
    if ("optional" in link && (key === "provides" || typeof link.optional !== "boolean")) {
      const problem = key === "provides" ? "a provided link cannot be optional" : "optional is no boolean";
      release.report("link-optional", file, `${link.name}: ${problem}`, line);
    }
    const allowed = key === "provides" ? ["name", "type", "properties"] : ["name", "type", "optional"];
    unknownKeys(release, file, yaml, [key, index], link, [...allowed, "optional"]);
    const properties = strings(link.properties);
    if (
      link.properties !== undefined &&
      (!Array.isArray(link.properties) || properties.length !== link.properties.length)
    ) {
      release.report("link-shape", file, `the properties of ${link.name} are no list of names`, line);
    }
    for (const property of properties.filter((name) => !declared.includes(name))) {
      const place = yaml.lineOf([key, index, "properties", properties.indexOf(property)]);
      release.report(
        "link-property-undeclared",
        file,
        `${link.name} exports ${property}, which is not declared`,
        place,
      );
    }
    found.push({ name: link.name, type: link.type, optional: link.optional === true, properties, line });
  }
  return found;
}

function unknownKeys(
  release: ReleaseDirectory,
  file: string,
  yaml: YamlFile,
  path: readonly (string | number)[],
  map: Record<string, unknown>,
  known: readonly string[],
): void {
  for (const key of Object.keys(map).filter((name) => !known.includes(name))) {
    const place = path.length === 0 ? "" : ` of ${path.join(".")}`;
    release.report(
      "spec-unknown-key",
      file,
      `the key ${quote(key)}${place} means nothing`,
      yaml.lineOf([...path, key]),
    );
  }
}

/** The names of the maps around a property: `a.b.c` is in `a` and `a.b`. */
export function prefixes(name: string): string[] {
  const parts = name.split(".");
  return parts.slice(1).map((_, index) => parts.slice(0, index + 1).join("."));
}
