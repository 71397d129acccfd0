import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createS3Sink } from "@zk-backyp/sink-s3";
import { type CephRgw, cephRgwMissing, requirePart, startCephRgw, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { askMember, eventually, type Node, zkCli } from "../testing/cluster.ts";
import { deployTogether } from "../testing/deploy-together.ts";
import type { Instance } from "../testing/director.ts";
import { schemaErrors } from "../testing/properties-schema.ts";
import { type Properties, RenderError, renderJob, rubyMissing } from "../testing/render-job.ts";
import { shellcheck, shellcheckMissing } from "../testing/shellcheck.ts";
import { makeStandIns } from "../testing/stand-ins.ts";
import { type Ended, machinesMissing, type Network, startNetwork } from "../testing/stemcell.ts";

const ID = "zookeeper-backup-20261122T205822396Z";
const BUCKET = "backups";
const DATA = "/var/vcap/store/zookeeper";
const CLI = "/var/vcap/jobs/zk-backyp/bin/zk-backyp";
const RUN = "/var/vcap/jobs/restore/bin/run";
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
      // Cold, and when it is told only.
      {
        name: "zk-backyp",
        properties: { s3, backup: { if_leader: "proceed", schedule: "0 0 1 1 *", pause_after_deploy: 0 } },
      },
      { name: "restore", properties: { members_timeout: 120, start_timeout: 90 } },
      { name: "smoke-tests", properties: { backup: true } },
      { name: "bbr-zookeeper", properties: { bbr: { backup_one_restore_all: true }, hold_timeout: 60 } },
    ];
    nodes = await deployTogether(network, { instances: 3, jobs, packages, sees, number: 11 });
    bootstrap = nodes[0] as Node;
    const allServe = (): Promise<unknown> =>
      eventually("the servers", async () => ((await Promise.all(nodes.map(askMember))).includes(null) ? null : true));
    await allServe();
    // A new daemon begins with a backup.
    for (const command of ["hold", "release"]) await bootstrap.machine.run([CLI, command]);
    await allServe();
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
  const waitsForMembers = (node: Node, seconds: number): Promise<string> =>
    shell(node, `sed -i 's/^readonly MEMBERS_TIMEOUT=.*/readonly MEMBERS_TIMEOUT=${seconds}/' ${RUN}`);
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
    expect(await lock(idle, "pre-backup-lock")).toEqual([0, ""]);
    expect(await lock(idle, "post-backup-unlock")).toEqual([0, ""]);
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
    expect((await errand(bootstrap)).stderr).toContain(`${id} was chosen more than an hour ago`);
    expect(await everywhere(children)).toEqual(nodes.map(() => "[kept, later, zookeeper]"));
  });

  it("starts the server again as it was where the others run on", async () => {
    await choose(bootstrap, id);
    await waitsForMembers(bootstrap, 5);
    const { code, stderr } = await errand(bootstrap);
    await waitsForMembers(bootstrap, 120);
    expect([code, stderr]).toEqual([1, expect.stringContaining("these servers of the ensemble still run")]);
    for (const { machine } of nodes.slice(1)) expect(stderr).toContain(machine.ip);
    expect(stderr).toContain("ZooKeeper is started again, with its data as it was");
    await eventually("the server", () => askMember(bootstrap), 90_000);
    expect(await children(bootstrap)).toBe("[kept, later, zookeeper]");
    expect(await shell(bootstrap, `ls ${DATA}`)).toBe("myid\nversion-2");
    // The daemon goes on.
    expect((await bootstrap.machine.run([CLI, "release"])).stdout).toBe("nothing was held\n");
  }, 240_000);

  it("starts the server again when it is cancelled, however long the stop takes", async () => {
    // As the agent does it, but sooner: TERM for all that the errand has started, then KILL.
    const { stdout } = await bootstrap.machine.run([
      "bash",
      "-c",
      `set -m
      java=$(cat /var/vcap/sys/run/zookeeper/zookeeper.pid)
      kill -STOP "$java"
      ${RUN} 2>/var/vcap/data/said &
      while kill -0 "$!" && ! grep -q 'stopping ZooKeeper' /var/vcap/data/said; do sleep 0.2; done
      sleep 2
      ${RUN} 2>&1 || true
      kill -TERM -- "-$!"; sleep 3; kill -KILL -- "-$!"; sleep 1
      kill -CONT "$java"
      cat /var/vcap/data/said`,
    ]);
    expect(stdout).toContain("the errand runs here already");
    expect(stdout).toContain("ZooKeeper is started again, with its data as it was");
    await eventually("the server", () => askMember(bootstrap), 90_000);
    expect(await children(bootstrap)).toBe("[kept, later, zookeeper]");
    await bootstrap.machine.run([CLI, "release"]);
  }, 240_000);

  it("keeps a restored server stopped where the others could not be restored, and serve", async () => {
    await everywhere((node) => choose(node, id));
    const restored = nodes[2] as Node;
    const others = nodes.slice(0, 2);
    // A file that somebody has open is what the restore refuses to move.
    const busy = "setpriv --reuid vcap --regid vcap --init-groups sleep 600";
    const pids = await Promise.all(
      others.map((node) => shell(node, `${busy} <${DATA}/version-2/currentEpoch >/dev/null 2>&1 & echo $!`)),
    );
    // Where it comes before they serve it leads them, and they take its data.
    const late = shell(
      restored,
      `until pgrep -f '[r]estore .* --replace'; do sleep 0.1; done
      kill -STOP "$(pgrep -f '[r]estore .* --replace')"`,
    ).then(async () => {
      await Promise.all(others.map((node) => eventually("the server", () => askMember(node), 90_000)));
      await shell(restored, "kill -CONT \"$(pgrep -f '[r]estore .* --replace')\"");
    });
    const ended = await everywhere(errand);
    await late;
    for (const { code, stderr } of ended.slice(0, 2)) {
      expect([code, stderr]).toEqual([1, expect.stringContaining("was not restored")]);
      expect(stderr).toContain("ZooKeeper is started again, with its data as it was");
    }
    expect(ended[2]).toMatchObject({ code: 1, stderr: expect.stringContaining("So it is kept stopped") });
    for (const { machine } of others) expect(ended[2]?.stderr).toContain(machine.ip);
    expect(await shell(restored, "pgrep java")).toBe("");
    for (const [index, node] of others.entries()) {
      await eventually("the server", () => askMember(node), 90_000);
      expect(await children(node)).toBe("[kept, later, zookeeper]");
      await shell(node, `kill ${pids[index]}`);
    }
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
        // One was restored before, and in vain.
        expect(await shell(node, `ls -d ${kept}/version-2.replaced-* | wc -l`)).toBe(node === nodes[2] ? "2" : "1");
      }
      expect(await shell(node, `cat ${DATA}/myid`)).toBe(String(node.instance.index + 1));
    }
    expect((await bootstrap.machine.run([CLI, "release"])).stdout).toBe("nothing was held\n");
    expect((await errand(bootstrap)).stderr).toContain("no backup is chosen");
  }, 240_000);

  it("is not in the way of what a backup owes whose server does not come back", async () => {
    for (const { code } of await everywhere((node) => choose(node, id))) expect(code).toBe(0);
    await zkCli(bootstrap, ["create /more 7"]);
    const request = "POST /api/v1/series/zookeeper/run HTTP/1.0\\r\\nAuthorization: Bearer %s\\r\\n\\r\\n";
    const helper = "/var/vcap/store/zk-backyp-helper";
    await shell(
      bootstrap,
      `exec 3<>/dev/tcp/127.0.0.1/9642
      printf '${request}' "$(cat /var/vcap/data/zk-backyp/http-token)" >&3
      until [ -e ${helper}/stop.json ]; do sleep 0.05; done
      # Without it the server is not started.
      mv ${DATA}/myid /var/vcap/store/
      while pgrep java; do sleep 0.1; done`,
    );
    const mended = shell(
      bootstrap,
      `until [ -e /var/vcap/data/zk-backyp/ended-for-restore ] && [ ! -e ${helper}/stop.json ]; do sleep 0.2; done
      mv /var/vcap/store/myid ${DATA}/`,
    );
    await waitsForMembers(bootstrap, 5);
    const ended = await everywhere(errand);
    await mended;
    // The others have found it down from the beginning, and are restored without it. It takes their data.
    expect(ended.map(({ code }) => code)).toEqual([1, 0, 0]);
    expect(ended[0]?.stderr).toContain("is ended for the time of the restore");
    expect(ended[0]?.stderr).toContain("these servers of the ensemble still run");
    await waitsForMembers(bootstrap, 120);
    await eventually("the server", () => askMember(bootstrap), 90_000);
    expect(await everywhere(children)).toEqual(nodes.map(() => "[kept, zookeeper]"));
    // All of the job runs again.
    const monitored = (await bootstrap.agent.services()).filter(({ isMonitored }) => isMonitored);
    expect(monitored.map(({ name }) => name).toSorted()).toEqual(["zk-backyp", "zk-backyp-helper", "zookeeper"]);
    await eventually("the daemon", async () => {
      const { stdout } = await bootstrap.machine.run([CLI, "release"]);
      return stdout === "nothing was held\n" ? true : null;
    });
  }, 400_000);

  it("restores what the manifest says once, also the newest", async () => {
    await zkCli(bootstrap, ["create /newest 5"]);
    const { code } = await bootstrap.machine.run([CLI, "backup", "--mode", "hot"]);
    expect(code).toBe(0);
    await zkCli(bootstrap, ["create /gone 6"]);
    await everywhere(async ({ instance, machine }) => {
      const { context } = instance.jobs.find(({ name }) => name === "restore") as Instance["jobs"][number];
      const properties = { ...context.properties, restore: { backup: "latest" } };
      const rendered = join(folder, machine.name);
      await renderJob({ job: "restore", context: { ...context, properties }, into: rendered });
      const text = await readFile(join(rendered, "bin/run"), "utf8");
      expect((await machine.run(["tee", RUN], { input: text })).code).toBe(0);
    });
    // One that was chosen on some instances, and another in the manifest: they would come to have different data.
    await choose(bootstrap, id);
    expect((await errand(bootstrap)).stderr).toContain(`${id} is chosen, but restore.backup (latest)`);
    await choose(bootstrap);
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
