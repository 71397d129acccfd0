import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { BackypError, systemErrorCode } from "@zk-backyp/core";
import { parseServerAddress, type ServerAddress } from "./four-letter-word.ts";
import type { ZooKeeperSourceOptions } from "./options.ts";
import { askDirectories } from "./server-status.ts";
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
  const server = options.server === undefined ? addressFrom(zooCfg) : parseServerAddress(options.server);
  let dataDir = options.dataDir ?? zooCfg?.settings.get("dataDir");
  let dataLogDir = options.dataLogDir ?? zooCfg?.settings.get("dataLogDir");
  if (zooCfg !== null) await requireSameServer(options, zooCfg);
  if (dataDir === undefined && zooCfg === null && server !== null) {
    ({ dataDir, dataLogDir } = await askDirectories(server, signal));
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

function addressFrom(zooCfg: ZooCfg | null): ServerAddress | null {
  const port = Number(zooCfg?.settings.get("clientPort"));
  if (!Number.isInteger(port) || port < 1) return null;
  const host = zooCfg?.settings.get("clientPortAddress") ?? "127.0.0.1";
  return { host: host === "0.0.0.0" ? "127.0.0.1" : host, port };
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
