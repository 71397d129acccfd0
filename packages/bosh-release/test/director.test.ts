import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { boundProperties, DeployError, type PlanOptions, planDeployment, readJobSpec } from "../testing/director.ts";

let releaseDir: string;

const SPECS = {
  member: {
    properties: { client_port: { default: 2181 }, "tls.port": { default: null }, servers: {}, secret: {} },
    provides: [
      { name: "peers", type: "member_peers" },
      { name: "conn", type: "member", properties: ["client_port", "tls.port"] },
    ],
    consumes: [{ name: "peers", type: "member_peers", optional: true }],
  },
  client: { templates: { run: "bin/run" }, properties: {}, consumes: [{ name: "conn", type: "member" }] },
  exporter: { properties: {}, provides: [{ name: "out", type: "out", properties: ["undeclared"] }] },
};

beforeAll(() => {
  releaseDir = mkdtempSync(join(tmpdir(), "director-"));
  for (const [name, spec] of Object.entries(SPECS)) {
    mkdirSync(join(releaseDir, "jobs", name), { recursive: true });
    // JSON is YAML.
    writeFileSync(join(releaseDir, "jobs", name, "spec"), JSON.stringify({ name, ...spec }));
  }
});

afterAll(() => rmSync(releaseDir, { recursive: true, force: true }));

type Loose = Record<string, unknown>;

function group(name: string, given: Loose = {}): Loose {
  return {
    name,
    instances: 3,
    azs: ["z1", "z2", "z3"],
    vm_type: "small",
    stemcell: "default",
    networks: [{ name: "default" }],
    jobs: [{ name: "member", release: "r" }],
    ...given,
  };
}

function manifest(instanceGroups: readonly Loose[], given: Loose = {}): Loose {
  return {
    name: "zoo",
    releases: [{ name: "r", version: "latest" }],
    stemcells: [{ alias: "default", os: "ubuntu-noble", version: "latest" }],
    update: { canaries: 1, max_in_flight: 1, canary_watch_time: "1-2", update_watch_time: "1-2" },
    instance_groups: instanceGroups,
    ...given,
  };
}

function plan(instanceGroups: readonly Loose[], given: Loose = {}, options: PlanOptions = {}) {
  return planDeployment(manifest(instanceGroups, given), { releaseDir, ...options });
}

/** The links of the only or the first job of the first instance of a group. */
function linksOf(deployment: ReturnType<typeof plan>, name: string) {
  return deployment.instances.find((instance) => instance.group === name)?.jobs[0]?.context.links ?? {};
}

describe("instances", () => {
  it("are spread over the AZs, and the lowest index is the bootstrap instance", () => {
    const { instances } = plan([group("zk", { instances: 4 })]);
    expect(instances.map(({ index, az, bootstrap }) => ({ index, az, bootstrap }))).toEqual([
      { index: 0, az: "z1", bootstrap: true },
      { index: 1, az: "z2", bootstrap: false },
      { index: 2, az: "z3", bootstrap: false },
      { index: 3, az: "z1", bootstrap: false },
    ]);
    expect(new Set(instances.map(({ id }) => id)).size).toBe(4);
    expect(instances[0]?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it("keep their ids from one plan to the next", () => {
    const ids = () => plan([group("zk")]).instances.map(({ id }) => id);
    expect(ids()).toEqual(ids());
  });

  it("have no AZ where the group has none", () => {
    const { instances } = plan([group("zk", { azs: undefined, instances: 1 })]);
    expect(instances[0]?.az).toBeNull();
    expect(instances[0]?.jobs[0]?.context.spec.az).toBeNull();
  });

  it("have the indexes, ids, addresses and bootstrap instance that earlier deploys left", () => {
    const { instances } = plan(
      [group("zk")],
      {},
      {
        groups: {
          zk: { indexes: [0, 2, 5], ids: ["a", "b", "c"], ips: ["10.9.0.1", "10.9.0.2", "10.9.0.3"], bootstrap: 2 },
        },
      },
    );
    expect(instances.map(({ index, id, ip, bootstrap }) => [index, id, ip, bootstrap])).toEqual([
      [0, "a", "10.9.0.1", false],
      [2, "b", "10.9.0.2", true],
      [5, "c", "10.9.0.3", false],
    ]);
  });

  it("have the static IPs of their network", () => {
    const { instances } = plan([
      group("zk", { instances: 1, networks: [{ name: "default", static_ips: ["10.1.1.1"] }] }),
    ]);
    expect(instances[0]?.ip).toBe("10.1.1.1");
    expect(instances[0]?.jobs[0]?.context.spec).toMatchObject({
      ip: "10.1.1.1",
      address: "10.1.1.1",
      networks: { default: { ip: "10.1.1.1" } },
    });
  });

  it("have the address in the network that is the default for the gateway", () => {
    const networks = [{ name: "a" }, { name: "b", default: ["dns", "gateway"] }];
    const { instances } = plan([group("zk", { networks })]);
    expect(Object.keys(instances[0]?.jobs[0]?.context.spec.networks ?? {})).toEqual(["b"]);
  });

  it("have DNS names as addresses where the manifest asks for them and the Director has DNS", () => {
    const features = { features: { use_dns_addresses: true } };
    const [first] = plan([group("Zoo_Keeper")], features).instances;
    expect(first?.jobs[0]?.context.spec.address).toBe(`${first?.id}.zoo-keeper.default.zoo.bosh`);
    const [withoutDns] = plan([group("Zoo_Keeper")], features, { localDns: false }).instances;
    expect(withoutDns?.jobs[0]?.context.spec.address).toBe(withoutDns?.ip);
  });

  it("of an errand group are marked", () => {
    const { instances } = plan([
      group("zk"),
      group("test", { lifecycle: "errand", instances: 1, jobs: [{ name: "client", release: "r" }] }),
    ]);
    expect(instances.map(({ isErrand }) => isErrand)).toEqual([false, false, false, true]);
  });

  it("know the size of their disk, 0 without one", () => {
    const disk = (given: Loose) => plan([group("zk", given)]).instances[0]?.jobs[0]?.context.spec.persistent_disk;
    expect(disk({})).toBe(0);
    expect(disk({ persistent_disk: 512 })).toBe(512);
    expect(disk({ persistent_disk_type: "default" })).toBeGreaterThan(0);
  });
});

describe("links", () => {
  it("bind a job to its own group", () => {
    const { peers } = linksOf(plan([group("zk")]), "zk");
    expect(peers?.instances.map(({ name, index, az }) => [name, index, az])).toEqual([
      ["zk", 0, "z1"],
      ["zk", 1, "z2"],
      ["zk", 2, "z3"],
    ]);
  });

  it("list the bootstrap instance first, the rest of its AZ next, and the other AZs by name", () => {
    const deployment = plan([group("zk", { instances: 5 })], {}, { groups: { zk: { bootstrap: 1 } } });
    const azs = linksOf(deployment, "zk").peers?.instances.map(({ az, bootstrap }) => `${az}${bootstrap ? "!" : ""}`);
    expect(azs).toEqual(["z2!", "z2", "z1", "z1", "z3"]);
  });

  it("carry the properties that the provider exports, with the spec's defaults, and nothing else", () => {
    const jobs = [{ name: "member", release: "r", properties: { secret: "s", tls: { port: 2281 } } }];
    const deployment = plan([group("zk", { jobs }), group("c", { jobs: [{ name: "client", release: "r" }] })]);
    expect(linksOf(deployment, "c").conn?.properties).toEqual({ client_port: 2181, tls: { port: 2281 } });
  });

  it("carry the null that a manifest sets, not the default", () => {
    const jobs = [{ name: "member", release: "r", properties: { client_port: null } }];
    const deployment = plan([group("zk", { jobs }), group("c", { jobs: [{ name: "client", release: "r" }] })]);
    expect(linksOf(deployment, "c").conn?.properties).toEqual({ client_port: null, tls: { port: null } });
  });

  it("go to the provider that the manifest names", () => {
    const named = (name: string, as: string) =>
      group(name, {
        jobs: [
          {
            name: "member",
            release: "r",
            provides: { peers: { as }, conn: { as: `${as}-conn` } },
            consumes: { peers: { from: as } },
          },
        ],
      });
    const client = group("c", { jobs: [{ name: "client", release: "r", consumes: { conn: { from: "b-conn" } } }] });
    const deployment = plan([named("one", "a"), named("two", "b"), client]);
    expect(linksOf(deployment, "one").peers?.instances[0]?.name).toBe("one");
    expect(linksOf(deployment, "two").peers?.instances[0]?.name).toBe("two");
    expect(linksOf(deployment, "c").conn?.instances[0]?.name).toBe("two");
  });

  it("are ambiguous with two providers of the type, also where they are optional and have other names", () => {
    const renamed = group("two", { jobs: [{ name: "member", release: "r", provides: { peers: { as: "other" } } }] });
    expect(() => plan([group("one"), renamed])).toThrow(
      /Failed to resolve link 'peers' with type 'member_peers' from job 'member' in instance group 'one'\. Multiple link providers found:\n.*'one'.*\n.*'peers' with alias 'other' from job 'member' in instance group 'two'/,
    );
  });

  it("are no longer ambiguous when all but one provider are blocked", () => {
    const blocked = group("two", {
      jobs: [{ name: "member", release: "r", provides: { peers: "nil" }, consumes: { peers: "nil" } }],
    });
    const deployment = plan([group("one"), blocked]);
    expect(linksOf(deployment, "one").peers?.instances[0]?.name).toBe("one");
    expect(linksOf(deployment, "two")).toEqual({});
  });

  it("that are optional are absent without a provider, and without one that is named they fail", () => {
    const without = (consumes: Loose) =>
      plan([group("zk", { jobs: [{ name: "member", release: "r", provides: { peers: "nil" }, consumes }] })]);
    expect(linksOf(without({}), "zk")).toEqual({});
    expect(() => without({ peers: { from: "peers" } })).toThrow("No link providers found");
  });

  it("that are not optional fail without a provider, and when they are blocked", () => {
    const client = (consumes: Loose) => group("c", { jobs: [{ name: "client", release: "r", consumes }] });
    expect(() => plan([client({})])).toThrow(
      "Failed to resolve link 'conn' with type 'member' from job 'client' in instance group 'c'. Details below:\n    - No link providers found",
    );
    expect(() => plan([group("zk"), client({ conn: "nil" })])).toThrow("No link providers found");
    expect(() => plan([group("zk"), client({ conn: { from: "x" } })])).toThrow(
      "'conn' with alias 'x' and type 'member'",
    );
  });

  it("are those of the manifest where it gives them by hand", () => {
    const conn = { instances: [{ address: "zk.example.com" }], properties: { client_port: 2182 } };
    const client = group("c", { jobs: [{ name: "client", release: "r", consumes: { conn } }] });
    expect(linksOf(plan([client]), "c").conn).toEqual(conn);
  });

  it("have IP addresses where the consumer wants them", () => {
    const jobs = [{ name: "member", release: "r", consumes: { peers: { ip_addresses: true } } }];
    const deployment = plan([group("zk", { jobs })], { features: { use_dns_addresses: true } });
    expect(linksOf(deployment, "zk").peers?.instances[0]?.address).toBe(deployment.instances[0]?.ip);
  });

  it("tell of every one that does not resolve", () => {
    const client = (name: string) => group(name, { jobs: [{ name: "client", release: "r" }] });
    expect(() => plan([client("c"), client("d")])).toThrow(/instance group 'c'.*instance group 'd'/s);
  });

  it.each([
    [{ provides: { conn: null } }, "Provider 'conn'"],
    [{ provides: { conn: { name: "x" } } }, "Cannot specify 'name' or 'type'"],
    [{ consumes: { peers: null } }, "Consumer 'peers'"],
    [{ consumes: { peers: { deployment: "other" } } }, "are not planned here"],
    [{ name: "exporter" }, "Link property undeclared in template exporter is not defined in release spec"],
  ])("with %j are refused", (job, message) => {
    expect(() => plan([group("zk", { jobs: [{ name: "member", release: "r", ...job }] })])).toThrow(message);
  });
});

describe("properties", () => {
  const properties = (job: Loose, given: Loose, top: Loose) =>
    plan([group("zk", { instances: 1, jobs: [{ name: "member", release: "r", ...job }], ...given })], top).instances[0]
      ?.jobs[0]?.context.properties;

  it("of the group and of the manifest are merged for a job that has none of its own", () => {
    const given = { properties: { a: { x: 1 } } };
    const top = { properties: { a: { x: 0, y: 2 }, b: 3 } };
    expect(properties({}, given, top)).toEqual({ a: { x: 1, y: 2 }, b: 3 });
    expect(properties({ properties: { c: 4 } }, given, top)).toEqual({ c: 4 });
  });

  it("are bound to what the spec declares, with its defaults, and null for the rest", () => {
    const given = { servers: ["a"], unknown: 1, tls: { port: null } };
    expect(boundProperties(readJobSpec("member", releaseDir), given)).toEqual({
      client_port: 2181,
      tls: { port: null },
      servers: ["a"],
      secret: null,
    });
  });

  it("of another shape than the spec's are refused", () => {
    expect(() => boundProperties(readJobSpec("member", releaseDir), { tls: "yes" })).toThrow(
      "Property 'tls.port' expects a hash at 'tls'",
    );
  });
});

describe("a manifest is refused", () => {
  it.each<[string, unknown, string]>([
    ["that is none", "text", "the manifest must be a hash"],
    ["of the first version", manifest([], { jobs: [] }), "'jobs'"],
    ["with parts of a cloud config", manifest([], { azs: [] }), "'azs'"],
    ["without a name", manifest([], { name: undefined }), "needs 'name'"],
    ["without releases", manifest([], { releases: undefined }), "releases must be a list"],
    ["without update", manifest([], { update: { canaries: 1 } }), "'max_in_flight'"],
    ["with a group twice", manifest([group("zk"), group("zk")]), "'zk' is there twice"],
    ["with an unknown stemcell", manifest([group("zk", { stemcell: "x" })]), "unknown stemcell 'x'"],
    [
      "without a VM type",
      manifest([group("zk", { vm_type: undefined, vm_resources: undefined })]),
      "needs one of 'vm_type'",
    ],
    [
      "with two kinds of VM",
      manifest([group("zk", { vm_resources: {} })]),
      "needs one of 'vm_type' and 'vm_resources'",
    ],
    ["with an unknown lifecycle", manifest([group("zk", { lifecycle: "x" })]), "Invalid lifecycle 'x'"],
    ["without a number of instances", manifest([group("zk", { instances: "3" })]), "needs 'instances'"],
    [
      "with too few static IPs",
      manifest([group("zk", { networks: [{ name: "n", static_ips: ["10.0.0.1"] }] })]),
      "3 instances",
    ],
    [
      "without a default network",
      manifest([group("zk", { networks: [{ name: "a" }, { name: "b" }] })]),
      "the default for",
    ],
    [
      "with an unknown release",
      manifest([group("zk", { jobs: [{ name: "member", release: "x" }] })]),
      "unknown release 'x'",
    ],
    ["with an unknown job", manifest([group("zk", { jobs: [{ name: "x", release: "r" }] })]), "Job 'x' not found"],
    [
      "with a job twice in a group",
      manifest([group("zk", { jobs: [1, 2].map(() => ({ name: "member", release: "r" })) })]),
      "Colocated job 'member' is already added",
    ],
  ])("%s", (_, given, message) => {
    const planning = () => planDeployment(given, { releaseDir });
    expect(planning).toThrow(DeployError);
    expect(planning).toThrow(message);
  });
});
