import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { runCli } from "./run-cli.ts";

/** Runs one command as a process of its own; fails if that does. Peak resident memory in MB, wall time in seconds. */
export async function measureCli(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ peakMB: number; seconds: number; stdout: string }> {
  let peakMB = 0;
  let running = true;
  let watching: Promise<void> | undefined;
  const began = performance.now();
  const { code, stdout, stderr } = await runCli(args, {
    env,
    onStart({ pid }) {
      watching = (async () => {
        while (running) {
          const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
          // The kernel keeps the peak: the last reading is the one that counts.
          peakMB = Math.max(peakMB, (Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024) / 1e6);
          await sleep(50);
        }
      })();
    },
  });
  running = false;
  await watching;
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return { peakMB: Math.round(peakMB), seconds: Math.round((performance.now() - began) / 100) / 10, stdout };
}
