// One cold run of a made node, with its journal in a given folder, in a process of its own: the folder may be on a mount that
// only it sees. `made-node-process.ts STATE_DIR`; says as JSON what came of it.
import { makeNodeRuns } from "./made-node-runs.ts";

const [, , stateDir = ""] = process.argv;
const disposals: (() => Promise<void>)[] = [];
const run = await makeNodeRuns({ cold: { stateDir }, onTestFinished: (dispose) => void disposals.push(dispose) });
const before = run.node.pid;
const { manifest, error } = await run.backUp();
const { node } = run;
const outcome = {
  code: error?.code ?? null,
  message: error?.message ?? null,
  isBackedUp: manifest !== null,
  isSameProcess: node.pid === before,
  stops: node.stops,
  starts: node.starts,
  left: await run.left(),
};
for (const dispose of disposals) await dispose();
console.log(JSON.stringify(outcome));
