// npm run test:fuzz -- [seconds for each target] [target ...]: feeds the parsers with changed files, and prefers those
// that reach code which none before has reached. Ends with 1 when something was found, and leaves the input.
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { TARGETS } from "./targets.ts";
import type { Job, Result } from "./worker.ts";

const MAX_INPUT_BYTES: number = 64 * 1024;
/** An input takes less than a millisecond, unless the machine is busy with something else. */
const HANG_MS = 10_000;
const HEAP_MB = 512;

const args = process.argv.slice(2);
const seconds = args[0] !== undefined && /^\d+$/.test(args[0]) ? Number(args.shift()) : 20;
const names = args.length > 0 ? args : Object.keys(TARGETS);
const unknown = names.filter((name) => !Object.hasOwn(TARGETS, name));
if (unknown.length > 0)
  throw new Error(`no target ${unknown.join(", ")}: there are ${Object.keys(TARGETS).join(", ")}`);
const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 32);

function fuzz(target: string): Promise<Result> {
  const current = new SharedArrayBuffer(8 + MAX_INPUT_BYTES);
  const numbers = new Int32Array(current, 0, 2);
  const job: Job = { target, milliseconds: seconds * 1000, seed, current };
  const worker = new Worker(new URL("./worker.ts", import.meta.url), {
    workerData: job,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  return new Promise((resolve) => {
    const fail = (what: string): void => {
      clearInterval(watch);
      void worker.terminate();
      const input = Uint8Array.from(new Uint8Array(current, 8, Atomics.load(numbers, 1)));
      const nothing = { corpus: 0, ran: 0, all: 0, gaps: new Map() };
      resolve({ inputs: Atomics.load(numbers, 0), ...nothing, finding: { input, what } });
    };
    let last = -1;
    let since = Date.now();
    const watch = setInterval(() => {
      const now = Atomics.load(numbers, 0);
      if (now !== last) {
        last = now;
        since = Date.now();
      } else if (now > 0 && Date.now() - since > HANG_MS) {
        fail(`one input took more than ${HANG_MS} ms`);
      }
    }, 250);
    worker.once("error", (error) => fail(String(error)));
    worker.once("message", (result: Result) => {
      clearInterval(watch);
      resolve(result);
    });
  });
}

/** For those who want to know what no input has reached: the code itself. */
function printGaps(gaps: Result["gaps"]): void {
  for (const [url, ranges] of gaps) {
    const code = readFileSync(new URL(url), "utf8");
    for (const [start, end] of ranges) {
      const line = code.slice(0, start).split("\n").length;
      console.log(
        `  ${url.slice(url.lastIndexOf("/") + 1)}:${line} ${code.slice(start, end).replace(/\s+/g, " ").slice(0, 120)}`,
      );
    }
  }
}

console.log(`seed ${seed}`);
let findings = 0;
for (const name of names) {
  const { inputs, corpus, ran, all, finding, gaps } = await fuzz(name);
  const covered = `${((100 * ran) / Math.max(1, all)).toFixed(1)} % of the code reached`;
  console.log(`${name}: ${inputs} inputs, ${covered}, ${corpus} inputs kept`);
  if (process.env.FUZZ_GAPS !== undefined) printGaps(gaps);
  if (finding === null) continue;
  findings += 1;
  const hash = createHash("sha256").update(finding.input).digest("hex").slice(0, 12);
  const path = join(mkdtempSync(join(tmpdir(), "fuzz-")), `${name}-${hash}`);
  writeFileSync(path, finding.input);
  console.log(`FOUND, with the ${finding.input.byteLength} bytes in ${path}: ${finding.what}`);
}
process.exitCode = findings === 0 ? 0 : 1;
