// npm run bosh:lint -- [--json] [release directory]: looks in the BOSH release for what `bosh create-release` lets through.
import { join } from "node:path";
import { main, root, run } from "./setup.mjs";

await main((args) => run("node", [join(root, "packages", "bosh-release", "tools", "lint", "main.ts"), ...args]));
