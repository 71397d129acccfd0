import { spawnSync } from "node:child_process";
import { readlinkSync, statSync } from "node:fs";
import { join, posix, relative } from "node:path";
import { filePattern, literalFolder } from "./file-pattern.ts";
import { packageList, quote, readSpec } from "./job-spec.ts";
import { checkPackagePaths } from "./job-templates.ts";
import type { ReleaseDirectory } from "./release-directory.ts";
import { commands, isTraced, setsOption } from "./shell-script.ts";
import { strings } from "./yaml-file.ts";

/** A package's spec, as far as it can be read. */
export interface PackageSpec {
  readonly name: string;
  readonly file: string;
  readonly dependencies: readonly string[];
  readonly patterns: readonly RegExp[];
}

const PACKAGE_KEYS = ["name", "description", "dependencies", "files", "excluded_files", "no_compression"];
const NETWORK =
  /(?:^|[\s;&|(`])(?:curl|wget|apt|apt-get|aptitude|dnf|yum|npx|(?:npm|pnpm|yarn)(?:\s+(?:i|ci|install|add))|pip3?\s+install|gem\s+install|bundle\s+install|git\s+clone|go\s+(?:get|install)|mvn|scp|rsync)(?![\w-])/;

/** Reads packages/NAME and reports what is wrong in it. A vendored package has only a spec.lock. */
export function readPackage(
  release: ReleaseDirectory,
  name: string,
  packages: readonly string[],
  sources: readonly string[],
  blobs: readonly string[],
): PackageSpec | null {
  const folder = join("packages", name);
  const lock = release.kind(join(folder, "spec.lock")) !== null;
  const file = join(folder, lock ? "spec.lock" : "spec");
  const keys = lock ? ["name", "fingerprint", "dependencies"] : PACKAGE_KEYS;
  const yaml = readSpec(release, file, name, keys);
  if (yaml === null) return null;
  const dependencies = packageList(release, file, yaml, "dependencies", packages, "dependency-unknown");
  if (lock) return { name, file, dependencies, patterns: [] };

  const patterns: RegExp[] = [];
  const files = yaml.spec.files ?? [];
  if (!Array.isArray(files) || strings(files).length !== files.length) {
    release.report("spec-shape", file, "files is no list of patterns", yaml.lineOf(["files"]));
  }
  for (const [index, pattern] of (Array.isArray(files) ? files : []).entries()) {
    if (typeof pattern !== "string") continue;
    const expression = filePattern(pattern);
    patterns.push(expression);
    if ([...sources, ...blobs].some((path) => expression.test(path))) continue;
    if (isBuilt(release, pattern)) {
      release.notes.push(`${file}: ${quote(pattern)} matches nothing yet: git ignores it, so it is built or fetched`);
      continue;
    }
    release.report("files-no-match", file, `${quote(pattern)} matches nothing`, yaml.lineOf(["files", index]));
  }
  checkPackaging(release, folder, file, [name, ...dependencies]);
  return { name, file, dependencies, patterns };
}

/** What of src/ is packed as it is: the files, and the links that stay inside. */
export function readSources(release: ReleaseDirectory): string[] {
  return release.tree("src").flatMap(({ path, kind }) => {
    if (kind !== "symlink") return kind === "file" ? [path] : [];
    const link = join(release.path, "src", path);
    const target = posix.normalize(posix.join(posix.dirname(path), readlinkSync(link)));
    const [top = ""] = path.split("/");
    if (
      !posix.isAbsolute(readlinkSync(link)) &&
      target.startsWith(`${top}/`) &&
      statSync(link, { throwIfNoEntry: false })
    )
      return [path];
    const problem = `leads to ${quote(readlinkSync(link))}, outside of src/${top} or to nothing`;
    release.report("source-symlink", join("src", path), problem);
    return [];
  });
}

/** Reports packages that depend on each other, and those that nobody uses. */
export function checkPackageUse(
  release: ReleaseDirectory,
  packages: readonly PackageSpec[],
  used: ReadonlySet<string>,
): void {
  const byName = new Map(packages.map((each) => [each.name, each]));
  const done = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    const start = path.indexOf(name);
    if (start >= 0) {
      const cycle = [...path.slice(start), name].join(" -> ");
      release.report("dependency-cycle", byName.get(name)?.file ?? "packages", cycle);
    }
    if (start >= 0 || done.has(name)) return;
    for (const dependency of byName.get(name)?.dependencies ?? []) visit(dependency, [...path, name]);
    done.add(name);
  };
  for (const { name, file } of packages) {
    visit(name, []);
    const wanted = used.has(name) || packages.some((other) => other.name !== name && other.dependencies.includes(name));
    if (!wanted) release.report("package-unused", file, "no job and no package lists it");
  }
}

function checkPackaging(release: ReleaseDirectory, folder: string, spec: string, listed: readonly string[]): void {
  const file = join(folder, "packaging");
  if (release.kind(file) === null) {
    release.report("packaging-missing", file, "is missing");
    return;
  }
  const text = release.text(file);
  if (text === null) return;
  const lines = text.split("\n").map((each, index) => ({ text: each, line: index + 1 }));
  if (!setsOption(lines, "e") || !setsOption(lines, "u")) {
    release.report("packaging-set-eu", file, "it does not `set -eu`");
  }
  for (const { text: command, line } of commands(lines)) {
    if (NETWORK.test(command)) release.report("packaging-network", file, command.trim(), line);
    if (isTraced(command)) release.report("packaging-trace", file, command.trim(), line);
  }
  checkPackagePaths(release, file, text, listed, spec);
}

// Whether a pattern is about something that git does not keep: it is there only after a build.
function isBuilt(release: ReleaseDirectory, pattern: string): boolean {
  const folder = relative(".", join("src", literalFolder(pattern)));
  const git = spawnSync("git", ["check-ignore", "--quiet", `${folder}/`], { cwd: release.path });
  return folder !== "src" && git.status === 0;
}
