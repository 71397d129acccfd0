import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * The version of the BOSH release that a checkout makes, which is that of the command in it: `1.2.3` for the commit in
 * which changesets have become that version. While changesets wait, or files are not committed, it is one on the way from
 * the last version: `1.2.3+dev.` and the time in UTC, of the commit or of now. BOSH takes that for newer than `1.2.3`.
 */
export function releaseVersion(checkout: string): string {
  const { version } = JSON.parse(readFileSync(join(checkout, "apps", "daemon", "package.json"), "utf8"));
  const changes = git(checkout, "status", "--porcelain");
  const waiting = readdirSync(join(checkout, ".changeset")).some((name) => /^(?!README).*\.md$/.test(name));
  if (changes === "" && !waiting) return version;
  const committedAt = changes === "" ? Number(git(checkout, "log", "-1", "--format=%ct")) * 1000 : Date.now();
  return `${version}+dev.${new Date(committedAt).toISOString().slice(0, 19).replace(/\D/g, "")}`;
}

/** What git says; `null` where there is no git, or no repository. */
function git(checkout: string, ...args: readonly string[]): string | null {
  const { status, stdout } = spawnSync("git", ["-C", checkout, ...args], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}
