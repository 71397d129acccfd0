import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Blob } from "./blobs.ts";
import type { ReleaseDirectory } from "./release-directory.ts";
import { isRecord } from "./yaml-file.ts";

const FILE = join("config", "final.yml");
const CREDENTIALS = ["access_key_id", "secret_access_key", "json_key", "password"];

/** Checks config/final.yml and what follows from it. Returns the release's name, or `null`. */
export function checkFinalConfig(release: ReleaseDirectory, blobs: readonly Blob[]): string | null {
  if (release.kind(FILE) === null) {
    release.report("final-name", FILE, "is missing");
    return null;
  }
  const yaml = release.yaml(FILE);
  if (yaml === null) return null;
  const config = isRecord(yaml.value) ? yaml.value : {};
  const names = [config.name, config.final_name].filter((name) => typeof name === "string" && name !== "");
  if (names.length !== 1) {
    release.report("final-name", FILE, names.length === 0 ? "it has no name" : "it has both name and final_name");
  }
  const blobstore = isRecord(config.blobstore) ? config.blobstore : {};
  const options = isRecord(blobstore.options) ? blobstore.options : {};
  for (const key of CREDENTIALS.filter((name) => name in options)) {
    release.report("final-credentials", FILE, `it has ${key}`, yaml.lineOf(["blobstore", "options", key]));
  }
  const builds = release.tree(".final_builds").length > 0;
  if (builds && !hasBlobstore(release, blobstore, options)) {
    release.report("final-builds", ".final_builds", `${FILE} has no blobstore that is there`);
  }
  if (typeof blobstore.provider === "string") {
    for (const { path, line } of blobs.filter(({ uploaded }) => !uploaded)) {
      release.report("blob-not-uploaded", join("config", "blobs.yml"), `${path} has no object_id`, line);
    }
  }
  return (names[0] as string | undefined) ?? null;
}

function hasBlobstore(
  release: ReleaseDirectory,
  blobstore: Record<string, unknown>,
  options: Record<string, unknown>,
): boolean {
  if (typeof blobstore.provider !== "string" || blobstore.provider === "") return false;
  if (blobstore.provider !== "local") return true;
  const path = options.blobstore_path;
  return typeof path === "string" && existsSync(resolve(release.path, path));
}
