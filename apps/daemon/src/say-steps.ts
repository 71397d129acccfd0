import type { JsonObject, Series } from "@zk-backyp/core";
import type { ColdStep } from "@zk-backyp/source-zookeeper";
import { formatBytes, formatDuration } from "./formats.ts";
import type { CliLogger } from "./logger.ts";

/** The steps that a person waits for while a server is stopped for a backup. */
const lines: Partial<Record<ColdStep, (facts: JsonObject) => string>> = {
  stopping: ({ node }) => `stopping ${node}`,
  stopped: (facts) => `stopped ${after(facts)}`,
  linked: ({ files, bytes, ...facts }) => `linked ${files} files (${formatBytes(Number(bytes))}) ${after(facts)}`,
  starting: () => "starting it again",
  serving: ({ role, ...facts }) => `serving again as ${role} ${after(facts)}`,
  "caught-up": (facts) => `caught up ${after(facts)}`,
};

/** Says on stderr what is done to the server that is backed up, at the moment when it is done. */
export function saySteps(series: Series, logger: CliLogger): void {
  series.events.on("backup:step", ({ step, facts }) => {
    const line = Object.hasOwn(lines, step) ? lines[step as ColdStep] : undefined;
    if (line !== undefined) logger.say(line(facts));
  });
}

function after({ afterMs }: JsonObject): string {
  return `after ${formatDuration(Number(afterMs))}`;
}
