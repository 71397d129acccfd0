import { X509Certificate } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeCertificates, requirePart } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type BoshEnded, requireBoshCli, runBosh } from "../testing/bosh-cli.ts";
import { type Deployment, type Instance, type PlanOptions, planDeployment } from "../testing/director.ts";
import { schemaErrors } from "../testing/properties-schema.ts";
import { renderJob, rubyMissing } from "../testing/render-job.ts";

const MANIFESTS = fileURLToPath(new URL("../manifests/", import.meta.url));
const OPERATIONS = readdirSync(join(MANIFESTS, "operations")).map((file) => basename(file, ".yml"));

/** Values for the variables that the manifests and ops files name. */
const VALUES: Readonly<Record<string, string>> = {
  zookeeper_hybris_version: "1.2.3",
  zk_backup_s3_bucket: "backups",
  zk_backup_s3_region: "eu-central-1",
  zk_backup_s3_access_key_id: "AKIATEST",
  zk_backup_s3_secret_access_key: "not-a-secret",
  zk_backup_s3_endpoint: "https://s3.internal:9000",
  zk_backup_vm_extension: "zk-backyp",
  zk_backup_webhook: "https://hooks.example.com/zookeeper",
  zk_restore_backup: "zookeeper-backup-20261122T205822396Z",
  zookeeper_instances: "5",
  zookeeper_ip_1: "10.0.0.1",
  zookeeper_ip_2: "10.0.0.2",
  zookeeper_ip_3: "10.0.0.3",
  zookeeper_z1_ip: "10.0.1.1",
  zookeeper_z2_ip: "10.0.2.1",
  zookeeper_z3_ip: "10.0.3.1",
};
const KEYS = ["zk_backup_s3_access_key_id", "zk_backup_s3_secret_access_key"];
// --vars-store makes them, as CredHub does; the CA has its own file.
const NOT_GIVEN = ["zookeeper_ca", "zookeeper_tls", "zookeeper_client_tls", "zk_backup_s3_ca"];

const ready = requirePart(rubyMissing()) && (await requireBoshCli());

let folder: string;
let caFile: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "manifests-"));
  ({ caFile } = await makeCertificates(join(folder, "certificates")));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function textOf(name: string): string {
  const file = name === "zookeeper" || name === "legacy" ? `${name}.yml` : join("operations", `${name}.yml`);
  return readFileSync(join(MANIFESTS, file), "utf8");
}

/** The variables that a manifest or an ops file asks for. */
function variablesIn(name: string): readonly string[] {
  const code = textOf(name).replaceAll(/^\s*#.*$/gm, "");
  return [...new Set([...code.matchAll(/\(\((\w+)/g)].map(([, variable]) => variable ?? ""))];
}

/** The variables of a manifest that ops files take out of it. */
function notAskedFor(operations: readonly string[]): readonly string[] {
  return [
    ...(operations.includes("iam-profile") ? KEYS : []),
    ...(operations.includes("dev-release") ? ["zookeeper_hybris_version"] : []),
  ];
}

/** What `bosh int` makes of a manifest, with the real CLI. `without` are variables that are not given. */
async function interpolate(
  manifest: string,
  operations: readonly string[],
  without: readonly string[] = notAskedFor(operations),
): Promise<BoshEnded> {
  const asked = new Set([manifest, ...operations].flatMap(variablesIn));
  const given = [...asked].filter((name) => !NOT_GIVEN.includes(name) && !without.includes(name));
  const args = [
    "int",
    join(MANIFESTS, `${manifest}.yml`),
    ...operations.flatMap((name) => ["-o", join(MANIFESTS, "operations", `${name}.yml`)]),
    ...given.flatMap((name) => ["-v", `${name}=${VALUES[name]}`]),
    ...(operations.includes("s3-ca") ? ["--var-file", `zk_backup_s3_ca=${caFile}`] : []),
    ...(operations.includes("tls") ? ["--vars-store", join(folder, "vars.yml")] : []),
    "--var-errs",
    "--var-errs-unused",
  ];
  return runBosh(args);
}

const deployed = new Map<string, Promise<Deployment>>();
const folders = new WeakMap<Instance, string>();

/** All that a Director would do with it, up to sending it to the VMs. Done once for each manifest. */
function deploy(manifest: string, operations: readonly string[], options: PlanOptions = {}): Promise<Deployment> {
  const key = JSON.stringify([manifest, operations, options]);
  const doing = deployed.get(key) ?? deployAnew(manifest, operations, options);
  deployed.set(key, doing);
  return doing;
}

async function deployAnew(manifest: string, operations: readonly string[], options: PlanOptions): Promise<Deployment> {
  const { code, stdout, stderr } = await interpolate(manifest, operations);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const deployment = planDeployment(parse(stdout), options);
  for (const instance of deployment.instances) await render(instance);
  return deployment;
}

async function render(instance: Instance): Promise<void> {
  const into = mkdtempSync(join(folder, "instance-"));
  folders.set(instance, into);
  for (const { name, context } of instance.jobs) {
    expect(schemaErrors(name, context.properties), name).toEqual([]);
    await renderJob({ job: name, context, into: join(into, name) });
  }
}

/** What was rendered of a job of an instance. */
function rendered(instance: Instance, job: string, file: string): string {
  return readFileSync(join(folders.get(instance) ?? "", job, file), "utf8");
}

function has(instance: Instance, job: string): boolean {
  return instance.jobs.some(({ name }) => name === job);
}

function members({ instances }: Deployment): readonly Instance[] {
  return instances.filter((instance) => has(instance, "zookeeper"));
}

/** The instances on which monit has a daemon to start. */
function daemons(deployment: Deployment): readonly Instance[] {
  return deployment.instances.filter(
    (instance) => has(instance, "zk-backyp") && rendered(instance, "zk-backyp", "monit").includes("check process"),
  );
}

function series(instance: Instance) {
  return JSON.parse(rendered(instance, "zk-backyp", "config/zk-backyp.json")).series.zookeeper;
}

function myids(deployment: Deployment): readonly number[] {
  return members(deployment).map((member) => Number(rendered(member, "zookeeper", "config/myid")));
}

/** The settings of a member's zoo.cfg. */
function zooCfg(member: Instance | undefined): Readonly<Record<string, string>> {
  if (member === undefined) throw new Error("no such member");
  const lines = rendered(member, "zookeeper", "config/zoo.cfg").split("\n");
  return Object.fromEntries(
    lines.filter((line) => line.includes("=")).map((line) => /^([^=]+)=(.*)$/.exec(line)?.slice(1) ?? []),
  );
}

function serverList(member: Instance | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(zooCfg(member)).filter(([name]) => name.startsWith("server.")));
}

/** That the members make up one ensemble: ids from 1 on, each its own, and one list of servers. */
function expectOneEnsemble(deployment: Deployment, size: number): void {
  const ids = Array.from({ length: size }, (_, index) => index + 1);
  expect(myids(deployment)).toEqual(ids);
  const [first, ...others] = members(deployment);
  expect(Object.keys(serverList(first))).toEqual(ids.map((id) => `server.${id}`));
  for (const other of others) expect(serverList(other)).toEqual(serverList(first));
}

describe("every ops file", () => {
  it.each(OPERATIONS)("%s says what it does, when it is for, and which variables it takes", (name) => {
    const head = textOf(name)
      .split("\n")
      .filter((line) => line.startsWith("#"))
      .join("\n");
    for (const word of ["What:", "When:", "Give:"]) expect(head).toContain(word);
    const made = [...textOf(name).matchAll(/^ {4}name: (\w+)\n {4}type: certificate/gm)].map(([, made]) => made);
    for (const variable of variablesIn(name)) {
      if (!made.includes(variable) && !variablesIn("zookeeper").includes(variable)) expect(head).toContain(variable);
    }
  });
});

describe.skipIf(!ready)("a manifest of three servers", () => {
  const combinations = [
    [],
    ["iam-profile"],
    ["s3-compatible"],
    ["s3-compatible", "s3-ca", "hot-backups"],
    ["bbr"],
    ["restore"],
    ["bbr", "restore", "iam-profile"],
    ["tls"],
    ["tls", "bbr", "restore", "s3-compatible", "s3-ca", "hot-backups"],
    ["jammy"],
    ["dev-release"],
    ["scale-to-5"],
    ["scale-to-5", "tls", "iam-profile"],
    ["legacy-zones"],
    ["jammy", "dev-release", "legacy-zones"],
    ["tls", "tls-step-1"],
    ["tls", "tls-step-2"],
    ["errands"],
    ["notifications", "elected"],
    ["notifications", "elected", "tls", "bbr", "hot-backups"],
  ];

  it.each(combinations.map((operations) => [operations]))(
    "with %j is one that a Director deploys",
    async (operations) => {
      const deployment = await deploy("zookeeper", operations);
      expectOneEnsemble(deployment, operations.includes("scale-to-5") ? 5 : 3);
      const elects = operations.includes("legacy-zones") || operations.includes("elected");
      expect(daemons(deployment)).toHaveLength(elects ? 3 : 1);
      // What a restore runs on: all of them, at the same time.
      for (const member of members(deployment)) expect(has(member, "restore")).toBe(true);
    },
  );

  it("is tried with every ops file", () => {
    expect([...new Set(combinations.flat())].toSorted()).toEqual(OPERATIONS.toSorted());
  });

  it.each(["zookeeper", ...OPERATIONS])("of which %s misses a variable is refused", async (name) => {
    const operations = name === "zookeeper" ? [] : [name];
    const known = notAskedFor(operations);
    for (const variable of variablesIn(name).filter((one) => !NOT_GIVEN.includes(one))) {
      const { code, stdout, stderr } = await interpolate("zookeeper", operations, [...known, variable]);
      expect(code, variable).toBe(1);
      expect(stdout + stderr).toContain(variable);
    }
  });

  it.each(["zookeeper", "legacy"])("%s has the version of the release that it is told", async (name) => {
    // `latest` may be the old release, which has the same name.
    expect(parse((await interpolate(name, [])).stdout).releases).toEqual([
      { name: "zookeeper-hybris", version: "1.2.3" },
    ]);
  });

  it("is spread over three AZs, with a server that is known by name", async () => {
    const deployment = await deploy("zookeeper", []);
    expect(members(deployment).map(({ az }) => az)).toEqual(["z1", "z2", "z3"]);
    const [first] = members(deployment);
    expect(serverList(first)["server.1"]).toBe(`${first?.id}.zookeeper.default.zookeeper.bosh:2888:3888`);
  });

  it("backs up the bootstrap instance, cold, to S3 with the keys", async () => {
    const deployment = await deploy("zookeeper", []);
    const [daemon] = daemons(deployment);
    expect(daemon?.bootstrap).toBe(true);
    expect(series(daemon as Instance)).toMatchObject({
      source: { mode: "cold" },
      sink: { bucket: "backups", region: "eu-central-1", accessKeyId: "AKIATEST", secretAccessKey: "not-a-secret" },
      schedule: { interval: 86_400 },
      verify: { schedule: { interval: 604_800 } },
    });
  });

  it("with elected and notifications has three daemons that elect one, and tell a webhook", async () => {
    const deployment = await deploy("zookeeper", ["notifications", "elected"]);
    for (const daemon of daemons(deployment)) {
      expect(series(daemon).runOn).toBe("elected");
      const { notifications } = JSON.parse(rendered(daemon, "zk-backyp", "config/zk-backyp.json"));
      expect(notifications).toEqual([
        { use: "webhook", url: VALUES.zk_backup_webhook, body: { text: "{{event}}: {{message}} {{remedy}}" } },
      ]);
    }
  });

  it("that has lost an instance keeps ids and backups where they were", async () => {
    const state = { zookeeper: { indexes: [0, 2, 3], bootstrap: 2 } };
    const deployment = await deploy("zookeeper", [], { groups: state });
    expect(myids(deployment)).toEqual([1, 3, 4]);
    expect(daemons(deployment).map(({ index }) => index)).toEqual([2]);
  });

  it("with iam-profile has no keys, and the VM extension", async () => {
    const deployment = await deploy("zookeeper", ["iam-profile"]);
    const [daemon] = daemons(deployment);
    expect(series(daemon as Instance).sink).toEqual({ use: "s3", bucket: "backups", region: "eu-central-1" });
    const { stdout } = await interpolate("zookeeper", ["iam-profile"]);
    expect(parse(stdout).instance_groups[0].vm_extensions).toEqual(["zk-backyp"]);
  });

  it("with s3-compatible and s3-ca goes to that store, and trusts that authority", async () => {
    const deployment = await deploy("zookeeper", ["s3-compatible", "s3-ca"]);
    const [daemon] = daemons(deployment);
    expect(series(daemon as Instance).sink).toMatchObject({
      endpoint: "https://s3.internal:9000",
      pathStyle: true,
      caFile: "/var/vcap/jobs/zk-backyp/config/s3-ca.pem",
    });
    expect(rendered(daemon as Instance, "zk-backyp", "config/s3-ca.pem").trim()).toBe(
      readFileSync(caFile, "utf8").trim(),
    );
  });

  it("with hot-backups stops nothing, and runs nothing as root", async () => {
    const deployment = await deploy("zookeeper", ["hot-backups"]);
    const [daemon] = daemons(deployment);
    expect(series(daemon as Instance).source.mode).toBe("hot");
    expect(rendered(daemon as Instance, "zk-backyp", "monit")).not.toContain("helper");
  });

  it("with tls has no port without it, and certificates that belong together", async () => {
    const deployment = await deploy("zookeeper", ["tls"]);
    for (const member of members(deployment)) {
      expect(zooCfg(member)).toMatchObject({ secureClientPort: "2281", sslQuorum: "true", "ssl.clientAuth": "need" });
      expect(zooCfg(member)).not.toHaveProperty("clientPort");
      expect(rendered(member, "zookeeper", "config/quorum-tls.pem")).toMatch(/^-----BEGIN PRIVATE KEY-----/);
      const certificate = new X509Certificate(
        /-----BEGIN CERTIFICATE.*/s.exec(rendered(member, "zookeeper", "config/quorum-tls.pem"))?.[0] ?? "",
      );
      // The CLI has made it, which knows of no link.
      const [address = ""] = serverList(member)[`server.${member.index + 1}`]?.split(":") ?? [];
      expect(certificate.checkHost(address)).toBeDefined();
      const ca = new X509Certificate(rendered(member, "zookeeper", "config/quorum-ca.pem"));
      expect(Date.parse(ca.validTo) - Date.parse(certificate.validTo)).toBeGreaterThan(5 * 365 * 86_400_000);
    }
    const [daemon] = daemons(deployment);
    expect(series(daemon as Instance).source.tls).toMatchObject({ serverName: "zookeeper.internal" });
  });

  it("gets to tls in steps, in each of which the servers understand those of the one before", async () => {
    const [before] = members(await deploy("zookeeper", ["tls", "tls-step-1"]));
    expect(zooCfg(before)).toMatchObject({
      clientPort: "2181",
      secureClientPort: "2281",
      portUnification: "true",
      "ssl.quorum.keyStore.location": "/var/vcap/jobs/zookeeper/config/client-tls.pem",
      "ssl.quorum.trustStore.location": "/var/vcap/jobs/zookeeper/config/client-ca.pem",
    });
    expect(zooCfg(before)).not.toHaveProperty("sslQuorum");
    const [after] = members(await deploy("zookeeper", ["tls", "tls-step-2"]));
    expect(zooCfg(after)).toMatchObject({ clientPort: "2181", sslQuorum: "true", portUnification: "true" });
    const [last] = members(await deploy("zookeeper", ["tls"]));
    expect(zooCfg(last)).not.toHaveProperty("portUnification");
  });

  it("with bbr has BBR take the bootstrap instance's backup for all", async () => {
    const deployment = await deploy("zookeeper", ["bbr"]);
    for (const member of members(deployment)) expect(has(member, "bbr-zookeeper")).toBe(true);
    // Where bbr itself looks for it: in the manifest.
    const jobs: { name: string; properties: Record<string, unknown> }[] = parse(
      (await interpolate("zookeeper", ["bbr"])).stdout,
    ).instance_groups[0].jobs;
    const properties = jobs.find(({ name }) => name === "bbr-zookeeper")?.properties;
    expect(properties).toEqual({ bbr: { backup_one_restore_all: true } });
  });

  it("with legacy-zones has the ids of old, and daemons that elect one of them", async () => {
    const deployment = await deploy("zookeeper", ["legacy-zones"]);
    expect(members(deployment).map(({ group, index }) => `${group}/${index}`)).toEqual([
      "zookeeper_z1/0",
      "zookeeper_z2/0",
      "zookeeper_z3/0",
    ]);
    expect(Object.values(serverList(members(deployment)[0])).map((server) => server.split(":")[0])).toEqual([
      "10.0.1.1",
      "10.0.2.1",
      "10.0.3.1",
    ]);
    for (const daemon of daemons(deployment)) expect(series(daemon).runOn).toBe("elected");
    const smokeTests = deployment.instances.find((instance) => has(instance, "smoke-tests"));
    for (const ip of ["10.0.1.1", "10.0.2.1", "10.0.3.1"]) {
      expect(rendered(smokeTests as Instance, "smoke-tests", "bin/run")).toContain(ip);
    }
  });

  it("with groups for zones and no word on links is refused, as docs/migration.md says", async () => {
    const manifest = parse((await interpolate("zookeeper", ["legacy-zones"])).stdout);
    for (const group of manifest.instance_groups) for (const job of group.jobs) delete job.consumes;
    expect(() => planDeployment(manifest)).toThrow(/Failed to resolve link 'peers'.*Multiple link providers found/);
  });
});

describe.skipIf(!ready)("a manifest of old", () => {
  it("is one that a Director deploys, with its servers, ids and one backup as they were", async () => {
    const deployment = await deploy("legacy", []);
    expectOneEnsemble(deployment, 3);
    expect(serverList(members(deployment)[0])).toEqual({
      "server.1": "10.0.0.1:2888:3888",
      "server.2": "10.0.0.2:2888:3888",
      "server.3": "10.0.0.3:2888:3888",
    });
    expect(zooCfg(members(deployment)[0])).toMatchObject({
      dataDir: "/var/vcap/store/zookeeper",
      "autopurge.purgeInterval": "24",
      "autopurge.snapRetainCount": "3",
    });
    expect(daemons(deployment)).toHaveLength(1);
    expect(series(daemons(deployment)[0] as Instance)).toMatchObject({
      prefix: "zookeeper-backup",
      schedule: { interval: 86_400 },
      source: { mode: "cold" },
      sink: { bucket: "backups", accessKeyId: "AKIATEST", secretAccessKey: "not-a-secret" },
    });
  });

  it("gets its errands by an ops file, and a choice for the one by another", async () => {
    const deployment = await deploy("legacy", ["errands", "restore"]);
    for (const member of members(deployment)) {
      expect(rendered(member, "restore", "bin/run")).toContain(VALUES.zk_restore_backup);
      expect(rendered(member, "smoke-tests", "bin/run")).toContain("10.0.0.1");
    }
  });

  it("takes names of today beside those of old, at the top", async () => {
    const manifest = parse((await interpolate("legacy", ["errands"])).stdout);
    Object.assign(manifest.properties, {
      extra_config: { "snapshot.trust.empty": true },
      backup: { node: "elected", verify_interval: 604_800 },
      notifications: [{ use: "webhook", url: "https://hooks.example.com/zookeeper" }],
    });
    const deployment = planDeployment(manifest);
    for (const member of members(deployment)) {
      await render(member);
      expect(zooCfg(member)).toHaveProperty("snapshot.trust.empty", "true");
      expect(series(member)).toMatchObject({ runOn: "elected", verify: { schedule: { interval: 604_800 } } });
      expect(rendered(member, "zk-backyp", "config/zk-backyp.json")).toContain("https://hooks.example.com/zookeeper");
      expect(rendered(member, "smoke-tests", "bin/run")).toContain("10.0.0.1");
    }
  });

  it.each(["bbr", "dev-release", "jammy"])("goes with %s", async (name) => {
    const { code, stderr } = await interpolate("legacy", [name]);
    expect([code, stderr]).toEqual([0, ""]);
  });

  it("has the names of old alone", () => {
    const { properties, instance_groups: groups } = parse(textOf("legacy"));
    expect(Object.keys(properties)).toEqual(["zookeeper", "zk_backyp"]);
    for (const { jobs } of groups)
      for (const job of jobs) expect(Object.keys(job).toSorted()).toEqual(["name", "release"]);
  });
});

describe.skipIf(!ready)("the migration from zones to AZs", () => {
  it("keeps the ids that docs/migration.md has people give by UUID", async () => {
    const text = readFileSync(new URL("../docs/migration.md", import.meta.url), "utf8");
    const snippet = /```yaml\n( {3}instance_groups:\n.*?)```/s.exec(text)?.[1] ?? "";
    const [group] = parse(snippet).instance_groups;
    const manifest = parse((await interpolate("zookeeper", [])).stdout);
    const { migrated_from: from, jobs, ...changed } = group;
    expect(from).toHaveLength(3);
    Object.assign(manifest.instance_groups[0], changed);
    manifest.instance_groups[0].jobs[0].properties = jobs[0].properties;
    const ids = Object.keys(jobs[0].properties.myids);
    // The Director gives the indexes anew, in any order.
    const deployment = planDeployment(manifest, { groups: { zookeeper: { ids, indexes: [2, 0, 1] } } });
    for (const member of members(deployment)) await render(member);
    for (const member of members(deployment)) {
      expect(Number(rendered(member, "zookeeper", "config/myid"))).toBe(ids.indexOf(member.id) + 1);
    }
  });
});
