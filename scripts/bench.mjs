// npm run bench -- <name> [--json]: measures against other tools, in turns with them on this machine.
import { join } from "node:path";
import { build } from "./build.mjs";
import { main, root, run, SetupError } from "./setup.mjs";

/** What each measures, and where it is. */
const BENCHES = {
  verify: "checking a snapshot of a million znodes, against ZooKeeper's own classes",
  downtime: "how long a node is down for a cold backup, against a bare restart and tar (--full: with 2 GB too)",
};

await main(async ([name, ...args]) => {
  if (name === undefined || !Object.hasOwn(BENCHES, name)) {
    const list = Object.entries(BENCHES).map(([key, what]) => `  ${key.padEnd(10)} ${what}`);
    throw new SetupError(`Usage: npm run -s bench -- <name> [--json]\n${list.join("\n")}`);
  }
  const code = await build({ quiet: true });
  return code === 0 ? run("node", [join(root, "bench", `${name}.mjs`), ...args]) : code;
});
