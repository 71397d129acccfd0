#!/usr/bin/env node
import { interrupted, runCli } from "./cli.ts";

const abort = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(name, () => {
    // A second signal does not wait for anything to be cleared up.
    if (abort.signal.aborted) process.exit(130);
    abort.abort(interrupted(name));
  });
}
// `zk-backyp list | head`: whoever read our output has enough.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.exitCode = await runCli(process.argv.slice(2), {
  signal: abort.signal,
  writeOut: (text) => process.stdout.write(text),
  writeError: (text) => process.stderr.write(text),
});
