import { expect, it } from "vitest";
import { isLoopback, mayNameHost } from "./host-header.ts";

it.each([
  ["localhost", true],
  ["127.0.0.1", true],
  ["127.8.0.1", true],
  ["::1", true],
  ["0.0.0.0", false],
  ["::", false],
  ["10.0.0.1", false],
  ["127.evil.example", false],
  ["localhost.evil.example", false],
])("knows whether %s is loopback: %s", (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});

it.each([
  [undefined, true],
  ["localhost", true],
  ["LOCALHOST:9642", true],
  ["127.0.0.1:9642", true],
  ["[::1]:9642", true],
  ["[::1]", true],
  ["backup.internal:80", true],
  ["", false],
  ["evil.example", false],
  ["evil.example:9642", false],
  ["127.0.0.1.evil.example:9642", false],
  ["localhost.:9642", false],
  ["localhost@evil.example", false],
  ["evil.example#localhost", false],
  ["127.0.0.1:9642:1", false],
  ["[::1", false],
  ["::1", false],
  ["localhost:999999", false],
])("lets %s be named: %s", (header, expected) => {
  expect(mayNameHost(header, "backup.internal")).toBe(expected);
});
