import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeCertificates, monitMissing, requirePart } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Instance, PlanOptions } from "../testing/director.ts";
import { schemaErrors } from "../testing/properties-schema.ts";
import { type Properties, renderJob, rubyMissing } from "../testing/render-job.ts";
import { type Group, planMembers } from "./zookeeper-job-manifest.ts";

let folder: string;
let rendered = 0;
let tls: { enabled: true; certificate: string; private_key: string; ca: string };
let stranger: { certificate: string; private_key: string };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "zookeeper-job-"));
  const made = await makeCertificates(join(folder, "certificates"));
  const read = (file: string): string => readFileSync(file, "utf8");
  const ca = read(made.caFile);
  tls = { enabled: true, certificate: read(made.server.certFile), private_key: read(made.server.keyFile), ca };
  stranger = { certificate: read(made.stranger.certFile), private_key: read(made.stranger.keyFile) };
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Rendered {
  readonly directory: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly myid: string;
  read(file: string): string;
}

async function render({ jobs: [job] }: Instance): Promise<Rendered> {
  if (job === undefined) throw new Error("an instance without a job");
  rendered += 1;
  const directory = join(folder, String(rendered));
  await renderJob({ job: "zookeeper", context: job.context, into: directory });
  const read = (file: string): string => readFileSync(join(directory, file), "utf8");
  const lines = read("config/zoo.cfg").trimEnd().split("\n");
  const settings = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  return { directory, settings, myid: read("config/myid"), read };
}

/** One instance, alone; what it renders to. */
const renderOne = (properties: Properties = {}): Promise<Rendered> => renderFirst([{ instances: 1, properties }]);

async function renderFirst(groups: readonly Group[], options: PlanOptions = {}): Promise<Rendered> {
  const [first] = planMembers(groups, options);
  if (first === undefined) throw new Error("no instance");
  return render(first);
}

/** Its `server.N` by N, without the ports. */
function serversOf({ settings }: Rendered): Record<string, string> {
  const servers = Object.entries(settings).filter(([key]) => key.startsWith("server."));
  return Object.fromEntries(servers.map(([key, value]) => [key.slice(7), value.replace(/:2888:3888$/, "")]));
}

/** What all instances have: their ids, and the servers, which must be the same for all. */
async function renderAll(groups: readonly Group[], options: PlanOptions = {}) {
  const all = await Promise.all(planMembers(groups, options).map(render));
  const [servers] = all.map(serversOf);
  for (const one of all) expect(serversOf(one)).toEqual(servers);
  return { ids: all.map(({ myid }) => myid), servers };
}

const IPS = ["10.0.0.10", "10.0.0.11", "10.0.0.12"];
const PEERS_OFF = { consumes: { peers: "nil" } };

function shellcheckMissing(): string | null {
  return spawnSync("shellcheck", ["--version"]).status === 0 ? null : "no shellcheck: apt-get install shellcheck";
}

describe.skipIf(!requirePart(rubyMissing()))("the job zookeeper", () => {
  it("is a standalone server where there is one instance", async () => {
    const { settings, myid, read } = await renderOne();
    expect(settings).toEqual({
      dataDir: "/var/vcap/store/zookeeper",
      clientPort: "2181",
      tickTime: "2000",
      initLimit: "10",
      syncLimit: "5",
      maxClientCnxns: "60",
      "autopurge.purgeInterval": "24",
      "autopurge.snapRetainCount": "3",
      "4lw.commands.whitelist": "srvr, mntr, conf, ruok, envi",
      "admin.enableServer": "false",
    });
    expect(myid).toBe("1\n");
    expect(read("config/client-tls.pem") + read("config/quorum-tls.pem")).toBe("");
    expect(read("config/client-ca.pem") + read("config/quorum-ca.pem")).toBe("");
  });

  it.each([3, 5])("is an ensemble of %i over the AZs, by the link to itself", async (instances) => {
    const { ids, servers } = await renderAll([{ instances }]);
    expect(ids).toEqual(Array.from({ length: instances }, (_, index) => `${index + 1}\n`));
    expect(Object.keys(servers ?? {})).toEqual(ids.map((id) => id.trim()));
    expect(new Set(Object.values(servers ?? {})).size).toBe(instances);
  });

  it("keeps the ids where indexes have gaps", async () => {
    const options = { groups: { zookeeper: { indexes: [0, 2, 7], ips: IPS, bootstrap: 2 } } };
    expect(await renderAll([{ instances: 3 }], options)).toEqual({
      ids: ["1\n", "3\n", "8\n"],
      servers: { 1: "10.0.0.10", 3: "10.0.0.11", 8: "10.0.0.12" },
    });
  });

  it("has ids of single members by their UUIDs", async () => {
    const ids = ["aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"];
    const options = { groups: { zookeeper: { ids, ips: IPS.slice(0, 2) } } };
    const properties = { index_offset: 10, myids: { [ids[1] as string]: 5 } };
    expect(await renderAll([{ instances: 2, properties }], options)).toEqual({
      ids: ["11\n", "5\n"],
      servers: { 5: "10.0.0.11", 11: "10.0.0.10" },
    });
  });

  it.each<[string, (offset: number) => Properties]>([
    [
      "the old names",
      (offset) => ({ zookeeper: { servers: [["10.0.1.1", "10.0.1.2"], ["10.0.2.1"]], index_offset: offset } }),
    ],
    ["the new names", (offset) => ({ servers: ["10.0.1.1", "10.0.1.2", "10.0.2.1"], index_offset: offset })],
  ])("is an ensemble of two groups with an offset, with %s", async (_, properties) => {
    const groups = [
      { name: "zookeeper_z1", instances: 2, azs: ["z1"], properties: properties(0), ...PEERS_OFF },
      { name: "zookeeper_z2", instances: 1, azs: ["z2"], properties: properties(2), ...PEERS_OFF },
    ];
    const options = {
      groups: { zookeeper_z1: { ips: ["10.0.1.1", "10.0.1.2"] }, zookeeper_z2: { ips: ["10.0.2.1"] } },
    };
    expect(await renderAll(groups, options)).toEqual({
      ids: ["1\n", "2\n", "3\n"],
      servers: { 1: "10.0.1.1", 2: "10.0.1.2", 3: "10.0.2.1" },
    });
  });

  it("takes addresses with ids, and of IPv6, and prefers them to the link", async () => {
    const properties = {
      servers: [
        { id: 2, address: "FD00:0::2" },
        { id: 1, address: "10.0.0.10" },
        { id: 30, address: "zk.example.com" },
      ],
    };
    const one = await renderFirst([{ instances: 1, properties }], { groups: { zookeeper: { ips: ["10.0.0.10"] } } });
    expect(serversOf(one)).toEqual({ 1: "10.0.0.10", 2: "[fd00::2]", 30: "zk.example.com" });
  });

  it("takes all other old names, with values as old manifests have them", async () => {
    const zookeeper = {
      snapshot_path: "/var/vcap/store/zk/snapshots",
      txlog_path: "/var/vcap/store/zk/logs",
      autopurge: { purgeInterval: "12", snapRetainCount: 7 },
      root: { logger: "info, ROLLINGFILE" },
    };
    expect(schemaErrors("zookeeper", { zookeeper })).toEqual([]);
    const old = await renderOne({ zookeeper });
    const modern = await renderOne({
      data_dir: "/var/vcap/store/zk/snapshots",
      data_log_dir: "/var/vcap/store/zk/logs/",
      autopurge: { purge_interval: 12, snap_retain_count: 7 },
      log_level: "INFO",
    });
    expect(old.settings).toMatchObject({
      dataDir: "/var/vcap/store/zk/snapshots",
      dataLogDir: "/var/vcap/store/zk/logs",
      "autopurge.purgeInterval": "12",
      "autopurge.snapRetainCount": "7",
    });
    expect(old.read("config/logback.xml")).toContain('<root level="INFO">');
    for (const file of ["config/zoo.cfg", "config/logback.xml"]) expect(old.read(file)).toBe(modern.read(file));
  });

  it.each<[string, (offset: unknown) => Properties]>([
    ["the old name", (offset) => ({ zookeeper: { index_offset: offset } })],
    ["the new name", (offset) => ({ index_offset: offset })],
  ])("takes an offset as a text, by %s", async (_, properties) => {
    for (const offset of [3, "3"]) {
      expect(schemaErrors("zookeeper", properties(offset))).toEqual([]);
      expect((await renderOne(properties(offset))).myid).toBe("4\n");
    }
    expect(schemaErrors("zookeeper", properties("three")).join("\n")).toContain("index_offset must match pattern");
    const { ids } = await renderAll([{ instances: 3, properties: properties("3") }]);
    expect(ids).toEqual(["4\n", "5\n", "6\n"]);
  });

  it("has one directory where both are the same", async () => {
    const { settings } = await renderOne({ data_log_dir: "/var/vcap/store/zookeeper" });
    expect(settings).not.toHaveProperty("dataLogDir");
  });

  it("serves clients with TLS besides the plain port, and members with TLS", async () => {
    const one = await renderFirst([{ instances: 3, properties: { tls: { client: tls, quorum: tls } } }]);
    expect(one.settings).toMatchObject({
      clientPort: "2181",
      secureClientPort: "2281",
      serverCnxnFactory: "org.apache.zookeeper.server.NettyServerCnxnFactory",
      "ssl.keyStore.location": "/var/vcap/jobs/zookeeper/config/client-tls.pem",
      "ssl.trustStore.location": "/var/vcap/jobs/zookeeper/config/client-ca.pem",
      "ssl.clientAuth": "need",
      sslQuorum: "true",
      "ssl.quorum.keyStore.location": "/var/vcap/jobs/zookeeper/config/quorum-tls.pem",
      "ssl.quorum.trustStore.location": "/var/vcap/jobs/zookeeper/config/quorum-ca.pem",
    });
    for (const kind of ["client", "quorum"]) {
      expect(one.read(`config/${kind}-tls.pem`)).toMatch(
        /^-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n$/,
      );
      expect(one.read(`config/${kind}-ca.pem`).trim()).toBe(tls.ca.trim());
    }
  });

  it("has no plain port where TLS is to be the only way", async () => {
    const { settings } = await renderOne({ tls: { client: { ...tls, only: true, client_auth: "none", port: 3000 } } });
    expect(settings).toMatchObject({ secureClientPort: "3000", "ssl.clientAuth": "none" });
    expect(settings).not.toHaveProperty("clientPort");
  });

  it("has the AdminServer, metrics and more settings where they are wanted", async () => {
    const { settings } = await renderOne({
      admin_server: { enabled: true, port: 8081 },
      metrics: { enabled: true, host: "::" },
      four_letter_words: ["*"],
      extra_config: { maxSessionTimeout: 120_000, "snapshot.compression.method": "gz", odd: "a\\b" },
    });
    expect(settings).toMatchObject({
      "admin.enableServer": "true",
      "admin.serverAddress": "127.0.0.1",
      "admin.serverPort": "8081",
      "metricsProvider.className": "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
      "metricsProvider.httpHost": "::",
      "metricsProvider.httpPort": "7000",
      "4lw.commands.whitelist": "*",
      maxSessionTimeout: "120000",
      "snapshot.compression.method": "gz",
      odd: "a\\\\b",
    });
  });

  it("passes options to Java as they are", async () => {
    const { read } = await renderOne({ heap_size_mb: 512, jute_max_buffer: 4_194_304, java_options: ["-Da=$(b) 'c'"] });
    const ctl = read("bin/zookeeper_ctl");
    expect(ctl).toContain("\n    -Xmx512m\n    -Djute.maxbuffer\\=4194304\n");
    expect(spawnSync("bash", ["-c", `printf %s ${/^ {4}(-Da.*)$/m.exec(ctl)?.[1]}`], { encoding: "utf8" }).stdout).toBe(
      "-Da=$(b) 'c'",
    );
  });

  describe("says what is wrong with", () => {
    const at = { groups: { zookeeper: { ips: ["10.0.0.10"] } } };
    const servers = ["10.0.0.10", "10.0.0.11", "10.0.0.12"];
    it.each<[string, Properties, RegExp]>([
      ["an id that the list has not", { servers, index_offset: 3 }, /its id is 4, but servers has only 1, 2, 3/],
      [
        "an address at another place of the list",
        { servers, index_offset: 1 },
        /its id is 2, but servers has its address 10\.0\.0\.10 as that of member 1/,
      ],
      [
        "an address that is listed twice",
        { servers: ["10.0.0.10", "10.0.0.11", "10.0.0.11"] },
        /members 2 and 3 have the same address/,
      ],
      [
        "an id that is listed twice",
        {
          servers: [
            { id: 1, address: "10.0.0.10" },
            { id: 1, address: "b" },
          ],
        },
        /members 10\.0\.0\.10 and b have the same id, 1/,
      ],
      [
        "an id that is too high",
        { index_offset: 254, zookeeper: { index_offset: 3 }, myids: {}, servers: [{ id: 256, address: "a" }] },
        /the id of member a is 256, but must be a number from 1 to 255/,
      ],
      ["an id below 1", { index_offset: -1 }, /own id is 0|the id of member 10\.0\.0\.10 is 0/],
      [
        "an offset that is no number",
        { zookeeper: { index_offset: "2a" } },
        /index_offset is "2a", but must be a number/,
      ],
      [
        "addresses with and without ids",
        { servers: ["10.0.0.10", { id: 2, address: "10.0.0.11" }] },
        /with and without an id/,
      ],
      ["an address that is none", { servers: ["10.0.0.10", "10.0.0.11:2888"] }, /"10\.0\.0\.11:2888" is no address/],
      [
        "a data directory that is no absolute path",
        { data_dir: "zookeeper" },
        /data_dir is "zookeeper", but must be an absolute path/,
      ],
      [
        "a data directory with another setting in it",
        { data_dir: "/a\ndataLogDir=/b" },
        /data_dir is .* but must be an absolute path/,
      ],
      [
        "the persistent disk as a whole",
        { data_dir: "/var/vcap/store" },
        /\/var\/vcap\/store, which is not ZooKeeper's alone/,
      ],
      [
        "it, under an old name",
        { zookeeper: { txlog_path: "/var/vcap/store/" } },
        /data_log_dir is .* not ZooKeeper's alone/,
      ],
      ["it, in other words", { data_dir: "/var/vcap/store/." }, /data_dir is .* but must be an absolute path/],
      ["the folder of all jobs", { data_dir: "/var/vcap" }, /data_dir is \/var\/vcap, which is not ZooKeeper's alone/],
      [
        "metrics at an address with another setting in it",
        { metrics: { enabled: true, host: "0.0.0.0\nadmin.enableServer=true" } },
        /"0\.0\.0\.0\\nadmin\.enableServer=true" is no address for metrics\.host/,
      ],
      [
        "the AdminServer at no address",
        { admin_server: { enabled: true, host: "10.0.0.1:8080" } },
        /"10\.0\.0\.1:8080" is no address for admin_server\.host/,
      ],
      [
        "ports that are the same",
        { client_port: 2281, tls: { client: { enabled: true } } },
        /client_port and tls\.client\.port are the same, 2281/,
      ],
      ["a port that is none", { client_port: 70_000 }, /client_port is 70000, but must be a number from 1 to 65535/],
      [
        "too few snapshots",
        { autopurge: { snap_retain_count: 2 } },
        /autopurge\.snap_retain_count is 2, but must be a number from 3/,
      ],
      [
        "a flag that is a text",
        { metrics: { enabled: "false" } },
        /metrics\.enabled is "false", but must be true or false/,
      ],
      [
        "TLS by a text",
        { tls: { client: { enabled: "false" } } },
        /tls\.client\.enabled is "false", but must be true or false/,
      ],
      ["leave by a text", { allow_empty_disk: "true" }, /allow_empty_disk is "true", but must be true or false/],
      ["settings that are a list", { extra_config: ["a=b"] }, /extra_config must be a map/],
      ["a word that is none", { four_letter_words: ["srvr", "status"] }, /"status" in four_letter_words/],
      ["a level that logback does not know", { log_level: "LOUD" }, /log_level is "LOUD", but must be TRACE, DEBUG/],
      ["a setting that the job writes", { extra_config: { tickTime: 1 } }, /tickTime cannot be set in extra_config/],
      [
        "a server in the settings",
        { extra_config: { "server.9": "a:1:2" } },
        /server\.9 cannot be set in extra_config/,
      ],
      ["dynamic reconfiguration", { extra_config: { reconfigEnabled: true } }, /reconfigEnabled cannot be set/],
      [
        "a setting of two lines",
        { extra_config: { a: "1\ndataDir=/x" } },
        /"a" in extra_config is no setting of one line/,
      ],
      ["options of Java that are none", { java_options: ["Xmx1g"] }, /java_options must be a list of options/],
      [
        "only TLS without TLS",
        { tls: { client: { only: true } } },
        /tls\.client\.only is set, but tls\.client\.enabled is not/,
      ],
      [
        "TLS without a certificate",
        { tls: { client: { enabled: true } } },
        /Can't find property 'tls\.client\.certificate'/,
      ],
    ])("%s", async (_, properties, message) => {
      await expect(renderFirst([{ instances: 1, properties }], at)).rejects.toThrow(message);
    });

    it("ids that collide in a group", async () => {
      const ids = ["aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"];
      const group = { instances: 2, properties: { myids: { [ids[1] as string]: 1 } } };
      await expect(renderFirst([group], { groups: { zookeeper: { ids, ips: IPS.slice(0, 2) } } })).rejects.toThrow(
        /the members 10\.0\.0\.1[01] and 10\.0\.0\.1[01] have the same id, 1: change index_offset or myids/,
      );
    });

    it("keys, certificates and CAs", async () => {
      const wrong = async (given: object): Promise<string> =>
        renderOne({ tls: { client: { ...tls, ...given } } }).then(
          () => "",
          (error: Error) => error.message,
        );
      expect(await wrong({ private_key: stranger.private_key })).toContain("tls.client.private_key does not belong to");
      expect(await wrong({ private_key: "x" })).toContain("tls.client.private_key is no private key in PEM");
      expect(await wrong({ certificate: "x" })).toContain("tls.client.certificate is no certificate in PEM");
      expect(await wrong({ ca: "x" })).toContain("tls.client.ca has no certificates in PEM");
      expect(await wrong({ ca: tls.ca + tls.ca })).toContain("tls.client.ca has more than one CA with the name");
      expect(await wrong({ ca: tls.ca + stranger.certificate })).toBe("");
      expect(await wrong({ client_auth: "maybe" })).toContain("must be need, want or none");
    });
  });

  it.skipIf(!requirePart(shellcheckMissing()))(
    "has scripts that bash and shellcheck find nothing wrong with",
    async () => {
      const { directory } = await renderOne({ jute_max_buffer: 2048, java_options: ["-Da='b c'"] });
      const scripts = readdirSync(join(directory, "bin")).map((name) => join(directory, "bin", name));
      expect(scripts).toHaveLength(5);
      for (const script of scripts) {
        expect(spawnSync("bash", ["-n", script], { encoding: "utf8" }).stderr).toBe("");
        expect(statSync(script).mode & 0o777).toBe(0o750);
      }
      expect(spawnSync("shellcheck", scripts, { encoding: "utf8" })).toMatchObject({ status: 0, stdout: "" });
    },
  );

  it.skipIf(!requirePart(monitMissing()))("has a monit file that monit takes", async () => {
    const { directory, read } = await renderOne();
    const file = join(directory, "monitrc");
    const text = read("monit").replaceAll("/var/vcap/jobs/zookeeper", directory);
    writeFileSync(file, `set idfile ${directory}/id\nset statefile ${directory}/state\n${text}`, { mode: 0o600 });
    const { status, stdout } = spawnSync("monit", ["-t", "-c", file], { encoding: "utf8" });
    expect(stdout).toContain("syntax OK");
    expect(status).toBe(0);
    expect(text).toContain("group vcap");
  });
});

describe("the schema of the job zookeeper", () => {
  it("takes the defaults, and TLS", () => {
    expect(schemaErrors("zookeeper", {})).toEqual([]);
    expect(schemaErrors("zookeeper", { tls: { client: { ...tls, only: true }, quorum: tls } })).toEqual([]);
  });

  it("takes servers in every form", () => {
    for (const servers of [["10.0.0.1"], [["10.0.0.1"], ["10.0.0.2"]], [{ id: 1, address: "10.0.0.1" }]]) {
      expect(schemaErrors("zookeeper", { servers, zookeeper: { servers } })).toEqual([]);
    }
  });

  it.each<[string, Properties, string]>([
    ["a port", { client_port: "2181" }, "/client_port must be integer"],
    ["an id", { myids: { a: 256 } }, "/myids/a must be <= 255"],
    ["a path", { data_dir: "zookeeper" }, "/data_dir must match pattern"],
    ["a server", { servers: [{ id: 1 }] }, "/servers/0 must have required property 'address'"],
    ["a flag", { allow_empty_disk: "yes" }, "/allow_empty_disk must be boolean"],
    [
      "a certificate",
      { tls: { client: { certificate: "x" } } },
      '/tls/client/certificate must match format "certificate"',
    ],
    ["a missing certificate", { tls: { quorum: { enabled: true } } }, "/tls/quorum/certificate must be string"],
    [
      "a way to ask for certificates",
      { tls: { client: { client_auth: "maybe" } } },
      "/tls/client/client_auth must be equal",
    ],
    ["an option of Java", { java_options: ["Xmx1g"] }, "/java_options/0 must match pattern"],
    ["a setting", { extra_config: { a: [1] } }, "/extra_config/a must be string,number,boolean"],
  ])("refuses %s that is wrong", (_, properties, error) => {
    expect(schemaErrors("zookeeper", properties).join("\n")).toContain(error);
  });
});
