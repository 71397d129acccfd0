import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { LinkContext, Properties, RenderContext } from "./render-job.ts";

const RELEASE = fileURLToPath(new URL("..", import.meta.url));

/** A Director would refuse the manifest. The message is much like the one that it would print. */
export class DeployError extends Error {}

/** What a job's `spec` file says, as far as a Director plans by it. */
export interface JobSpec {
  readonly name: string;
  readonly templates: Readonly<Record<string, string>>;
  readonly packages: readonly string[];
  /** By dotted name. */
  readonly properties: Readonly<Record<string, PropertySpec>>;
  readonly provides: readonly {
    readonly name: string;
    readonly type: string;
    readonly properties?: readonly string[];
  }[];
  readonly consumes: readonly { readonly name: string; readonly type: string; readonly optional?: boolean }[];
}

/** One property of a job's `spec` file. */
interface PropertySpec {
  readonly description?: string;
  readonly default?: unknown;
  readonly example?: unknown;
}

/** One VM that a deployment asks for. */
export interface Instance {
  /** Name of its instance group. */
  readonly group: string;
  readonly index: number;
  /** A UUID, always the same one for the same deployment, group and index. */
  readonly id: string;
  /** null in a group without `azs`. */
  readonly az: string | null;
  readonly bootstrap: boolean;
  readonly ip: string;
  /** In a group with `lifecycle: errand`: no VM until the errand runs. */
  readonly isErrand: boolean;
  readonly jobs: readonly { readonly name: string; readonly context: RenderContext }[];
}

/** What a Director makes of a manifest, as far as templates see it. */
export interface Deployment {
  readonly name: string;
  /** In the order of the groups in the manifest, and of the indexes in each. */
  readonly instances: readonly Instance[];
}

/** What earlier deploys have left of a group. Lists have an entry for each instance, in the same order. */
interface GroupState {
  /** Gaps stay where instances were removed. Without: 0, 1, 2, ... */
  readonly indexes?: readonly number[];
  readonly ids?: readonly string[];
  readonly ips?: readonly string[];
  /** Index of the bootstrap instance. Without: the lowest. */
  readonly bootstrap?: number;
}

/** Options of {@link planDeployment}. */
export interface PlanOptions {
  /** Folder of the release; this one without. */
  readonly releaseDir?: string;
  /** By name of the group. */
  readonly groups?: Readonly<Record<string, GroupState>>;
  /** The Director's `local_dns.enabled`. Without it there are IP addresses, whatever the manifest asks for. Default true. */
  readonly localDns?: boolean;
}

type Yaml = Readonly<Record<string, unknown>>;

/**
 * Plans what a Director would deploy by a manifest in which all variables have their values: instances over AZs, their
 * indexes, ids and addresses, which of them is the bootstrap instance, properties of each job, and links.
 *
 * A stand-in for the Director, after its source (`LinksManager`, `LinkHelpers`, `InstancePlanner`, `InstanceGroupSpecParser`
 * of version 283): no cloud config, no `migrated_from`, and no links from other deployments or to disks.
 *
 * @throws DeployError for what a Director refuses, and for what this one does not know
 */
export function planDeployment(manifest: unknown, options: PlanOptions = {}): Deployment {
  const top = hash(manifest, "the manifest");
  for (const old of [
    "jobs",
    "resource_pools",
    "networks",
    "disk_pools",
    "compilation",
    "azs",
    "vm_types",
    "disk_types",
  ]) {
    if (old in top)
      throw new DeployError(`The manifest has '${old}', which belongs into a cloud config or is gone since v2.`);
  }
  const name = text(top, "name", "the manifest");
  const releases = list(top.releases, "releases").map((release) =>
    text(hash(release, "a release"), "name", "a release"),
  );
  const stemcells = list(top.stemcells, "stemcells").map((one) => text(hash(one, "a stemcell"), "alias", "a stemcell"));
  const update = hash(top.update, "update");
  for (const key of ["canaries", "max_in_flight", "canary_watch_time", "update_watch_time"]) {
    if (!(key in update)) throw new DeployError(`'update' misses '${key}'.`);
  }
  const useDns = options.localDns !== false && hash(top.features ?? {}, "features").use_dns_addresses === true;
  const properties = hash(top.properties ?? {}, "properties");

  const groups = list(top.instance_groups, "instance_groups").map((given, place) =>
    planGroup(hash(given, "an instance group"), {
      deployment: name,
      place,
      releases,
      stemcells,
      properties,
      state: options.groups ?? {},
      releaseDir: options.releaseDir ?? RELEASE,
    }),
  );
  const twice = groups.find((group, at) => groups.findIndex((other) => other.name === group.name) !== at);
  if (twice !== undefined) throw new DeployError(`Instance group '${twice.name}' is there twice.`);

  const errors: string[] = [];
  const providers = groups.flatMap((group) => group.jobs.flatMap((job) => providersOf(group, job, name, errors)));
  const instances = groups.flatMap((group) => {
    const jobs = group.jobs.map((job) => ({
      job,
      links: resolveLinks({ group, job, providers, deployment: name, useDns, errors }),
    }));
    return group.instances.map(
      (instance): Instance => ({
        ...instance,
        group: group.name,
        isErrand: group.isErrand,
        jobs: jobs.map(({ job, links }) => ({
          name: job.name,
          context: contextOf({ group, instance, job, links, deployment: name, useDns }),
        })),
      }),
    );
  });
  if (errors.length > 0) {
    throw new DeployError(
      `Failed to resolve links from deployment '${name}'. See errors below:\n  - ${errors.join("\n  - ")}`,
    );
  }
  return { name, instances };
}

/** Reads `jobs/NAME/spec` of a release, and fills in what it leaves out. */
export function readJobSpec(name: string, releaseDir: string = RELEASE): JobSpec {
  const path = join(releaseDir, "jobs", name, "spec");
  const spec = hash(parse(readFileSync(path, "utf8")), path) as Partial<JobSpec>;
  return {
    name,
    templates: spec.templates ?? {},
    packages: spec.packages ?? [],
    properties: spec.properties ?? {},
    provides: spec.provides ?? [],
    consumes: spec.consumes ?? [],
  };
}

/**
 * The properties as a Director shows them to a job and to its `properties_schema.json`: each that the spec declares, from
 * the manifest or by its default, else null; nothing else.
 */
export function boundProperties(spec: JobSpec, given: Properties): Properties {
  const bound: Record<string, unknown> = {};
  for (const [name, { default: byDefault }] of Object.entries(spec.properties)) {
    const { value } = lookUp(given, name.split("."));
    setNested(bound, name.split("."), value ?? byDefault ?? null);
  }
  return bound;
}

interface PlannedJob {
  readonly name: string;
  readonly spec: JobSpec;
  readonly release: string;
  readonly properties: Properties;
  readonly provides: Yaml;
  readonly consumes: Yaml;
}

interface PlannedGroup {
  readonly name: string;
  readonly isErrand: boolean;
  readonly network: string;
  readonly persistentDisk: number;
  readonly jobs: readonly PlannedJob[];
  readonly instances: readonly Pick<Instance, "index" | "id" | "az" | "bootstrap" | "ip">[];
}

interface Provider {
  readonly type: string;
  /** The name in the job's spec. */
  readonly name: string;
  /** The name that the manifest gives to it. */
  readonly alias: string;
  readonly job: string;
  readonly group: PlannedGroup;
  readonly properties: Properties;
}

function planGroup(
  given: Yaml,
  around: {
    deployment: string;
    place: number;
    releases: readonly string[];
    stemcells: readonly string[];
    properties: Properties;
    state: Readonly<Record<string, GroupState>>;
    releaseDir: string;
  },
): PlannedGroup {
  const name = text(given, "name", "an instance group");
  const what = `Instance group '${name}'`;
  const stemcell = text(given, "stemcell", what);
  if (!around.stemcells.includes(stemcell))
    throw new DeployError(`${what} references an unknown stemcell '${stemcell}'`);
  if ((given.vm_type === undefined) === (given.vm_resources === undefined)) {
    throw new DeployError(`${what} needs one of 'vm_type' and 'vm_resources'`);
  }
  const lifecycle = given.lifecycle ?? "service";
  if (lifecycle !== "service" && lifecycle !== "errand")
    throw new DeployError(`Invalid lifecycle '${lifecycle}' for '${name}'`);
  const count = given.instances;
  if (typeof count !== "number" || !Number.isSafeInteger(count) || count < 0) {
    throw new DeployError(`${what} needs 'instances', a number`);
  }
  const jobs = list(given.jobs, `${what}: jobs`).map((job) =>
    planJob(hash(job, `${what}: a job`), given, around, what),
  );
  const twice = jobs.find((job, at) => jobs.findIndex((other) => other.name === job.name) !== at);
  if (twice !== undefined) {
    throw new DeployError(`Colocated job '${twice.name}' is already added to the instance group '${name}'`);
  }

  const networks = list(given.networks, `${what}: networks`).map((network) => hash(network, `${what}: a network`));
  const byDefault = (use: string): Yaml | undefined =>
    networks.find((network) => Array.isArray(network.default) && network.default.includes(use));
  const network = byDefault("addressable") ?? byDefault("gateway") ?? (networks.length === 1 ? networks[0] : undefined);
  if (network === undefined) throw new DeployError(`${what} must say which network is the default for [dns, gateway]`);
  const staticIps = network.static_ips as readonly string[] | undefined;
  if (staticIps !== undefined && staticIps.length !== count) {
    throw new DeployError(`${what} has ${count} instances but was allocated ${staticIps.length} static IPs`);
  }

  const azs = given.azs === undefined ? [null] : list(given.azs, `${what}: azs`).map(String);
  const state = around.state[name] ?? {};
  const indexes = state.indexes ?? Array.from({ length: count }, (_, index) => index);
  for (const entries of [indexes, state.ids, state.ips]) {
    if (entries !== undefined && entries.length !== count)
      throw new Error(`${name}: give an entry for each of ${count} instances`);
  }
  const bootstrap = state.bootstrap ?? Math.min(...indexes);
  const instances = indexes.map((index, at) => ({
    index,
    id: state.ids?.[at] ?? uuid(`${around.deployment}/${name}/${index}`),
    az: azs[at % azs.length] ?? null,
    bootstrap: index === bootstrap,
    ip: state.ips?.[at] ?? staticIps?.[at] ?? `10.0.${around.place + 1}.${index + 10}`,
  }));
  const diskMb = given.persistent_disk ?? (given.persistent_disk_type === undefined ? 0 : 10_240);
  return {
    name,
    isErrand: lifecycle === "errand",
    network: text(network, "name", `${what}: a network`),
    persistentDisk: Number(diskMb),
    jobs,
    instances: instances.toSorted((a, b) => a.index - b.index),
  };
}

function planJob(
  given: Yaml,
  group: Yaml,
  around: { releases: readonly string[]; properties: Properties; releaseDir: string },
  where: string,
): PlannedJob {
  const name = text(given, "name", `${where}: a job`);
  const release = text(given, "release", `${where}, job '${name}'`);
  if (!around.releases.includes(release)) {
    throw new DeployError(`Job '${name}' (${where}) references an unknown release '${release}'`);
  }
  let spec: JobSpec;
  try {
    spec = readJobSpec(name, around.releaseDir);
  } catch (cause) {
    throw new DeployError(`Job '${name}' not found in release '${release}'`, { cause });
  }
  // A job's own properties stand for those of its group and of the manifest, which are merged; they do not add to them.
  const inherited = merge(around.properties, hash(group.properties ?? {}, `${where}: properties`));
  return {
    name,
    spec,
    release,
    properties: hash(given.properties ?? inherited, `${where}, job '${name}': properties`),
    provides: hash(given.provides ?? {}, `${where}, job '${name}': provides`),
    consumes: hash(given.consumes ?? {}, `${where}, job '${name}': consumes`),
  };
}

/** What a job of a group offers to others. Appends to `errors` what its release or the manifest got wrong. */
function providersOf(group: PlannedGroup, job: PlannedJob, deployment: string, errors: string[]): Provider[] {
  const where = `job '${job.name}' in instance group '${group.name}'`;
  return job.spec.provides.flatMap((offered): Provider[] => {
    const given = job.provides[offered.name] ?? (offered.name in job.provides ? null : {});
    if (given === "nil") return [];
    if (!isHash(given)) {
      errors.push(
        `Provider '${offered.name}' in ${where} specified in the manifest should only be a hash or string 'nil'`,
      );
      return [];
    }
    if ("name" in given || "type" in given) {
      errors.push(`Cannot specify 'name' or 'type' properties in the manifest for link '${offered.name}' in ${where}.`);
      return [];
    }
    const properties: Record<string, unknown> = {};
    for (const name of offered.properties ?? []) {
      const found = lookUp(job.properties, name.split("."));
      const declared = job.spec.properties[name];
      if (!found.found && declared === undefined) {
        errors.push(
          `Link property ${name} in template ${job.name} is not defined in release spec (deployment ${deployment})`,
        );
      }
      setNested(properties, name.split("."), found.found ? found.value : (declared?.default ?? null));
    }
    const alias = typeof given.as === "string" ? given.as : offered.name;
    return [{ type: offered.type, name: offered.name, alias, job: job.name, group, properties }];
  });
}

/** The links that a job gets, by the names that it consumes them under. Appends to `errors` what does not resolve. */
function resolveLinks(given: {
  group: PlannedGroup;
  job: PlannedJob;
  providers: readonly Provider[];
  deployment: string;
  useDns: boolean;
  errors: string[];
}): Record<string, LinkContext> {
  const { group, job, providers, deployment, useDns, errors } = given;
  const where = `job '${job.name}' in instance group '${group.name}'`;
  const links: Record<string, LinkContext> = {};
  for (const { name, type, optional } of job.spec.consumes) {
    const source = job.consumes[name] ?? (name in job.consumes ? null : undefined);
    if (source === "nil") {
      // Blocked: an optional link is absent then, any other one does not resolve.
      if (optional !== true) errors.push(unresolved({ name, alias: name, type, where, found: [], deployment }));
      continue;
    }
    if (source !== undefined && !isHash(source)) {
      errors.push(`Consumer '${name}' in ${where} specified in the manifest should only be a hash or string 'nil'`);
      continue;
    }
    if (source !== undefined && ("instances" in source || "address" in source || "properties" in source)) {
      links[name] = { instances: source.instances, properties: source.properties } as LinkContext;
      continue;
    }
    if (source !== undefined && ("deployment" in source || "network" in source)) {
      throw new DeployError(`Link '${name}' in ${where}: 'deployment' and 'network' are not planned here`);
    }
    const alias = typeof source?.from === "string" ? source.from : name;
    // Without a word in the manifest only the type counts, in all groups, whatever the providers are called.
    const found = providers.filter((one) => one.type === type && (source === undefined || one.alias === alias));
    if (found.length === 0 && optional === true && source === undefined) continue;
    const [provider] = found;
    if (found.length !== 1 || provider === undefined) {
      errors.push(unresolved({ name, alias, type, where, found, deployment }));
      continue;
    }
    const byDns = typeof source?.ip_addresses === "boolean" ? !source.ip_addresses : useDns;
    links[name] = {
      properties: provider.properties,
      instances: inOrderOfUpdate(provider.group.instances).map((instance) => ({
        name: provider.group.name,
        id: instance.id,
        index: instance.index,
        az: instance.az,
        address: addressOf(provider.group, instance, deployment, byDns),
        bootstrap: instance.bootstrap,
      })),
    };
  }
  return links;
}

function unresolved(given: {
  name: string;
  alias: string;
  type: string;
  where: string;
  found: readonly Provider[];
  deployment: string;
}): string {
  const { name, alias, type, where, found, deployment } = given;
  const called = alias === name ? "" : `alias '${alias}' and `;
  const head = `Failed to resolve link '${name}' with ${called}type '${type}' from ${where}.`;
  if (found.length === 0) return `${head} Details below:\n    - No link providers found`;
  const details = found.map((one) => {
    const as = one.alias === one.name ? "" : `with alias '${one.alias}' `;
    const from = `from job '${one.job}' in instance group '${one.group.name}' in deployment '${deployment}'`;
    return `    - Link provider '${one.name}' ${as}${from}`;
  });
  return `${head} Multiple link providers found:\n${details.join("\n")}`;
}

function contextOf(given: {
  group: PlannedGroup;
  instance: PlannedGroup["instances"][number];
  job: PlannedJob;
  links: Record<string, LinkContext>;
  deployment: string;
  useDns: boolean;
}): RenderContext {
  const { group, instance, job, links, deployment, useDns } = given;
  return {
    spec: {
      name: group.name,
      deployment,
      id: instance.id,
      index: instance.index,
      az: instance.az,
      bootstrap: instance.bootstrap,
      address: addressOf(group, instance, deployment, useDns),
      ip: instance.ip,
      networks: { [group.network]: { ip: instance.ip } },
      persistent_disk: group.persistentDisk,
      release: { name: job.release, version: "0" },
    },
    properties: job.properties,
    links,
  };
}

/** Links list instances as they are updated: the bootstrap instance, the others of its AZ, then AZ by AZ, each by id. */
function inOrderOfUpdate(instances: PlannedGroup["instances"]): PlannedGroup["instances"] {
  const first = instances.find((instance) => instance.bootstrap);
  const rank = ({ bootstrap, az, id }: PlannedGroup["instances"][number]): string =>
    `${bootstrap ? 0 : az === first?.az ? 1 : 2} ${az ?? ""} ${id}`;
  return instances.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

function addressOf(
  group: PlannedGroup,
  { id, ip }: { id: string; ip: string },
  deployment: string,
  useDns: boolean,
): string {
  const canonical = (label: string): string =>
    label
      .replaceAll("_", "-")
      .toLowerCase()
      .replaceAll(/[^a-z0-9-]/g, "");
  return useDns ? [id, ...[group.name, group.network, deployment].map(canonical), "bosh"].join(".") : ip;
}

function uuid(of: string): string {
  const digits = createHash("sha256").update(of).digest("hex");
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-4${digits.slice(13, 16)}-8${digits.slice(17, 20)}-${digits.slice(20, 32)}`;
}

/** Found, with null, is also what a manifest sets to null: a link exports that, not the default. */
function lookUp(properties: Properties, path: readonly string[]): { found: boolean; value: unknown } {
  let node: unknown = properties;
  for (const [depth, key] of path.entries()) {
    if (node === null) return { found: false, value: undefined };
    if (!isHash(node)) {
      throw new DeployError(`Property '${path.join(".")}' expects a hash at '${path.slice(0, depth).join(".")}'`);
    }
    if (!Object.hasOwn(node, key)) return { found: false, value: undefined };
    node = node[key];
  }
  return { found: true, value: node };
}

function setNested(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let node = target;
  for (const key of path.slice(0, -1)) {
    node[key] ??= {};
    node = node[key] as Record<string, unknown>;
  }
  node[path.at(-1) ?? ""] = value;
}

function merge(under: Properties, over: Properties): Properties {
  const merged: Record<string, unknown> = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isHash(below) && isHash(value) ? merge(below, value) : value;
  }
  return merged;
}

function isHash(value: unknown): value is Yaml {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function hash(value: unknown, what: string): Yaml {
  if (!isHash(value)) throw new DeployError(`${what} must be a hash`);
  return value;
}

function list(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new DeployError(`${what} must be a list`);
  return value;
}

function text(of: Yaml, key: string, what: string): string {
  const value = of[key];
  if (typeof value !== "string") throw new DeployError(`${what} needs '${key}', a text`);
  return value;
}
