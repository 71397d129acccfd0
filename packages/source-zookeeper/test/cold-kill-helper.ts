// The root helper of one node, as a process of its own: `cold-kill-helper.ts PLAN`, a HelperPlan as JSON. Says `ready`.
import { writeSync } from "node:fs";
import { silentLogger } from "@zk-backyp/core";
import { openNodeControl } from "../src/node-control/open-node-control.ts";
import { startRootHelper } from "../src/root-helper/root-helper.ts";
import type { HelperPlan } from "./cold-kill-plan.ts";

const { socket, control, folder, stateDir, stayStoppedFile } = JSON.parse(process.argv[2] ?? "") as HelperPlan;
const helper = await startRootHelper({
  socket,
  control: openNodeControl(control, folder),
  stateDir,
  maxDowntimeMs: 60_000,
  stayStoppedFile,
  logger: silentLogger,
});
writeSync(1, "ready\n");
process.once("SIGTERM", async () => {
  await helper.close();
  process.exit();
});
// Ends with the test run, also when that is killed.
process.stdin.resume().once("end", () => process.exit(1));
