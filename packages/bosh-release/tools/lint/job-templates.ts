import { join } from "node:path";
import { type ErbTemplate, parseErb } from "./erb.ts";
import { literalPattern } from "./file-pattern.ts";
import { type JobSpec, prefixes } from "./job-spec.ts";
import { type NamePattern, type PropertyUse, type TemplateUses, templateUses } from "./property-uses.ts";
import type { ReleaseDirectory } from "./release-directory.ts";

/** A template that was read: one of templates/, or monit. */
export interface JobTemplate {
  readonly file: string;
  /** In the job's folder on a VM. */
  readonly destination: string;
  readonly text: string;
  readonly erb: ErbTemplate;
  readonly uses: TemplateUses;
}

/** Reads all templates of a job, monit among them. */
export function readTemplates(release: ReleaseDirectory, job: JobSpec): JobTemplate[] {
  const sources = [...job.templates].map(([source, destination]) => [join("templates", source), destination] as const);
  if (release.kind(join(job.folder, "monit")) !== null) sources.push(["monit", "monit"]);
  return sources.flatMap(([source, destination]) => {
    const file = join(job.folder, source);
    const text = release.kind(file) === null ? null : release.text(file);
    if (text === null) return [];
    const erb = parseErb(text);
    if (erb.unclosedAt !== null) release.report("erb-syntax", file, "a tag has no %>", erb.unclosedAt);
    return [{ file, destination, text, erb, uses: templateUses(erb.tokens) }];
  });
}

/** Compares what templates ask for with what the spec declares. `jobs` are all jobs of the release. */
export function checkTemplates(
  release: ReleaseDirectory,
  job: JobSpec,
  templates: readonly JobTemplate[],
  jobs: readonly JobSpec[],
): void {
  for (const template of templates) {
    for (const use of [...template.uses.properties, ...indirectUses(job, template.uses)]) {
      if (use.of === "job") checkProperty(release, job, template.file, use);
      else checkLinkProperty(release, job, template.file, use, jobs);
    }
    for (const { name, line } of template.uses.oldSyntax) {
      release.report("property-old-syntax", template.file, `properties.${name} is deprecated`, line);
    }
    checkLinks(release, job, template);
    checkPackagePaths(release, template.file, template.text, job.packages, `jobs/${job.name}/spec`);
  }
  checkUnused(release, job, templates);
}

/** Reports paths of packages in a script that the spec does not list. */
export function checkPackagePaths(
  release: ReleaseDirectory,
  file: string,
  text: string,
  listed: readonly string[],
  spec: string,
): void {
  const reported = new Set<string>();
  for (const [index, line] of text.split("\n").entries()) {
    // Not what a wildcard, a variable or a tag goes on with.
    for (const [, found = ""] of line.matchAll(/\/var\/vcap\/packages\/([-\w+.]+)(?![-\w+.*?$<{[])/g)) {
      const name = found.replace(/\.$/, "");
      if (listed.includes(name) || reported.has(name)) continue;
      reported.add(name);
      release.report("package-not-listed", file, `${spec} does not list the package ${name}`, index + 1);
    }
  }
}

// A template with a function of its own around p gives that function the names: `given.call('a.b')`. What begins like a
// declared name is one there.
function indirectUses(job: JobSpec, uses: TemplateUses): PropertyUse[] {
  if (!uses.computed) return [];
  const groups = new Set([...job.properties.keys()].flatMap((name) => prefixes(name).slice(0, 1)));
  return uses.calls.flatMap(({ names, line }) => {
    const own = names.filter(([first = ""]) => first.includes(".") && groups.has(first.split(".")[0] ?? ""));
    return own.length === 0 ? [] : [{ of: "job", names: own, optional: true, order: [], line }];
  });
}

function checkProperty(release: ReleaseDirectory, job: JobSpec, file: string, use: PropertyUse): void {
  const declared = [...job.properties.keys()];
  for (const name of use.names) {
    if (declared.some((property) => matches(name, property))) continue;
    release.report("property-undeclared", file, `${show(name)} is not declared in ${job.file}`, use.line);
  }
  const hiding = use.order
    .slice(0, -1)
    .find((name) => name.length === 1 && (job.properties.get(name[0] ?? "")?.default ?? null) !== null);
  if (hiding !== undefined) {
    const later = use.order
      .slice(use.order.indexOf(hiding) + 1)
      .map(show)
      .join(", ");
    release.report(
      "property-alias-default",
      file,
      `${show(hiding)} has a default, so ${later} is never read`,
      use.line,
    );
  }
}

function checkLinkProperty(
  release: ReleaseDirectory,
  job: JobSpec,
  file: string,
  use: PropertyUse,
  jobs: readonly JobSpec[],
): void {
  const { of } = use;
  const consumed = job.consumes.filter(({ name }) => typeof of !== "object" || of.link === name);
  const types = new Set(consumed.map(({ type }) => type));
  const providers = jobs.flatMap(({ provides }) => provides).filter(({ type }) => types.has(type));
  // A type that nobody provides here comes from another release.
  if (types.size === 0 || [...types].some((type) => !providers.some((provider) => provider.type === type))) return;
  for (const name of use.names) {
    if (providers.some(({ properties }) => properties.some((property) => isWithin(name, property)))) continue;
    const where = typeof of === "object" ? `the link ${of.link}` : "any link that it can be of";
    release.report("link-property-not-exported", file, `${show(name)} is not exported by ${where}`, use.line);
  }
}

function checkLinks(release: ReleaseDirectory, job: JobSpec, template: JobTemplate): void {
  const guarded = new Set(template.uses.links.filter((link) => link.guarded).map(({ name }) => name));
  for (const { name, line } of template.uses.links) {
    const link = job.consumes.find((consumed) => consumed.name === name);
    if (link === undefined) {
      release.report("link-undeclared", template.file, `${job.file} does not consume the link ${name}`, line);
    } else if (link.optional && !guarded.has(name)) {
      release.report("link-not-guarded", template.file, `the optional link ${name} is used without if_link`, line);
    }
  }
}

function checkUnused(release: ReleaseDirectory, job: JobSpec, templates: readonly JobTemplate[]): void {
  const exported = new Set(job.provides.flatMap(({ properties }) => properties));
  const literals = new Set(templates.flatMap(({ uses }) => [...uses.literals]));
  const words = new Set(templates.flatMap(({ uses }) => [...uses.words]));
  const patterns = templates.flatMap(({ uses }) => uses.patterns);
  const names = templates.flatMap(({ uses }) => [
    ...uses.properties.flatMap((use) => use.names),
    ...uses.oldSyntax.map(({ name }) => [name]),
  ]);
  for (const [property, { line }] of job.properties) {
    if (exported.has(property) || literals.has(property)) continue;
    if (names.some((name) => name.length === 1 && matches(name, property))) continue;
    if (patterns.some((pattern) => makes(pattern, words, property))) continue;
    release.report("property-unused", job.file, `no template asks for ${property}`, line);
  }
  const links = new Set(templates.flatMap(({ uses }) => uses.links.map(({ name }) => name)));
  for (const link of job.consumes.filter(({ name }) => !links.has(name))) {
    release.report("link-unused", job.file, `no template asks for the link ${link.name}`, link.line);
  }
}

// Whether an interpolated string becomes a property's name with words that are somewhere in the templates.
function makes(pattern: NamePattern, words: ReadonlySet<string>, property: string): boolean {
  const [, ...inserted] = interpolation(pattern).exec(property) ?? [];
  const known = (text: string): boolean => words.has(text) || text.split(".").every((part) => words.has(part));
  return inserted.length > 0 && inserted.every(known);
}

function interpolation(pattern: NamePattern): RegExp {
  return new RegExp(`^${pattern.map(literalPattern).join("(.+)")}$`);
}

// Whether a template's name gives a declared property, a map around it, or something inside of it.
function matches(name: NamePattern, property: string): boolean {
  if (name.length === 1) return isWithin(name, property) || property.startsWith(`${name[0]}.`);
  return isWithin(name, property);
}

/** Whether a template's name gives a declared property, or something inside of it. */
export function isWithin(name: NamePattern, property: string): boolean {
  if (name.length === 1) return name[0] === property || (name[0] ?? "").startsWith(`${property}.`);
  return interpolation(name).test(property);
}

function show(name: NamePattern): string {
  return name.join("#{...}");
}
