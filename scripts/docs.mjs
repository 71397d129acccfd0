// Writes the documentation that is made from the code; with --check it only compares. Needs the workspace built.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { main, root } from "./setup.mjs";

const built = (path) => import(pathToFileURL(join(root, path)).href);

await main(async (args) => {
  const { manifestJsonSchema } = await built("packages/core/dist/index.js");
  const { configJsonSchema } = await built("apps/daemon/dist/config/config-json-schema.js");
  const { $schema, description, ...schema } = manifestJsonSchema();
  const manifest = { $schema, title: "Manifest of a zk-backyp backup", description, ...schema };
  const config = await configJsonSchema();
  const made = [
    ["docs/manifest.schema.json", manifest],
    ["docs/config.schema.json", config],
    // The same, for editors that look into the installed package.
    ["apps/daemon/config.schema.json", config],
  ];
  let code = 0;
  for (const [name, content] of made) {
    const text = `${JSON.stringify(content, null, 2)}\n`;
    const path = join(root, name);
    if (!args.includes("--check")) {
      writeFileSync(path, text);
    } else if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
      console.error(`${name} is not what the code says: run \`node scripts/docs.mjs\` after a build, and commit it.`);
      code = 1;
    }
  }
  return code;
});
