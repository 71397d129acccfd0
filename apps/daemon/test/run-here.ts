import { vi } from "vitest";
import type { CliResult } from "./run-cli.ts";

// Before it is asked for: colours are for terminals, and a test runner may look like one.
process.env.NO_COLOR = "1";
const { runCli } = await import("../src/cli.ts");

/** Runs the command in this process: far quicker, for tests of what it says and not of how it is as a process. */
export async function runHere(args: readonly string[]): Promise<CliResult> {
  const stdout: Buffer[] = [];
  let stderr = "";
  // Warnings go straight to the process's own.
  const spy = vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
  try {
    const code = await runCli(args, {
      signal: new AbortController().signal,
      writeOut: (chunk) => stdout.push(Buffer.from(chunk)),
      writeError: (text) => {
        stderr += text;
      },
    });
    return { code, stdout: Buffer.concat(stdout).toString(), stderr };
  } finally {
    spy.mockRestore();
  }
}
