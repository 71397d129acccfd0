// npm run test:matrix: real servers of every release line of ZooKeeper, from Maven Central. Arguments go to vitest.
import { build } from "./build.mjs";
import { FOR_MATRIX, installDebianPackages } from "./debian-packages.mjs";
import { main } from "./setup.mjs";
import { vitest } from "./vitest.mjs";

await main(async (args) => {
  installDebianPackages(FOR_MATRIX);
  const code = await build();
  if (code !== 0) return code;
  const { passed, failed, skipped } = await vitest(["matrix"], args);
  if (args.length === 0 && skipped.length > 0) {
    console.log(`\nTHE RELEASE MATRIX WAS NOT RUN: ${skipped.length} tests need java and Maven Central\n`);
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});
