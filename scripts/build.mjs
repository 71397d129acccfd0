// npm run build: compiles every package that changed.
import { fileURLToPath } from "node:url";
import { capture, main, pnpm, run, setUp } from "./setup.mjs";

/** Builds the workspace; if `quiet`, it says something only if that fails. Returns the exit code. */
export async function build({ quiet = false } = {}) {
  await setUp();
  // turbo runs each package's build script by pnpm, and needs to find it.
  const args = pnpm("exec", "turbo", "run", "build", "--output-logs=new-only");
  const env = { TURBO_TELEMETRY_DISABLED: "1", TURBO_NO_UPDATE_NOTIFIER: "1", DO_NOT_TRACK: "1" };
  if (!quiet) return run("npx", args, { env });
  const { code, output } = await capture("npx", args, env);
  if (code !== 0) console.error(output);
  return code;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(() => build());
