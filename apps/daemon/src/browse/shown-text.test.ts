import { expect, it } from "vitest";
import { shown } from "./shown-text.ts";

it.each([
  ["/app/ünïcødé-名前-ß 👍", "/app/ünïcødé-名前-ß 👍"],
  ["/a\n/b\t", "/a\\u{a}/b\\u{9}"],
  ["\u001b[31mred\u001b[0m", "\\u{1b}[31mred\\u{1b}[0m"],
  ["\u009b2J\u007f", "\\u{9b}2J\\u{7f}"],
  ["txt.\u202eexe", "txt.\\u{202e}exe"],
  ["a\u2028b", "a\\u{2028}b"],
  ["half \ud83d", "half \\u{d83d}"],
])("%j stays in its line and does nothing to a terminal", (text, expected) => {
  expect(shown(text)).toBe(expected);
});
