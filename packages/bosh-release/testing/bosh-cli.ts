import { spawn } from "node:child_process";
import { BoshCliMissingError, boshCli } from "../tools/bosh-cli.ts";

/**
 * Whether there is a bosh CLI; builds it first where it can be built. For `describe.skipIf(!(await requireBoshCli()))`.
 * Where there is none and Go cannot get what one is made of, this is false, with a warning, even under `CI`: nobody can
 * install it there.
 */
export async function requireBoshCli(): Promise<boolean> {
  try {
    await boshCli();
    return true;
  } catch (error) {
    if (!(error instanceof BoshCliMissingError)) throw error;
    console.warn(`SKIPPED TESTS: ${error.message}`);
    return false;
  }
}

/** What a command of the bosh CLI said, and how it ended. */
export interface BoshEnded {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs a command of the bosh CLI: `["int", "manifest.yml", ...]`.
 *
 * @throws BoshCliMissingError if there is none
 */
export async function runBosh(args: readonly string[]): Promise<BoshEnded> {
  const child = spawn(await boshCli(), args, { stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, ...output }));
  });
}
