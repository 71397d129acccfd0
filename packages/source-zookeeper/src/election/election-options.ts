import { z } from "zod";
import { serverAddressSchema } from "../ensemble/server-address.ts";
import type { SessionAuth } from "../session/session.ts";

/** How nodes agree, through ZooKeeper itself, which one of them does a job. */
export interface ElectionOptions {
  /** The znode below which each election has its own; made where it is missing. The same on all nodes. Default: `/zk-backyp`. */
  readonly path?: string;
  /** Who creates and may delete the znodes, the same on all nodes. Everybody may read them. Default: everybody may all. */
  readonly auth?: SessionAuth;
  /**
   * How long a node that has died stays elected: what is asked of the server, which makes it 2 to 20 of its ticks. From a
   * second to ten minutes. Default: 30,000.
   */
  readonly sessionTimeoutMs?: number;
  /**
   * Client ports of members, `host:port` or `tls://host:port`, to be used beside that of the own server. Default: those of
   * the members in `zoo.cfg`.
   */
  readonly members?: readonly string[];
}

export const ELECTION_DEFAULTS: Required<Pick<ElectionOptions, "path" | "sessionTimeoutMs">> = {
  path: "/zk-backyp",
  sessionTimeoutMs: 30_000,
};

// What ZooKeeper takes for a path, as far as anybody types one.
const ZNODE_PATH = /^(\/(?!\.{1,2}(\/|$))[^/\p{Cc}]+)+$/u;

// An AdminServer has no sessions.
const clientPort = z
  .string()
  .refine(
    (text) => serverAddressSchema.safeParse(text).success && !/^https?:/.test(text),
    "is no client port, host:port or tls://host:port",
  );

export const electionSchema: z.ZodType<ElectionOptions> = z
  .strictObject({
    path: z.string().regex(ZNODE_PATH, "is no znode path such as /zk-backyp"),
    auth: z.strictObject({
      scheme: z.literal("digest"),
      credential: z.string().regex(/^[^:]+:.+$/, "is not user:password"),
    }),
    sessionTimeoutMs: z.int().min(1_000, "is less than a second").max(600_000, "is more than ten minutes"),
    members: z.array(clientPort).min(1, "is empty"),
  })
  .partial() as z.ZodType<ElectionOptions>;
