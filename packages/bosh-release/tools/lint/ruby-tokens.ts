/** A piece of Ruby. */
export type RubyToken =
  | { readonly kind: "word"; readonly text: string; readonly line: number }
  /** A string; `parts` are what is around its interpolations, one part if it has none. */
  | { readonly kind: "string"; readonly parts: readonly string[]; readonly line: number }
  /** `%w[...]` */
  | { readonly kind: "words"; readonly words: readonly string[]; readonly line: number }
  /** One character, or a line's end. */
  | { readonly kind: "mark"; readonly text: string; readonly line: number };

const CLOSING: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}", "<": ">" };

/**
 * Takes Ruby apart well enough to find calls with literal arguments: comments are left out, and strings keep what is in
 * them. Not a parser: Ruby itself says whether the syntax is right. What is interpolated into strings comes at the end.
 */
export function rubyTokens(code: string, firstLine = 1): RubyToken[] {
  const tokens: RubyToken[] = [];
  const interpolated: RubyToken[] = [];
  const heredocs: string[] = [];
  let line = firstLine;
  let at = 0;

  const string = (open: string, close: string, interpolates: boolean): void => {
    const startLine = line;
    const parts: string[] = [];
    let part = "";
    let depth = 1;
    while (at < code.length) {
      const char = code[at] ?? "";
      if (char === "\n") line += 1;
      if (char === "\\") {
        part += code[at + 1] ?? "";
        at += 2;
        continue;
      }
      if (interpolates && char === "#" && code[at + 1] === "{") {
        const end = endOfInterpolation(code, at + 2);
        const inner = code.slice(at + 2, end);
        interpolated.push({ kind: "mark", text: "\n", line }, ...rubyTokens(inner, line));
        line += inner.split("\n").length - 1;
        parts.push(part);
        part = "";
        at = end + 1;
        continue;
      }
      at += 1;
      if (char === close) depth -= 1;
      else if (char === open) depth += 1;
      if (depth === 0) break;
      part += char;
    }
    tokens.push({ kind: "string", parts: [...parts, part], line: startLine });
  };

  while (at < code.length) {
    const rest = code.slice(at, at + 200);
    const char = rest[0] ?? "";
    if (char === "\n") {
      tokens.push({ kind: "mark", text: "\n", line });
      at += 1;
      line += 1;
      for (const terminator of heredocs.splice(0)) {
        const end = endOfHeredoc(code, at, terminator);
        interpolated.push(...interpolations(code.slice(at, end.body), line));
        line += code.slice(at, end.after).split("\n").length - 1;
        at = end.after;
      }
      continue;
    }
    if (/\s/.test(char)) {
      at += 1;
      continue;
    }
    if (char === "#") {
      const end = code.indexOf("\n", at);
      at = end < 0 ? code.length : end;
      continue;
    }
    if (char === '"' || char === "'" || char === "`") {
      at += 1;
      // A quote never nests.
      string("", char, char !== "'");
      continue;
    }
    const percent = /^%([wWiIqQ]?)([([{<|!/])/.exec(rest);
    if (percent !== null && startsOperand(tokens)) {
      const [whole, type = "", open = ""] = percent;
      const close = CLOSING[open] ?? open;
      at += whole.length;
      string(open === close ? "" : open, close, !["w", "i", "q"].includes(type));
      const last = tokens.at(-1);
      if (/[wWiI]/.test(type) && last?.kind === "string") {
        const words = last.parts.join(" ").split(/\s+/).filter(Boolean);
        tokens[tokens.length - 1] = { kind: "words", words, line: last.line };
      }
      continue;
    }
    const heredoc = /^<<[~-]?(["'`]?)([A-Z_][A-Za-z0-9_]*)\1/.exec(rest);
    if (heredoc?.[2] !== undefined) {
      heredocs.push(heredoc[2]);
      tokens.push({ kind: "mark", text: "<<", line });
      at += heredoc[0].length;
      continue;
    }
    if (char === "/" && startsOperand(tokens)) {
      const regexp = /^\/(?:\\.|\[(?:\\.|[^\]\n])*\]|[^/\\\n[])*\/[a-z]*/.exec(code.slice(at, at + 10_000));
      if (regexp !== null) {
        tokens.push({ kind: "mark", text: "//", line });
        at += regexp[0].length;
        continue;
      }
    }
    const word = /^(?:[@$:]{0,2}[A-Za-z_][A-Za-z0-9_]*[?!]?|[0-9][0-9_]*)/.exec(rest);
    if (word !== null) {
      tokens.push({ kind: "word", text: word[0], line });
      at += word[0].length;
      continue;
    }
    tokens.push({ kind: "mark", text: char, line });
    at += 1;
  }
  return [...tokens, { kind: "mark", text: "\n", line }, ...interpolated];
}

// Whether an operand begins here, so that `/` and `%` are no operators.
function startsOperand(tokens: readonly RubyToken[]): boolean {
  const last = tokens.at(-1);
  if (last === undefined) return true;
  if (last.kind === "mark") return !")]}".includes(last.text);
  if (last.kind === "word")
    return /^(?:and|or|not|if|unless|elsif|when|in|return|then|do|puts|while|until)$/.test(last.text);
  return false;
}

// The code that a text interpolates.
function interpolations(text: string, firstLine: number): RubyToken[] {
  const tokens: RubyToken[] = [];
  let line = firstLine;
  let from = 0;
  for (let at = text.indexOf("#{"); at >= 0; at = text.indexOf("#{", from)) {
    line += text.slice(from, at).split("\n").length - 1;
    const end = endOfInterpolation(text, at + 2);
    tokens.push({ kind: "mark", text: "\n", line }, ...rubyTokens(text.slice(at + 2, end), line));
    line += text.slice(at, end).split("\n").length - 1;
    from = end;
  }
  return tokens;
}

function endOfInterpolation(code: string, from: number): number {
  let depth = 1;
  for (let at = from; at < code.length; at += 1) {
    const char = code[at] ?? "";
    if (char === "'" || char === '"') {
      const close = code.indexOf(char, at + 1);
      if (close > 0) at = close;
    }
    if (char === "{") depth += 1;
    if (char === "}") depth -= 1;
    if (depth === 0) return at;
  }
  return code.length;
}

function endOfHeredoc(code: string, from: number, terminator: string): { body: number; after: number } {
  for (let start = from; start < code.length; ) {
    const newline = code.indexOf("\n", start);
    const end = newline < 0 ? code.length : newline;
    if (code.slice(start, end).trim() === terminator) return { body: start, after: Math.min(end + 1, code.length) };
    start = end + 1;
  }
  return { body: code.length, after: code.length };
}
