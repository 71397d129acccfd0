// npm run test:fuzz [-- [seconds for each target] [target ...]]: feeds the parsers with changed files.
import { join } from "node:path";
import { main, root, run, setUp } from "./setup.mjs";

await main(async (args) => run(await setUp(), [join(root, "packages/zookeeper-files/fuzz/main.ts"), ...args]));
