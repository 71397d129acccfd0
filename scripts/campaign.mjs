// npm run test:campaign: the long tests, which repeat a danger many times. Arguments go to vitest.
import { build } from "./build.mjs";
import { FOR_TESTS, installDebianPackages } from "./debian-packages.mjs";
import { main } from "./setup.mjs";
import { vitest } from "./vitest.mjs";

await main(async (args) => {
  installDebianPackages(FOR_TESTS);
  const code = await build();
  if (code !== 0) return code;
  const { passed, failed, skipped } = await vitest(["campaign"], ["--passWithNoTests", ...args]);
  for (const name of skipped) console.log(`skipped: ${name}`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});
