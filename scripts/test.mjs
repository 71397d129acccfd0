// npm test: installs what it needs, builds, checks, and runs unit and integration tests. With arguments, which go to
// vitest (`npm test -- packages/core`), it builds and runs those tests only.
import { build } from "./build.mjs";
import { check } from "./check.mjs";
import { FOR_TESTS, installDebianPackages } from "./debian-packages.mjs";
import { main, setUp } from "./setup.mjs";
import { vitest } from "./vitest.mjs";

await main(async (args) => {
  const missing = installDebianPackages(FOR_TESTS);
  await setUp();

  const counts = { passed: 0, failed: 0 };
  const add = ({ passed, failed }) => {
    counts.passed += passed;
    counts.failed += failed;
  };
  const built = (await build()) === 0;
  add(built ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 });
  if (!built) {
    console.log("The build failed: no test was run.");
  } else {
    if (args.length === 0) add(await check());
    const tests = await vitest(["unit", "integration"], args);
    add(tests);
    reportSkipped(tests.skipped, missing);
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed === 0 ? 0 : 1;
});

function reportSkipped(skipped, missing) {
  if (skipped.length === 0) return;
  console.log(`\n${skipped.length} TESTS WERE SKIPPED, and are in neither number below:`);
  for (const name of skipped) console.log(`  - ${name}`);
  if (missing.length > 0) console.log(`Missing Debian packages: ${missing.join(" ")}`);
  console.log("");
}
