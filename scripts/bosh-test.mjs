// npm run test:bosh: makes the BOSH release and deploys it as far as that goes without a Director. Arguments go to vitest.
import { build } from "./build.mjs";
import { FOR_TESTS, installDebianPackages } from "./debian-packages.mjs";
import { main } from "./setup.mjs";
import { vitest } from "./vitest.mjs";

await main(async (args) => {
  installDebianPackages(FOR_TESTS);
  const code = await build();
  if (code !== 0) return code;
  const { passed, failed, skipped } = await vitest(["bosh"], args);
  if (args.length === 0 && skipped.length > 0) {
    console.log(`\n${skipped.length} TESTS OF THE BOSH RELEASE WERE NOT RUN: what they need is named above.`);
    for (const name of skipped) console.log(`  - ${name}`);
    console.log("");
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});
