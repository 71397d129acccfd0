// Makes the next release in a scratch copy: proves that the configuration and every changeset can be read.
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { packageFiles, root } from "./setup.mjs";

const copy = mkdtempSync(join(tmpdir(), "zk-backyp-changesets-"));
try {
  for (const path of [".changeset", "pnpm-workspace.yaml", "pnpm-lock.yaml"]) {
    cpSync(join(root, path), join(copy, path), { recursive: true });
  }
  for (const path of packageFiles()) cpSync(path, join(copy, relative(root, path)));
  const { status, stdout, stderr } = spawnSync("changeset", ["version"], { cwd: copy, encoding: "utf8" });
  process.stdout.write(`${stdout}${stderr}`);
  const versions = packageFiles()
    .map((path) => JSON.parse(readFileSync(join(copy, relative(root, path)), "utf8")))
    .filter((manifest) => manifest.private !== true)
    .map((manifest) => manifest.version);
  const together = new Set(versions).size === 1;
  if (!together) console.log(`the packages would not be released under one version: ${versions.join(" ")}`);
  process.exitCode = status === 0 && together ? 0 : 1;
} finally {
  rmSync(copy, { recursive: true, force: true });
}
