import { parseWith } from "@zk-backyp/core";
import { z } from "zod";

/** How to find and read a ZooKeeper server's files. */
export interface ZooKeeperSourceOptions {
  /** The server's `dataDir` (or its `version-2` folder). */
  readonly dataDir?: string;
  /** The server's `dataLogDir`, where it has its own. Default: `dataDir`. */
  readonly dataLogDir?: string;
  /** The server's `zoo.cfg`: tells the directories and the client port, and is kept in the archive. */
  readonly zooCfg?: string;
  /**
   * `host:port` of the server's plain client port. Tells the directories if nothing else does (needs `conf` in the
   * server's `4lw.commands.whitelist`), and how far the logs must reach. Default: from `zooCfg`, else none.
   */
  readonly server?: string;
}

const path = z.string().min(1, "is empty");

const schema: z.ZodType<ZooKeeperSourceOptions> = z
  .strictObject({
    dataDir: path,
    dataLogDir: path,
    zooCfg: path,
    server: z
      .string()
      .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:]+):\d{1,5}$/, "is not host:port")
      .refine((text) => Number(text.split(":").at(-1)) < 65_536, "has no such port"),
  })
  .partial()
  .refine(
    (options) => options.dataLogDir === undefined || options.dataDir !== undefined || options.zooCfg !== undefined,
    {
      message: "needs dataDir beside it",
      path: ["dataLogDir"],
    },
  ) as z.ZodType<ZooKeeperSourceOptions>;

/** @throws BackypError `ERR_CONFIG_INVALID` */
export function parseOptions(raw: unknown): ZooKeeperSourceOptions {
  return parseWith(schema, raw, "the ZooKeeper source's options");
}
