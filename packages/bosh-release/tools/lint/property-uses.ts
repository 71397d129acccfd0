import type { RubyToken } from "./ruby-tokens.ts";

/** A property's name in a template, as what is around its interpolations: one part if it is literal. */
export type NamePattern = readonly string[];

/** A call of p, if_p or else_if_p. */
export interface PropertyUse {
  /** The job itself, the link of that name, or a variable: a link or an instance of one. */
  readonly of: "job" | "variable" | { readonly link: string };
  /** In their order; without those that are computed. */
  readonly names: readonly NamePattern[];
  /** Whether the template goes on without the property: by if_p, a fallback, or another name. */
  readonly optional: boolean;
  /** Names that are tried in order, the fallback's among them: a default of any but the last hides the later ones. */
  readonly order: readonly NamePattern[];
  readonly line: number;
}

/** What a template asks of its job's properties and links. */
export interface TemplateUses {
  readonly properties: readonly PropertyUse[];
  readonly links: readonly { readonly name: string; readonly guarded: boolean; readonly line: number }[];
  /** Every literal string: some of them become names of properties. */
  readonly literals: ReadonlySet<string>;
  /** Every string with something interpolated. */
  readonly patterns: readonly NamePattern[];
  /** Every literal and every word: what is interpolated is often one of them. */
  readonly words: ReadonlySet<string>;
  /** Whether p is called with a name that is computed. */
  readonly computed: boolean;
  /** Names that are given to a function of the template itself: `lambda.call('name')`. */
  readonly calls: readonly { readonly names: readonly NamePattern[]; readonly line: number }[];
  /** `properties.a.b`, as "a.b". */
  readonly oldSyntax: readonly { readonly name: string; readonly line: number }[];
}

const PROPERTY_CALLS = new Set(["p", "if_p", "else_if_p"]);
const LINK_CALLS = new Set(["link", "if_link", "else_if_link"]);

/** Finds the properties and links that a template's Ruby asks for. */
export function templateUses(tokens: readonly RubyToken[]): TemplateUses {
  const properties: PropertyUse[] = [];
  const links: { name: string; guarded: boolean; line: number }[] = [];
  const literals = new Set<string>();
  const patterns: NamePattern[] = [];
  const words = new Set<string>();
  const calls: { names: NamePattern[]; line: number }[] = [];
  let computed = false;
  const oldSyntax: { name: string; line: number }[] = [];
  for (const [index, token] of tokens.entries()) {
    if (token.kind === "string") {
      if (token.parts.length === 1) literals.add(token.parts[0] ?? "");
      else patterns.push(token.parts);
    }
    if (token.kind === "words") for (const word of token.words) literals.add(word);
    if (token.kind !== "word") continue;
    words.add(token.text.replace(/^:/, ""));
    const receiver = isMark(tokens[index - 1], ".");
    if (PROPERTY_CALLS.has(token.text)) {
      const call = argumentsOf(tokens, index);
      if (call === null) continue;
      const of = receiver && token.text !== "else_if_p" ? receiverOf(tokens, index - 1) : "job";
      const use = propertyUse(token.text, of, call, token.line);
      properties.push(use);
      if (of === "job" && use.names.length === 0) computed = true;
    } else if (LINK_CALLS.has(token.text) && (!receiver || token.text === "else_if_link")) {
      const name = literal(argumentsOf(tokens, index)?.[0]);
      if (name !== null) links.push({ name, guarded: token.text !== "link", line: token.line });
    } else if (token.text === "call" && receiver) {
      // What has spaces is a sentence, not a name.
      const given = (argumentsOf(tokens, index) ?? []).flatMap(names).filter((name) => !/\s/.test(name.join("")));
      calls.push({ names: given, line: token.line });
    } else if (token.text === "properties" && !receiver && isMark(tokens[index + 1], ".")) {
      oldSyntax.push({ name: memberPath(tokens, index + 1), line: token.line });
    }
  }
  for (const literal of literals) words.add(literal);
  return { properties, links, literals, patterns, words, computed, calls, oldSyntax };
}

function propertyUse(
  call: string,
  of: PropertyUse["of"],
  args: readonly (readonly RubyToken[])[],
  line: number,
): PropertyUse {
  if (call !== "p") return { of, names: args.flatMap(names), optional: true, order: [], line };
  const own = names(args[0] ?? []);
  const fallback = args[1] ?? [];
  const later = fallback.flatMap((token, index) =>
    token.kind === "word" && token.text === "p" && !isMark(fallback[index - 1], ".")
      ? names(argumentsOf(fallback, index)?.[0] ?? [])
      : [],
  );
  return { of, names: own, optional: args.length > 1 || own.length > 1, order: [...own, ...later], line };
}

// The names in an argument: a string, or a list of them.
function names(argument: readonly RubyToken[]): NamePattern[] {
  const tokens = argument.filter((token) => !isMark(token, "\n"));
  const [first] = tokens;
  if (tokens.length === 1 && first?.kind === "string") return [first.parts];
  if (tokens.length === 1 && first?.kind === "words") return first.words.map((word) => [word]);
  if (!isMark(first, "[")) return [];
  return tokens.flatMap((token) =>
    token.kind === "string" ? [token.parts] : token.kind === "words" ? token.words.map((word) => [word]) : [],
  );
}

function literal(argument: readonly RubyToken[] | undefined): string | null {
  const [first] = argument ?? [];
  return first?.kind === "string" && first.parts.length === 1 ? (first.parts[0] ?? null) : null;
}

// The arguments of the call at an index, null if it is none: `p` is also a common name of variables.
function argumentsOf(tokens: readonly RubyToken[], index: number): RubyToken[][] | null {
  const next = tokens[index + 1];
  const parenthesis = isMark(next, "(");
  if (!parenthesis && next?.kind !== "string" && next?.kind !== "words") return null;
  const found: RubyToken[][] = [[]];
  let depth = 0;
  for (const token of tokens.slice(index + (parenthesis ? 2 : 1), index + 2000)) {
    if (token.kind === "mark") {
      if ("([{".includes(token.text)) depth += 1;
      if (")]}".includes(token.text)) depth -= 1;
      if (depth < 0) break;
      if (depth === 0 && !parenthesis && (token.text === "\n" || token.text === ";")) break;
      if (depth === 0 && token.text === ",") {
        found.push([]);
        continue;
      }
    }
    if (!parenthesis && token.kind === "word" && token.text === "do") break;
    found.at(-1)?.push(token);
  }
  return found;
}

// What is before the dot: `link('x').p`, else a variable.
function receiverOf(tokens: readonly RubyToken[], dot: number): PropertyUse["of"] {
  const [call, open, name, close] = tokens.slice(Math.max(dot - 4, 0), dot);
  if (call?.kind !== "word" || call.text !== "link" || !isMark(open, "(") || !isMark(close, ")")) return "variable";
  const link = literal(name === undefined ? undefined : [name]);
  return link === null ? "variable" : { link };
}

function memberPath(tokens: readonly RubyToken[], dot: number): string {
  const path: string[] = [];
  for (let at = dot; isMark(tokens[at], "."); at += 2) {
    const member = tokens[at + 1];
    if (member?.kind !== "word") break;
    path.push(member.text);
  }
  return path.join(".");
}

function isMark(token: RubyToken | undefined, text: string): boolean {
  return token?.kind === "mark" && token.text === text;
}
