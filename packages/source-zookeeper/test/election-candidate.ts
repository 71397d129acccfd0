// Stands for election in a process of its own, for tests that end or pause it: `node election-candidate.ts <options>`.
import { createInterface } from "node:readline";
import { silentLogger } from "@zk-backyp/core";
import { createZooKeeperSource } from "../src/index.ts";

const say = (what: string): void => console.log(what);
const { signal } = new AbortController();
const source = createZooKeeperSource(JSON.parse(process.argv[2] ?? "{}"));
const candidacy = await source.elect?.("job", { host: "holder" }, { signal, logger: silentLogger });
if (candidacy === undefined) throw new Error("it has no elections");
let said = "";
const sayState = (): void => {
  if (said !== candidacy.state) say(candidacy.state);
  said = candidacy.state;
};
candidacy.onChange(sayState);

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "pause") {
    process.kill(process.pid, "SIGSTOP");
    // The signal comes at once, but not before this line for certain. No event is handled in between.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    say(`woken ${candidacy.state}`);
  }
  if (line === "leave") void candidacy.close().then(() => process.exit());
  if (line === "confirm") {
    candidacy.confirm(signal).then(
      () => say("confirmed"),
      (error: { code: string; message: string }) => say(`${error.code} ${error.message}`),
    );
  }
});
