// Makes of the built workspace what the package zk-backyp installs: src/zk-backyp/dist.
import { readFileSync } from "node:fs";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Plugin } from "esbuild";
import { RELEASE } from "./blobs.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const DAEMON = join(ROOT, "apps", "daemon");
const ZOOKEEPER_SOURCE = join(ROOT, "packages", "source-zookeeper");

/** What looks for a file beside itself, which a bundle does not have there. */
const REPLACED: readonly { readonly module: RegExp; readonly text: (path: string) => string | Promise<string> }[] = [
  {
    module: /[/\\]apps[/\\]daemon[/\\]dist[/\\]http[/\\]page-folder\.js$/,
    text: () => `export const PAGE_FOLDER = new URL("./page/", import.meta.url);`,
  },
  {
    module: /[/\\]packages[/\\]source-zookeeper[/\\]dist[/\\]stop-promise[/\\]guard-script\.js$/,
    text: async (path) => {
      const { readGuardScript } = (await import(path)) as { readGuardScript(): Promise<string> };
      return `export async function readGuardScript() { return ${JSON.stringify(await readGuardScript())}; }`;
    },
  },
];

// What is in CommonJS asks for Node's own modules by `require`.
const REQUIRE = `import { createRequire as $createRequire } from "node:module"; const require = $createRequire(import.meta.url);`;

/**
 * Writes into `folder`, whose content it replaces: `zk-backyp.mjs`, the whole command in one file, its source map,
 * `start-node.mjs`, which the command starts as a process of its own, `page/`, the parts of the status page, and
 * `LICENSES.txt`, the licences of what is in it. The same sources make the same bytes, wherever the checkout lies.
 * Needs the workspace built.
 */
export async function bundle(folder: string = join(RELEASE, "src", "zk-backyp", "dist")): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const replaced = new Set<RegExp>();
  const common: BuildOptions = {
    // The paths in the output are relative to it.
    absWorkingDir: ROOT,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22",
    banner: { js: REQUIRE },
    legalComments: "none",
    logLevel: "warning",
    metafile: true,
    plugins: [replace(replaced)],
  };
  const { metafile } = await build({
    ...common,
    entryPoints: [join(DAEMON, "dist", "main.js")],
    outfile: join(folder, "zk-backyp.mjs"),
    sourcemap: true,
  });
  await build({
    ...common,
    entryPoints: [join(ZOOKEEPER_SOURCE, "dist", "node-control", "start-node.js")],
    outfile: join(folder, "start-node.mjs"),
  });
  const missed = REPLACED.filter(({ module }) => !replaced.has(module));
  if (missed.length > 0) throw new Error(`not in the bundle, though it has to be replaced: ${missed[0]?.module}`);
  await cp(join(DAEMON, "page"), join(folder, "page"), { recursive: true });
  await writeFile(join(folder, "LICENSES.txt"), await licences(Object.keys(metafile?.inputs ?? {})));
}

function replace(done: Set<RegExp>): Plugin {
  return {
    name: "replace",
    setup({ onLoad }) {
      for (const { module, text } of REPLACED) {
        onLoad({ filter: module }, async ({ path }) => {
          done.add(module);
          return { contents: await text(path) };
        });
      }
    },
  };
}

/** The licences of the packages that the modules at `paths` (relative to the workspace) are from. */
async function licences(paths: readonly string[]): Promise<string> {
  const folders = new Set(paths.flatMap((path) => /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? []));
  const texts: string[] = [];
  for (const folder of [...folders].sort()) {
    const { name, version, license } = JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8"));
    if (name === undefined) throw new Error(`${folder} has no name`);
    const files = (await readdir(join(ROOT, folder))).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    const parts = files.sort().map((file) => readFileSync(join(ROOT, folder, file), "utf8").trim());
    texts.push([`${name} ${version} (${license ?? "no licence named"})`, ...parts].join("\n\n"));
  }
  const own = readFileSync(join(ROOT, "LICENSE"), "utf8").trim();
  return `${[`zk-backyp\n\n${own}`, ...texts].join(`\n\n${"-".repeat(80)}\n\n`)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await bundle();
