import { checkBlobs, readBlobs } from "./blobs.ts";
import { erbSyntax } from "./erb-syntax.ts";
import { checkFinalConfig } from "./final-config.ts";
import { checkScripts } from "./job-scripts.ts";
import { type JobSpec, readJobSpec } from "./job-spec.ts";
import { checkTemplates, type JobTemplate, readTemplates } from "./job-templates.ts";
import { checkManifests } from "./manifests.ts";
import { checkMonit, checkProcessNames } from "./monit-file.ts";
import { checkPackageUse, readPackage, readSources } from "./package-spec.ts";
import { checkPropertiesSchema } from "./properties-schema.ts";
import { ReleaseDirectory } from "./release-directory.ts";
import type { Finding } from "./rules.ts";
import { checkSecrets } from "./secrets.ts";

/** What a look at a release found. */
export interface LintResult {
  /** By file and line. */
  readonly findings: readonly Finding[];
  /** What could not be looked at, and why: no fault of the release. */
  readonly notes: readonly string[];
}

/**
 * Looks in a release directory for what `bosh create-release` lets through, and the Director, the agent, monit or BBR
 * refuse or misread later. Changes nothing, and runs nothing of the release. Does not throw for what is in the directory.
 */
export async function lintRelease(path: string): Promise<LintResult> {
  const release = new ReleaseDirectory(path);
  const blobs = readBlobs(release);
  const sources = readSources(release);
  const packageNames = release.folders("packages");
  const blobPaths = blobs.map((blob) => blob.path);
  const packages = packageNames.flatMap((name) => readPackage(release, name, packageNames, sources, blobPaths) ?? []);
  const jobs = release.folders("jobs").flatMap((name) => {
    const job = readJobSpec(release, name, packageNames);
    return job === null ? [] : [{ job, templates: readTemplates(release, job) }];
  });
  checkPackageUse(release, packages, new Set(jobs.flatMap(({ job }) => job.packages)));
  checkJobs(release, jobs);
  await checkBlobs(release, blobs, packages);
  const specs = jobs.map(({ job }) => job);
  checkManifests(release, checkFinalConfig(release, blobs), specs);
  checkSecrets(release);
  return { findings: sorted(release.findings), notes: release.notes };
}

function checkJobs(release: ReleaseDirectory, jobs: readonly { job: JobSpec; templates: JobTemplate[] }[]): void {
  const specs = jobs.map(({ job }) => job);
  const processes = jobs.flatMap(({ job, templates }) => {
    checkTemplates(release, job, templates, specs);
    checkPropertiesSchema(release, job, templates);
    checkScripts(release, job, templates);
    return checkMonit(release, job, templates);
  });
  checkProcessNames(release, processes);
  const templates = jobs.flatMap((each) => each.templates);
  const syntax = erbSyntax(templates);
  if (typeof syntax === "string") release.notes.push(`the syntax of the templates was not checked: ${syntax}`);
  else for (const { file, line, problem } of syntax) release.report("erb-syntax", file, problem, line);
}

// Files are read more than once: each finding counts once.
function sorted(findings: readonly Finding[]): Finding[] {
  const unique = new Map(findings.map((finding) => [JSON.stringify(finding), finding]));
  return [...unique.values()].sort(
    (a, b) => compare(a.file, b.file) || (a.line ?? 0) - (b.line ?? 0) || compare(a.rule, b.rule),
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
