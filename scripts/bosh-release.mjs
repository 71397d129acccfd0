// npm run bosh:release: makes the BOSH release, packages/bosh-release/dist/zookeeper-hybris-VERSION.tgz, of this checkout.
// `-- --version 1.2.3` gives it another version.
import { join } from "node:path";
import { build } from "./build.mjs";
import { main, root, run } from "./setup.mjs";

await main(async (args) => {
  const code = await build({ quiet: true });
  if (code !== 0) return code;
  return run("node", [join(root, "packages", "bosh-release", "tools", "create-release.ts"), ...args]);
});
