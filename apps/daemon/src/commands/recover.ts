import type { JsonObject } from "@zk-backyp/core";
import colors from "picocolors";
import { type CommandContext, printJson } from "../command-context.ts";
import { ExitCode } from "../exit-codes.ts";
import { openSourceFor } from "../open-series.ts";
import type { SourceFlags } from "../source-flags.ts";

export interface RecoverFlags {
  readonly config?: string | undefined;
  readonly series?: string | undefined;
  readonly source: SourceFlags;
}

/** `recover`: does what a run that died can do no more, such as the start of the server that it had stopped. */
export async function recover(flags: RecoverFlags, context: CommandContext): Promise<number> {
  const source = await openSourceFor(flags, context.logger);
  try {
    const { signal, logger } = context;
    const done = (await source.recover?.({ signal, logger })) ?? { did: "nothing" };
    if (context.json) printJson(context, done);
    else context.print(describe(done));
    return ExitCode.ok;
  } finally {
    await source.close();
  }
}

function describe(done: JsonObject): string {
  const { did, why, owed } = done;
  switch (did) {
    case "nothing":
      return "nothing to recover";
    case "was-running":
      return `${colors.green("✔")} the server runs: somebody else has started it, or it was never stopped`;
    case "started":
      return `${colors.green("✔")} the server was started, and serves again`;
    case "stays-stopped":
      return `the server stays stopped: ${why}${owed === true ? ". Once that is over, recover again" : ""}`;
    default:
      // Of a source that is none of ours.
      return JSON.stringify(done);
  }
}
