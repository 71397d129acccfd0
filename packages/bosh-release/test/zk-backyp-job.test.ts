import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitMissing, requirePart } from "@zk-backyp/testbed";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DaemonConfig, readDaemonConfig } from "../../../apps/daemon/src/config.ts";
import { readJobSpec } from "../testing/director.ts";
import { schemaErrors } from "../testing/properties-schema.ts";
import { type InstanceSpec, type Properties, RenderError, renderJob, rubyMissing } from "../testing/render-job.ts";

const JOB = "zk-backyp";
const SECRET = "do-not-show-this-secret";
const KEYS = { access_key_id: "AKIAEXAMPLE", secret_access_key: SECRET };
/** What every manifest of the older release has. */
const LEGACY = {
  prefix: "zk-prod",
  interval: 3600,
  s3_bucket: "old-backups",
  s3_endpoint: "https://s3.example.com:9000",
  aws_access_key: "AKIAEXAMPLE",
  aws_secret_key: SECRET,
};
const SPEC: InstanceSpec = {
  name: "zookeeper",
  deployment: "zk",
  id: "6f1a4f5e-0000-4000-8000-000000000000",
  index: 0,
  az: "z1",
  bootstrap: true,
  address: "10.0.0.10",
  ip: "10.0.0.10",
  networks: { default: { ip: "10.0.0.10" } },
  persistent_disk: 10_240,
  release: { name: "zookeeper-hybris", version: "1" },
};

const noShellcheck = spawnSync("shellcheck", ["--version"]).error;
const hasShellcheck = requirePart(noShellcheck === undefined ? null : "no shellcheck: apt-get install shellcheck");

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "zk-backyp-job-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function render(properties: Properties, spec: Partial<InstanceSpec> = {}): Promise<string> {
  count += 1;
  const into = join(folder, String(count));
  await renderJob({ job: JOB, into, context: { spec: { ...SPEC, ...spec }, properties } });
  return into;
}

interface Written {
  readonly series: { readonly zookeeper: Record<string, unknown> & { readonly sink: Record<string, unknown> } };
  readonly http: unknown;
  readonly notifications: unknown;
}

async function written(properties: Properties, spec: Partial<InstanceSpec> = {}): Promise<Written> {
  return JSON.parse(await readFile(join(await render(properties, spec), "config/zk-backyp.json"), "utf8"));
}

/** As the daemon reads it, with a folder in the place of `/var/vcap`. */
async function read(properties: Properties): Promise<DaemonConfig> {
  const into = await render(properties);
  const vcap = join(into, "vcap");
  await mkdir(join(vcap, "data/zk-backyp"), { recursive: true });
  await writeFile(join(vcap, "data/zk-backyp/http-token"), "0123456789abcdef0123456789abcdef");
  const file = join(into, "config/zk-backyp.json");
  await writeFile(file, (await readFile(file, "utf8")).replaceAll("/var/vcap", vcap));
  const config = await readDaemonConfig(file);
  if (config === null) throw new Error("no configuration");
  return config;
}

async function processes(properties: Properties, spec: Partial<InstanceSpec> = {}): Promise<string[]> {
  const monit = await readFile(join(await render({ s3: { bucket: "b" }, ...properties }, spec), "monit"), "utf8");
  return [...monit.matchAll(/^check process (\S+)$/gm)].map(([, name]) => name ?? "");
}

/** Everything that can be set. */
const FULL: Properties = {
  backup: {
    prefix: "/prod/eu/zk",
    schedule: "30 3 * * *",
    time_zone: "Europe/Berlin",
    mode: "cold",
    node: "elected",
    if_leader: "proceed",
    allow_standalone: true,
    stop_timeout: 30,
    start_timeout: 120,
    max_stop_seconds: 90,
    compression: 9,
    verify_interval: 604_800,
    retention: { keep_last: 7, within: "14d", hourly: 1, daily: 30, weekly: 8, monthly: 12, yearly: 3 },
  },
  s3: {
    ...KEYS,
    bucket: "backups",
    endpoint: "https://s3.example.com:9000",
    region: "eu-central-1",
    force_path_style: true,
    credentials_source: "static",
    tls: { ca: "-----BEGIN CERTIFICATE-----\nstore\n-----END CERTIFICATE-----" },
    storage_class: "STANDARD_IA",
    sse: { type: "aws:kms", kms_key_id: "alias/zk" },
  },
  http: { host: "10.0.0.10", port: 9000, token: "a-token-of-the-operator" },
  notifications: [
    { use: "webhook", url: "https://hooks.example.com/zk", on: ["failure"], body: { text: "{{message}}" } },
  ],
  log_level: "debug",
  max_heap_mb: 1024,
  zookeeper: { tls: { ca: "authority", certificate: "certificate", private_key: "key", server_name: "zk.internal" } },
  monit_service: "zookeeper",
};

describe.skipIf(!requirePart(rubyMissing()))("the job zk-backyp, rendered", () => {
  describe("with the six properties of an old manifest", () => {
    it("backs one node up, cold, every so many seconds", async () => {
      const { series } = await read({ zk_backyp: LEGACY });
      expect(series).toEqual({
        zookeeper: {
          source: {
            use: "zookeeper",
            zooCfg: expect.stringMatching(/\/jobs\/zookeeper\/config\/zoo\.cfg$/),
            mode: "cold",
            cold: {
              control: { use: "helper", socket: expect.stringMatching(/\/sys\/run\/zk-backyp\/helper\.sock$/) },
              ifLeader: "skip",
              allowStandalone: false,
              stopTimeoutMs: 60_000,
              startTimeoutMs: 300_000,
            },
          },
          sink: {
            use: "s3",
            bucket: "old-backups",
            endpoint: "https://s3.example.com:9000",
            accessKeyId: "AKIAEXAMPLE",
            secretAccessKey: SECRET,
          },
          prefix: "zk-prod",
          compression: "gzip",
          schedule: { interval: 3600 },
          runOn: "always",
        },
      });
      expect(await processes({ zk_backyp: LEGACY, s3: {} })).toEqual(["zk-backyp", "zk-backyp-helper"]);
      expect(await processes({ zk_backyp: LEGACY, s3: {} }, { index: 1, bootstrap: false })).toEqual([]);
    });

    it("takes the names of 2015 too, and today's, to the same effect", async () => {
      const { prefix, interval, s3_bucket: bucket, s3_endpoint: endpoint } = LEGACY;
      const old = await written({ zk_backyp: LEGACY });
      expect(await written({ zk_backup: LEGACY })).toEqual(old);
      expect(await written({ backup: { prefix, interval }, s3: { bucket, endpoint, ...KEYS } })).toEqual(old);
    });

    it("takes numbers in quotes, and empty texts as not set", async () => {
      const { series } = await written({
        zk_backyp: { ...LEGACY, prefix: "", interval: "600", s3_endpoint: "", aws_access_key: "", aws_secret_key: "" },
      });
      expect(series.zookeeper).toMatchObject({ schedule: { interval: 600 }, prefix: "zookeeper-backup" });
      expect(series.zookeeper.sink).toEqual({ use: "s3", bucket: "old-backups", region: "us-east-1" });
    });

    it("lets today's name stand beside the old one with the same value only", async () => {
      const { series } = await written({
        zk_backyp: LEGACY,
        s3: { bucket: "old-backups" },
        backup: { interval: "3600" },
      });
      expect(series.zookeeper.sink.bucket).toBe("old-backups");
      await expect(render({ zk_backyp: LEGACY, s3: { bucket: "new-backups" } })).rejects.toThrow(
        "s3.bucket and zk_backyp.s3_bucket say different things: keep s3.bucket",
      );
    });
  });

  describe("passes the daemon's own validator", () => {
    it.each<[string, Properties]>([
      ["with a bucket alone", { s3: { bucket: "backups" } }],
      ["with all that can be set", FULL],
      ["hot", { s3: { bucket: "backups" }, backup: { mode: "hot" } }],
      [
        "with a key of the customer's own",
        sse({ type: "customer", customer_key: Buffer.alloc(32).toString("base64") }),
      ],
      ["with AES256", sse({ type: "AES256" })],
      ["with a level of compression in quotes", { s3: { bucket: "backups" }, backup: { compression: "1" } }],
      ["uncompressed", { s3: { bucket: "backups" }, backup: { compression: "none" } }],
      ["with a rule of retention alone", { s3: { bucket: "backups" }, backup: { retention: { daily: 7 } } }],
      ["on all addresses", { s3: { bucket: "backups" }, http: { host: "::" } }],
    ])("%s", async (_, properties) => {
      const config = await read(properties);
      expect(Object.keys(config.series)).toEqual(["zookeeper"]);
      expect(config.stateDir).toMatch(/\/store\/zk-backyp$/);
    });

    it("with everything where it belongs", async () => {
      const { series, http, notifications } = await written(FULL);
      const config = "/var/vcap/jobs/zk-backyp/config";
      expect(series.zookeeper).toEqual({
        source: {
          use: "zookeeper",
          zooCfg: "/var/vcap/jobs/zookeeper/config/zoo.cfg",
          tls: {
            caFile: `${config}/zookeeper-ca.pem`,
            certFile: `${config}/zookeeper-certificate.pem`,
            keyFile: `${config}/zookeeper-key.pem`,
            serverName: "zk.internal",
          },
          mode: "cold",
          cold: {
            control: { use: "helper", socket: "/var/vcap/sys/run/zk-backyp/helper.sock" },
            ifLeader: "proceed",
            allowStandalone: true,
            stopTimeoutMs: 30_000,
            startTimeoutMs: 120_000,
          },
        },
        sink: {
          use: "s3",
          bucket: "backups",
          prefix: "prod/eu",
          region: "eu-central-1",
          endpoint: "https://s3.example.com:9000",
          pathStyle: true,
          accessKeyId: "AKIAEXAMPLE",
          secretAccessKey: SECRET,
          storageClass: "STANDARD_IA",
          sse: { type: "aws:kms", keyId: "alias/zk" },
          caFile: `${config}/s3-ca.pem`,
        },
        prefix: "zk",
        compression: { gzip: { level: 9 } },
        schedule: { cron: "30 3 * * *", timeZone: "Europe/Berlin" },
        verify: { schedule: { interval: 604_800 } },
        runOn: "elected",
        retention: {
          keepLast: 7,
          within: "14d",
          hourly: 1,
          daily: 30,
          weekly: 8,
          monthly: 12,
          yearly: 3,
          timeZone: "Europe/Berlin",
        },
      });
      expect(http).toEqual({ host: "10.0.0.10", port: 9000, token: "a-token-of-the-operator" });
      expect(notifications).toEqual(FULL.notifications);
      const into = await render(FULL);
      expect(await readFile(join(into, "config/s3-ca.pem"), "utf8")).toContain("\nstore\n");
      expect(await readFile(join(into, "config/zookeeper-key.pem"), "utf8")).toBe("key\n");
      expect(JSON.parse(await readFile(join(into, "config/helper.json"), "utf8")).helper.maxDowntimeMs).toBe(90_000);
      expect(await readFile(join(into, "bin/zk-backyp_ctl"), "utf8")).toContain("=--max-old-space-size=1024\n");
    });
  });

  it.each([
    ["s3.amazonaws.com", {}, { region: "us-east-1" }],
    ["http://s3.amazonaws.com/", {}, { region: "us-east-1" }],
    ["https://s3-eu-west-1.amazonaws.com", {}, { region: "eu-west-1" }],
    ["s3.eu-central-1.amazonaws.com", {}, { region: "eu-central-1" }],
    ["s3.eu-central-1.amazonaws.com", { region: "eu-central-1" }, { region: "eu-central-1" }],
    ["S3.dualstack.us-gov-west-1.amazonaws.com", {}, { region: "us-gov-west-1" }],
    ["s3.cn-north-1.amazonaws.com.cn", {}, { region: "cn-north-1" }],
    ["https://s3.amazonaws.com", { region: "eu-west-3" }, { region: "eu-west-3" }],
    ["s3.example.com", {}, { endpoint: "https://s3.example.com" }],
    ["http://10.0.0.5:9000", { region: "x" }, { endpoint: "http://10.0.0.5:9000", region: "x" }],
    // An endpoint inside of a VPC is no name of the service itself.
    [
      "https://bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com",
      {},
      { endpoint: "https://bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com" },
    ],
    ["https://s3.amazonaws.com.example.com", {}, { endpoint: "https://s3.amazonaws.com.example.com" }],
  ])("finds the store that is meant by the endpoint %s with %j", async (endpoint, beside, expected) => {
    const { series } = await written({ s3: { bucket: "backups", endpoint, ...beside } });
    expect(series.zookeeper.sink).toEqual({ use: "s3", bucket: "backups", ...expected });
  });

  it.each([
    ["zk", undefined, "zk"],
    ["prod/zk", "prod", "zk"],
    ["/a/b/zk-", "a/b", "zk-"],
    ["backups/", "backups", "zookeeper-backup"],
  ])("makes folders of what is before the last slash of the prefix %s", async (given, folders, prefix) => {
    const { series } = await written({ s3: { bucket: "backups" }, backup: { prefix: given } });
    expect([series.zookeeper.sink.prefix, series.zookeeper.prefix]).toEqual([folders, prefix]);
  });

  it("names backups after group and index where all instances make some", async () => {
    const { series } = await written(
      { s3: { bucket: "backups" }, backup: { node: "all" } },
      { name: "zk-z2", index: 4 },
    );
    expect(series.zookeeper).toMatchObject({ prefix: "zookeeper-backup-zk-z2-4", runOn: "always" });
  });

  it("has no keys in any file where the VM's profile has them", async () => {
    const into = await render({ s3: { bucket: "backups", credentials_source: "env_or_profile" } });
    const config = JSON.parse(await readFile(join(into, "config/zk-backyp.json"), "utf8"));
    expect(config.series.zookeeper.sink).toEqual({ use: "s3", bucket: "backups", region: "us-east-1" });
  });

  it("writes a secret into one file, and the rest without it", async () => {
    const into = await render({ zk_backyp: LEGACY });
    const holding: string[] = [];
    for (const file of await readdir(into, { recursive: true, withFileTypes: true })) {
      if (!file.isFile()) continue;
      const text = await readFile(join(file.parentPath, file.name), "utf8");
      if (text.includes(SECRET)) holding.push(file.name);
    }
    expect(holding).toEqual(["zk-backyp.json"]);
  });

  it.each<[Properties, Partial<InstanceSpec>, string[]]>([
    [{}, {}, ["zk-backyp", "zk-backyp-helper"]],
    [{}, { bootstrap: false, index: 1 }, []],
    [{ backup: { mode: "hot" } }, {}, ["zk-backyp"]],
    [{ backup: { node: "elected" } }, { bootstrap: false, index: 2 }, ["zk-backyp", "zk-backyp-helper"]],
    [{ backup: { node: "all", mode: "hot" } }, { bootstrap: false, index: 2 }, ["zk-backyp"]],
    [{ backup: { node: "index:2" } }, { bootstrap: false, index: 2 }, ["zk-backyp", "zk-backyp-helper"]],
    [{ backup: { node: "index:2" } }, { bootstrap: true, index: 0 }, []],
    [{ backup: { node: "index:1" } }, { bootstrap: false, index: 11 }, []],
  ])("with %j has monit run on %j %j", async (properties, spec, expected) => {
    expect(await processes(properties, spec)).toEqual(expected);
    const script = await readFile(
      join(await render({ s3: { bucket: "b" }, ...properties }, spec), "bin/post-start"),
      "utf8",
    );
    expect(script.includes("/readyz")).toBe(expected.length > 0);
  });

  describe("refuses, in words that say what to do and hold no secret,", () => {
    const s3 = { bucket: "backups", ...KEYS };
    const of = (backup: Properties): Properties => ({ s3, backup });
    it.each<[string, Properties]>([
      ["s3.bucket is not set", {}],
      ["s3.bucket is not set", { s3: { ...s3, bucket: "" } }],
      ["s3.access_key_id is missing", { s3: { bucket: "b", secret_access_key: SECRET } }],
      ["s3.secret_access_key is missing", { s3: { bucket: "b", access_key_id: SECRET } }],
      ["s3.secret_access_key is missing", { zk_backyp: { ...LEGACY, aws_secret_key: "" } }],
      [
        "s3.secret_access_key and zk_backyp.aws_secret_key say",
        { zk_backyp: LEGACY, s3: { secret_access_key: `x${SECRET}` } },
      ],
      ["zk_backyp.prefix and zk_backup.prefix say", { zk_backyp: LEGACY, zk_backup: { prefix: "other" } }],
      ["s3.credentials_source is static, but", { s3: { bucket: "b", credentials_source: "static" } }],
      ["s3.credentials_source is env_or_profile, but", { s3: { ...s3, credentials_source: "env_or_profile" } }],
      ["s3.credentials_source has to be", { s3: { ...s3, credentials_source: SECRET } }],
      ["s3.endpoint has to be", { s3: { ...s3, endpoint: `https://user:${SECRET}@s3.example.com` } }],
      ["s3.endpoint has to be", { s3: { ...s3, endpoint: `ftp://${SECRET}` } }],
      ["s3.endpoint has to be", { s3: { ...s3, endpoint: `https://a b/${SECRET}` } }],
      ["s3.endpoint has to be", { s3: { ...s3, endpoint: `https://s3.example.com/?key=${SECRET}` } }],
      ["s3.region is another", { s3: { ...s3, endpoint: "s3.eu-west-1.amazonaws.com", region: "eu-west-2" } }],
      ["s3.force_path_style has to be true or false", { s3: { ...s3, force_path_style: "yes" } }],
      ["s3.sse.customer_key and s3.sse.type customer go together", { s3: { ...s3, sse: { customer_key: SECRET } } }],
      ["s3.sse.customer_key and s3.sse.type customer go together", { s3: { ...s3, sse: { type: "customer" } } }],
      ["s3.sse.kms_key_id needs", { s3: { ...s3, sse: { type: "AES256", kms_key_id: "k" } } }],
      ["s3.sse.type has to be", { s3: { ...s3, sse: { type: "rot13" } } }],
      ["backup.interval and backup.schedule exclude", of({ interval: 60, schedule: "0 2 * * *" })],
      ["backup.interval and backup.schedule exclude", { zk_backyp: LEGACY, backup: { schedule: "0 2 * * *" } }],
      ["backup.interval has to be a whole number", of({ interval: "daily" })],
      ["backup.interval has to be a whole number", of({ interval: 0 })],
      ["backup.interval has to be a whole number", { zk_backyp: { ...LEGACY, interval: "1e3" } }],
      ["backup.interval has to be a whole number", { zk_backyp: { ...LEGACY, interval: 3.5 } }],
      ["backup.time_zone needs", of({ time_zone: "Europe/Berlin" })],
      ["backup.node has to be", of({ node: "leader" })],
      ["backup.node has to be", of({ node: "index:" })],
      ["backup.node has to be", of({ node: "index:one" })],
      ["backup.mode has to be", of({ mode: "warm" })],
      ["backup.if_leader has to be", of({ if_leader: "wait" })],
      ["backup.allow_standalone has to be true or false", of({ allow_standalone: "true" })],
      ["backup.stop_timeout has to be", of({ stop_timeout: -1 })],
      ["backup.max_stop_seconds has to be more than", of({ max_stop_seconds: 60 })],
      ["backup.compression has to be", of({ compression: "lz4" })],
      ["backup.compression has to be", of({ compression: 10 })],
      ["backup.retention.daily has to be", of({ retention: { daily: 0 } })],
      ["backup.prefix has to be", of({ prefix: "zk prod" })],
      ["backup.prefix has to be", { zk_backyp: { ...LEGACY, prefix: "_zk" } }],
      ["backup.prefix has to be", of({ prefix: "a//b" })],
      ["backup.prefix has to be", of({ prefix: "../zk" })],
      ["backup.prefix is longer", of({ prefix: "z".repeat(129) })],
      ["http.token is shorter", { s3, http: { token: "short" } }],
      ["http.port has to be", { s3, http: { port: 0 } }],
      ["log_level has to be", { s3, log_level: "loud" }],
      ["max_heap_mb has to be", { s3, max_heap_mb: 16 }],
      ["monit_service is no name", { s3, monit_service: "all" }],
      ["monit_service is no name", { s3, monit_service: "-x zookeeper" }],
      [
        "zookeeper.tls.certificate and zookeeper.tls.private_key go together",
        { s3, zookeeper: { tls: { private_key: SECRET } } },
      ],
    ])("%s: %j", async (message, properties) => {
      const error = await render(properties).then(
        () => new Error("it rendered"),
        (reason: Error) => reason,
      );
      expect(error).toBeInstanceOf(RenderError);
      expect(error.message).toContain(message);
      expect(error.message).not.toContain(SECRET);
    });
  });

  describe("has scripts and a monit file", () => {
    const shapes: [string, Properties, Partial<InstanceSpec>][] = [
      ["as in old manifests", { zk_backyp: LEGACY }, {}],
      ["with all that can be set", FULL, {}],
      ["hot", { s3: { bucket: "b" }, backup: { mode: "hot" } }, {}],
      ["on an idle instance", { s3: { bucket: "b" } }, { bootstrap: false, index: 1 }],
      ["with a strange host", { s3: { bucket: "b" }, http: { host: "$(touch /tmp/x)'" } }, {}],
    ];

    it.each(shapes)("that bash and shellcheck find nothing in, %s", async (_, properties, spec) => {
      const bin = join(await render(properties, spec), "bin");
      const scripts = (await readdir(bin)).map((name) => join(bin, name));
      expect(scripts).toHaveLength(10);
      for (const script of scripts) expect(run("bash", ["-n", script])).toBe("");
      if (hasShellcheck) expect(run("shellcheck", scripts)).toBe("");
    });

    it.skipIf(!requirePart(monitMissing())).each(shapes)("that monit reads, %s", async (_, properties, spec) => {
      const into = await render(properties, spec);
      const monitrc = join(into, "monitrc");
      const own = ["id", "state", "pid"].map((name) => `set ${name}file ${into}/monit.${name}\n`).join("");
      await writeFile(monitrc, `${own}${await readFile(join(into, "monit"), "utf8")}`, { mode: 0o600 });
      expect(run("monit", ["-t", "-c", monitrc])).toContain("Control file syntax OK");
    });
  });
});

describe("the schema of its properties", () => {
  interface Schema {
    readonly type?: unknown;
    readonly properties?: Readonly<Record<string, Schema>>;
  }
  const file = new URL(`../jobs/${JOB}/properties_schema.json`, import.meta.url);
  const spec = readJobSpec(JOB);
  const leaves = ({ properties }: Schema, path: string): string[] =>
    properties === undefined
      ? [path]
      : Object.entries(properties).flatMap(([name, inner]) => leaves(inner, path === "" ? name : `${path}.${name}`));

  it("names every property of the spec, and no other", async () => {
    const schema = JSON.parse(await readFile(file, "utf8")) as Schema & { readonly $schema: string };
    expect(schema.$schema).toBe("https://json-schema.org/draft/2020-12/schema");
    expect(leaves(schema, "").sort()).toEqual(Object.keys(spec.properties).sort());
  });

  it.each<[string, Properties]>([
    ["nothing but defaults", {}],
    ["an old manifest", { zk_backyp: LEGACY, zk_backup: { interval: "3600" } }],
    ["everything but certificates", { ...FULL, s3: { ...(FULL.s3 as object), tls: {} }, zookeeper: {} }],
  ])("takes %s", (_, properties) => {
    expect(schemaErrors(JOB, properties)).toEqual([]);
  });

  it.each<[string, Properties]>([
    ["backup/mode", { backup: { mode: "warm" } }],
    ["backup/node", { backup: { node: "leader" } }],
    ["backup/interval", { backup: { interval: "daily" } }],
    ["backup/allow_standalone", { backup: { allow_standalone: "yes" } }],
    ["backup/compression", { backup: { compression: "lz4" } }],
    ["backup/retention/within", { backup: { retention: { within: "soon" } } }],
    ["s3/bucket", { s3: { bucket: 7 } }],
    ["s3/tls/ca", { s3: { tls: { ca: 7 } } }],
    ["http/token", { http: { token: "short" } }],
    ["notifications/0", { notifications: [{ url: "https://example.com" }] }],
    ["zk_backyp/s3_bucket", { zk_backyp: { s3_bucket: ["a"] } }],
    ["zk_backup/interval", { zk_backup: { interval: "soon" } }],
  ])("finds what is wrong with %s", (path, properties) => {
    expect(schemaErrors(JOB, properties)).toContainEqual(expect.stringMatching(`^/${path} `));
  });

  it("says of every old name which one to use now", () => {
    for (const [name, { description = "" }] of Object.entries(spec.properties)) {
      if (/^zk_back(yp|up)\./.test(name)) expect(description).toMatch(/^Deprecated, use `[a-z0-9_.]+`\./);
      else expect(description.length).toBeGreaterThan(10);
    }
  });
});

function sse(value: Properties): Properties {
  return { s3: { bucket: "backups", sse: value } };
}

/** What it said; with the exit code, if that is not 0. */
function run(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
  return error === undefined ? `${stdout}${stderr}${status === 0 ? "" : ` exit code ${status}`}` : error.message;
}
