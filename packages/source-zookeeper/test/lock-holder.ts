// Takes the stop lock in a process of its own, for tests that end or pause it: `node lock-holder.ts <port> ...`.
import { createInterface } from "node:readline";
import { parseServerAddress } from "../src/ensemble/server-address.ts";
import { takeStopLock } from "../src/ensemble/stop-lock.ts";

const say = (what: string): void => console.log(what);
const lock = await takeStopLock({
  servers: process.argv.slice(2).map((port) => parseServerAddress(`127.0.0.1:${port}`)),
  label: { host: "holder", node: "1" },
  signal: new AbortController().signal,
});
say(`held ${lock.isHeld()}`);

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "pause") {
    process.kill(process.pid, "SIGSTOP");
    // The signal comes at once, but not before this line for certain. No event is handled in between.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    say(`held ${lock.isHeld()}`);
  }
  if (line === "confirm") {
    lock.confirm(new AbortController().signal).then(
      () => say("confirmed"),
      (error: { code: string }) => say(error.code),
    );
  }
  if (line === "end") process.exit();
});
