// Runs commands and says what they took.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

/** Runs a command. Returns seconds by the clock and of CPU, the peak of its memory in MB, and its output. */
export async function measure(command, args, { discard = false } = {}) {
  // The shell knows what its children took.
  const script = `"$@" ${discard ? ">/dev/null" : ""} 2>/dev/null; code=$?; times >&3; exit $code`;
  const start = process.hrtime.bigint();
  const shell = spawn("bash", ["-c", script, "bash", command, ...args], {
    stdio: ["ignore", "pipe", "ignore", "pipe"],
  });
  let rssMB = 0;
  const timer = setInterval(() => {
    rssMB = Math.max(rssMB, peakOfChild(shell.pid));
  }, 10);
  const [output, times, code] = await Promise.all([
    textOf(shell.stdio[1]),
    textOf(shell.stdio[3]),
    new Promise((resolve) => shell.on("close", resolve)),
  ]);
  clearInterval(timer);
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} failed (${code})`);
  const ofChildren = times
    .trim()
    .split("\n")
    .at(-1)
    .matchAll(/(\d+)m([\d.]+)s/g);
  const cpuSeconds = [...ofChildren].reduce((sum, [, minutes, rest]) => sum + 60 * minutes + Number(rest), 0);
  return { seconds, cpuSeconds, rssMB, output: output.trim() };
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function peakOfChild(shell) {
  try {
    const child = readFileSync(`/proc/${shell}/task/${shell}/children`, "utf8").trim().split(" ")[0];
    const [, kilobytes = "0"] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child}/status`, "utf8")) ?? [];
    return Number(kilobytes) / 1024;
  } catch {
    // Not there yet, or not any more.
    return 0;
  }
}

async function textOf(stream) {
  let text = "";
  for await (const chunk of stream.setEncoding("utf8")) text += chunk;
  return text;
}
