import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { accessSync, constants } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { delimiter, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { Client } from "minio";
import { freePorts } from "./free-port.ts";
import { spawnTethered, type TetheredProcess } from "./tethered-process.ts";

/** How to start a store. */
export interface CephRgwOptions {
  /** Everything lies in here: configuration, logs, the monitor's data. Created when missing; new for every store. */
  readonly directory: string;
  /** Port of the S3 endpoint; a free one if not given. */
  readonly port?: number;
  /** Serves TLS instead of plain HTTP. */
  readonly tls?: {
    /** Path of a PEM file that holds the server's key and its certificate. */
    readonly keyAndCertificateFile: string;
  };
  /** Lines added to the `[client.rgw]` section of `ceph.conf`. */
  readonly config?: readonly string[];
  /** How long it may take in milliseconds until the store answers. 60,000 if not given. */
  readonly timeoutMs?: number;
}

/** An S3 user of the store. */
export interface CephRgwUser {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A running store. Whoever started it stops it; it is killed when the starting process ends. */
export interface CephRgw extends CephRgwUser {
  /** `http://127.0.0.1:<port>`, or `https://` with TLS. */
  readonly endpoint: string;
  readonly port: number;
  /** Adds an S3 user, who has no buckets and no rights on those of others. `maxBytes` sets a quota on all it stores. */
  createUser(name: string, options?: { readonly maxBytes?: number }): Promise<CephRgwUser>;
  /** Makes a bucket of the first user. */
  createBucket(name: string): Promise<void>;
  /** Keys of all objects in a bucket, in order. */
  objects(bucket: string): Promise<string[]>;
  /** Keys of uploads by parts that were begun and neither completed nor aborted. */
  unfinishedUploads(bucket: string): Promise<string[]>;
  /** Ends all processes; resolves when they are gone. The objects are lost: they were in memory. */
  stop(): Promise<void>;
}

const COMMANDS = ["ceph-mon", "ceph-osd", "radosgw", "ceph", "monmaptool", "radosgw-admin"];
const APT_LINE = "apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common";
const START_ATTEMPTS = 3;

/** What is missing for starting a store, with the command that installs it; null when nothing is missing. */
export function cephRgwMissing(): string | null {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const missing = COMMANDS.filter((command) => !folders.some((folder) => isExecutable(join(folder, command))));
  return missing.length === 0 ? null : `${missing.join(", ")} not found: run \`${APT_LINE}\``;
}

/**
 * Starts Ceph's S3 gateway with a cluster of one monitor and one OSD that keeps its data in memory, all on loopback,
 * and resolves when it answers and its first user exists. Takes about 2 s and 150 MB.
 */
export async function startCephRgw(options: CephRgwOptions): Promise<CephRgw> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      // A directory of its own for each attempt: a half-made cluster is of no use.
      return await start({ ...options, directory: join(resolve(options.directory), `attempt-${attempt}`) });
    } catch (error) {
      // Another process may have taken a port between the choice and the start.
      if (attempt === START_ATTEMPTS) throw error;
    }
  }
}

async function start(options: CephRgwOptions): Promise<CephRgw> {
  const { directory, tls, timeoutMs = 60_000 } = options;
  const log = join(directory, "log");
  await mkdir(log, { recursive: true });
  await mkdir(join(directory, "run"));

  const [monPort = 0, freePort = 0] = await freePorts(2);
  const port = options.port ?? freePort;
  const endpoint = `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`;
  const fsid = randomUUID();
  const conf = join(directory, "ceph.conf");
  await writeFile(conf, configuration(options, fsid, monPort, port));

  const run = async (command: string, args: readonly string[]): Promise<void> => {
    await promisify(execFile)(command, [...args], { timeout: timeoutMs });
  };
  const admin = (args: readonly string[]): Promise<void> =>
    run("radosgw-admin", ["-c", conf, "-n", "client.rgw", ...args]);
  async function createUser(name: string, limits: { readonly maxBytes?: number } = {}): Promise<CephRgwUser> {
    const user = { accessKeyId: `key-of-${name}`, secretAccessKey: `secret-of-${name}-${randomUUID()}` };
    const keys = ["--access-key", user.accessKeyId, "--secret-key", user.secretAccessKey];
    await admin(["user", "create", "--uid", name, "--display-name", name, ...keys]);
    if (limits.maxBytes !== undefined) {
      await admin(["quota", "set", "--quota-scope=user", "--uid", name, `--max-size=${limits.maxBytes}`]);
      await admin(["quota", "enable", "--quota-scope=user", "--uid", name]);
    }
    return user;
  }

  const processes: TetheredProcess[] = [];
  const launch = (name: string, command: string, args: readonly string[]): TetheredProcess => {
    const child = spawnTethered(command, ["-c", conf, ...args, "-f"], { logFile: join(log, `${name}.out`) });
    processes.push(child);
    return child;
  };
  // Nothing has to be saved, so nobody has to be asked. Those that use others go first.
  const stop = async (): Promise<void> => {
    for (const child of [...processes].reverse()) await child.end("SIGKILL");
  };

  try {
    const monmap = join(directory, "monmap");
    await run("monmaptool", ["--create", "--fsid", fsid, "--addv", "a", `[v2:127.0.0.1:${monPort}]`, monmap]);
    await mkdir(join(directory, "mon.a"));
    await run("ceph-mon", ["-c", conf, "--mkfs", "-i", "a", "--monmap", monmap]);
    launch("mon", "ceph-mon", ["-i", "a"]);

    const osd = randomUUID();
    await mkdir(join(directory, "osd.0"));
    await Promise.all([
      run("ceph-osd", ["-c", conf, "-i", "0", "--mkfs", "--osd-uuid", osd]),
      run("ceph", ["-c", conf, "--connect-timeout", "30", "osd", "new", osd]),
    ]);
    launch("osd", "ceph-osd", ["-i", "0"]);
    const gateway = launch("rgw", "radosgw", ["-n", "client.rgw"]);
    const user = await createUser("tester");
    await untilAnswering(endpoint, gateway, timeoutMs);
    const client = new Client({
      endPoint: "127.0.0.1",
      port,
      useSSL: tls !== undefined,
      accessKey: user.accessKeyId,
      secretKey: user.secretAccessKey,
      region: "us-east-1",
    });
    const keysOf = async (items: AsyncIterable<{ name?: string; key?: string }>): Promise<string[]> => {
      const keys: string[] = [];
      for await (const { name, key } of items) keys.push(key ?? name ?? "");
      return keys;
    };
    return {
      endpoint,
      port,
      ...user,
      createUser,
      createBucket: (name) => client.makeBucket(name),
      objects: (bucket) => keysOf(client.listObjectsV2(bucket, "", true)),
      unfinishedUploads: (bucket) => keysOf(client.listIncompleteUploads(bucket, "", true)),
      stop,
    };
  } catch (cause) {
    await stop();
    const output = await readFile(join(log, "rgw.out"), "utf8").catch(() => "");
    throw new Error(`Ceph RGW did not start in ${directory}: ${String(cause)}\n${output.slice(-2000)}`, { cause });
  }
}

async function untilAnswering(endpoint: string, gateway: TetheredProcess, timeoutMs: number): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await answers(endpoint))) {
    if (gateway.exit !== undefined) throw new Error("radosgw ended by itself");
    if (Date.now() > deadline) throw new Error(`no answer from ${endpoint} within ${timeoutMs} ms`);
    await sleep(50);
  }
}

function answers(endpoint: string): Promise<boolean> {
  return new Promise((resolveAnswer) => {
    const done = (yes: boolean) => (): void => resolveAnswer(yes);
    // Whose certificate it is does not matter for being there.
    const options = { timeout: 2000, rejectUnauthorized: false };
    const call = endpoint.startsWith("https:") ? httpsRequest(endpoint, options) : httpRequest(endpoint, options);
    call.on("response", (response) => {
      response.resume();
      done(true)();
    });
    call.on("timeout", () => call.destroy());
    call.on("error", done(false));
    call.end();
  });
}

function configuration(options: CephRgwOptions, fsid: string, monPort: number, port: number): string {
  const { directory, tls, config = [] } = options;
  const listen =
    tls === undefined
      ? `endpoint=127.0.0.1:${port}`
      : `ssl_endpoint=127.0.0.1:${port} ssl_certificate=${resolve(tls.keyAndCertificateFile)}`;
  return `[global]
fsid = ${fsid}
mon_host = v2:127.0.0.1:${monPort}
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
ms_bind_msgr1 = false
# No authentication inside the cluster: needs no keyrings.
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = ${directory}/run
log_file = ${directory}/log/$name.log
admin_socket = ${directory}/run/$name.asok
pid_file = ${directory}/run/$name.pid
crash_dir = ${directory}/crash
# One copy on one OSD.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_max_pg_per_osd = 1000
mon_allow_pool_size_one = true
osd_memory_target = 939524096

[mon]
mon_data = ${directory}/mon.$id
mon_cluster_log_file = ${directory}/log/cluster.log
mon_data_avail_crit = 1
mon_data_avail_warn = 2
# Changes of the maps (OSD up, new pool) wait for up to 1 s each otherwise.
paxos_propose_interval = 0.05
paxos_min_wait = 0.02

[osd]
osd_data = ${directory}/osd.$id
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_max_pg_log_entries = 100
osd_min_pg_log_entries = 10
osd_op_queue = wpq

[client]
rgw_rados_pool_pg_num_min = 1
# A request sent before the OSD is up is sent again only at this tick, which is 5 s by default.
objecter_tick_interval = 0.3

[client.rgw]
rgw_frontends = beast ${listen}
rgw_data = ${directory}/rgw
# The gateway asks for cephx and an encrypted monitor unless both are undone, and then waits for ever.
auth_client_required = none
ms_mon_client_mode = crc
rgw_enable_usage_log = false
rgw_enable_ops_log = false
# Customer keys over plain HTTP, and quotas that count at once.
rgw_crypt_require_ssl = false
rgw_user_quota_bucket_sync_interval = 1
rgw_bucket_quota_ttl = 0
# What is deleted or replaced gives its memory back soon, not after two hours.
rgw_gc_obj_min_wait = 1
rgw_gc_processor_period = 5
rgw_gc_processor_max_time = 5
rgw_thread_pool_size = 64
${config.join("\n")}
`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
