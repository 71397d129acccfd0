import { existsSync } from "node:fs";
import { BackypError, rechunk } from "@zk-backyp/core";
import type { Znode } from "@zk-backyp/zookeeper-files";
import colors from "picocolors";
import { exportJson, exportTar } from "../browse/export-forms.ts";
import { openState, type StateFlags, stateDocument } from "../browse/one-state.ts";
import { shown } from "../browse/shown-text.ts";
import { writeNewFile } from "../browse/write-file.ts";
import { type CommandContext, printJson } from "../command-context.ts";
import { formatBytes } from "../formats.ts";

export interface ExportFlags extends StateFlags {
  readonly format?: string | undefined;
  readonly output?: string | undefined;
}

/** `export`: a znode and all below it, with data, ACLs and stats, in a form that other tools read. */
export async function exportZnodes(flags: ExportFlags, context: CommandContext): Promise<number> {
  const { format = "json", output } = flags;
  if (format !== "json" && format !== "tar") {
    throw new BackypError("ERR_CONFIG_INVALID", `--format ${JSON.stringify(format)}: give json or tar`);
  }
  if (output === undefined && format === "tar" && (context.json || process.stdout.isTTY === true)) {
    throw new BackypError("ERR_CONFIG_INVALID", "a tar archive is not for a terminal, and no JSON: give --output");
  }
  if (output !== undefined && existsSync(output)) {
    throw new BackypError("ERR_TARGET_NOT_EMPTY", `${output} is there already: choose another name, or remove it`);
  }
  const state = await openState(flags, (top) => ({ keepData: (path) => isWithin(path, top) }), context);
  const { path } = state.znode;
  const total = { znodes: 0, dataBytes: 0 };
  const counted = function* (): Generator<Znode, void, void> {
    for (const znode of state.tree.walk(path)) {
      total.znodes += 1;
      total.dataBytes += Math.max(0, znode.dataLength);
      yield znode;
    }
  };
  const fields = { ...stateDocument(state), path };
  // What a znode makes is small, and a write for each would take longer than all the rest.
  const body = rechunk(format === "json" ? exportJson(fields, counted()) : exportTar(counted(), context.signal));
  if (output === undefined) {
    for await (const chunk of body) await context.write(chunk);
    return state.exitCode;
  }
  await writeNewFile(output, body, context.signal);
  if (context.json) printJson(context, { ...fields, format, output, ...total });
  else {
    const what = `${total.znodes} znodes, ${formatBytes(total.dataBytes)} of data`;
    context.print(`${colors.green("✔")} ${shown(path)} exported to ${output}: ${what}`);
  }
  return state.exitCode;
}

function isWithin(path: string, top: string): boolean {
  return top === "/" || path === top || (path.startsWith(top) && path[top.length] === "/");
}
