import { BackypError } from "@zk-backyp/core";
import colors from "picocolors";
import { openState, type StateFlags, stateDocument } from "../browse/one-state.ts";
import { shown } from "../browse/shown-text.ts";
import { type FoldedSubtrees, largestSubtrees, type Measure, type Subtree, subtreesOf } from "../browse/subtrees.ts";
import { jsonDocument, writeLines } from "../browse/write-out.ts";
import type { CommandContext } from "../command-context.ts";
import { formatBytes } from "../formats.ts";

const DEFAULT_DEPTH = 2;
/** Locks, queues and brokers come by the thousand: nobody reads so many lines. */
const SHOWN_CHILDREN = 10;

export interface TreeFlags extends StateFlags {
  readonly depth?: string | undefined;
  readonly top?: string | undefined;
  readonly by?: string | undefined;
}

/** `tree`: how many znodes and how much data each subtree has; or with `--top` the largest ones. */
export async function tree(flags: TreeFlags, context: CommandContext): Promise<number> {
  const top = flags.top === undefined ? null : requireCount(flags.top, "--top");
  const by = requireMeasure(flags.by ?? "data");
  const depth = flags.depth === undefined ? null : requireCount(flags.depth, "--depth");
  const state = await openState(flags, () => ({}), context);
  const { path } = state.znode;
  const subtrees =
    top === null
      ? subtreesOf(
          state.tree,
          path,
          by,
          depth ?? DEFAULT_DEPTH,
          context.json ? Number.POSITIVE_INFINITY : SHOWN_CHILDREN,
        )
      : largestSubtrees(state.tree, path, by, depth ?? Number.POSITIVE_INFINITY, top);
  if (context.json) {
    const documents = subtrees.flatMap((subtree) => ("path" in subtree ? [documentOf(subtree)] : []));
    await writeLines(context, jsonDocument({ ...stateDocument(state), path }, "subtrees", documents));
    return state.exitCode;
  }
  const names =
    top === null ? drawn(subtrees) : subtrees.map((subtree) => ("path" in subtree ? shown(subtree.path) : ""));
  await writeLines(context, [
    colors.bold(`${"ZNODES".padStart(ZNODES_WIDTH)}  ${"DATA".padStart(DATA_WIDTH)}  PATH`),
    ...subtrees.map((subtree, index) => `${totals(subtree)}  ${names[index]}`),
  ]);
  return state.exitCode;
}

const ZNODES_WIDTH = 9;
const DATA_WIDTH = 8;

function totals({ znodes, dataBytes }: Subtree | FoldedSubtrees): string {
  return `${String(znodes).padStart(ZNODES_WIDTH)}  ${formatBytes(dataBytes).padStart(DATA_WIDTH)}`;
}

/** The names as the branches of a tree. */
function drawn(subtrees: readonly (Subtree | FoldedSubtrees)[]): string[] {
  const names: string[] = [];
  /** Whether another branch follows at each depth, seen from below. */
  let follows: boolean[] = [];
  for (const subtree of subtrees.toReversed()) {
    const { depth } = subtree;
    const trunk = Array.from({ length: Math.max(0, depth - 1) }, (_, level) => (follows[level + 1] ? "│  " : "   "));
    const branch = depth === 0 ? "" : follows[depth] ? "├─ " : "└─ ";
    follows = follows.slice(0, depth);
    follows[depth] = true;
    const name =
      "path" in subtree
        ? shown(depth === 0 ? subtree.path : subtree.name)
        : colors.dim(`... and ${subtree.subtrees} more`);
    names.push(`${colors.dim(trunk.join("") + branch)}${name}`);
  }
  return names.reverse();
}

function documentOf({ path, depth, znodes, dataBytes }: Subtree): object {
  return { path, depth, znodes, dataBytes };
}

function requireCount(text: string, flag: string): number {
  if (/^[0-9]{1,9}$/.test(text) && (flag !== "--top" || Number(text) > 0)) return Number(text);
  throw new BackypError("ERR_CONFIG_INVALID", `${flag} ${JSON.stringify(text)}: give a number`);
}

function requireMeasure(text: string): Measure {
  if (text === "data" || text === "znodes") return text;
  throw new BackypError("ERR_CONFIG_INVALID", `--by ${JSON.stringify(text)}: give data or znodes`);
}
