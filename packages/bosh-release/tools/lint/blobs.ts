import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { quote } from "./job-spec.ts";
import type { PackageSpec } from "./package-spec.ts";
import type { ReleaseDirectory } from "./release-directory.ts";
import { isRecord, type YamlFile } from "./yaml-file.ts";

/** A blob as config/blobs.yml has it. */
export interface Blob {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly uploaded: boolean;
  readonly line: number;
}

const INDEX = join("config", "blobs.yml");
const SOURCES = "blobs.json";

/** Reads config/blobs.yml. */
export function readBlobs(release: ReleaseDirectory): Blob[] {
  if (release.kind(INDEX) === null) {
    release.report("blobs-shape", INDEX, "is missing");
    return [];
  }
  const yaml = release.yaml(INDEX);
  if (yaml === null) return [];
  const blobs = yaml.value ?? {};
  if (!isRecord(blobs)) {
    release.report("blobs-shape", INDEX, "is no map");
    return [];
  }
  return Object.entries(blobs).flatMap(([path, entry]) => readBlob(release, yaml, path, entry) ?? []);
}

/** Compares the blobs with blobs.json, with the files of blobs/, and with the packages. */
export async function checkBlobs(
  release: ReleaseDirectory,
  blobs: readonly Blob[],
  packages: readonly PackageSpec[],
): Promise<void> {
  checkSources(release, blobs);
  for (const { path, line } of blobs) {
    if (packages.some(({ patterns }) => patterns.some((pattern) => pattern.test(path)))) continue;
    release.report("blob-unused", INDEX, `no package has ${path}`, line);
  }
  for (const { path, kind } of release.tree("blobs")) {
    const file = join("blobs", path);
    const blob = blobs.find((each) => each.path === path);
    if (kind === "symlink") release.report("blob-symlink", file, "is a symlink");
    else if (blob === undefined) release.report("blob-untracked", file, `${INDEX} does not know it`);
    else if (kind === "file") await checkDigest(release, file, blob);
  }
}

function readBlob(release: ReleaseDirectory, yaml: YamlFile, path: string, entry: unknown): Blob | null {
  const line = yaml.lineOf([path]);
  if (!isRecord(entry) || typeof entry.size !== "number" || typeof entry.sha !== "string") {
    release.report("blobs-shape", INDEX, `${path} is no map with size and sha`, line);
    return null;
  }
  const [, sha256] = /^sha256:([0-9a-f]{64})$/.exec(entry.sha) ?? [];
  if (sha256 === undefined) {
    release.report("blobs-shape", INDEX, `the sha of ${path} is no sha256:DIGEST`, line);
    return null;
  }
  if (path.startsWith("/") || path.split("/").includes("..")) {
    release.report("blobs-shape", INDEX, `${path} is outside of blobs/`, line);
    return null;
  }
  return { path, bytes: entry.size, sha256, uploaded: typeof entry.object_id === "string", line };
}

// blobs.json says where each blob comes from; config/blobs.yml is what the CLI reads.
function checkSources(release: ReleaseDirectory, blobs: readonly Blob[]): void {
  if (release.kind(SOURCES) === null) return;
  const json = release.json(SOURCES);
  if (json === undefined) return;
  const list = isRecord(json) ? json.blobs : json;
  if (!Array.isArray(list)) {
    release.report("blobs-shape", SOURCES, "is no list of blobs");
    return;
  }
  const seen = new Set<string>();
  for (const [index, entry] of list.entries()) {
    if (!isRecord(entry) || typeof entry.path !== "string" || typeof entry.sha256 !== "string") {
      release.report("blobs-shape", SOURCES, `entry ${index + 1} has no path and sha256`);
      continue;
    }
    if (seen.has(entry.path)) release.report("blobs-shape", SOURCES, `${entry.path} is there twice`);
    seen.add(entry.path);
    const blob = blobs.find(({ path }) => path === entry.path);
    if (blob === undefined) release.report("blobs-disagree", SOURCES, `${entry.path} is not in ${INDEX}`);
    else if (blob.sha256 !== entry.sha256) {
      release.report("blobs-disagree", SOURCES, `${entry.path} has the digest ${quote(entry.sha256)} here only`);
    }
  }
  for (const { path, line } of blobs) {
    if (!seen.has(path)) release.report("blobs-disagree", INDEX, `${path} is not in ${SOURCES}`, line);
  }
}

async function checkDigest(release: ReleaseDirectory, file: string, blob: Blob): Promise<void> {
  const path = join(release.path, file);
  const { size } = statSync(path);
  if (size !== blob.bytes) {
    release.report("blob-digest", file, `it has ${size} bytes, not the ${blob.bytes} of ${INDEX}`);
    return;
  }
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  const digest = hash.digest("hex");
  if (digest !== blob.sha256) release.report("blob-digest", file, `its SHA-256 is ${digest}, not the one of ${INDEX}`);
}
