import { expect, it } from "vitest";
import { pathMatcher } from "./path-glob.ts";

it.each([
  ["/x", ["/x"], ["/x/y", "/xx", "/", "x"]],
  ["/a/*", ["/a/b", "/a/"], ["/a", "/a/b/c"]],
  ["/a/*/c", ["/a/b/c"], ["/a/c", "/a/b/b/c"]],
  ["/a/**", ["/a", "/a/b", "/a/b/c"], ["/ab", "/"]],
  ["/**", ["/", "/a", "/a/b"], []],
  ["/a/**/b", ["/a/b", "/a/x/b", "/a/x/y/b"], ["/a", "/ab", "/a/xb", "/b"]],
  ["/**/a/**", ["/a", "/x/a", "/x/a/y"], ["/", "/xa", "/ax"]],
  ["/a/**/**", ["/a", "/a/b/c"], ["/ab"]],
  ["/a**b", ["/ab", "/a/x/b"], ["/a/x"]],
  ["**/leader", ["/leader", "/a/b/leader"], ["/leaders", "/leader/x"]],
  ["/lock-00?", ["/lock-001"], ["/lock-0011", "/lock-00/"]],
  ["/a.b+(c)", ["/a.b+(c)"], ["/aXb+(c)", "/a.bbc"]],
  ["/\\*/\\?", ["/*/?"], ["/a/b"]],
  ["/end\\", ["/end\\"], ["/end"]],
  ["/ü/名*", ["/ü/名前"], ["/u/名前"]],
  ["/-]^$|{}", ["/-]^$|{}"], ["/"]],
])("%s means these paths and no others", (glob, matching, others) => {
  const matches = pathMatcher(glob);
  expect(matching.filter((path) => !matches(path))).toEqual([]);
  expect(others.filter(matches)).toEqual([]);
});
