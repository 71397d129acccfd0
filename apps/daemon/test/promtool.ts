import { spawnSync } from "node:child_process";

/** What is missing for running promtool, with the command that installs it; null when nothing is missing. */
export function promtoolMissing(): string | null {
  if (spawnSync("promtool", ["--version"]).error === undefined) return null;
  return "promtool not found: run `apt-get install --no-install-recommends prometheus`";
}

/** @returns its exit code, and all that it said */
export function promtool(args: readonly string[], input = ""): { readonly code: number | null; readonly said: string } {
  const { status, stdout, stderr } = spawnSync("promtool", args, { input, encoding: "utf8" });
  return { code: status, said: `${stdout}${stderr}` };
}
