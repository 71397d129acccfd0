import { createHash } from "node:crypto";
import { type Bytes, type Entry, oneChunk, tar } from "@zk-backyp/core";
import type { Znode } from "@zk-backyp/zookeeper-files";
import { jsonDocument } from "./write-out.ts";
import { textOf, znodeDocument } from "./znode-text.ts";

/** A name that is longer once it is written for a file system is shortened to its hash. */
const MAX_NAME_BYTES = 200;

/** One JSON document with a znode on each line. */
export async function* exportJson(fields: object, znodes: Iterable<Znode>): AsyncGenerator<Uint8Array, void, void> {
  for await (const line of jsonDocument(
    { format: "zk-backyp-export", formatVersion: 1, ...fields },
    "znodes",
    documents(znodes),
  )) {
    yield Buffer.from(`${line}\n`);
  }
}

function* documents(znodes: Iterable<Znode>): Generator<object, void, void> {
  for (const znode of znodes) {
    const data = znode.data ?? null;
    const utf8 = data === null ? null : textOf(data);
    const content = data === null ? null : utf8 === null ? { base64: data.toString("base64") } : { utf8 };
    yield { ...znodeDocument(znode), data: content };
  }
}

/**
 * A tar archive with a folder for each znode. In it `@data` holds the data, byte for byte, and is missing where that is
 * null; `@znode.json` holds the rest, and the znode's true path.
 */
export function exportTar(znodes: Iterable<Znode>, signal: AbortSignal): Bytes {
  return tar.pack(entries(znodes), { signal });
}

async function* entries(znodes: Iterable<Znode>): AsyncGenerator<Entry, void, void> {
  for (const znode of znodes) {
    const folder = folderOf(znode.path);
    const { mtimeMs } = znode.stat;
    // What tar can write; a server's clock can be anything, and is in the JSON as it is.
    const mtime = new Date(mtimeMs >= 0 && mtimeMs < 8 ** 11 * 1000 ? mtimeMs : 0);
    const files: { name: string; content: Buffer }[] = [
      { name: "@znode.json", content: Buffer.from(`${JSON.stringify(znodeDocument(znode), null, 2)}\n`) },
    ];
    if (znode.data) files.unshift({ name: "@data", content: znode.data });
    for (const { name, content } of files) {
      yield { path: folder + name, size: content.byteLength, mtime, body: oneChunk(content) };
    }
  }
}

/** The folder of a znode in an archive: empty for the root, else with a slash at its end. */
function folderOf(path: string): string {
  return path === "/" ? "" : `${path.slice(1).split("/").map(safeName).join("/")}/`;
}

/**
 * A znode's name as the name of a folder: what is not a letter, a digit or one of `-_.+=,~` is written as
 * `%` and two hexadecimal digits for each byte. `@` is never in one, so that no child is taken for a file of ours.
 * Two names stay two on a system that tells all names apart, as Linux does; others may take `a` and `A`, or two forms of
 * `ü`, for one.
 */
export function safeName(name: string): string {
  // Halves of characters have no bytes of their own: as UTF-8 all of them would become the same name.
  if (/\p{Cs}/u.test(name)) return hashed(Buffer.from(name, "utf16le"));
  const escaped = (text: string): string =>
    Buffer.from(text).reduce((all, byte) => `${all}%${byte.toString(16).padStart(2, "0").toUpperCase()}`, "");
  const safe = name.replace(/[^\p{L}\p{N}\-_.+=,~]/gu, escaped).replace(/^\.+$|\.$/, escaped);
  if (Buffer.byteLength(safe) <= MAX_NAME_BYTES) return safe;
  return hashed(Buffer.from(name));
}

function hashed(name: Buffer): string {
  return `@sha256-${createHash("sha256").update(name).digest("hex")}`;
}
