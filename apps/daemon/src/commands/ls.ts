import type { Znode } from "@zk-backyp/zookeeper-files";
import colors from "picocolors";
import { type OpenedState, openState, type StateFlags, stateDocument } from "../browse/one-state.ts";
import { showTime } from "../browse/point.ts";
import { shown } from "../browse/shown-text.ts";
import { jsonDocument, writeLines } from "../browse/write-out.ts";
import { formatKind, znodeDocument } from "../browse/znode-text.ts";
import type { CommandContext } from "../command-context.ts";
import { formatBytes } from "../formats.ts";

export interface LsFlags extends StateFlags {
  readonly recursive?: true | undefined;
  readonly stat?: true | undefined;
}

/** `ls`: the children of a znode, or with `--recursive` all below it. */
export async function ls(flags: LsFlags, context: CommandContext): Promise<number> {
  const state = await openState(flags, () => ({}), context);
  const isDeep = flags.recursive === true;
  const znodes = below(state, isDeep);
  if (context.json) {
    const fields = { ...stateDocument(state), path: state.znode.path };
    await writeLines(context, jsonDocument(fields, "znodes", mapped(znodes, znodeDocument)));
  } else {
    const name = (znode: Znode): string => shown(isDeep ? znode.path : znode.name);
    const lines = flags.stat === true ? statLines(znodes, name) : mapped(znodes, name);
    await writeLines(context, lines);
  }
  return state.exitCode;
}

function* below({ tree, znode: { path } }: OpenedState, isDeep: boolean): Generator<Znode, void, void> {
  const znodes = isDeep ? tree.walk(path) : tree.children(path);
  for (const znode of znodes) if (znode.path !== path) yield znode;
}

function* mapped<From, To>(items: Iterable<From>, map: (item: From) => To): Generator<To, void, void> {
  for (const item of items) yield map(item);
}

const KIND_WIDTH = 10;
const NUMBER_WIDTH = 8;

/** The name comes last: it may be as long as it likes. */
function* statLines(znodes: Iterable<Znode>, name: (znode: Znode) => string): Generator<string, void, void> {
  const numbers = ["DATA", "CHILDREN", "VERSION"].map((heading) => heading.padStart(NUMBER_WIDTH));
  yield colors.bold(["KIND".padEnd(KIND_WIDTH), ...numbers, "MODIFIED (UTC)".padEnd(19), "NAME"].join("  "));
  for (const znode of znodes) {
    const data = znode.dataLength < 0 ? "null" : formatBytes(znode.dataLength);
    const cells = [data, String(znode.childCount), String(znode.stat.version)].map((cell) =>
      cell.padStart(NUMBER_WIDTH),
    );
    yield [formatKind(znode).padEnd(KIND_WIDTH), ...cells, showTime(znode.stat.mtimeMs), name(znode)].join("  ");
  }
}
