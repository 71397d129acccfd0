import { spawn, spawnSync } from "node:child_process";
import { copyFile, mkdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { spawnTethered, type TetheredProcess } from "@zk-backyp/testbed";

/** What a program said, and its exit code: 137 after a signal. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a program is run on a machine: with this environment alone, and this on its stdin. */
interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** A machine as a stemcell makes it, in namespaces of this one. */
export interface Machine extends AsyncDisposable {
  readonly name: string;
  readonly ip: string;
  /** Where `/var/vcap/store`, `data`, `monit` and the like lie, as seen from here. */
  readonly vcap: string;
  /** Runs a program there, as root. Its PATH is that of the agent, unless `env` has another. */
  run(argv: readonly string[], options?: RunOptions): Promise<Ended>;
  /** Pulls the plug: every process is gone at once, and so is all that lay in memory. The disks stay. */
  powerOff(): Promise<void>;
  /** Boots it, with the disks as they are, and starts monit if it was there. */
  boot(): Promise<void>;
}

/** What a machine is made from. */
interface MachineOptions {
  readonly name: string;
  /** The last part of its address, `10.77.0.<number>`: 2 to 254. */
  readonly number: number;
  /** A folder with the compiled packages: `/var/vcap/data/packages`, read-only. */
  readonly packages: string;
  /** Folders of this machine that are seen there too, at the same place. It sees no Java, no Node and no `/tmp` else. */
  readonly sees?: readonly string[];
}

/** Some machines with a network of their own. */
export interface Network extends AsyncDisposable {
  /** Address of a service on the host's loopback, as the machines reach it. */
  readonly gateway: string;
  /** While it is stalled connections are made, and nothing passes: a store that hangs. */
  stallService(stalled: boolean): void;
  /** Makes a machine and boots it. */
  machine(options: MachineOptions): Promise<Machine>;
}

/** As the agent has it for all scripts. */
export const AGENT_PATH = "/usr/sbin:/usr/bin:/sbin:/bin";
const FORWARDER = fileURLToPath(new URL("forward-to-socket.ts", import.meta.url));
const SUBNET = "10.77.0";
const TOOLS = ["unshare", "nsenter", "ip", "monit", "start-stop-daemon", "setpriv"];
// What the machine that runs the tests has, and a stemcell has not.
const HIDDEN = [
  "/usr/lib/jvm",
  "/usr/share/java",
  "/usr/share/zookeeper",
  "/etc/java-17-openjdk",
  "/usr/local",
  "/opt",
  "/root",
];

/** What is missing to have such machines, or null. */
export function machinesMissing(): string | null {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "machines in namespaces need root on Linux";
  const missing = TOOLS.filter((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0);
  if (missing.length > 0) {
    return `${missing.join(", ")} missing: apt-get install monit iproute2 util-linux dpkg`;
  }
  const { status, stderr } = spawnSync("unshare", ["--mount", "--net", "--pid", "--fork", "true"], {
    encoding: "utf8",
  });
  return status === 0 ? null : `no namespaces here: ${stderr.trim()}`;
}

/**
 * A network of machines in `directory`, which is made. They reach each other, and nothing else but one port of the host's
 * loopback, at the gateway's address. All of it is gone when this process ends.
 */
export async function startNetwork(directory: string, service: { readonly port: number }): Promise<Network> {
  await mkdir(directory, { recursive: true });
  const socket = join(directory, "service.sock");
  const forwarder = await forwardTo(service.port, socket);
  // Its network namespace is the switch that all machines are plugged into.
  const hub = spawnTethered(
    "unshare",
    ["--net", "--", process.execPath, FORWARDER, `${SUBNET}.1`, String(service.port), socket],
    {
      logFile: join(directory, "hub.log"),
    },
  );
  const machines: Machine[] = [];
  const dispose = async (): Promise<void> => {
    await Promise.all(machines.map((machine) => machine[Symbol.asyncDispose]()));
    await hub.end("SIGKILL");
    forwarder.close();
  };
  try {
    const own = await readlink("/proc/self/ns/net");
    await waitFor("the switch", async () => (await readlink(`/proc/${hub.pid}/ns/net`)) !== own);
    await inNetworkOf(hub, "ip link set lo up && ip link add br0 type bridge && ip link set br0 up");
    await inNetworkOf(hub, `ip addr add ${SUBNET}.1/24 dev br0`);
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    gateway: `${SUBNET}.1`,
    stallService: forwarder.stall,
    async machine(options) {
      const machine = await makeMachine({ ...options, directory: join(directory, options.name), hub });
      machines.push(machine);
      return machine;
    },
    [Symbol.asyncDispose]: dispose,
  };
}

interface Plan extends MachineOptions {
  readonly directory: string;
  readonly hub: TetheredProcess;
}

async function makeMachine(plan: Plan): Promise<Machine> {
  const { name, number, directory, hub } = plan;
  const vcap = join(directory, "vcap");
  const ip = `${SUBNET}.${number}`;
  for (const folder of [
    "store",
    "data/jobs",
    "data/packages",
    "data/sys/log",
    "data/tmp",
    "jobs",
    "packages",
    "monit/job",
    "bosh/bin",
    "bosh/etc",
  ]) {
    await mkdir(join(vcap, folder), { recursive: true });
  }
  await symlink("data/sys", join(vcap, "sys"));
  await writeFile(join(vcap, "monit/monit.user"), "vcap:random-password", { mode: 0o600 });
  await writeFile(join(vcap, "bosh/etc/monitrc"), MONITRC, { mode: 0o700 });
  await writeFile(join(vcap, "bosh/bin/monit"), MONIT, { mode: 0o755 });
  await copyFile(MONIT_PROGRAM, join(vcap, "bosh/bin/monit-actual"));
  // It does not start without a file to include.
  await writeFile(join(vcap, "monit/empty.monitrc"), "");
  await writeFile(join(directory, "init"), init(plan, ip));

  let first = 0;
  let inside: TetheredProcess | null = null;
  const run = (argv: readonly string[], { env = {}, input = "" }: RunOptions = {}): Promise<Ended> => {
    const variables = Object.entries({ PATH: AGENT_PATH, ...env }).map(([key, value]) => `${key}=${value}`);
    const enter = ["--target", String(first), "--mount", "--net", "--pid", "--uts", "--ipc", "--wd=/", "--"];
    return spawned("nsenter", [...enter, "env", "-i", ...variables, ...argv], input);
  };
  const powerOff = async (): Promise<void> => {
    await inside?.end("SIGKILL");
    inside = null;
  };
  const boot = async (): Promise<void> => {
    const unshare = spawnTethered(
      "unshare",
      ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--", "bash", join(directory, "init")],
      { logFile: join(directory, "console.log"), env: { PATH: AGENT_PATH } },
    );
    inside = unshare;
    first = await waitFor(`the first process of ${name}`, async () => {
      if (unshare.exit !== undefined) throw new Error(`${name} did not boot: ${await consoleOf(directory)}`);
      return Number(await readFile(`/proc/${unshare.pid}/task/${unshare.pid}/children`, "utf8").catch(() => "0"));
    });
    const plug = `zk${number}`;
    const peer = `type veth peer name eth0 netns ${first}`;
    // The one that it had before it was switched off goes a moment later.
    await waitFor("the old plug to go", async () => (await runIn(hub, `ip link show ${plug}`)).code !== 0);
    await inNetworkOf(hub, `ip link add ${plug} ${peer} && ip link set ${plug} master br0 up`);
    await waitFor(`${name} to boot`, async () => {
      if (unshare.exit !== undefined) throw new Error(`${name} did not boot: ${await consoleOf(directory)}`);
      return (await run(["test", "-e", "/run/booted"])).code === 0;
    });
  };
  await boot();
  return {
    name,
    ip,
    vcap,
    run,
    powerOff,
    boot,
    async [Symbol.asyncDispose]() {
      await powerOff();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const MONITRC = `set daemon 5
set logfile /var/vcap/monit/monit.log
set pidfile /run/monit.pid
set idfile /var/vcap/monit/id
set statefile /var/vcap/monit/state
set httpd port 2822 and use address 127.0.0.1
  allow localhost
  allow cleartext /var/vcap/monit/monit.user
include /var/vcap/monit/*.monitrc
include /var/vcap/monit/job/*.monitrc
`;

// As on a stemcell, a wrapper of the program.
const MONIT = `#!/bin/sh
exec /var/vcap/bosh/bin/monit-actual -c /var/vcap/bosh/etc/monitrc "$@"
`;
// Debian's 5.33 if no other one is given: stemcells have 5.2.5.
const MONIT_PROGRAM = process.env.MONIT ?? "/usr/bin/monit";

/** The machine's first process: mounts what a stemcell has, waits for its network, and adopts what others leave. */
function init({ name, directory, packages, sees = [] }: Plan, ip: string): string {
  const kept = sees.map((_, index) => `/srv/seen-${index}`);
  const keep = sees
    .map((folder, index) => `mkdir -p ${kept[index]}; mount --bind '${folder}' ${kept[index]}`)
    .join("\n");
  const show = sees.map((folder, index) => `mkdir -p '${folder}'; mount --move ${kept[index]} '${folder}'`).join("\n");
  const hidden = HIDDEN.map((folder) => `if [ -d ${folder} ]; then mount -t tmpfs tmpfs ${folder}; fi`).join("\n");
  return `set -eu
mount --make-rprivate /
hostname ${name}
for file in passwd group; do grep -Ev '^vcap:|^[^:]*:[^:]*:1000:' /etc/$file > '${directory}'/$file; done
echo 'vcap:x:1000:1000::/home/vcap:/bin/bash' >> '${directory}/passwd'
echo 'vcap:x:1000:' >> '${directory}/group'
printf '127.0.0.1 localhost\\n${ip} ${name}\\n' > '${directory}/hosts'
mount --bind '${directory}/passwd' /etc/passwd
mount --bind '${directory}/group' /etc/group
mount --bind '${directory}/hosts' /etc/hosts
mount -t proc proc /proc
# All that is to be seen is held here while what lies above it goes.
mount -t tmpfs tmpfs /srv
mkdir /srv/vcap
mount --bind '${directory}/vcap' /srv/vcap
${keep}
mount --bind '${packages}' /srv/vcap/data/packages
mount -o remount,bind,ro /srv/vcap/data/packages
# Of /var there is what a stemcell has, and the disks.
mount -t tmpfs tmpfs /var
mkdir -p /var/vcap /var/tmp /var/log /var/lib /var/cache
mount --move /srv/vcap /var/vcap
mount --bind /var/vcap/store /var/vcap/store
mkdir -p /var/vcap/data/sys/run
mount -t tmpfs -o size=16m tmpfs /var/vcap/data/sys/run
mount -t tmpfs tmpfs /run
# Whatever lived before is known to be dead after a boot.
cat /proc/sys/kernel/random/uuid > /run/boot_id
mount --bind /run/boot_id /proc/sys/kernel/random/boot_id
mount -t tmpfs -o size=128m,mode=1777 tmpfs /tmp
ln -s /run /var/run
${hidden}
${show}
chown root:vcap /var/vcap/data /var/vcap/store
ip link set lo up
for i in $(seq 200); do ip link show eth0 > /dev/null 2>&1 && break; sleep 0.05; done
ip addr add ${ip}/24 dev eth0
ip link set eth0 up
touch /run/booted
if [ -e /var/vcap/monit/id ]; then /var/vcap/bosh/bin/monit; fi
trap : TERM
while :; do sleep 3600 & wait $! || true; done
`;
}

async function consoleOf(directory: string): Promise<string> {
  return (await readFile(join(directory, "console.log"), "utf8").catch(() => "")).trim();
}

/** Waits up to 30 s until something is neither false nor 0. */
async function waitFor<T>(what: string, ask: () => Promise<T | false | 0>): Promise<T> {
  for (let tries = 0; tries < 600; tries += 1) {
    const answer = await ask();
    if (answer !== false && answer !== 0) return answer;
    await sleep(50);
  }
  throw new Error(`waited in vain for ${what}`);
}

async function inNetworkOf(hub: TetheredProcess, command: string): Promise<void> {
  const { code, stderr } = await runIn(hub, command);
  if (code !== 0) throw new Error(`${command}: ${stderr.trim()}`);
}

function runIn(hub: TetheredProcess, command: string): Promise<Ended> {
  return spawned("nsenter", ["--target", String(hub.pid), "--net", "sh", "-c", command], "");
}

/** Runs a program to its end. Asynchronous, since this process serves the machines meanwhile. */
function spawned(command: string, args: readonly string[], input: string): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    const said = { stdout: "", stderr: "" };
    for (const stream of ["stdout", "stderr"] as const) {
      child[stream].setEncoding("utf8").on("data", (chunk: string) => {
        said[stream] += chunk;
      });
    }
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    child.on("error", reject);
    // A server that a script has started may hold its output open for ever.
    const ended = (code: number | null): void => resolve({ code: code ?? 137, ...said });
    child.on("close", ended);
    child.on("exit", (code) => setTimeout(ended, 1000, code).unref());
  });
}

interface Forwarder {
  stall(stalled: boolean): void;
  close(): void;
}

/** A unix socket that leads to a port of the loopback: it can be reached from every network namespace. */
async function forwardTo(port: number, path: string): Promise<Forwarder> {
  const sockets = new Set<Socket>();
  let isStalled = false;
  const server = createServer((client) => {
    const service = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [client, service],
      [service, client],
    ] as const) {
      sockets.add(from);
      from.on("data", (bytes) => {
        if (!to.write(bytes)) from.pause();
      });
      to.on("drain", () => isStalled || from.resume());
      from.on("end", () => to.end());
      from.on("error", () => to.destroy());
      from.on("close", () => sockets.delete(from));
      if (isStalled) from.pause();
    }
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(path, resolve));
  server.unref();
  return {
    stall(stalled) {
      isStalled = stalled;
      for (const socket of sockets) stalled ? socket.pause() : socket.resume();
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
