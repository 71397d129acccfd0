import { parseWith } from "@zk-backyp/core";
import { z } from "zod";
import { type ColdOptions, coldSchema } from "./cold/cold-options.ts";
import { serverAddressSchema } from "./ensemble/server-address.ts";
import { type TlsFiles, tlsFilesSchema } from "./ensemble/tls-files.ts";

/** How to find and read a ZooKeeper server's files. */
export interface ZooKeeperSourceOptions {
  /** The server's `dataDir` (or its `version-2` folder). */
  readonly dataDir?: string;
  /** The server's `dataLogDir`, where it has its own. Default: `dataDir`. */
  readonly dataLogDir?: string;
  /** The server's `zoo.cfg`: tells the directories and the client port, and is kept in the archive. */
  readonly zooCfg?: string;
  /**
   * Where the server is asked: `host:port` (plain client port), `tls://host:port` (`secureClientPort`),
   * `http://host:port` or `https://host:port` (AdminServer, 3.5 and later). Tells the directories if nothing else does (on
   * a client port that needs `conf` in the server's `4lw.commands.whitelist`), and how far the logs must reach. Default:
   * from `zooCfg`, else none.
   */
  readonly server?: string;
  /** Certificates for a `server` with `tls:` or `https:`. */
  readonly tls?: TlsFiles;
  /**
   * `hot` (default): the server is left alone. `cold`: it is stopped while its files are linked, and started again; see
   * {@link ColdOptions}. Only `cold` needs `cold`, `dataDir` or `zooCfg`, and `server` or `zooCfg`.
   */
  readonly mode?: "hot" | "cold";
  /** How, and when not, the node is stopped with `mode: "cold"`. */
  readonly cold?: ColdOptions;
}

const path = z.string().min(1, "is empty");

const schema: z.ZodType<ZooKeeperSourceOptions> = z
  .strictObject({
    dataDir: path,
    dataLogDir: path,
    zooCfg: path,
    server: serverAddressSchema,
    tls: tlsFilesSchema,
    mode: z.enum(["hot", "cold"]),
    cold: coldSchema,
  })
  .partial()
  .refine(
    (options) => options.dataLogDir === undefined || options.dataDir !== undefined || options.zooCfg !== undefined,
    {
      message: "needs dataDir beside it",
      path: ["dataLogDir"],
    },
  )
  .refine(({ mode, cold }) => mode !== "cold" || cold !== undefined, {
    message: "needs cold.control: what stops and starts the node",
    path: ["mode"],
  })
  .refine(({ mode, server, zooCfg }) => mode !== "cold" || server !== undefined || zooCfg !== undefined, {
    message: "needs server or zooCfg: where the node is asked before it is stopped and after it was started",
    path: ["mode"],
  })
  .refine(({ mode, dataDir, zooCfg }) => mode !== "cold" || dataDir !== undefined || zooCfg !== undefined, {
    message: "needs dataDir or zooCfg: a server that is down cannot say where its data is",
    path: ["mode"],
  }) as z.ZodType<ZooKeeperSourceOptions>;

/** @throws BackypError `ERR_CONFIG_INVALID` */
export function parseOptions(raw: unknown): ZooKeeperSourceOptions {
  return parseWith(schema, raw, "the ZooKeeper source's options");
}
