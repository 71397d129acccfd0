import { expect, test } from "vitest";
import { releaseRange, SERVER_RELEASES, serverRelease } from "./server-release.ts";

test.each([
  ["3.4.12", "3.4"],
  ["3.4.14", "3.4"],
  ["3.4", "3.4"],
  ["3.5.3-beta", "3.5.3"],
  ["3.5.5", "3.5.4"],
  ["3.5.6", "3.5.6"],
  ["3.5.10", "3.5.7"],
  ["3.6.4", "3.6"],
  ["3.7.2", "3.7"],
  ["3.8.3-abc, built on 2024-02-12", "3.8"],
  ["3.8.4", "3.8.4"],
  ["3.8.6", "3.8.5"],
  ["3.9", "3.9"],
  ["3.9.1", "3.9"],
  ["3.9.2", "3.9.2"],
  ["3.9.3", "3.9.3"],
  ["3.9.10", "3.9.4"],
  ["3.10.0", "3.9.4"],
  ["4.0.0", "3.9.4"],
  ["3.4.11", null],
  ["3.3.6", null],
  ["3.5.2-alpha", null],
  ["3", null],
  ["3.8.0.1", null],
  ["", null],
  ["latest", null],
])("%j behaves like %s", (version, release) => {
  expect(serverRelease(version)).toBe(release);
});

test("every row stands for itself", () => {
  expect(SERVER_RELEASES.map(serverRelease)).toEqual(SERVER_RELEASES);
});

test.each([
  ["3.4", "3.4", "3.4"],
  ["3.5.7", "3.8", "3.5.7 to 3.8.3"],
  ["3.6", "3.7", "3.6 to 3.7"],
  ["3.9.3", "3.9.3", "3.9.3"],
  ["3.9", "3.9", "3.9 to 3.9.1"],
  ["3.9", "3.9.4", "3.9 and later"],
  ["3.4", "3.9.4", "all releases"],
] as const)("%s to %s is %j", (first, last, text) => {
  expect(releaseRange(first, last)).toBe(text);
});
