import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzip, type Manifest, tar } from "@zk-backyp/core";
import { adler32 } from "@zk-backyp/zookeeper-files";

const DIGEST_SECTION_BYTES = 20;
const SEAL_BYTES = 13;

/** Replaces text in a snapshot of 3.6 to 3.8, once, by as many bytes, and seals it anew: nothing is wrong with it. */
export function doctorSnapshot(bytes: Buffer, find: string, replace: string): Buffer {
  const doctored = replaceOnce(bytes, find, replace);
  const second = doctored.byteLength - SEAL_BYTES;
  const first = second - DIGEST_SECTION_BYTES - SEAL_BYTES;
  for (const seal of [first, second]) doctored.writeBigInt64BE(BigInt(adler32(doctored.subarray(0, seal))), seal);
  return doctored;
}

/** Replaces text in one record of a log, once, by as many bytes, with the record's checksum. */
export function doctorLog(bytes: Buffer, find: string, replace: string): Buffer {
  const doctored = replaceOnce(bytes, find, replace);
  const place = doctored.indexOf(replace);
  for (let offset = 16; ; ) {
    const entry = offset + 12;
    const end = entry + doctored.readInt32BE(offset + 8);
    if (place < end) {
      doctored.writeBigInt64BE(BigInt(adler32(doctored.subarray(entry, end))), offset);
      return doctored;
    }
    offset = end + 1;
  }
}

function replaceOnce(bytes: Buffer, find: string, replace: string): Buffer {
  const at = bytes.indexOf(find);
  if (at === -1 || find.length !== replace.length) throw new Error(`cannot replace ${find} by ${replace}`);
  const replaced = Buffer.from(bytes);
  replaced.write(replace, at, "latin1");
  return replaced;
}

/**
 * Rewrites a backup in a directory as somebody would who knows the format: files are changed, and every size and hash
 * in the archive and in the manifest is made to match. Of the manifest, `edit` may change more.
 */
export async function forgeBackup(
  sink: string,
  manifest: Manifest,
  change: (path: string, bytes: Buffer) => Buffer,
  edit: (manifest: Manifest) => Manifest = (same) => same,
): Promise<void> {
  const { signal } = new AbortController();
  const codec = gzip();
  const stored = await readFile(join(sink, manifest.archive.key));
  const entries: Manifest["entries"][number][] = [];
  async function* forged() {
    for await (const entry of tar.unpack(codec.decode(chunks(stored), { signal }), { signal })) {
      const bytes = change(entry.path, Buffer.concat(await Array.fromAsync(entry.body)));
      entries.push({ path: entry.path, size: bytes.byteLength, sha256: sha256(bytes) });
      yield { ...entry, size: bytes.byteLength, body: chunks(bytes) };
    }
  }
  const archive = Buffer.concat(await Array.fromAsync(codec.encode(tar.pack(forged(), { signal }), { signal })));
  await writeFile(join(sink, manifest.archive.key), archive);
  const measures = { size: archive.byteLength, sha256: sha256(archive) };
  const edited = edit({ ...manifest, entries, archive: { ...manifest.archive, ...measures } });
  await writeFile(join(sink, manifest.prefix, "manifests", `${manifest.id}.json`), JSON.stringify(edited));
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
