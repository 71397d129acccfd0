// Writes the documentation that is made from the code; with --check it only compares. Needs the workspace built.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { main, root } from "./setup.mjs";

const SCHEMA = "docs/manifest.schema.json";

await main(async (args) => {
  const { manifestJsonSchema } = await import(pathToFileURL(join(root, "packages/core/dist/index.js")).href);
  const { $schema, description, ...schema } = manifestJsonSchema();
  const titled = { $schema, title: "Manifest of a zk-backyp backup", description, ...schema };
  const text = `${JSON.stringify(titled, null, 2)}\n`;
  const path = join(root, SCHEMA);
  if (!args.includes("--check")) {
    writeFileSync(path, text);
    return 0;
  }
  if (existsSync(path) && readFileSync(path, "utf8") === text) return 0;
  console.error(`${SCHEMA} is not what the code says: run \`node scripts/docs.mjs\` after a build, and commit it.`);
  return 1;
});
