import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { releaseVersion } from "./release-version.ts";

let checkout: string;
beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), "zk-backyp-version-"));
  mkdirSync(join(checkout, "apps", "daemon"), { recursive: true });
  mkdirSync(join(checkout, ".changeset"));
  writeFileSync(join(checkout, "apps", "daemon", "package.json"), '{ "version": "1.2.3" }');
  writeFileSync(join(checkout, ".changeset", "README.md"), "");
});
afterEach(() => rmSync(checkout, { recursive: true }));

function commit(): void {
  const identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"];
  const env = { ...process.env, GIT_COMMITTER_DATE: "2026-01-02T03:04:05Z" };
  for (const args of [
    ["init", "-q"],
    ["add", "-A"],
    [...identity, "commit", "-qm", "all"],
  ]) {
    execFileSync("git", ["-C", checkout, ...args], { env });
  }
}

it("is that of the command when changesets have become that version", () => {
  commit();
  expect(releaseVersion(checkout)).toBe("1.2.3");
});

it("is on the way from it while a changeset waits, by the time of the commit", () => {
  writeFileSync(join(checkout, ".changeset", "brave-cats.md"), "---\n---\n");
  commit();
  expect(releaseVersion(checkout)).toBe("1.2.3+dev.20260102030405");
});

it("is by the time of now when something is not committed", () => {
  commit();
  writeFileSync(join(checkout, "new"), "");
  const version = releaseVersion(checkout);
  expect(version).toMatch(/^1\.2\.3\+dev\.20\d{12}$/);
  expect(version).not.toContain("20260102030405");
});

it("is by the time of now where there is no repository", () => {
  expect(releaseVersion(checkout)).toMatch(/^1\.2\.3\+dev\.20\d{12}$/);
});
