import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { TARGETS } from "../fuzz/targets.ts";

// Each in a process of its own: what a bad file does to the process that reads it is the question.
const run = promisify(execFile);
const READ_BOMB = fileURLToPath(new URL("./read-bomb.ts", import.meta.url));
const FUZZ = fileURLToPath(new URL("../fuzz/main.ts", import.meta.url));
const FUZZ_SECONDS = 20;

describe("memory is bounded, however much a file expands to or claims", () => {
  // Besides some 90 MiB that Node and the reader take for nothing.
  test.each([
    ["gzip: nodes without end", "SNAPSHOT_TRUNCATED", 500],
    ["gzip: sessions without end", "SNAPSHOT_TRUNCATED", 700],
    ["gzip: a field as large as the limit", "SNAPSHOT_BAD_PATH", 500],
    ["snappy: nodes without end", "SNAPSHOT_TRUNCATED", 500],
    ["ACLs of one entry without end", "SNAPSHOT_TOO_MANY_ACLS", 900],
    ["ACLs of 20,000 entries without end", "SNAPSHOT_TRUNCATED", 500],
    ["a log of zeros without end", "read to its end", 200],
    ["a log whose record claims 64 MiB", "read to its end", 300],
    ["a log of breaks", "read to its end", 500],
    // Ten times the record.
    ["a multi of 5 million parts", "read to its end", 1200],
    ["an ACL of 5 million entries in a log", "read to its end", 1200],
  ])("%s", async (name, outcome, mostMib) => {
    const { stdout } = await run(process.execPath, [READ_BOMB, name]);
    const result = JSON.parse(stdout) as { outcome: string; peakMib: number };
    expect(result.outcome).toBe(outcome);
    expect(result.peakMib).toBeLessThan(mostMib);
  });
});

describe(`changed files, ${FUZZ_SECONDS} seconds each, find nothing in`, () => {
  test.each(Object.keys(TARGETS))("%s", async (target) => {
    const { stdout } = await run(process.execPath, [FUZZ, String(FUZZ_SECONDS), target]);
    console.log(stdout);
    expect(stdout).toMatch(new RegExp(`^${target}: [1-9][0-9]* inputs`, "m"));
  });
});
