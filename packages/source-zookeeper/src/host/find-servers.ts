import { readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { isBackypError, systemErrorCode } from "@zk-backyp/core";
import { configuredMembership } from "../ensemble/members.ts";
import { readZooCfg } from "../zoo-cfg.ts";
import { type FoundSupervisor, monitService, systemdUnitOf } from "./supervisor.ts";

/** A ZooKeeper server that was found on this host, running or only configured. */
export interface FoundServer {
  /** Of its process, or null if none runs. */
  readonly pid: number | null;
  /** The user that it runs as. */
  readonly uid: number | null;
  /** Its configuration file, or null if it was started without one. */
  readonly zooCfg: string | null;
  readonly dataDir: string | null;
  readonly dataLogDir: string | null;
  readonly clientPort: number | null;
  /** How many servers its configuration names; 0 where it is standalone. */
  readonly members: number;
  readonly supervisor: FoundSupervisor | null;
  /** Why not all could be found out, or null. */
  readonly problem: string | null;
}

/** Where to look. */
export interface HostOptions {
  readonly signal: AbortSignal;
  /** Default: `/proc`. */
  readonly proc?: string;
  /** Configuration files to look for besides those of processes. Default: the usual ones. */
  readonly places?: readonly string[];
}

const PLACES = [
  "/etc/zookeeper/conf/zoo.cfg",
  "/etc/zookeeper/zoo.cfg",
  "/opt/zookeeper/conf/zoo.cfg",
  "/usr/share/zookeeper/conf/zoo.cfg",
  "/usr/local/etc/zookeeper/zoo.cfg",
  "/var/vcap/jobs/zookeeper/config/zoo.cfg",
  "/opt/kafka/config/zookeeper.properties",
  "/etc/kafka/zookeeper.properties",
];

const MAIN = /^org\.apache\.zookeeper\.server\.(quorum\.QuorumPeerMain|ZooKeeperServerMain)$/;

/**
 * Looks for ZooKeeper servers on this host: first those that run, by their command lines, then what is configured in the
 * usual places and does not run. Reads only.
 */
export async function findServers({ signal, proc = "/proc", places = PLACES }: HostOptions): Promise<FoundServer[]> {
  const running = await runningServers(proc);
  const known = new Set(running.map(({ zooCfg }) => zooCfg));
  const configured: FoundServer[] = [];
  for (const place of places) {
    const zooCfg = await realpath(place).catch(() => null);
    if (zooCfg === null || known.has(zooCfg)) continue;
    known.add(zooCfg);
    const described = await describe(zooCfg);
    // A file that came with a package, whose server was never started, is no server.
    const isUsed = described.dataDir !== null && (await isThere(join(described.dataDir, "version-2")));
    if (isUsed) configured.push({ pid: null, uid: null, supervisor: null, ...described });
  }
  const servers = [...running, ...configured];
  // Monit does not tell which of several is which.
  const [only, ...more] = servers;
  if (only === undefined || more.length > 0 || only.supervisor !== null) return servers;
  return [{ ...only, supervisor: await monitService(signal) }];
}

/** The servers that run here, by the command lines of processes. */
export async function runningServers(proc: string): Promise<FoundServer[]> {
  const running: FoundServer[] = [];
  for (const pid of (await readdir(proc)).filter((name) => /^\d+$/.test(name)).map(Number)) {
    const found = await serverOf(pid, proc);
    if (found !== null) running.push(found);
  }
  return running;
}

/** The server that a process is, or null. */
async function serverOf(pid: number, proc: string): Promise<FoundServer | null> {
  const own = join(proc, String(pid));
  try {
    const args = (await readFile(join(own, "cmdline"), "utf8")).split("\0").slice(0, -1);
    const main = args.findIndex((argument) => MAIN.test(argument));
    if (main < 0) return null;
    const { uid } = await stat(own);
    const supervisor = await systemdUnitOf(pid, proc);
    const [first = "", second] = args.slice(main + 1);
    // port, dataDir, tickTime, maxClientCnxns
    if (/^\d+$/.test(first) && second !== undefined) {
      const dataDir = resolve(await folderOf(own), second);
      return {
        pid,
        uid,
        zooCfg: null,
        dataDir,
        dataLogDir: null,
        clientPort: Number(first),
        members: 0,
        supervisor,
        problem: null,
      };
    }
    const given = resolve(await folderOf(own), first);
    const zooCfg = await realpath(given).catch(() => given);
    return { pid, uid, supervisor, ...(await describe(zooCfg)) };
  } catch (error) {
    // Gone meanwhile, or another user's whose folder is not told.
    if (["ENOENT", "ESRCH", "EACCES"].includes(systemErrorCode(error) ?? "")) return null;
    throw error;
  }
}

/** A process's working directory; `/` where it is not told to us. */
async function folderOf(own: string): Promise<string> {
  return readlink(join(own, "cwd")).catch(() => "/");
}

type Described = Pick<FoundServer, "zooCfg" | "dataDir" | "dataLogDir" | "clientPort" | "members" | "problem">;

/** What a configuration file says. */
async function describe(zooCfg: string): Promise<Described> {
  const nothing = { zooCfg, dataDir: null, dataLogDir: null, clientPort: null, members: 0 };
  try {
    const config = await readZooCfg(zooCfg);
    const { settings } = config;
    const membership = await configuredMembership(config);
    const port = Number(
      settings.get("clientPort") ?? membership?.members.find(({ client }) => client !== null)?.client?.port,
    );
    return {
      zooCfg,
      dataDir: settings.get("dataDir") ?? null,
      dataLogDir: settings.get("dataLogDir") ?? null,
      clientPort: Number.isNaN(port) ? null : port,
      members: membership?.members.length ?? 0,
      problem: settings.has("dataDir") ? null : `${zooCfg} has no dataDir`,
    };
  } catch (error) {
    if (!isBackypError(error)) throw error;
    return { ...nothing, problem: error.message };
  }
}

function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
