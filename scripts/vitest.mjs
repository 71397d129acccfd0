// Runs vitest and counts.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { root, run, setUp } from "./setup.mjs";

/**
 * Runs the given vitest projects with a report for people on the terminal. Extra arguments go to vitest: file name
 * parts, `-t name`, and so on. Returns the counts, and the names of the tests that were skipped.
 */
export async function vitest(projects, args) {
  const directory = mkdtempSync(join(tmpdir(), "zk-backyp-vitest-"));
  const report = join(directory, "report.json");
  try {
    // Not by its launcher in node_modules/.bin, a shell script that would take a signal and leave the tests running.
    const code = await run(await setUp(), [
      join(root, "node_modules", "vitest", "vitest.mjs"),
      "run",
      ...projects.flatMap((name) => ["--project", name]),
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
      ...args,
    ]);
    return count(code, report);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function count(code, report) {
  const counts = { passed: 0, failed: 0, skipped: [] };
  let suites = [];
  try {
    suites = JSON.parse(readFileSync(report, "utf8")).testResults;
  } catch {
    // vitest itself has crashed, which its exit code says.
  }
  for (const suite of suites) {
    let failures = 0;
    for (const { status, fullName } of suite.assertionResults) {
      if (status === "passed") counts.passed += 1;
      else if (status === "failed") failures += 1;
      else counts.skipped.push(`${relative(root, suite.name)}: ${fullName}`);
    }
    // A file that could not even be loaded has no tests, and has failed.
    if (suite.status === "failed" && failures === 0) failures = 1;
    counts.failed += failures;
  }
  // Errors outside of any test.
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  return counts;
}
