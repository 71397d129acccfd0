/** When a node was asked to stop, and how long after that, in milliseconds, each step was done. */
export interface Downtime {
  /** ISO 8601, UTC. */
  readonly askedAt: string;
  /** The supervisor says so, the process is gone, and the port is closed. */
  readonly stoppedMs: number;
  /** Every file has its link. */
  readonly linkedMs: number;
  /** The start was accepted. */
  readonly startedMs: number;
  /** It answers clients again: what they saw of it. */
  readonly servingMs: number;
  /** It has applied at least what the ensemble had when it was stopped. */
  readonly caughtUpMs: number;
}

type Mark = Exclude<keyof Downtime, "askedAt">;

/** Takes the times, by a clock that no adjustment of the system's time moves. */
export class Stopwatch {
  readonly #askedAt = new Date();
  readonly #began: number = performance.now();
  readonly #marks = new Map<Mark, number>();

  /** Notes that a step is done, and says after how many milliseconds. */
  mark(name: Mark): number {
    const ms = Math.round(performance.now() - this.#began);
    this.#marks.set(name, ms);
    return ms;
  }

  /** What was noted so far. */
  get times(): { readonly askedAt: string } & Partial<Downtime> {
    return { askedAt: this.#askedAt.toISOString(), ...Object.fromEntries(this.#marks) };
  }
}
