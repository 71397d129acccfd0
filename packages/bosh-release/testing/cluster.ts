import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent } from "./agent.ts";
import { type Deployment, type Instance, planDeployment } from "./director.ts";
import { type Ended, type Machine, type Network, startNetwork } from "./stemcell.ts";

/** A deployed instance: its machine, and the agent on it. */
export interface Node {
  readonly instance: Instance;
  readonly machine: Machine;
  readonly agent: Agent;
}

/** What `srvr` says of a member. */
export interface Member {
  readonly mode: "leader" | "follower" | "standalone";
  readonly zxid: bigint;
  readonly nodeCount: number;
}

const FIRST_NUMBER = 11;
const CLI = "/var/vcap/packages/zk-backyp/bin/zk-backyp";

/**
 * Deploys manifests to machines in namespaces, in a Director's order: the bootstrap instance first, one after another.
 * Instances keep their machines and disks from one deploy to the next.
 */
export class Cluster implements AsyncDisposable {
  readonly network: Network;
  readonly #packages: string;
  readonly #sees: readonly string[];
  readonly #machines: Map<string, Node> = new Map();
  #nodes: readonly Node[] = [];

  private constructor(network: Network, packages: string, sees: readonly string[]) {
    this.network = network;
    this.#packages = packages;
    this.#sees = sees;
  }

  /**
   * `packages` holds the compiled packages; `service.port` is what machines reach of this one, and `sees` the folders of it
   * that stay visible there.
   */
  static async create(
    directory: string,
    packages: string,
    service: { readonly port: number },
    sees: readonly string[] = [],
  ): Promise<Cluster> {
    return new Cluster(await startNetwork(join(directory, "machines"), service), packages, sees);
  }

  /** The instances of the last deploy, the bootstrap one first. */
  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  /** A deploy: each instance is stopped, gets its jobs, and is started, before the next one is touched. */
  async deploy(manifest: object): Promise<Deployment> {
    const deployment = planDeployment(manifest, {
      localDns: false,
      groups: addresses(manifest),
    });
    const inOrder = [...deployment.instances].sort((a, b) => Number(b.bootstrap) - Number(a.bootstrap));
    this.#nodes = [];
    for (const instance of inOrder) {
      const there = this.#machines.get(instance.id);
      const machine = there?.machine ?? (await this.#machine(instance));
      const agent = there?.agent ?? new Agent(machine);
      const node = { instance, machine, agent };
      this.#machines.set(instance.id, node);
      if (there !== undefined) await agent.stop();
      await agent.apply(instance);
      await agent.start();
      this.#nodes = [...this.#nodes, node];
    }
    return deployment;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network[Symbol.asyncDispose]();
  }

  #machine({ group, index, ip }: Instance): Promise<Machine> {
    const number = Number(ip.split(".").at(-1));
    return this.network.machine({ name: `${group}-${index}`, number, packages: this.#packages, sees: this.#sees });
  }
}

/** One after another, group after group, so that an instance has the same in each deploy of the same groups. */
function addresses(manifest: object): Record<string, { readonly ips: readonly string[] }> {
  const { instance_groups: groups } = manifest as { instance_groups: readonly { name: string; instances: number }[] };
  let number = FIRST_NUMBER;
  return Object.fromEntries(
    groups.map(({ name, instances }) => [
      name,
      { ips: Array.from({ length: instances }, () => `10.77.0.${number++}`) },
    ]),
  );
}

/** Asks a server on its machine, at its address; null if it does not serve. */
export async function askMember({ machine }: Node): Promise<Member | null> {
  const script = "exec 3<>/dev/tcp/$0/2181 && printf srvr >&3 && cat <&3";
  const { stdout } = await machine.run(["timeout", "5", "bash", "-c", script, machine.ip]);
  const mode = /^Mode: (leader|follower|standalone)$/m.exec(stdout)?.[1] as Member["mode"] | undefined;
  const zxid = /^Zxid: (0x[0-9a-f]+)$/m.exec(stdout)?.[1];
  const nodeCount = /^Node count: (\d+)$/m.exec(stdout)?.[1];
  return mode === undefined || zxid === undefined ? null : { mode, zxid: BigInt(zxid), nodeCount: Number(nodeCount) };
}

/** Has zkCli do something through one member, one command in a line. What it says of itself is left out. */
export async function zkCli({ machine }: Node, commands: readonly string[]): Promise<string> {
  const java = "/var/vcap/packages/openjdk-17/bin/java";
  const quiet = "-Dlogback.configurationFile=/var/vcap/packages/zookeeper/bin/zkCli-logback.xml";
  const main = ["-cp", "/var/vcap/packages/zookeeper/lib/*", "org.apache.zookeeper.ZooKeeperMain"];
  const { code, stdout, stderr } = await machine.run([java, quiet, ...main, "-server", `${machine.ip}:2181`], {
    input: `${commands.join("\n")}\nquit\n`,
  });
  if (code !== 0) throw new Error(`zkCli on ${machine.name}: ${code}: ${stderr}`);
  const ofItself = /^(Connecting to|Welcome to|JLine support|WATCHER::|WatchedEvent|$)/;
  return stdout
    .split("\n")
    .map((line) => line.replace(/^(\[zk: [^\]]*\] )+/, ""))
    .filter((line) => !ofItself.test(line))
    .join("\n");
}

/** Our own command as an operator runs it on a machine. */
export async function zkBackyp({ machine }: Node, ...args: readonly string[]): Promise<Ended> {
  return machine.run([CLI, ...args]);
}

/** Asks every 200 ms until there is an answer that is not null, for a minute if nothing else is said. */
export async function eventually<T>(what: string, ask: () => Promise<T | null>, patienceMs = 60_000): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null) return answer;
    if (performance.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await sleep(200);
  }
}
