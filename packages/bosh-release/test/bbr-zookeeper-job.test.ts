import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requirePart, zooKeeperMissing } from "@zk-backyp/testbed";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type BbrAccess,
  type BbrInstance,
  bbrBackup,
  bbrRestore,
  bbrRestoreCleanup,
  machineAccess,
} from "../testing/bbr.ts";
import { askMember, eventually, type Node, zkCli } from "../testing/cluster.ts";
import { deployTogether } from "../testing/deploy-together.ts";
import { schemaErrors } from "../testing/properties-schema.ts";
import { type Properties, RenderError, renderJob, rubyMissing } from "../testing/render-job.ts";
import { shellcheck, shellcheckMissing } from "../testing/shellcheck.ts";
import { makeStandIns } from "../testing/stand-ins.ts";
import { machinesMissing, type Network, startNetwork } from "../testing/stemcell.ts";

const BIN = "/var/vcap/jobs/bbr-zookeeper/bin/bbr";
const STORE = "/var/vcap/store";
const DATA = `${STORE}/zookeeper`;
const SCRIPTS = [
  "backup",
  "metadata",
  "post-backup-unlock",
  "post-restore-unlock",
  "pre-backup-lock",
  "pre-restore-lock",
  "restore",
];
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

describe("the properties of bbr-zookeeper", () => {
  it.each([
    ["nothing", {}, []],
    ["all", { bbr: { backup_one_restore_all: true }, hold_timeout: 1, stop_timeout: 60, start_timeout: 86400 }, []],
    ["a text for true", { bbr: { backup_one_restore_all: "true" } }, ["/bbr/backup_one_restore_all must be boolean"]],
    ["no time at all", { hold_timeout: 0 }, ["/hold_timeout must be >= 1"]],
    ["a text for seconds", { start_timeout: "300" }, ["/start_timeout must be integer"]],
    ["parts of seconds", { stop_timeout: 1.5 }, ["/stop_timeout must be integer"]],
  ])("are checked by the Director: %s", (_, properties, errors) => {
    expect(schemaErrors("bbr-zookeeper", properties)).toEqual(errors);
  });
});

describe.skipIf(!requirePart(rubyMissing()))("the templates of bbr-zookeeper", () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "bbr-zookeeper-"));
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  const render = (properties: Properties, bootstrap = true): Promise<void> =>
    renderJob({ job: "bbr-zookeeper", context: { spec: { ...spec, bootstrap }, properties }, into: folder });

  it("are the scripts that BBR looks for, in good bash, and an empty monit file", async () => {
    await render({});
    expect(await readFile(join(folder, "monit"), "utf8")).toBe("");
    expect((await readdir(join(folder, "bin/bbr"))).sort()).toEqual(SCRIPTS);
    const files = [...SCRIPTS.map((script) => join(folder, "bin/bbr", script)), join(folder, "bin/ensemble.sh")];
    if (hasShellcheck) expect(shellcheck(files)).toBe("");
    for (const file of files) execFileSync("bash", ["-n", file]);
  });

  it.each([
    ["the bootstrap instance", true, {}, "true false 900 180 300"],
    ["another one", false, { bbr: { backup_one_restore_all: true }, hold_timeout: 5 }, "false true 5 180 300"],
  ])("know what to do on %s", async (_, bootstrap, properties, expected) => {
    await render(properties, bootstrap);
    const script = (await readFile(join(folder, "bin/ensemble.sh"), "utf8")).replace(/^\. .*$/m, "");
    await writeFile(
      join(folder, "say"),
      `${script}\necho $BACKS_UP $ONE_BACKUP_FOR_ALL $HOLD_TIMEOUT $STOP_TIMEOUT $START_TIMEOUT`,
    );
    expect(execFileSync("bash", [join(folder, "say")], { encoding: "utf8" })).toBe(`${expected}\n`);
  });

  it.each([
    [{ hold_timeout: "5; rm" }, "hold_timeout has to be a whole number of seconds"],
    [{ stop_timeout: 0 }, "stop_timeout has to be a whole number of seconds"],
    [{ bbr: { backup_one_restore_all: "yes" } }, "bbr.backup_one_restore_all has to be true or false"],
  ])("refuse %j", async (properties, message) => {
    await expect(render(properties)).rejects.toThrow(RenderError);
    await expect(render(properties)).rejects.toThrow(message);
  });
});

const canRun = [rubyMissing(), machinesMissing(), zooKeeperMissing()].every(requirePart);

describe.skipIf(!canRun)("BBR with an ensemble of three", () => {
  let folder: string;
  let network: Network;
  let nodes: readonly Node[];
  let instances: readonly BbrInstance[];
  let access: BbrAccess;
  let bootstrap: Node;
  let others: readonly Node[];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "bbr-zookeeper-run-"));
    await chmod(folder, 0o755);
    const packages = join(folder, "packages");
    const sees = await makeStandIns(packages);
    network = await startNetwork(join(folder, "network"), { port: 9 });
    const properties = { bbr: { backup_one_restore_all: true }, stop_timeout: 5, start_timeout: 90 };
    const jobs = [
      { name: "zookeeper", properties: { heap_size_mb: 128 } },
      { name: "bbr-zookeeper", properties },
    ];
    nodes = await deployTogether(network, { instances: 3, jobs, packages, sees, number: 11 });
    [bootstrap, ...others] = nodes as [Node, Node, Node];
    instances = nodes.map(({ instance: { group, index, bootstrap: isBootstrap } }) => ({
      group,
      index,
      bootstrap: isBootstrap,
      jobs: [{ name: "bbr-zookeeper", release: "zookeeper-hybris", backupOneRestoreAll: true }],
    }));
    access = machineAccess(({ index }) => nodeOf(index).machine);
  }, 240_000);

  afterAll(async () => {
    await network?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const nodeOf = (index: number): Node => nodes.find((node) => node.instance.index === index) as Node;
  const script = (node: Node, name: string, env = {}) => node.machine.run([`${BIN}/${name}`], { env });
  const shell = async (node: Node, text: string): Promise<string> =>
    (await node.machine.run(["bash", "-c", text])).stdout.trim();
  const serves = (node: Node): Promise<unknown> => eventually("the server", () => askMember(node), 90_000);
  const children = async (node: Node): Promise<string> =>
    /^\[.*\]$/m.exec(await zkCli(node, ["sync /", "ls /"]))?.[0] ?? "";

  it("backs up without a stop, restores what was deleted on all servers, and says so", async () => {
    await zkCli(bootstrap, ["create /kept 1", "create /deleted 2"]);
    const pids = await Promise.all(nodes.map((node) => shell(node, "cat /var/vcap/sys/run/zookeeper/*.pid")));
    const into = join(folder, "backup");
    await bbrBackup(instances, access, into);
    expect(await Promise.all(nodes.map((node) => shell(node, "cat /var/vcap/sys/run/zookeeper/*.pid")))).toEqual(pids);

    // What BBR has fetched is a store like others.
    const artifact = join(into, "bbr-zookeeper-zookeeper-hybris-backup-one-restore-all");
    const files = await readdir(artifact, { recursive: true });
    expect(files.filter((name) => /\.(json|gz)$/.test(name))).toHaveLength(2);
    for (const { instance } of others) {
      const left = await readdir(join(into, `zookeeper-${instance.index}-bbr-zookeeper`));
      expect(left).toEqual(["backup-is-on-the-bootstrap-instance"]);
    }

    await zkCli(bootstrap, ["delete /deleted", "create /later 3"]);
    let said = "";
    const run: BbrAccess["run"] = async (instance, argv, env) => {
      const ended = await access.run(instance, argv, env);
      if (argv[0]?.startsWith(BIN)) said += ended.stderr;
      return ended;
    };
    await bbrRestore(instances, { ...access, run }, into);
    for (const node of nodes) {
      expect(await serves(node)).toMatchObject({ nodeCount: 7 });
      expect(await children(node)).toBe("[deleted, kept, zookeeper]");
      expect(await shell(node, `ls -d ${DATA}/version-2.replaced-* | wc -l`)).toBe("1");
      expect(await shell(node, `stat -c %U:%G ${DATA}/version-2 ${DATA}/version-2/* | sort -u`)).toBe("vcap:vcap");
      expect(await shell(node, `ls ${STORE} /var/vcap/data/bbr-zookeeper`)).not.toContain("bbr-backup");
      expect(await shell(node, "/var/vcap/bosh/bin/monit summary")).toMatch(/zookeeper +OK/);
    }
    // BBR unlocks one after the other: the first cannot serve yet.
    expect(said).toContain("It serves when a majority of the ensemble runs");
    expect(said).toContain("7 znodes, as in the backup");
    expect(said).not.toContain("error");
  }, 300_000);

  it("unlocks again, and where nothing was locked, without doing anything", async () => {
    for (const name of ["post-restore-unlock", "post-backup-unlock"]) {
      expect(await script(bootstrap, name)).toMatchObject({ code: 0 });
    }
    await bbrRestoreCleanup(instances, access);
    expect(await askMember(bootstrap)).not.toBeNull();
    // A server that somebody else has stopped stays so.
    await bootstrap.machine.run(["/var/vcap/bosh/bin/monit", "stop", "zookeeper"]);
    await eventually("the stop", async () => ((await shell(bootstrap, "pgrep java")) === "" ? true : null));
    expect((await script(bootstrap, "post-restore-unlock")).stderr).toContain("nothing was stopped here");
    expect(await shell(bootstrap, "pgrep java")).toBe("");
    await bootstrap.machine.run(["/var/vcap/bosh/bin/monit", "start", "zookeeper"]);
    await serves(bootstrap);
  });

  it("backs up without locks", async () => {
    const into = join(folder, "lock-free");
    await bbrBackup(instances, access, into, { unsafeLockFree: true });
    expect(await readdir(into)).toContain("bbr-zookeeper-zookeeper-hybris-backup-one-restore-all");
  });

  it("refuses a damaged backup while all servers still run", async () => {
    const into = join(folder, "damaged");
    await bbrBackup(instances, access, into);
    const archives = join(into, "bbr-zookeeper-zookeeper-hybris-backup-one-restore-all/zookeeper-backup/archives");
    const [archive = ""] = await readdir(archives);
    const bytes = await readFile(join(archives, archive));
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await writeFile(join(archives, archive), bytes);
    await expect(bbrRestore(instances, access, into)).rejects.toThrow("Nothing was stopped, and no data was touched");
    for (const node of nodes) expect(await askMember(node)).not.toBeNull();
  });

  it("fails, and starts all servers again as they were, where one does not stop", async () => {
    const into = join(folder, "stuck");
    await bbrBackup(instances, access, into);
    await zkCli(bootstrap, ["create /after-the-backup 4"]);
    const stuck = others[1] as Node;
    const pid = await shell(stuck, "cat /var/vcap/sys/run/zookeeper/zookeeper.pid");
    await stuck.machine.run(["kill", "-STOP", pid]);
    const run: BbrAccess["run"] = async (instance, argv, env) => {
      const ended = await access.run(instance, argv, env);
      if (instance.index === stuck.instance.index && argv[0]?.endsWith("pre-restore-lock")) {
        await stuck.machine.run(["kill", "-CONT", pid]);
      }
      return ended;
    };
    await expect(bbrRestore(instances, { ...access, run }, into)).rejects.toThrow(
      `ZooKeeper has not stopped in time: its process ${pid} still runs`,
    );
    for (const node of nodes) {
      await serves(node);
      expect(await children(node)).toContain("after-the-backup");
    }
  }, 240_000);

  it("restores nothing on a server whose lock has not run, or while another server runs", async () => {
    const artifact = `${STORE}/bbr-backup/x`;
    await bootstrap.machine.run(["mkdir", "-p", artifact]);
    const env = { BBR_ARTIFACT_DIRECTORY: `${artifact}/` };
    const unlocked = await script(bootstrap, "restore", env);
    expect(unlocked).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("pre-restore-lock has not stopped ZooKeeper"),
    });
    expect((await script(bootstrap, "pre-restore-lock")).code).toBe(0);
    // Idempotent.
    expect((await script(bootstrap, "pre-restore-lock")).code).toBe(0);
    const early = await script(bootstrap, "restore", env);
    expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining("servers of the ensemble still run") });
    for (const { machine } of others) expect(early.stderr).toContain(machine.ip);
    expect((await script(bootstrap, "post-restore-unlock")).code).toBe(0);
    expect(await askMember(bootstrap)).not.toBeNull();
    await bootstrap.machine.run(["rm", "-rf", `${STORE}/bbr-backup`]);
  });

  it.each([
    ["no folder", {}],
    ["a folder that is missing", { BBR_ARTIFACT_DIRECTORY: "/var/vcap/store/none/" }],
    ["the root", { BBR_ARTIFACT_DIRECTORY: "/" }],
  ])("backs up and restores nothing with %s", async (_, env) => {
    for (const name of ["backup", "restore"]) {
      const { code, stderr } = await script(bootstrap, name, env);
      expect([code, stderr]).toEqual([1, expect.stringContaining("BBR_ARTIFACT_DIRECTORY is not set to a folder")]);
    }
  });

  it("refuses all but unlocks where each server would get a backup of its own", async () => {
    const file = "/var/vcap/jobs/bbr-zookeeper/bin/ensemble.sh";
    const artifact = `${STORE}/bbr-backup/bbr-zookeeper`;
    await bootstrap.machine.run(["mkdir", "-p", artifact]);
    await bootstrap.machine.run(["sed", "-i", "s/ONE_BACKUP_FOR_ALL=true/ONE_BACKUP_FOR_ALL=false/", file]);
    try {
      for (const name of ["pre-backup-lock", "backup", "pre-restore-lock", "restore"]) {
        const { code, stderr } = await script(bootstrap, name, { BBR_ARTIFACT_DIRECTORY: `${artifact}/` });
        expect([name, code, stderr]).toEqual([
          name,
          1,
          expect.stringContaining("set bbr.backup_one_restore_all to true"),
        ]);
      }
      expect((await script(bootstrap, "post-restore-unlock")).code).toBe(0);
      expect(await askMember(bootstrap)).not.toBeNull();
    } finally {
      await bootstrap.machine.run(["sed", "-i", "s/ONE_BACKUP_FOR_ALL=false/ONE_BACKUP_FOR_ALL=true/", file]);
      await bootstrap.machine.run(["rm", "-rf", `${STORE}/bbr-backup`]);
    }
  });

  it("works where root's new folders are closed to others", async () => {
    const closed: BbrAccess = {
      ...access,
      async run(instance, argv, env) {
        const ended = await access.run(instance, argv, env);
        if (argv[0] === "mkdir") await access.run(instance, ["chmod", "-R", "go=", `${STORE}/bbr-backup`], {});
        return ended;
      },
    };
    await bbrBackup(instances, closed, join(folder, "closed"));
  });
});
