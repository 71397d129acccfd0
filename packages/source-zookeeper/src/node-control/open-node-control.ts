import { resolve } from "node:path";
import { z } from "zod";
import { openCommand } from "./command.ts";
import { openHelperControl } from "./helper.ts";
import { openMonit } from "./monit.ts";
import { monitCommand } from "./monit-command.ts";
import { monitHttp } from "./monit-http.ts";
import type { NodeControl } from "./node-control.ts";
import { findProgram } from "./run-command.ts";
import { openSystemd } from "./systemd.ts";

/** What stops and starts the node. Relative paths count from the folder that {@link openNodeControl} is given. */
export type NodeControlOptions =
  | {
      readonly use: "monit";
      /** The name in `check process NAME`. */
      readonly service: string;
      /** The command line and what stands before the action: `["monit", "-c", "monitrc"]`. Default: `["monit"]`. */
      readonly command?: readonly string[];
      /** Asks monit's HTTP interface instead: `http://127.0.0.1:2822`. */
      readonly url?: string;
      /** A file whose first line is `user:password`, for `url`. */
      readonly credentialsFile?: string;
    }
  | {
      readonly use: "systemd";
      /** The unit's name: `zookeeper.service`. */
      readonly unit: string;
      /** Whether it is a unit of the user's own manager, as in `systemctl --user`. Default: false. */
      readonly user?: boolean;
    }
  | {
      readonly use: "command";
      /** Starts the node and returns. Takes the node's output off its own: what is still written to it then is lost. */
      readonly start: readonly string[];
      /** Stops the node and returns when it is gone. */
      readonly stop: readonly string[];
      /** Tells by its exit code whether the process is there: 0 it runs, 1 and 2 it is dead, 3 it does not run. */
      readonly status: readonly string[];
      /** A file that holds the pid. As long as that process lives, the node is not taken for stopped. */
      readonly pidFile?: string;
      /** How long `start` and `stop` may take each, in milliseconds. Default: 120,000. */
      readonly timeoutMs?: number;
    }
  | {
      readonly use: "helper";
      /** The unix socket of the helper that runs as root. */
      readonly socket: string;
    };

const path = z.string().min(1, "is empty");

// An argument that is empty, or has a NUL in it, reaches no program as it was meant.
const argument = z.string().refine((text) => !text.includes("\0"), "holds a NUL");
const argv = z.tuple([argument.min(1, "is empty")], argument);

// `all` is all services on the command line; a name with `-` in front is an option there, one with `_` a page over HTTP.
const service = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.:@+-]*$/, "is no name of a service")
  .refine((name) => name.toLowerCase() !== "all", "would be all services");

const url = z.url({ protocol: /^https?$/, error: "is no http:// or https:// address" }).refine((text) => {
  if (!URL.canParse(text)) return false;
  const { username, password, search, hash } = new URL(text);
  return `${username}${password}${search}${hash}` === "";
}, "has a user, a password or a query; credentialsFile holds user and password");

// Neither an option nor a pattern.
const unit = z.string().regex(/^[A-Za-z0-9_:.@\\][A-Za-z0-9_:.@\\-]*$/, "is no name of a unit");

/** Checks {@link NodeControlOptions}. */
export const nodeControlSchema: z.ZodType<NodeControlOptions> = z.discriminatedUnion("use", [
  z
    .strictObject({
      use: z.literal("monit"),
      service,
      command: argv.optional(),
      url: url.optional(),
      credentialsFile: path.optional(),
    })
    .refine((options) => options.url === undefined || options.command === undefined, {
      message: "and command exclude each other",
      path: ["url"],
    })
    .refine((options) => options.credentialsFile === undefined || options.url !== undefined, {
      message: "needs url beside it",
      path: ["credentialsFile"],
    }),
  z.strictObject({ use: z.literal("systemd"), unit, user: z.boolean().optional() }),
  z.strictObject({
    use: z.literal("command"),
    start: argv,
    stop: argv,
    status: argv,
    pidFile: path.optional(),
    timeoutMs: z.int().min(1_000, "is less than a second").max(3_600_000, "is more than an hour").optional(),
  }),
  z.strictObject({ use: z.literal("helper"), socket: path }),
]) as z.ZodType<NodeControlOptions>;

/**
 * Opens the control of a node. Asks nothing yet.
 *
 * @param options checked with {@link nodeControlSchema}
 * @param folder relative paths in the options count from here
 * @throws BackypError `ERR_CONFIG_INVALID` when a program that it needs is not there
 */
export function openNodeControl(options: NodeControlOptions, folder: string): NodeControl {
  const program = ([name = "", ...args]: readonly string[]): string[] => [findProgram(name, folder), ...args];
  switch (options.use) {
    case "monit": {
      const { service: name, url: address, credentialsFile, command = ["monit"] } = options;
      if (address === undefined) return openMonit(monitCommand(program(command), name), name);
      const file = credentialsFile === undefined ? undefined : resolve(folder, credentialsFile);
      return openMonit(monitHttp({ url: address, service: name, credentialsFile: file }), name);
    }
    case "systemd":
      return openSystemd(program(options.user === true ? ["systemctl", "--user"] : ["systemctl"]), options.unit);
    case "command": {
      const { pidFile, timeoutMs = 120_000 } = options;
      return openCommand({
        start: program(options.start),
        stop: program(options.stop),
        status: program(options.status),
        pidFile: pidFile === undefined ? undefined : resolve(folder, pidFile),
        timeoutMs,
      });
    }
    case "helper":
      return openHelperControl({ socket: resolve(folder, options.socket) });
  }
}
