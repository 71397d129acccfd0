import { type JsonObject, parseWith } from "@zk-backyp/core";
import { z } from "zod";
import { type ColdOptions, coldSchema, controlSchema } from "./cold/cold-options.ts";
import { type ElectionOptions, electionSchema } from "./election/election-options.ts";
import { serverAddressSchema } from "./ensemble/server-address.ts";
import { type TlsFiles, tlsFilesSchema } from "./ensemble/tls-files.ts";
import { nodeControlSchema } from "./node-control/open-node-control.ts";

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
  /** How nodes agree which of them does a job. Needs `server`, `zooCfg` or its own `members` beside it. */
  readonly election?: ElectionOptions;
}

const path = z.string().min(1, "is empty");

const schema: z.ZodType<ZooKeeperSourceOptions> = z
  .strictObject({
    dataDir: path.meta({ description: "The server's dataDir.", examples: ["/var/lib/zookeeper"] }),
    dataLogDir: path.meta({
      description: "The server's dataLogDir, where it has its own. Default: dataDir.",
      examples: ["/var/lib/zookeeper-log"],
    }),
    zooCfg: path.meta({
      description: "The server's zoo.cfg: tells directories and port, and is kept with the backup.",
      examples: ["/etc/zookeeper/conf/zoo.cfg"],
    }),
    server: serverAddressSchema.meta({
      description:
        "Where the server is asked: host:port, tls://host:port, or its AdminServer as http://host:port or https://host:port.",
      examples: ["127.0.0.1:2181"],
    }),
    tls: tlsFilesSchema.meta({
      description: "Certificates for a server with tls: or https:.",
      examples: [{ caFile: "/etc/zookeeper/ca.pem" }],
    }),
    mode: z.enum(["hot", "cold"]).meta({ description: "hot leaves the server alone, cold stops it. Default: hot." }),
    cold: coldSchema.meta({
      description: "How, and when not, the server is stopped with mode cold; see docs/cold-mode.md.",
      examples: [{ control: { use: "systemd", unit: "zookeeper.service" } }],
    }),
    election: electionSchema.meta({
      description: "How nodes agree, through ZooKeeper, which of them does a job. The same on all nodes.",
      examples: [{ path: "/zk-backyp", auth: { scheme: "digest", credential: "backup:secret" } }],
    }),
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

/** JSON Schema of the options as they are written in a configuration. */
export function optionsJsonSchema(): JsonObject {
  return z.toJSONSchema(schema, {
    io: "input",
    unrepresentable: "any",
    override({ zodSchema, jsonSchema }) {
      if ((zodSchema as unknown) !== controlSchema) return;
      const { $schema: _, ...control } = z.toJSONSchema(nodeControlSchema, { io: "input" });
      Object.assign(jsonSchema, control);
    },
  }) as JsonObject;
}
