import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ARCHIVES = fileURLToPath(new URL("../../../fixtures/", import.meta.url));

/** Files that real servers wrote: those of `fixtures/` whose names match, without the zeros that end a log. */
export function realFiles(name: RegExp): Buffer[] {
  const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
  try {
    for (const archive of readdirSync(ARCHIVES).filter((file) => file.endsWith(".tar.gz"))) {
      execFileSync("tar", ["-xzSf", join(ARCHIVES, archive), "-C", folder]);
    }
    const paths = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    return paths.filter((entry) => name.test(entry.name)).map(({ parentPath, name: file }) => read(parentPath, file));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function read(folder: string, name: string): Buffer {
  const bytes = readFileSync(join(folder, name));
  let end = bytes.byteLength;
  if (name.startsWith("log.")) while (bytes[end - 1] === 0) end -= 1;
  return bytes.subarray(0, end);
}
