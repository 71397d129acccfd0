#!/usr/bin/env node
import { setFlagsFromString } from "node:v8";

// What a backup leaves behind is buffers, which V8 counts less than its own objects: without these it lets some 30 MB
// more of them gather. Set before the program is loaded.
setFlagsFromString("--optimize-for-size");
setFlagsFromString("--max-semi-space-size=2");
const { interrupted, runCli } = await import("./cli.ts");
const { ExitCode } = await import("./exit-codes.ts");

const abort = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(name, () => {
    // A second signal does not wait for anything to be cleared up.
    if (abort.signal.aborted) process.exit(130);
    abort.abort(interrupted(name));
  });
}
// Whoever read our output may have had enough (`zk-backyp list | head`); what was begun is finished all the same. But
// output that is lost for another reason, such as a full disk, is a failure.
let outputLost = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  outputLost ||= error.code !== "EPIPE";
});
process.stderr.on("error", () => {});

const exitCode = await runCli(process.argv.slice(2), {
  signal: abort.signal,
  writeOut: (text) => process.stdout.write(text),
  writeError: (text) => process.stderr.write(text),
});
process.exitCode = exitCode;
process.on("exit", () => {
  if (outputLost && exitCode === ExitCode.ok) process.exitCode = ExitCode.failed;
});
