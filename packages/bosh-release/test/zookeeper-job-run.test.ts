import { spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { requirePart, zooKeeperClassPath, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Agent } from "../testing/agent.ts";
import { eventually } from "../testing/cluster.ts";
import type { Instance } from "../testing/director.ts";
import { type Properties, rubyMissing } from "../testing/render-job.ts";
import { type Ended, type Machine, machinesMissing, type Network, startNetwork } from "../testing/stemcell.ts";
import { planMembers } from "./zookeeper-job-manifest.ts";

const JOB = "/var/vcap/jobs/zookeeper";
const DATA = "/var/vcap/store/zookeeper";
const STATE = "/var/vcap/data/zookeeper";
const PID_FILE = "/var/vcap/sys/run/zookeeper/zookeeper.pid";
const MONIT = "/var/vcap/bosh/bin/monit";
const canRun = [rubyMissing(), machinesMissing(), zooKeeperMissing()].every(requirePart);

// Debian's Java and ZooKeeper 3.8 stand in for the release's packages, which the deployment tests use.
describe.skipIf(!canRun)("the job zookeeper on machines with monit", () => {
  let folder: string;
  let network: Network;
  let number = 10;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "zookeeper-job-run-"));
    await chmod(folder, 0o755);
    const java = (await realpath("/usr/bin/java")).replace(/\/bin\/java$/, "");
    await mkdir(join(folder, "packages/openjdk-17/bosh"), { recursive: true });
    await writeFile(join(folder, "packages/openjdk-17/bosh/runtime.env"), `export JAVA_HOME='${java}'\n`);
    const lib = join(folder, "packages/zookeeper/lib");
    await mkdir(lib, { recursive: true });
    for (const jar of zooKeeperClassPath().split(":")) await symlink(jar, join(lib, basename(jar)));
    network = await startNetwork(join(folder, "network"), { port: 9 });
  });

  afterAll(async () => {
    await network?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  interface Node {
    readonly machine: Machine;
    readonly agent: Agent;
  }

  /** As many machines, with nothing on them. */
  async function machines(count: number): Promise<readonly Node[]> {
    const nodes: Node[] = [];
    for (let index = 0; index < count; index += 1) {
      number += 1;
      const machine = await network.machine({
        name: `zk-${number}`,
        number,
        packages: join(folder, "packages"),
        sees: ["/usr/lib/jvm", "/usr/share/java", "/etc/java-17-openjdk"],
      });
      nodes.push({ machine, agent: new Agent(machine) });
    }
    return nodes;
  }

  function plan(nodes: readonly Node[], properties: Properties = {}): readonly Instance[] {
    const quick = { tick_time: 1000, heap_size_mb: 128, java_options: ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] };
    return planMembers([{ instances: nodes.length, azs: ["z1"], properties: { ...quick, ...properties } }], {
      groups: { zookeeper: { ips: nodes.map(({ machine }) => machine.ip) } },
    });
  }

  /** Puts the job on them, and starts nothing. */
  async function apply(nodes: readonly Node[], properties: Properties = {}): Promise<void> {
    for (const [index, instance] of plan(nodes, properties).entries()) await nodes[index]?.agent.apply(instance);
  }

  async function releaseAll(nodes: readonly Node[]): Promise<void> {
    for (const { machine } of nodes) await machine[Symbol.asyncDispose]();
  }

  const srvr = async ({ machine }: Node): Promise<string> => (await machine.run([`${JOB}/bin/ask`, "srvr"])).stdout;
  const mode = async (node: Node): Promise<string | null> => /^Mode: (\w+)$/m.exec(await srvr(node))?.[1] ?? null;
  const serves = (node: Node): Promise<string> => eventually(`${node.machine.name} to serve`, () => mode(node));
  const startAlone = async ({ machine, agent }: Node): Promise<Ended> => {
    const preStart = await machine.run([`${JOB}/bin/pre-start`]);
    if (preStart.code === 0) await agent.monitStart();
    return preStart;
  };
  const looksForOthers = (node: Node): Promise<true> =>
    eventually(`${node.machine.name} to look for the others`, async () =>
      (await srvr(node)).includes("not currently serving") ? true : null,
    );

  /** zkCli, for one command. */
  async function zkCli({ machine }: Node, ...command: readonly string[]): Promise<string> {
    const script = '. /var/vcap/packages/openjdk-17/bosh/runtime.env; exec "$JAVA_HOME/bin/java" -cp "$0" "$@"';
    const client = ["org.apache.zookeeper.ZooKeeperMain", "-waitforconnection", "-server", "127.0.0.1:2181"];
    const lib = "/var/vcap/packages/zookeeper/lib/*";
    const { code, stdout, stderr } = await machine.run(["bash", "-c", script, lib, ...client, ...command]);
    if (code !== 0) throw new Error(`zkCli ${command.join(" ")}: ${stderr.split("\n").slice(-5).join("\n")}`);
    return stdout;
  }

  /** A disk that was never used, in a VM that was never used if nothing else is said. */
  async function newDisk({ machine }: Node, isNewVm = true): Promise<void> {
    await machine.run(["rm", "-rf", DATA]);
    if (isNewVm) await machine.run(["rm", "-rf", STATE]);
  }

  const preStartLog = ({ machine }: Node): Promise<string> =>
    readFile(join(machine.vcap, "data/sys/log/zookeeper/pre-start.stderr.log"), "utf8");

  describe("an ensemble", () => {
    let nodes: readonly [Node, Node, Node];

    beforeAll(async () => {
      nodes = (await machines(3)) as unknown as typeof nodes;
      await apply(nodes);
    });

    afterAll(() => releaseAll(nodes));

    it("comes up member by member in a first deploy", async () => {
      const [first, second, third] = nodes;
      expect((await first.machine.run([MONIT, "-t"])).stdout).toContain("syntax OK");

      await first.agent.start();
      expect(await preStartLog(first)).toContain("this looks like a first deploy");
      // It cannot serve alone, and its post-start does not wait for that.
      expect(await mode(first)).toBe(null);

      // However long the others take to say all that they have to say.
      await second.machine.run(["bash", "-c", `echo 'seq 100000' >>${JOB}/bin/ask`]);
      await second.agent.start();
      await second.machine.run(["sed", "-i", "$ d", `${JOB}/bin/ask`]);
      expect(await preStartLog(second)).toContain("this looks like a first deploy");
      expect([await mode(first), await mode(second)].sort()).toEqual(["follower", "leader"]);

      await third.agent.start();
      expect(await preStartLog(third)).toMatch(
        /will take the data of those that serve: 1 \(10\.\S+\), 2 \(10\.\S+\)$/m,
      );
      expect(await mode(third)).toBe("follower");
      await zkCli(first, "create", "/kept", "value");
    });

    it("runs as vcap with what the job has rendered, and nothing of it in its environment", async () => {
      const { machine } = nodes[0];
      const pid = (await machine.run(["cat", PID_FILE])).stdout.trim();
      const { stdout } = await machine.run(["ps", "-o", "user=,args=", "-p", pid]);
      expect(stdout).toMatch(/^vcap .*java -XX:\+ExitOnOutOfMemoryError .* -Xmx128m .*QuorumPeerMain .*\/zoo\.cfg$/m);
      const environment = (await machine.run(["cat", `/proc/${pid}/environ`])).stdout.split("\0").filter(Boolean);
      expect(environment.map((entry) => entry.replace(/=.*/, "")).sort()).toEqual(["JAVA_HOME", "LANG", "PATH"]);
      expect((await machine.run(["stat", "-c", "%U:%G %a", DATA, `${DATA}/myid`])).stdout).toBe(
        "vcap:vcap 750\nvcap:vcap 640\n",
      );
      // Root writes there: what vcap could put into its way it would follow.
      for (const folder of ["/var/vcap/sys/run/zookeeper", "/var/vcap/data/sys/log/zookeeper", STATE]) {
        expect((await machine.run(["stat", "-c", "%U:%G %a", folder])).stdout, folder).toBe("root:vcap 750\n");
      }
    });

    // Nothing that a server answers without a quorum changes after its start.
    it("takes lost disks for a first deploy where the last member was never started again, and has its data", async () => {
      const [first, second, third] = nodes;
      for (const { agent } of [first, second]) await agent.stop();
      await newDisk(first);
      await newDisk(second);
      await looksForOthers(third);

      const { code, stderr } = await startAlone(first);
      expect(stderr).toContain("no other member holds data: this looks like a first deploy");
      expect(code).toBe(0);
      expect(await serves(third)).toBe("leader");
      await second.agent.start();
      for (const node of nodes) expect(await zkCli(node, "get", "/kept")).toContain("value");
    });

    it("has a member back after a reboot, by monit alone", async () => {
      const [first] = nodes;
      await first.agent.monitStart();
      await first.machine.powerOff();
      await first.machine.boot();
      await serves(first);
      expect((await first.machine.run([`${JOB}/bin/ask`, "envi"])).stdout).toContain(`user.dir=${DATA}\n`);
    });

    it("gives a member with a new disk the data of the others", async () => {
      const [first] = nodes;
      await first.agent.stop();
      await newDisk(first, false);
      await first.agent.start();
      expect((await preStartLog(first)).trimEnd().split("\n").at(-1)).toContain(
        "will take the data of those that serve",
      );
      expect(await zkCli(first, "get", "/kept")).toContain("value");
    });

    it("gives members with new disks no vote while a member remembers data, and all its data when that is allowed", async () => {
      const [first, second, third] = nodes;
      for (const { agent } of [third, second, first]) await agent.stop();
      await newDisk(first);
      await newDisk(second);
      expect(await startAlone(third)).toMatchObject({ code: 0, stderr: "" });
      await looksForOthers(third);

      for (const empty of [first, second]) {
        const { code, stderr } = await startAlone(empty);
        expect(code).toBe(0);
        expect(stderr).toMatch(/members remember data, and none serves: 3 \(10\.\S+\)\. This member gets no vote/);
        await looksForOthers(empty);
      }
      // An election among those with a vote takes a second.
      await new Promise((resolve) => setTimeout(resolve, 5000));
      expect(await Promise.all(nodes.map(mode))).toEqual([null, null, null]);
      expect((await second.machine.run(["ls", `${DATA}/version-2`])).stdout).not.toContain("snapshot");
      await first.machine.run(["sed", "-i", "s/^patience=300$/patience=3/", `${JOB}/bin/post-start`]);
      const refused = await first.machine.run([`${JOB}/bin/post-start`]);
      expect(refused).toMatchObject({ code: 1 });
      expect(refused.stderr).toContain("Its disk is empty, so it has no vote");

      await first.agent.stop();
      await first.agent.apply(plan(nodes, { allow_empty_disk: true })[0] as Instance);
      await first.agent.start();
      await serves(second);
      for (const node of nodes) expect(await zkCli(node, "get", "/kept")).toContain("value");
    });

    it("keeps a member from an ensemble that began anew without it", async () => {
      const [first, second, third] = nodes;
      for (const { agent } of [third, second, first]) await agent.stop();
      const before = (await readdir(join(third.machine.vcap, "store/zookeeper/version-2"))).sort();
      for (const lost of [first, second]) {
        await newDisk(lost);
        await lost.agent.apply(plan(nodes)[lost === first ? 0 : 1] as Instance);
        expect((await startAlone(lost)).stderr).toContain("this looks like a first deploy");
      }
      await serves(first);

      const { code, stderr } = await startAlone(third);
      expect(code).toBe(1);
      expect(stderr).toMatch(
        /refused: the data here reaches zxid 0x\w+, but member [12] \(10\.\S+\) leads an ensemble/,
      );
      expect((await readdir(join(third.machine.vcap, "store/zookeeper/version-2"))).sort()).toEqual(before);
    });
  });

  it("a standalone server with data grows to an ensemble when empty disks are allowed", async () => {
    const [first, second, third] = (await machines(3)) as unknown as readonly [Node, Node, Node];
    await apply([first]);
    await first.agent.start();
    await zkCli(first, "create", "/kept", "value");
    const [one, two, three] = plan([first, second, third], { allow_empty_disk: true }) as [
      Instance,
      Instance,
      Instance,
    ];
    // Were the new ones first, they would make an ensemble without the data.
    await second.agent.apply(two);
    const early = await second.machine.run([`${JOB}/bin/pre-start`]);
    expect(early.stderr).toMatch(
      /refused: .* is empty, and member 1 \(10\.\S+\) serves by itself, as a standalone server/,
    );
    expect(early.code).toBe(1);

    await first.agent.stop();
    await first.agent.apply(one);
    await first.agent.start();
    await second.agent.start();
    await third.agent.apply(three);
    await third.agent.start();
    for (const node of [first, second, third]) expect(await zkCli(node, "get", "/kept")).toContain("value");
    await releaseAll([first, second, third]);
  });

  it("an ensemble with TLS alone is asked with TLS, by certificates and keys as CredHub makes them", async () => {
    const nodes = await machines(3);
    const { ca, certificate, key } = certificates(
      join(folder, "tls"),
      nodes.map(({ machine }) => machine.ip),
    );
    expect(key).toContain("BEGIN RSA PRIVATE KEY");
    const files = { enabled: true, certificate, private_key: key, ca };
    await apply(nodes, {
      tls: { client: { ...files, only: true }, quorum: files },
      data_log_dir: "/var/vcap/store/log",
    });
    for (const { agent } of nodes) await agent.start();
    expect((await Promise.all(nodes.map(mode))).sort()).toEqual(["follower", "follower", "leader"]);
    const [first, second] = nodes as [Node, Node, Node];
    expect(await preStartLog(nodes[2] as Node)).toContain("will take the data of those that serve");
    expect((await first.machine.run([`${JOB}/bin/ask`, "srvr", second.machine.ip])).stdout).toContain("Mode: ");
    const listening = (await first.machine.run(["ss", "-Hltn"])).stdout;
    expect(listening).toContain(":2281");
    expect(listening).not.toContain(":2181");
    const identity = "-CAfile quorum-ca.pem -cert quorum-tls.pem -key quorum-tls.pem";
    const hello = `cd ${JOB}/config && timeout 5 openssl s_client -connect ${second.machine.ip}:3888 ${identity} </dev/null`;
    expect((await first.machine.run(["bash", "-c", hello])).stdout).toContain("Verify return code: 0 (ok)");
    await releaseAll(nodes);
  });

  describe("a standalone server", () => {
    let node: Node;
    let machine: Machine;

    beforeAll(async () => {
      [node] = (await machines(1)) as [Node];
      ({ machine } = node);
      await apply([node]);
      await node.agent.start();
    });

    afterAll(() => machine[Symbol.asyncDispose]());

    const pid = async (): Promise<string> => (await machine.run(["cat", PID_FILE])).stdout.trim();
    const ctl = (action: string): Promise<Ended> => machine.run([`${JOB}/bin/zookeeper_ctl`, action]);
    const preStart = (): Promise<Ended> => machine.run([`${JOB}/bin/pre-start`]);

    it("serves when its post-start ends", async () => {
      expect(await mode(node)).toBe("standalone");
      await zkCli(node, "create", "/kept", "value");
    });

    it("is started once, whatever the pid file says, and stopped by its own process", async () => {
      const own = await pid();
      expect((await machine.run(["pgrep", "-u", "vcap", "-x", "java"])).stdout.trim()).toBe(own);
      await node.agent.drain();
      // As after a crash of whoever wrote it: another process has the number.
      await machine.run(["bash", "-c", `echo 1 >${PID_FILE}`]);
      expect((await ctl("start")).code).toBe(0);
      expect(await pid()).toBe(own);
      await machine.run(["bash", "-c", `echo 1 >${PID_FILE}`]);
      expect((await ctl("stop")).code).toBe(0);
      expect((await machine.run(["kill", "-0", own])).code).toBe(1);
      expect((await machine.run(["test", "-e", PID_FILE])).code).toBe(1);
      expect((await ctl("stop")).code).toBe(0);
      await machine.run(["bash", "-c", `echo 1 >${PID_FILE}`]);
      expect((await ctl("start")).code).toBe(0);
      expect(await pid()).not.toBe("1");
      await serves(node);
    });

    it("is killed last, after it has said what its threads do", async () => {
      await machine.run(["sed", "-i", "s:TERM/60/QUIT/2/KILL/10:TERM/1/QUIT/1/KILL/10:", `${JOB}/bin/zookeeper_ctl`]);
      const own = await pid();
      await machine.run(["kill", "-STOP", own]);
      expect((await ctl("stop")).code).toBe(0);
      expect((await machine.run(["kill", "-0", own])).code).toBe(1);
      const log = await readFile(join(machine.vcap, "data/sys/log/zookeeper/zookeeper_ctl.log"), "utf8");
      expect(log).toContain(`stops pid ${own}\n`);
    });

    it("is stopped also where the disk of the logs is full", async () => {
      const logs = "/var/vcap/data/sys/log/zookeeper";
      const fill = `mount -t tmpfs -o size=16k tmpfs ${logs} && touch ${logs}/zookeeper_ctl.log && cat /dev/zero >${logs}/full`;
      expect((await ctl("start")).code).toBe(0);
      await serves(node);
      await machine.run(["bash", "-c", fill]);
      const own = await pid();
      expect(own).toMatch(/^\d+$/);
      expect((await ctl("stop")).code).toBe(0);
      expect((await machine.run(["kill", "-0", own])).code).toBe(1);
      expect((await machine.run(["stat", "-c", "%s", `${logs}/zookeeper_ctl.log`])).stdout).toBe("0\n");
      expect((await machine.run(["umount", logs])).code).toBe(0);
    });

    it("is not started on a disk that is not there", async () => {
      await machine.run(["mv", DATA, `${DATA}-away`]);
      expect((await ctl("start")).code).toBe(1);
      await machine.run(["mv", `${DATA}-away`, DATA]);
      const log = await readFile(join(machine.vcap, "data/sys/log/zookeeper/zookeeper_ctl.log"), "utf8");
      expect(log).toMatch(/refused: \S+\/myid is missing, or not that of member 1: is the disk mounted/);
    });

    it.each<[string, string, RegExp]>([
      ["the data of another member", `echo 7 >${DATA}/myid`, /has the data of member 7, but .* makes it member 1/],
      ["the files of another user", `chown 4711 ${DATA}/version-2`, /\/version-2 belongs to user UNKNOWN/],
      ["a symbolic link", `mv ${DATA} ${DATA}-2 && ln -s ${DATA}-2 ${DATA}`, /zookeeper is a symbolic link/],
      ["an empty disk in a VM that has served data", `rm -rf ${DATA}`, /is empty, but this VM has served data before/],
    ])("is not started on %s, and nothing is changed", async (_, change, message) => {
      const store = (): Promise<string> =>
        machine.run(["find", "/var/vcap/store", "-printf", "%p %y %U:%G %m %s\n"]).then(({ stdout }) => stdout);
      await machine.run(["cp", "-a", DATA, "/var/vcap/store/saved"]);
      await machine.run(["bash", "-c", change]);
      const before = await store();
      const { code, stderr } = await preStart();
      expect(stderr).toMatch(message);
      expect(code).toBe(1);
      expect(await store()).toBe(before);
      await machine.run(["bash", "-c", `rm -rf ${DATA} ${DATA}-2 && mv /var/vcap/store/saved ${DATA}`]);
    });

    it("is given the files that root left", async () => {
      await machine.run(["chown", "-R", "root:root", DATA]);
      expect((await preStart()).code).toBe(0);
      expect((await machine.run(["find", DATA, "!", "-user", "vcap"])).stdout).toBe("");
    });

    it("is not started outside of the persistent disk, and only warned where there is none", async () => {
      await machine.run(["mount", "-t", "tmpfs", "tmpfs", "/var/vcap/store"]);
      await node.agent.apply(plan([node], { data_dir: "/var/vcap/data/elsewhere" })[0] as Instance);
      const refused = await preStart();
      expect(refused.stderr).toContain("/var/vcap/data/elsewhere is not on the persistent disk");
      expect(refused.code).toBe(1);

      await machine.run(["bash", "-c", "while mountpoint -q /var/vcap/store; do umount /var/vcap/store; done"]);
      await machine.run(["rm", "-f", `${STATE}/has-served`]);
      const warned = await preStart();
      expect(warned.stderr).toContain("warning: /var/vcap/store is no mount point");
      expect(warned.code).toBe(0);
    });

    it("takes another id when that is allowed", async () => {
      await machine.run(["bash", "-c", `echo 7 >${DATA}/myid`]);
      await node.agent.apply(plan([node], { allow_myid_change: true })[0] as Instance);
      expect((await preStart()).code).toBe(0);
      expect((await machine.run(["cat", `${DATA}/myid`])).stdout).toBe("1\n");
    });
  });
});

/** By openssl, since they have to name the machines' addresses, and their key is to be PKCS#1. */
function certificates(directory: string, ips: readonly string[]): { ca: string; certificate: string; key: string } {
  const script = `set -e; mkdir -p "$0"; cd "$0"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.pem
openssl genrsa -traditional -out key.pem 2048
openssl req -new -key key.pem -subj /CN=zookeeper -out request.pem
printf 'subjectAltName=%s\\nextendedKeyUsage=serverAuth,clientAuth\\n' "$1" > extensions
openssl x509 -req -in request.pem -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial -extfile extensions -out cert.pem`;
  const names = ips.map((ip) => `IP:${ip}`).join(",");
  const { status, stderr } = spawnSync("bash", ["-c", script, directory, names], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  const read = (file: string): string => spawnSync("cat", [join(directory, file)], { encoding: "utf8" }).stdout;
  return { ca: read("ca.pem"), certificate: read("cert.pem"), key: read("key.pem") };
}
