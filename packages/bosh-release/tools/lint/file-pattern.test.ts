import { describe, expect, it } from "vitest";
import { filePattern, literalFolder } from "./file-pattern.ts";

// As doublestar v1.3.4 answers, with which the CLI looks for files.
describe("a pattern of files", () => {
  it.each([
    ["a/b", ["a/b"], ["a/b/c", "a", "xa/b"]],
    ["a/*", ["a/b", "a/.b", "a/b.c"], ["a", "a/b/c"]],
    ["a/**/*", ["a/b", "a/b/c", "a/.b/c"], ["a", "b/a/c"]],
    ["a/**", ["a/b", "a/b/c"], ["ab"]],
    ["**/b", ["b", "a/b", "a/a/b"], ["ab", "b/a"]],
    ["a**", ["a", "abc"], ["a/b"]],
    ["a?.{tgz,tar.gz}", ["a1.tgz", "a1.tar.gz"], ["a.tgz", "a1.tar", "a/.tgz"]],
    ["[a-c]x[^d]", ["axe", "cxx"], ["dxe", "axd"]],
    ["a+(b).c", ["a+(b).c"], ["aab.c", "a+(b)xc"]],
    ["a\\*", ["a*"], ["ab"]],
  ])("%s", (pattern, matching, others) => {
    const expression = filePattern(pattern);
    expect([...matching, ...others].filter((path) => expression.test(path))).toEqual(matching);
  });

  it.each([["["], ["a["], ["{"], ["[z-a]"], ["\\"], [""]])(
    "%s, which is none, matches no file and does not fail",
    (pattern) => {
      expect(filePattern(pattern).test("a")).toBe(false);
    },
  );

  it.each([
    ["a/b/*.js", "a/b"],
    ["a/**/*", "a"],
    ["*", ""],
    ["a/b", "a"],
  ])("%s is about the folder %j", (pattern, folder) => {
    expect(literalFolder(pattern)).toBe(folder);
  });
});
