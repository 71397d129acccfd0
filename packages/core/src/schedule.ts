/**
 * When something is due. The points of time it yields, its slots, do not depend on who asks, or how often: every node
 * that knows the same newest backup computes the same ones.
 */
export interface Schedule {
  /** For people, such as `every 6 h`. */
  readonly text: string;
  /** The last slot at or before `now`, or null. `newest` is the time of the newest backup at or before `now`. */
  last(now: Date, newest: Date | null): Date | null;
  /** The first slot after `now`. */
  next(now: Date, newest: Date | null): Date;
}
