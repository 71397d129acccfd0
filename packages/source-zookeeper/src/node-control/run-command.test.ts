import { afterEach, expect, it, vi } from "vitest";
import { howItEnded, runCommand } from "./run-command.ts";

const LIMITS = { timeoutMs: 30_000, wantsOutput: true };

afterEach(() => vi.unstubAllEnvs());

it("gives what it runs our environment, without what sounds like a secret", async () => {
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "a secret");
  vi.stubEnv("STORE_PASSWORD", "another");
  vi.stubEnv("ZOO_LOG_DIR", "/var/log/zookeeper");
  const { stdout } = await runCommand(["/usr/bin/env"], LIMITS);
  expect(stdout).toContain("ZOO_LOG_DIR=/var/log/zookeeper");
  expect(stdout).not.toMatch(/AWS_|STORE_PASSWORD/);
});

it("says how a command ended, and its last word", async () => {
  const failed = await runCommand(["/bin/sh", "-c", "echo first >&2; echo no such unit >&2; exit 5"], LIMITS);
  expect(howItEnded(failed)).toBe(": exit code 5: no such unit");
});

it("ends a command that takes too long, and says so", async () => {
  const late = runCommand(["/bin/sleep", "60"], { timeoutMs: 50 });
  await expect(late).rejects.toMatchObject({ code: "ERR_NODE_CONTROL", message: expect.stringMatching(/took longer/) });
});
