import { existsSync } from "node:fs";
import { BackypError, prefixOfBackupId } from "@zk-backyp/core";
import { type Point, parsePoint, requirePoint } from "./point.ts";

/** Where to look, as the commands that look inside take it. */
export type Place = (
  | { readonly kind: "backup"; readonly id: string }
  /** Data directories and files of one server. */
  | { readonly kind: "files"; readonly paths: readonly string[] }
) & {
  /** As it was written. */
  readonly text: string;
  /** The moment to show, instead of the end. */
  readonly at: Point | null;
};

/** For `--help`: how a place is written. */
export const PLACE_HELP =
  "a backup's id, latest, or a data directory or file (dataDir,dataLogDir if there are two); @0x3e4 or @2026-11-22T20:58 behind it means that moment";

/**
 * Reads `latest`, an id, a path, or several paths of one server with commas between them; each may end in `@` and a
 * zxid or a time. What exists under the whole name is that path, whatever is in its name; but `latest` is always a
 * backup, and with `isBackupMeant` so is all that may be an id.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`, also for what is no moment behind a place and `@`
 */
export function parsePlace(text: string, isBackupMeant: boolean): Place {
  if (text === "") throw new BackypError("ERR_CONFIG_INVALID", `where to look is empty: give ${PLACE_HELP}`);
  const sign = text.lastIndexOf("@");
  const at = sign <= 0 ? null : parsePoint(text.slice(sign + 1));
  const where = at === null ? text : text.slice(0, sign);
  const isShadowed = existsSync(text) && text !== "latest";
  if (isBackup(where) && (isBackupMeant || !isShadowed)) return { kind: "backup", id: where, text, at };
  if (isShadowed) return { kind: "files", paths: [text], text, at: null };
  const paths = pathsIn(where);
  const before = text.slice(0, Math.max(0, sign));
  if (at === null && !areThere(paths) && (isBackup(before) || areThere(pathsIn(before)))) {
    requirePoint(text.slice(sign + 1), "the moment");
  }
  return { kind: "files", paths, text, at };
}

function isBackup(text: string): boolean {
  return text === "latest" || (prefixOfBackupId(text) !== null && !text.includes("/"));
}

function pathsIn(text: string): string[] {
  return existsSync(text) ? [text] : text.split(",").filter((path) => path !== "");
}

function areThere(paths: readonly string[]): boolean {
  return paths.length > 0 && paths.every((path) => existsSync(path));
}

/**
 * The path of a znode from the command line.
 *
 * @throws BackypError `ERR_CONFIG_INVALID`
 */
export function requireZnodePath(text: string): string {
  const path = text.replace(/([^/])\/$/, "$1");
  if (path === "/" || /^(\/[^/]+)+$/s.test(path)) return path;
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `${JSON.stringify(text)} is no path of a znode: those begin with /, and have no empty part`,
  );
}
