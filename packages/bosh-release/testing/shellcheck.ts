import { spawnSync } from "node:child_process";

/** What is missing to check shell scripts, and how to get it, or null. */
export function shellcheckMissing(): string | null {
  const { status } = spawnSync("shellcheck", ["--version"]);
  return status === 0 ? null : "no shellcheck: apt-get install shellcheck";
}

/** What shellcheck finds in scripts; nothing where all is well. */
export function shellcheck(files: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync("shellcheck", files, { encoding: "utf8" });
  return status === 0 ? "" : stdout + stderr;
}
