#!/usr/bin/env node
import { collectBuffersEarly } from "./collect-buffers.ts";

// Before the program is loaded, which is when V8 takes its largest steps.
collectBuffersEarly();
const { interrupted, runCli } = await import("./cli.ts");
const { ExitCode } = await import("./exit-codes.ts");

const abort = new AbortController();
const reloads: (() => void)[] = [];
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(name, () => {
    if (name === "SIGHUP" && reloads.length > 0) {
      for (const reload of reloads) reload();
      return;
    }
    // A second signal does not wait for anything to be cleared up.
    if (abort.signal.aborted) process.exit(130);
    abort.abort(interrupted(name));
  });
}
// Whoever read our output may have had enough (`zk-backyp list | head`); what was begun is finished all the same. But
// output that is lost for another reason, such as a full disk, is a failure.
let outputLost = false;
let readerGone = false;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  readerGone = true;
  outputLost ||= error.code !== "EPIPE";
});
process.stderr.on("error", () => {});

const exitCode = await runCli(process.argv.slice(2), {
  signal: abort.signal,
  writeOut: (chunk) => process.stdout.write(chunk),
  drained: () =>
    new Promise((resolve) => {
      const events = ["drain", "error", "close"];
      const done = (): void => {
        for (const event of events) process.stdout.off(event, done);
        resolve(!readerGone);
      };
      for (const event of events) process.stdout.on(event, done);
      // Not at once: a signal, or the reader's leaving, would never get a turn.
      if (readerGone || !process.stdout.writableNeedDrain) setImmediate(done);
    }),
  writeError: (text) => process.stderr.write(text),
  isTerminal: process.stdout.isTTY,
  onReload: (listener) => reloads.push(listener),
});
process.exitCode = exitCode;
// The daemon has ended, whatever a plugin or a reader of the log that sleeps still holds on to.
if (reloads.length > 0) setTimeout(() => process.exit(exitCode), 5_000).unref();
process.on("exit", () => {
  if (outputLost && exitCode === ExitCode.ok) process.exitCode = ExitCode.failed;
});
