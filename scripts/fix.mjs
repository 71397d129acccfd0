// npm run fix: formats, and repairs what the linter can.
import { main, run } from "./setup.mjs";

await main(() => run("biome", ["check", "--write", "."]));
