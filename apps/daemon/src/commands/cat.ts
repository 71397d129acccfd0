import { BackypError } from "@zk-backyp/core";
import { formatZxid, type Znode } from "@zk-backyp/zookeeper-files";
import { openState, type StateFlags, stateDocument } from "../browse/one-state.ts";
import { showTime } from "../browse/point.ts";
import { formatAcl, formatKind, textOf, znodeDocument } from "../browse/znode-text.ts";
import { type CommandContext, printJson } from "../command-context.ts";
import { formatBytes } from "../formats.ts";
import { formatFields } from "../table.ts";

export interface CatFlags extends StateFlags {
  readonly stat?: true | undefined;
}

/** `cat`: the data of a znode, byte for byte; or with `--stat` what is known about it. */
export async function cat(flags: CatFlags, context: CommandContext): Promise<number> {
  const state = await openState(flags, (wanted) => ({ keepData: (path) => path === wanted }), context);
  const { znode } = state;
  const data = znode.data ?? null;
  if (context.json) {
    const utf8 = data === null ? null : textOf(data);
    const content = data === null ? null : { base64: data.toString("base64"), ...(utf8 === null ? {} : { utf8 }) };
    printJson(context, { ...stateDocument(state), ...znodeDocument(znode), data: content });
  } else if (flags.stat === true) {
    context.print(formatFields(describe(znode)));
  } else if (data !== null) {
    if (process.stdout.isTTY === true) context.print(forTerminal(znode.path, data));
    else await context.write(data);
  }
  return state.exitCode;
}

function forTerminal(path: string, data: Buffer): string {
  const text = textOf(data);
  if (text !== null) return text.replace(/\n$/, "");
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `the data of ${path} is not text, and not for a terminal (${formatBytes(data.byteLength)}): write it to a file (> file), pipe it (| xxd), or use --json`,
  );
}

function describe({ kind, stat, dataLength, childCount, acl }: Znode): (readonly [string, string])[] {
  const change = (zxid: bigint, timeMs: number): string => `${showTime(timeMs)} UTC, ${formatZxid(zxid)}`;
  return [
    ["kind", formatKind({ kind, stat })],
    ...(kind === "ephemeral" ? [["session", formatZxid(stat.ephemeralOwner)] as const] : []),
    ["data", dataLength < 0 ? "null" : formatBytes(dataLength)],
    ["children", String(childCount)],
    ["acl", formatAcl(acl)],
    ["created", change(stat.czxid, stat.ctimeMs)],
    ["modified", change(stat.mzxid, stat.mtimeMs)],
    ["pzxid", formatZxid(stat.pzxid)],
    ["version", String(stat.version)],
    ["cversion", String(stat.cversion)],
    ["aversion", String(stat.aversion)],
  ];
}
