import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";

const ARCHIVES = fileURLToPath(new URL("../../../../fixtures/", import.meta.url));

/** Unpacks archives of `fixtures/` into a folder that is removed after the tests of the calling file. */
export function realFiles(): {
  path(archive: string, ...parts: string[]): string;
  read(archive: string, ...parts: string[]): Buffer;
} {
  const root = mkdtempSync(join(tmpdir(), "zookeeper-files-"));
  const unpacked = new Set<string>();
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const path = (archive: string, ...parts: string[]): string => {
    if (!unpacked.has(archive)) {
      mkdirSync(root, { recursive: true });
      execFileSync("tar", ["-xzSf", join(ARCHIVES, `${archive}.tar.gz`), "-C", root]);
      unpacked.add(archive);
    }
    return join(root, archive, ...parts);
  };
  return { path, read: (archive, ...parts) => readFileSync(path(archive, ...parts)) };
}

/** An empty folder that is removed after the tests of the calling file. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "zookeeper-files-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
