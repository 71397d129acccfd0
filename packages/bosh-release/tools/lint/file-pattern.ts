/**
 * A pattern of a package's `files` as a regular expression over paths: `*` and `?` within a folder, `**` as a whole
 * folder name for any number of folders, `[a-z]`, `{a,b}` and `\` (doublestar v1.3.4, which the CLI has).
 */
export function filePattern(pattern: string): RegExp {
  const parts = pattern.split("/");
  let source = "";
  for (const [index, part] of parts.entries()) {
    const last = index === parts.length - 1;
    if (part === "**") source += last ? ".*" : "(?:[^/]+/)*";
    else source += component(part) + (last ? "" : "/");
  }
  try {
    return new RegExp(`^${source}$`, "u");
  } catch {
    return /^(?!)/;
  }
}

/** The folders at a pattern's beginning in which nothing is a wildcard. */
export function literalFolder(pattern: string): string {
  const parts = pattern.split("/").slice(0, -1);
  const wild = parts.findIndex((part) => /[*?[{\\]/.test(part));
  return (wild < 0 ? parts : parts.slice(0, wild)).join("/");
}

/** A text as a regular expression for just that. */
export function literalPattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

function component(part: string): string {
  let source = "";
  let alternatives = 0;
  for (let at = 0; at < part.length; at += 1) {
    const char = part[at] ?? "";
    const close = char === "[" ? part.indexOf("]", at + 2) : -1;
    if (char === "*") {
      while (part[at + 1] === "*") at += 1;
      source += "[^/]*";
    } else if (char === "?") source += "[^/]";
    else if (close > 0) {
      source += `[${part
        .slice(at + 1, close)
        .replaceAll("\\", "\\\\")
        .replaceAll("[", "\\[")}]`;
      at = close;
    } else if (char === "{" && part.includes("}", at)) {
      alternatives += 1;
      source += "(?:";
    } else if (char === "}" && alternatives > 0) {
      alternatives -= 1;
      source += ")";
    } else if (char === "," && alternatives > 0) source += "|";
    else {
      if (char === "\\") at += 1;
      source += literalPattern(part[at] ?? "");
    }
  }
  return source + ")".repeat(alternatives);
}
