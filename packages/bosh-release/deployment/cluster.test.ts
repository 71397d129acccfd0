import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type CephRgw, cephRgwMissing, requirePart, startCephRgw } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse, stringify } from "yaml";
import { bbrBackup, bbrRestore, machineAccess } from "../testing/bbr.ts";
import { requireBoshCli } from "../testing/bosh-cli.ts";
import { askMember, Cluster, eventually, type Node, zkBackyp, zkCli } from "../testing/cluster.ts";
import { compilePackages, requirePackages } from "../testing/packaging.ts";
import { rubyMissing } from "../testing/render-job.ts";
import { machinesMissing } from "../testing/stemcell.ts";
import { boshCli } from "../tools/bosh-cli.ts";

const MANIFESTS = fileURLToPath(new URL("../manifests/", import.meta.url));
const BUCKET = "zookeeper-backups";
const CONFIG = "/var/vcap/jobs/zk-backyp/config/zk-backyp.json";
const TOKEN = "/var/vcap/data/zk-backyp/http-token";
const MONIT = "/var/vcap/bosh/bin/monit";
const ZNODES = 200;

// One story, told once: what fails leaves the next parts in a state that nobody wrote down.
const areToolsThere = requirePart(machinesMissing() ?? cephRgwMissing() ?? rubyMissing());
const canRun = areToolsThere && (await requirePackages()) && (await requireBoshCli());

describe.skipIf(!canRun)("a deployment", { retry: 0 }, () => {
  let directory: string;
  let store: CephRgw;
  let cluster: Cluster;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "zk-backyp-cluster-"));
    store = await startCephRgw({ directory: join(directory, "rgw") });
    await store.createBucket(BUCKET);
    const packages = join(directory, "packages");
    await compilePackages(packages);
    cluster = await Cluster.create(directory, packages, { port: store.port });
  }, 600_000);

  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
    await store?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  /** The legacy manifest with ops files, as `bosh deploy` sends it; its store is ours, and nothing is scheduled. */
  const manifest = async (
    operations: readonly string[] = [],
    variables: Readonly<Record<string, string>> = {},
    more: readonly object[] = [],
  ): Promise<object> => {
    const own = join(directory, "own.yml");
    const values = {
      s3_endpoint: `http://${cluster.network.gateway}:${store.port}`,
      prefix: "zk-prod",
      interval: 30 * 86_400,
    };
    const replacements = Object.entries(values).map(([name, value]) => ({
      type: "replace",
      path: `/properties/zk_backyp/${name}`,
      value,
    }));
    const errand = { type: "replace", path: "/instance_groups/name=zookeeper/jobs/-" };
    const smokeTests = { ...errand, value: { name: "smoke-tests", release: "zookeeper-hybris" } };
    await writeFile(
      own,
      stringify([...replacements, ...(operations.includes("restore") ? [smokeTests] : []), ...more]),
    );
    const given = {
      ...Object.fromEntries([1, 2, 3].map((n) => [`zookeeper_ip_${n}`, `10.77.0.${10 + n}`])),
      zookeeper_hybris_version: "0",
      zk_backup_s3_bucket: BUCKET,
      zk_backup_s3_access_key_id: store.accessKeyId,
      zk_backup_s3_secret_access_key: store.secretAccessKey,
      ...variables,
    };
    const { stdout } = await promisify(execFile)(await boshCli(), [
      ...["int", join(MANIFESTS, "legacy.yml"), "--var-errs", "-o", own],
      ...operations.flatMap((name) => ["-o", join(MANIFESTS, "operations", `${name}.yml`)]),
      ...Object.entries(given).flatMap(([name, value]) => ["-v", `${name}=${value}`]),
    ]);
    return parse(stdout) as object;
  };

  /** The members' roles, in the order of the nodes; waits until one leads and the others follow. */
  const ensemble = (): Promise<readonly string[]> =>
    eventually("an ensemble of one leader and followers", async () => {
      const modes = (await Promise.all(cluster.nodes.map(askMember))).map((member) => member?.mode ?? "down");
      const leaders = modes.filter((mode) => mode === "leader").length;
      return leaders === 1 && !modes.includes("down") ? modes : null;
    });

  /** What `monit summary` says of the node's processes, by their names: of 5.2.5 and of newer ones. */
  const summary = async ({ machine }: Node): Promise<Readonly<Record<string, string>>> => {
    const { stdout } = await machine.run([MONIT, "summary"]);
    const lines = /^Process '(\S+)'\s+(.*?)\s*$|^\s*(\S+)\s+(.*?)\s+Process\s*$/gm;
    return Object.fromEntries([...stdout.matchAll(lines)].map((at) => [at[1] ?? at[3], at[2] ?? at[4]]));
  };

  const archives = async (): Promise<readonly string[]> =>
    (await store.objects(BUCKET)).filter((key) => key.endsWith(".tar.gz"));

  /** The znodes below /app and what they hold, as one member tells it. */
  const dataOf = async (node: Node): Promise<readonly string[]> => {
    const said = await zkCli(node, ["ls -R /app", ...[0, 1, 7, ZNODES - 1].map((n) => `get /app/node-${n}`)]);
    return said.split("\n");
  };

  /** Has the daemon of a node begin a backup now, as the status page would. */
  const runNow = async (node: Node): Promise<void> => {
    const { machine } = node;
    await release(node);
    const request = "POST /api/v1/series/zookeeper/run HTTP/1.0\\r\\nAuthorization: Bearer %s\\r\\n\\r\\n";
    const script = `exec 3<>/dev/tcp/127.0.0.1/9642 && printf '${request}' "$(cat ${TOKEN})" >&3 && cat <&3`;
    await eventually("the daemon to have time", async () => {
      const { stdout } = await machine.run(["bash", "-c", script]);
      // Until an earlier run has ended it is 409.
      return /^HTTP\/1\.1 202 /.test(stdout) ? true : null;
    });
  };

  const newest = async (): Promise<Manifest | null> => {
    const { code, stdout } = await zkBackyp(first(), "show", "latest", "--config", CONFIG, "--json");
    return code === 0 ? (JSON.parse(stdout) as Manifest) : null;
  };

  /** Ends the pause that follows a deploy. */
  const release = async ({ machine }: Node): Promise<void> => {
    const { code, stderr } = await machine.run(["/var/vcap/jobs/zk-backyp/bin/zk-backyp", "release"]);
    expect(code, stderr).toBe(0);
  };

  /** Has the daemon back up, and waits until the new backup is the newest one. */
  const backUp = async (node: Node): Promise<Manifest> => {
    const before = await newest();
    await runNow(node);
    return eventually("a new backup", async () => {
      const now = await newest();
      return now !== null && now.id !== before?.id ? now : null;
    });
  };

  const first = (): Node => {
    const node = cluster.nodes[0];
    if (node === undefined) throw new Error("nothing is deployed");
    return node;
  };

  /** Waits until monit has stopped ZooKeeper there. */
  const stopped = ({ agent }: Node): Promise<true> =>
    eventually("the stop", async () => {
      const zookeeper = (await agent.services()).find(({ name }) => name === "zookeeper");
      return zookeeper?.isRunning === false ? true : null;
    });

  const pidOf = async ({ machine }: Node): Promise<string> =>
    (await machine.run(["cat", "/var/vcap/sys/run/zookeeper/zookeeper.pid"])).stdout;

  const nodeOf = (index: number): Node => {
    const node = cluster.nodes.find(({ instance }) => instance.index === index);
    if (node === undefined) throw new Error(`no instance ${index}`);
    return node;
  };

  it("comes up from a manifest with the origin's properties alone", async () => {
    await cluster.deploy(await manifest());
    expect(await ensemble()).toHaveLength(3);
    for (const node of cluster.nodes) {
      const names = Object.keys(await summary(node)).sort();
      expect(names).toEqual(node.instance.bootstrap ? ["zk-backyp", "zk-backyp-helper", "zookeeper"] : ["zookeeper"]);
    }
    const [some] = cluster.nodes;
    const creates = Array.from({ length: ZNODES }, (_, n) => `create /app/node-${n} value-${n}`);
    await zkCli(some as Node, ["create /app", ...creates]);
    const data = await dataOf(first());
    expect(data).toHaveLength(ZNODES + 1 + 4);
    // Backups wait for the end of the deploy; the origin's never came before their time either.
    expect(await store.objects(BUCKET)).toEqual([]);
  }, 400_000);

  it("backs one node up cold, into the bucket, under prefix and date", async () => {
    const pids = await Promise.all(cluster.nodes.map(pidOf));
    await release(first());
    const { id, facts, verified } = await eventually("the first backup", newest);
    expect(await archives()).toContain(`zk-prod/archives/${id}.tar.gz`);
    expect(id).toMatch(/^zk-prod-\d{8}T\d{9}Z$/);
    expect(verified).toBe(true);
    expect(facts).toMatchObject({ mode: "cold", stop: { role: "follower" } });
    expect(facts.downtime.servingMs).toBeGreaterThan(0);
    expect(await ensemble()).toHaveLength(3);
    for (const node of cluster.nodes) {
      const statuses = Object.values(await summary(node));
      expect(statuses).toHaveLength(node.instance.bootstrap ? 3 : 1);
      for (const status of statuses) expect(status).toMatch(/^(running|OK)$/);
    }
    // Nobody has touched the others.
    expect((await Promise.all(cluster.nodes.map(pidOf))).slice(1)).toEqual(pids.slice(1));
    expect(await zkBackyp(first(), "verify", "latest", "--config", CONFIG)).toMatchObject({ code: 0 });
  }, 180_000);

  it("stops while a cold backup is at it, and owes nothing", async () => {
    const node = first();
    await runNow(node);
    await stopped(node);
    await node.agent.stop();
    await expectNothingLeft(node);
    expect(await askMember(node)).toBeNull();
    await sleep(3_000);
    // Nobody has started it behind the operator's back.
    expect((await node.machine.run(["pgrep", "-f", "QuorumPeerMain"])).code).toBe(1);
    await node.agent.start();
    expect(await ensemble()).toHaveLength(3);
  }, 240_000);

  it("stops while an upload hangs, and leaves nothing of it", async () => {
    const node = first();
    const before = await store.objects(BUCKET);
    await runNow(node);
    await stopped(node);
    cluster.network.stallService(true);
    try {
      await ensemble();
      // It has nothing left to do but to send.
      await sleep(5_000);
      await node.agent.stop();
      await expectNothingLeft(node);
    } finally {
      cluster.network.stallService(false);
    }
    await node.agent.start();
    expect(await ensemble()).toHaveLength(3);
    expect(await store.objects(BUCKET)).toEqual(before);
    expect(await store.unfinishedUploads(BUCKET)).toEqual([]);
  }, 240_000);

  it("brings back a member whose machine lost its power while a backup had stopped it", async () => {
    const node = first();
    await runNow(node);
    await stopped(node);
    await node.machine.powerOff();
    await node.machine.boot();
    expect(await ensemble()).toHaveLength(3);
    await expectNothingLeft(node);
  }, 240_000);

  it("gets more jobs by another deploy, and passes the smoke tests", async () => {
    await cluster.deploy(await manifest(["bbr", "restore"], { zk_restore_backup: "latest" }));
    expect(await ensemble()).toHaveLength(3);
    const before = await zkCli(first(), ["ls -R /"]);
    for (const { agent } of cluster.nodes) {
      const { code, stdout, stderr } = await agent.errand("smoke-tests");
      expect(code, stdout + stderr).toBe(0);
    }
    expect(await zkCli(first(), ["ls -R /"])).toBe(before);
  }, 400_000);

  it("is backed up and restored by BBR", async () => {
    const members = cluster.nodes.map(({ instance: { group, index, bootstrap, jobs } }) => ({
      group,
      index,
      bootstrap,
      jobs: jobs.map(({ name }) => ({
        name,
        release: "zookeeper-hybris",
        backupOneRestoreAll: name === "bbr-zookeeper",
      })),
    }));
    const access = machineAccess(({ index }) => nodeOf(index).machine);
    const data = await dataOf(first());
    const artifact = join(directory, "artifact");
    await bbrBackup(members, access, artifact);
    await zkCli(first(), ["deleteall /app", "create /late"]);
    await bbrRestore(members, access, artifact);
    expect(await ensemble()).toHaveLength(3);
    for (const node of cluster.nodes) {
      expect(await dataOf(node)).toEqual(data);
      expect(await zkCli(node, ["ls -R /"])).not.toContain("/late");
    }
  }, 400_000);

  it("is restored from the bucket by the errand, on all members at once", async () => {
    const { id } = await backUp(first());
    const data = await dataOf(first());
    await zkCli(first(), ["deleteall /app", "create /late"]);
    for (const { machine } of cluster.nodes) {
      expect(await machine.run(["/var/vcap/jobs/restore/bin/choose", id])).toMatchObject({ code: 0 });
    }
    const ended = await Promise.all(cluster.nodes.map(({ agent }) => agent.errand("restore")));
    for (const { code, stdout, stderr } of ended) expect(code, stdout + stderr).toBe(0);
    expect(ended[0]?.stdout).toContain(id);
    expect(await ensemble()).toHaveLength(3);
    for (const node of cluster.nodes) {
      expect(await dataOf(node)).toEqual(data);
      expect(await zkCli(node, ["ls -R /"])).not.toContain("/late");
    }
  }, 400_000);

  it("grows by a server, which takes the data of the others", async () => {
    const data = await dataOf(first());
    const group = "/instance_groups/name=zookeeper";
    const grown = [
      { type: "replace", path: `${group}/instances`, value: 4 },
      { type: "remove", path: `${group}/networks/name=default/static_ips` },
      // By the link, as the list of old names three.
      { type: "remove", path: "/properties/zookeeper/servers" },
    ];
    await cluster.deploy(await manifest([], {}, grown));
    expect(await ensemble()).toHaveLength(4);
    for (const node of cluster.nodes) expect(await dataOf(node)).toEqual(data);
  }, 400_000);

  /** Neither links nor a journal; who has died leaves them to the next one that starts. */
  const expectNothingLeft = ({ machine }: Node): Promise<true> =>
    eventually("links and journals to be gone", async () => {
      const folders = ["/var/vcap/store", "/var/vcap/data"];
      const { stdout } = await machine.run(["find", ...folders, "-name", "links-*", "-o", "-name", "stop.json"]);
      return stdout === "" ? true : null;
    });
});

interface Manifest {
  readonly id: string;
  readonly verified: boolean;
  readonly facts: { readonly mode: string; readonly downtime: { readonly servingMs: number } };
}
