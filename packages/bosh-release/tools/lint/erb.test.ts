import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { OUTPUT, parseErb } from "./erb.ts";
import { rubyTokens } from "./ruby-tokens.ts";

const TEMPLATES = [
  ["text alone", "a\nb\n"],
  ["text without an end of line", "a\nb"],
  ["nothing", ""],
  ["an output", "a <%= 1 %> b\n<%= 2 -%>\nc\n"],
  ["code that leaves no line", "<% x = 1 -%>\na\n  <%- y = 2 -%>\nb\n"],
  ["code that leaves an empty line", "<% x = 1 %>\na\n"],
  ["code after text", "a  <%- x = 1 -%>\nb\n"],
  ["comments", "<%# a comment -%>\na\n<%# another %>\nb\n"],
  ["quoted marks", "a <%% b %> c\n"],
  ["code over lines", "<%-\n  x = 1\n\n  y = 2\n-%>\n#!/bin/sh\n<%=\n 1\n%>\nend\n"],
  ["tags side by side", "<% x = 1 -%><% y = 2 -%>\n<%= 1 %><%= 2 %>\n"],
] as const;

describe("a template", () => {
  it.skipIf(spawnSync("ruby", ["-v"]).status !== 0).each(TEMPLATES)(
    "of %s has the text that ERB gives it",
    (_, template) => {
      const outputs = template.replace(/<%=[^%]*?(-?)%>/g, (_all, trim) => `<%= $output ${trim}%>`);
      const program = '$output = ARGV[1]; require "erb"; print ERB.new(ARGV[0], trim_mode: "-").result';
      const { stdout } = spawnSync("ruby", ["-Ku", "-e", program, outputs, OUTPUT], { encoding: "utf8" });
      const { lines } = parseErb(template);
      expect(lines.map(({ text }) => text).join("\n")).toBe(stdout.replace(/\n$/, ""));
    },
  );

  it("tells in which of its lines a line of its text is", () => {
    const { lines, tags } = parseErb("<%-\n  x = 1\n-%>\n#!/bin/sh\n<%=\n 1\n%>\nend\n");
    expect(lines.map(({ line }) => line)).toEqual([4, 5, 8]);
    expect(tags.map(({ line, output }) => [line, output])).toEqual([
      [1, false],
      [5, true],
    ]);
  });

  it("tells where a tag begins that has no end", () => {
    expect(parseErb("a\n<% if x\nb\n").unclosedAt).toBe(2);
    expect(parseErb("a\n<%% if x\nb\n").unclosedAt).toBe(null);
  });
});

describe("the tokens of Ruby", () => {
  it.each([
    ["a comment", "a # 'b'\nc", "a | c"],
    ["strings", `'a\\'b' "c\\"d"`, `"a'b" "c"d"`],
    ["interpolation", `"a.#{b("c}")}.d" e`, `"a.#{}.d" e | | b ( "c}" )`],
    ["lists of words", "%w[a b], %i(c d), %w{e}", "%w[a b] , %w[c d] , %w[e]"],
    ["a percent sign that is an operator", "a % (b)", "a % ( b )"],
    ["a division", "a / b / 'c'", `a / b / "c"`],
    ["a regular expression", "x =~ /'[/]'/ && 'c'", `x = ~ // & & "c"`],
    ["a heredoc", "f(<<~EOS)\n 'text' #{p 'a'}\nEOS\ng", `f ( << ) | g | | p "a"`],
    ["symbols and variables", ":a @b $c d?", ":a @b $c d?"],
    ["a string without end", "'abc", '"abc"'],
  ])("of %s", (_, code, expected) => {
    const shown = rubyTokens(code).map((token) => {
      if (token.kind === "string") return `"${token.parts.join("#{}")}"`;
      if (token.kind === "words") return `%w[${token.words.join(" ")}]`;
      return token.text === "\n" ? "|" : token.text;
    });
    expect(shown.join(" ").replace(/( \|)+$/, "")).toContain(expected);
  });

  it("know their lines", () => {
    const tokens = rubyTokens("a\n'b\n'\n<<~X\n #{c}\nX\nd", 10).filter(({ kind }) => kind !== "mark");
    expect(tokens.map(({ line }) => line)).toEqual([10, 11, 16, 14]);
  });
});
