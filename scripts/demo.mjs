// npm run demo: backs a real ZooKeeper up, restores it, and starts another one from the result. `-- --s3` does it with
// a local S3 server, and `-- --daemon` ends with the daemon and its status page, until Ctrl-C. Everything happens in a temporary directory and on loopback, and is gone afterwards.
import { join } from "node:path";
import { build } from "./build.mjs";
import { FOR_DEMO, FOR_S3_DEMO, installDebianPackages } from "./debian-packages.mjs";
import { main, root, run, setUp } from "./setup.mjs";

await main(async (args) => {
  installDebianPackages(args.includes("--s3") ? FOR_S3_DEMO : FOR_DEMO);
  console.log("Setting up: packages and build (a few seconds the first time) ...");
  await setUp();
  const code = await build({ quiet: true });
  return code === 0 ? run("node", [join(root, "scripts", "demo-run.mjs"), ...args]) : code;
});
