import { basename } from "node:path";
import { isSecretName, type JobSpec } from "./job-spec.ts";
import type { JobTemplate } from "./job-templates.ts";
import { templateUses } from "./property-uses.ts";
import type { ReleaseDirectory } from "./release-directory.ts";
import { rubyTokens } from "./ruby-tokens.ts";
import { decidesOnErrors, isTraced } from "./shell-script.ts";

// What the agent, the Director and BBR run, by their exact names.
const LIFECYCLE = ["pre-start", "post-start", "post-deploy", "pre-stop", "post-stop", "drain", "run"];
const BBR = [
  "metadata",
  "backup",
  "restore",
  "pre-backup-lock",
  "post-backup-unlock",
  "pre-restore-lock",
  "post-restore-unlock",
  "backup-should-be-skipped",
];

/** Checks the scripts of a job: what is rendered into its bin/. */
export function checkScripts(release: ReleaseDirectory, job: JobSpec, templates: readonly JobTemplate[]): void {
  for (const template of templates) {
    if (!template.destination.startsWith("bin/")) continue;
    checkName(release, job, template);
    const shebang = template.erb.lines[0]?.text ?? "";
    // A file to be sourced by the others.
    if (template.destination.endsWith(".sh") && shebang.startsWith("# shellcheck shell=")) continue;
    if (!shebang.startsWith("#!")) {
      release.report(
        "script-shebang",
        template.file,
        "its first line is no shebang",
        template.erb.lines[0]?.line ?? null,
      );
      continue;
    }
    checkOutputs(release, template);
    if (!/^#!.*\b(?:ba|da|)sh\b/.test(shebang)) continue;
    if (!decidesOnErrors(template.erb.lines)) release.report("script-set-e", template.file, "it does not `set -e`");
    for (const { text, line } of template.erb.lines.filter((each) => isTraced(each.text))) {
      release.report("script-trace", template.file, text.trim(), line);
    }
  }
}

function checkName(release: ReleaseDirectory, job: JobSpec, template: JobTemplate): void {
  const { destination } = template;
  const bbr = destination.startsWith("bin/bbr/");
  const names = bbr ? BBR : LIFECYCLE;
  const name = destination.slice(bbr ? "bin/bbr/".length : "bin/".length);
  if (names.includes(name)) return;
  const plain = (text: string): string => text.replace(/\.\w+$/, "").replace(/[-_]/g, "");
  const meant = names.find((known) => plain(known) === plain(basename(name)));
  if (meant === undefined && !bbr) return;
  const hint = meant === undefined ? `BBR runs ${BBR.join(", ")}` : `${meant} is meant`;
  release.report("script-lifecycle-name", job.file, `nobody runs ${destination}: ${hint}`);
}

// What properties write into a script.
function checkOutputs(release: ReleaseDirectory, template: JobTemplate): void {
  for (const { output, code, line } of template.erb.tags) {
    if (!output) continue;
    const { properties } = templateUses(rubyTokens(code, line));
    const names = properties.flatMap((use) => use.names.map((name) => name.join("*")));
    const secret = names.find(isSecretName);
    if (secret !== undefined) release.report("script-secret", template.file, `it has the secret ${secret} in it`, line);
    if (
      properties.length > 0 &&
      !/\.shellescape|Shellwords|shelljoin|Integer\(|\.to_i\b|Float\(|[=!]=|\?\s*['"]/.test(code)
    ) {
      release.report("script-unquoted", template.file, `<%=${code}%> is not quoted for the shell`, line);
    }
  }
}
