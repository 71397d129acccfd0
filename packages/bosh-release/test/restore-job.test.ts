import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createS3Sink } from "@zk-backyp/sink-s3";
import { type CephRgw, cephRgwMissing, requirePart, startCephRgw, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { askMember, eventually, type Node, zkCli } from "../testing/cluster.ts";
import { deployTogether } from "../testing/deploy-together.ts";
import { schemaErrors } from "../testing/properties-schema.ts";
import { type Properties, RenderError, renderJob, rubyMissing } from "../testing/render-job.ts";
import { shellcheck, shellcheckMissing } from "../testing/shellcheck.ts";
import { makeStandIns } from "../testing/stand-ins.ts";
import { type Ended, machinesMissing, type Network, startNetwork } from "../testing/stemcell.ts";

const ID = "zookeeper-backup-20261122T205822396Z";
const BUCKET = "backups";
const DATA = "/var/vcap/store/zookeeper";
const CLI = "/var/vcap/jobs/zk-backyp/bin/zk-backyp";
const CHOOSE = "/var/vcap/jobs/restore/bin/choose";
const hasShellcheck = requirePart(shellcheckMissing());

const spec = {
  name: "zookeeper",
  deployment: "zk",
  id: "6f1a4f5e-0000-4000-8000-000000000000",
  index: 0,
  az: "z1",
  bootstrap: true,
  address: "127.0.0.1",
  ip: "127.0.0.1",
  networks: { default: { ip: "127.0.0.1" } },
  persistent_disk: 1024,
  release: { name: "zookeeper-hybris", version: "1" },
};

describe("the properties of restore", () => {
  it.each([
    ["nothing", {}, []],
    ["an id", { restore: { backup: ID } }, []],
    ["the newest", { restore: { backup: "latest" }, members_timeout: 60 }, []],
    [
      "something else",
      { restore: { backup: "newest" } },
      [expect.stringContaining("/restore/backup must match pattern")],
    ],
    ["no time at all", { members_timeout: 0 }, ["/members_timeout must be >= 1"]],
    ["a text for seconds", { stop_timeout: "180" }, ["/stop_timeout must be integer"]],
  ])("are checked by the Director: %s", (_, properties, errors) => {
    expect(schemaErrors("restore", properties)).toEqual(errors);
  });
});

describe.skipIf(!requirePart(rubyMissing()))("the templates of restore", () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "restore-"));
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  const render = (properties: Properties): Promise<void> =>
    renderJob({ job: "restore", context: { spec, properties }, into: folder });

  it.each([[{}], [{ restore: { backup: ID } }]])("are good bash, and an empty monit file: %j", async (properties) => {
    await render(properties);
    expect(await readFile(join(folder, "monit"), "utf8")).toBe("");
    if (hasShellcheck) expect(shellcheck([join(folder, "bin/run"), join(folder, "bin/choose")])).toBe("");
  });

  it.each([
    [{ restore: { backup: "$(reboot)" } }, "restore.backup has to be the id of a backup, or latest"],
    [{ restore: { backup: `${ID}\n` } }, "restore.backup has to be the id of a backup, or latest"],
    [{ members_timeout: -1 }, "members_timeout has to be a whole number of seconds"],
  ])("refuse %j", async (properties, message) => {
    await expect(render(properties)).rejects.toThrow(RenderError);
    await expect(render(properties)).rejects.toThrow(message);
  });
});

const canRun = [rubyMissing(), machinesMissing(), cephRgwMissing(), zooKeeperMissing()].every(requirePart);

describe.skipIf(!canRun)("the errand restore on an ensemble of three", () => {
  let folder: string;
  let store: CephRgw;
  let network: Network;
  let nodes: readonly Node[];
  let bootstrap: Node;
  let id: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "restore-run-"));
    await chmod(folder, 0o755);
    store = await startCephRgw({ directory: join(folder, "store") });
    await store.createBucket(BUCKET);
    const packages = join(folder, "packages");
    const sees = await makeStandIns(packages);
    network = await startNetwork(join(folder, "network"), { port: store.port });
    const s3 = {
      bucket: BUCKET,
      endpoint: `http://${network.gateway}:${store.port}`,
      access_key_id: store.accessKeyId,
      secret_access_key: store.secretAccessKey,
    };
    const jobs = [
      { name: "zookeeper", properties: { heap_size_mb: 128, data_log_dir: "/var/vcap/store/zookeeper-log" } },
      { name: "zk-backyp", properties: { s3, backup: { mode: "hot" } } },
      { name: "restore", properties: { members_timeout: 20, start_timeout: 90 } },
      { name: "smoke-tests", properties: { backup: true } },
      { name: "bbr-zookeeper", properties: { bbr: { backup_one_restore_all: true }, hold_timeout: 60 } },
    ];
    nodes = await deployTogether(network, { instances: 3, jobs, packages, sees, number: 11 });
    bootstrap = nodes[0] as Node;
    await eventually("the servers", async () =>
      (await Promise.all(nodes.map(askMember))).includes(null) ? null : true,
    );
  }, 240_000);

  afterAll(async () => {
    await network?.[Symbol.asyncDispose]();
    await store?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const everywhere = <T>(work: (node: Node) => Promise<T>): Promise<T[]> => Promise.all(nodes.map(work));
  const errand = (node: Node): Promise<Ended> => node.agent.errand("restore");
  const choose = (node: Node, ...ids: string[]): Promise<Ended> => node.machine.run([CHOOSE, ...ids]);
  const shell = async (node: Node, text: string): Promise<string> =>
    (await node.machine.run(["bash", "-c", text])).stdout.trim();
  const children = async (node: Node): Promise<string> =>
    /^\[.*\]$/m.exec(await zkCli(node, ["sync /", "ls /"]))?.[0] ?? "";
  const all = (text: string): unknown => nodes.map(() => expect.stringContaining(text));

  it("is preceded by smoke tests that take a backup", async () => {
    await zkCli(bootstrap, ["create /kept 1"]);
    const ended = await bootstrap.agent.errand("smoke-tests");
    expect(ended).toMatchObject({ code: 0, stdout: expect.stringMatching(/all is well\n$/) });
    expect(ended.stdout).toContain("read through all 3 (plain)");
    expect(ended.stdout).toContain("every byte read back");
    // On the other instances nothing is backed up, and nothing is left of what was written.
    expect((await (nodes[1] as Node).agent.errand("smoke-tests")).code).toBe(0);
    expect(await children(bootstrap)).toBe("[kept, zookeeper]");
    expect(await shell(bootstrap, "ls -A /var/vcap/data/smoke-tests")).toBe("");
    const { stdout } = await bootstrap.machine.run([CLI, "list", "--latest", "1", "--json"]);
    id = JSON.parse(stdout)[0].id;
    await zkCli(bootstrap, ["create /later 2"]);
  });

  it("goes with BBR, whose locks hold the daemon where there is one", async () => {
    const lock = async (node: Node, name: string): Promise<[number, string]> => {
      const { code, stderr } = await node.machine.run([`/var/vcap/jobs/bbr-zookeeper/bin/bbr/${name}`]);
      return [code, stderr];
    };
    expect(await lock(bootstrap, "pre-backup-lock")).toEqual([0, expect.stringContaining("held until")]);
    expect(await lock(bootstrap, "post-backup-unlock")).toEqual([0, "released\n"]);
    expect(await lock(bootstrap, "post-backup-unlock")).toEqual([0, "nothing was held\n"]);
    const idle = nodes[1] as Node;
    expect(await lock(idle, "pre-backup-lock")).toEqual([0, expect.stringContaining("there is nothing to hold")]);
    expect(await lock(idle, "post-backup-unlock")).toEqual([0, expect.stringContaining("there is nothing to release")]);
    // A lock that is not to be had says what to do.
    await shell(bootstrap, "mv /var/vcap/data/zk-backyp/http-token /var/vcap/data/zk-backyp/away");
    expect(await lock(bootstrap, "pre-backup-lock")).toEqual([
      1,
      expect.stringContaining("use bbr's --unsafe-lock-free"),
    ]);
    await shell(bootstrap, "mv /var/vcap/data/zk-backyp/away /var/vcap/data/zk-backyp/http-token");
  });

  it("does nothing where nothing is chosen, or what there is not", async () => {
    for (const { code, stderr } of await everywhere(errand)) {
      expect([code, stderr]).toEqual([1, expect.stringContaining("no backup is chosen, so nothing was restored")]);
    }
    for (const [wrong, why] of [
      ["latest", "name a backup by its id"],
      ["zookeeper-backup-20200101T000000000Z", "cannot be chosen"],
    ] as const) {
      const { code, stderr } = await choose(bootstrap, wrong);
      expect([code, stderr]).toEqual([1, expect.stringContaining(why)]);
    }
    expect((await choose(bootstrap, id)).code).toBe(0);
    expect((await choose(bootstrap)).stdout).toContain("nothing is chosen");
    expect((await errand(bootstrap)).code).toBe(1);
    // A choice does not hold for ever.
    await choose(bootstrap, id);
    await bootstrap.machine.run(["touch", "-d", "2 hours ago", "/var/vcap/data/restore/chosen"]);
    expect((await errand(bootstrap)).stderr).toContain("no backup is chosen");
    expect(await everywhere(children)).toEqual(nodes.map(() => "[kept, later, zookeeper]"));
  });

  it("starts the server again as it was where the others run on", async () => {
    await choose(bootstrap, id);
    const { code, stderr } = await errand(bootstrap);
    expect([code, stderr]).toEqual([1, expect.stringContaining("these servers of the ensemble still run")]);
    for (const { machine } of nodes.slice(1)) expect(stderr).toContain(machine.ip);
    expect(stderr).toContain("ZooKeeper is started again, with its data as it was");
    await eventually("the server", () => askMember(bootstrap), 90_000);
    expect(await children(bootstrap)).toBe("[kept, later, zookeeper]");
    expect(await shell(bootstrap, `ls ${DATA}`)).toBe("myid\nversion-2");
    // The daemon goes on.
    expect((await bootstrap.machine.run([CLI, "release"])).stdout).toBe("nothing was held\n");
  }, 240_000);

  it("restores all servers, once for each choice", async () => {
    const before = await eventually("a server", () => askMember(bootstrap));
    await everywhere((node) => choose(node, id));
    const ended = await everywhere(errand);
    expect(ended.map(({ stdout, stderr }) => stdout + stderr)).toEqual(all(`${id} is restored: ZooKeeper serves as`));
    expect(ended.map(({ code }) => code)).toEqual([0, 0, 0]);
    for (const node of nodes) {
      const member = await eventually("a server", () => askMember(node));
      expect(member.zxid >> 32n).toBeGreaterThan(before.zxid >> 32n);
      expect(await children(node)).toBe("[kept, zookeeper]");
      for (const kept of [DATA, "/var/vcap/store/zookeeper-log"]) {
        expect(await shell(node, `ls -d ${kept}/version-2.replaced-* | wc -l`)).toBe("1");
      }
      expect(await shell(node, `cat ${DATA}/myid`)).toBe(String(node.instance.index + 1));
    }
    expect((await bootstrap.machine.run([CLI, "release"])).stdout).toBe("nothing was held\n");
    expect((await errand(bootstrap)).stderr).toContain("no backup is chosen");
  }, 240_000);

  it("restores what the manifest says once, also the newest", async () => {
    await zkCli(bootstrap, ["create /newest 5"]);
    const { code } = await bootstrap.machine.run([CLI, "backup"]);
    expect(code).toBe(0);
    await zkCli(bootstrap, ["create /gone 6"]);
    await everywhere(({ machine }) =>
      machine.run(["sed", "-i", "s/^readonly PROPERTY=.*/readonly PROPERTY=latest/", "/var/vcap/jobs/restore/bin/run"]),
    );
    const ended = await everywhere(errand);
    expect(ended.map(({ stdout, stderr }) => stdout + stderr)).toEqual(all("is restored: ZooKeeper serves as"));
    expect(await everywhere(children)).toEqual(nodes.map(() => "[kept, newest, zookeeper]"));
    const again = await everywhere(errand);
    expect(again.map(({ stderr }) => stderr)).toEqual(all("restore.backup (latest) was restored here already"));
    expect(await everywhere(children)).toEqual(nodes.map(() => "[kept, newest, zookeeper]"));
  }, 240_000);

  it("restores nothing, and lets the server run on, where the archive is gone", async () => {
    await everywhere((node) => choose(node, id));
    const sink = await createS3Sink({
      bucket: BUCKET,
      endpoint: store.endpoint,
      pathStyle: true,
      accessKeyId: store.accessKeyId,
      secretAccessKey: store.secretAccessKey,
    });
    await sink.delete(`zookeeper-backup/archives/${id}.tar.gz`, { signal: AbortSignal.timeout(30_000) });
    await sink.close?.();
    for (const { code, stderr } of await everywhere(errand)) {
      expect([code, stderr]).toEqual([1, expect.stringContaining("ZooKeeper was not touched")]);
    }
    expect(await everywhere(async (node) => (await askMember(node)) !== null)).toEqual([true, true, true]);
  });
});
