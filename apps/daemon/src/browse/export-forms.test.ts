import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { safeName } from "./export-forms.ts";

it.each([
  ["plain-name_1.2", "plain-name_1.2"],
  ["ünïcødé-名前", "ünïcødé-名前"],
  ["@data", "%40data"],
  ["@znode.json", "%40znode.json"],
  ["..", "%2E%2E"],
  [".", "%2E"],
  [".hidden", ".hidden"],
  ["ends.", "ends%2E"],
  ["a\\b:c*?", "a%5Cb%3Ac%2A%3F"],
  ["100%", "100%25"],
  ["a\nb \u{1f44d}", "a%0Ab%20%F0%9F%91%8D"],
])("a znode %j becomes a folder %s", (name, folder) => {
  expect(safeName(name)).toBe(folder);
});

it("a name that no file system takes becomes its hash", () => {
  const name = "x".repeat(201);
  expect(safeName(name)).toBe(`@sha256-${createHash("sha256").update(name).digest("hex")}`);
  expect(safeName("x".repeat(200))).toBe("x".repeat(200));
});

it("two znodes never share a folder", () => {
  const names = ["@data", "%40data", "%2540data", ".", "%2E", "..", "a b", "a%20b"];
  expect(new Set(names.map(safeName)).size).toBe(names.length);
});

it("names that only differ in halves of characters stay apart", () => {
  const names = ["\ud800", "\ud801", "a\udc00", "\ufffd"].map(safeName);
  expect(new Set(names).size).toBe(4);
  expect(names[0]).toMatch(/^@sha256-[0-9a-f]{64}$/);
});
