// npm run bosh:lint -- [--json] [release directory]
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { lintRelease } from "./lint.ts";

const { values, positionals } = parseArgs({ options: { json: { type: "boolean" } }, allowPositionals: true });
const release = resolve(positionals[0] ?? dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
const { findings, notes } = await lintRelease(release);
if (values.json === true) {
  console.log(JSON.stringify({ release, findings, notes }, null, 2));
} else {
  for (const { rule, file, line, problem, remedy } of findings) {
    console.log(`${file}${line === null ? "" : `:${line}`}: ${problem} [${rule}]\n  ${remedy}`);
  }
  for (const note of notes) console.log(`note: ${note}`);
  console.log(`${findings.length} findings in ${release}`);
}
process.exitCode = findings.length === 0 ? 0 : 1;
