import { COLD_STEPS, type ColdOptions, type NodeControlOptions } from "../src/index.ts";

/** Where a run can be struck: its steps, and what lies between and after them. */
export const MOMENTS = [
  ...COLD_STEPS.slice(0, COLD_STEPS.indexOf("stopped")),
  "amid-stopping",
  ...COLD_STEPS.slice(COLD_STEPS.indexOf("stopped")),
  "archiving",
  "stored",
] as const;
export type Moment = (typeof MOMENTS)[number];

/**
 * What strikes: a signal to the run itself, or SIGKILL to the guard, to the root helper (not to its guard), or to the
 * machine, which is all that runs in the folder; or an operator who wants the node to stay stopped.
 */
export type Blow = "guard" | "helper" | "machine" | "stay stopped" | "SIGKILL" | "SIGTERM" | "SIGSTOP" | "SIGINT twice";

/** What `cold-run.ts` does. */
export interface ColdRunPlan {
  readonly do: "backup" | "recover";
  /** All that belongs to the machine has a path below it in its command line. */
  readonly folder: string;
  readonly dataDir: string;
  readonly server: string;
  readonly cold: ColdOptions;
  readonly backups: string;
  /** Is there while the program runs that stops the node. */
  readonly stoppingFile: string;
  readonly strike?: { readonly at: Moment; readonly blows: readonly Blow[] };
}

/** A line of `cold-run.ts`: what it has come to, or, as the last one, how it ended. */
export type ColdRunLine = { readonly moment: Moment } | { readonly end: ColdRunEnd };

export interface ColdRunEnd {
  /** `stored`, `skipped`, `recovered`, or the error's code. */
  readonly code: string;
  readonly message: string;
  /** The backup's. */
  readonly id: string | null;
  readonly facts: unknown;
}

/** What `cold-kill-helper.ts` does. */
export interface HelperPlan {
  readonly socket: string;
  readonly control: NodeControlOptions;
  readonly folder: string;
  readonly stateDir: string;
  readonly stayStoppedFile: string;
}
