/**
 * The line (from 1 on) in which a field of a YAML text in block style begins, or the line of the innermost one around it
 * that is found; null if none is. It is a hint for people: it goes by indentation and parses nothing.
 */
export function yamlLine(text: string, path: readonly string[]): number | null {
  const lines = text.split(/\r?\n/);
  let found: number | null = null;
  let from = 0;
  let parentIndent = -1;
  for (const part of path) {
    const place = /^\d+$/.test(part)
      ? itemAt(lines, from, parentIndent, Number(part))
      : keyAt(lines, from, parentIndent, part);
    if (place === null) break;
    found = place.line + 1;
    from = place.next;
    parentIndent = place.indent;
  }
  return found;
}

interface Place {
  readonly line: number;
  /** Where what is in it begins. */
  readonly next: number;
  readonly indent: number;
}

function keyAt(lines: readonly string[], from: number, parentIndent: number, key: string): Place | null {
  let ownIndent: number | null = null;
  for (let line = from; line < lines.length; line += 1) {
    const [, before = "", quote = "", rest = ""] = /^([ -]*)(["']?)(.*)$/.exec(lines[line] ?? "") ?? [];
    if (rest === "" || rest.startsWith("#")) continue;
    const indent = before.length;
    // The first key of a list's item stands in the line of its dash, where the search begins.
    if (indent <= parentIndent) return null;
    ownIndent ??= indent;
    if (indent !== ownIndent) continue;
    if (rest.startsWith(key) && new RegExp(`^${quote}\\s*:(\\s|$)`).test(rest.slice(key.length)))
      return { line, next: line + 1, indent };
  }
  return null;
}

function itemAt(lines: readonly string[], from: number, parentIndent: number, index: number): Place | null {
  let seen = -1;
  let ownIndent: number | null = null;
  for (let line = from; line < lines.length; line += 1) {
    const content = lines[line] ?? "";
    if (/^\s*(#|$)/.test(content)) continue;
    const indent = content.length - content.trimStart().length;
    const isItem = content.trimStart().startsWith("- ");
    if (indent < parentIndent || (indent === parentIndent && !isItem)) return null;
    ownIndent ??= indent;
    if (indent !== ownIndent || !isItem) continue;
    seen += 1;
    if (seen === index) return { line, next: line, indent };
  }
  return null;
}
