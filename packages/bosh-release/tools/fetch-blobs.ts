// Fills blobs/ with what blobs.json names, and writes config/blobs.yml anew if that has changed.
import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { fetchPinned, sha256OfFile } from "@zk-backyp/testbed";
import { blobsYml, blobUrl, RELEASE, readBlobs } from "./blobs.ts";

// Not tracked by git, and kept over an install.
const CACHE = fileURLToPath(new URL("../../../node_modules/.cache/bosh-blobs/", import.meta.url));
const AT_ONCE = 4;

/**
 * Makes `blobs/` hold just the blobs that blobs.json names, each checked against its SHA-256, from a cache in
 * `node_modules/.cache` of this workspace or from where they were published.
 *
 * @throws UnreachableError if one of them is missing and cannot be had
 * @throws Error if there is another file at its place than the one that was pinned
 */
export async function fetchBlobs(): Promise<void> {
  const blobs = readBlobs(RELEASE);
  const folder = join(RELEASE, "blobs");
  const left = [...blobs];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let blob = left.shift(); blob !== undefined; blob = left.shift()) {
        const cached = join(CACHE, blob.path);
        const path = join(folder, blob.path);
        if ((await sha256OfFile(path)) === blob.sha256) continue;
        await fetchPinned({ url: blobUrl(blob.source), sha256: blob.sha256 }, cached);
        await copy(cached, path);
      }
    }),
  );

  const known = new Set(blobs.map((blob) => blob.path));
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isDirectory() && !known.has(relative(folder, path))) await rm(path);
  }

  const index = join(RELEASE, "config", "blobs.yml");
  const text = blobsYml(blobs);
  if ((await readFile(index, "utf8").catch(() => "")) !== text) await writeFile(index, text);
}

async function copy(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  // Not beside its target, where the bosh CLI removes what it does not know.
  const temporary = `${from}.${randomUUID()}.tmp`;
  try {
    await copyFile(from, temporary, constants.COPYFILE_FICLONE);
    await rename(temporary, to);
  } finally {
    await rm(temporary, { force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await fetchBlobs();
