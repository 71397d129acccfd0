import { lstatSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Finding, RULES, type RuleId } from "./rules.ts";
import { parseYaml, type YamlFile } from "./yaml-file.ts";

const MAX_TEXT_BYTES = 1024 * 1024;
const MAX_FILES = 50_000;

/** What is at a path, symlinks not followed. */
export type EntryKind = "file" | "directory" | "symlink" | "other";

/**
 * A release directory that is read with bounds, and what was found in it. Nothing here throws for what is in the
 * directory: what cannot be read becomes a finding, and is `null`.
 */
export class ReleaseDirectory {
  readonly path: string;
  readonly findings: Finding[] = [];
  /** What could not be looked at, and why: no fault of the release. */
  readonly notes: string[] = [];

  constructor(path: string) {
    this.path = path;
  }

  report(rule: RuleId, file: string, problem: string, line: number | null = null): void {
    this.findings.push({ rule, file, line, problem, remedy: RULES[rule] });
  }

  /** What is at a path, or `null` if nothing is. */
  kind(path: string): EntryKind | null {
    const found = lstatSync(join(this.path, path), { throwIfNoEntry: false });
    if (found === undefined) return null;
    if (found.isSymbolicLink()) return "symlink";
    if (found.isDirectory()) return "directory";
    return found.isFile() ? "file" : "other";
  }

  /** The names in a folder, sorted; none if it is not there. */
  names(path: string): string[] {
    try {
      return readdirSync(join(this.path, path)).sort();
    } catch {
      return [];
    }
  }

  /** The folders in a folder, by name. Links count: the CLI follows them. */
  folders(path: string): string[] {
    return this.names(path).filter((name) =>
      statSync(join(this.path, path, name), { throwIfNoEntry: false })?.isDirectory(),
    );
  }

  /** All that is below a folder and no folder itself, by path relative to that folder. Does not go into symlinks. */
  tree(path: string): { path: string; kind: EntryKind }[] {
    const found: { path: string; kind: EntryKind }[] = [];
    const waiting = [""];
    for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
      for (const name of this.names(join(path, folder))) {
        const child = join(folder, name);
        const kind = this.kind(join(path, child));
        if (kind === "directory") waiting.push(child);
        else if (kind !== null) found.push({ path: child, kind });
        if (found.length + waiting.length > MAX_FILES) {
          this.report("too-many-files", path, `more than ${MAX_FILES} files are below it`);
          return found;
        }
      }
    }
    return found.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** The text of a file, or `null`, with a finding, if there is none that can be read. */
  text(path: string): string | null {
    try {
      // Looked at first: to open a named pipe would wait for ever.
      const found = statSync(join(this.path, path));
      if (!found.isFile()) throw new Error("it is not a regular file");
      if (found.size > MAX_TEXT_BYTES) throw new Error(`it has ${found.size} bytes`);
      const text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(join(this.path, path)));
      if (text.includes("\0")) throw new Error("it has NUL bytes");
      return text;
    } catch (error) {
      const reason = error instanceof TypeError ? "it is not UTF-8" : (error as Error).message;
      this.report("file-unreadable", path, `cannot be read as text: ${reason}`);
      return null;
    }
  }

  /** A YAML file, or `null`, with a finding. */
  yaml(path: string): YamlFile | null {
    const text = this.text(path);
    if (text === null) return null;
    const parsed = parseYaml(text);
    if ("value" in parsed) return parsed;
    this.report("yaml-invalid", path, parsed.problem, parsed.line);
    return null;
  }

  /** A JSON file, or `undefined`, with a finding. */
  json(path: string): unknown {
    const text = this.text(path);
    if (text === null) return undefined;
    try {
      return JSON.parse(text);
    } catch (error) {
      this.report("json-invalid", path, (error as Error).message);
      return undefined;
    }
  }
}
