import { Session } from "node:inspector";

/** What V8 says of one function: nested ranges, of which the first is the whole function. */
interface FunctionCoverage {
  readonly functionName: string;
  readonly ranges: readonly { readonly startOffset: number; readonly endOffset: number; readonly count: number }[];
}

interface ScriptCoverage {
  readonly url: string;
  readonly functions: readonly FunctionCoverage[];
}

const IDLE = 1;
const RAN = 2;

/**
 * Which parts of some modules have run, by V8's own block coverage. Begin before the modules are loaded: what was
 * compiled earlier is not counted.
 */
export class Coverage {
  readonly #session = new Session();
  readonly #isOfInterest: (url: string) => boolean;
  /** By module: for each character of its functions whether it has run. What is not in a function is never marked. */
  readonly #seen = new Map<string, Uint8Array>();

  constructor(isOfInterest: (url: string) => boolean) {
    this.#isOfInterest = isOfInterest;
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Forgets what has run since the last call. */
  reset(): void {
    this.#take();
  }

  /** Whether anything ran since the last call that had not run before. With `keep`, from now on it has. */
  add(keep: boolean): boolean {
    let isNew = false;
    for (const { url, functions } of this.#take()) {
      const inner = functions.filter(({ ranges }) => ranges[0]?.startOffset !== 0);
      const end = Math.max(0, ...inner.map(({ ranges }) => ranges[0]?.endOffset ?? 0));
      const marks = new Uint8Array(end);
      // Inner functions and ranges come behind those around them.
      for (const { ranges } of inner) {
        for (const { startOffset, endOffset, count } of ranges)
          marks.fill(count > 0 ? RAN : IDLE, startOffset, endOffset);
      }
      let seen = this.#seen.get(url) ?? new Uint8Array(0);
      if (seen.byteLength < end) {
        const longer = new Uint8Array(end);
        longer.set(seen);
        seen = longer;
        if (keep) this.#seen.set(url, seen);
      }
      for (let at = 0; at < end; at++) {
        if ((marks[at] as number) <= (seen[at] as number)) continue;
        if (marks[at] === RAN) isNew = true;
        if (keep) seen[at] = marks[at] as number;
      }
    }
    return isNew;
  }

  /** Characters in functions: those that ran, and all. */
  characters(): { ran: number; all: number } {
    let ran = 0;
    let all = 0;
    for (const seen of this.#seen.values()) {
      for (const mark of seen) {
        if (mark === RAN) ran += 1;
        if (mark !== 0) all += 1;
      }
    }
    return { ran, all };
  }

  /** For each module, from which character to which there is code that never ran. */
  gaps(): Map<string, [number, number][]> {
    const gaps = new Map<string, [number, number][]>();
    for (const [url, seen] of this.#seen) {
      const list: [number, number][] = [];
      for (let at = seen.indexOf(IDLE); at !== -1; at = seen.indexOf(IDLE, at)) {
        const start = at;
        while (seen[at] === IDLE) at += 1;
        list.push([start, at]);
      }
      gaps.set(url, list);
    }
    return gaps;
  }

  #take(): ScriptCoverage[] {
    let scripts: ScriptCoverage[] = [];
    this.#session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error !== null) throw error;
      scripts = result.filter(({ url }) => this.#isOfInterest(url));
    });
    return scripts;
  }
}
