import { createHash, randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";

/** A JSON file that is replaced as a whole. */
export interface StateFile<State> {
  /**
   * Null if there is none, or none that can be used.
   *
   * @throws BackypError `ERR_CONFIG_INVALID` when it may not be read
   */
  read(): Promise<State | null>;
  /** Overlapping writes come one after the other, and the last one stays. */
  write(state: State): Promise<void>;
}

/** Keeps `name`'s state in `directory`, which is made where it is missing. `parse` returns null for what it cannot use. */
export function stateFile<State>(
  directory: string,
  name: string,
  parse: (raw: unknown) => State | null,
): StateFile<State> {
  // Readable for people, and one file for each name whatever characters that has.
  const readable = name.replace(/[^A-Za-z0-9._-]/g, "_").slice(0, 80);
  const path = join(directory, `${readable}-${createHash("sha256").update(name).digest("hex").slice(0, 8)}.json`);
  let writing: Promise<void> = Promise.resolve();
  return {
    async read() {
      try {
        return parse(JSON.parse(await readFile(path, "utf8")));
      } catch (cause) {
        if (cause instanceof SyntaxError || systemErrorCode(cause) === "ENOENT") return null;
        const message = `stateDir: cannot read ${path}: ${(cause as Error).message}`;
        throw new BackypError("ERR_CONFIG_INVALID", message, { cause });
      }
    },
    write(state) {
      const text = `${JSON.stringify(state)}\n`;
      const next = writing.then(
        () => replace(directory, path, text),
        () => replace(directory, path, text),
      );
      writing = next;
      return next;
    },
  };
}

async function replace(directory: string, path: string, text: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, "w", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
