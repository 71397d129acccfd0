import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";

/** A parsed YAML file. */
export interface YamlFile {
  readonly value: unknown;
  /** The line of a key or of an item, or of the nearest thing around it that is there. */
  lineOf(path: readonly (string | number)[]): number;
}

/**
 * Reads YAML 1.1, as the CLI (go-yaml v2) and the Director (Psych) do: `no` is false there. Refuses a key that is there
 * twice, of which either of them takes one silently.
 */
export function parseYaml(text: string): YamlFile | { problem: string; line: number | null } {
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, {
      version: "1.1",
      lineCounter: lines,
      prettyErrors: false,
      logLevel: "error",
    });
    const error = document.errors[0];
    if (error !== undefined) return { problem: error.message, line: lines.linePos(error.pos[0]).line };
    const value: unknown = document.toJS();
    return { value, lineOf: (path) => lineOf(document, lines, path) };
  } catch (error) {
    // Too many aliases, or nested deeper than the stack is.
    return { problem: (error as Error).message, line: null };
  }
}

/** A map of YAML or JSON: neither a list nor null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The strings of a list; what else is in it, or is no list, is left out. */
export function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

function lineOf(document: Document, lines: LineCounter, path: readonly (string | number)[]): number {
  let node: unknown = document.contents;
  let offset = 0;
  for (const segment of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(segment));
      if (pair === undefined || !isScalar(pair.key)) break;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node) && typeof segment === "number") {
      node = node.items[segment];
      if (!isScalar(node) && !isMap(node) && !isSeq(node) && !isAlias(node)) break;
      offset = node.range?.[0] ?? offset;
    } else break;
  }
  return lines.linePos(offset).line;
}
