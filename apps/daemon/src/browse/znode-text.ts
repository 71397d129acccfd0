import { isUtf8 } from "node:buffer";
import { type Acl, formatZxid, ttlMsOf, type Znode, type ZnodeStat } from "@zk-backyp/zookeeper-files";
import { formatDuration } from "../formats.ts";
import { isoTime } from "./point.ts";
import { shown } from "./shown-text.ts";

const PERMISSIONS = [
  ["c", 4, "create"],
  ["d", 8, "delete"],
  ["r", 1, "read"],
  ["w", 2, "write"],
  ["a", 16, "admin"],
] as const;

/** An ACL as `setAcl` of ZooKeeper's own shell takes it: `world:anyone:cdrwa`. */
export function formatAcl(acl: Acl | null): string {
  if (acl === null) return "not in the files";
  const entry = ({ permissions, scheme, id }: Acl[number]): string =>
    `${scheme}:${id}:${PERMISSIONS.map(([letter, bit]) => ((permissions & bit) === 0 ? "" : letter)).join("")}`;
  return shown(acl.map(entry).join(","));
}

/** `ephemeral`, `ttl 5.0 s`, ... */
export function formatKind({ kind, stat }: Pick<Znode, "kind" | "stat">): string {
  return kind === "ttl" ? `ttl ${formatDuration(ttlMsOf(stat.ephemeralOwner) ?? 0)}` : kind;
}

export function aclDocument(acl: Acl | null): object[] | null {
  return (
    acl?.map(({ permissions, scheme, id }) => ({
      permissions: PERMISSIONS.flatMap(([, bit, word]) => ((permissions & bit) === 0 ? [] : [word])),
      scheme,
      id,
    })) ?? null
  );
}

/** As it stands on disk; see the README for `cversion` and `ephemeralOwner`. */
function statDocument(stat: ZnodeStat): object {
  return {
    czxid: formatZxid(stat.czxid),
    mzxid: formatZxid(stat.mzxid),
    pzxid: formatZxid(stat.pzxid),
    ctime: isoTime(stat.ctimeMs),
    mtime: isoTime(stat.mtimeMs),
    version: stat.version,
    cversion: stat.cversion,
    aversion: stat.aversion,
    ephemeralOwner: formatZxid(stat.ephemeralOwner),
  };
}

/** What `--json` says of a znode, but for its data. */
export function znodeDocument(znode: Znode): object {
  return {
    path: znode.path,
    kind: znode.kind,
    ...(znode.kind === "ttl" ? { ttlMs: ttlMsOf(znode.stat.ephemeralOwner) } : {}),
    dataLength: znode.dataLength < 0 ? null : znode.dataLength,
    children: znode.childCount,
    acl: aclDocument(znode.acl),
    stat: statDocument(znode.stat),
  };
}

/** Whether data can stand in JSON as a string and come back as the same bytes. */
export function textOf(data: Buffer): string | null {
  return isUtf8(data) ? data.toString("utf8") : null;
}
