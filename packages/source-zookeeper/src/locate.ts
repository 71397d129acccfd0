import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import { configuredMembership, isWildcard, readMyid } from "./ensemble/members.ts";
import { parseServerAddress, type ServerAddress } from "./ensemble/server-address.ts";
import type { ZooKeeperSourceOptions } from "./options.ts";
import { askDirectories, ifAllowed } from "./server-status.ts";
import { readZooCfg, type ZooCfg } from "./zoo-cfg.ts";

/** Where a server keeps its things. */
export interface Location {
  /** Holds `myid`, and `version-2` beside it. */
  readonly dataDir: string;
  /** The folder with `snapshot.*`, or null if there is none yet. */
  readonly snapshots: string | null;
  /** The folder with `log.*`: the same one where the server has no `dataLogDir`. Null if there is none yet. */
  readonly logs: string | null;
  readonly zooCfg: ZooCfg | null;
  readonly server: ServerAddress | null;
}

/**
 * Finds a server's directories: as given, else from its `zoo.cfg`, else by asking it.
 *
 * @throws BackypError `ERR_CONFIG_INVALID` when nothing says where they are
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE` when they are not there or cannot be read
 */
export async function locate(options: ZooKeeperSourceOptions, signal: AbortSignal): Promise<Location> {
  const zooCfg = options.zooCfg === undefined ? null : await readZooCfg(options.zooCfg);
  let dataDir = options.dataDir ?? zooCfg?.settings.get("dataDir");
  const server =
    options.server === undefined ? await addressFrom(zooCfg, dataDir, options) : parseServerAddress(options.server);
  let dataLogDir = options.dataLogDir ?? zooCfg?.settings.get("dataLogDir");
  if (zooCfg !== null) await requireSameServer(options, zooCfg);
  if (dataDir === undefined && zooCfg === null && server !== null) {
    ({ dataDir, dataLogDir } = await askDirectories(server, options, signal));
  }
  if (dataDir === undefined) {
    throw new BackypError(
      "ERR_CONFIG_INVALID",
      zooCfg === null
        ? "where is ZooKeeper's data? Give its dataDir, its zoo.cfg, or the server's address"
        : `${zooCfg.path} has no dataDir: is it ZooKeeper's configuration?`,
    );
  }
  const data = await openDataDirectory(dataDir);
  const log = dataLogDir === undefined ? data : await openDataDirectory(dataLogDir);
  if (data.version2 === null && log.version2 === null) {
    throw new BackypError(
      "ERR_SOURCE_UNAVAILABLE",
      `${data.directory} has no folder version-2: it is not ZooKeeper's dataDir, or no server has started on it yet`,
      { details: { path: data.directory } },
    );
  }
  return { dataDir: data.directory, snapshots: data.version2, logs: log.version2, zooCfg, server };
}

/** A `zoo.cfg` of another server would mix two servers' files. */
async function requireSameServer({ dataDir }: ZooKeeperSourceOptions, { path, settings }: ZooCfg): Promise<void> {
  const configured = settings.get("dataDir");
  if (dataDir === undefined || configured === undefined) return;
  const real = async (directory: string): Promise<string> => {
    const itself = resolve(directory).replace(/\/version-2$/, "");
    return realpath(itself).catch(() => itself);
  };
  if ((await real(dataDir)) === (await real(configured))) return;
  throw new BackypError(
    "ERR_CONFIG_INVALID",
    `${path} has dataDir=${configured}, but ${dataDir} is given: is it this server's zoo.cfg? Leave one of them out`,
  );
}

/** Where a server is asked that is known only by its `zoo.cfg`: on its plain client port, if it has one. */
export async function addressFrom(
  zooCfg: ZooCfg | null,
  dataDir: string | undefined,
  { tls }: ZooKeeperSourceOptions,
): Promise<ServerAddress | null> {
  if (zooCfg === null) return null;
  const { settings } = zooCfg;
  const at = (host: string | null | undefined, port: number): ServerAddress => ({
    host: host == null || isWildcard(host) ? "127.0.0.1" : host,
    port,
  });
  const portIn = (name: string): number | null => {
    const port = Number(settings.get(name));
    return Number.isInteger(port) && port > 0 && port < 65_536 ? port : null;
  };
  const clientPort = portIn("clientPort");
  if (clientPort !== null) return at(settings.get("clientPortAddress"), clientPort);
  // After a change of the ensemble at run time the port is in the dynamic file.
  if (dataDir !== undefined && settings.has("dynamicConfigFile")) {
    const [membership, id] = await Promise.all([
      ifAllowed(configuredMembership(zooCfg)),
      ifAllowed(readMyid(dataDir.replace(/\/version-2\/*$/, ""))),
    ]);
    const client = membership?.members.find((member) => member.id === id)?.client;
    if (client != null) return at(client.host, client.port);
  }
  const securePort = portIn("secureClientPort");
  if (tls === undefined || securePort === null) return null;
  return { scheme: "tls", ...at(settings.get("secureClientPortAddress"), securePort) };
}

/** A `dataDir` or `dataLogDir`, given itself or by its `version-2` folder. */
async function openDataDirectory(path: string): Promise<{ directory: string; version2: string | null }> {
  const given = resolve(path);
  const names = (await entriesIn(given)).map(({ name }) => name);
  if (basename(given) === "version-2") return { directory: dirname(given), version2: given };
  if (!names.includes("version-2")) return { directory: given, version2: null };
  const version2 = join(given, "version-2");
  await entriesIn(version2);
  return { directory: given, version2 };
}

/**
 * What is in a directory of the source.
 *
 * @throws BackypError `ERR_SOURCE_UNAVAILABLE`
 */
export async function entriesIn(directory: string): Promise<Dirent[]> {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (cause) {
    throw await unreadable(directory, cause);
  }
}

/** What it means that `path`, a part of the source, could not be read. */
export async function unreadable(path: string, cause: unknown): Promise<BackypError> {
  const code = systemErrorCode(cause);
  let why = (cause as Error).message;
  if (code === "ENOENT") why = "it does not exist; check the path";
  if (code === "ENOTDIR") why = "it is not a directory";
  if (code === "EACCES" || code === "EPERM") {
    const owner = await stat(path).then(
      ({ uid, gid }) => ` It belongs to uid ${uid}, gid ${gid}.`,
      () => "",
    );
    why = `no permission; run as ZooKeeper's user or as a member of its group.${owner}`;
  }
  return new BackypError("ERR_SOURCE_UNAVAILABLE", `cannot read ${path}: ${why}`, { cause, details: { path } });
}
