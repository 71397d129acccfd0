import { inspect } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { Coverage } from "./coverage.ts";
import { mutate, randomNumbers } from "./mutate.ts";
import type { Target } from "./targets.ts";

/** What the main thread wants to have run. */
export interface Job {
  readonly target: string;
  readonly milliseconds: number;
  readonly seed: number;
  /** Number of the input that runs, its length, and the input itself from byte 8 on. */
  readonly current: SharedArrayBuffer;
}

export interface Result {
  readonly inputs: number;
  readonly corpus: number;
  readonly ran: number;
  readonly all: number;
  /** Null when nothing was found. */
  readonly finding: { readonly input: Uint8Array; readonly what: string } | null;
  readonly gaps: ReadonlyMap<string, readonly (readonly [number, number])[]>;
}

/** Inputs that share one look at the coverage, which takes as long as many of them. */
const BATCH = 64;
/** Far above what a correct parser needs for the few KiB of an input. */
const MAX_EXTERNAL_BYTES: number = 512 * 1024 * 1024;

const { target: name, milliseconds, seed, current } = workerData as Job;
let files: readonly string[] = [];
const coverage = new Coverage((url) => files.some((file) => url.includes("/src/") && url.endsWith(`/${file}.ts`)));
const { TARGETS } = (await import("./targets.ts")) as { TARGETS: Record<string, Target> };
const target = TARGETS[name] as Target;
files = target.files;

const numbers = new Int32Array(current, 0, 2);
const place = Buffer.from(current, 8);
let inputs = 0;
let finding: Result["finding"] = null;

/** False when something was found. */
async function runs(input: Buffer): Promise<boolean> {
  place.set(input);
  Atomics.store(numbers, 1, input.byteLength);
  Atomics.add(numbers, 0, 1);
  inputs += 1;
  try {
    await target.run(input);
    const external = inputs % BATCH === 0 ? process.memoryUsage().external : 0;
    if (external > MAX_EXTERNAL_BYTES) throw new Error(`${external} bytes outside of the heap`);
    return true;
  } catch (error) {
    finding = { input: Uint8Array.from(input), what: inspect(error) };
    return false;
  }
}

/** Runs them, and keeps those that reach code which none before has reached. */
async function tryAll(candidates: readonly Buffer[], corpus: Buffer[]): Promise<boolean> {
  coverage.reset();
  for (const input of candidates) if (!(await runs(input))) return false;
  if (!coverage.add(false)) return true;
  for (const input of candidates) {
    if (!(await runs(input))) return false;
    if (coverage.add(true)) corpus.push(input);
  }
  return true;
}

coverage.add(true);
const random = randomNumbers(seed);
const seeds = new Map(target.seeds().map((input) => [input.toString("latin1"), input]));
const corpus: Buffer[] = [...seeds.values()];
coverage.reset();
let goesOn = true;
for (const input of seeds.values()) goesOn &&= await runs(input);
coverage.add(true);
const end = Date.now() + milliseconds;
while (goesOn && Date.now() < end) {
  const pick = (): Buffer => corpus[random() % corpus.length] as Buffer;
  goesOn = await tryAll(
    Array.from({ length: BATCH }, () => mutate(pick(), pick(), random)),
    corpus,
  );
}
const result: Result = { inputs, corpus: corpus.length, ...coverage.characters(), finding, gaps: coverage.gaps() };
parentPort?.postMessage(result);
