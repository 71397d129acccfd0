// One cold backup, or one recovery, that is struck where it is told: `cold-run.ts PLAN`, a ColdRunPlan as JSON. Says on
// stdout, a ColdRunLine of JSON each, what it has come to. Signals and exit codes are those of the command.
import { existsSync, writeFileSync, writeSync } from "node:fs";
import { isBackypError, openSeries, silentLogger } from "@zk-backyp/core";
import { createFsSink } from "@zk-backyp/sink-fs";
import { createZooKeeperSource } from "../src/index.ts";
import type { Blow, ColdRunEnd, ColdRunLine, ColdRunPlan, Moment } from "./cold-kill-plan.ts";
import { killAlone, killWithChildren } from "./cold-kill-processes.ts";

const plan = JSON.parse(process.argv[2] ?? "") as ColdRunPlan;
const { dataDir, server, cold, folder } = plan;

const controller = new AbortController();
const { signal } = controller;
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    if (signal.aborted) process.exit(130);
    controller.abort();
  });
}

function say(line: ColdRunLine): void {
  // At once: this process may not live for long.
  writeSync(1, `${JSON.stringify(line)}\n`);
}

function end(code: string, more: Partial<ColdRunEnd> = {}): void {
  say({ end: { code, message: "", id: null, facts: null, ...more } });
}

let isStruck = false;
function reach(moment: Moment): void {
  say({ moment });
  if (moment === "stopping" && plan.strike?.at === "amid-stopping") {
    const timer = setInterval(() => {
      if (!existsSync(plan.stoppingFile)) return;
      clearInterval(timer);
      reach("amid-stopping");
    }, 2);
  }
  if (isStruck || plan.strike?.at !== moment) return;
  isStruck = true;
  for (const blow of plan.strike.blows) strike(blow);
}

function strike(blow: Blow): void {
  switch (blow) {
    case "guard":
      // Both of its shells, and their sleep.
      killWithChildren(({ commandLine }) => commandLine.includes(`\0zk-backyp-guard\0${folder}/`));
      break;
    case "helper":
      killAlone(({ commandLine }) => /cold-kill-helper/.test(commandLine) && commandLine.includes(`${folder}/`));
      break;
    case "machine":
      killWithChildren(({ commandLine }) => commandLine.includes(`${folder}/`));
      break;
    case "stay stopped":
      writeFileSync(cold.stayStoppedFile ?? "", "");
      break;
    case "SIGINT twice":
      process.kill(process.pid, "SIGINT");
      setTimeout(() => process.kill(process.pid, "SIGINT"), 50);
      break;
    default:
      process.kill(process.pid, blow);
  }
}

const source = createZooKeeperSource({ dataDir, server, mode: "cold", cold }, folder);
try {
  if (plan.do === "recover") {
    const facts = await source.recover?.({ signal, logger: silentLogger });
    end("recovered", { facts });
  } else {
    const series = openSeries({ prefix: "cold", source, sink: createFsSink({ path: plan.backups }) });
    series.events.on("backup:step", ({ step }) => reach(step as Moment));
    series.events.once("backup:progress", () => reach("archiving"));
    series.events.on("backup:complete", () => reach("stored"));
    const manifest = await series.backup({ signal });
    if (manifest === null) end("skipped");
    else end("stored", { id: manifest.id, facts: manifest.facts });
  }
} catch (error) {
  const { message, stack } = error as Error;
  if (isBackypError(error)) end(error.code, { message });
  else end("ERR_INTERNAL", { message: stack ?? message });
  process.exitCode = isBackypError(error, "ERR_ABORTED") ? 130 : isBackypError(error, "ERR_NODE_DOWN") ? 7 : 1;
} finally {
  await source.close?.();
}
