// npm run check: everything that can be said without running the code. Never writes to the checkout.
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "./build.mjs";
import { capture, main, pnpm, publishablePackages, root, setUp } from "./setup.mjs";

/** Runs every check on the built workspace, each with a line that says pass or fail. Returns how many did. */
export async function check() {
  await setUp();
  const counts = { passed: 0, failed: 0 };
  const packed = mkdtempSync(join(tmpdir(), "zk-backyp-check-"));
  try {
    for (const [name, command, ...args] of checks(packed)) {
      const startedAt = Date.now();
      const { code, output } = await capture(command, args, { NO_COLOR: "1" });
      const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
      console.log(`${code === 0 ? "ok  " : "FAIL"} ${name} (${seconds} s)`);
      if (code === 0) {
        counts.passed += 1;
      } else {
        counts.failed += 1;
        console.log(output.trimEnd().replace(/^/gm, "     "));
      }
    }
  } finally {
    rmSync(packed, { recursive: true, force: true });
  }
  return counts;
}

function* checks(packed) {
  yield ["format and lint (biome)", "biome", "ci", "--colors=off", "."];
  yield ["types of the tests (tsc)", "tsc", "-p", "tsconfig.test.json"];
  yield ["types of the status page (tsc)", "tsc", "-p", "apps/daemon/tsconfig.page.json"];
  yield ["unused files, exports and dependencies (knip)", "knip", "--no-progress", "--no-config-hints"];
  yield ["the BOSH release (its linter)", "node", join(root, "packages", "bosh-release", "tools", "lint", "main.ts")];
  yield ["changesets", "node", join(root, "scripts", "check-changesets.mjs")];
  if (existsSync(join(root, "scripts", "docs.mjs"))) {
    yield ["generated documentation is current", "node", join(root, "scripts", "docs.mjs"), "--check"];
  }
  for (const { name, directory } of publishablePackages()) {
    const short = name.replace("@zk-backyp/", "");
    const target = join(packed, short);
    yield [`${short}: packs`, "npx", ...pnpm("--dir", directory, "pack", "--pack-destination", target)];
    const archive = existsSync(target) ? readdirSync(target).map((file) => join(target, file))[0] : undefined;
    if (archive === undefined) continue;
    yield [`${short}: package.json agrees with the files (publint)`, "publint", "run", archive, "--strict"];
    yield [`${short}: types resolve (attw)`, "attw", archive, "--profile", "esm-only"];
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    const code = await build();
    if (code !== 0) return code;
    const { passed, failed } = await check();
    console.log(`${passed} passed, ${failed} failed`);
    return failed === 0 ? 0 : 1;
  });
}
