import { z } from "zod";
import { memberAddressSchema } from "../ensemble/server-address.ts";
import type { NodeControl } from "../node-control/node-control.ts";
import { type NodeControlOptions, nodeControlSchema } from "../node-control/open-node-control.ts";

/** How a node is stopped for a cold backup, and when it is not. Times are in milliseconds. */
export interface ColdOptions {
  /** What stops and starts the node: a supervisor by its options, or an object of the caller's own. */
  readonly control: NodeControlOptions | NodeControl;
  /**
   * What to do where the node is the leader: `skip` the run (default), `proceed` (an election follows), or hand it over:
   * run a command that makes the backup on another member. The run fails if the command does.
   */
  readonly ifLeader?: "skip" | "proceed" | { readonly handOver: readonly string[] };
  /** After so many skipped runs in a row the next one that would be skipped fails instead. Default: 3. */
  readonly maxSkippedRuns?: number;
  /** Whether a server that is no member of an ensemble may be stopped: nobody serves meanwhile. Default: false. */
  readonly allowStandalone?: boolean;
  /** Addresses at which the other members can be asked, in the forms of `server`. Default: what the server and zoo.cfg say. */
  readonly members?: readonly string[];
  /** How long the stop may take. After that the node is started again, and the run fails. Default: 60,000. */
  readonly stopTimeoutMs?: number;
  /** How long the node may take until it serves again and has caught up, before that is an alarm. Default: 300,000. */
  readonly startTimeoutMs?: number;
  /** A folder for the hard links, on the file system of the data. Default: `.zk-backyp` in dataDir and in dataLogDir. */
  readonly linkDir?: string;
  /** A folder, on a disk that survives a reboot, for the journal of the stop. Default: `.zk-backyp` in dataDir. */
  readonly stateDir?: string;
  /**
   * A file that is there when an operator wants the node to stay stopped. Then nothing of ours starts it. Default: the
   * file that BOSH writes, `/var/vcap/monit/stopped`.
   */
  readonly stayStoppedFile?: string;
  /**
   * The znode that keeps two members from being stopped at the same time. `path` defaults to `/zk-backyp-stop`; `auth` is
   * `user:password` of the scheme `digest`. `false`: none, where only one member ever has cold backups.
   */
  readonly lock?: { readonly path?: string; readonly auth?: string } | false;
}

/** Where BOSH's agent notes that an instance was stopped on purpose. */
export const BOSH_STOPPED_FILE = "/var/vcap/monit/stopped";

/** Options that have a value where none is given. */
export type ColdDefaults = Required<
  Pick<
    ColdOptions,
    "ifLeader" | "maxSkippedRuns" | "allowStandalone" | "stopTimeoutMs" | "startTimeoutMs" | "stayStoppedFile"
  >
>;

export const COLD_DEFAULTS: ColdDefaults = {
  ifLeader: "skip",
  maxSkippedRuns: 3,
  allowStandalone: false,
  stopTimeoutMs: 60_000,
  startTimeoutMs: 300_000,
  stayStoppedFile: BOSH_STOPPED_FILE,
};

const path = z.string().min(1, "is empty");
const timeoutMs = z.int().min(1_000, "is less than a second").max(86_400_000, "is more than a day");

/** What a caller's own control lacks, or null where it is none. */
function lackingIn(value: unknown): string[] | null {
  if (typeof value !== "object" || value === null || "use" in value) return null;
  const control = value as Partial<NodeControl>;
  const methods = (["stop", "start", "status", "close"] as const).filter((name) => typeof control[name] !== "function");
  const { name, startCommand } = control;
  const isCommand = startCommand === null || (Array.isArray(startCommand) && startCommand.length > 0);
  return [...methods, ...(typeof name === "string" ? [] : ["name"]), ...(isCommand ? [] : ["startCommand"])];
}

// Not a union: of what fits no part of one that says no more than "Invalid input".
export const controlSchema: z.ZodType<unknown> = z.unknown().superRefine((value, context) => {
  const lacking = lackingIn(value);
  if (lacking?.length === 0) return;
  // One of its methods says that it is meant to be one.
  const issues =
    lacking !== null && lacking.length <= 3
      ? lacking.map((name) => ({ path: [name], message: "is missing in this control" }))
      : (nodeControlSchema.safeParse(value).error?.issues ?? []);
  for (const { path, message } of issues) context.addIssue({ code: "custom", path: [...path], message });
});

export const coldSchema: z.ZodType<ColdOptions> = z.strictObject({
  control: controlSchema,
  ifLeader: z.union([z.enum(["skip", "proceed"]), z.strictObject({ handOver: z.array(path).min(1) })]).optional(),
  maxSkippedRuns: z.int().min(0).optional(),
  allowStandalone: z.boolean().optional(),
  members: z.array(memberAddressSchema).min(1).optional(),
  stopTimeoutMs: timeoutMs.optional(),
  startTimeoutMs: timeoutMs.optional(),
  linkDir: path.optional(),
  stateDir: path.optional(),
  stayStoppedFile: path.optional(),
  lock: z
    .union([
      z.literal(false),
      z.strictObject({
        path: z
          .string()
          .regex(/^(\/[^/]+)+$/, "is no znode path")
          .optional(),
        auth: z
          .string()
          .regex(/^[^:]+:.+$/, "is not user:password")
          .optional(),
      }),
    ])
    .optional(),
}) as z.ZodType<ColdOptions>;
