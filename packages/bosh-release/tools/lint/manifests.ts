import { join } from "node:path";
import { type JobSpec, prefixes, quote } from "./job-spec.ts";
import type { ReleaseDirectory } from "./release-directory.ts";
import { isRecord, type YamlFile } from "./yaml-file.ts";

type Place = readonly (string | number)[];

/** Checks the manifests and ops files below manifests/: that what they set exists in the jobs of this release. */
export function checkManifests(release: ReleaseDirectory, releaseName: string | null, jobs: readonly JobSpec[]): void {
  for (const { path } of release.tree("manifests")) {
    if (!/\.ya?ml$/.test(path)) continue;
    const file = join("manifests", path);
    const yaml = release.yaml(file);
    if (yaml === null) continue;
    const checker = new ManifestChecker(release, releaseName, jobs, file, yaml);
    if (Array.isArray(yaml.value)) checker.operations(yaml.value);
    else if (isRecord(yaml.value)) checker.manifest(yaml.value, []);
    // A file of nothing but comments changes nothing.
    else if (yaml.value !== null) release.report("manifest-shape", file, "is neither a map nor a list of operations");
  }
}

class ManifestChecker {
  readonly #release: ReleaseDirectory;
  readonly #releaseName: string | null;
  readonly #jobs: ReadonlyMap<string, JobSpec>;
  readonly #file: string;
  readonly #yaml: YamlFile;

  constructor(
    release: ReleaseDirectory,
    releaseName: string | null,
    jobs: readonly JobSpec[],
    file: string,
    yaml: YamlFile,
  ) {
    this.#release = release;
    this.#releaseName = releaseName;
    this.#jobs = new Map(jobs.map((job) => [job.name, job]));
    this.#file = file;
    this.#yaml = yaml;
  }

  /** A manifest, or any map of it that has instance groups or add-ons. */
  manifest(value: Record<string, unknown>, place: Place): void {
    for (const key of ["instance_groups", "addons"]) {
      this.#list(value[key], [...place, key], (group, at) => this.#group(group, at));
    }
  }

  operations(list: readonly unknown[]): void {
    for (const [index, operation] of list.entries()) {
      if (!isRecord(operation) || typeof operation.path !== "string" || !operation.path.startsWith("/")) {
        this.#report("manifest-shape", [index], `operation ${index + 1} has no path`);
        continue;
      }
      if (operation.type !== "replace" && operation.type !== "remove") {
        this.#report("manifest-shape", [index], `operation ${index + 1} is of type ${quote(operation.type)}`);
        continue;
      }
      this.#operation(operation.path, operation.value, [index]);
    }
  }

  // What an operation sets, by where its path leads.
  #operation(path: string, value: unknown, place: Place): void {
    const parts = path
      .slice(1)
      .split("/")
      .map((part) => part.replace(/[?]$/, "").replaceAll("~1", "/").replaceAll("~0", "~"));
    const valuePlace = [...place, "value"];
    const [section, , list, selected, key, ...rest] = parts;
    if (section !== "instance_groups" && section !== "addons") return;
    if (parts.length === 1) this.manifest({ [section]: value }, valuePlace);
    else if (parts.length === 2) this.#group(value, valuePlace);
    else if (list !== "jobs") return;
    else if (selected === undefined) this.#list(value, valuePlace, (job, at) => this.#job(job, at));
    else if (key === undefined) this.#job(value, valuePlace);
    else {
      // A job that is selected by its place, or that another release has under the name, is not known here.
      const job = this.#jobs.get(/^name=(.*)$/.exec(selected)?.[1] ?? "");
      if (job === undefined) return;
      if (key === "properties") this.#properties(job, rest, value, place, [...place, "path"]);
      if (key === "provides" || key === "consumes") this.#links(job, key, rest, value, valuePlace);
    }
  }

  #group(group: unknown, place: Place): void {
    if (isRecord(group)) this.#list(group.jobs, [...place, "jobs"], (job, at) => this.#job(job, at));
  }

  #job(value: unknown, place: Place): void {
    if (!isRecord(value) || typeof value.name !== "string") return;
    if (this.#releaseName !== null && value.release !== undefined && value.release !== this.#releaseName) return;
    const job = this.#jobs.get(value.name);
    if (job === undefined) {
      if (value.release === undefined || this.#releaseName === null) return;
      this.#report("manifest-job-unknown", [...place, "name"], `this release has no job ${quote(value.name)}`);
      return;
    }
    this.#properties(job, [], value.properties, [...place, "properties"], [...place, "properties"]);
    for (const key of ["provides", "consumes"] as const) this.#links(job, key, [], value[key], [...place, key]);
  }

  // `path` leads to `value` from the job's properties; the value's own keys are below `place`.
  #properties(job: JobSpec, path: readonly string[], value: unknown, place: Place, named: Place): void {
    const name = path.join(".");
    if (path.length > 0) {
      if (job.properties.has(name) || prefixes(name).some((prefix) => job.properties.has(prefix))) return;
      if (![...job.properties.keys()].some((property) => property.startsWith(`${name}.`))) {
        const problem = `the job ${job.name} declares no property ${name}`;
        this.#report("manifest-property-undeclared", named, problem);
        return;
      }
    }
    if (!isRecord(value)) return;
    const inside = this.#inValue(place);
    for (const [key, child] of Object.entries(value)) {
      // go-patch and the Director both take a dot in a key for a part of the key.
      this.#properties(job, [...path, key], child, [...inside, key], [...inside, key]);
    }
  }

  // Operations have what they set below `value`.
  #inValue(place: Place): Place {
    return place.length === 1 && Array.isArray(this.#yaml.value) ? [...place, "value"] : place;
  }

  #links(job: JobSpec, key: "provides" | "consumes", rest: readonly string[], value: unknown, place: Place): void {
    const names = rest.length > 0 ? rest.slice(0, 1) : isRecord(value) ? Object.keys(value) : [];
    for (const name of names) {
      if (job[key].some((link) => link.name === name)) continue;
      const at = rest.length > 0 ? place : [...place, name];
      this.#report("manifest-link-unknown", at, `the job ${job.name} ${key} no link ${quote(name)}`);
    }
  }

  #list(value: unknown, place: Place, visit: (item: unknown, place: Place) => void): void {
    if (value === undefined || value === null) return;
    if (!Array.isArray(value)) {
      this.#report("manifest-shape", place, `${place.at(-1)} is no list`);
      return;
    }
    for (const [index, item] of value.entries()) visit(item, [...place, index]);
  }

  #report(
    rule: "manifest-shape" | "manifest-job-unknown" | "manifest-property-undeclared" | "manifest-link-unknown",
    place: Place,
    problem: string,
  ): void {
    this.#release.report(rule, this.#file, problem, this.#yaml.lineOf(place));
  }
}
