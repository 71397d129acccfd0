import type { JsonObject } from "./json.ts";

/**
 * `elected`: this one does the job. `waiting`: another one does. `unreachable`: who does it cannot be found out at the
 * moment, so that this one does not.
 */
export type CandidacyState = "elected" | "waiting" | "unreachable";

/** One of several that could do a job, of which one at a time does. */
export interface Candidacy {
  readonly state: CandidacyState;
  /** Since when the state is what it is. */
  readonly since: Date;
  /** What the elected one says of itself, as far as that is known. */
  readonly holder: JsonObject | null;
  /** Why it is `unreachable`: what failed, on what, what to do. Null otherwise. */
  readonly problem: string | null;
  /**
   * Whether this one is elected although another one that waits is better suited: its node has less to do. To be acted on
   * with `stepBack` while nothing is under way. False, or not there, where nothing is preferred.
   */
  readonly prefersOther?: boolean;
  /**
   * Proves, by something that the nodes have agreed on just now, that this one is elected. To be asked right before
   * what must not be done twice: a process that was paused meanwhile fails here.
   *
   * @throws BackypError `ERR_NOT_ELECTED`, `ERR_ABORTED`
   */
  confirm(signal: AbortSignal): Promise<void>;
  /** Lets another one go first, if there is one that waits. Never rejects. */
  stepBack(): Promise<void>;
  /** Calls `listener` after every change of what can be read here. */
  onChange(listener: () => void): void;
  /** Leaves the election. Never rejects, and takes some seconds at most. */
  close(): Promise<void>;
}
