import { type RubyToken, rubyTokens } from "./ruby-tokens.ts";

/** A tag of a template. */
interface ErbTag {
  /** Whether it is `<%=`. */
  readonly output: boolean;
  readonly code: string;
  /** Where it begins. */
  readonly line: number;
}

/** A template, taken apart. */
export interface ErbTemplate {
  readonly tags: readonly ErbTag[];
  /** The lines around the tags, trimmed as with the Director's trim mode `-`, with where they begin in the template. */
  readonly lines: readonly TextLine[];
  /** The line of a tag that has no end, which ERB drops silently. */
  readonly unclosedAt: number | null;
  readonly tokens: readonly RubyToken[];
}

/** A line of text without its end. */
export interface TextLine {
  readonly text: string;
  readonly line: number;
}

/** Stands in a template's lines for what an output tag writes: a character that nobody else uses. */
export const OUTPUT = "\uE000";

/** Takes a template apart as ERB does with trim mode `-`. */
export function parseErb(template: string): ErbTemplate {
  const tags: ErbTag[] = [];
  const lines: TextLine[] = [];
  let current = "";
  let line = 1;
  let lineOfCurrent = 1;
  let unclosedAt: number | null = null;
  const write = (piece: string): void => {
    const [first = "", ...others] = piece.split("\n");
    current += first;
    for (const other of others) {
      lines.push({ text: current, line: lineOfCurrent });
      line += 1;
      lineOfCurrent = line;
      current = other;
    }
  };
  for (let at = 0; at < template.length; ) {
    const start = template.indexOf("<%", at);
    write(template.slice(at, start < 0 ? template.length : start));
    if (start < 0) break;
    if (template[start + 2] === "%") {
      write("<%");
      at = start + 3;
      continue;
    }
    const end = endOfTag(template, start + 2);
    if (end < 0) {
      unclosedAt = line;
      break;
    }
    const mark = template[start + 2] ?? "";
    const body = template.slice(start + ("=#-".includes(mark) ? 3 : 2), end);
    const trimmed = body.endsWith("-");
    if (mark === "-" && current.trim() === "") current = "";
    if (mark !== "#") tags.push({ output: mark === "=", code: trimmed ? body.slice(0, -1) : body, line });
    if (mark === "=") current += OUTPUT;
    line += body.split("\n").length - 1;
    at = end + 2;
    if (trimmed && template[at] === "\n") {
      at += 1;
      line += 1;
    }
    if (current === "") lineOfCurrent = line;
  }
  if (current !== "") lines.push({ text: current, line: lineOfCurrent });
  return { tags, lines, unclosedAt, tokens: tags.flatMap((tag) => rubyTokens(tag.code, tag.line)) };
}

// `%%>` in a tag stands for `%>`.
function endOfTag(template: string, from: number): number {
  let end = template.indexOf("%>", from);
  while (end > from && template[end - 1] === "%") end = template.indexOf("%>", end + 2);
  return end;
}
